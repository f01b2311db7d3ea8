"""Tasks: what is asked of a scene, with the knobs that make it easier or harder. A label is read off the geometry.

Each task draws its own scenes, says which of them are clear enough to be asked about (the others are drawn again), and
reads the answer off the scene and its labels. Knobs that spoil labels or colours do so in the training split alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from visionlab.data.world import counter
from visionlab.data.world.language import describe
from visionlab.data.world.render import Render
from visionlab.data.world.scene import Objects, Scenes
from visionlab.data.world.store import Column
from visionlab.data.world.vocabulary import COLOURS, MATERIALS, SHAPE_NAMES, SIZES, numbers

__all__ = ["TASKS", "Task", "knobs_of"]

Knobs = Mapping[str, Any]
Size = tuple[int, int]
TEXT = 200  # bytes of the longest caption


@dataclass(frozen=True)
class Task:
    """A question about scenes.

    Attributes:
        knobs: names and defaults.
        factors: keyword arguments of `visionlab.data.world.scenes`, from the knobs and whether this is for training.
        target: the answers, an array with one entry a scene, from the scenes, their render, the knobs and training.
        column: shape and type of an answer, from the size in pixels and the knobs.
        classes: names of the answers where they are classes.
        clear: which scenes can be asked about.
        degrade: whether the input is a degraded image and the answer the clean one.
    """

    name: str
    question: str
    knobs: Knobs
    factors: Callable[[Knobs, bool], dict[str, Any]]
    target: Callable[[Scenes, Render, Knobs, bool], Tensor | np.ndarray]
    column: Callable[[Size, Knobs], Column]
    classes: Callable[[Knobs], tuple[str, ...]] = lambda knobs: ()
    clear: Callable[[Scenes, Render, Knobs], Bool[Tensor, " n"]] = field(
        default=lambda scenes, labels, knobs: labels.counted.any(1)
    )
    degrade: bool = False


def knobs_of(task: Task, given: Knobs) -> dict[str, Any]:
    """The task's knobs with some of them set.

    Raises:
        ValueError: the task has no such knob, or its value makes no sense.
    """
    unknown = sorted(set(given) - set(task.knobs))
    if unknown:
        raise ValueError(
            f"task {task.name!r} has no knob {', '.join(unknown)}; it has {', '.join(task.knobs) or 'none'}"
        )
    knobs = dict(task.knobs) | dict(given)
    for name, value in knobs.items():
        if name in SHARES and not 0 <= value <= 1:
            raise ValueError(f"{name}: expected a share between 0 and 1; got {value}")
        if name in LIMITS and not LIMITS[name][0] <= value <= LIMITS[name][1]:
            raise ValueError(f"{name}: expected {LIMITS[name][0]} to {LIMITS[name][1]}; got {value}")
    return knobs


SHARES = ("colour_bias", "label_noise", "noise", "strength", "imbalance")
LIMITS = {"distractors": (0, 6), "objects": (1, 8), "detail": (1, 3), "levels": (2, 8), "margin": (0.01, 1.0)}

CLASS = Column((), "int64")
TEN = ("sphere", "cube", "cylinder", "cone", "ring", "pyramid", "vase", "table", "mushroom", "lamp")
FOUR = ("sphere", "cube", "ring", "lamp")
SMALL, MEDIUM, LARGE = range(len(SIZES))


# Classification


def _shapes_of(knobs: Knobs) -> tuple[int, ...]:
    """The knob's classes, as places in SHAPE_NAMES."""
    chosen = numbers("classes", knobs["classes"], SHAPE_NAMES)
    if len(set(chosen)) < max(2, len(chosen)):
        raise ValueError(f"classes: expected at least two shapes, all different; got {knobs['classes']}")
    return chosen


def _shapes_factors(knobs: Knobs, training: bool) -> dict[str, Any]:
    chosen = _shapes_of(knobs)
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


def _shapes_target(scenes: Scenes, labels: Render, knobs: Knobs, training: bool) -> Tensor:
    chosen = _shapes_of(knobs)
    place = torch.full((len(SHAPE_NAMES),), -1)
    place[list(chosen)] = torch.arange(len(chosen))
    return _spoil(scenes.key, place[scenes.objects.shape[:, 0]], len(chosen), knobs["label_noise"] * training)


