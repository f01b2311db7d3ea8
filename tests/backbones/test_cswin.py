"""The CSWin network: sizes, counts, timm's options, and input of every shape."""

from __future__ import annotations

import pytest
import timm
import torch

from visionlab.backbones.cswin import CONFIGURATIONS, CSWinTransformer
from visionlab.backbones.cswin_attention import attention_cost
from visionlab.backbones.cswin_pyramid import CSWinPyramid
from visionlab.experiments.cswin_costs import network_costs

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


def test_the_closed_form_of_the_cost_is_exact() -> None:
    total, dim, widths = 0, 64, (1, 2, 7, None)
    for i, (depth, side) in enumerate(zip(CONFIGURATIONS["tiny"]["depths"], (56, 28, 14, 7), strict=True)):
        c, n = dim * 2**i, side * side
        total += depth * (attention_cost(side, side, c, widths[i]) + n * c * (8 * c + 9))
        total += n * c * 147 if i == 0 else n * 9 * c * c // 2
    assert round((total + 8 * dim * 1000) / 1e9, 4) == 4.3242


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


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (1, 3, 2, 64), (1, 4, 64, 64)])
def test_images_of_another_shape_are_refused_in_words(shape: tuple[int, ...]) -> None:
    with pytest.raises((ValueError, TypeError), match=r"expected images|x"):
        nano()(torch.zeros(shape))


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
        network = nano().train()
        network.set_grad_checkpointing(enable)
        network(x).square().mean().backward()
        gradients.append([p.grad for p in network.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


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
    assert torch.allclose(network(x)[1:2], network(x[1:2]), atol=1e-5)


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


def test_bfloat16_stays_close() -> None:
    x = torch.randn(2, 3, 64, 64)
    exact, low = nano()(x), nano().bfloat16()(x.bfloat16())
    assert (exact - low.float()).abs().max() < 0.05 * exact.abs().max() + 0.02
