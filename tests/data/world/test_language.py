"""Captions taken apart by a small parser and held against the geometry; words that mean one thing each."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch

from tests.data.world import plain_reading as plain
from tests.data.world.plain_reading import Lens, Said, Thing
from visionlab.data import world
from visionlab.data.world import Render, Scenes, describe
from visionlab.data.world.language import GROUND_PHRASES, OPPOSITE, PLACE_PHRASES, RELATIONS, SYNONYMS, WALL_WORDS
from visionlab.data.world.layout import scenes
from visionlab.data.world.questions import TEXT
from visionlab.data.world.vocabulary import (
    BACKGROUNDS,
    COLOURS,
    GROUNDS,
    MATERIALS,
    PLACES,
    SHAPE_NAMES,
    SIZES,
    numbers,
    oklch_to_rgb,
)

N = 300
TOLERANCE = 1e-5  # nearer to the edge of a relation than that, float32 may see it the other way


@pytest.fixture(scope="module")
def crowd() -> tuple[Scenes, Render]:
    """Scenes of all kinds, of one object to eight, seen from so low that many are hidden; and their render."""
    parts = [scenes(5, range(200)), scenes(6, range(100), objects=(5, 8), elevation=(6.0, 14.0), stacking=0.6)]
    parts = [part.with_(objects=pad(part)) for part in parts]
    found = Scenes.cat(parts)
    return found, world.render(found, (32, 40))


def pad(part: Scenes) -> world.scene.Objects:
    """The objects in eight slots, the last of them empty."""
    fields = {}
    for name, value in vars(part.objects).items():
        rest = value.new_zeros(len(value), 8 - value.shape[1], *value.shape[2:])
        fields[name] = torch.cat([value, rest - 1 if name == "on" else rest], dim=1)
    return type(part.objects)(**fields)


@pytest.fixture(scope="module")
def seen(crowd: tuple[Scenes, Render]) -> list[tuple[list[Thing], Lens]]:
    """Of each scene what counts, and the camera."""
    return [([t for t in plain.things(*crowd, i) if t.counted], plain.lens(*crowd, i)) for i in range(N)]


def is_true(said: Said, things: list[Thing], camera: Lens) -> bool:
    return bool(plain.readings(said, things, camera)) if said.names else not things


def test_the_plain_camera_sees_what_the_renderer_shows() -> None:
    found = scenes(7, range(40), objects=1, shapes=("sphere", "cube", "cylinder"), lying=0.0, spread=1.5)
    labels = world.render(found, (96, 128))
    for i in range(len(found)):
        (thing,) = plain.things(found, labels, i)
        camera = plain.lens(found, labels, i)
        x, y, z = thing.middle
        assert z == pytest.approx(thing.axes[2], rel=1e-5)
        assert abs(camera.column(x, y, z) - thing.across) < 0.04 * 128
        assert abs(camera.row(x, y, z) - (thing.box[1] + thing.box[3]) / 2) < 0.06 * 96
        away = camera.seen_from(x, y, z)[2]
        front = labels.depth[i][labels.instance[i] == 0].min().item()
        assert 0 < away - front < 1.8 * max(thing.axes)


@pytest.mark.parametrize("detail", [1, 2, 3])
def test_every_statement_of_a_caption_is_true(
    detail: int, crowd: tuple[Scenes, Render], seen: list[tuple[list[Thing], Lens]]
) -> None:
    links = set()
    where = crowd[0]
    for i, told in enumerate(describe(*crowd, detail=detail)):
        said, (things, camera) = plain.parse(told.caption), seen[i]
        assert is_true(said, things, camera), f"scene {i}: {told.caption}"
        links.add(said.link)
        for size, _, material, _ in said.names:
            assert (size is None) == (material is None) == (detail == 1)
        wall = None if where.place[i] == 0 else BACKGROUNDS[where.background[i]]
        surroundings = (GROUNDS[where.ground[i]], PLACES[where.place[i]], wall)
        assert (said.ground, said.place, said.wall) == (surroundings if detail == 3 else (None, None, None))
        if len(things) > 1:
            assert len(said.names) == 2, "of two or more, two are named"
    assert links - {None, "and"} == (set() if detail == 1 else set(RELATIONS))


def test_relations_are_all_true_ones_and_no_others(
    crowd: tuple[Scenes, Render], seen: list[tuple[list[Thing], Lens]]
) -> None:
    found, close, of_each = describe(*crowd), 0, dict.fromkeys(RELATIONS, 0)
    for i, (things, camera) in enumerate(seen):
        told = set(found[i].relations)
        assert len(told) == len(found[i].relations)
        allowed = set()
        for a in things:
            for b in things:
                for link in RELATIONS if a is not b else ():
                    clearness = plain.related(a, link, b, camera)
                    triple = (a.slot, link, b.slot)
                    allowed.add(triple)
                    if abs(clearness) < TOLERANCE:
                        close += 1
                    else:
                        assert (triple in told) == (clearness > 0), f"scene {i}: {triple}, by {clearness}"
                        of_each[link] += triple in told
        assert told <= allowed
    assert close < 5
    assert min(of_each.values()) > 20


def test_every_relation_is_mirrored_in_its_opposite(crowd: tuple[Scenes, Render]) -> None:
    assert plain.MIRRORED | {b: a for a, b in plain.MIRRORED.items()} == OPPOSITE
    for told in describe(*crowd):
        assert {(b, OPPOSITE[link], a) for a, link, b in told.relations} == set(told.relations)


def test_what_is_not_counted_is_never_spoken_of(
    crowd: tuple[Scenes, Render], seen: list[tuple[list[Thing], Lens]]
) -> None:
    hidden = 0
    for i, told in enumerate(describe(*crowd, detail=2)):
        things, _ = seen[i]
        full = {t.slot: f"{t.size} {t.colour} {t.material} {t.shape}" for t in things}
        assert dict(told.objects) == full
        assert {slot for a, _, b in told.relations for slot in (a, b)} <= set(full)
        hidden += len(plain.things(*crowd, i)) - len(things)
    assert hidden > 50, "or there was nothing to keep silent about"


def test_a_scene_in_which_nothing_counts_is_called_empty(crowd: tuple[Scenes, Render]) -> None:
    where, labels = crowd
    for told in describe(where[:5], labels[:5].with_(counted=False), detail=1, noise=1.0):
        assert (told.caption, told.objects, told.relations) == ("an empty scene", (), ())


@pytest.mark.parametrize("detail", [1, 2, 3])
def test_noise_1_makes_every_caption_false_by_one_word(
    detail: int, crowd: tuple[Scenes, Render], seen: list[tuple[list[Thing], Lens]]
) -> None:
    changed = {"colour": 0, "shape": 0}
    clean, noisy = (describe(*crowd, detail=detail, noise=noise) for noise in (0.0, 1.0))
    for i, (right, wrong) in enumerate(zip(clean, noisy, strict=True)):
        said, meant = plain.parse(wrong.caption), plain.parse(right.caption)
        if not said.names:
            continue
        assert not is_true(said, *seen[i]), f"scene {i}: {wrong.caption}"
        differ = [
            kind
            for one, other in zip(said.names, meant.names, strict=True)
            for kind, a, b in zip(("size", "colour", "material", "shape"), one, other, strict=True)
            if a != b
        ]
        assert len(differ) == 1
        changed[differ[0]] += 1
        assert (said.link, said.ground, said.place, said.wall) == (meant.link, meant.ground, meant.place, meant.wall)
        assert (wrong.objects, wrong.relations) == (right.objects, right.relations)
    assert min(changed.values()) > 0.35 * N


@pytest.mark.parametrize("alike", [{"shapes": "cube"}, {"colours": "red"}])
def test_a_wrong_name_is_not_that_of_another_object(alike: dict[str, Any]) -> None:
    found = scenes(8, range(40), objects=8, elevation=(50.0, 60.0), **alike)
    labels = world.render(found, 32)
    for i, told in enumerate(describe(found, labels, detail=1, noise=1.0)):
        counted = [thing for thing in plain.things(found, labels, i) if thing.counted]
        assert len(counted) > 3
        assert not is_true(plain.parse(told.caption), counted, plain.lens(found, labels, i)), told.caption


def test_noise_is_the_share_of_false_captions(
    crowd: tuple[Scenes, Render], seen: list[tuple[list[Thing], Lens]]
) -> None:
    told = describe(*crowd, detail=1, noise=0.3)
    wrong = [not is_true(plain.parse(each.caption), *seen[i]) for i, each in enumerate(told)]
    assert abs(sum(wrong) - 0.3 * N) < 4 * math.sqrt(N * 0.3 * 0.7)


@pytest.mark.parametrize("detail", [2, 3])
def test_synonyms_change_words_and_never_meaning(detail: int, crowd: tuple[Scenes, Render]) -> None:
    meaning = {other: word for word, others in SYNONYMS.items() for other in others}
    reword = re.compile(rf"\b{plain.any_of(sorted(meaning, key=len, reverse=True))}\b")
    plainly, variously = (describe(*crowd, detail=detail, synonyms=yes) for yes in (False, True))
    used: list[str] = []
    for one, other in zip(plainly, variously, strict=True):
        used += reword.findall(other.caption)
        assert reword.sub(lambda match: meaning[match[0]], other.caption) == one.caption
        assert (other.objects, other.relations) == (one.objects, one.relations)
    assert set(used) == set(meaning), "each is used somewhere"
    assert sum(a.caption != b.caption for a, b in zip(plainly, variously, strict=True)) > N // 2


def test_no_word_stands_for_two_things() -> None:
    names = [*SHAPE_NAMES, *COLOURS, *MATERIALS, *SIZES, *RELATIONS]
    phrases = [*GROUND_PHRASES.values(), *PLACE_PHRASES.values(), *WALL_WORDS.values()]
    others = [other for rest in SYNONYMS.values() for other in rest]
    assert set(SYNONYMS) <= set(names)
    assert len(set(names + others)) == len(names + others)
    for word, rest in SYNONYMS.items():
        for other in rest:
            held = [name for name in names if re.search(rf"\b{name}\b", other) and name != word]
            assert not held, f"{other} is said for {word}, and holds {held}"
            assert not [phrase for phrase in phrases if re.search(rf"\b{other}\b", phrase)]


def test_what_is_said_follows_from_the_scene_alone(crowd: tuple[Scenes, Render]) -> None:
    where, labels = crowd
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))[:60]
    for settings in ({"detail": 3, "synonyms": True}, {"detail": 1, "noise": 0.5}):
        together = describe(where, labels, **settings)
        assert describe(where[order], labels[order], **settings) == [together[i] for i in order]
        assert describe(where[7], labels[7], **settings) == [together[7]]


def test_labels_are_made_at_the_size_if_none_are_given(crowd: tuple[Scenes, Render]) -> None:
    where = crowd[0][:8]
    assert describe(where, size=(48, 32)) == describe(where, world.render(where, (48, 32)))


@pytest.mark.parametrize("detail", [1, 2, 3])
def test_articles_fit_the_word_that_follows(detail: int, crowd: tuple[Scenes, Render]) -> None:
    count = 0
    for told in describe(*crowd, detail=detail, synonyms=True):
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", told.caption), told.caption
        assert not re.search(r"  | ,|^ | $", told.caption)
        count += len(re.findall(r"\ban? ", told.caption))
    assert count > N
    words = {word for word in [*COLOURS, *SIZES, *WALL_WORDS.values()] if word[0] in "aeiou"}
    assert words == {"orange"}, "these are spoken with their own letter, and may come first"


def test_no_caption_is_longer_than_its_column(crowd: tuple[Scenes, Render]) -> None:
    def longest(words: Iterable[str]) -> str:
        return max((other for word in words for other in (word, *SYNONYMS.get(word, ()))), key=len)

    name = f"an {longest(SIZES)} {longest(COLOURS)} {longest(MATERIALS)} {longest(SHAPE_NAMES)}"
    floor = max(GROUND_PHRASES.values(), key=len).replace("checked", longest(("checked",)))
    wall = max(WALL_WORDS.values(), key=len)
    place = max((place.format(wall) for place in PLACE_PHRASES.values()), key=len)
    worst = len(f"{name} {longest(RELATIONS)} {name} on {floor}, {place}".encode())
    told = [len(each.caption.encode()) for each in describe(*crowd, detail=3, synonyms=True)]
    assert max(told) <= worst <= TEXT
    assert max(told) > 0.8 * worst


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"detail": 0}, "detail: expected 1, 2 or 3; got 0"),
        ({"detail": 4}, "detail: expected 1, 2 or 3; got 4"),
        ({"noise": -0.1}, "noise: expected a probability; got -0.1"),
        ({"noise": math.nan}, "noise: expected a probability; got nan"),
    ],
)
def test_bad_input_is_refused_by_name(bad: dict[str, float], words: str, crowd: tuple[Scenes, Render]) -> None:
    with pytest.raises(ValueError, match=words):
        describe(*crowd, **bad)  # type: ignore[arg-type]


# Vocabulary


def test_names_are_the_plain_ones_in_their_order() -> None:
    assert (SHAPE_NAMES, tuple(COLOURS)) == (plain.SHAPE_NAMES, plain.COLOURS)
    assert (MATERIALS, tuple(SIZES)) == (plain.MATERIALS, plain.SIZES)
    assert tuple(plain.GROUNDS.values()) == GROUNDS
    assert tuple(plain.WALLS.values()) == BACKGROUNDS


def test_named_sizes_leave_gaps_between_them() -> None:
    assert all(low < high for low, high in SIZES.values())
    (_, small), (low, medium), (large, _) = SIZES.values()
    assert low > 1.25 * small
    assert large > 1.25 * medium


def test_colours_go_to_rgb_and_back() -> None:
    muted = torch.stack(
        [torch.linspace(0.3, 0.8, 20), torch.linspace(0.0, 0.06, 20), torch.linspace(0.0, 342.0, 20)], dim=1
    )
    back = plain.oklab(oklch_to_rgb(muted).double().numpy())
    lightness, chroma, hue = muted.double().numpy().T
    angle = np.radians(hue)
    np.testing.assert_allclose(
        back, np.stack([lightness, chroma * np.cos(angle), chroma * np.sin(angle)], 1), atol=2e-6
    )
    # The corners of sRGB, as published with the colour space.
    corners = torch.tensor([[1.0, 0.0, 0.0], [0.62796, 0.25768, 29.234], [0.86644, 0.29483, 142.495]])
    expected = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    torch.testing.assert_close(oklch_to_rgb(corners), expected, atol=2e-3, rtol=0)


def test_names_are_looked_up_and_unknown_ones_refused() -> None:
    assert numbers("sizes", None, tuple(SIZES)) == (0, 1, 2)
    assert numbers("sizes", "large", tuple(SIZES)) == (2,)
    assert numbers("sizes", ["large", "small"], tuple(SIZES)) == (2, 0)
    with pytest.raises(ValueError, match="sizes: expected some of small, medium, large; got huge, tiny"):
        numbers("sizes", ("huge", "small", "tiny"), tuple(SIZES))
    with pytest.raises(ValueError, match="sizes: expected some of small, medium, large; got none"):
        numbers("sizes", (), tuple(SIZES))
