from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.filters import sobel

from visionlab.data.graded import warp
from visionlab.data.images import photograph
from visionlab.protection.structure import (
    INK_LEVELS,
    THRESHOLD,
    FixedPattern,
    adaptive_threshold,
    edges,
    ink_pattern,
    luminance,
    random_inks,
    sobel_magnitude,
)


@pytest.fixture(scope="module")
def photographs() -> torch.Tensor:
    return torch.stack([photograph(name, 64) for name in ("astronaut", "chelsea", "coffee", "rocket")])


def test_magnitudes_are_half_of_those_of_scikit_image(photographs: torch.Tensor) -> None:
    images = torch.cat([photographs, torch.rand(2, 3, 64, 64)]).double()
    ours = sobel_magnitude(images)[:, 0]
    theirs = 0.5 * np.stack([sobel(grey) for grey in luminance(images)[:, 0].numpy()])
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-12)


def test_a_step_has_the_magnitude_that_one_computes_by_hand() -> None:
    image = torch.zeros(1, 3, 8, 8)
    image[..., 4:] = 1
    magnitude = sobel_magnitude(image)[0, 0]
    assert torch.allclose(magnitude[:, 3:5], torch.full((8, 2), 0.5 / 2**0.5))
    assert magnitude[:, :3].max() == 0
    assert magnitude[:, 5:].max() == 0


def test_the_published_threshold_and_the_images_own(photographs: torch.Tensor) -> None:
    magnitude = sobel_magnitude(photographs)
    assert torch.equal(edges(photographs, THRESHOLD), (magnitude > 28 / 255).float())
    smooth = 0.5 + 0.1 * (photographs - 0.5)
    assert edges(smooth, THRESHOLD).mean() < 0.01
    share = edges(smooth).mean((1, 2, 3))
    assert (share > 0.02).all()
    assert (share <= 0.151).all()
    least = adaptive_threshold(sobel_magnitude(smooth))
    assert ((least >= 2 / 255) & (least <= THRESHOLD)).all()


def test_a_flat_image_has_no_edge_and_no_ink() -> None:
    flat = torch.full((2, 3, 16, 16), 0.4)
    mask = edges(flat)
    assert mask.sum() == 0
    assert torch.equal(ink_pattern(mask, torch.rand(2, 3)), torch.ones(2, 3, 16, 16))
    assert edges(flat[:0]).shape == (0, 1, 16, 16)


def test_structure_moves_with_the_image_and_a_fixed_pattern_does_not(photographs: torch.Tensor) -> None:
    assert torch.equal(edges(photographs.flip(-1)), edges(photographs).flip(-1))
    n = len(photographs)
    how = {
        "angle": torch.full((n,), 15.0), "scale": torch.ones(n), "shift": torch.zeros(n, 2),
        "mirrored": torch.zeros(n, dtype=torch.bool),
    }  # fmt: skip
    turned = warp(photographs, **how)  # type: ignore[arg-type]
    inside = (..., slice(14, 50), slice(14, 50))
    after = edges(turned)[inside].flatten()
    before = warp(edges(photographs), **how)[inside].flatten()  # type: ignore[arg-type]
    assert torch.corrcoef(torch.stack([before, after]))[0, 1] > 0.7
    fixed = FixedPattern((torch.arange(64).view(1, 1, 64).expand(1, 64, 64) < 20).float())
    assert torch.equal(fixed(turned), fixed(photographs))


def test_nothing_is_an_edge_outside_the_image() -> None:
    images = torch.rand(1, 3, 16, 16)
    outside = torch.zeros(1, 1, 16, 16)
    outside[..., :8] = 1
    mask = edges(images, outside=outside)
    assert mask[..., :8].sum() == 0
    assert mask[..., 8:].sum() > 0


def test_inks_come_from_125() -> None:
    inks = (random_inks(2000, generator=torch.Generator().manual_seed(0)) * 255).round()
    assert set(inks.flatten().tolist()) == set(INK_LEVELS)
    assert len({tuple(ink) for ink in inks.tolist()}) > 100


def test_inks_of_a_list_are_drawn_evenly_and_one_ink_needs_no_drawing() -> None:
    generator = torch.Generator().manual_seed(0)
    palette = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    inks = random_inks(3000, palette, generator=generator)
    assert inks.sum(0) == pytest.approx(torch.full((3,), 1000.0), abs=80)
    state = generator.get_state()
    assert (random_inks(5, [(51, 0, 255)], generator=generator) == torch.tensor([0.2, 0.0, 1.0])).all()
    assert torch.equal(generator.get_state(), state)


def test_ink_fills_the_structure_only() -> None:
    mask = (torch.rand(2, 1, 5, 5) > 0.5).float()
    ink = torch.tensor([[0.1, 0.2, 0.3], [0.7, 0.8, 0.9]])
    pattern = ink_pattern(mask, ink)
    for image, m, colour in zip(pattern, mask, ink, strict=True):
        assert torch.equal(image[:, m[0] == 1], colour[:, None].expand(3, int(m.sum())))
        assert torch.equal(image[:, m[0] == 0].unique(), torch.ones(1))
