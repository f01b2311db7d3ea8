from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from visionlab.data.graded import GRADED, compose, jpeg, strength_of, to_8_bits, transform, warp

NAMES = sorted(GRADED)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth(n: int, height: int, width: int) -> torch.Tensor:
    """Images without detail, which an interpolation hardly changes."""
    images = torch.rand(n, 3, 4, 4, generator=generator(1))
    return torch.nn.functional.interpolate(images, (height, width), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("name", NAMES)
def test_strength_0_is_the_identity(name: str) -> None:
    images = torch.rand(3, 3, 17, 24)
    assert torch.equal(transform(images, name, 0.0, generator=generator()), images)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("flip", "JPEG")])
def test_a_little_strength_changes_little(name: str) -> None:
    images = smooth(4, 32, 40)
    inside = (..., slice(2, -2), slice(2, -2))
    weak = transform(images, name, 1e-3, generator=generator())
    strong = transform(images, name, 0.7, generator=generator())
    assert (weak - images)[inside].abs().max() < 0.01
    assert (strong - images)[inside].abs().mean() > 4 * (weak - images)[inside].abs().mean()


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(NAMES), strength=st.floats(0, 1), n=st.integers(0, 3),
    height=st.integers(8, 33), width=st.integers(8, 33),
)  # fmt: skip
def test_any_size_keeps_shape_range_and_type(name: str, strength: float, n: int, height: int, width: int) -> None:
    images = torch.rand(n, 3, height, width)
    changed = transform(images, name, strength, generator=generator())
    assert changed.shape == images.shape
    assert changed.dtype == images.dtype
    assert n == 0 or (changed.min() >= -1e-6 and changed.max() <= 1 + 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_images(name: str) -> None:
    images = torch.rand(4, 3, 16, 16)
    first, second = (transform(images, name, 0.6, generator=generator(3)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", ["rotation", "crop and resize", "shift", "noise", "colour"])
def test_each_image_draws_its_own(name: str) -> None:
    images = smooth(1, 32, 32).expand(4, -1, -1, -1)
    changed = transform(images, name, 0.8, generator=generator())
    assert all(not torch.allclose(changed[0], changed[i], atol=1e-3) for i in range(1, 4))


def moved(image: torch.Tensor, **given: torch.Tensor) -> torch.Tensor:
    still = {
        "angle": torch.zeros(1), "scale": torch.ones(1), "shift": torch.zeros(1, 2),
        "mirrored": torch.zeros(1, dtype=torch.bool),
    }  # fmt: skip
    return warp(image[None], **(still | given))[0]  # type: ignore[arg-type]


def test_right_angles_shifts_and_mirrors_are_exact() -> None:
    image = torch.rand(2, 9, 9)
    for quarter in range(4):
        turned = moved(image, angle=torch.tensor([90.0 * quarter]))
        torch.testing.assert_close(turned, image.rot90(-quarter, (1, 2)), atol=1e-4, rtol=0)
    right_and_down = moved(image, shift=torch.tensor([[2.0, 3.0]]))
    torch.testing.assert_close(right_and_down[:, 3:, 2:], image[:, :-3, :-2], atol=1e-4, rtol=0)
    assert right_and_down[:, :3].abs().max() < 1e-4
    torch.testing.assert_close(moved(image, mirrored=torch.tensor([True])), image.flip(2), atol=1e-4, rtol=0)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_scale_goes_about_the_centre(scale: float) -> None:
    image = torch.zeros(1, 11, 11)
    image[0, 5, 5 + 2] = 1
    scaled = moved(image, scale=torch.tensor([scale]))[0]
    row, column = ndimage.center_of_mass(scaled.numpy())
    assert row == pytest.approx(5, abs=1e-3)
    assert column == pytest.approx(5 + 2 * scale, abs=0.1)


def test_shrinking_leaves_a_black_frame_and_cropping_none() -> None:
    images = torch.ones(2, 3, 32, 32)
    small = transform(images, "shrink and pad", strength_of("shrink and pad", 0.75), generator=generator())
    assert small[..., :3, :].max() == 0
    assert small[..., 6:-6, 6:-6].min() > 0.99
    cropped = transform(images, "crop and resize", 1.0, generator=generator())
    torch.testing.assert_close(cropped, images)


def test_jpeg_is_that_of_every_other_program() -> None:
    images = to_8_bits(smooth(2, 24, 32))
    read = jpeg(images, [30, 90])
    for image, found, quality in zip(images, read, (30, 90), strict=True):
        file = io.BytesIO()
        pixels = (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        theirs = torch.from_numpy(np.asarray(Image.open(file)).copy()).permute(2, 0, 1) / 255
        torch.testing.assert_close(found, theirs, atol=2.5 / 255, rtol=0)


def test_rounding_lets_the_gradient_through() -> None:
    images = torch.rand(1, 3, 8, 8, requires_grad=True)
    kept = to_8_bits(images)
    assert torch.equal((kept * 255).round() / 255, kept)
    (2 * kept).sum().backward()
    assert torch.equal(images.grad, torch.full_like(images, 2))


def test_compositions_run_in_turn() -> None:
    images = torch.rand(2, 3, 16, 16)
    both = compose(images, [("flip", 1.0), ("blur", 0.5)], generator=generator())
    torch.testing.assert_close(both, transform(images.flip(-1), "blur", 0.5, generator=generator()))


def test_amounts_and_strengths_agree() -> None:
    for name, graded in GRADED.items():
        for strength in (0.0, 0.25, 1.0):
            assert strength_of(name, graded.amount(strength)) == pytest.approx(strength)


@pytest.mark.usefixtures("as_users_run_it")
def test_what_makes_no_sense_is_refused() -> None:
    images = torch.rand(1, 3, 8, 8)
    with pytest.raises(ValueError, match="did you mean 'rotation'"):
        transform(images, "rotaton", 0.5, generator=generator())
    for strength in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="strength: expected 0 to 1"):
            transform(images, "blur", strength, generator=generator())
    with pytest.raises(ValueError, match="amount: JPEG goes from 100 to 5 quality, got 0"):
        strength_of("JPEG", 0)
    with pytest.raises(ValueError, match="quality: expected 1 to 100"):
        jpeg(images, 0)
