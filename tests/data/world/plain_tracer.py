"""A slow, plain tracer of one scene in float64, which the renderer must agree with.

It knows each solid only as the set where a number is not positive, finds the first point of a ray in it by walking
along the ray and halving the last step, and places the objects by the lowest of many points of their surface.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from visionlab.data.world import Scenes
from visionlab.data.world.shapes import PARTS, SHAPES, Piece
from visionlab.data.world.solids import Faceted, Round, Solid

Array = NDArray[np.float64]
UP = np.array([0.0, 0.0, 1.0])
LOOKED_AT = np.array([0.0, 0.0, 0.45])
STEPS = 400  # along a ray, within the ball around a solid
HALVINGS = 40
OFF = 1e-3  # how far over a surface a shadow ray begins


@dataclass(frozen=True)
class Body:
    """One solid in the world: ``frame @ p + at`` is the point of the world that p in the solid's coordinates is."""

    slot: int
    semantic: int
    part: int
    solid: Solid
    frame: Array
    at: Array
    points: Array  # of its surface, in the world

    def field(self, world: Array) -> Array:
        """Not positive inside, at points (..., 3) of the world."""
        return outside(self.solid, (world - self.at) @ np.linalg.inv(self.frame).T)

    def ball(self) -> tuple[Array, float]:
        middle = (self.points.min(0) + self.points.max(0)) / 2
        return middle, 1.02 * float(np.linalg.norm(self.points - middle, axis=1).max())


@dataclass(frozen=True)
class Traced:
    """What the middles of the pixels see, (H, W) each; see `visionlab.data.world.render.Render`."""

    instance: NDArray[np.int64]
    semantic: NDArray[np.int64]
    part: NDArray[np.int64]
    depth: Array
    normals: Array  # (3, H, W)
    point: Array  # (H, W, 3), in the world
    facing: Array  # cosine between the normal and the way to the light
    lit: NDArray[np.bool_]  # whether nothing stands between the point and the light
    alone: NDArray[np.bool_]  # (K, H, W) where each object would be seen if nothing stood before it


def outside(solid: Solid, p: Array) -> Array:
    """A number at points (..., 3) that is not positive in the solid alone."""
    x, y, z = np.moveaxis(p, -1, 0)
    if isinstance(solid, Round):
        side = x**2 + y**2 - (solid.k0 + solid.k1 * z + solid.k2 * z**2)
        return np.maximum(side, np.maximum(solid.low - z, z - solid.high))
    if isinstance(solid, Faceted):
        return np.max([a * x + b * y + c * z - w for a, b, c, w in solid.planes], axis=0)
    return (np.hypot(x, y) - solid.ring) ** 2 + z**2 - solid.tube**2


@lru_cache
def surface(solid: Solid) -> Array:
    """Many points of a solid's surface, its extremes among them: rings of round ones, corners of faceted ones."""
    around = np.radians(np.arange(0, 360, 5))
    if isinstance(solid, Faceted):
        planes = np.array(solid.planes)
        triples = [planes[list(three)] for three in combinations(range(len(planes)), 3)]
        corners = [np.linalg.solve(t[:, :3], t[:, 3]) for t in triples if abs(np.linalg.det(t[:, :3])) > 1e-9]
        return np.array([corner for corner in corners if outside(solid, corner) < 1e-9])
    if isinstance(solid, Round):
        level = np.linspace(solid.low, solid.high, 201)
        radius = np.sqrt(np.maximum(solid.k0 + solid.k1 * level + solid.k2 * level**2, 0))
    else:
        radius, level = solid.ring + solid.tube * np.cos(around), solid.tube * np.sin(around)
    rings = np.stack([np.outer(radius, np.cos(around)), np.outer(radius, np.sin(around))], axis=-1)
    return np.concatenate([rings, np.broadcast_to(level[:, None, None], (*rings.shape[:2], 1))], -1).reshape(-1, 3)


def bodies(scene: Scenes) -> list[Body]:
    """Every solid of every object of one scene: laid on its side, turned, and put down on what it stands on."""
    found: list[Body] = []
    for slot in sorted(range(scene.objects.shape.shape[1]), key=lambda slot: int(scene.objects.on[0, slot]) >= 0):
        if scene.objects.present[0, slot]:
            base = int(scene.objects.on[0, slot])
            floor = max(body.points[:, 2].max() for body in found if body.slot == base) if base >= 0 else 0.0
            found += _put_down(scene, slot, float(floor))
    return found


