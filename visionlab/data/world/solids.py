"""Three kinds of solid, each met by a ray in closed form: round ones, faceted ones and the torus.

Vectors are three tensors ``(P,)`` for P rays, so that each component is one contiguous list. A solid lives in its own
coordinates; a ray is brought there by an affine map that leaves its parameter t unchanged, so that t compares between
solids. A meeting gives t, ``inf`` for a miss, and the number of the face that is met.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["Faceted", "Meeting", "Round", "Solid", "Torus", "Vectors", "dot"]

Vectors = Sequence[Float[Tensor, " p"]]  # three
Meeting = tuple[Float[Tensor, " p"], Int[Tensor, " p"]]
Circle = tuple[float, float, float, float]  # centre x, y, z and radius, level: what a convex hull is spanned by


def dot(a: Tensor | Sequence[Tensor], b: Tensor | Sequence[Tensor]) -> Tensor:
    """Scalar product along the first axis, of three; written out, so that no sum depends on the number of rays."""
    (x, y, z), (u, v, w) = a, b
    return x * u + y * v + z * w


@dataclass(frozen=True)
class Round:
    """A solid of revolution: x² + y² <= k0 + k1 z + k2 z², between the levels ``low`` and ``high``.

    The ball (1, 0, -1), the cylinder (1, 0, 0), the cone, and any neck or belly of a vase are of this form.
    """

    k0: float
    k1: float
    k2: float
    low: float
    high: float

    def square(self, z: Tensor) -> Tensor:
        """Squared radius at height z."""
        return self.k0 + z * (self.k1 + z * self.k2)

    def meet(self, o: Vectors, d: Vectors) -> Meeting:
        """Where rays ``o + t d`` first enter or leave, t > 0; faces: 0 the side, 1 the lower disc, 2 the upper."""
        a = d[0] * d[0] + d[1] * d[1] - self.k2 * d[2] * d[2]
        b = o[0] * d[0] + o[1] * d[1] - (0.5 * self.k1 + self.k2 * o[2]) * d[2]
        c = o[0] * o[0] + o[1] * o[1] - self.square(o[2])
        root = (b * b - a * c).sqrt()  # of a negative number: nan, which no comparison below lets pass
        q = -(b + torch.copysign(root, b))
        best, face = torch.full_like(a, math.inf), torch.zeros_like(a, dtype=torch.int64)
        for t in (q / a, c / q):
            z = o[2] + t * d[2]
            best = torch.where((t > 0) & (t < best) & (z >= self.low) & (z <= self.high), t, best)
        for number, level in ((1, self.low), (2, self.high)):
            radius = self.k0 + level * (self.k1 + level * self.k2)
            if radius > 1e-9:
                t = (level - o[2]) / d[2]
                x, y = o[0] + t * d[0], o[1] + t * d[1]
                nearer = (t > 0) & (t < best) & (x * x + y * y <= radius)
                best, face = torch.where(nearer, t, best), torch.where(nearer, number, face)
        return best, face

    def normal(self, p: Vectors, face: Int[Tensor, " p"]) -> Vectors:
        """Outward normals, of any length, at points of the surface."""
        side = face == 0
        flat = torch.where(face == 1, -1.0, 1.0)
        slope = torch.where(side, -0.5 * self.k1 - self.k2 * p[2], flat)
        return torch.where(side, p[0], 0.0), torch.where(side, p[1], 0.0), slope

    def hull(self) -> list[Circle]:
        """Level circles that span the solid: dense where it is round, both ends among them."""
        straight = self.k2 == 0 and self.k1 == 0
        steps = [0.0, 1.0] if straight else [0.5 - 0.5 * math.cos(math.pi * i / 48) for i in range(49)]
        levels = [self.low + (self.high - self.low) * step for step in steps]
        return [(0.0, 0.0, z, math.sqrt(max(self.k0 + z * (self.k1 + z * self.k2), 0.0))) for z in levels]


@dataclass(frozen=True)
class Faceted:
    """A convex solid bounded by planes: nx x + ny y + nz z <= w for each plane (nx, ny, nz, w); corners beside."""

    planes: tuple[tuple[float, float, float, float], ...]
    corners: tuple[tuple[float, float, float], ...]

    def meet(self, o: Vectors, d: Vectors) -> Meeting:
        """Where rays ``o + t d`` from outside first enter, t > 0, and the number of the plane they cross."""
        enter, leave = torch.full_like(o[0], -math.inf), torch.full_like(o[0], math.inf)
        face = torch.zeros_like(o[0], dtype=torch.int64)
        for number, plane in enumerate(self.planes):
            slope, gap = _along(plane, d), plane[3] - _along(plane, o)
            t = gap / slope
            inwards = (slope < 0) & (t > enter)
            enter, face = torch.where(inwards, t, enter), torch.where(inwards, number, face)
            leave = torch.where((slope > 0) & (t < leave), t, leave)
            leave = torch.where((slope == 0) & (gap < 0), -math.inf, leave)
        return torch.where((enter <= leave) & (enter > 0), enter, math.inf), face

    def normal(self, p: Vectors, face: Int[Tensor, " p"]) -> Vectors:
        """Outward normals at points of the surface."""
        x, y, z = p[0].new_tensor([plane[:3] for plane in self.planes]).T.contiguous()
        return x.index_select(0, face), y.index_select(0, face), z.index_select(0, face)

    def hull(self) -> list[Circle]:
        """The corners, as circles of radius 0."""
        return [(x, y, z, 0.0) for x, y, z in self.corners]


@dataclass(frozen=True)
class Torus:
    """A ring of radius ``ring`` about the z axis, of a tube of radius ``tube``."""

    ring: float
    tube: float
    steps: int = 20

    def meet(self, o: Vectors, d: Vectors) -> Meeting:
        """Where rays ``o + t d`` first come within the tube, t > 0: steps towards it, none of which passes the surface.

        A step along the ray is the distance to the tube, or, where that is longer, the step that a bound on the
        distance's second derivative allows; rays that graze the rim need that one, which more than halves what is
        left of the way. A ray that is still farther than 1e-5 away after all steps has missed.
        """
        length = dot(d, d).sqrt()
        x, y, z = d[0] / length, d[1] / length, d[2] / length
        # Begin at the sphere around the whole ring, or at the origin if that lies inside.
        b, c = o[0] * x + o[1] * y + o[2] * z, dot(o, o) - (self.ring + self.tube) ** 2
        inside = b * b - c
        meets = (inside >= 0).nonzero()[:, 0]
        u, v, w, x, y, z, b, inside = (a.index_select(0, meets) for a in (*o, x, y, z, b, inside))
        s = (-b - inside.sqrt()).clamp(min=0)
        for _ in range(self.steps):
            s = s + self._safe_step((u + s * x, v + s * y, w + s * z), (x, y, z))
        gap = self._distance(u + s * x, v + s * y, w + s * z)
        hit = (gap.abs() < 1e-5) & (s > 0)
        t = torch.full_like(length, math.inf)
        t[meets] = torch.where(hit, s / length.index_select(0, meets), math.inf)
        return t, torch.zeros_like(t, dtype=torch.int64)

    def _distance(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        across = (x * x + y * y).sqrt() - self.ring
        return (across * across + z * z).sqrt() - self.tube

    def _safe_step(self, p: tuple[Tensor, Tensor, Tensor], v: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """How far one may go from p along unit vectors v without passing the surface.

        The distance from the axis is convex along a line, and its second derivative at most (vx² + vy²) / distance.
        So that of the distance from the tube is nowhere under -bend as far as half the way to the axis.
        """
        radius = (p[0] * p[0] + p[1] * p[1]).sqrt().clamp(min=1e-6)
        across = radius - self.ring
        core = (across * across + p[2] * p[2]).sqrt().clamp(min=1e-6)
        gap = core - self.tube
        slope = (across * (p[0] * v[0] + p[1] * v[1]) / radius + p[2] * v[2]) / core
        bend = 2 * (v[0] * v[0] + v[1] * v[1]) / radius
        far = 2 * gap / ((slope * slope + 2 * bend * gap).clamp(min=0).sqrt() - slope).clamp(min=1e-9)
        return torch.maximum(gap, torch.minimum(far, 0.5 * radius))

    def normal(self, p: Vectors, face: Int[Tensor, " p"]) -> Vectors:
        """Outward normals at points of the surface."""
        scale = 1 - self.ring / (p[0] * p[0] + p[1] * p[1]).sqrt().clamp(min=1e-6)
        return p[0] * scale, p[1] * scale, p[2]

    def hull(self) -> list[Circle]:
        """Level circles of the outer half of the tube."""
        angles = [math.pi * (i / 32 - 0.5) for i in range(33)]
        return [(0.0, 0.0, self.tube * math.sin(a), self.ring + self.tube * math.cos(a)) for a in angles]


Solid = Round | Faceted | Torus


def _along(plane: tuple[float, float, float, float], v: Vectors) -> Tensor:
    """The scalar product with a plane's normal; components that are 0 cost nothing."""
    total = torch.zeros_like(v[0])
    for component, factor in zip(v, plane[:3], strict=True):
        if factor:
            total = total + factor * component
    return total
