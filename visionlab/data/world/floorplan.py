"""Where things stand in a room: doors in the walls, shelves and sofas along them, chairs at tables, lamps, clutter.

A place is tried a bounded number of times; a thing that finds none is left out. No two things overlap, taken as upright
boxes, but for a thing and what stands on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from jaxtyping import Int
from torch import Tensor

from visionlab.data.world import furniture
from visionlab.data.world.dice import Dice
from visionlab.data.world.furniture import Thing
from visionlab.data.world.shapes import Triple

__all__ = ["Placed", "Plan", "floor_plan"]

TRIES = 25
APART = 0.02  # metres between neighbours
DOORWAY = 0.7  # metres in front of a door that stay free
SEAT = 0.25  # half the side of the free place around a station of the scanner


@dataclass(frozen=True)
class Placed:
    """A thing at its place: x, y, z of the middle of its lower side, yaw in radians, and what it stands on, if not
    on the floor.
    """

    thing: Thing
    x: float
    y: float
    z: float
    yaw: float
    on: int | None = None

    def corners(self) -> list[tuple[float, float]]:
        """The four corners of its footprint."""
        u, v, c, s = self.thing.size[0] / 2, self.thing.size[1] / 2, math.cos(self.yaw), math.sin(self.yaw)
        return [(self.x + i * u * c - j * v * s, self.y + i * u * s + j * v * c) for i in (-1, 1) for j in (-1, 1)]

    def overlaps(self, other: Placed, apart: float = APART) -> bool:
        """Whether their boxes come closer than that, seen from above, where they share a height."""
        if self.z >= other.z + other.thing.size[2] - 1e-6 or other.z >= self.z + self.thing.size[2] - 1e-6:
            return False
        reach = (math.hypot(*self.thing.size[:2]) + math.hypot(*other.thing.size[:2])) / 2 + apart
        if math.hypot(self.x - other.x, self.y - other.y) >= reach:
            return False
        mine, others = self.corners(), other.corners()
        for yaw in (self.yaw, self.yaw + math.pi / 2, other.yaw, other.yaw + math.pi / 2):
            c, s = math.cos(yaw), math.sin(yaw)
            a, b = ([x * c + y * s for x, y in corners] for corners in (mine, others))
            if min(a) >= max(b) + apart or min(b) >= max(a) + apart:
                return False
        return True


@dataclass
class Plan:
    """A furnished room: its size along x, y and z, the things in it, and where the scanner stands."""

    size: Triple
    placed: list[Placed] = field(default_factory=list)
    stations: list[Triple] = field(default_factory=list)
    kept_free: list[Placed] = field(default_factory=list)

    def fits(self, new: Placed, wall: float = 0.05) -> bool:
        """Whether a thing stays off the walls and all that is there, but for what it stands on."""
        inside = all(wall <= x <= self.size[0] - wall and wall <= y <= self.size[1] - wall for x, y in new.corners())
        there = [old for number, old in enumerate(self.placed) if number != new.on]
        return inside and not any(new.overlaps(old) for old in there + self.kept_free)

    def place(self, draw: Callable[[], Placed | None], wall: float = 0.05) -> None:
        """Put a thing where the first of some drawn places fits, if one does."""
        for _ in range(TRIES):
            new = draw()
            if new is not None and self.fits(new, wall):
                self.placed.append(new)
                return

    def at_wall(self, thing: Thing, dice: Dice, gap: float) -> Placed:
        """A place along one of the walls, the thing's back to it."""
        wall = dice.whole(0, 3)
        yaw, (width, depth, _) = wall * math.pi / 2, self.size
        x, y = ((0.0, 0.0), (width, 0.0), (width, depth), (0.0, depth))[wall]
        half, length = thing.size[0] / 2 + 0.05, self.size[wall % 2]
        along, off = dice.between(half, max(half, length - half)), gap + thing.size[1] / 2
        c, s = math.cos(yaw), math.sin(yaw)
        return Placed(thing, x + along * c - off * s, y + along * s + off * c, 0.0, yaw)

    def anywhere(self, thing: Thing, dice: Dice, z: float = 0.0) -> Placed:
        """A place anywhere; every other thing stands parallel to the walls, the others are turned freely."""
        yaw = dice.whole(0, 3) * math.pi / 2 if dice.chance(0.5) else dice.between(0.0, 2 * math.pi)
        reach = min(thing.size[:2]) / 2 + 0.05
        x, y = (dice.between(reach, side - reach) for side in self.size[:2])
        return Placed(thing, x, y, z, yaw)

    def hosts(self, *kinds: str) -> list[int]:
        """The numbers of the things of these kinds."""
        return [number for number, old in enumerate(self.placed) if old.thing.kind in kinds]


def floor_plan(key: Int[Tensor, " 1"]) -> Plan:
    """Furnish the room of a key."""
    dice = Dice(key, "plan")
    plan = Plan((dice.between(3.0, 7.0), dice.between(3.0, 7.0), dice.between(2.4, 3.2)))
    for _ in range(1 + dice.chance(0.4)):
        _add_door(plan, dice)
    _add_stations(plan, dice)
    for _ in range(1 + dice.chance(0.5)):
        _stand(plan, dice, furniture.shelf(dice), against_wall=0.85)
    for _ in range(1 + dice.chance(0.3)):
        _stand(plan, dice, furniture.sofa(dice), against_wall=0.65)
    for _ in range(dice.whole(1, 2)):
        _stand(plan, dice, furniture.table(dice), against_wall=0.15)
    for _ in range(dice.whole(2, 4)):
        _add_chair(plan, dice)
    for _ in range(dice.whole(1, 2)):
        _add_lamp(plan, dice)
    for _ in range(dice.whole(3, 6)):
        _add_clutter(plan, dice)
    return plan


