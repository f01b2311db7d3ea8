"""What both fast forms, MicroNet's and Mobile-Former's, have to do: the same numbers, and run without our code."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import timm
import torch
from torch import nn

from tests.backbones.test_micronet import toy
from tests.backbones.test_mobile_former import nano
from tests.filling import difference, filled
from visionlab.backbones import micronet, mobile_former
from visionlab.backbones.micronet import MicroNet
from visionlab.backbones.micronet_factorized import ChannelShuffle
from visionlab.backbones.micronet_inference import inference_form as fast_micronet
from visionlab.backbones.mobile_former_inference import inference_form as fast_mobile_former

Exported = tuple[nn.Module, torch.export.ExportedProgram]
SHAPES = ((2, 3, 32, 40), (5, 3, 47, 32))


def fast_form(network: nn.Module) -> nn.Module:
    return fast_micronet(network) if isinstance(network, MicroNet) else fast_mobile_former(network)


NAMES = (
    *(f"micronet_{size}" for size in micronet.CONFIGURATIONS),
    *(f"mobile_former_{size}" for size in mobile_former.CONFIGURATIONS),
)


@pytest.fixture(scope="module", params=NAMES)
def network(request: pytest.FixtureRequest) -> nn.Module:
    return filled(timm.create_model(request.param).double().eval())


def test_it_computes_the_same(network: nn.Module) -> None:
    x = torch.randn(2, 3, 96, 65, dtype=torch.double)
    with torch.no_grad():
        expected = network(x)
        assert expected.std() > 0.01
        assert difference(expected, fast_form(network)(x)) < 1e-12


def test_single_precision_and_other_sizes_agree(network: nn.Module) -> None:
    fast = fast_form(network).float()
    with torch.no_grad():
        for size in ((224, 224), (1, 3), (33, 70)):
            x = torch.randn(1, 3, *size)
            assert difference(network(x.double()), fast(x)) < 1e-4


def test_no_norm_of_batches_no_shuffle_and_no_pointwise_convolution_remains(network: nn.Module) -> None:
    layers = list(fast_form(network).modules())
    assert not [layer for layer in layers if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | ChannelShuffle)]
    assert all(layer.kernel_size == (3, 3) for layer in layers if isinstance(layer, nn.Conv2d))


@pytest.mark.parametrize("make", [toy, nano])
def test_the_images_and_the_plain_network_stay_as_they_are(make: Callable[[], nn.Module]) -> None:
    network = make().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fast = fast_form(network)
    x = torch.randn(2, 3, 32, 32)
    images = x.clone()
    with torch.no_grad():
        fast(images)
    assert torch.equal(images, x)
    assert network.training
    assert not fast.training
    assert not any(p.requires_grad for p in fast.parameters())
    for tensor in (*fast.parameters(), *fast.buffers()):
        tensor.data.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(p.requires_grad for p in network.parameters())


@pytest.fixture(scope="module", params=[toy, nano])
def exported(request: pytest.FixtureRequest) -> Exported:
    fast, free = fast_form(request.param()), torch.export.Dim.AUTO
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
