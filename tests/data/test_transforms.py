from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from visionlab.data import transforms


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shifted(image: torch.Tensor, shift: int) -> list[torch.Tensor]:
    """Every move of an image (C, H, W) by up to `shift` pixels, cut from its reflection-padded form."""
    _, height, width = image.shape
    padded = F.pad(image[None], (shift,) * 4, mode="reflect")[0]
    moves = itertools.product(range(2 * shift + 1), repeat=2)
    return [padded[:, row : row + height, column : column + width] for row, column in moves]


def orientations(image: torch.Tensor) -> list[torch.Tensor]:
    turned = [image.rot90(k, (1, 2)) for k in range(4)]
    return turned + [image.flip(2) for image in turned]


def places(output: torch.Tensor, candidates: list[torch.Tensor]) -> list[int]:
    return [index for index, candidate in enumerate(candidates) if torch.equal(output, candidate)]


@settings(max_examples=30, deadline=None)
@given(
    batch=st.integers(1, 4),
    channels=st.integers(1, 4),
    height=st.integers(4, 9),
    width=st.integers(4, 9),
    shift=st.integers(0, 3),
    seed=st.integers(0, 2**31),
)
def test_each_output_is_a_flip_and_a_move_of_its_own_input(batch, channels, height, width, shift, seed):
    images = torch.rand(batch, channels, height, width, generator=generator(seed))
    moved = transforms.flip_and_shift(images, shift=shift, generator=generator(seed))
    assert moved.shape == images.shape
    for image, output in zip(images, moved, strict=True):
        assert places(output, shifted(image, shift) + shifted(image.flip(2), shift))


def test_all_flips_and_moves_occur_equally_often():
    image = torch.rand(3, 6, 7, generator=generator())
    n, shift = 3600, 1
    moved = transforms.flip_and_shift(image.expand(n, -1, -1, -1), shift=shift, generator=generator())
    candidates = torch.stack(shifted(image, shift) + shifted(image.flip(2), shift))
    match = (moved[:, None] == candidates).flatten(2).all(2)
    assert match.sum(1).eq(1).all()
    counts = match.sum(0)
    assert len(counts) == 18
    assert ((counts - 200).abs() < 60).all()  # more than four standard deviations


def test_zero_strength_is_the_identity_and_certain_flip_is_the_mirror_image():
    images = torch.rand(5, 3, 8, 6, generator=generator())
    assert torch.equal(transforms.flip_and_shift(images, shift=0, flip=0.0, generator=generator()), images)
    assert torch.equal(transforms.flip_and_shift(images, shift=0, flip=1.0, generator=generator()), images.flip(-1))


def test_images_of_a_batch_draw_their_own_moves():
    image = torch.rand(1, 3, 16, 16, generator=generator())
    moved = transforms.flip_and_shift(image.expand(20, -1, -1, -1), generator=generator())
    assert len({output.numpy().tobytes() for output in moved}) > 10


@settings(max_examples=30, deadline=None)
@given(batch=st.integers(1, 5), channels=st.integers(1, 4), side=st.integers(1, 7), seed=st.integers(0, 2**31))
def test_each_output_is_an_orientation_of_its_own_input(batch, channels, side, seed):
    images = torch.rand(batch, channels, side, side, generator=generator(seed))
    turned = transforms.dihedral(images, generator(seed))
    assert turned.shape == images.shape
    for image, output in zip(images, turned, strict=True):
        assert places(output, orientations(image))


def test_all_eight_orientations_occur_equally_often():
    image = torch.rand(3, 5, 5, generator=generator())
    turned = transforms.dihedral(image.expand(1600, -1, -1, -1), generator())
    match = (turned[:, None] == torch.stack(orientations(image))).flatten(2).all(2)
    assert match.sum(1).eq(1).all()
    assert ((match.sum(0) - 200).abs() < 60).all()  # more than four standard deviations


@pytest.mark.parametrize("transform", [transforms.flip_and_shift, transforms.dihedral])
def test_a_seed_repeats_a_transform_and_the_input_is_left_alone(transform):
    images = torch.rand(9, 3, 12, 12, generator=generator())
    before = images.clone()
    first, again, other = (transform(images, generator=generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(images, before)


@pytest.mark.parametrize("transform", [transforms.flip_and_shift, transforms.dihedral])
def test_memory_layout_and_number_type_do_not_matter(transform):
    images = torch.rand(6, 3, 8, 8, generator=generator())
    expected = transform(images, generator=generator(1))
    channels_last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(transform(channels_last, generator=generator(1)), expected)
    assert torch.equal(transform(images.half(), generator=generator(1)), expected.half())


@pytest.mark.parametrize("transform", [transforms.flip_and_shift, transforms.dihedral])
def test_a_gpu_gives_what_the_cpu_gives_for_a_generator_on_the_cpu(transform):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    images = torch.rand(6, 3, 8, 8, generator=generator())
    on_gpu = transform(images.cuda(), generator=generator(1))
    assert torch.equal(on_gpu.cpu(), transform(images, generator=generator(1)))


def test_an_empty_batch_stays_empty():
    images = torch.zeros(0, 3, 8, 8)
    assert transforms.flip_and_shift(images, generator=generator()).shape == images.shape
    assert transforms.dihedral(images, generator()).shape == images.shape


def test_normalised_images_have_mean_zero_and_deviation_one():
    images = torch.rand(4, 3, 16, 16, generator=generator())
    mean, std = images.mean((0, 2, 3)), images.std((0, 2, 3))
    for result in (
        transforms.normalise(images, mean, std),
        transforms.normalise(images, tuple(mean.tolist()), tuple(std.tolist())),
    ):
        assert torch.allclose(result.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
        assert torch.allclose(result.std((0, 2, 3)), torch.ones(3), atol=1e-5)


def test_normalising_by_zero_and_one_is_the_identity():
    images = torch.rand(2, 3, 4, 4, generator=generator())
    assert torch.equal(transforms.normalise(images, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), images)


IMAGES = torch.zeros(2, 3, 8, 6)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: transforms.flip_and_shift(IMAGES, shift=-1, generator=generator()), "shift=-1"),
        (lambda: transforms.flip_and_shift(IMAGES, shift=6, generator=generator()), "shift=6.* < 6 for 8 x 6"),
        (lambda: transforms.flip_and_shift(IMAGES, flip=1.5, generator=generator()), r"flip=1\.5"),
        (lambda: transforms.dihedral(IMAGES, generator()), r"\(2, 3, 8, 6\), expected squares"),
        (lambda: transforms.normalise(IMAGES, (0.0, 0.0), (1.0, 1.0, 1.0)), r"mean has shape \(2,\), expected \(3,\)"),
        (lambda: transforms.normalise(IMAGES, (0.0, 0.0, 0.0), (1.0,)), r"std has shape \(1,\), expected \(3,\)"),
        (lambda: transforms.normalise(IMAGES, (0.0, 0.0, 0.0), (1.0, 0.0, 1.0)), r"std=\[1\.0, 0\.0, 1\.0\]"),
    ],
)
def test_bad_input_is_refused_by_name(call, named):
    with pytest.raises(ValueError, match=named):
        call()
