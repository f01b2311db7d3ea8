"""The MicroNet networks: published counts, timm's options, and input of every shape."""

from __future__ import annotations

import re
from itertools import accumulate

import pytest
import timm
import torch
from torch import Tensor, nn

from tests.filling import filled
from visionlab.backbones.micronet import CONFIGURATIONS, MicroNet, multiply_adds_of_shift_max
from visionlab.backbones.micronet_blocks import Row
from visionlab.backbones.micronet_shiftmax import DynamicShiftMax
from visionlab.measure.cost import multiply_adds, parameters

PUBLISHED = {  # parameters and multiply-adds in millions, as printed
    "m0": (1.0, 4),
    "m1": (1.8, 6),
    "m2": (2.4, 12),
    "m3": (2.6, 21),
}
MEASURED = {  # parameters; millions of multiply-adds of convolutions and linear layers, and with Dynamic Shift-Max
    "m0": (1_019_590, 3.449, 4.05),
    "m1": (1_777_587, 5.314, 6.12),
    "m2": (2_393_876, 10.338, 12.74),
    "m3": (2_622_960, 18.236, 20.81),
}
BLOCKS = {  # of each block: side of its map, multiply-adds in millions, those of Dynamic Shift-Max
    "m0": """112 0.602 0, 56 0.502 0.050, 28 0.227 0.119, 14 0.134 0.044, 14 0.282 0.113, 7 0.268 0.132, 7 0.371 0.110,
        7 0.178 0.038""",
    "m1": """112 0.903 0, 56 0.753 0.050, 28 0.252 0.125, 14 0.178 0.056, 14 0.426 0.163, 7 0.416 0.194, 7 0.585 0.160,
        7 0.288 0.056""",
    "m2": """112 1.204 0, 56 0.903 0.075, 28 0.378 0.176, 28 0.530 0.238, 14 1.130 0.577, 14 0.851 0.314,
        14 0.852 0.326, 7 1.206 0.386, 7 1.060 0.238, 7 0.412 0.075""",
    "m3": """112 1.355 0, 56 1.507 0.602, 28 0.605 0.201, 28 0.796 0.301, 14 1.115 0.113, 14 0.839 0.151,
        14 0.839 0.151, 14 2.153 0.301, 14 2.711 0.376, 7 1.464 0.094, 7 1.287 0.141, 7 1.146 0.141, 7 0.508 0""",
}
TOY = {
    "stem": (4, 2),
    "head_width": 32,
    "rows": (
        Row("A", (2, 2), 16, 1, 3, (0, 4), (4, 4), (0, 2, 1), 1),
        Row("A", (2, 2), 24, 2, 3, (0, 4), (4, 4), (0, 2, 1), 1),
        Row("B", (1, 4), 32, 1, 3, (4, 4), (4, 4), (2, 2, 1), 1),
        Row("C", (1, 4), 64, 2, 3, (8, 8), (8, 8), (2, 2, 1), 1),
        Row("C", (1, 4), 64, 1, 3, (8, 8), (8, 8), (2, 2, 1), 1),
        Row("last", (1, 4), 256, 1, 3, (8, 8), (0, 0), (2, 2, 1), 1),
    ),
    "num_classes": 5,
}


def toy(**changes: object) -> MicroNet:
    """A small network with weights by the rule of the goldens: fresh ones hardly depend on the image."""
    network = MicroNet(**(TOY | changes)).eval()
    return filled(network)


def meta(size: str) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model(f"micronet_{size}")


@pytest.mark.parametrize("size", CONFIGURATIONS)
def test_network_and_blocks_cost_what_the_tables_say(size: str) -> None:
    network = meta(size)
    count, plain, whole = MEASURED[size]
    assert parameters(network) == count
    assert round(count / 1e6, 1) == PUBLISHED[size][0]
    assert len(network.state_dict()) == {"m0": 218, "m1": 218, "m2": 290, "m3": 322}[size]
    rows = [tuple(map(float, row.split())) for row in BLOCKS[size].split(",")]
    blocks = [network.stem, *(block for stage in network.stages for block in stage.blocks)]
    x = torch.empty(1, 3, 224, 224, device="meta")
    convolutions, mixes = [], []
    for block, (side, _, _) in zip(blocks, rows, strict=True):
        convolutions.append(multiply_adds(block, x))
        mixes.append(multiply_adds_of_shift_max(block, x))
        x = block(x)
        assert x.shape[2:] == (side, side)
    assert [n / 1e6 for n in convolutions] == pytest.approx([row[1] for row in rows], abs=6e-4)
    assert [n / 1e6 for n in mixes] == pytest.approx([row[2] for row in rows], abs=6e-4)
    head = network.head_hidden_size * (network.num_features + 1000)
    total = sum(convolutions) + head
    assert round(total / 1e6, 3) == plain
    assert round((total + sum(mixes)) / 1e6, 2) == whole
    # Printed as whole millions: of M2, published as 12, there are 12.74, which is cut off; M3 is rounded.
    assert abs(whole - PUBLISHED[size][1]) < 1
    assert abs(whole - PUBLISHED[size][1]) < abs(plain - PUBLISHED[size][1])


