from __future__ import annotations

import colorsys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from visionlab.measure.cost import multiply_adds, parameters
from visionlab.protection.hiding import ColourHider, Hider, Reader
from visionlab.protection.hiding_published import GuidanceExtractor, InjectionUNet, PatchDiscriminator, PlainUNet
from visionlab.protection.poison_ink import PoisonInk, colour_found
from visionlab.protection.structure import HUES, chroma_direction, edges, ink_pattern, nearest_ink


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (Hider, 109_452),
        (ColourHider, 109_452),
        (Reader, 44_204),
        (InjectionUNet, 12_413_315),
        (lambda: InjectionUNet(levels=7), 30_243_203),
        (PlainUNet, 17_269_251),
        (GuidanceExtractor, 2_777_859),
        (PatchDiscriminator, 1_555_585),
    ],
)
def test_parameters_are_counted_as_published(network: type[nn.Module], expected: int) -> None:
    assert parameters(network()) == expected


@pytest.mark.parametrize(("network", "giga"), [(InjectionUNet, 0.247), (PlainUNet, 0.627)])
def test_multiply_adds_are_as_published(network: type[nn.Module], giga: float) -> None:
    images = torch.rand(1, 3, 32, 32)
    assert multiply_adds(network().eval(), images, images) / 1e9 == pytest.approx(giga, abs=0.001)
    assert multiply_adds(GuidanceExtractor(), images) / 1e9 == pytest.approx(0.94, abs=0.01)


def test_names_are_the_published_ones() -> None:
    names = set(InjectionUNet().state_dict())
    assert {"model.model.1.weight", "model.model.2.model.2.weight", "model.model.4.bias"} <= names
    inner = "model.model.2.model.4.model.4.model.4.model"
    assert {f"{inner}.2.weight", f"{inner}.4.weight", f"{inner}.6.running_mean"} <= names
    names = set(GuidanceExtractor().state_dict())
    assert {"conv3.weight", "res7.conv2.weight", "deconv3.bias", "deconv2.bias", "norm5.weight"} <= names
    assert "conv1.bias" not in names
    names = set(PlainUNet().state_dict())
    assert {"inc.double_conv.0.weight", "down4.maxpool_conv.1.double_conv.4.bias", "outc.conv.weight"} <= names


@pytest.mark.parametrize("size", [(8, 8), (9, 14), (31, 33), (64, 48)])
def test_small_networks_take_any_size(size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size)
    assert Hider()(images, images).shape == images.shape
    assert ColourHider()(images, images).shape == images.shape
    assert Reader()(images).shape == images.shape


def test_untrained_networks_hide_little_and_find_nothing() -> None:
    torch.manual_seed(0)
    images = torch.rand(2, 3, 32, 32)
    assert Hider()(images, images).abs().mean() < 0.1
    assert (Reader()(images).mean() - 1).abs() < 0.3


def test_the_skip_carries_what_the_activation_gave() -> None:
    """As an in-place activation has it: below the first level no negative value comes through unscaled."""
    torch.manual_seed(0)
    level = InjectionUNet(base=8).model.model[2]
    x = torch.randn(1, 8, 32, 32)
    out = level.eval()(x)
    torch.testing.assert_close(out[:, :8], torch.where(x > 0, x, 0.2 * x))


@pytest.mark.usefixtures("as_users_run_it")
def test_sizes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="sides of 8 pixels or more, got 7 x 40"):
        Reader()(torch.rand(1, 3, 7, 40))
    images = torch.rand(1, 3, 40, 32)
    with pytest.raises(ValueError, match="multiples of 16, got 40 x 32"):
        InjectionUNet()(images, images)
    with pytest.raises(ValueError, match="levels: expected 5 or more, got 4"):
        InjectionUNet(levels=4)


INKS = torch.tensor(HUES) / 255


def hider() -> ColourHider:
    torch.manual_seed(0)
    return ColourHider()


def spots(ink: torch.Tensor, *places: tuple[int, int], size: tuple[int, int] = (24, 32)) -> torch.Tensor:
    """One pixel of ink at each place of a white pattern (1, 3, H, W)."""
    mask = torch.zeros(1, 1, *size)
    for row, column in places:
        mask[..., row, column] = 1
    return ink_pattern(mask, ink[None])


def test_inks_are_named_by_hue_alone() -> None:
    for k, ink in enumerate(HUES):
        assert ink == tuple(round(255 * part) for part in colorsys.hsv_to_rgb(k / 8, 0.8, 0.8))
    assert nearest_ink(INKS).tolist() == list(range(8))
    assert nearest_ink(1 - 0.6 * (1 - INKS)).tolist() == list(range(8)), "paler"
    assert nearest_ink(0.3 * INKS).tolist() == list(range(8)), "darker"
    assert nearest_ink(INKS.double(), HUES[::-1]).tolist() == list(range(8))[::-1]
    assert nearest_ink(INKS[:0]).shape == (0,)


def test_white_and_grey_are_no_ink() -> None:
    faint = 1 - 0.4 * (1 - INKS)
    assert nearest_ink(faint).tolist() == [-1] * 8, "nearer to white"
    assert nearest_ink(faint, least=0.3).tolist() == list(range(8))
    nothing = torch.tensor([[1.0, 1, 1], [0.99, 1.01, 0.98], [0.3, 0.3, 0.3], [1.2, 1.1, 1.2]])
    assert nearest_ink(nothing).tolist() == [-1] * 4
    flat = torch.full((1, 3, 16, 16), 0.4)
    assert nearest_ink(colour_found(PoisonInk(ColourHider(), tint=0.0), flat)[0]).tolist() == [-1]
    with pytest.raises(ValueError, match=r"inks: \(80, 80, 80\) is grey"):
        nearest_ink(INKS, (*HUES, (80, 80, 80)))


