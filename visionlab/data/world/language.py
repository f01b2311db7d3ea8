"""Scenes in words: what each object is called, how two of them stand, and captions that say only what is true.

Only objects that are counted (see `visionlab.data.world.labels.Labels`) are spoken of.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from visionlab.data.world.render import Render, render
from visionlab.data.world.scene import Scenes, geometry
from visionlab.data.world.solids import dot
from visionlab.data.world.views import camera_view
from visionlab.data.world.vocabulary import BACKGROUNDS, COLOURS, GROUNDS, MATERIALS, PLACES, SHAPE_NAMES, SIZES

__all__ = ["OPPOSITE", "RELATIONS", "SYNONYMS", "Description", "describe", "relations"]

RELATIONS = ("left of", "right of", "in front of", "behind", "on top of", "below", "bigger than", "smaller than")
OPPOSITE = dict(zip(RELATIONS, [RELATIONS[i ^ 1] for i in range(len(RELATIONS))], strict=True))

Name = tuple[str, str, str, str]  # size, colour, material, shape

LEAST_ASIDE = 0.10  # of the image's width, for "left of"
LEAST_BEFORE = 0.6  # units of length towards the camera, for "in front of"

SYNONYMS: dict[str, tuple[str, ...]] = {
    "sphere": ("ball", "globe"),
    "cube": ("block", "box"),
    "ring": ("torus", "doughnut"),
    "dome": ("hemisphere",),
    "cylinder": ("drum",),
    "small": ("little", "tiny"),
    "large": ("big",),
    "turquoise": ("cyan",),
    "purple": ("violet",),
    "grey": ("gray",),
    "glossy": ("shiny",),
    "metal": ("metallic",),
    "checked": ("chequered",),
    "striped": ("banded",),
    "marbled": ("veined",),
    "in front of": ("before",),
    "left of": ("to the left of",),
    "right of": ("to the right of",),
}
"""Other words for some of the vocabulary; no word stands for two things."""

GROUND_PHRASES = dict(
    zip(GROUNDS, ("a plain floor", "a wooden floor", "a tiled floor", "a carpet", "a checked floor"), strict=True)
)
PLACE_PHRASES = dict(zip(PLACES, ("outdoors", "near a {} wall", "in a corner of {} walls"), strict=True))
WALL_WORDS = dict(zip(BACKGROUNDS, ("plain", "shaded", "brick", "speckled", "painted"), strict=True))


@dataclass(frozen=True)
class Description:
    """What can be said of one scene.

    Attributes:
        caption: one sentence.
        objects: (slot, name in full), for each counted object.
        relations: every true (slot, relation, slot).
    """

    caption: str
    objects: tuple[tuple[int, str], ...]
    relations: tuple[tuple[int, str, int], ...]


def describe(
    scenes: Scenes,
    labels: Render | None = None,
    *,
    size: int | tuple[int, int] = 64,
    detail: int = 2,
    synonyms: bool = False,
    noise: float = 0.0,
    about: int | None = None,
    never: Sequence[tuple[str, str]] = (),
) -> list[Description]:
    """Describe scenes; which words are chosen follows from the scenes' keys.

    Args:
        scenes: of `visionlab.data.world.scenes`.
        labels: of their render; made at ``size`` if not given.
        size: in pixels; what is counted depends on it.
        detail: 1 names up to two objects by colour and shape; 2 adds size, material and how they stand; 3 also the
            surroundings.
        synonyms: whether some words are replaced by others of the same meaning.
        noise: probability that the caption is made false: by a wrong colour or shape of one object that it names, such
            as no counted object has. Of a scene without counted objects nothing false is said.
        about: slot of an object that the caption names where it counts.
        never: pairs of colour and shape that no mistake makes.

    Raises:
        ValueError: ``detail`` is not 1, 2 or 3, or ``noise`` no probability.
    """
    if detail not in (1, 2, 3):
        raise ValueError(f"detail: expected 1, 2 or 3; got {detail}")
    if not isinstance(noise, (int, float)) or not 0 <= noise <= 1:
        raise ValueError(f"noise: expected a probability; got {noise!r}")
    slots = scenes.objects.shape.shape[1]
    if about is not None and not 0 <= about < slots:
        raise ValueError(f"about: expected a slot from 0 to {slots - 1}; got {about}")
    found = labels or render(scenes, size)
    related = relations(scenes, found)
    said = _Said(detail, synonyms, noise, about, frozenset(never))
    return [_describe(scenes, found, related, i, said) for i in range(len(scenes))]


def relations(scenes: Scenes, labels: Render) -> dict[str, Bool[Tensor, "n k k"]]:
    """Which counted objects stand how to each other: entry [i, a, b] is whether a is, say, left of b in scene i.

    "left of": by a tenth of the image's width between the projected middles; "in front of": nearer by 0.6 along the
    ground, towards the camera; "on top of": stands on it; "bigger than": of a larger named size. An object on another
    is neither left of it nor in front of it.
    """
    place, things = geometry(scenes.objects), scenes.objects
    height, width = labels.instance.shape[-2:]
    view = camera_view(scenes.camera, (height, width))
    way = place.centre.permute(2, 0, 1) - view.eye[..., None]
    across = dot(view.right[..., None], way) / dot(view.forward[..., None], way) / view.slope[:, None] / width
    flat = view.forward[:2] / view.forward[:2].square().sum(0).sqrt()
    away = (flat[..., None] * way[:2]).sum(0)
    k = things.shape.shape[1]
    on = things.on[:, :, None] == torch.arange(k, device=things.shape.device)
    both = labels.counted[:, :, None] & labels.counted[:, None, :]
    beside = both & ~on & ~on.mT
    found = {
        "left of": beside & (across[:, :, None] < across[:, None, :] - LEAST_ASIDE),
        "in front of": beside & (away[:, :, None] < away[:, None, :] - LEAST_BEFORE),
        "on top of": both & on,
        "bigger than": both & (things.size[:, :, None] > things.size[:, None, :]),
    }
    return {name: found[name] if name in found else found[OPPOSITE[name]].mT for name in RELATIONS}


@dataclass(frozen=True)
class _Said:
    """How things are said; see `describe`."""

    detail: int
    synonyms: bool
    noise: float
    about: int | None
    never: frozenset[tuple[str, str]]


def _describe(scenes: Scenes, labels: Render, related: dict[str, Tensor], i: int, said: _Said) -> Description:
    things = scenes.objects[i]
    words = {
        slot: (
            tuple(SIZES)[things.size[0, slot]],
            tuple(COLOURS)[things.colour[0, slot]],
            MATERIALS[things.material[0, slot]],
            SHAPE_NAMES[things.shape[0, slot]],
        )
        for slot in labels.counted[i].nonzero()[:, 0].tolist()
    }
    true = tuple((a, name, b) for name in RELATIONS for a, b in related[name][i].nonzero().tolist())
    chance = random.Random(int(scenes.key[i]))
    caption = _caption(chance, words, true, said)
    if said.detail == 3:
        place = PLACE_PHRASES[PLACES[scenes.place[i]]].format(WALL_WORDS[BACKGROUNDS[scenes.background[i]]])
        caption += f" on {GROUND_PHRASES[GROUNDS[scenes.ground[i]]]}, {place}"
    if said.synonyms:
        caption = _reword(chance, caption)
    return Description(caption, tuple((slot, " ".join(name)) for slot, name in words.items()), true)


def _caption(chance: random.Random, words: dict[int, Name], true: tuple[tuple[int, str, int], ...], said: _Said) -> str:
    if not words:
        return "an empty scene"
    wrong = chance.random() < said.noise
    if said.about in words:
        true = tuple(fact for fact in true if said.about in (fact[0], fact[2]))
    if said.detail > 1 and true:
        first, link, second = chance.choice(true)
        spoken = [words[first], words[second]]
    else:
        slots = chance.sample(sorted(words), min(2, len(words)))
        if said.about in words and said.about not in slots:
            slots[0] = said.about
        link, spoken = "and", [words[slot] for slot in slots]
    if wrong:
        at = chance.randrange(len(spoken))
        there = {(colour, shape) for _, colour, _, shape in words.values()}
        spoken[at] = _mistake(chance, spoken[at], there | said.never)
    return f" {link} ".join(_with_article(name if said.detail > 1 else (name[1], name[3])) for name in spoken)


def _mistake(chance: random.Random, name: Name, taken: set[tuple[str, str]]) -> Name:
    """Another colour or shape, of a pair that is not taken; another of both where one alone leaves none."""
    size, colour, material, shape = name
    colours = [(c, shape) for c in COLOURS if (c, shape) not in taken]
    shapes = [(colour, s) for s in SHAPE_NAMES if (colour, s) not in taken]
    both = [(c, s) for c in COLOURS for s in SHAPE_NAMES if (c, s) not in taken]
    first, second = (colours, shapes) if chance.random() < 0.5 else (shapes, colours)
    colour, shape = chance.choice(first or second or both)
    return size, colour, material, shape


def _with_article(words: tuple[str, ...]) -> str:
    return f"{'an' if words[0][0] in 'aeiou' else 'a'} {' '.join(words)}"


def _reword(chance: random.Random, caption: str) -> str:
    for word, others in SYNONYMS.items():
        whole = re.compile(rf"\b{word}\b")
        if whole.search(caption) and chance.random() < 0.5:
            caption = whole.sub(chance.choice(others), caption)
    return caption