def _spoil(key: Tensor, label: Int[Tensor, " n"], classes: int, share: float) -> Int[Tensor, " n"]:
    """Replace a share of the labels by other classes, evenly."""
    other = (label + 1 + (counter.uniform(key, "wrong class") * (classes - 1)).long()) % classes
    return torch.where(counter.uniform(key, "wrong") < share, other, label)


def _first_counts(scenes: Scenes, labels: Render, knobs: Knobs) -> Tensor:
    return labels.counted[:, 0]


def _first_is_largest(scenes: Scenes, labels: Render, knobs: Knobs) -> Tensor:
    """Thin shapes may cover less of the image than a small cube; then it is not clear which is meant."""
    slots = torch.arange(scenes.objects.shape.shape[1], device=labels.instance.device)
    pixels = (labels.instance[:, None] == slots[:, None, None]).sum((2, 3))
    return labels.counted[:, 0] & (pixels[:, :1] > pixels[:, 1:]).all(1)


# Attributes, and shapes that differ in one proportion


def _attributes_target(scenes: Scenes, labels: Render, knobs: Knobs, training: bool) -> Tensor:
    things = scenes.objects
    return torch.stack([x[:, 0] for x in (things.shape, things.colour, things.material, things.size)], dim=1)


FINE_SHAPES = tuple(SHAPE_NAMES.index(name) for name in ("egg", "cylinder", "cone", "vase", "mushroom"))


def _fine_factors(knobs: Knobs, training: bool) -> dict[str, Any]:
    def edit(key: Tensor, things: Objects) -> Objects:
        shape, stretch, size = things.shape.clone(), things.stretch.clone(), things.size.clone()
        level = (counter.uniform(key, "level") * knobs["levels"]).long()
        shape[:, 0] = counter.choose(key, "fine", FINE_SHAPES)
        stretch[:, 0, :2] = 1
        stretch[:, 0, 2] = (1 + knobs["margin"]) ** (level - (knobs["levels"] - 1) / 2)
        size[:, 0] = LARGE
        return things.with_(shape=shape, stretch=stretch, size=size)

    return {"objects": 1, "lying": 0.0, "spread": knobs["spread"], "edit": edit}


def _fine_target(scenes: Scenes, labels: Render, knobs: Knobs, training: bool) -> Tensor:
    place = torch.zeros(len(SHAPE_NAMES), dtype=torch.int64)
    place[list(FINE_SHAPES)] = torch.arange(len(FINE_SHAPES))
    tall = scenes.objects.stretch[:, 0, 2].log() / np.log1p(knobs["margin"]) + (knobs["levels"] - 1) / 2
    return place[scenes.objects.shape[:, 0]] * knobs["levels"] + tall.round().long()


def _fine_classes(knobs: Knobs) -> tuple[str, ...]:
    return tuple(f"{SHAPE_NAMES[i]}, height {level + 1}" for i in FINE_SHAPES for level in range(knobs["levels"]))


# Relations


def _two_shapes(key: Tensor, knobs: Knobs) -> tuple[Tensor, Tensor]:
    """Two different shapes of the knob's classes for each scene."""
    chosen = torch.tensor(_shapes_of(knobs), device=key.device)
    first = (counter.uniform(key, "one") * len(chosen)).long()
    step = 1 + (counter.uniform(key, "other") * (len(chosen) - 1)).long()
    return chosen[first], chosen[(first + step) % len(chosen)]


def _same_factors(knobs: Knobs, training: bool) -> dict[str, Any]:
    if len(knobs["distance"]) != 2 or not 0 <= knobs["distance"][0] < knobs["distance"][1]:
        raise ValueError(f"distance: expected 0 <= least < greatest; got {knobs['distance']}")

    def edit(key: Tensor, things: Objects) -> Objects:
        shape, size = things.shape.clone(), things.size.clone()
        shape[:, 0], other = _two_shapes(key, knobs)
        shape[:, 1] = torch.where(counter.uniform(key, "same") < 0.5, shape[:, 0], other)
        size[:, :2], size[:, 2:] = LARGE, SMALL
        return things.with_(shape=shape, size=size)

    return {"objects": 2 + knobs["distractors"], "stacking": 0.0, "spread": knobs["spread"], "edit": edit}


