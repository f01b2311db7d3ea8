"""What both fast forms, MicroNet's and Mobile-Former's, can do: be exported for any number and size of images."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.backbones.test_micronet import toy
from tests.backbones.test_mobile_former import nano
from visionlab.backbones import micronet_inference, mobile_former_inference

Exported = tuple[nn.Module, torch.export.ExportedProgram]
SHAPES = ((2, 3, 32, 40), (5, 3, 47, 32))


def fast_micronet() -> nn.Module:
    return micronet_inference.inference_form(toy())


def fast_mobile_former() -> nn.Module:
    return mobile_former_inference.inference_form(nano())


@pytest.fixture(scope="module", params=[fast_micronet, fast_mobile_former])
def exported(request: pytest.FixtureRequest) -> Exported:
    make: Callable[[], nn.Module] = request.param
    fast, free = make(), torch.export.Dim.AUTO
    return fast, torch.export.export(fast, (torch.randn(SHAPES[0]),), dynamic_shapes=({0: free, 2: free, 3: free},))


def test_it_can_be_exported_with_free_batch_and_sides(exported: Exported) -> None:
    fast, program = exported
    for shape in SHAPES:
        x = torch.randn(shape)
        assert torch.allclose(program.module()(x), fast(x), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_it_runs_in_onnxruntime(exported: Exported) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    fast, program = exported
    file = io.BytesIO()
    torch.onnx.export(program, dynamo=True, verbose=False).save(file)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    for shape in SHAPES:
        x = torch.randn(shape)
        (got,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        assert torch.allclose(torch.from_numpy(got), fast(x), atol=1e-4)
