"""The CSWin network: sizes, counts, timm's options, and input of every shape."""

from __future__ import annotations

import re

import pytest
import timm
import torch
import torch.nn.functional as F

from visionlab.backbones.cswin import CONFIGURATIONS, CSWinTransformer
from visionlab.backbones.cswin_attention import attention_cost
from visionlab.backbones.cswin_pyramid import CSWinPyramid
from visionlab.experiments.cswin_costs import network_costs
from visionlab.measure.cost import multiply_adds

NANO = {"dim": 16, "depths": (1, 1, 2, 1), "heads": (2, 4, 8, 8), "stripe_widths": (1, 2, 2, 2), "num_classes": 5}


def nano(**changes: object) -> CSWinTransformer:
    torch.manual_seed(0)
    return CSWinTransformer(**({"img_size": 64} | NANO | changes)).eval()


def test_parameters_and_multiply_adds_equal_the_table() -> None:
    counted = {name: (parameters, count) for name, parameters, count, _, _ in network_costs()}
    assert counted == {
        "cswin_tiny_224": (22_320_552, 4.3242),
        "cswin_small_224": (34_643_304, 6.8007),
        "cswin_base_224": (77_382_184, 14.9553),
        "cswin_base_384": (77_382_184, 46.9637),
        "cswin_large_224": (173_262_664, 33.1301),
        "cswin_large_384": (173_262_664, 101.8819),
    }


def closed_form(size: str, pixels: int) -> int:
    """Count the multiply-adds of a published network from its table alone."""
    dim, depths = CONFIGURATIONS[size]["dim"], CONFIGURATIONS[size]["depths"]
    wide, total = 12 if pixels == 384 else 7, 8 * CONFIGURATIONS[size]["dim"] * 1000
    for i, stripe_width in enumerate((1, 2, wide, None)):
        side, c = pixels // (4 * 2**i), dim * 2**i
        tokens = side * side
        total += depths[i] * (attention_cost(side, side, c, stripe_width) + tokens * c * (8 * c + 9))
        total += tokens * c * 147 if i == 0 else tokens * 9 * c * c // 2
    return total


def test_the_closed_form_of_the_cost_agrees_for_all_networks() -> None:
    for name, _, count, _, _ in network_costs():
        _, size, pixels = name.split("_")
        assert round(closed_form(size, int(pixels)) / 1e9, 4) == count


@pytest.mark.parametrize(("size", "pixels"), [("tiny", 224), ("large", 224), ("base", 384)])
def test_the_closed_form_of_the_cost_is_exact(size: str, pixels: int) -> None:
    with torch.device("meta"):
        network = timm.create_model(f"cswin_{size}_{pixels}")
        assert multiply_adds(network, torch.empty(1, 3, pixels, pixels)) == closed_form(size, pixels)


def test_pyramids_have_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        sizes = {
            name: sum(p.numel() for p in CSWinPyramid(**CONFIGURATIONS[name]).parameters()) for name in ("tiny", "base")
        }
    assert sizes == {"tiny": 21_808_448, "base": 76_614_528}