def _same_target(scenes: Scenes, labels: Render, knobs: Knobs, training: bool) -> Tensor:
    return (scenes.objects.shape[:, 0] == scenes.objects.shape[:, 1]).long()


def _same_clear(scenes: Scenes, labels: Render, knobs: Knobs) -> Tensor:
    apart = (scenes.objects.position[:, 0] - scenes.objects.position[:, 1]).square().sum(-1).sqrt()
    low, high = knobs["distance"]
    return labels.counted[:, :2].all(1) & (apart >= low) & (apart <= high)


def _odd_factors(knobs: Knobs, training: bool) -> dict[str, Any]:
    def edit(key: Tensor, things: Objects) -> Objects:
        common, other = _two_shapes(key, knobs)
        shape = common[:, None].repeat(1, 4)
        odd = counter.choose(key, "odd", (0, 1, 2, 3))
        shape[torch.arange(len(key), device=key.device), odd] = other
        return things.with_(shape=shape, size=torch.full_like(shape, MEDIUM))

    return {"objects": 4, "stacking": 0.0, "spread": knobs["spread"], "edit": edit}


def _odd_target(scenes: Scenes, labels: Render, knobs: Knobs, training: bool) -> Tensor:
    shape = scenes.objects.shape
    odd = (shape[:, :, None] == shape[:, None, :]).sum(2).argmin(1)
    return _middles(labels).argsort(1).argsort(1).gather(1, odd[:, None])[:, 0]


def _odd_clear(scenes: Scenes, labels: Render, knobs: Knobs) -> Tensor:
    gaps = _middles(labels).sort(1).values.diff(dim=1)
    return labels.counted.all(1) & (gaps >= 0.04 * labels.instance.shape[-1]).all(1)


def _middles(labels: Render) -> Tensor:
    return (labels.boxes[..., 0] + labels.boxes[..., 2]) / 2


MAJORITY = tuple(list(COLOURS).index(name) for name in ("red", "blue"))


