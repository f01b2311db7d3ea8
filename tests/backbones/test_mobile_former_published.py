"""Published checkpoint files: their layout, what they compute, and the ways in which a file can be wrong."""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.filling import golden, images
from tests.hostile import Hostile
from tests.plain_mobile_former import logits
from tests.published_mobile_former import VARIANTS, published_entries, published_shapes
from visionlab.backbones import mobile_former_published
from visionlab.backbones.mobile_former import CONFIGURATIONS, MobileFormer
from visionlab.backbones.mobile_former_mobile import Regular

ENTRIES = {"26m": 460, "52m": 460, "96m": 466, "151m": 616, "214m": 616, "294m": 616, "508m": 616}


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    return {name: tensor.float() for name, tensor in published_entries("26m", classes=10).items()}


def load(path: Path, name: str = "mobile_former_26m", **changes: Any) -> MobileFormer:
    return timm.create_model(name, checkpoint_path=str(path), **({"num_classes": 10} | changes))


def test_the_layout_is_that_of_the_published_code() -> None:
    assert published_shapes("52m") == golden("mobile_former_52m_224")["state_dict"]
    assert {variant: len(published_shapes(variant)) for variant in VARIANTS} == ENTRIES


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_computes_what_a_plain_form_of_the_published_code_computes(variant: str) -> None:
    state = published_entries(variant, classes=10)
    network = timm.create_model(f"mobile_former_{variant}", num_classes=10).double().eval()
    network.load_state_dict(state, strict=True)
    x = images(2, 64)[:, :, :, :47]
    with torch.no_grad():
        expected = logits(state, x, lite_stride=VARIANTS[variant][3][2], grouped=variant == "26m")
        assert torch.allclose(network(x), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("layout", ["plain", "state_dict"])
def test_every_published_layout_loads_strictly(published: dict, tmp_path: Path, layout: str, prefix: str) -> None:
    state = {prefix + name: tensor for name, tensor in published.items()}
    content = {"epoch": 449, "arch": "mobile_former_26m", "args": argparse.Namespace(lr=8e-4), "state_dict": state}
    torch.save(state if layout == "plain" else content, tmp_path / "mobile-former-26m.pth.tar")
    network = load(tmp_path / "mobile-former-26m.pth.tar")
    assert torch.equal(network.tokens.weight, published["tokens.weight"])
    assert torch.equal(network.stem.norm.running_var, published["stem.1.running_var"])
    lite, down = network.stages[0].blocks[0].mobile, network.stages[1].blocks[0]
    assert torch.equal(lite.conv2.conv.weight, published["features.0.conv.4.weight"])
    assert torch.equal(down.mobile.act3.slopes.mlp[2].bias, published["features.2.hyper3.hyper.2.bias"])
    assert torch.equal(down.to_mobile.value.weight, published["features.2.global_local.proj.weight"])
    last = network.stages[3].blocks[1]
    assert torch.equal(last.former.norm1.bias, published["features.8.global_block.layer_norm.bias"])
    assert torch.equal(last.former.norm2.bias, published["features.8.global_block.ffn_norm.bias"])
    assert torch.equal(network.to_former.gate[0].weight, published["local_global.alpha.0.weight"])
    assert torch.equal(network.head.classifier.bias, published["classifier.classifier.1.bias"])


def test_our_own_names_load_as_well(published: dict, tmp_path: Path) -> None:
    save_file(published, tmp_path / "published.safetensors")
    first = load(tmp_path / "published.safetensors")
    save_file(first.state_dict(), tmp_path / "ours.safetensors")
    second = load(tmp_path / "ours.safetensors")
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_timm_adapts_published_files_to_other_classes_and_channels(published: dict, tmp_path: Path) -> None:
    torch.save(published, tmp_path / "file.pth")
    overlay = {"file": str(tmp_path / "file.pth"), "num_classes": 10}
    network = timm.create_model(
        "mobile_former_26m", pretrained=True, pretrained_cfg_overlay=overlay, num_classes=4, in_chans=1
    )
    assert network.head.classifier.weight.shape == (4, 1024)
    assert torch.equal(network.head.fc.weight, published["classifier.fc.0.weight"])
    grey = published["stem.0.weight"].sum(dim=1, keepdim=True)
    assert torch.allclose(network.stem.conv.weight, grey, atol=1e-6)


def test_features_only_reads_a_published_file(published: dict, tmp_path: Path) -> None:
    torch.save({"state_dict": published}, tmp_path / "file.pth")
    overlay = {"file": str(tmp_path / "file.pth"), "num_classes": 10}
    options = {"pretrained": True, "pretrained_cfg_overlay": overlay, "features_only": True, "out_indices": (1, 3)}
    maps = timm.create_model("mobile_former_26m", **options).eval()
    x = torch.randn(1, 3, 64, 64)
    expected = load(tmp_path / "file.pth").eval().forward_intermediates(x, [1, 3], intermediates_only=True)
    assert all(torch.equal(a, b) for a, b in zip(maps(x), expected, strict=True))


def test_loading_leaves_the_callers_dict_alone(published: dict) -> None:
    names = list(published)
    timm.create_model("mobile_former_26m", num_classes=10).load_state_dict(published)
    assert list(published) == names


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("52m", {}, r"variant 26M.* 4 groups.*variant 52M.* channels, 10.*\(12, 6, 1, 1\), expected \(12, 24, 1, 1\)"),
        ("96m", {}, r"variant 26M, 3 tokens of 128, stem 8.*variant 96M, 4 tokens of 128, stem 12"),
        ("294m", {}, r"9 blocks of \(12, 12, 24.*12 blocks of \(16, 24, 24"),
        ("26m", {"in_chans": 1}, "stem 8 from 3 channels.*stem 8 from 1 channels"),
        ("26m", {"tokens": (5, 128)}, "3 tokens of 128.*5 tokens of 128"),
        ("26m", {"num_classes": 4}, "10 classes.*4 classes.*then call reset_classifier"),
    ],
)
def test_a_checkpoint_of_another_network_is_refused_in_words(
    published: dict, tmp_path: Path, name: str, changes: dict, words: str
) -> None:
    torch.save(published, tmp_path / "file.pth")
    with pytest.raises(ValueError, match=words):
        load(tmp_path / "file.pth", f"mobile_former_{name}", **changes)