def _put_down(scene: Scenes, slot: int, floor: float) -> list[Body]:
    things = scene.objects
    number = int(things.shape[0, slot])
    shape = SHAPES[number]
    axes = float(things.radius[0, slot]) * things.stretch[0, slot].double().numpy() * np.array(shape.axes)
    turn = _about_z(math.radians(float(things.yaw[0, slot])))
    if things.lying[0, slot]:
        turn = turn @ np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # -y goes down, z goes to -y
    middle = np.array([*things.position[0, slot].double().numpy(), 0.0])

    def body(piece: Piece, lift: float) -> Body:
        frame = turn @ np.diag(axes * np.array(piece.axes))
        at = turn @ (axes * np.array(piece.at)) + middle + lift * UP
        part = PARTS.index(f"{shape.name}: {piece.part}") + 1
        return Body(slot, number + 1, part, piece.solid, frame, at, surface(piece.solid) @ frame.T + at)

    lowest = min(float(body(piece, 0).points[:, 2].min()) for piece in shape.pieces)
    return [body(piece, floor - lowest) for piece in shape.pieces]


def _about_z(angle: float) -> Array:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def bearing(azimuth: float, elevation: float) -> Array:
    """The unit vector towards an azimuth, clockwise from y as seen from above, and an elevation, both in degrees."""
    a, e = math.radians(azimuth), math.radians(elevation)
    return np.array([math.sin(a) * math.cos(e), math.cos(a) * math.cos(e), math.sin(e)])


def camera(scene: Scenes, size: tuple[int, int]) -> tuple[Array, Array, Array]:
    """The eye, the axes (right, up, forward) as rows, and the unit rays (H, W, 3) through the middles of pixels."""
    azimuth, elevation, distance, roll, view = (
        float(getattr(scene.camera, name)[0]) for name in ("azimuth", "elevation", "distance", "roll", "field_of_view")
    )
    forward = bearing(azimuth, -elevation)
    level = np.cross(forward, UP) / np.linalg.norm(np.cross(forward, UP))
    above = np.cross(level, forward)
    c, s = math.cos(math.radians(roll)), math.sin(math.radians(roll))
    right, up = c * level + s * above, c * above - s * level
    half = math.tan(math.radians(view) / 2)
    row, column = np.mgrid[: size[0], : size[1]] + 0.5
    x, y = (column - size[1] / 2) * 2 * half / min(size), (size[0] / 2 - row) * 2 * half / min(size)
    rays = forward + x[..., None] * right + y[..., None] * up
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    return LOOKED_AT - distance * forward, np.stack([right, up, forward]), rays


def walls(scene: Scenes) -> list[tuple[Array, float]]:
    """Of each wall the unit vector from the middle towards it, and how far it stands."""
    at, far = (float(x) for x in scene.wall[0])
    bearings = {0: [], 1: [at], 2: [at - 45, at + 45]}[int(scene.place[0])]
    return [(bearing(b, 0.0), far) for b in bearings]


def first_inside(body: Body, origin: Array, rays: Array) -> Array:
    """How far along unit rays (P, 3) from origins (P, 3) the first point of a body lies; inf if there is none."""
    middle, radius = body.ball()
    along = ((middle - origin) * rays).sum(-1)
    apart = np.linalg.norm(origin + along[:, None] * rays - middle, axis=-1)
    half = np.sqrt(np.maximum(radius**2 - apart**2, 0))
    start, end = np.maximum(along - half, 0), along + half
    found = np.full(len(rays), np.inf)
    may = np.flatnonzero((apart < radius) & (end > 0))
    if len(may) == 0:
        return found
    origin, rays = origin[may], rays[may]
    t = start[may, None] + (end - start)[may, None] * np.linspace(0, 1, STEPS)
    field = body.field(origin[:, None] + t[..., None] * rays[:, None])
    here = np.where((field <= 0).any(1), (field <= 0).argmax(1), field.argmin(1))
    every = np.arange(len(may))
    before, after = t[every, np.maximum(here - 1, 0)], t[every, np.minimum(here + 1, STEPS - 1)]
    inside = _lowest(lambda s: body.field(origin + s[:, None] * rays), before, after)
    inside = np.where((field <= 0).any(1), t[every, here], inside)
    low, high = before, inside
    for _ in range(HALVINGS):
        half_way = (low + high) / 2
        within = body.field(origin + half_way[:, None] * rays) <= 0
        low, high = np.where(within, low, half_way), np.where(within, half_way, high)
    found[may] = np.where(body.field(origin + inside[:, None] * rays) <= 0, high, np.inf)
    return found


