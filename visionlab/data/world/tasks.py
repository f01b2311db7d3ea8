"""Tasks: what is asked of a scene, with the knobs that make it easier or harder. A label is read off the geometry.

Each task draws its own scenes, says which of them are clear enough to be asked about (the others are drawn again), and
reads the answer off the scene and its labels. Knobs that spoil labels or colours do so in the training split alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from visionlab.data.world.questions import (
    TEN,
    TEXT,
    Knobs,
    attributes_classes,
    attributes_factors,
    attributes_target,
    boxes_target,
    caption_clear,
    caption_factors,
    caption_target,
    fine_classes,
    fine_clear,
    fine_factors,
    fine_target,
    first_counts,
    first_is_largest,
    mask_target,
    objects_factors,
    shapes_factors,
    shapes_target,
    things_classes,
    things_factors,
)
from visionlab.data.world.relations import (
    all_count,
    majority_factors,
    majority_target,
    names_of,
    odd_factors,
    odd_target,
    same_clear,
    same_factors,
    same_target,
)
from visionlab.data.world.render import Render
from visionlab.data.world.scene import Scenes
from visionlab.data.world.store import Column

__all__ = ["KNOBS", "TASKS", "Task", "knobs_of"]

Size = tuple[int, int]


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
    knobs = dict(task.knobs) | {name: _plain(name, value, task.knobs[name]) for name, value in given.items()}
    for name, value in knobs.items():
        if name in SHARES and not 0 <= value <= 1:
            raise ValueError(f"{name}: expected a share between 0 and 1; got {value}")
        if name in LIMITS and not LIMITS[name][0] <= value <= LIMITS[name][1]:
            raise ValueError(f"{name}: expected {LIMITS[name][0]} to {LIMITS[name][1]}; got {value}")
    return knobs


def _plain(name: str, value: Any, default: Any) -> Any:
    """A knob as JSON can write it, of the kind of its default."""
    plain: Any = _bare(value)
    said, kinds = _kind(default)
    if type(plain) not in kinds or not _is_json(plain):
        raise ValueError(f"{name}: expected {said}; got {value!r}")
    numbers = default if isinstance(default, tuple) and default and isinstance(default[0], float) else ()
    if numbers and not all(_is_number(x) for x in plain):
        raise ValueError(f"{name}: expected numbers, like {default}; got {value!r}")
    # 1 and 1.0 are one set in the cache.
    return float(plain) if isinstance(default, float) else tuple(float(x) for x in plain) if numbers else plain


def _bare(value: Any) -> Any:
    """Without numpy's types, and lists as tuples."""
    if isinstance(value, (tuple, list)):
        return tuple(_bare(each) for each in value)
    return value.item() if isinstance(value, np.generic) else value


def _is_json(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_json, value))
    return value is None or isinstance(value, (str, int, float))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _kind(default: Any) -> tuple[str, tuple[type, ...]]:
    if default is None or (default and isinstance(default, tuple) and isinstance(default[0], str)):
        return "words, or None", (str, tuple, list, type(None))
    if isinstance(default, tuple):
        return f"values in brackets, like {default}", (tuple, list)
    if isinstance(default, float):
        return "a number", (float, int)
    said = {bool: "True or False", int: "a whole number", str: "a word"}[type(default)]
    return said, (type(default),)


SHARES = ("colour_bias", "label_noise", "noise", "strength", "imbalance")
LIMITS = {
    "distractors": (0, 6),
    "objects": (1, 8),
    "lead": (1, 7),
    "detail": (1, 3),
    "levels": (2, 8),
    "margin": (0.01, 1.0),
}

