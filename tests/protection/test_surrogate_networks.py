from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from visionlab.measure.cost import multiply_adds, parameters
from visionlab.protection.hiding import Hider
from visionlab.protection.surrogate_networks import SURROGATES, SurrogatePlain, SurrogateResidual, SurrogateUNet
from visionlab.train.randomness import seeded


class Alike(nn.Module):
    """A network that pads by reflection: all places are alike to it."""

    def __init__(self) -> None:
        super().__init__()
        self.hider = Hider()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images + self.hider(images, images)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (SurrogateUNet, 214_860),
        (lambda: SurrogateUNet(40), 334_092),
        (lambda: SurrogateUNet(48), 479_532),
        (SurrogateResidual, 78_444),
        (SurrogatePlain, 69_132),
    ],
)
def test_parameters_are_counted_as_in_the_study(network: Callable[[], nn.Module], expected: int) -> None:
    assert parameters(network()) == expected


@pytest.mark.parametrize(("name", "mega"), [("U-Net", 19.3), ("residual", 19.9), ("plain", 17.5)])
def test_architectures_cost_about_the_same(name: str, mega: float) -> None:
    assert multiply_adds(SURROGATES[name](), torch.rand(1, 3, 32, 32)) / 1e6 == pytest.approx(mega, abs=0.1)


@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("size", [(8, 8), (9, 14), (31, 33), (64, 48)])
def test_they_take_any_size(name: str, size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size)
    assert SURROGATES[name]()(images).shape == images.shape


@pytest.mark.parametrize("name", SURROGATES)
def test_they_start_near_the_identity(name: str) -> None:
    images = torch.rand(2, 3, 32, 32)
    with seeded(0):
        network = SURROGATES[name]()
    assert (network(images) - images).abs().mean() < 0.15


def test_bottleneck_is_4_by_4_and_a_level_more_keeps_it_so_at_64_pixels() -> None:
    for levels, side in ((3, 32), (4, 64)):
        network = SurrogateUNet(8, levels=levels)
        shapes = []
        deepest = network.body.get_submodule(f"down.{levels - 1}")
        deepest.register_forward_hook(lambda *given, shapes=shapes: shapes.append(given[2].shape))
        network(torch.rand(1, 3, side, side))
        assert shapes == [(1, 8 * (levels + 1) // 2, 4, 4)]


@pytest.mark.parametrize("name", [*SURROGATES, "alike"])
def test_they_know_where_they_are(name: str) -> None:
    """In the middle of an even image too, the answer depends on the place; padding by reflection knows none."""
    with seeded(0):
        network = {**SURROGATES, "alike": Alike}[name]()
    even = torch.full((1, 3, 32, 32), 0.3)
    found = (network(even) - even)[0, 0, 12:20:2, 12:20:2]  # of one pixel of each block
    assert (found.std() > 1e-5) == (name != "alike")


@pytest.mark.parametrize("name", [*SURROGATES, "alike"])
def test_they_learn_a_pattern_at_fixed_places(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    logo = (torch.rand(1, 1, 8, 8, generator=generator) < 0.5).float().sub(0.5)
    logo = 0.2 * logo.repeat_interleave(4, 2).repeat_interleave(4, 3)
    with seeded(0):
        network = {**SURROGATES, "alike": Alike}[name]()
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(100):
        images = torch.rand(4, 3, 1, 1, generator=generator).expand(4, 3, 32, 32)
        loss = (network(images) - images - logo).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    left = loss.item() / logo.square().mean().item()
    assert left < 0.5 if name != "alike" else left > 0.9


@pytest.mark.usefixtures("as_users_run_it")
def test_what_does_not_fit_is_named() -> None:
    for network in (SurrogateUNet(8), SurrogateResidual(4), SurrogatePlain(4)):
        with pytest.raises(ValueError, match=r"images: expected \(B, 3, H, W\), some, .*got \(1, 1, 16, 16\)"):
            network(torch.rand(1, 1, 16, 16))
        with pytest.raises(ValueError, match=r"images: .*sides of 8 or more, got \(1, 3, 7, 16\)"):
            network(torch.rand(1, 3, 7, 16))
    with pytest.raises(ValueError, match="width: expected a multiple of 8, got 12"):
        SurrogateUNet(12)
    with pytest.raises(ValueError, match="width: expected a multiple of 4, got 0"):
        SurrogatePlain(0)
    with pytest.raises(ValueError, match="levels: expected 1 or more, got 0"):
        SurrogateUNet(levels=0)