def _lowest(value: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Where between low and high a value is lowest, by thirds: for rays that pass a solid between two steps."""
    for _ in range(HALVINGS):
        first, second = low + (high - low) / 3, high - (high - low) / 3
        left = value(first) < value(second)
        low, high = np.where(left, low, first), np.where(left, second, high)
    return (low + high) / 2


def normal_of(body: Body, points: Array) -> Array:
    """Unit normals at points of the surface, by differences of the field."""
    step = 1e-6 * np.eye(3)
    slope = np.stack([body.field(points + d) - body.field(points - d) for d in step], axis=-1)
    return slope / np.maximum(np.linalg.norm(slope, axis=-1, keepdims=True), 1e-300)


def trace(scene: Scenes, size: tuple[int, int]) -> Traced:
    """Trace one scene through the middles of the pixels."""
    eye, axes, rays = camera(scene, size)
    flat = rays.reshape(-1, 3)
    origin = np.broadcast_to(eye, flat.shape)
    with np.errstate(divide="ignore"):
        best = np.where(flat[:, 2] < 0, -eye[2] / flat[:, 2], np.inf)
        normal = np.where(np.isfinite(best)[:, None], UP, 0.0)
        for outwards, far in walls(scene):
            t = np.where(flat @ outwards > 0, (far - outwards @ eye) / (flat @ outwards), np.inf)
            normal[t < best] = -outwards
            best = np.minimum(best, t)
    alone = np.zeros((scene.objects.shape.shape[1], len(flat)), dtype=bool)
    labels = np.tile([-1, 0, 0], (len(flat), 1))
    things = bodies(scene)
    nearest = np.full(len(flat), np.inf)  # a thing lies before ground and walls, which it may touch
    for body in things:
        t = first_inside(body, origin, flat)
        alone[body.slot] |= np.isfinite(t)
        nearer = t < nearest
        labels[nearer] = body.slot, body.semantic, body.part
        normal[nearer] = normal_of(body, eye + t[nearer, None] * flat[nearer])
        best[nearer] = nearest[nearer] = t[nearer]
    point = eye + np.where(np.isfinite(best), best, 0)[:, None] * flat
    to_light = bearing(float(scene.light.azimuth[0]), float(scene.light.elevation[0]))
    instance, semantic, part = labels.T.reshape(3, *size)
    return Traced(
        instance=instance,
        semantic=semantic,
        part=part,
        depth=(best * (flat @ axes[2])).reshape(size),
        normals=(normal @ (axes * [[1], [1], [-1]]).T).T.reshape(3, *size),
        point=point.reshape(*size, 3),
        facing=(normal @ to_light).reshape(size),
        lit=_lit(scene, things, point + OFF * normal, to_light).reshape(size),
        alone=alone.reshape(-1, *size),
    )


def _lit(scene: Scenes, things: list[Body], points: Array, to_light: Array) -> NDArray[np.bool_]:
    """Whether the way from points to a far light is free of bodies and walls."""
    rays = np.broadcast_to(to_light, points.shape)
    dark = np.zeros(len(points), dtype=bool)
    for body in things:
        dark |= np.isfinite(first_inside(body, points, rays))
    for outwards, far in walls(scene):
        dark |= (outwards @ to_light > 0) & (points @ outwards < far)
    return ~dark


def openness(scene: Scenes, points: Array, normals: Array, side: int = 40) -> Array:
    """Share of the light of an even sky that spheres leave to points (P, 3), by side² directions strewn evenly.

    The directions are as dense as the cosine with the normal. The objects must be spheres.
    """
    generator = np.random.default_rng(0)
    row, column = np.mgrid[:side, :side].reshape(2, -1)
    found, spheres = np.empty(len(points)), bodies(scene)
    for i, (point, normal) in enumerate(zip(points, normals, strict=True)):
        lift, turn = (np.stack([row, column]) + generator.random((2, side * side))) / side * [[1.0], [2 * math.pi]]
        across = np.cross(normal, [0.36, 0.48, 0.8])
        across /= np.linalg.norm(across)
        over = np.cross(normal, across)
        level = np.sqrt(lift)[:, None]
        rays = level * (np.cos(turn)[:, None] * across + np.sin(turn)[:, None] * over)
        rays += np.sqrt(1 - lift)[:, None] * normal
        hidden = np.zeros(len(rays), dtype=bool)
        for body in spheres:
            way = body.at - point
            near = np.linalg.norm(way - (rays @ way)[:, None] * rays, axis=-1)
            hidden |= (near < body.frame[2, 2]) & (rays @ way > 0)
        found[i] = 1 - hidden.mean()
    return found