def test_the_words_for_the_variants_are_true() -> None:
    for size, options in CONFIGURATIONS.items():
        last = options["stages"][-1][-1].out
        key = (last, options["tokens"][0], options.get("groups", 1))
        assert mobile_former_published.VARIANTS[key] == size.upper()


def test_more_blocks_than_the_network_has_are_refused(published: dict) -> None:
    stages = CONFIGURATIONS["26m"]["stages"]
    shorter = MobileFormer(**(CONFIGURATIONS["26m"] | {"stages": (*stages[:3], stages[3][:1]), "num_classes": 10}))
    with pytest.raises(ValueError, match=r"9 blocks of .*; this network has .*8 blocks of"):
        shorter.load_state_dict(published)
    longer = MobileFormer(
        **(CONFIGURATIONS["26m"] | {"stages": (*stages[:3], (*stages[3], Regular(576, 96))), "num_classes": 10})
    )
    with pytest.raises(RuntimeError, match=r"Missing key.*stages\.3\.blocks\.2"):
        longer.load_state_dict(published)


def test_missing_entries_are_named_and_a_part_is_left_to_strict(published: dict) -> None:
    network = timm.create_model("mobile_former_26m", num_classes=10)
    less = {k: v for k, v in published.items() if k != "features.3.global_local.k.bias"}
    with pytest.raises(RuntimeError, match=r"stages\.1\.blocks\.1\.to_mobile\.key\.bias"):
        network.load_state_dict(less)
    part = {k: v for k, v in published.items() if k.startswith(("stem", "tokens", "features.0."))}
    found = network.load_state_dict(part, strict=False)
    assert not found.unexpected_keys
    counters = {key for key in network.state_dict() if key.endswith("num_batches_tracked")}
    assert len(set(found.missing_keys) - counters) == sum("num_batches" not in key for key in published.keys() - part)


@pytest.mark.parametrize("content", [{"net": {}, "epoch": torch.ones(1)}, {"conv1.weight": torch.ones(8, 3, 7, 7)}])
def test_a_file_without_a_mobile_former_is_refused_in_words(tmp_path: Path, content: dict) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=f"checkpoint: holds no Mobile-Former; it begins with {next(iter(content))}"):
        load(tmp_path / "other.pth")


def test_truncated_and_hostile_files_raise_and_nothing_of_them_runs(published: dict, tmp_path: Path) -> None:
    torch.save(published, tmp_path / "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(RuntimeError, match="zip archive"):
        load(tmp_path / "half.pth")
    torch.save({"state_dict": Hostile(tmp_path / "owned")}, tmp_path / "hostile.pth")
    with pytest.raises((RuntimeError, pickle.UnpicklingError), match="weights_only"):
        load(tmp_path / "hostile.pth")
    assert not (tmp_path / "owned").exists()