KNOBS = {
    "among": "the names to draw from, of the attribute that `by` says; None for all",
    "by": "what objects agree in: shape, colour or material",
    "classes": "the shapes to tell apart; None for all",
    "colour_bias": "share of training images whose colour gives the class away",
    "detail": "how much a caption says, 1 to 3",
    "distance": "least and greatest distance of the two objects on the ground",
    "distractors": "small objects beside what is asked about, 0 to 6",
    "held_out": "pairs (colour, shape) that no training image shows and every other image does",
    "imbalance": "how much rarer each next class is in training, 0 to 1",
    "kind": "what was done to the image: noise, rain, haze, blur, dark or sketch",
    "label_noise": "share of wrong labels in training",
    "lead": "by how many objects the majority leads at most",
    "levels": "heights to tell apart, 2 to 8",
    "margin": "how much taller each height is than the one before, as a share",
    "noise": "share of captions in training that say something false",
    "objects": "how many objects there are (at most, where their number is drawn), 1 to 8",
    "of": "what is asked: any of shape, colour, material, size",
    "sizes": "the sizes to draw from: small, medium, large; None for all",
    "spread": "radius of the circle on the ground that the image shows, 0.5 to 3.2; objects look larger in a small one",
    "strength": "how much was done to the image, 0 to 1",
    "synonyms": "whether a caption may call things by other words",
}
"""What each knob does."""

CLASS = Column((), "int64")

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "shapes",
            "What is the large object?",
            {
                "classes": TEN,
                "distractors": 1,
                "spread": 1.9,
                "colour_bias": 0.0,
                "imbalance": 0.0,
                "label_noise": 0.0,
            },
            shapes_factors,
            shapes_target,
            lambda size, knobs: CLASS,
            things_classes,
            first_is_largest,
        ),
        Task(
            "attributes",
            "What size and colour (or what the knob `of` says) is the single object?",
            {"of": ("size", "colour"), "spread": 1.7},
            attributes_factors,
            attributes_target,
            lambda size, knobs: CLASS,
            attributes_classes,
            first_counts,
        ),
        Task(
            "fine",
            "Which of five shapes is it, and how tall?",
            {"levels": 4, "margin": 0.4, "spread": 1.8},
            fine_factors,
            fine_target,
            lambda size, knobs: CLASS,
            fine_classes,
            fine_clear,
        ),
        Task(
            "same",
            "Do the two large objects agree, in colour or what the knob `by` says?",
            {"by": "colour", "among": None, "distractors": 0, "distance": (0.0, 9.0), "spread": 2.4},
            same_factors,
            same_target,
            lambda size, knobs: CLASS,
            lambda knobs: ("different", "same"),
            same_clear,
        ),
        Task(
            "odd",
            "All objects but one agree, in colour or what the knob `by` says; what is that one?",
            {"by": "colour", "among": None, "objects": 4, "spread": 2.0},
            odd_factors,
            odd_target,
            lambda size, knobs: CLASS,
            names_of,
            all_count,
        ),
        Task(
            "majority",
            "Are there more red or more blue objects?",
            {"objects": 7, "lead": 1, "spread": 2.7},
            majority_factors,
            majority_target,
            lambda size, knobs: CLASS,
            lambda knobs: ("red", "blue"),
            all_count,
        ),
        Task(
            "segmentation",
            "Which shape does each pixel belong to? 0 is background.",
            {"objects": 5, "sizes": None, "classes": None},
            things_factors,
            mask_target,
            lambda size, knobs: Column(size, "uint8"),
            lambda knobs: ("background", *things_classes(knobs)),
        ),
        Task(
            "detection",
            "Where are the objects, and of which shapes? Left, top, right, bottom, class; class -1 for no object.",
            {"objects": 5, "sizes": None, "classes": None},
            things_factors,
            boxes_target,
            lambda size, knobs: Column((knobs["objects"], 5), "int64"),
            things_classes,
        ),
        Task(
            "depth",
            "How far is each pixel? In units of length along the line of sight; inf in the sky.",
            {"objects": 5, "sizes": None},
            objects_factors,
            lambda scenes, labels, knobs, training: labels.depth,
            lambda size, knobs: Column(size, "float32"),
        ),
        Task(
            "captions",
            "What does the picture show, in a sentence?",
            {"objects": 3, "detail": 2, "synonyms": False, "noise": 0.0, "held_out": ()},
            caption_factors,
            caption_target,
            lambda size, knobs: Column((), f"S{TEXT}"),
            clear=caption_clear,
        ),
        Task(
            "restoration",
            "What did the image look like before?",
            {"kind": "noise", "strength": 0.5, "objects": 5, "sizes": None},
            objects_factors,
            lambda scenes, labels, knobs, training: (labels.image * 255).round().to(torch.uint8),
            lambda size, knobs: Column((3, *size), "uint8"),
            degrade=True,
        ),
    )
}
