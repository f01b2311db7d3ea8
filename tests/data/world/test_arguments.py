"""Bad arguments of scenes and of the renderer are refused, and named."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from tests.data.world.plain_reading import oklab
from visionlab.data import world
from visionlab.data.world import MAX_OBJECTS
from visionlab.data.world.layout import scenes
from visionlab.data.world.vocabulary import COLOURS, oklch_to_rgb

pytestmark = pytest.mark.usefixtures("as_users_run_it")
NAMES = ("shapes", "colours", "materials", "sizes", "places", "grounds", "backgrounds")


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("objects", value) for value in (0, MAX_OBJECTS + 1, -1, (0, 3), (3, 2), (2, 9), 2.5, (1, 2.5), (1, 2, 3))),
        *((name, ("nothing like it",)) for name in NAMES),
        *((name, ()) for name in NAMES),
        *(("elevation", value) for value in ((4.9, 30.0), (30.0, 89.1), (40.0, 20.0), (math.nan, 30.0), 30.0)),
        *(("azimuth", value) for value in ((-361.0, 0.0), (0.0, 721.0), (10.0, 0.0))),
        *(("light", value) for value in ((9.0, 30.0), (30.0, 91.0), (50.0, 30.0))),
        *((name, value) for name in ("stacking", "lying") for value in (-0.1, 1.1, math.nan)),
        *(("gap", value) for value in (-0.1, math.nan)),
        *(("spread", value) for value in (0.4, 3.3, math.nan)),
    ],
)
def test_a_factor_out_of_its_range_is_named(argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"\b{argument}\b.*: expected .*; got "):
        scenes(0, 2, **{argument: value})


def test_a_factor_that_there_is_not_is_named() -> None:
    with pytest.raises(ValueError, match="scenes have no factor colour; they have objects, shapes, colours"):
        scenes(0, 2, colour="red")


@pytest.mark.parametrize(
    "which", [0, -1, range(0), range(5, 2), range(-2, 2), torch.tensor([1, -1]), torch.zeros(0), torch.ones(2)]
)
def test_a_choice_of_no_scene_is_named(which: Any) -> None:
    with pytest.raises(ValueError, match="which: expected at least one scene, by whole numbers from 0 on; got"):
        scenes(0, which)


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1, 0.5])
def test_a_seed_that_is_no_whole_number_of_64_bits_is_named(seed: Any) -> None:
    with pytest.raises(ValueError, match="seed: expected a whole number of 64 bits; got"):
        scenes(seed, 1)


@pytest.mark.parametrize("size", [15, 513, (16, 513), (15, 16), (0, 64), -64])
def test_a_size_out_of_its_range_is_named(size: Any) -> None:
    with pytest.raises(ValueError, match="size: expected sides of 16 to 512 pixels, got"):
        world.render(scenes(0, 1), size)


def test_an_unknown_style_or_quality_and_no_scene_are_named() -> None:
    found = scenes(0, 1)
    with pytest.raises(ValueError, match=r"style: expected one of clean, .*; got 'oil'"):
        world.render(found, 16, style="oil")
    with pytest.raises(ValueError, match="quality: expected 'fast' or 'full'; got 'best'"):
        world.render(found, 16, quality="best")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="scenes: expected at least one; got none"):
        world.render(found[:0], 16)


def test_the_ends_of_every_range_are_accepted() -> None:
    ends: tuple[dict[str, Any], ...] = (
        {"objects": MAX_OBJECTS, "elevation": (5.0, 5.0), "light": (90.0, 90.0), "spread": 3.2, "gap": 0.0},
        {"objects": (1, 1), "elevation": (89.0, 89.0), "light": (10.0, 10.0), "spread": 0.5, "gap": 9.0},
        {"stacking": 1.0, "lying": 1.0, "azimuth": (-360.0, 720.0)},
        {"stacking": 0.0, "lying": 0.0, "azimuth": (0.0, 0.0)},
    )
    for factors in ends:
        picture = world.render(scenes(1, 3, **factors), 16)
        assert picture.image.isfinite().all()
        assert (picture.instance >= 0).flatten(1).any(1).all()


def test_a_thousand_draws_of_each_colour_keep_to_it() -> None:
    """In OKLab a drawn colour is far nearer to the middle of its own name than to any other."""
    middles = oklab(oklch_to_rgb(torch.tensor(list(COLOURS.values()))).double().numpy())
    for number, name in enumerate(COLOURS):
        found = scenes(51, 1000, objects=1, colours=name)
        away = np.linalg.norm(oklab(found.objects.rgb[:, 0].double().numpy())[:, None] - middles, axis=-1)
        own = away[:, number]
        others = np.delete(away, number, axis=1).min(1)
        assert (own < 0.75 * others).all(), (name, (own / others).max())
        assert own.std() > 0.002


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ({"shapes": 3}, "shapes: expected some of sphere, .*; got 3"),
        ({"elevation": ("a", "b")}, "elevation: expected 5 <= low <= high <= 89; got"),
        ({"elevation": (None, 20.0)}, "elevation: expected"),
        ({"stacking": None}, "stacking: expected 0 to 1; got None"),
        ({"gap": "x"}, "gap: expected 0 to 10; got 'x'"),
        ({"objects": True}, "objects: expected 1 <= fewest"),
        ({"objects": None}, "objects: expected 1 <= fewest"),
    ],
)
def test_what_is_no_number_or_name_is_refused_in_words(factors: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        scenes(0, 2, **factors)


@pytest.mark.parametrize(
    "which", [1.5, None, [0, 1], np.arange(2), torch.tensor(3), torch.zeros(2, 2).long(), torch.ones(3).bool(), True]
)
def test_scenes_are_chosen_by_numbers_alone(which: Any) -> None:
    with pytest.raises(ValueError, match="which: expected at least one scene, by whole numbers from 0 on; got"):
        scenes(0, which)


def test_numbers_of_numpy_are_numbers() -> None:
    plain, numpy = scenes(3, 2, objects=3), scenes(np.int64(3), np.int32(2), objects=np.int64(3))  # type: ignore[arg-type]
    assert torch.equal(plain.objects.position, numpy.objects.position)
    assert torch.equal(world.render(plain, 16).image, world.render(plain, np.int64(16)).image)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [64.0, "64", (32.5, 32), (64,), (64, 64, 3), None])
def test_a_size_of_another_kind_is_named(size: Any) -> None:
    with pytest.raises(ValueError, match="size: expected sides of 16 to 512 pixels, got"):
        world.render(scenes(0, 1), size)
