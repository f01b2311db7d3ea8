"""Published checkpoint files: their layouts, and the ways in which a file can be wrong."""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from timm.models import load_state_dict
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


def test_a_training_checkpoint_with_its_arguments_and_optimiser_loads(published: dict, tmp_path: Path) -> None:
    content = {"arch": "CSWin_64_12211_tiny_224", "args": argparse.Namespace(lr=0.002, aa="rand-m9"), "metric": 82.8}
    content |= {"optimizer": {"state": {}, "param_groups": []}, "state_dict": published}
    torch.save(content, tmp_path / "checkpoint-299.pth.tar")
    assert torch.equal(load(tmp_path / "checkpoint-299.pth.tar").head.bias, published["head.bias"])


def test_timm_adapts_published_files_to_other_classes_and_channels(published: dict, tmp_path: Path) -> None:
    file = tmp_path / "cswin_22k.pth"
    torch.save({"state_dict_ema": published}, file)
    options = SMALL | {"pretrained": True, "pretrained_cfg_overlay": {"file": str(file), "num_classes": 10}}
    network = timm.create_model("cswin_tiny_224", **(options | {"num_classes": 4, "in_chans": 1}))
    assert network.head.weight.shape == (4, 128)
    assert torch.equal(network.stages[2].blocks[0].mlp.fc1.weight, published["stage3.0.mlp.fc1.weight"])
    grey = published["stage1_conv_embed.0.weight"].sum(dim=1, keepdim=True)
    assert torch.allclose(network.stem.conv.weight, grey, atol=1e-6)


def test_a_22k_classifier_is_read_and_then_replaced(published: dict, tmp_path: Path) -> None:
    torch.save({"state_dict_ema": published}, tmp_path / "cswin_22k.pth")
    with pytest.raises(ValueError, match=r"build it with those of the checkpoint, load, then call reset_classifier"):
        load(tmp_path / "cswin_22k.pth", num_classes=4)
    network = load(tmp_path / "cswin_22k.pth")
    network.reset_classifier(4)
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 4)
    assert torch.equal(network.norm.weight, published["norm.weight"])


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


@pytest.mark.parametrize("content", [{"net": {}, "epoch": torch.ones(1)}, {"conv1.weight": torch.ones(8, 3, 7, 7)}])
def test_a_file_without_a_cswin_is_refused_in_words(tmp_path: Path, content: dict) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=f"checkpoint: holds no CSWin; it begins with {next(iter(content))}"):
        load(tmp_path / "other.pth")


def test_a_part_of_a_checkpoint_is_left_to_strict(published: dict) -> None:
    network = CSWinTransformer(**SMALL)
    part = {name: tensor for name, tensor in published.items() if name.startswith(("stage1", "merge1"))}
    found = network.load_state_dict(part, strict=False)
    assert not found.unexpected_keys
    assert len(found.missing_keys) == len(published) - len(part)
    assert torch.equal(network.stages[1].merge.conv.weight, published["merge1.conv.weight"])
    with pytest.raises(RuntimeError, match="Missing key"):
        network.load_state_dict(part)


def test_truncated_and_missing_files_raise(published: dict, tmp_path: Path) -> None:
    torch.save(published, tmp_path / "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(RuntimeError, match="zip archive"):
        load(tmp_path / "half.pth")
    save_file(published, tmp_path / "whole.safetensors")
    content = (tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / "half.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(SafetensorError, match="incomplete"):
        load(tmp_path / "half.safetensors")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nowhere.pth")


def test_a_hostile_file_is_refused_and_nothing_of_it_runs(tmp_path: Path) -> None:
    torch.save({"state_dict": Hostile(tmp_path / "owned")}, tmp_path / "hostile.pth")
    with pytest.raises((RuntimeError, pickle.UnpicklingError), match="weights_only"):
        load(tmp_path / "hostile.pth")
    assert not (tmp_path / "owned").exists()


def small_pyramid(**changes: Any) -> CSWinPyramid:
    return CSWinPyramid(**({k: v for k, v in SMALL.items() if k not in ("num_classes", "img_size")} | changes))


def segmentation(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights in the layout of a segmentation backbone, whose four norms the larger golden lists."""
    norms = [name for name in golden("cswin_seg_tiny_256x320")["state_dict"] if name.startswith("norm")]
    assert len(norms) == 8
    body = {name: tensor for name, tensor in published.items() if not name.startswith(("norm.", "head."))}
    return body | {name: entry(name, (16 * 2 ** (int(name[4]) - 1),)).float() for name in norms}


def test_pyramid_reads_every_name_of_a_segmentation_file() -> None:
    listed = golden("cswin_seg_tiny_256x320")["state_dict"]
    state = {name: torch.full(shape, 0.5, device="meta") for name, shape in listed.items()}
    with torch.device("meta"):
        pyramid = CSWinPyramid(**CONFIGURATIONS["tiny"])
        pyramid.load_state_dict(state, strict=True, assign=True)


@pytest.mark.parametrize("prefix", ["", "backbone.", "module.backbone."])
def test_pyramid_reads_segmentation_files_with_and_without_prefix(published: dict, tmp_path: Path, prefix: str) -> None:
    state = {prefix + name: tensor for name, tensor in segmentation(published).items()}
    if prefix:
        state |= {f"{prefix.removesuffix('backbone.')}decode_head.conv_seg.weight": torch.zeros(150, 512, 1, 1)}
    torch.save({"meta": {"epoch": 1}, "state_dict": state}, tmp_path / "upernet.pth")
    pyramid = small_pyramid()
    pyramid.load_state_dict(load_state_dict(str(tmp_path / "upernet.pth")), strict=True)
    assert torch.equal(pyramid.norms[3].bias, segmentation(published)["norm4.bias"])
    assert torch.equal(pyramid.trunk.stages[2].blocks[1].mlp.fc2.weight, published["stage3.1.mlp.fc2.weight"])
    again = small_pyramid()
    again.load_state_dict(pyramid.state_dict(), strict=True)
    assert all(
        torch.equal(a, b) for a, b in zip(again.state_dict().values(), pyramid.state_dict().values(), strict=True)
    )


def test_a_pyramid_of_another_size_is_refused_in_words(published: dict) -> None:
    for changes, words in (
        ({"dim": 32}, "16 channels from 3.*32 channels"),
        ({"depths": (1, 1, 2, 2)}, r"2, 1\).*2, 2\)"),
    ):
        with pytest.raises(ValueError, match=words):
            small_pyramid(**changes).load_state_dict(segmentation(published))


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
