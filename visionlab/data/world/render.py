"""From scenes to pixels and labels: rays, hits, light and shadow, and the channels that are aligned with the image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from visionlab.data.world import surfaces
from visionlab.data.world.labels import Labels, label
from visionlab.data.world.planes import plane_hits
from visionlab.data.world.precision import in_float32
from visionlab.data.world.scene import Scenes
from visionlab.data.world.solids import dot
from visionlab.data.world.styles import STYLES, restyle
from visionlab.data.world.tracing import Hits, Pieces, first_hits, normals, pieces_of, shadowed, take
from visionlab.data.world.views import View, camera_rays, camera_view

__all__ = ["Quality", "Render", "render"]

Quality = Literal["fast", "full"]
BUDGET = 3_000_000  # rays times objects (and four) worked on at once, a quarter of a gigabyte; one image may be more
LIFT = 2e-3  # shadow rays begin this far over a surface, so that rounding does not let it shadow itself
SUN_SAMPLES = 3  # ways to a soft light, for each of the points of a pixel
POINTS: dict[Quality, tuple[tuple[float, float], ...]] = {
    "fast": ((0.5, 0.5),),
    "full": ((0.5, 0.5), (0.125, 0.625), (0.375, 0.125), (0.625, 0.875), (0.875, 0.375)),
}
"""Where rays go through a pixel, (down, right); labels are those of the first."""


@dataclass(frozen=True)
class Surface:
    """What the rays of n scenes see, p rays each: all that light needs."""

    distance: Float[Tensor, "n p"]
    point: Float[Tensor, "3 n p"]
    normal: Float[Tensor, "3 n p"]
    albedo: Float[Tensor, "3 n p"]
    slot: Int[Tensor, "n p"]  # the object's, or -1
    part: Int[Tensor, "n p"]  # place in PARTS, or -1
    ray: Int[Tensor, " m"]  # rays that meet objects, in the flat list
    material: Int[Tensor, " m"]
    hits: Hits


@dataclass(frozen=True)
class Render(Labels):
    """Images of n scenes with all that is aligned with them; see `visionlab.data.world.labels.Labels` for the rest.

    Attributes:
        image: (n, 3, H, W) float32 in [0, 1], sRGB.
        depth: (n, H, W) along the line of sight of the camera; inf in the sky.
        normals: (n, 3, H, W) unit vectors to the camera's right, up and towards it; zeros in the sky.
        albedo: (n, 3, H, W) in [0, 1], sRGB: colour without light; zeros in the sky.
    """

    image: Float[Tensor, "n 3 h w"]
    depth: Float[Tensor, "n h w"]
    normals: Float[Tensor, "n 3 h w"]
    albedo: Float[Tensor, "n 3 h w"]


@in_float32
def render(
    scenes: Scenes, size: int | tuple[int, int] = 64, *, quality: Quality = "fast", style: str = "clean"
) -> Render:
    """Render scenes on their device, in parts that fit a memory budget.

    Args:
        scenes: of `visionlab.data.world.scenes`.
        size: side in pixels, or (height, width), each from 16 to 512.
        quality: "fast" traces one ray a pixel, with hard shadows; "full" traces five, with soft ones. The labels
            are the same.
        style: one of `STYLES`; it changes the image alone.

    Raises:
        ValueError: an argument is out of its range.
    """
    if len(scenes) == 0:
        raise ValueError("scenes: expected at least one; got none")
    sides = size if isinstance(size, (tuple, list)) else (size, size)
    whole = all(isinstance(side, (int, np.integer)) and 16 <= side <= 512 for side in sides)
    if len(sides) != 2 or not whole:
        raise ValueError(f"size: expected sides of 16 to 512 pixels, got {size!r}")
    height, width = map(int, sides)
    if style not in tuple(STYLES):
        raise ValueError(f"style: expected one of {', '.join(STYLES)}; got {style!r}")
    if quality not in ("fast", "full"):
        raise ValueError(f"quality: expected 'fast' or 'full'; got {quality!r}")
    rays = height * width * len(POINTS[quality])
    step = max(1, BUDGET // (rays * (4 + scenes.objects.shape.shape[1])))
    parts = [_render(scenes[i : i + step], (height, width), quality, style) for i in range(0, len(scenes), step)]
    return Render.cat(parts) if len(parts) > 1 else parts[0]


def _render(scenes: Scenes, size: tuple[int, int], quality: Quality, style: str) -> Render:
    pieces, view = pieces_of(scenes), camera_view(scenes.camera, size)
    points, pixels = POINTS[quality], size[0] * size[1]
    rays = camera_rays(view, size, points)
    surface = _surface(scenes, pieces, view, rays, size)
    light = _radiance(scenes, pieces, view, size, surface, _to_light(scenes, quality))
    light = light.unflatten(2, (len(points), pixels)).mean(2)
    shape = (len(scenes), *size)
    forward = dot(view.forward[..., None], rays[..., :pixels])
    normal = surface.normal[..., :pixels]
    facing = torch.stack([dot(axis[..., None], normal) for axis in (view.right, view.up, -view.forward)])
    labels = label(
        scenes.objects,
        surface.slot[:, :pixels].reshape(shape),
        surface.part[:, :pixels].reshape(shape),
        surface.hits.seen.view(len(scenes), -1, *size),
    )
    clean = Render(
        **vars(labels),
        image=_as_images(to_srgb(light), size),
        depth=(surface.distance[:, :pixels] * forward).view(shape),
        normals=_as_images(facing, size),
        albedo=_as_images(to_srgb(surface.albedo[..., :pixels]), size),
    )
    return clean if style == "clean" else Render(**(vars(clean) | {"image": restyle(style, clean, scenes.key)}))


def _surface(
    scenes: Scenes, pieces: Pieces, view: View, rays: Float[Tensor, "3 n r"], size: tuple[int, int]
) -> Surface:
    """Trace rays, through some points of each pixel, to the first thing that they meet."""
    distance, normal, which = plane_hits(scenes, view, rays)
    hits = first_hits(pieces, view, rays, size)
    sky = distance.isinf()
    point = view.eye[..., None] + rays * torch.where(sky, 0.0, distance)
    albedo = torch.where(which == 0, surfaces.ground_colour(scenes, point[0], point[1]), 0.0)
    if (which > 0).any():
        along = torch.where(which > 0, normal[1] * point[0] - normal[0] * point[1], 0.0) + 31.0 * which
        albedo = torch.where(which > 0, surfaces.background_colour(scenes, along, point[2]), albedo)
    albedo = torch.where(sky, 0.0, albedo)
    flat = [x.flatten(-2) for x in (distance, point, torch.where(sky, 0.0, normal), albedo)]
    slot, part = (torch.full_like(flat[0], -1, dtype=torch.int64) for _ in range(2))
    # Objects are never behind a wall that is seen, so what is hit lies before the ground and the walls.
    ray, piece = hits.ray, hits.piece
    scene, place, part_hit = take((pieces.scene, pieces.slot, pieces.part), piece)
    slot.index_copy_(0, ray, place)
    part.index_copy_(0, ray, part_hit)
    flat[0].index_copy_(0, ray, hits.t)
    met = _pick(view.eye, scene) + _pick(rays.flatten(1), ray) * hits.t
    normal, local = normals(pieces, hits, met)
    things, k = scenes.objects, pieces.bulk.shape[1]
    owner = scene * k + place
    material, start = take((things.material.flatten(), surfaces.phase(scenes.key, k).flatten()), owner)
    rgb = _pick(things.rgb.flatten(0, 1).T, owner)
    solid_point = local * _pick(pieces.axes, piece)
    found = met, normal, surfaces.material_colour(material, rgb, solid_point, start)
    for all_rays, some in zip(flat[1:], found, strict=True):
        all_rays.scatter_(1, ray.expand(3, -1), some)
    shape = distance.shape
    distance, point, normal, albedo = (x.view(*x.shape[:-1], *shape) for x in flat)
    return Surface(distance, point, normal, albedo, slot.view(shape), part.view(shape), ray, material, hits)


def _radiance(
    scenes: Scenes,
    pieces: Pieces,
    view: View,
    size: tuple[int, int],
    surface: Surface,
    directions: Float[Tensor, "3 n g s"],
) -> Float[Tensor, "3 n p"]:
    """Linear light that reaches the camera: the key light where it falls, the fill where the sky is open, and gloss."""
    light, normal = scenes.light, surface.normal
    groups = directions.shape[2]
    lifted, normals_ = (v.unflatten(2, (groups, -1)) for v in (surface.point + LIFT * normal, normal))
    sun = torch.zeros_like(normals_[0])
    for direction in directions.unbind(-1):
        facing = dot(normals_, direction[..., None])
        dark = shadowed(pieces, view, size, lifted, facing > 0, direction)
        sun += torch.where(dark, 0.0, facing.clamp(min=0)) / directions.shape[-1]
    sun = sun.flatten(1)
    ground = scenes.ground_rgb.mean(1)
    open_sky = 0.5 + 0.5 * normal[2]
    closeness = ambient_light(pieces, surface)
    fill = light.fill.T[..., None] * (open_sky + (1 - open_sky) * ground.T[..., None]) * closeness
    radiance = surface.albedo * (light.colour.T[..., None] * sun + fill)
    way = surface.point - view.eye[..., None]
    way = way * dot(way, way).clamp(min=1e-9).rsqrt()
    _add_gloss(radiance, scenes, surface, way, sun, closeness)
    sky = surface.distance.isinf()
    rays_up = torch.where(sky, way[2], 0.0)
    return torch.where(sky, surfaces.sky_colour(scenes, rays_up), radiance)


def ambient_light(pieces: Pieces, surface: Surface) -> Float[Tensor, "n p"]:
    """Share of the fill that other objects leave: each as a ball, whose form factor is exact above the plane."""
    away = [pieces.object_middle[..., i, None] - surface.point[i][:, None] for i in range(3)]
    square = dot(away, away).clamp(min=1e-6)
    rise = dot(away, surface.normal[:, :, None]).clamp(min=0)
    hidden = rise * square.rsqrt() * (pieces.bulk[..., None].square() / square)
    own = surface.slot[:, None] == torch.arange(hidden.shape[1], device=hidden.device)[:, None]
    # Multiplied slot by slot: torch's product takes another order in another batch.
    return reduce(torch.mul, torch.where(own, 1.0, 1 - hidden.clamp(max=1)).unbind(1))


def _add_gloss(
    radiance: Float[Tensor, "3 n p"], scenes: Scenes, surface: Surface, way: Tensor, sun: Tensor, closeness: Tensor
) -> None:
    """Add to objects the light's reflection and a faint mirror image of sky and ground."""
    ray = surface.ray
    scene = ray // surface.distance.shape[1]
    light = _pick(_bearing(scenes.light.azimuth, scenes.light.elevation), scene)
    way, normal, albedo = (_pick(x.flatten(1), ray) for x in (way, surface.normal, surface.albedo))
    strength, sharpness, mirror = take(
        torch.tensor(list(surfaces.GLOSS.values()), device=ray.device).T, surface.material
    )
    half = light - way
    half = half * dot(half, half).clamp(min=1e-9).rsqrt()
    shine = strength * _power(dot(normal, half).clamp(min=1e-6), sharpness) * (sun.flatten().index_select(0, ray) > 0)
    tint = torch.where(mirror > 0.5, albedo, 1.0)  # metals colour what they reflect
    upwards = way[2] - 2 * dot(way, normal) * normal[2]
    sky, ground = _pick(scenes.background_rgb[:, 0].T, scene), _pick(scenes.ground_rgb.mean(1).T, scene)
    blend = (0.5 + 2.5 * upwards).clamp(0, 1)
    around = (ground + (1.35 * sky - ground) * blend) * (0.4 + 0.6 * closeness.flatten().index_select(0, ray))
    lit = _pick(radiance.flatten(1), ray) * (1 - mirror)
    lit = lit + tint * (mirror * around + shine * _pick(scenes.light.colour.T, scene))
    radiance.flatten(1).scatter_(1, ray.expand(3, -1), lit)