def _add_door(plan: Plan, dice: Dice) -> None:
    thing = furniture.door(dice)
    plan.place(lambda: plan.at_wall(thing, dice, gap=-thing.size[1] / 2), wall=-0.1)
    new = plan.placed[-1]
    free = Thing("free", (), (thing.size[0], 2 * DOORWAY, thing.size[2]))
    plan.kept_free.append(Placed(free, new.x, new.y, 0.0, new.yaw))


def _add_stations(plan: Plan, dice: Dice) -> None:
    """Two places for the scanner, well apart: the farthest of a few drawn ones from the first."""
    spots = [tuple(dice.between(0.7, side - 0.7) for side in plan.size[:2]) for _ in range(6)]
    spots = [spots[0], max(spots[1:], key=lambda spot: math.dist(spot, spots[0]))]
    for x, y in spots:
        height = dice.between(1.2, 1.7)
        plan.stations.append((x, y, height))
        plan.kept_free.append(Placed(Thing("free", (), (2 * SEAT, 2 * SEAT, height + 0.2)), x, y, 0.0, 0.0))


def _stand(plan: Plan, dice: Dice, thing: Thing, against_wall: float) -> None:
    if dice.chance(against_wall):
        plan.place(lambda: plan.at_wall(thing, dice, gap=dice.between(0.01, 0.05)), wall=0.005)
    else:
        plan.place(lambda: plan.anywhere(thing, dice))


def _add_chair(plan: Plan, dice: Dice) -> None:
    """At one of the tables, looking at it, or anywhere."""
    thing, tables = furniture.chair(dice), plan.hosts("table")
    if not tables or dice.chance(0.3):
        plan.place(lambda: plan.anywhere(thing, dice))
        return

    def at_table() -> Placed:
        host = plan.placed[dice.pick(tables)]
        side = dice.whole(0, 3)
        yaw = host.yaw + side * math.pi / 2
        reach, free = (host.thing.size[1 - side % 2] / 2, host.thing.size[side % 2] / 2)
        off, along = reach + thing.size[1] / 2 + dice.between(0.06, 0.25), free * dice.between(-0.6, 0.6)
        c, s = math.cos(yaw), math.sin(yaw)
        x, y = host.x + along * c + off * s, host.y + along * s - off * c
        return Placed(thing, x, y, 0.0, yaw + dice.between(-0.3, 0.3))

    plan.place(at_table)


def _add_lamp(plan: Plan, dice: Dice) -> None:
    """On the floor, on a table, or from the ceiling."""
    where = dice.whole(0, 2)
    if where == 0:
        hanging = furniture.hanging_lamp(dice)
        plan.place(lambda: plan.anywhere(hanging, dice, z=plan.size[2] - hanging.size[2]))
    elif where == 1 and plan.hosts("table"):
        small = furniture.standing_lamp(dice, dice.between(0.35, 0.6))
        plan.place(lambda: _on_board(plan, dice, small, plan.hosts("table")))
    else:
        tall = furniture.standing_lamp(dice, dice.between(1.2, 1.7))
        plan.place(lambda: plan.anywhere(tall, dice))


def _add_clutter(plan: Plan, dice: Dice) -> None:
    """Half of it on the floor, the rest on tables and in shelves."""
    hosts = plan.hosts("table", "shelf")
    if not hosts or dice.chance(0.5):
        large = furniture.clutter(dice, (dice.between(0.2, 0.5), dice.between(0.2, 0.5), dice.between(0.2, 0.6)))
        plan.place(lambda: plan.anywhere(large, dice))
    else:
        small = furniture.clutter(dice, (dice.between(0.12, 0.32), dice.between(0.1, 0.25), dice.between(0.12, 0.3)))
        plan.place(lambda: _on_board(plan, dice, small, hosts))


def _on_board(plan: Plan, dice: Dice, thing: Thing, hosts: list[int]) -> Placed | None:
    """A place on a board of one of the hosts, or None where the thing does not fit."""
    number = dice.pick(hosts)
    host = plan.placed[number]
    board = dice.pick(host.thing.boards)
    turned = dice.between(-0.2, 0.2) if host.thing.kind == "shelf" else dice.between(0.0, 2 * math.pi)
    width, depth, height = thing.size
    reach_x = (width * abs(math.cos(turned)) + depth * abs(math.sin(turned))) / 2
    reach_y = (width * abs(math.sin(turned)) + depth * abs(math.cos(turned))) / 2
    free_x, free_y = board.half_width - reach_x, board.half_depth - reach_y
    z = host.z + board.z
    if free_x < 0 or free_y < 0 or height > board.room - 0.01 or z + height > plan.size[2] - 0.05:
        return None
    u, v, c, s = dice.between(-free_x, free_x), dice.between(-free_y, free_y), math.cos(host.yaw), math.sin(host.yaw)
    return Placed(thing, host.x + u * c - v * s, host.y + u * s + v * c, z, host.yaw + turned, on=number)
