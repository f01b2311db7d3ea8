"""Where objects stand: on the ground or on one another, beside each other, before the walls; and the light likewise."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import torch

from tests.data.world.plain_tracer import Array, bearing, bodies, surface, walls
from visionlab.data.world import Scenes
from visionlab.data.world.layout import scenes
from visionlab.data.world.scene import geometry
from visionlab.data.world.shapes import SHAPES
from visionlab.data.world.vocabulary import SIZES

N, K, GAP = 40, 8, 0.08


@pytest.fixture(scope="module")
def crowd() -> Scenes:
    """Scenes as full as they get, half of the objects on others or on their side."""
    return scenes(21, range(N), objects=K, stacking=0.6, lying=0.6, gap=GAP)


@pytest.fixture(scope="module")
def points(crowd: Scenes) -> dict[tuple[int, int], Array]:
    """Many points of each object's surface, by scene and slot, as the renderer places them."""
    place, found = geometry(crowd.objects), {}
    for i, slot in crowd.objects.present.nonzero().tolist():
        shape = SHAPES[int(crowd.objects.shape[i, slot])]
        centre, turn, axes = (x[i, slot].double().numpy() for x in (place.centre, place.turn, place.axes))
        local = [surface(piece.solid) * piece.axes + piece.at for piece in shape.pieces]
        found[i, slot] = (np.concatenate(local) * axes) @ turn.T + centre
    return found


def test_the_renderer_and_the_plain_tracer_place_objects_alike(
    crowd: Scenes, points: dict[tuple[int, int], Array]
) -> None:
    for i in range(0, N, 6):
        for slot in crowd.objects.present[i].nonzero()[:, 0].tolist():
            plain = np.concatenate([body.points for body in bodies(crowd[i]) if body.slot == slot])
            np.testing.assert_allclose(points[i, slot], plain, atol=2e-6)


def test_every_object_rests_on_the_ground_or_on_another(crowd: Scenes, points: dict[tuple[int, int], Array]) -> None:
    place, stacked = geometry(crowd.objects), 0
    for (i, slot), surface_ in points.items():
        base = int(crowd.objects.on[i, slot])
        floor = 0.0 if base < 0 else points[i, base][:, 2].max()
        assert abs(surface_[:, 2].min() - floor) < 1e-5
        assert abs(surface_[:, 2].min() - float(place.low[i, slot])) < 1e-5
        assert abs(surface_[:, 2].max() - float(place.high[i, slot])) < 1e-5
        stacked += base >= 0
    assert stacked >= 10


def test_what_carries_is_flat_upright_on_the_ground_and_carries_one_narrower_thing(
    crowd: Scenes, points: dict[tuple[int, int], Array]
) -> None:
    things = crowd.objects
    for i, slot in (things.on >= 0).nonzero().tolist():
        base = int(things.on[i, slot])
        assert things.present[i, slot] and things.present[i, base]
        assert SHAPES[int(things.shape[i, base])].flat and not things.lying[i, base]
        assert things.on[i, base] == -1
        assert (things.on[i] == base).sum() == 1
        assert torch.equal(things.position[i, slot], things.position[i, base])
        widths = [np.hypot(*(points[i, s][:, :2] - things.position[i, s].numpy()).T).max() for s in (slot, base)]
        assert widths[0] < 0.75 * widths[1]
    assert not things.on[~things.present].ge(0).any()


def test_footprints_keep_the_gap(crowd: Scenes, points: dict[tuple[int, int], Array]) -> None:
    angle = np.radians(np.arange(0, 360, 6))
    ways = np.stack([np.cos(angle), np.sin(angle)])
    closest = math.inf
    for i in range(N):
        slots = [s for s in range(K) if crowd.objects.present[i, s] and crowd.objects.on[i, s] < 0]
        reach = {slot: (points[i, slot][:, :2] @ ways).max(0) for slot in slots}
        for first, second in combinations(slots, 2):
            # Two convex outlines are apart by the widest strip between them.
            apart = (-np.roll(reach[second], 30) - reach[first]).max()
            closest = min(closest, apart)
    assert GAP <= closest < GAP + 0.1


def test_scenes_are_crowded_where_an_object_found_no_room(crowd: Scenes) -> None:
    count = crowd.objects.present.sum(1)
    assert torch.equal(crowd.crowded, count < K)
    assert crowd.crowded.any() and not crowd.crowded.all()
    assert count.min() >= 3


def test_only_what_may_lie_does_and_sizes_are_as_named(crowd: Scenes) -> None:
    things = crowd.objects
    lies = torch.tensor([shape.lies for shape in SHAPES])[things.shape]
    assert not (things.lying & ~lies).any()
    share = things.lying[lies].float().mean().item()
    assert abs(share - 0.6) < 4 * math.sqrt(0.24 / int(lies.sum()))
    low, high = torch.tensor(list(SIZES.values()))[things.size].unbind(-1)
    assert ((things.radius >= low) & (things.radius <= high)).all()


@pytest.mark.parametrize("place", ["wall", "corner"])
def test_no_object_passes_through_a_wall_and_no_light_comes_through_one(place: str) -> None:
    found = scenes(22, range(24), objects=K, places=place, spread=3.2, stacking=0.0, sizes="large")
    for i in range(len(found)):
        to_light = bearing(float(found.light.azimuth[i]), float(found.light.elevation[i]))
        for outwards, far in walls(found[i]):
            assert max((body.points @ outwards).max() for body in bodies(found[i])) < far
            assert outwards @ to_light < 0


def test_the_light_stands_to_one_side_of_the_camera() -> None:
    found = scenes(23, range(600))
    aside = (found.light.azimuth - found.camera.azimuth - 180 + 540) % 360 - 180
    assert aside.abs().min() >= 34.9 and aside.abs().max() <= 105.1
    assert 200 < (aside > 0).sum() < 400
