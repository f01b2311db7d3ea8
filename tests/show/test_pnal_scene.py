"""The noise explorer: every control does what it says, and near points cover far ones."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from visionlab.data.clouds import Cloud
from visionlab.data.world.rooms import ROOM_CLASSES, rooms
from visionlab.points.spoiled import NOISES
from visionlab.show import pnal_scene as scene
from visionlab.show.widgets.room import CLASS_COLOURS
from visionlab.show.widgets.scene import SceneExplorer


@pytest.fixture(scope="module")
def some() -> list[Cloud]:
    return rooms(2, points=600, seed=100)


@pytest.fixture
def start(some: list[Cloud]) -> dict[str, Any]:
    return {control.name: control.start for control in scene.controls(some)}


def test_every_choice_gives_pictures_and_words(some: list[Cloud], start: dict[str, Any]) -> None:
    for kind, colour, room in itertools.product(NOISES, scene.COLOURINGS, (1.0, 2.0)):
        view = scene.view(some, start | {"kind": kind, "colour": colour, "room": room})
        assert view.image.shape == view.panels[0][1].shape == (scene.SIDE, scene.SIDE, 3)
        assert "wrong label" in view.caption
        assert "60 clusters" in view.readout


def test_without_noise_both_pictures_are_the_truth(some: list[Cloud], start: dict[str, Any]) -> None:
    view = scene.view(some, start | {"rate": 0.0})
    assert view.caption.startswith("0 % of the points have a wrong label, in 0 of ")
    assert np.array_equal(view.image, view.panels[0][1])


@pytest.mark.parametrize(("rate", "low", "high"), [(20.0, 10, 21), (60.0, 52, 62), (90.0, 80, 92)])
def test_the_rate_is_what_was_asked_for(
    some: list[Cloud], start: dict[str, Any], rate: float, low: int, high: int
) -> None:
    words = scene.view(some, start | {"rate": rate}).caption
    assert low <= int(words.split()[0]) <= high


def test_another_draw_makes_other_mistakes(some: list[Cloud], start: dict[str, Any]) -> None:
    one, two = (scene.view(some, start | {"seed": float(seed)}).image for seed in (0, 1))
    assert not np.array_equal(one, two)


def test_few_clusters_are_less_pure(some: list[Cloud], start: dict[str, Any]) -> None:
    def pure(count: float) -> float:
        words = scene.view(some, start | {"clusters": count}).readout
        return float(words.partition(": ")[2].split()[0])

    assert pure(5.0) + 10 < pure(60.0) <= pure(200.0)


def test_near_points_cover_far_ones_in_any_order() -> None:
    turn = 0.3
    eye = np.array([
        math.cos(scene.PITCH) * math.cos(turn), math.cos(scene.PITCH) * math.sin(turn), math.sin(scene.PITCH)
    ])  # fmt: skip
    # The last point stands for the sides that face the eye, and is left out.
    xyz = np.array([0 * eye, 2 * eye, 1 * eye, 3 * eye])
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]], float)
    for order in itertools.permutations(range(4)):
        picture = scene.drawn(xyz[list(order)], colours[list(order)], turn, 64).reshape(-1, 3)
        assert (picture == [0, 255, 0]).all(1).any()
        assert not (picture[:, 0] > picture[:, 1]).any()
        assert not (picture == [9, 9, 9]).all(1).any()


@pytest.mark.parametrize("n", [1, 2, 5000])
def test_any_number_of_points_is_drawn_inside_the_picture(n: int) -> None:
    xyz = np.random.default_rng(0).normal(size=(n, 3)) * 100
    picture = scene.drawn(xyz, np.zeros((n, 3)), 1.0, 80)
    assert picture.shape == (80, 80, 3)
    assert (picture < 255).any()
    assert picture[0].min() == picture[-1].min() == picture[:, 0].min() == 255


def test_the_legend_has_every_colour() -> None:
    page = scene.legend(ROOM_CLASSES)
    seen = {tuple(colour) for colour in page.reshape(-1, 3).tolist()}
    for colour in CLASS_COLOURS[: len(ROOM_CLASSES)]:
        assert tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) in seen


def test_the_explorer_answers_to_it(some: list[Cloud]) -> None:
    widget = SceneExplorer(scene.controls(some), lambda values: scene.view(some, values))
    before = bytes(widget.picture)
    widget.values = {**widget.values, "turn": 90.0}
    assert bytes(widget.picture) != before
    assert "wrong label" in repr(widget)


def test_points_without_a_label_are_drawn(some: list[Cloud], start: dict[str, Any]) -> None:
    cloud = some[0]
    labels = cloud.labels.clone()
    labels[:50] = -1
    bare = Cloud(cloud.xyz, cloud.rgb, labels, cloud.instances, cloud.classes, "bare")
    assert scene.view([bare], start | {"room": 1.0}).image.shape == (scene.SIDE, scene.SIDE, 3)
    assert torch.equal(labels[:50], torch.full((50,), -1))
