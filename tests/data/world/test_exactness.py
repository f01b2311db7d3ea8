"""The renderer against the plain tracer: what is where, how far it is, which way it faces, and what is in shadow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from tests.data.world.plain_tracer import Array, camera, openness, trace
from visionlab.data import world
from visionlab.data.world import Render, Scenes
from visionlab.data.world.layout import scenes
from visionlab.data.world.shapes import SHAPES
from visionlab.data.world.vocabulary import BACKGROUNDS, GROUNDS, MATERIALS

POSES = [(shape.name, lying) for shape in SHAPES for lying in ((False, True) if shape.lies else (False,))]


def changed(found: Scenes, **parts: dict[str, Any]) -> Scenes:
    """Scenes with other values in some fields of their objects, camera or light."""
    return found.with_(**{name: getattr(found, name).with_(**values) for name, values in parts.items()})


def unmarked(found: Scenes) -> Scenes:
    """Nothing is patterned or shines, and the key light is all the light there is."""
    plain = found.with_(ground=GROUNDS.index("plain"), background=BACKGROUNDS.index("plain"))
    matte = {"material": MATERIALS.index("matte")}
    return changed(plain, objects=matte, light={"colour": 0.5, "fill": 0.0})


def linear(srgb: torch.Tensor) -> Array:
    x = srgb.double().numpy()
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def light_at(picture: Render) -> Array:
    """Light on the only surface at each pixel of the only image, as a share of what would leave a white one white."""
    return np.asarray(linear(picture.image[0]).sum(0) / np.maximum(linear(picture.albedo[0]).sum(0), 1e-9))


def agreement(scene: Scenes, size: tuple[int, int]) -> dict[str, float]:
    """Share of the pixels where the renderer and the plain tracer say the same, label by label."""
    scene = unmarked(scene)
    picture, traced = world.render(scene, size), trace(scene, size)
    depth, far = picture.depth[0].double().numpy(), np.isinf(traced.depth)
    sun = np.where(traced.lit, np.maximum(traced.facing, 0), 0)
    with np.errstate(invalid="ignore"):
        near = np.abs(depth - traced.depth) < 2e-4 * traced.depth
    same = {
        "instance": picture.instance[0].numpy() == traced.instance,
        "semantic": picture.semantic[0].numpy() == traced.semantic,
        "part": picture.part[0].numpy() == traced.part,
        "depth": np.where(far, np.isinf(depth), near),
        "normals": np.abs(picture.normals[0].double().numpy() - traced.normals).max(0) < 5e-3,
        "light": far | (np.abs(light_at(picture) / 0.5 - sun) < 0.01),
    }
    return {name: float(where.mean()) for name, where in same.items()}


@pytest.mark.parametrize(("shape", "lying"), POSES, ids=str)
def test_a_shape_alone_is_what_the_plain_tracer_sees(shape: str, lying: bool) -> None:
    found = scenes(1, range(2), shapes=shape, objects=1, lying=float(lying), spread=0.5)
    assert (found.objects.lying == lying).all()
    for i in range(2):
        shares = agreement(found[i], (24, 32))
        assert min(shares.values()) > 0.997, shares  # two pixels of 768 may lie on an edge


@pytest.mark.parametrize(
    ("factors", "size"),
    [
        ({"objects": 8}, (48, 64)),
        ({"objects": 8, "spread": 3.2, "gap": 0.0, "places": "corner"}, (64, 48)),
        ({"objects": 5, "stacking": 1.0, "places": "wall"}, (48, 48)),
        ({"objects": 6, "shapes": ("ring", "table", "prism"), "stacking": 1.0}, (48, 64)),
        ({"objects": 5, "elevation": (5.0, 8.0), "light": (10.0, 14.0), "places": "open"}, (32, 96)),
        ({"objects": 5, "elevation": (87.0, 89.0), "light": (86.0, 90.0)}, (96, 32)),
    ],
    ids=["many", "corner", "stacked", "rings", "low", "above"],
)
def test_whole_scenes_are_what_the_plain_tracer_sees(factors: dict[str, Any], size: tuple[int, int]) -> None:
    found = scenes(7, range(2), **factors)
    for i in range(len(found)):
        shares = agreement(found[i], size)
        assert min(shares.values()) > 0.998, shares


@pytest.mark.parametrize("elevation", [-8.0, 0.0, 2.0])
def test_a_light_at_the_horizon_throws_shadows_as_far_as_anything_stands(elevation: float) -> None:
    found = changed(scenes(7, range(2), objects=8, places="open"), light={"elevation": elevation})
    for i in range(len(found)):
        shares = agreement(found[i], (48, 64))
        assert min(shares.values()) > 0.998, shares


@pytest.mark.parametrize("lying", [False, True])
def test_rays_that_graze_the_rim_of_a_ring_are_told_apart(lying: bool) -> None:
    found = scenes(2, range(2), shapes="ring", objects=1, lying=float(lying), spread=0.5)
    picture = world.render(found, 96)
    for i in range(2):
        traced = trace(found[i], (96, 96))
        assert (picture.instance[i].numpy() != traced.instance).sum() <= 1
        on = traced.instance == 0
        assert np.abs(picture.depth[i].double().numpy() - traced.depth)[on].max() < 5e-4


def test_each_object_alone_is_seen_where_the_plain_tracer_sees_it() -> None:
    for i in range(3):
        scene = scenes(8, range(i, i + 1), objects=6, stacking=0.5)
        picture, alone = world.render(scene, (40, 48)), trace(scene, (40, 48)).alone
        share = picture.visibility[0].numpy() * np.maximum(alone.sum((1, 2)), 1)
        visible = [(picture.instance[0] == slot).sum().item() for slot in range(6)]
        np.testing.assert_allclose(share, visible, atol=1.0)


@pytest.mark.parametrize("size", [(512, 512), (64, 200), (300, 100), (16, 16), (512, 16)], ids=str)
def test_a_sphere_covers_the_pixels_of_its_ellipse(size: tuple[int, int]) -> None:
    found = changed(scenes(4, range(6), shapes="sphere", objects=1, spread=1.5), objects={"stretch": 1.0})
    picture = world.render(found, size)
    for i in range(len(found)):
        scene = found[i]
        eye, axes, rays = camera(scene, size)
        radius = 0.85 * float(scene.objects.radius[0, 0])
        middle = axes @ (np.array([*scene.objects.position[0, 0].tolist(), radius]) - eye)
        way = rays @ axes.T
        way /= way[..., 2:]  # (x, y, 1): places on the image plane
        # An ellipse, (way · middle)² = |way|² (|middle|² - radius²).
        inside = (way @ middle) ** 2 / (way**2).sum(-1) - (middle @ middle - radius**2)
        differs = (picture.instance[i] == 0).numpy() != (inside > 0)
        assert not (differs & (np.abs(inside) > 1e-4)).any()
        assert differs.sum() <= 1
        # The box ends where planes through the eye touch the sphere.
        pixel = 2 * math.tan(math.radians(float(scene.camera.field_of_view[0])) / 2) / min(size)
        ends = []
        for along, side, sign in ((middle[0], size[1], 1), (middle[1], size[0], -1)):
            angle, spread = math.atan2(along, middle[2]), math.asin(radius / math.hypot(along, middle[2]))
            ends.append(sorted(sign * math.tan(angle + s * spread) / pixel + side / 2 for s in (-1, 1)))
        (left, right), (top, bottom) = ends
        limits = [size[1], size[0], size[1], size[0]]
        box = np.clip([left, top, right, bottom], 0, limits)
        assert (np.abs(picture.full_boxes[i, 0].numpy() - box) < 1.5).all(), (picture.full_boxes[i, 0], box)


def test_the_fill_that_a_sphere_takes_from_the_ground_is_exact() -> None:
    found = scenes(6, range(3), shapes="sphere", objects=1, spread=0.8, places="open", colours="grey", sizes="large")
    found = changed(unmarked(found), objects={"stretch": 1.0}, light={"colour": 0.0, "fill": 0.5})
    for i in range(len(found)):
        scene = found[i]
        picture, traced = world.render(scene, (24, 32)), trace(scene, (24, 32))
        ground = np.flatnonzero((traced.instance < 0) & np.isfinite(traced.depth))
        open_ = (light_at(picture) / 0.5).reshape(-1)[ground]
        darkest = np.argsort(open_)[:40]
        points = traced.point.reshape(-1, 3)[ground[darkest]]
        drawn = openness(scene, points, np.broadcast_to([0.0, 0.0, 1.0], points.shape))
        assert open_[darkest].min() < 0.6
        np.testing.assert_allclose(open_[darkest], drawn, atol=0.01)


def test_a_soft_light_is_soft_wherever_it_stands() -> None:
    for elevation in (30.0, 89.0, 90.0):
        found = scenes(6, range(1), shapes="sphere", objects=1, spread=0.8, places="open")
        lit = changed(unmarked(found), light={"elevation": elevation, "softness": 6.0, "colour": 0.5})
        light = light_at(world.render(lit, (48, 48), quality="full")) / (0.5 * math.sin(math.radians(elevation)))
        ground = world.render(lit, (48, 48)).instance[0].numpy() < 0
        half = ground & (light > 0.1) & (light < 0.9)
        assert half.sum() > 15, (elevation, half.sum())