def _pick(vectors: Float[Tensor, "3 a"], index: Int[Tensor, " m"]) -> Float[Tensor, "3 m"]:
    return torch.stack(take(vectors, index))


def _to_light(scenes: Scenes, quality: Quality) -> Float[Tensor, "3 n g s"]:
    """Unit directions to the key light: to its middle, or to points spread evenly over its disc.

    There are s of them for each of the g points of a pixel; the points take turns, so that each sees the whole disc.
    """
    middle = _bearing(scenes.light.azimuth, scenes.light.elevation)
    if quality == "fast":
        return middle[..., None, None]
    across = _bearing(scenes.light.azimuth + 90, torch.zeros_like(middle[2]))  # also for a light straight above
    over = torch.linalg.cross(middle, across, dim=0)
    groups = len(POINTS[quality])
    count = groups * SUN_SAMPLES
    place = torch.arange(count, device=middle.device)
    reach = (scenes.light.softness * math.pi / 180).tan()[:, None] * ((place + 0.5) / count).sqrt()
    angle = math.pi * (3 - math.sqrt(5)) * place  # Vogel's spiral
    bent = middle[..., None] + reach * (angle.cos() * across[..., None] + angle.sin() * over[..., None])
    bent = bent * dot(bent, bent).rsqrt()
    return bent.unflatten(-1, (SUN_SAMPLES, groups)).transpose(-1, -2)


def _bearing(azimuth: Float[Tensor, " n"], elevation: Float[Tensor, " n"]) -> Float[Tensor, "3 n"]:
    azimuth, elevation = azimuth * math.pi / 180, elevation * math.pi / 180
    return torch.stack([azimuth.sin() * elevation.cos(), azimuth.cos() * elevation.cos(), elevation.sin()])


def to_srgb(linear: Tensor) -> Tensor:
    """Linear light to sRGB in [0, 1] (IEC 61966-2-1)."""
    x = linear.clamp(0, 1)
    return torch.where(x <= 0.0031308, 12.92 * x, 1.055 * _power(x.clamp(min=1e-6), 1 / 2.4) - 0.055)


def _power(x: Tensor, exponent: float | Tensor) -> Tensor:
    """Positive numbers to some power; torch's own differs in the last bit with the place in the batch."""
    return (x.log() * exponent).exp()


def _as_images(x: Float[Tensor, "3 n p"], size: tuple[int, int]) -> Float[Tensor, "n 3 h w"]:
    return x.transpose(0, 1).unflatten(-1, size).contiguous()
