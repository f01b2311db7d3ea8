"""Sampling: every factor of a scene from its key, and places for the objects that keep them apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from visionlab.data.world import counter
from visionlab.data.world.factors import Factors, factors_of
from visionlab.data.world.precision import in_float32
from visionlab.data.world.scene import Camera, Light, Objects, Scenes
from visionlab.data.world.shapes import tables
from visionlab.data.world.vocabulary import COLOUR_SPREAD, COLOURS, PLACES, SIZES, oklch_to_rgb

__all__ = ["scenes"]

TRIES = 48  # places tried for an object before it is left out
BORDER = 0.6  # how far from the rim of the circle on the ground the middles stay: equally far for all sizes
Edit = Callable[[Tensor, Objects], Objects]


@in_float32
def scenes(
    seed: int,
    which: int | range | Tensor,
    *,
    edit: Edit | None = None,
    device: torch.device | str = "cpu",
    **factors: Any,
) -> Scenes:
    """Draw scenes of a seed; each is the same whatever is drawn beside it.

    Args:
        seed: of the whole family of scenes.
        which: how many, or their numbers, from 0 on.
        edit: changes the names that were drawn, before sizes, colours and places follow: ``edit(keys, objects)``.
        device: where the tensors lie.
        factors: what to draw from, by name: see `Factors`.

    Raises:
        ValueError: an argument is unknown or out of its range; it is named.
    """
    drawn = factors_of(factors)
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or not -(2**63) <= seed < 2**63:
        raise ValueError(f"seed: expected a whole number of 64 bits; got {seed}")
    key = counter.keys(int(seed), _check_numbers(which, device))
    least, most = drawn.counts
    wanted = counter.choose(key, "count", tuple(range(least, most + 1)))
    things = _draw_objects(key, drawn)
    if edit is not None:
        things = edit(key, things)
    things = _place(key, _make_exact(key, things), wanted, drawn)
    camera = _draw_camera(key, drawn)
    around = _draw_surroundings(key, camera.azimuth, drawn)
    return Scenes(
        key=key,
        objects=things,
        camera=camera,
        light=_draw_light(key, camera.azimuth, around, drawn),
        **around,
        crowded=things.present.sum(1) < wanted,
    )


def _draw_objects(key: Int[Tensor, " n"], factors: Factors) -> Objects:
    """Draw what can be named; exact sizes and colours follow from the names."""
    k = factors.counts[1]
    n, device = len(key), key.device
    shape, colour, material, size = (
        counter.choose(key, name, factors.options(name), k) for name in ("shapes", "colours", "materials", "sizes")
    )
    return Objects(
        present=torch.zeros(n, k, dtype=torch.bool, device=device),
        shape=shape,
        colour=colour,
        material=material,
        size=size,
        radius=torch.zeros(n, k, device=device),
        stretch=torch.cat([torch.ones(n, k, 2, device=device), counter.between(key, "stretch", 0.92, 1.08, k, 1)], -1),
        rgb=torch.zeros(n, k, 3, device=device),
        position=torch.zeros(n, k, 2, device=device),
        yaw=counter.between(key, "yaw", 0.0, 360.0, k),
        lying=counter.uniform(key, "lying", k) < factors.lying,
        on=torch.full((n, k), -1, device=device),
    )


def _make_exact(key: Int[Tensor, " n"], things: Objects) -> Objects:
    """Draw the radius within the named size and the colour around the named one; only what may lie does."""
    k, device = things.shape.shape[1], key.device
    low, high = torch.tensor(list(SIZES.values()), device=device)[things.size].unbind(-1)
    middle = torch.tensor(list(COLOURS.values()), device=device)[things.colour]
    spread = counter.between(key, "colour", -1.0, 1.0, k, 3) * torch.tensor(COLOUR_SPREAD, device=device)
    chroma = torch.stack([torch.ones_like(low), middle[..., 1], torch.ones_like(low)], dim=-1)
    return things.with_(
        radius=low + (high - low) * counter.uniform(key, "radius", k),
        rgb=oklch_to_rgb(middle + spread * chroma),
        lying=things.lying & tables(str(device)).lies[things.shape],
    )


def _place(key: Int[Tensor, " n"], things: Objects, wanted: Int[Tensor, " n"], factors: Factors) -> Objects:
    """Give the objects places, one slot after the other in all scenes at once: the first of the tries that is free."""
    k = things.shape.shape[1]
    reach = footprint(things)
    stack = counter.uniform(key, "stack", k) < factors.stacking
    angle = counter.between(key, "angle", 0.0, 2 * math.pi, k, TRIES)
    far = counter.uniform(key, "far", k, TRIES).sqrt()
    tries = torch.stack([far * angle.cos(), far * angle.sin()], dim=-1)
    present, on, position = things.present.clone(), things.on.clone(), things.position.clone()
    flat = tables(str(key.device)).flat[things.shape] & ~things.lying
    for slot in range(k):
        # A base is upright and flat, stands on the ground, carries nothing yet, and is wider than what it carries.
        carries = (on[:, :, None] == torch.arange(k, device=key.device)).any(1)
        base = present & flat & (on < 0) & ~carries & (0.6 * reach > reach[:, slot, None])
        stands = stack[:, slot] & base.any(1)
        below = base.int().argmax(1)
        at = tries[:, slot] * max(factors.spread - BORDER, 0.1)
        apart = (at[:, :, None] - position[:, None]).square().sum(-1).sqrt() - reach[:, None]
        free = ((apart > reach[:, slot, None, None] + factors.gap) | ~(present & (on < 0))[:, None]).all(-1)
        found = at.gather(1, free.int().argmax(1)[:, None, None].expand(-1, 1, 2))[:, 0]
        over = position.gather(1, below[:, None, None].expand(-1, 1, 2))[:, 0]
        position[:, slot] = torch.where(stands[:, None], over, found)
        on[:, slot] = torch.where(stands, below, -1)
        present[:, slot] = (slot < wanted) & (stands | free.any(1))
    return things.with_(present=present, on=torch.where(present, on, -1), position=position)


def footprint(things: Objects) -> Float[Tensor, "n k"]:
    """Radius of a circle on the ground that holds each object, about its middle."""
    table = tables(str(things.shape.device))
    axes = things.radius[..., None] * things.stretch * table.axes[things.shape]
    circles = table.circles[things.shape]
    flat = (circles[..., :2] * axes[..., None, :2]).square().sum(-1).sqrt()
    flat = flat + (circles[..., 3:] * axes[..., None, :2]).amax(-1)
    whole = (flat.square() + (circles[..., 2] * axes[..., None, 2]).square()).sqrt()
    return torch.where(things.lying, whole.amax(-1), flat.amax(-1))


def _draw_camera(key: Int[Tensor, " n"], factors: Factors) -> Camera:
    # So that the circle, and half a unit around it, fill the image.
    near = (factors.spread + 0.5) / 3.2
    half = (counter.between(key, "field of view", 31.0, 36.0) * math.pi / 360).tan() * near
    return Camera(
        azimuth=counter.between(key, "azimuth", *factors.azimuth),
        elevation=counter.between(key, "elevation", *factors.elevation),
        distance=counter.between(key, "distance", 9.0, 10.5),
        roll=counter.between(key, "roll", -3.0, 3.0),
        field_of_view=half.atan() * 360 / math.pi,
    )


def _draw_light(
    key: Int[Tensor, " n"], azimuth: Float[Tensor, " n"], around: dict[str, Any], factors: Factors
) -> Light:
    """A light to one side of the camera, so that shadows show; never behind the walls that it looks at."""
    warmth = counter.between(key, "warmth", -1.0, 1.0)[:, None]
    strength = counter.between(key, "light", 0.85, 1.15)[:, None]
    tint = torch.tensor([0.12, 0.0, -0.14], device=key.device)
    place, turned = around["place"], around["wall"][:, 0] - azimuth
    side = torch.where(counter.uniform(key, "light side") < 0.5, -1.0, 1.0)
    side = torch.where(place == PLACES.index("corner"), torch.where(turned < 0, -1.0, 1.0), side)
    # A wall leaves 90 degrees open either way, a corner 45, about the way from its middle; 5 less, to light it.
    open_ = torch.tensor([180.0, 85.0, 40.0], device=key.device)[place]
    most = (open_ + side * turned).clamp(max=105.0)
    return Light(
        azimuth=azimuth + 180 + side * (35 + (most - 35) * counter.uniform(key, "light azimuth")),
        elevation=counter.between(key, "light elevation", *factors.light),
        softness=counter.between(key, "softness", 1.0, 6.0),
        colour=1.2 * strength * (1 + warmth * tint),
        fill=counter.between(key, "fill", 0.26, 0.4)[:, None] * (1 - 0.5 * warmth * tint),
    )


def _draw_surroundings(key: Int[Tensor, " n"], azimuth: Float[Tensor, " n"], factors: Factors) -> dict[str, Any]:
    def shades(name: str) -> Tensor:
        """Two muted colours of near lightness."""
        base = counter.uniform(key, name, 4)
        lightness = torch.stack([0.50 + 0.36 * base[:, 0], 0.50 + 0.36 * base[:, 0] - 0.06 - 0.12 * base[:, 3]], 1)
        chroma = (0.01 + 0.05 * base[:, 1])[:, None].expand(-1, 2)
        return oklch_to_rgb(torch.stack([lightness, chroma, (360 * base[:, 2])[:, None].expand(-1, 2)], dim=-1))

    bearing = azimuth + counter.between(key, "wall", -20.0, 20.0)
    return {
        "place": counter.choose(key, "place", factors.options("places")),
        "ground": counter.choose(key, "ground", factors.options("grounds")),
        "background": counter.choose(key, "background", factors.options("backgrounds")),
        "ground_rgb": shades("ground colour"),
        "background_rgb": shades("background colour"),
        "wall": torch.stack([bearing, counter.between(key, "wall distance", 3.8, 4.8)], dim=1),
    }


def _check_numbers(which: int | range | Tensor, device: torch.device | str) -> Int[Tensor, " n"]:
    chosen: Any = range(int(which)) if isinstance(which, (int, np.integer)) and not isinstance(which, bool) else which
    if isinstance(chosen, range):
        chosen = chosen.start + chosen.step * torch.arange(len(chosen))
    whole = isinstance(chosen, Tensor) and chosen.dtype in (torch.int64, torch.int32, torch.int16, torch.uint8)
    if not whole or chosen.ndim != 1 or len(chosen) == 0 or int(chosen.min()) < 0:
        raise ValueError(f"which: expected at least one scene, by whole numbers from 0 on; got {which}")
    return chosen.to(device, torch.int64)
