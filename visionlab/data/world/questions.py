"""What each task draws and how its answer is read off: the functions behind the table of tasks.

``…_factors`` gives what to draw, ``…_clear`` which of the scenes can be asked about, ``…_target`` the answers; see
`visionlab.data.world.tasks.Task` for their arguments.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from visionlab.data.world import counter
from visionlab.data.world.language import describe
from visionlab.data.world.render import Render
from visionlab.data.world.scene import Objects, Scenes
from visionlab.data.world.vocabulary import COLOURS, MATERIALS, SHAPE_NAMES, SIZES, numbers

Knobs = Mapping[str, Any]
TEXT = 200  # bytes of the longest caption

TEN = ("sphere", "cube", "cylinder", "cone", "ring", "pyramid", "vase", "table", "mushroom", "lamp")
SMALL, MEDIUM, LARGE = range(len(SIZES))


# Classification


def shapes_of(knobs: Knobs) -> tuple[int, ...]:
    """The knob's classes, as places in SHAPE_NAMES."""
    chosen = numbers("classes", knobs["classes"], SHAPE_NAMES)
    if len(set(chosen)) < max(2, len(chosen)):
        raise ValueError(f"classes: expected at least two shapes, all different; got {knobs['classes']}")
    return chosen


def shapes_factors(knobs: Knobs, training: bool) -> dict[str, Any]:
    """Put one large shape of the classes among small ones."""
    chosen = shapes_of(knobs)
    bias = knobs["colour_bias"] if training else 0.0

    def edit(key: Tensor, things: Objects) -> Objects:
        shape, size, colour = things.shape.clone(), things.size.clone(), things.colour.clone()
        # The classes' weights fall from 1 to 1 - 0.95 imbalance: even the rarest is seen.
        weights = torch.linspace(1, 1 - 0.95 * knobs["imbalance"] * training, len(chosen), device=key.device)
        edges = weights.cumsum(0) / weights.sum()
        label = torch.searchsorted(edges[:-1].contiguous(), counter.uniform(key, "class"))
        shape[:, 0] = torch.tensor(chosen, device=key.device)[label]
        size[:, 0], size[:, 1:] = LARGE, SMALL
        bound = counter.uniform(key, "bias") < bias
        colour[:, 0] = torch.where(bound, label % len(COLOURS), colour[:, 0])
        return things.with_(shape=shape, size=size, colour=colour)

    return {"objects": 1 + knobs["distractors"], "stacking": 0.0, "spread": knobs["spread"], "edit": edit}


def shapes_target(scenes: Scenes, labels: Render, knobs: Knobs, training: bool) -> Tensor:
    """Give the large object's class."""
    chosen = shapes_of(knobs)
    label = _place_in(chosen, scenes.objects.shape[:, 0])
    return _spoil(scenes.key, label, len(chosen), knobs["label_noise"] * training)