def test_the_counters_see_the_whole_network() -> None:
    network, x = meta("m0"), torch.empty(1, 3, 224, 224, device="meta")
    assert multiply_adds(network, x) == 3_448_880
    assert multiply_adds_of_shift_max(network, x) == 605_248


@pytest.mark.parametrize("size", ["m2", "m3"])
def test_blocks_with_a_skip_are_those_of_the_table(size: str) -> None:
    blocks = [block for stage in meta(size).stages for block in stage.blocks]
    skips = [i for i, block in enumerate(blocks, start=1) if getattr(block, "skip", False)]
    assert skips == {"m2": [5], "m3": [3, 5, 8, 10]}[size]


def test_m3_has_shift_max_only_behind_the_depthwise_factors() -> None:
    found = [name for name, layer in meta("m3").named_modules() if isinstance(layer, DynamicShiftMax)]
    assert len(found) == 11
    assert {name.rsplit(".", 1)[1] for name in found[:3]} == {"act1"}
    assert {name.rsplit(".", 1)[1] for name in found[3:]} == {"act2"}
    assert meta("m2").stages[0].blocks[0].act1._get_name() == "ReLU6"


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (1, 1), (2, 200), (31, 64)])
def test_any_image_size_gives_logits_and_maps_that_halve_rounding_up(size: tuple[int, int]) -> None:
    network = toy()
    x = torch.randn(1, 3, *size)
    assert network(x).isfinite().all()
    sides = list(accumulate(range(3), lambda s, _: [(n + 1) // 2 for n in s], initial=list(size)))[1:]
    maps = network.forward_intermediates(x, intermediates_only=True)
    assert [list(y.shape[2:]) for y in maps] == sides
    assert [info["reduction"] for info in network.feature_info] == [2, 4, 8]
    assert [y.shape[1] for y in maps] == [info["num_chs"] for info in network.feature_info] == [16, 32, 256]


def test_images_of_a_batch_do_not_see_each_other() -> None:
    network = toy().double()
    x = torch.randn(3, 3, 32, 40, dtype=torch.double)
    assert torch.allclose(network(x), torch.cat([network(image[None]) for image in x]), atol=1e-12)
    assert network(x[:0]).shape == (0, 5)


def test_layout_in_memory_does_not_matter() -> None:
    network = toy().double()
    x = torch.randn(2, 3, 32, 32, dtype=torch.double)
    expected = network(x)
    assert torch.allclose(network(x.to(memory_format=torch.channels_last)), expected, atol=1e-12)
    assert torch.allclose(network(x.transpose(2, 3).contiguous().transpose(2, 3)), expected, atol=1e-12)
    assert torch.allclose(network(torch.cat([x, x], 3)[..., :32]), expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_nearly_the_same_logits(dtype: torch.dtype) -> None:
    network = toy()
    x = torch.randn(2, 3, 32, 32)
    expected = network(x)
    got = network.to(dtype)(x.to(dtype))
    assert got.dtype == dtype
    assert (got.float() - expected).abs().max() < 0.1 * expected.abs().max()


def test_mixed_precision_trains() -> None:
    network, kinds = toy().train(), set()
    for layer in network.modules():
        if isinstance(layer, DynamicShiftMax):
            layer.register_forward_hook(lambda _layer, _inputs, map_: kinds.add(map_.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = network(torch.randn(4, 3, 32, 32)).square().mean()
    loss.backward()
    assert kinds == {torch.bfloat16}, "maps are kept in the precision of the layers"
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_no_number_in_gives_no_number_out_of_that_image_alone() -> None:
    x = torch.randn(2, 3, 32, 32)
    x[0, 1, 5, 5] = float("nan")
    y = toy()(x)
    assert y[0].isnan().all()
    assert y[1].isfinite().all()


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (1, 3, 0, 64), (1, 4, 64, 64)])
def test_images_of_another_shape_are_refused_in_words(shape: tuple[int, ...]) -> None:
    words = re.escape(f"x: expected images (B, 3, H, W) with H, W >= 1, got shape {shape}")
    with pytest.raises(ValueError, match=words):
        toy()(torch.zeros(shape))


@pytest.mark.usefixtures("as_users_run_it")
def test_other_pooling_is_refused() -> None:
    with pytest.raises(ValueError, match="global_pool: expected 'avg' or '', got 'max'"):
        toy(global_pool="max")
    with pytest.raises(ValueError, match="global_pool: expected 'avg' or '', got 'max'"):
        toy().reset_classifier(3, "max")


def test_one_image_is_refused_in_training_and_positions_count_as_images() -> None:
    with pytest.raises(ValueError, match="needs at least 2 images in training mode, got 1"):
        toy().train()(torch.randn(1, 3, 32, 32))
    network = toy(global_pool="").train()
    assert network(torch.randn(1, 3, 32, 32)).shape == (1, 4, 4, 5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"groups": (5, 4)}, r"block B of 24 to 32 channels: .* input: expected groups that divide 24 channels, got 5"),
        ({"out_groups": (5, 4)}, "block B of 24 to 32 channels: .*divide 96 channels, got 5"),
        ({"out_groups": (4, 3)}, "block B of 24 to 32 channels: .*divide 32 channels, got 3"),
        ({"groups": (4, 5)}, "block B of 24 to 32 channels: .*divide 96 channels, got 5"),
        ({"groups": (4, 0)}, "block B of 24 to 32 channels: .*divide 96 channels, got 0"),
        ({"kernel": 4}, "block B of 24 to 32 channels: kernel: expected an odd number >= 1, got 4"),
        ({"activations": (2, 3, 1)}, "block B of 24 to 32 channels: activations: expected 0, 1 or 2, got 3"),
        ({"kind": "D"}, "kind: expected one of A, B, C, last, got 'D'"),
    ],
)
@pytest.mark.usefixtures("as_users_run_it")
def test_rows_that_do_not_fit_are_refused_with_their_numbers(changes: dict, words: str) -> None:
    rows = [*TOY["rows"][:2], TOY["rows"][2]._replace(**changes), *TOY["rows"][3:]]
    with pytest.raises(ValueError, match=words):
        toy(rows=rows)


def test_a_network_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="rows: expected at least one, got none"):
        toy(rows=())


