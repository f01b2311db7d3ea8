"""Relations between the objects of a scene, as tasks: same or different, the odd one, the majority.

``…_factors`` gives what to draw, ``…_clear`` which of the scenes can be asked about, ``…_target`` the answers; see
`visionlab.data.world.tasks.Task` for their arguments.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from visionlab.data.world import counter
from visionlab.data.world.questions import ATTRIBUTES, LARGE, MEDIUM, SMALL, Knobs, larger, place_in
from visionlab.data.world.render import Render
from visionlab.data.world.scene import Objects, Scenes
from visionlab.data.world.vocabulary import COLOURS, numbers

RELATED = ("shape", "colour", "material")  # what objects may agree in


def names_of(knobs: Knobs) -> tuple[str, ...]:
    """The names that are drawn, of the attribute that the knob ``by`` says."""
    if knobs["by"] not in RELATED:
        raise ValueError(f"by: expected one of {', '.join(RELATED)}; got {knobs['by']!r}")
    chosen = _numbers_of(knobs)
    if len(set(chosen)) < max(2, len(chosen)):
        raise ValueError(f"among: expected at least two names, all different; got {knobs['among']}")
    return tuple(ATTRIBUTES[knobs["by"]][i] for i in chosen)


def _numbers_of(knobs: Knobs) -> tuple[int, ...]:
    return numbers("among", knobs["among"], ATTRIBUTES[knobs["by"]])


def _two_of(key: Tensor, knobs: Knobs) -> tuple[Tensor, Tensor]:
    """Two different ones of the knob's names for each scene."""
    chosen = torch.tensor(_numbers_of(knobs), device=key.device)
    first = (counter.uniform(key, "one") * len(chosen)).long()
    step = 1 + (counter.uniform(key, "other") * (len(chosen) - 1)).long()
    return chosen[first], chosen[(first + step) % len(chosen)]


def same_factors(knobs: Knobs, training: bool) -> dict[str, Any]:
    """Draw two large objects that agree half of the time."""
    names_of(knobs)
    if len(knobs["distance"]) != 2 or not 0 <= knobs["distance"][0] < knobs["distance"][1]:
        raise ValueError(f"distance: expected 0 <= least < greatest; got {knobs['distance']}")

    def edit(key: Tensor, things: Objects) -> Objects:
        value, size = getattr(things, knobs["by"]).clone(), things.size.clone()
        value[:, 0], other = _two_of(key, knobs)
        value[:, 1] = torch.where(counter.uniform(key, "same") < 0.5, value[:, 0], other)
        size[:, :2], size[:, 2:] = LARGE, SMALL
        return things.with_(**{knobs["by"]: value, "size": size})

    return {"objects": 2 + knobs["distractors"], "stacking": 0.0, "spread": knobs["spread"], "edit": edit}


def same_target(scenes: Scenes, labels: Render, knobs: Knobs, training: bool) -> Tensor:
    """Say whether the two agree."""
    value = getattr(scenes.objects, knobs["by"])
    return (value[:, 0] == value[:, 1]).long()


def same_clear(scenes: Scenes, labels: Render, knobs: Knobs) -> Tensor:
    """Ask where the two are the largest to be seen, and as far apart as the knob says."""
    apart = (scenes.objects.position[:, 0] - scenes.objects.position[:, 1]).square().sum(-1).sqrt()
    low, high = knobs["distance"]
    return larger(scenes, labels, 2) & (apart >= low) & (apart <= high)


def odd_factors(knobs: Knobs, training: bool) -> dict[str, Any]:
    """Draw objects of which all but one agree."""
    names_of(knobs)
    if knobs["objects"] < 3:
        raise ValueError(f"objects: expected 3 to 8, for one of them to be odd; got {knobs['objects']}")

    def edit(key: Tensor, things: Objects) -> Objects:
        odd, common = _two_of(key, knobs)
        k = things.shape.shape[1]
        # In any slot: the first is placed first, and most often in the middle.
        there = counter.choose(key, "odd slot", tuple(range(k)))[:, None] == torch.arange(k, device=key.device)
        value = torch.where(there, odd[:, None], common[:, None])
        return things.with_(**{knobs["by"]: value, "size": torch.full_like(value, MEDIUM)})

    return {"objects": knobs["objects"], "stacking": 0.0, "spread": knobs["spread"], "edit": edit}


def odd_target(scenes: Scenes, labels: Render, knobs: Knobs, training: bool) -> Tensor:
    """Say what the odd object is: of a value that no other has."""
    value = getattr(scenes.objects, knobs["by"])
    alone = (value[:, :, None] == value[:, None]).sum(2) == 1
    return place_in(_numbers_of(knobs), value.gather(1, alone.int().argmax(1, keepdim=True))[:, 0])


# Of objects of medium size, among the fewer and among the others: with equal shares the colour that covers more of the
# image would be the answer in 76 %.
MEDIUM_SHARES = (0.55, 0.45)
MAJORITY = tuple(list(COLOURS).index(name) for name in ("red", "blue"))


def majority_factors(knobs: Knobs, training: bool) -> dict[str, Any]:
    """Colour each object red or blue."""
    if knobs["objects"] not in (3, 5, 7):
        raise ValueError(f"objects: expected 3, 5 or 7, for there to be a majority; got {knobs['objects']}")

    def edit(key: Tensor, things: Objects) -> Objects:
        k = things.shape.shape[1]
        least = max(1, (k - knobs["lead"] + 1) // 2)
        fewer = least + (counter.uniform(key, "fewer") * (k // 2 + 1 - least)).long()
        first = counter.choose(key, "first", MAJORITY)[:, None]
        order = counter.uniform(key, "order", k).argsort(1)
        rare = order < fewer[:, None]
        large = counter.uniform(key, "large", k) < torch.where(rare, *MEDIUM_SHARES)
        return things.with_(
            colour=torch.where(rare, sum(MAJORITY) - first, first), size=torch.where(large, MEDIUM, SMALL)
        )

    return {"objects": knobs["objects"], "stacking": 0.0, "spread": knobs["spread"], "edit": edit}


def majority_target(scenes: Scenes, labels: Render, knobs: Knobs, training: bool) -> Tensor:
    """Give the colour that most objects have."""
    return ((scenes.objects.colour == MAJORITY[1]).sum(1) * 2 > scenes.objects.colour.shape[1]).long()


def all_count(scenes: Scenes, labels: Render, knobs: Knobs) -> Tensor:
    """Ask where every object counts."""
    return labels.counted.all(1)
