"""Published checkpoint files: their layouts, and the ways in which a file can be wrong."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.filling import entry, golden
from tests.hostile import Hostile
from visionlab.backbones.cswin import CONFIGURATIONS, CSWinTransformer
from visionlab.backbones.cswin_pyramid import CSWinPyramid

SMALL = {"depths": (1, 1, 2, 1), "dim": 16, "heads": (2, 4, 8, 8), "num_classes": 10, "img_size": 64}
SMALL |= {"stripe_widths": (1, 2, 2, 2)}


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    """A small state dict with the published names, as the golden lists them."""
    listed = golden("cswin_nano_64")["state_dict"]
    return {name: entry(name, tuple(shape)).float() for name, shape in listed.items()}


def load(path: Path, **changes: Any) -> CSWinTransformer:
    return timm.create_model("cswin_tiny_224", checkpoint_path=str(path), **(SMALL | changes))


@pytest.mark.parametrize("layout", ["plain", "state_dict", "state_dict_ema", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_published_layout_loads_strictly(published: dict, tmp_path: Path, layout: str, prefix: str) -> None:
    state = {prefix + name: tensor for name, tensor in published.items()}
    torch.save(state if layout == "plain" else {"epoch": 299, layout: state}, tmp_path / "cswin.pth")
    network = load(tmp_path / "cswin.pth")
    assert torch.equal(network.stages[2].blocks[1].attention.qkv.weight, published["stage3.1.qkv.weight"])
    assert torch.equal(
        network.stages[0].blocks[0].attention.branches[1].lepe.weight, published["stage1.0.attns.1.get_v.weight"]
    )
    assert torch.equal(network.stages[1].merge.conv.bias, published["merge1.conv.bias"])
    assert torch.equal(network.stem.norm.weight, published["stage1_conv_embed.2.weight"])


def test_the_average_is_preferred_to_the_last_weights(published: dict, tmp_path: Path) -> None:
    average = {name: tensor + 1 for name, tensor in published.items()}
    torch.save({"state_dict": published, "state_dict_ema": average}, tmp_path / "both.pth")
    assert torch.equal(load(tmp_path / "both.pth").head.bias, published["head.bias"] + 1)


def test_safetensors_and_our_own_names_load_as_well(published: dict, tmp_path: Path) -> None:
    save_file(published, tmp_path / "published.safetensors")
    first = load(tmp_path / "published.safetensors")
    save_file(first.state_dict(), tmp_path / "ours.safetensors")
    second = load(tmp_path / "ours.safetensors")
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_loading_leaves_the_callers_dict_alone(published: dict) -> None:
    names = list(published)
    CSWinTransformer(**SMALL).load_state_dict(published)
    assert list(published) == names


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dim": 32}, "16 channels from 3.*32 channels from 3"),
        ({"num_classes": 1000}, "10 classes.*1000 classes"),
        ({"in_chans": 1}, "16 channels from 3.*16 channels from 1"),
        ({"stripe_widths": (1, 2, 4, 4)}, r"\(2, 2, 2, 1\).*\(2, 2, 1, 1\)"),
    ],
)
def test_a_checkpoint_of_another_network_is_refused_in_words(
    published: dict, tmp_path: Path, changes: dict, words: str
) -> None:
    torch.save(published, tmp_path / "cswin.pth")
    with pytest.raises(ValueError, match=words):
        load(tmp_path / "cswin.pth", **changes)


def test_other_depths_and_missing_entries_are_named(published: dict, tmp_path: Path) -> None:
    torch.save(published, tmp_path / "cswin.pth")
    with pytest.raises(ValueError, match=r"depths \(1, 1, 2, 1\).*depths \(1, 1, 3, 1\)"):
        load(tmp_path / "cswin.pth", depths=(1, 1, 3, 1))
    torch.save({k: v for k, v in published.items() if k != "stage3.0.proj.bias"}, tmp_path / "less.pth")
    with pytest.raises(RuntimeError, match=r"stages\.2\.blocks\.0\.attention\.proj\.bias"):
        load(tmp_path / "less.pth")


def test_truncated_and_missing_files_raise(published: dict, tmp_path: Path) -> None:
    torch.save(published, tmp_path / "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(Exception, match=r"(?i)zip|archive|pickle"):
        load(tmp_path / "half.pth")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nowhere.pth")


def test_a_hostile_file_is_refused_and_nothing_of_it_runs(tmp_path: Path) -> None:
    torch.save({"state_dict": Hostile(tmp_path / "owned")}, tmp_path / "hostile.pth")
    with pytest.raises((RuntimeError, pickle.UnpicklingError), match="weights_only"):
        load(tmp_path / "hostile.pth")
    assert not (tmp_path / "owned").exists()


def test_pyramid_reads_segmentation_files_with_and_without_prefix() -> None:
    listed = golden("cswin_seg_tiny_256x320")["state_dict"]
    state = {name: torch.zeros(shape) + 0.5 for name, shape in listed.items()}
    for prefix in ("", "backbone."):
        pyramid = CSWinPyramid(**CONFIGURATIONS["tiny"])
        pyramid.load_state_dict({prefix + name: tensor for name, tensor in state.items()}, strict=True)
        assert all(bool((tensor == 0.5).all()) for tensor in pyramid.state_dict().values())
    pyramid.load_state_dict(pyramid.state_dict(), strict=True)


def test_pyramid_takes_imagenet_weights_but_for_norm_and_head() -> None:
    listed = golden("cswin_tiny_224")["state_dict"]
    state = {name: torch.zeros(shape) for name, shape in listed.items()}
    found = CSWinPyramid(**CONFIGURATIONS["tiny"]).load_state_dict(state, strict=False)
    assert sorted(found.unexpected_keys) == [
        "trunk.head.bias",
        "trunk.head.weight",
        "trunk.norm.bias",
        "trunk.norm.weight",
    ]
    assert sorted(found.missing_keys) == sorted(f"norms.{i}.{p}" for i in range(4) for p in ("weight", "bias"))