@pytest.mark.parametrize("activations", [(0, 0, 0), (0, 1, 0), (2, 0, 0), (1, 1, 1), (0, 0, 1)])
def test_all_combinations_of_activations_run_and_count(activations: tuple[int, int, int]) -> None:
    network = toy(rows=[row._replace(activations=activations) for row in TOY["rows"]])
    x = torch.randn(1, 3, 16, 16)
    assert network(x).isfinite().all()
    assert (multiply_adds_of_shift_max(network, x) > 0) == any(activations)
    assert network.training is False


def test_the_shuffle_that_transposes_depends_on_the_activations() -> None:
    def second(*activations: int) -> list[int]:
        block = toy(rows=[row._replace(activations=activations) for row in TOY["rows"]]).stages[1].blocks[1]
        return [shuffle.groups for shuffle in block.shuffle2]

    assert [second(2, 2, 1), second(0, 2, 0), second(2, 0, 0), second(0, 0, 0)] == [[96 // 4], [96 // 2], [96 // 2], []]


def test_offsets_of_one_number_make_the_network_one_of_dynamic_relu() -> None:
    network = toy(offsets=((1.0,), (0.0,)))
    x = torch.randn(2, 3, 32, 32)
    assert network(x).shape == (2, 5)
    assert multiply_adds_of_shift_max(network, x) == multiply_adds_of_shift_max(toy(), x) / 2


def test_logits_of_the_published_head_are_bounded_below_and_plain_ones_are_not() -> None:
    def lowest(network: MicroNet) -> float:
        nn.init.normal_(network.head.linear.weight, std=10)
        return network(torch.randn(8, 3, 32, 32)).min().item()

    assert -0.375 <= lowest(toy()) < 0
    assert lowest(toy(normed_logits=False)) < -0.375
    assert toy(normed_logits=False).head.norm._get_name() == "Identity"


def test_a_new_classifier_keeps_its_kind_dtype_and_mode() -> None:
    network = toy(normed_logits=False).double().train()
    network.reset_classifier(7)
    assert network(torch.randn(2, 3, 16, 16, dtype=torch.double)).shape == (2, 7)
    assert network.head.norm._get_name() == "Identity"
    fresh = toy()
    fresh.reset_classifier(4)
    assert fresh.head.norm.num_features == 4
    assert not fresh.head.norm.training


def test_it_is_initialised_as_published() -> None:
    network = timm.create_model("micronet_m3")
    assert network.head.linear.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not network.head.linear.bias.any()
    wide = network.stages[3].blocks[-1].expand.conv  # 864 channels, in 12 groups
    assert wide.weight.std().item() == pytest.approx((2 / 864) ** 0.5, rel=0.05)


def gradients(network: nn.Module, x: Tensor) -> list[Tensor]:
    network(x).square().mean().backward()
    return [p.grad for p in network.parameters()]


def test_checkpointing_changes_no_gradient() -> None:
    x = torch.randn(2, 3, 32, 32)
    plain, again = toy().train(), toy().train()
    again.set_grad_checkpointing()
    assert all(torch.equal(a, b) for a, b in zip(gradients(plain, x), gradients(again, x), strict=True))


def test_it_can_be_copied_and_pickled(tmp_path) -> None:  # type: ignore[no-untyped-def]
    network = toy()
    torch.save(network, tmp_path / "whole.pt")
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(torch.load(tmp_path / "whole.pt", weights_only=False)(x), network(x))
