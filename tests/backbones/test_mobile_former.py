"""The Mobile-Former network: counts, options, input of every shape, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from visionlab.backbones.mobile_former import CONFIGURATIONS, MobileFormer
from visionlab.backbones.mobile_former_mobile import Down, DynamicReLU, Lite, Regular, Votes
from visionlab.measure.cost import multiply_adds, parameters
from visionlab.watch import watch

NANO: dict[str, Any] = {
    "stages": ((Lite(2, 8, 1), Down(4, 8, 2)), (Down(2, 16, 2), Regular(32, 16)), (Regular(24, 20),)),
    "stem": 8,
    "tokens": (3, 16),
    "head_width": 32,
    "num_classes": 5,
}
CIFAR: dict[str, Any] = {
    "stages": (
        (Lite(2, 12, 2),),
        (Down(4, 16, 3), Regular(48, 16)),
        (Down(4, 32, 3), Regular(96, 32)),
        (Down(4, 64, 3), Regular(192, 64)),
    ),
    "stem": 8,
    "stem_stride": 1,
    "tokens": (3, 32),
    "head_ratio": 4,
    "head_width": 128,
    "num_classes": 10,
}


def nano(**changes: Any) -> MobileFormer:
    """A small network whose weights are large enough that every part of it matters."""
    torch.manual_seed(0)
    network = MobileFormer(**(NANO | changes)).eval()
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    return network


def costs(network: nn.Module, size: int = 224) -> tuple[int, int, int]:
    """Parameters, multiply-adds, and these with two for each element that a dynamic ReLU activates."""
    elements = 0

    def count(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal elements
        elements += output.numel()

    x = torch.empty(1, 3, size, size, device="meta")
    products = multiply_adds(network, x)
    for module in network.modules():
        if isinstance(module, DynamicReLU):
            module.register_forward_hook(count)
    with torch.no_grad():
        network.eval()(x)
    return parameters(network), products, products + 2 * elements


@pytest.mark.parametrize(
    ("size", "number", "published", "counted", "with_slopes"),
    [
        ("26m", 3_232_788, 3.2, 23.55, 25.19),
        ("52m", 3_469_092, 3.5, 49.29, 50.93),
        ("96m", 4_585_252, 4.6, 92.02, 94.45),
        ("151m", 7_595_828, 7.6, 146.25, 149.85),
        ("214m", 9_425_920, 9.4, 208.37, 212.90),
        ("294m", 11_422_648, 11.4, 286.73, 292.49),
        ("508m", 13_976_976, 14.0, 498.47, 506.35),
    ],
)
def test_parameters_and_multiply_adds_equal_the_tables(
    size: str, number: int, published: float, counted: float, with_slopes: float
) -> None:
    with torch.device("meta"):
        params, products, total = costs(timm.create_model(f"mobile_former_{size}"))
    assert params == number
    assert round(params / 1e6, 1) == published
    assert (round(products / 1e6, 2), round(total / 1e6, 2)) == (counted, with_slopes)
    # The published figure, which names the network, also counts residuals, norms and softmaxes.
    assert 0 < 1 - total / 1e6 / int(size[:-1]) < 0.033


@pytest.mark.parametrize(
    ("changes", "params", "madds"),
    [
        ({"slopes": "static"}, 10.10, 285),
        ({"slopes": "static", "tokens": (0, 192)}, 6.14, 253),
        ({"tokens": (1, 192)}, 11.42, 266),
        ({"tokens": (9, 192)}, 11.42, 309),
        ({"tokens": (6, 64)}, 7.33, 274),
    ],
)
def test_ablations_of_the_294m_cost_what_the_paper_says(changes: dict, params: float, madds: int) -> None:
    with torch.device("meta"):
        number, _, total = costs(timm.create_model("mobile_former_294m", **changes))
    assert (round(number / 1e6, 2), round(total / 1e6)) == (params, madds)


@pytest.mark.parametrize(
    ("changes", "thousands", "madds"),
    [
        ({}, 230, 1.42),
        ({"slopes": "static"}, 204, 1.39),
        ({"slopes": "static", "tokens": (0, 32)}, 123, 1.10),
        ({"tokens": (1, 32)}, 230, 1.22),
    ],
)
def test_a_small_network_for_small_images_can_be_built(changes: dict, thousands: int, madds: float) -> None:
    with torch.device("meta"):
        number, products, _ = costs(MobileFormer(**(CIFAR | changes)), 32)
    assert (round(number / 1e3), round(products / 1e6, 2)) == (thousands, madds)


def test_26m_is_52m_in_four_groups() -> None:
    assert CONFIGURATIONS["26m"] == CONFIGURATIONS["52m"] | {"groups": 4}
    with torch.device("meta"):
        network = timm.create_model("mobile_former_26m")
    groups = {m.groups for m in network.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)}
    assert groups == {4}


@pytest.mark.parametrize("slopes", ["token", "spatial", "static"])
@pytest.mark.parametrize("size", [(64, 64), (65, 47), (33, 128), (1, 1), (2, 200)])
def test_any_image_size_gives_logits_and_halving_maps(size: tuple[int, int], slopes: str) -> None:
    network = nano(slopes=slopes)
    x = torch.randn(1, 3, *size)
    assert network(x).shape == (1, 5)
    assert network(x).isfinite().all()
    sides = [[y.shape[2], y.shape[3]] for y in network.forward_intermediates(x, intermediates_only=True)]
    assert sides == [[-(-s // 4) for s in size], [-(-s // 8) for s in size], [-(-s // 8) for s in size]]


def test_images_of_a_batch_do_not_see_each_other_and_strides_in_memory_do_not_matter() -> None:
    network, x = nano(slopes="spatial").double(), torch.randn(3, 3, 40, 56, dtype=torch.float64)
    expected = network(x)
    assert torch.allclose(torch.cat([network(image[None]) for image in x]), expected)
    for same in (x.transpose(2, 3).contiguous().transpose(2, 3), x.contiguous(memory_format=torch.channels_last)):
        assert not same.is_contiguous()
        assert torch.allclose(network(same), expected)
    assert torch.allclose(network.to(memory_format=torch.channels_last)(x), expected)
    wide = torch.zeros(3, 3, 40, 100, dtype=torch.float64)
    wide[..., 10:66] = x
    assert torch.allclose(network(wide[..., 10:66]), expected)


def test_no_images_give_no_logits_and_a_nan_stays_in_its_image() -> None:
    network = nano()
    assert network(torch.zeros(0, 3, 32, 32)).shape == (0, 5)
    x = torch.randn(2, 3, 32, 32)
    x[0, 0, 5, 5] = torch.nan
    out = network(x)
    assert out[0].isnan().all()
    assert out[1].isfinite().all()


@pytest.mark.parametrize("slopes", ["token", "spatial", "static"])
def test_bfloat16_is_close_to_float32(slopes: str) -> None:
    network, x = nano(slopes=slopes), torch.randn(2, 3, 64, 64)
    expected = network(x)
    out = network.bfloat16()(x.bfloat16())
    assert out.dtype == torch.bfloat16
    # bfloat16 has 8 bits, and the network some ten layers.
    assert (out - expected).norm() < 0.1 * expected.norm()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (nano(slopes=slopes)(x) - expected).norm() < 0.1 * expected.norm()


@pytest.mark.parametrize("slopes", ["token", "spatial", "static"])
def test_every_parameter_learns(slopes: str) -> None:
    network = nano(slopes=slopes, drop_path_rate=0.1).train()
    network(torch.randn(4, 3, 32, 32)).square().mean().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert not silent


def test_gradients_are_those_of_finite_differences() -> None:
    network = nano(slopes="spatial").double()
    weight = network.stages[1].blocks[1].to_former.query.weight
    x = torch.randn(1, 3, 16, 16, dtype=torch.float64)
    network(x).sum().backward()
    step = torch.zeros_like(weight)
    step[2, 3] = 1e-5
    with torch.no_grad():
        up = (weight.add_(step), network(x).sum())[1]
        down = (weight.sub_(2 * step), network(x).sum())[1]
    assert weight.grad[2, 3].item() == pytest.approx(((up - down) / 2e-5).item(), rel=1e-4)


def test_checkpointing_changes_no_gradient() -> None:
    x = torch.randn(2, 3, 32, 32)
    gradients = []
    for enable in (False, True):
        network = nano(drop_path_rate=0.5).train()
        network.set_grad_checkpointing(enable)
        torch.manual_seed(1)
        network(x).square().mean().backward()
        gradients.append([p.grad for p in network.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_it_begins_nearly_as_a_network_of_plain_relus() -> None:
    torch.manual_seed(0)
    network = timm.create_model("mobile_former_52m").eval()
    with torch.no_grad(), watch(network, "*.slopes") as seen:
        network(torch.randn(1, 3, 64, 64))
    a1, a2 = torch.cat([y.flatten(3).movedim(2, 0).flatten(1) for y in seen.values()], dim=1)
    assert (a1 - 1).abs().max() < 0.05
    assert a2.abs().max() < 0.05
    assert network.tokens.weight.std().item() == pytest.approx(1, rel=0.2)
    kernel = network.stages[3].blocks[1].mobile.conv1.conv.weight
    assert kernel.std().item() == pytest.approx((2 / 576) ** 0.5, rel=0.03)


def test_stochastic_depth_grows_linearly_to_its_rate() -> None:
    network = nano(drop_path_rate=0.5)
    rates = [b.mobile.drop_path.drop_prob for stage in network.stages for b in stage.blocks if hasattr(b.former, "mlp")]
    assert rates == pytest.approx([0.2, 0.3, 0.4, 0.5])
    assert network.to_former.drop_path.drop_prob == 0.5


def test_spatial_and_token_slopes_share_their_weights_and_agree_where_one_token_votes_alone() -> None:
    x = torch.randn(2, 3, 48, 32)
    one = nano(tokens=(1, 16))
    spatial = nano(tokens=(1, 16), slopes="spatial")
    spatial.load_state_dict(one.state_dict(), strict=True)
    assert torch.allclose(spatial(x), one(x), atol=1e-5)
    assert not torch.allclose(nano(slopes="spatial")(x), nano()(x), atol=1e-4)


def test_votes_shrink_with_the_map_and_sum_to_one() -> None:
    network = nano(slopes="spatial")
    with watch(network, "*.votes") as seen:
        network(torch.randn(1, 3, 30, 50))
    assert [tuple(y.shape) for y in seen.values()] == [(1, 3, 8, 13), (1, 3, 4, 7), (1, 3, 4, 7), (1, 3, 4, 7)]
    assert all(torch.allclose(y.sum(1), torch.ones(())) for y in seen.values())
    logits = torch.randn(1, 2, 3, 4 * 6)
    halved = Votes(2)(logits, (4, 6))
    mean = logits.mean(1).view(1, 3, 2, 2, 3, 2).mean((3, 5))
    assert torch.allclose(halved, mean.softmax(1))


def test_a_map_of_classes_is_what_each_place_would_say_alone() -> None:
    network = nano()
    x = torch.randn(2, 3, 32, 48)
    features = network.forward_features(x)
    pooled = network(x)
    network.global_pool = ""
    classes = network(x)
    assert classes.shape == (2, 4, 6, 5)
    network.global_pool = "avg"
    alone = network.forward_head((features.map[:, :, 1:2, 4:5], features.tokens))
    assert torch.allclose(classes[:, 1, 4], alone, atol=1e-6)
    assert pooled.shape == (2, 5)


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (1, 3, 0, 64), (1, 3, 64, 0), (1, 4, 64, 64)])
def test_images_of_another_shape_are_refused_in_words(shape: tuple[int, ...]) -> None:
    words = re.escape(f"x: expected images (B, 3, H, W) with H, W >= 1, got shape {shape}")
    with pytest.raises(ValueError, match=words):
        nano()(torch.zeros(shape))


def test_a_batch_of_one_is_refused_in_training_only() -> None:
    network = nano()
    assert network(torch.randn(1, 3, 32, 32)).isfinite().all()
    with pytest.raises(ValueError, match=r"x: training needs 2 or more images.*got 1"):
        network.train()(torch.randn(1, 3, 32, 32))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stages": ()}, r"stages: expected one block or more in each, got \[\]"),
        ({"stages": ((), (Lite(2, 8, 1),))}, r"stages: .* got \[0, 1\]"),
        ({"stages": ((Regular(24, 9),),)}, "channels: 2 heads do not split 9 channels"),
        ({"stem": 7, "stages": ((Regular(24, 8),),)}, "channels: 2 heads do not split 7 channels"),
        ({"stages": ((Regular(0, 8),),)}, "widths: 1 groups do not split a convolution of 8 to 0 channels"),
        ({"stages": ((Regular(30, 8),),), "groups": 4}, "widths: 4 groups do not split a convolution of 8 to 30"),
        ({"stages": ((Lite(2, 10, 1),),), "groups": 4}, "widths: 4 groups do not split a convolution of 16 to 10"),
        ({"tokens": (3, 18)}, "tokens: 4 heads do not split 18 channels"),
        ({"tokens": (0, 16)}, "tokens: slopes='token' needs one token or more, got 0"),
        ({"tokens": (-1, 16), "slopes": "static"}, "tokens: slopes='static' needs one token or more, got -1"),
        ({"slopes": "global"}, "slopes: expected 'token', 'spatial' or 'static', got 'global'"),
        ({"global_pool": "max"}, "global_pool: expected 'avg' or '', got 'max'"),
    ],
)
def test_options_that_do_not_go_together_are_refused_with_their_numbers(changes: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        nano(**changes)


def test_other_pooling_is_refused_later_as_well() -> None:
    with pytest.raises(ValueError, match="global_pool: expected 'avg' or '', got 'max'"):
        nano().reset_classifier(3, "max")