def _majority_factors(knobs: Knobs, training: bool) -> dict[str, Any]:
    if knobs["objects"] not in (3, 5, 7):
        raise ValueError(f"objects: expected 3, 5 or 7, for there to be a majority; got {knobs['objects']}")

    def edit(key: Tensor, things: Objects) -> Objects:
        k = things.shape.shape[1]
        fewer = (counter.uniform(key, "fewer") * (k // 2)).long() + 1  # 1 to (k - 1) / 2 of the minority
        first = counter.choose(key, "first", MAJORITY)[:, None]
        order = counter.uniform(key, "order", k).argsort(1)
        colour = torch.where(order < fewer[:, None], sum(MAJORITY) - first, first)
        return things.with_(colour=colour, size=things.size.clamp(max=MEDIUM))

    return {"objects": knobs["objects"], "stacking": 0.0, "spread": knobs["spread"], "edit": edit}


def _majority_target(scenes: Scenes, labels: Render, knobs: Knobs, training: bool) -> Tensor:
    return ((scenes.objects.colour == MAJORITY[1]).sum(1) * 2 > scenes.objects.colour.shape[1]).long()


def _all_count(scenes: Scenes, labels: Render, knobs: Knobs) -> Tensor:
    return labels.counted.all(1)


# Dense labels, text, and images as labels


def _objects_factors(knobs: Knobs, training: bool) -> dict[str, Any]:
    return {"objects": (1, knobs["objects"]), "sizes": knobs["sizes"]}


def _boxes_target(scenes: Scenes, labels: Render, knobs: Knobs, training: bool) -> Tensor:
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


def _caption_factors(knobs: Knobs, training: bool) -> dict[str, Any]:
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


def _caption_clear(scenes: Scenes, labels: Render, knobs: Knobs) -> Tensor:
    return labels.counted[:, 0] if knobs["held_out"] else labels.counted.any(1)


def _caption_target(scenes: Scenes, labels: Render, knobs: Knobs, training: bool) -> np.ndarray:
    found = describe(
        scenes, labels, detail=knobs["detail"], synonyms=knobs["synonyms"], noise=knobs["noise"] * training
    )
    return np.array([each.caption.encode() for each in found], dtype=f"S{TEXT}")


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "shapes",
            "What is the large object?",
            {
                "classes": TEN,
                "distractors": 1,
                "spread": 1.5,
                "colour_bias": 0.0,
                "imbalance": 0.0,
                "label_noise": 0.0,
            },
            _shapes_factors,
            _shapes_target,
            lambda size, knobs: CLASS,
            lambda knobs: tuple(SHAPE_NAMES[i] for i in _shapes_of(knobs)),
            _first_is_largest,
        ),
        Task(
            "attributes",
            "Shape, colour, material and size of the only object?",
            {"spread": 1.2},
            lambda knobs, training: {"objects": 1, "spread": knobs["spread"]},
            _attributes_target,
            lambda size, knobs: Column((4,), "int64"),
            lambda knobs: (*SHAPE_NAMES, *COLOURS, *MATERIALS, *SIZES),
            _first_counts,
        ),
        Task(
            "fine",
            "Which of five shapes is it, and how tall?",
            {"levels": 4, "margin": 0.22, "spread": 1.2},
            _fine_factors,
            _fine_target,
            lambda size, knobs: CLASS,
            _fine_classes,
            _first_counts,
        ),
        Task(
            "same",
            "Are the two large objects of one shape?",
            {"distractors": 0, "distance": (0.0, 9.0), "classes": FOUR, "spread": 2.4},
            _same_factors,
            _same_target,
            lambda size, knobs: CLASS,
            lambda knobs: ("different", "same"),
            _same_clear,
        ),
        Task(
            "odd",
            "Which of four objects, from left to right, is of another shape?",
            {"classes": FOUR, "spread": 2.4},
            _odd_factors,
            _odd_target,
            lambda size, knobs: CLASS,
            lambda knobs: ("first", "second", "third", "fourth"),
            _odd_clear,
        ),
        Task(
            "majority",
            "Are there more red or more blue objects?",
            {"objects": 5, "spread": 2.3},
            _majority_factors,
            _majority_target,
            lambda size, knobs: CLASS,
            lambda knobs: ("red", "blue"),
            _all_count,
        ),
        Task(
            "segmentation",
            "Of which shape is each pixel? 0 is background.",
            {"objects": 5, "sizes": None},
            _objects_factors,
            lambda scenes, labels, knobs, training: labels.semantic.to(torch.uint8),
            lambda size, knobs: Column(size, "uint8"),
            lambda knobs: ("background", *SHAPE_NAMES),
        ),
        Task(
            "detection",
            "Where are the objects, and of which shapes? Left, top, right, bottom, class; class -1 for no object.",
            {"objects": 5, "sizes": None},
            _objects_factors,
            _boxes_target,
            lambda size, knobs: Column((knobs["objects"], 5), "int64"),
            lambda knobs: SHAPE_NAMES,
        ),
        Task(
            "depth",
            "How far is each pixel? In units of length along the line of sight; inf in the sky.",
            {"objects": 5, "sizes": None},
            _objects_factors,
            lambda scenes, labels, knobs, training: labels.depth,
            lambda size, knobs: Column(size, "float32"),
        ),
        Task(
            "captions",
            "What is to be seen?",
            {"objects": 3, "detail": 2, "synonyms": False, "noise": 0.0, "held_out": ()},
            _caption_factors,
            _caption_target,
            lambda size, knobs: Column((), f"S{TEXT}"),
            clear=_caption_clear,
        ),
        Task(
            "restoration",
            "What did the image look like before?",
            {"kind": "noise", "strength": 0.5, "objects": 5, "sizes": None},
            _objects_factors,
            lambda scenes, labels, knobs, training: (labels.image * 255).round().to(torch.uint8),
            lambda size, knobs: Column((3, *size), "uint8"),
            degrade=True,
        ),
    )
}
