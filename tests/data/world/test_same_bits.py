"""A scene is a function of its seed and number alone, and its pixels are the same bits wherever it is rendered."""

from __future__ import annotations

import hashlib
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from visionlab.data import world
from visionlab.data.world import Render
from visionlab.data.world.batch import Batch
from visionlab.data.world.degrade import degrade
from visionlab.data.world.layout import scenes
from visionlab.data.world.render import Quality

SIZE = (33, 47)  # odd, so that the ends of vectorised loops fall into images
N = 17
ROOT = Path(__file__).parents[3]


def tensors(batch: Batch) -> Iterator[tuple[str, Tensor]]:
    for name, value in vars(batch).items():
        if isinstance(value, Tensor):
            yield name, value
        else:
            yield from tensors(value)


def assert_same(first: Batch, second: Batch) -> None:
    for (name, one), (_, other) in zip(tensors(first), tensors(second), strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other), name


def digest(batch: Batch) -> str:
    found = hashlib.sha256()
    for _, tensor in tensors(batch):
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()


def crowd() -> world.Scenes:
    return scenes(41, range(N), objects=(1, 8))


@pytest.fixture(scope="module", params=["fast", "full"])
def picture(request: pytest.FixtureRequest) -> tuple[Quality, Render]:
    return request.param, world.render(crowd(), SIZE, quality=request.param)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_scene_is_the_same_bits_in_any_batch(batch: int, picture: tuple[Quality, Render]) -> None:
    quality, whole = picture
    found = crowd()
    parts = [world.render(found[i : i + batch], SIZE, quality=quality) for i in range(0, N, batch)]
    assert_same(Render.cat(parts), whole)


def test_a_scene_is_the_same_bits_beside_any_others(picture: tuple[Quality, Render]) -> None:
    quality, whole = picture
    found = crowd()
    for which in ([16, 3, 9], [3, 3]):
        assert_same(world.render(found[which], SIZE, quality=quality), whole[which])


def test_a_scene_is_the_same_bits_in_parts_that_fit_any_budget(
    picture: tuple[Quality, Render], monkeypatch: pytest.MonkeyPatch
) -> None:
    quality, whole = picture
    module = importlib.import_module("visionlab.data.world.render")
    monkeypatch.setattr(module, "BUDGET", 200_000)  # two scenes at once in quality "full"
    assert_same(world.render(crowd(), SIZE, quality=quality), whole)


def test_a_scene_is_the_same_bits_on_any_number_of_threads(picture: tuple[Quality, Render]) -> None:
    quality, whole = picture
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert_same(world.render(crowd()[:5], SIZE, quality=quality), whole[:5])
    finally:
        torch.set_num_threads(before)


def test_another_process_makes_the_same_bits() -> None:
    script = (
        "from tests.data.world.test_same_bits import crowd, digest, SIZE\n"
        "from visionlab.data import world\n"
        "print(digest(crowd()), digest(world.render(crowd()[4:9], SIZE, quality='full', style='night')))\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "5"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    here = digest(crowd()), digest(world.render(crowd()[4:9], SIZE, quality="full", style="night"))
    assert done.stdout.split() == list(here)


def test_scenes_are_the_same_whatever_is_drawn_beside_them() -> None:
    whole = scenes(42, 9)
    assert len(whole) == 9
    assert_same(scenes(42, range(5, 9)), whole[5:9])
    assert_same(scenes(42, range(8, -1, -4)), whole[[8, 4, 0]])
    assert_same(scenes(42, torch.tensor([7, 2, 2])), whole[[7, 2, 2]])
    assert_same(scenes(42, range(2**45, 2**45 + 2))[1:], scenes(42, range(2**45 + 1, 2**45 + 2)))


def test_room_for_more_objects_moves_none_of_the_first() -> None:
    few, many = scenes(43, 20, objects=2), scenes(43, 20, objects=8)
    for name, value in vars(few.objects).items():
        assert torch.equal(value, getattr(many.objects, name)[:, :2]), name
    assert_same(few.camera, many.camera)


def test_a_choice_of_one_factor_moves_no_other() -> None:
    free = scenes(44, 20)
    bound = scenes(44, 20, colours="red", materials=("metal", "matte"), grounds="wood", elevation=(30.0, 31.0))
    for name in ("shape", "size", "radius", "stretch", "position", "yaw", "lying", "on", "present"):
        assert torch.equal(getattr(free.objects, name), getattr(bound.objects, name)), name
    assert_same(free.light, bound.light)
    for name in ("azimuth", "distance", "roll", "field_of_view"):
        assert torch.equal(getattr(free.camera, name), getattr(bound.camera, name)), name
    assert_same(scenes(44, 20, edit=lambda key, things: things), free)


def test_scenes_of_other_seeds_and_numbers_differ() -> None:
    images = torch.cat([world.render(scenes(seed, 6), 16).image for seed in (0, 1, -1)])
    apart = (images[:, None] - images).abs().mean((2, 3, 4))
    assert (apart + torch.eye(18)).min() > 0.01


def test_parts_of_scenes_are_taken_by_numbers_slices_lists_and_masks() -> None:
    found = crowd()
    assert_same(found[3], found[3:4])
    assert_same(found[-1], found[16:])
    assert_same(found[torch.arange(N) % 2 == 0], found[::2])
    assert_same(type(found).cat(list(found)), found)  # type: ignore[call-overload]  # a loop comes to an end
    with pytest.raises(IndexError):
        found[N]
    with pytest.raises(ValueError, match="Camera has no tilt"):
        found.camera.with_(tilt=3.0)


@pytest.mark.parametrize("style", world.STYLES)
def test_the_precision_of_the_caller_changes_no_bit(style: str) -> None:
    def made() -> tuple[Tensor, ...]:
        found = scenes(4, range(4))
        picture = world.render(found, 24, style=style)
        return picture.image, picture.depth, degrade(picture, found.key, "haze", 0.5)

    expected = made()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = made()
    torch.set_default_dtype(torch.float64)
    try:
        double = made()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    for other in (mixed, double):
        assert all(torch.equal(a, b) for a, b in zip(expected, other, strict=True))
