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
    label = place_in(chosen, scenes.objects.shape[:, 0])
    return _spoil(scenes.key, label, len(chosen), knobs["label_noise"] * training)


def place_in(chosen: tuple[int, ...], drawn: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """Where each number stands among the chosen ones."""
    return (drawn[:, None] == torch.tensor(chosen, device=drawn.device)).int().argmax(1)


def _spoil(key: Tensor, label: Int[Tensor, " n"], classes: int, share: float) -> Int[Tensor, " n"]:
    """Replace a share of the labels by other classes, evenly."""
    other = (label + 1 + (counter.uniform(key, "wrong class") * (classes - 1)).long()) % classes
    return torch.where(counter.uniform(key, "wrong") < share, other, label)


def first_counts(scenes: Scenes, labels: Render, knobs: Knobs) -> Tensor:
    """Ask where the first object counts."""
    return labels.counted[:, 0]


def larger(scenes: Scenes, labels: Render, count: int) -> Tensor:
    """Whether each of the first objects counts and covers more pixels than any later one, and all found room.

    Thin shapes may cover less of the image than a small cube; then it is not clear which is meant. And wide ones leave
    less room: were a scene with too few objects asked about, their number would tell the shape.
    """
    slots = torch.arange(scenes.objects.shape.shape[1], device=labels.instance.device)
    pixels = (labels.instance[:, None] == slots[:, None, None]).sum((2, 3))
    most = pixels[:, count:].amax(1) if pixels.shape[1] > count else 0
    return labels.counted[:, :count].all(1) & (pixels[:, :count].amin(1) > most) & ~scenes.crowded


def first_is_largest(scenes: Scenes, labels: Render, knobs: Knobs) -> Tensor:
    """Ask where the large object is the largest to be seen."""
    return larger(scenes, labels, 1)


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


def attributes_factors(knobs: Knobs, training: bool) -> dict[str, Any]:
    """Draw one object of each class alike."""
    asked = attributes_of(knobs)

    def edit(key: Tensor, things: Objects) -> Objects:
        return things.with_(
            **{name: counter.choose(key, f"answer {name}", tuple(range(len(ATTRIBUTES[name]))), 1) for name in asked}
        )

    return {"objects": 1, "spread": knobs["spread"], "edit": edit}


def attributes_target(scenes: Scenes, labels: Render, knobs: Knobs, training: bool) -> Tensor:
    """Give the only object's attributes as one class."""
    label = torch.zeros_like(scenes.key)
    for name in attributes_of(knobs):
        label = label * len(ATTRIBUTES[name]) + getattr(scenes.objects, name)[:, 0]
    return label


TALLEST = 4.0  # of the tallest class to the lowest, in proportion
FINE_SHAPES = tuple(SHAPE_NAMES.index(name) for name in ("egg", "cylinder", "cone", "vase", "mushroom"))


def fine_factors(knobs: Knobs, training: bool) -> dict[str, Any]:
    """Stretch one of five shapes to one of some heights."""
    tallest = (1 + knobs["margin"]) ** (knobs["levels"] - 1)
    if tallest > TALLEST:
        raise ValueError(
            f"levels, margin: expected (1 + margin) ** (levels - 1) of at most {TALLEST}, for the tallest class to stay"
            f" in the image; got {tallest:.1f}"
        )

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


def fine_clear(scenes: Scenes, labels: Render, knobs: Knobs) -> Tensor:
    """Ask where the whole object is within the image: what the edge cuts off has no height."""
    height, width = labels.instance.shape[1:]
    left, top, right, bottom = labels.full_boxes[:, 0].unbind(-1)
    return labels.counted[:, 0] & (left > 0) & (top > 0) & (right < width) & (bottom < height)


def fine_target(scenes: Scenes, labels: Render, knobs: Knobs, training: bool) -> Tensor:
    """Give shape and height as one class."""
    stretch = scenes.objects.stretch[:, 0].log()
    tall = (stretch[:, 2] - stretch[:, 0]) / math.log1p(knobs["margin"]) + (knobs["levels"] - 1) / 2
    return place_in(FINE_SHAPES, scenes.objects.shape[:, 0]) * knobs["levels"] + tall.round().long()


def fine_classes(knobs: Knobs) -> tuple[str, ...]:
    """Name the classes."""
    return tuple(f"{SHAPE_NAMES[i]} of height {level + 1}" for i in FINE_SHAPES for level in range(knobs["levels"]))


# Dense labels, text, and images as labels


def objects_factors(knobs: Knobs, training: bool) -> dict[str, Any]:
    """Draw one object to as many as the knob says."""
    return {"objects": (1, knobs["objects"]), "sizes": knobs["sizes"], "edit": lambda key, things: things}


def things_factors(knobs: Knobs, training: bool) -> dict[str, Any]:
    """Draw one object to as many as the knob says, of the classes."""
    chosen = shapes_of(knobs)

    def edit(key: Tensor, things: Objects) -> Objects:
        if knobs["classes"] is None:
            return things
        return things.with_(shape=counter.choose(key, "class", chosen, things.shape.shape[1]))

    return objects_factors(knobs, training) | {"edit": edit}


def things_classes(knobs: Knobs) -> tuple[str, ...]:
    """The names of the classes."""
    return tuple(SHAPE_NAMES[i] for i in shapes_of(knobs))


def mask_target(scenes: Scenes, labels: Render, knobs: Knobs, training: bool) -> Tensor:
    """Give the class of each pixel, from 1 on; 0 is background."""
    return _places(knobs, labels.semantic.device)[labels.semantic].to(torch.uint8)


def boxes_target(scenes: Scenes, labels: Render, knobs: Knobs, training: bool) -> Tensor:
    """Give box and class of each counted object, -1 for the others."""
    shape = scenes.objects.shape
    classes = torch.where(labels.counted, _places(knobs, shape.device)[shape + 1] - 1, -1)
    boxes = torch.where(labels.counted[..., None], labels.boxes, 0)
    return torch.cat([boxes, classes[..., None]], dim=-1)


def _places(knobs: Knobs, device: torch.device) -> Int[Tensor, " shapes"]:
    """Where each shape, counted from 1 on, stands among the classes, likewise; 0 for none."""
    chosen = shapes_of(knobs)
    places = torch.zeros(1 + len(SHAPE_NAMES), dtype=torch.int64, device=device)
    places[torch.tensor(chosen, device=device) + 1] = torch.arange(1, len(chosen) + 1, device=device)
    return places


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
            # Any of the allowed colours: each is as likely as every other.
            chance = counter.uniform(key, "recolour", shape.shape[1], len(COLOURS)) - banned.T[shape].int()
            colour = torch.where(banned[colour, shape], chance.argmax(-1), colour)
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