def _place_in(chosen: tuple[int, ...], drawn: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Where each number stands among the chosen ones."""
    return (drawn[:, None] == torch.tensor(chosen, device=drawn.device)).int().argmax(1)


def _spoil(key: Tensor, label: Int[Tensor, " n"], classes: int, share: float) -> Int[Tensor, " n"]:
    """Replace a share of the labels by other classes, evenly."""
    other = (label + 1 + (counter.uniform(key, "wrong class") * (classes - 1)).long()) % classes
    return torch.where(counter.uniform(key, "wrong") < share, other, label)


def first_counts(scenes: Scenes, labels: Render, knobs: Knobs) -> Tensor:
    """Ask where the first object counts."""
    return labels.counted[:, 0]


def first_is_largest(scenes: Scenes, labels: Render, knobs: Knobs) -> Tensor:
    """Thin shapes may cover less of the image than a small cube; then it is not clear which is meant."""
    slots = torch.arange(scenes.objects.shape.shape[1], device=labels.instance.device)
    pixels = (labels.instance[:, None] == slots[:, None, None]).sum((2, 3))
    return labels.counted[:, 0] & (pixels[:, :1] > pixels[:, 1:]).all(1)


# Attributes, and shapes that differ in one proportion


ATTRIBUTES = {"shape": SHAPE_NAMES, "colour": tuple(COLOURS), "material": MATERIALS, "size": tuple(SIZES)}


def attributes_of(knobs: Knobs) -> tuple[str, ...]:
    """The attributes that are asked for, in the order in which a class names them."""
    asked = (knobs["of"],) if isinstance(knobs["of"], str) else tuple(knobs["of"] or ())
    if not asked or any(name not in tuple(ATTRIBUTES) or asked.count(name) > 1 for name in asked):
        raise ValueError(f"of: expected some of {', '.join(ATTRIBUTES)}, each once; got {knobs['of']}")
    return asked


def attributes_classes(knobs: Knobs) -> tuple[str, ...]:
    """Name the classes: every way to combine the attributes."""
    return tuple(map(" ".join, product(*(ATTRIBUTES[name] for name in attributes_of(knobs)))))


def attributes_target(scenes: Scenes, labels: Render, knobs: Knobs, training: bool) -> Tensor:
    """Give the only object's attributes as one class."""
    label = torch.zeros_like(scenes.key)
    for name in attributes_of(knobs):
        label = label * len(ATTRIBUTES[name]) + getattr(scenes.objects, name)[:, 0]
    return label


FINE_SHAPES = tuple(SHAPE_NAMES.index(name) for name in ("egg", "cylinder", "cone", "vase", "mushroom"))


def fine_factors(knobs: Knobs, training: bool) -> dict[str, Any]:
    """Stretch one of five shapes to one of some heights."""

    def edit(key: Tensor, things: Objects) -> Objects:
        shape, stretch, size = things.shape.clone(), things.stretch.clone(), things.size.clone()
        level = (counter.uniform(key, "level") * knobs["levels"]).long()
        shape[:, 0] = counter.choose(key, "fine", FINE_SHAPES)
        # Narrower as it is taller: the volume stays, so that only the proportion tells.
        tall = math.log1p(knobs["margin"]) * (level - (knobs["levels"] - 1) / 2)
        stretch[:, 0] = torch.stack([-tall / 3, -tall / 3, 2 * tall / 3], dim=1).exp()
        size[:, 0] = LARGE
        return things.with_(shape=shape, stretch=stretch, size=size)

    return {"objects": 1, "lying": 0.0, "spread": knobs["spread"], "edit": edit}


def fine_target(scenes: Scenes, labels: Render, knobs: Knobs, training: bool) -> Tensor:
    """Give shape and height as one class."""
    stretch = scenes.objects.stretch[:, 0].log()
    tall = (stretch[:, 2] - stretch[:, 0]) / math.log1p(knobs["margin"]) + (knobs["levels"] - 1) / 2
    return _place_in(FINE_SHAPES, scenes.objects.shape[:, 0]) * knobs["levels"] + tall.round().long()


def fine_classes(knobs: Knobs) -> tuple[str, ...]:
    """Name the classes."""
    return tuple(f"{SHAPE_NAMES[i]} of height {level + 1}" for i in FINE_SHAPES for level in range(knobs["levels"]))


# Relations


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
    """Ask where both count and stand as far apart as the knob says."""
    apart = (scenes.objects.position[:, 0] - scenes.objects.position[:, 1]).square().sum(-1).sqrt()
    low, high = knobs["distance"]
    return labels.counted[:, :2].all(1) & (apart >= low) & (apart <= high)


def odd_factors(knobs: Knobs, training: bool) -> dict[str, Any]:
    """Draw objects of which all but the first agree."""
    names_of(knobs)
    if knobs["objects"] < 3:
        raise ValueError(f"objects: expected 3 to 8, for one of them to be odd; got {knobs['objects']}")

    def edit(key: Tensor, things: Objects) -> Objects:
        odd, common = _two_of(key, knobs)
        value = common[:, None].repeat(1, things.shape.shape[1])
        value[:, 0] = odd
        return things.with_(**{knobs["by"]: value, "size": torch.full_like(value, MEDIUM)})

    return {"objects": knobs["objects"], "stacking": 0.0, "spread": knobs["spread"], "edit": edit}


def odd_target(scenes: Scenes, labels: Render, knobs: Knobs, training: bool) -> Tensor:
    """Say what the odd object is."""
    return _place_in(_numbers_of(knobs), getattr(scenes.objects, knobs["by"])[:, 0])


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
        colour = torch.where(order < fewer[:, None], sum(MAJORITY) - first, first)
        return things.with_(colour=colour, size=things.size.clamp(max=MEDIUM))

    return {"objects": knobs["objects"], "stacking": 0.0, "spread": knobs["spread"], "edit": edit}


def majority_target(scenes: Scenes, labels: Render, knobs: Knobs, training: bool) -> Tensor:
    """Give the colour that most objects have."""
    return ((scenes.objects.colour == MAJORITY[1]).sum(1) * 2 > scenes.objects.colour.shape[1]).long()


def all_count(scenes: Scenes, labels: Render, knobs: Knobs) -> Tensor:
    """Ask where every object counts."""
    return labels.counted.all(1)


# Dense labels, text, and images as labels


def objects_factors(knobs: Knobs, training: bool) -> dict[str, Any]:
    """Draw one object to as many as the knob says."""
    return {"objects": (1, knobs["objects"]), "sizes": knobs["sizes"]}


def boxes_target(scenes: Scenes, labels: Render, knobs: Knobs, training: bool) -> Tensor:
    """Give box and class of each counted object, -1 for the others."""
    classes = torch.where(labels.counted, scenes.objects.shape, -1)
    boxes = torch.where(labels.counted[..., None], labels.boxes, 0)
    return torch.cat([boxes, classes[..., None]], dim=-1)


def _held_out(knobs: Knobs) -> list[tuple[int, int]]:
    """The held-out pairs, as places in the vocabularies."""
    pairs = knobs["held_out"]
    if any(not isinstance(pair, (tuple, list)) or len(pair) != 2 for pair in pairs):
        raise ValueError(f"held_out: expected pairs, like (('red', 'cube'),); got {pairs}")
    words = (tuple(COLOURS), SHAPE_NAMES)
    found = {(numbers("held_out", [c], words[0])[0], numbers("held_out", [s], words[1])[0]) for c, s in pairs}
    if max(Counter(shape for _, shape in found).values(), default=0) == len(COLOURS):
        raise ValueError("held_out: expected a colour of each shape that is not held out; got all colours of one")
    return sorted(found)


def caption_factors(knobs: Knobs, training: bool) -> dict[str, Any]:
    """Keep the held-out pairs of colour and shape from training, and put one into each other scene."""
    held_out = _held_out(knobs)

    def edit(key: Tensor, things: Objects) -> Objects:
        """Recolour the held-out pairs of colour and shape in training; test scenes show one of them first."""
        colour, shape = things.colour.clone(), things.shape.clone()
        if training:
            banned = torch.zeros(len(COLOURS), len(SHAPE_NAMES), dtype=torch.bool, device=key.device)
            for c, s in held_out:
                banned[c, s] = True
            for _ in range(len(COLOURS)):
                colour = torch.where(banned[colour, shape], (colour + 1) % len(COLOURS), colour)
        elif held_out:
            chosen = counter.choose(key, "held out", tuple(range(len(held_out))))
            colour[:, 0], shape[:, 0] = torch.tensor(held_out, device=key.device)[chosen].unbind(1)
        return things.with_(colour=colour, shape=shape)

    return {"objects": (1, knobs["objects"]), "edit": edit}


def caption_clear(scenes: Scenes, labels: Render, knobs: Knobs) -> Tensor:
    """Ask where there is something to speak of."""
    return labels.counted[:, 0] if knobs["held_out"] else labels.counted.any(1)


def caption_target(scenes: Scenes, labels: Render, knobs: Knobs, training: bool) -> np.ndarray:
    """Give the captions as bytes: of a held-out pair in every test, and of none in training."""
    held_out = [(tuple(COLOURS)[c], SHAPE_NAMES[s]) for c, s in _held_out(knobs)]
    found = describe(
        scenes, labels, detail=knobs["detail"], synonyms=knobs["synonyms"], noise=knobs["noise"] * training,
        about=None if training or not held_out else 0, never=held_out,
    )  # fmt: skip
    return np.array([each.caption.encode() for each in found], dtype=f"S{TEXT}")