def test_directions_of_hues_are_units_that_keep_the_mean() -> None:
    colours = torch.rand(50, 3, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = chroma_direction(colours)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(50, 2, 2).double())
    torch.testing.assert_close(found.sum(1), torch.zeros(50, 2, 2).double())
    grey = torch.linspace(0, 1, 256)[:, None].expand(-1, 3)
    assert not chroma_direction(grey).any(), "rounding is no hue"


@pytest.mark.parametrize("size", [(8, 8), (9, 14), (31, 33)])
def test_ink_changes_the_structure_and_two_pixels_around_it_in_its_own_hue(size: tuple[int, int]) -> None:
    images = torch.rand(1, 3, *size)
    for ink in INKS:
        change = (hider()(images, spots(ink, (3, 4), size=size)) - images)[0]
        changed = change.norm(dim=0) > 1e-6
        expected = torch.zeros(size, dtype=torch.bool)
        expected[1:6, 2:7] = True
        assert torch.equal(changed, expected)
        directions = F.normalize(change[:, changed].T, dim=1)
        torch.testing.assert_close(directions, chroma_direction(ink[None]).expand_as(directions), atol=1e-3, rtol=0)


def test_each_ink_of_a_pattern_is_hidden_in_its_own_hue() -> None:
    images = torch.rand(1, 3, 24, 32)
    pattern = torch.minimum(spots(INKS[0], (5, 5), (6, 5)), spots(INKS[5], (18, 24)))
    change = (hider()(images, pattern) - images).detach()
    upper, lower = change[0, :, 5, 5], change[0, :, 18, 24]
    hues = chroma_direction(INKS)
    assert F.normalize(upper, dim=0) @ hues[0] == pytest.approx(1, abs=1e-3)
    assert F.normalize(lower, dim=0) @ hues[5] == pytest.approx(1, abs=1e-3)


def test_no_structure_and_grey_ink_hide_nothing() -> None:
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(hider()(images, torch.ones(2, 3, 16, 16)), images)
    mask = edges(images)
    for level in (0.0, 0.3, 1.0):
        assert torch.equal(hider()(images, ink_pattern(mask, torch.full((2, 3), level))), images)


def test_gain_scales_what_is_hidden() -> None:
    images = 0.3 + 0.4 * torch.rand(2, 3, 16, 16)
    networks = PoisonInk(hider(), tint=0.0)
    nothing, once, twice = (networks.hide(images, INKS[:2], gain=gain).detach() for gain in (0.0, 1.0, 2.0))
    torch.testing.assert_close(nothing, images, atol=0.5 / 255 + 1e-6, rtol=0)
    assert (once - images).abs().max() > 5 / 255
    torch.testing.assert_close(twice - images, 2 * (once - images), atol=1.5 / 255 + 1e-6, rtol=0)


def test_amplitude_is_how_far_the_inked_places_move() -> None:
    """Two pixels deep in a square of ink G is 1, and everywhere else it is known, whatever the network prefers."""
    images = torch.rand(2, 3, 16, 16)
    mask = torch.zeros(2, 1, 16, 16)
    mask[0, :, 4:12, 4:12] = 1
    mask[1] = 1
    for amplitude in (0.05, 0.1):
        model = ColourHider(amplitude=amplitude)
        torch.nn.init.normal_(model.strength.out.weight)
        change = (model(images, ink_pattern(mask, INKS[:2])) - images).detach()
        reach = F.avg_pool2d(F.max_pool2d(mask, 3, 1, 1), 3, 1, 1, count_include_pad=False)
        expected = amplitude * reach.square().sum((1, 2, 3)).sqrt()
        torch.testing.assert_close(change.flatten(1).norm(dim=1), expected, rtol=1e-4, atol=0)


def test_no_place_gets_more_than_three_times_what_another_gets() -> None:
    model = hider()
    torch.nn.init.normal_(model.strength.out.weight, std=20.0)
    everywhere = ink_pattern(torch.ones(1, 1, 32, 32), INKS[:1])
    images = torch.zeros(1, 3, 32, 32)
    images[..., 16:] = torch.rand(1, 3, 32, 16)
    lengths = (model(images, everywhere) - images).detach().norm(dim=1)
    assert 1.2 < lengths.max() / lengths.min() <= 3 + 1e-3


def test_double_precision_and_single_agree() -> None:
    images, pattern = torch.rand(2, 3, 12, 16), ink_pattern((torch.rand(2, 1, 12, 16) > 0.8).float(), INKS[:2])
    exact = hider().double()(images.double(), pattern.double())
    assert exact.dtype == torch.float64
    torch.testing.assert_close(hider()(images, pattern).double(), exact, atol=1e-5, rtol=0)


def test_the_gradient_reaches_every_parameter_and_a_bare_image_does_no_harm() -> None:
    model = hider()
    images = torch.cat([torch.rand(4, 3, 16, 16), torch.full((1, 3, 16, 16), 0.4)])
    inked = model(images, ink_pattern(edges(images), INKS[:5]))
    (inked * torch.rand(5, 3, 16, 16)).sum().backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().sum() > 0