@pytest.mark.parametrize("size", [(64, 64), (65, 47), (33, 128), (3, 3), (4, 200), (224, 224)])
def test_any_image_size_gives_logits_and_a_pyramid_of_halving_maps(size: tuple[int, int]) -> None:
    network, pyramid = nano(), CSWinPyramid(**{k: v for k, v in NANO.items() if k != "num_classes"}).eval()
    x = torch.randn(1, 3, *size)
    assert network(x).isfinite().all()
    sides = [[y.shape[2], y.shape[3]] for y in pyramid(x)]
    expected = [[(s - 3) // 4 + 1 for s in size]]
    for _ in range(3):
        expected.append([(s + 1) // 2 for s in expected[-1]])
    assert sides == expected
    assert [y.shape[1] for y in pyramid(x)] == [16, 32, 64, 128]


def test_pyramid_and_classifier_have_the_same_stages_where_the_stripes_divide_the_maps() -> None:
    network, pyramid = nano(), CSWinPyramid(**{k: v for k, v in NANO.items() if k != "num_classes"}).eval()
    pyramid.trunk.load_state_dict(network.state_dict(), strict=False)
    x = torch.randn(1, 3, 64, 64)
    stages = network.forward_intermediates(x, intermediates_only=True)
    for y, stage in zip(pyramid(x), stages, strict=True):
        expected = F.layer_norm(stage.movedim(1, -1), stage.shape[1:2]).movedim(-1, 1)
        assert torch.allclose(y, expected, atol=1e-5)


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (1, 3, 2, 64), (1, 3, 64, 0), (1, 4, 64, 64)])
def test_images_of_another_shape_are_refused_in_words(shape: tuple[int, ...]) -> None:
    words = re.escape(f"x: expected images (B, 3, H, W) with H, W >= 3, got shape {shape}")
    with pytest.raises(ValueError, match=words):
        nano()(torch.zeros(shape))


@pytest.mark.parametrize("pool", ["max", "token", None])
@pytest.mark.usefixtures("as_users_run_it")
def test_other_pooling_is_refused(pool: str | None) -> None:
    with pytest.raises(ValueError, match=r"global_pool: expected 'avg' or '', got"):
        nano(global_pool=pool)
    with pytest.raises(ValueError, match="global_pool: expected 'avg' or '', got 'max'"):
        nano().reset_classifier(3, "max")


@pytest.mark.parametrize(
    ("argument", "value"),
    [("depths", (1, 2, 3)), ("heads", (2, 4, 8)), ("stripe_widths", (1, 0, 2, 2)), ("depths", (0, 1, 1, 1))],
)
def test_stage_lists_of_another_length_are_refused(argument: str, value: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"{argument}: expected four whole numbers >= 1"):
        CSWinTransformer(**(NANO | {argument: value}))


def test_a_stage_as_small_as_its_stripe_has_one_branch_only_if_the_network_is_made_for_that_size() -> None:
    def branches(network: CSWinTransformer) -> list[int]:
        return [len(stage.blocks[0].attention.branches) for stage in network.stages]

    assert branches(nano(stripe_widths=(1, 2, 4, 4))) == [2, 2, 1, 1]
    assert branches(nano(stripe_widths=(1, 2, 4, 4), img_size=None)) == [2, 2, 2, 1]
    assert branches(nano(stripe_widths=(1, 2, 4, 4), img_size=128)) == [2, 2, 2, 1]


def test_stochastic_depth_grows_linearly_to_its_rate() -> None:
    network = nano(drop_path_rate=0.4)
    rates = [block.drop_path.drop_prob for stage in network.stages for block in stage.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_checkpointing_changes_no_gradient() -> None:
    x = torch.randn(2, 3, 64, 64)
    gradients = []
    for enable in (False, True):
        network = nano(drop_path_rate=0.5).train()
        network.set_grad_checkpointing(enable)
        torch.manual_seed(1)
        network(x).square().mean().backward()
        gradients.append([p.grad for p in network.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    assert any(bool(g.any()) for g in gradients[0])


def test_it_is_initialised_as_published() -> None:
    block = CSWinTransformer().stages[3].blocks[0]
    assert block.mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert block.mlp.fc1.bias.abs().max() == 0
    assert bool((block.norm1.weight == 1).all())
    bound = 1 / 9**0.5
    lepe = block.attention.branches[0].lepe.weight
    assert 0.95 * bound < lepe.abs().max().item() <= bound


def test_batches_do_not_mix() -> None:
    network, x = nano(), torch.randn(3, 3, 64, 64)
    expected = network(x[1:])
    assert torch.allclose(network(x)[1:], expected, atol=1e-5)
    assert torch.allclose(network(x[1:2]), expected[:1], atol=1e-5)
    x[0] = float("nan")
    assert torch.allclose(network(x)[1:], expected, atol=1e-5)
    assert network(x[:0]).shape == (0, 5)


def test_the_memory_layout_of_images_does_not_matter() -> None:
    network, x = nano(), torch.randn(2, 3, 48, 64)
    expected = network(x)
    assert torch.allclose(network(x.to(memory_format=torch.channels_last)), expected, atol=1e-5)
    assert torch.allclose(network(x.transpose(2, 3).contiguous().transpose(2, 3)), expected, atol=1e-5)


def test_timm_options_work() -> None:
    small = {k: v for k, v in NANO.items() if k != "num_classes"} | {"img_size": 64}
    x = torch.randn(1, 3, 64, 64)
    assert timm.create_model("cswin_tiny_224", num_classes=7, **small)(x).shape == (1, 7)
    assert timm.create_model("cswin_tiny_224", num_classes=0, **small)(x).shape == (1, 128)
    assert timm.create_model("cswin_tiny_224", in_chans=1, **small)(x[:, :1]).shape == (1, 1000)
    assert timm.create_model("cswin_tiny_224", global_pool="", **small)(x).shape == (1, 2, 2, 1000)
    features = timm.create_model("cswin_tiny_224", features_only=True, out_indices=(-2, -1), **small)
    assert features.feature_info.channels() == [64, 128]
    assert features.feature_info.reduction() == [16, 32]
    assert [y.shape for y in features(x)] == [(1, 64, 4, 4), (1, 128, 2, 2)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.05), (torch.float16, 0.005)])
def test_low_precision_stays_close(dtype: torch.dtype, tolerance: float) -> None:
    x = torch.randn(2, 3, 64, 64)
    exact, low = nano()(x), nano().to(dtype)(x.to(dtype))
    assert low.dtype == dtype
    assert (exact - low.float()).abs().max() < tolerance * exact.abs().max()
