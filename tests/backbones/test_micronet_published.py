"""Published MicroNet files: their layout, field by field, and the ways in which a file can be wrong."""

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
from visionlab.backbones.micronet import CONFIGURATIONS, MicroNet


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    """The state dict of M0 with the published names, as the golden lists them."""
    listed = golden("micronet_m0_224")["state_dict"]
    return {name: entry(name, tuple(shape)).float() for name, shape in listed.items()}


def load(path: Path, name: str = "micronet_m0", **options: Any) -> MicroNet:
    return timm.create_model(name, checkpoint_path=str(path), **options)


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    shapes = {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
    return shapes | {f"{name}.num_batches_tracked": ()}


def shift_max(name: str, width: int, ratio: int, coefficients: int) -> dict[str, tuple[int, ...]]:
    hidden = max(4, (width // ratio + 2) // 4 * 4)
    hidden += 4 * (hidden < 0.9 * (width // ratio))
    shapes = {f"{name}.fc.0.weight": (hidden, width), f"{name}.fc.0.bias": (hidden,)}
    total = coefficients * width
    return shapes | {f"{name}.fc.2.weight": (total, hidden), f"{name}.fc.2.bias": (total,)}


def layout(
    size: str,
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a published file, written down from the description of its format alone."""
    config = CONFIGURATIONS[size]
    o1, o2 = config["stem"]
    at = "features.0.stem.0.conv"
    shapes = {f"{at}.0.weight": (o1, 3, 3, 1), **norm(f"{at}.1", o1)}
    shapes |= {f"{at}.2.weight": (o1 * o2, 1, 1, 3), **norm(f"{at}.3", o1 * o2)}
    width = o1 * o2
    for n, row in enumerate(config["rows"], start=1):
        at, (c1, c2), k, out, ratio = f"features.{n}.layers", row.expansion, row.kernel, row.out, 8 * row.reduction
        hidden, (y1, y2, y3) = width * c1 * c2, row.activations
        if row.kind == "last":
            shapes |= {f"{at}.0.conv.0.weight": (out, width // row.groups[0], 1, 1), **norm(f"{at}.0.conv.1", out)}
            shapes |= shift_max(f"{at}.1", out, ratio, 2) if y3 else {}
        elif row.kind == "A":
            shapes |= {f"{at}.0.conv.0.weight": (width * c1, 1, k, 1), **norm(f"{at}.0.conv.1", width * c1)}
            shapes |= {f"{at}.0.conv.2.weight": (hidden, 1, 1, k), **norm(f"{at}.0.conv.3", hidden)}
            shapes |= shift_max(f"{at}.1", hidden, ratio, 4) if y2 else {}
            shapes |= {f"{at}.4.conv.0.weight": (out, hidden // row.out_groups[0], 1, 1), **norm(f"{at}.4.conv.1", out)}
            shapes |= shift_max(f"{at}.5", out, ratio // 2, 2) if y3 else {}
        else:
            shapes |= {f"{at}.0.conv.0.weight": (hidden, width // row.groups[0], 1, 1)}
            shapes |= norm(f"{at}.0.conv.1", hidden)
            shapes |= shift_max(f"{at}.1", hidden, ratio, 4) if y1 else {}
            shapes |= {f"{at}.3.conv.0.weight": (hidden, 1, k, 1), **norm(f"{at}.3.conv.1", hidden)}
            shapes |= {f"{at}.3.conv.2.weight": (hidden, 1, 1, k), **norm(f"{at}.3.conv.3", hidden)}
            shapes |= shift_max(f"{at}.5", hidden, ratio, 4) if y2 else {}
            shapes |= {f"{at}.7.conv.0.weight": (out, hidden // row.out_groups[0], 1, 1), **norm(f"{at}.7.conv.1", out)}
            shapes |= shift_max(f"{at}.8", out, ratio // 2 if out < hidden else ratio, 2) if y3 else {}
        width = out
    for place, (before, after) in enumerate(((width, config["head_width"]), (config["head_width"], 1000))):
        at = f"classifier.{2 * place}.linear"
        shapes |= {f"{at}.0.weight": (after, before), f"{at}.0.bias": (after,), **norm(f"{at}.1", after)}
    return shapes


def test_the_layout_is_that_of_the_golden() -> None:
    assert layout("m0") == {k: tuple(v) for k, v in golden("micronet_m0_224")["state_dict"].items()}


@pytest.mark.parametrize(("size", "entries"), [("m0", 218), ("m1", 218), ("m2", 290), ("m3", 322)])
def test_every_published_name_has_a_place_in_order(size: str, entries: int) -> None:
    state = {name: torch.full(shape, float(i), device="meta") for i, (name, shape) in enumerate(layout(size).items())}
    assert len(state) == entries
    with torch.device("meta"):
        network = timm.create_model(f"micronet_{size}")
        network.load_state_dict(state, strict=True, assign=True)
    assert all(a is b or a.shape == b.shape for a, b in zip(network.state_dict().values(), state.values(), strict=True))


@pytest.mark.parametrize("wrapper", ["plain", "state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_published_layout_loads_strictly(published: dict, tmp_path: Path, wrapper: str, prefix: str) -> None:
    state = {prefix + name: tensor for name, tensor in published.items()}
    torch.save(state if wrapper == "plain" else {"epoch": 600, wrapper: state}, tmp_path / "micronet-m0.pth")
    network = load(tmp_path / "micronet-m0.pth")
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), published.values(), strict=True))
    blocks = [block for stage in network.stages for block in stage.blocks]
    assert torch.equal(network.stem.row.weight, published["features.0.stem.0.conv.2.weight"])
    assert torch.equal(blocks[1].act1.coefficients.fc2.bias, published["features.2.layers.1.fc.2.bias"])
    assert torch.equal(blocks[3].depthwise.norm2.running_var, published["features.4.layers.3.conv.3.running_var"])
    assert torch.equal(blocks[4].squeeze.conv.weight, published["features.5.layers.7.conv.0.weight"])
    assert torch.equal(blocks[6].act.coefficients.fc1.weight, published["features.7.layers.1.fc.0.weight"])
    assert torch.equal(network.head.norm.bias, published["classifier.2.linear.1.bias"])


def test_a_prefixed_dict_loads_without_timm_and_stays_as_it_is(published: dict) -> None:
    state = {"module." + name: tensor for name, tensor in published.items()}
    names = list(state)
    network = timm.create_model("micronet_m0")
    network.load_state_dict(state, strict=True)
    assert list(state) == names
    assert torch.equal(network.head.linear.bias, published["classifier.2.linear.0.bias"])


def test_safetensors_and_our_own_names_load_as_well(published: dict, tmp_path: Path) -> None:
    save_file(published, tmp_path / "published.safetensors")
    first = load(tmp_path / "published.safetensors")
    save_file(first.state_dict(), tmp_path / "ours.safetensors")
    second = load(tmp_path / "ours.safetensors")
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_timm_adapts_published_files_to_other_classes_and_channels(published: dict, tmp_path: Path) -> None:
    torch.save(published, tmp_path / "micronet-m0.pth")
    overlay = {"file": str(tmp_path / "micronet-m0.pth"), "num_classes": 1000}
    options = {"pretrained": True, "pretrained_cfg_overlay": overlay}
    network = timm.create_model("micronet_m0", num_classes=4, in_chans=1, **options)
    assert network.head.linear.weight.shape == (4, 640)
    assert torch.equal(network.neck[1].linear.weight, published["classifier.0.linear.0.weight"])
    grey = published["features.0.stem.0.conv.0.weight"].sum(dim=1, keepdim=True)
    assert torch.allclose(network.stem.column.weight, grey, atol=1e-6)
    bare = timm.create_model("micronet_m0", num_classes=0, **options)
    assert torch.equal(bare.neck[1].linear.bias, published["classifier.0.linear.0.bias"])
    whole = timm.create_model("micronet_m0", **options)
    assert torch.equal(whole.head.norm.bias, published["classifier.2.linear.1.bias"])


def test_a_checkpoint_for_other_classes_says_what_to_do(published: dict, tmp_path: Path) -> None:
    torch.save(published, tmp_path / "micronet-m0.pth")
    with pytest.raises(ValueError, match=r"1000 classes.*4 classes.*load, then call reset_classifier"):
        load(tmp_path / "micronet-m0.pth", num_classes=4)


@pytest.mark.parametrize("name", ["micronet_m1", "micronet_m2", "micronet_m3"])
def test_a_checkpoint_of_another_variant_is_refused_with_both_widths(
    published: dict, tmp_path: Path, name: str
) -> None:
    torch.save({"module." + k: v for k, v in published.items()}, tmp_path / "micronet-m0.pth")
    ours = "-".join(str(row.out) for row in CONFIGURATIONS[name[-2:]]["rows"])
    words = rf"a MicroNet of stem 4, blocks 8-12-16-32-64-96-384, head 640, .*; this network has stem .*blocks {ours}, "
    with pytest.raises(ValueError, match=words):
        load(tmp_path / "micronet-m0.pth", name)


def test_a_checkpoint_with_more_blocks_is_refused() -> None:
    rows = CONFIGURATIONS["m0"]["rows"]
    shorter = MicroNet(**(CONFIGURATIONS["m0"] | {"rows": rows[:-1]}))
    state = {k: v for k, v in timm.create_model("micronet_m0").state_dict().items() if not k.startswith("neck")}
    with pytest.raises(ValueError, match=r"64-96-384, .*64-96, .*\(stages\.3\.blocks\.2\.expand.* has no place in it"):
        shorter.load_state_dict(state)


def test_a_checkpoint_with_more_activations_is_refused(published: dict) -> None:
    rows = [row._replace(activations=(0, 2, 0)) for row in CONFIGURATIONS["m0"]["rows"]]
    with pytest.raises(ValueError, match=r"\(stages\.0\.blocks\.0\.act2\.coefficients\.fc1\.weight has no place"):
        MicroNet(**(CONFIGURATIONS["m0"] | {"rows": rows})).load_state_dict(published)


def test_missing_entries_are_named(published: dict, tmp_path: Path) -> None:
    torch.save({k: v for k, v in published.items() if k != "features.5.layers.7.conv.1.bias"}, tmp_path / "less.pth")
    with pytest.raises(RuntimeError, match=r"stages\.3\.blocks\.0\.squeeze\.norm\.bias"):
        load(tmp_path / "less.pth")


def test_blocks_of_a_checkpoint_are_left_to_strict(published: dict) -> None:
    network = timm.create_model("micronet_m0")
    part = {name: tensor for name, tensor in published.items() if name.startswith(("features.1.", "features.5."))}
    found = network.load_state_dict(part, strict=False)
    assert not found.unexpected_keys
    assert not [name for name in found.missing_keys if name.startswith(("stages.0.", "stages.3.blocks.0."))]
    assert torch.equal(network.stages[3].blocks[0].expand.norm.bias, published["features.5.layers.0.conv.1.bias"])
    with pytest.raises(RuntimeError, match="Missing key"):
        network.load_state_dict(part)


@pytest.mark.parametrize("content", [{"net": {}, "epoch": torch.ones(1)}, {"conv1.weight": torch.ones(8, 3, 7, 7)}])
def test_a_file_without_a_micronet_is_refused_in_words(tmp_path: Path, content: dict) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=f"checkpoint: holds no MicroNet; it begins with {next(iter(content))}"):
        load(tmp_path / "other.pth")


def test_a_truncated_file_raises(published: dict, tmp_path: Path) -> None:
    torch.save(published, tmp_path / "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(RuntimeError, match="zip archive"):
        load(tmp_path / "half.pth")


def test_a_hostile_file_is_refused_and_nothing_of_it_runs(tmp_path: Path) -> None:
    torch.save({"state_dict": Hostile(tmp_path / "owned")}, tmp_path / "hostile.pth")
    with pytest.raises((RuntimeError, pickle.UnpicklingError), match="weights_only"):
        load(tmp_path / "hostile.pth")
    assert not (tmp_path / "owned").exists()
