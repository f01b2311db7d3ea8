"""Every task's answers worked out anew by plain loops over objects and masks, and its knobs measured."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.data.world import plain_reading as plain
from tests.data.world.plain_reading import COLOURS, SHAPE_NAMES, Lens, Thing
from visionlab.data import world
from visionlab.data.world import Render, Scenes
from visionlab.data.world.dataset import dataset, draw
from visionlab.data.world.shapes import SHAPES
from visionlab.data.world.tasks import TASKS, knobs_of

N, FEW = 200, 100  # entries by default, and with other knobs
HELD_OUT = (("red", "cube"), ("blue", "sphere"), ("blue", "ring"), ("black", "lamp"))


@dataclass(frozen=True)
class Asked:
    """Entries of a task, with what they were made from."""

    scenes: Scenes
    labels: Render
    answers: Any
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scenes)

    def things(self, i: int) -> list[Thing]:
        return plain.things(self.scenes, self.labels, i)

    def lens(self, i: int) -> Lens:
        return plain.lens(self.scenes, self.labels, i)

    def named(self, i: int) -> str:
        return self.classes[int(self.answers[i])]


@lru_cache
def ask(task: str, split: str = "train", n: int = N, size: tuple[int, int] = (24, 24), **given: Any) -> Asked:
    knobs = knobs_of(TASKS[task], given)
    found, labels = draw(TASKS[task], knobs, split, range(n), size=size)
    return Asked(found, labels, TASKS[task].target(found, labels, knobs, split == "train"), TASKS[task].classes(knobs))


def is_share(count: int, n: int, share: float) -> bool:
    """Whether a count is within four standard deviations of a share of n."""
    return abs(count - n * share) <= 4 * math.sqrt(n * share * (1 - share))


@pytest.mark.parametrize("task", TASKS)
def test_a_set_holds_the_answers_of_the_task(task: str, tmp_path: Path) -> None:
    asked = ask(task)
    found = dataset(task, n=5, size=24, root=tmp_path)
    np.testing.assert_array_equal(found.targets, np.asarray(asked.answers[:5]))
    assert found.classes == asked.classes
    if task != "restoration":
        np.testing.assert_array_equal(found.images, (asked.labels.image[:5] * 255).round().to(torch.uint8).numpy())


# Answers


@pytest.mark.parametrize(
    "knobs", [{}, {"classes": None, "distractors": 4, "spread": 2.7}, {"classes": ("lamp", "dumbbell", "egg")}]
)
def test_shapes_is_the_shape_of_the_largest_visible_object(knobs: dict[str, Any]) -> None:
    asked = ask("shapes", n=FEW if knobs else N, **knobs)
    several = 0
    for i in range(len(asked)):
        things = asked.things(i)
        seen = max(things, key=lambda thing: thing.pixels)
        assert [t for t in things if t.size == "large"] == [max(things, key=lambda t: max(t.axes))] == [seen]
        assert asked.named(i) == seen.shape
        assert seen.counted
        several += len(things) > 1
    assert several > len(asked) / 2


@pytest.mark.parametrize(
    "of", [("material",), ("size", "colour", "shape"), ("shape", "material"), "colour", ("material", "size")]
)
def test_attributes_are_those_of_the_only_object(of: str | tuple[str, ...]) -> None:
    asked = ask("attributes", n=FEW, of=of)
    names = (of,) if isinstance(of, str) else of
    for i in range(FEW):
        (thing,) = asked.things(i)
        assert thing.counted
        assert asked.named(i) == " ".join(getattr(thing, name) for name in names)
    vocabulary = {"shape": SHAPE_NAMES, "colour": COLOURS, "material": plain.MATERIALS, "size": plain.SIZES}
    assert len(set(asked.classes)) == len(asked.classes) == math.prod(len(vocabulary[name]) for name in names)


@pytest.mark.parametrize(("levels", "margin"), [(4, 0.4), (8, 0.05), (3, 0.5)])
def test_fine_is_the_shape_and_the_level_of_its_half_axes(levels: int, margin: float) -> None:
    asked = ask("fine", n=N if levels == 4 else FEW, levels=levels, margin=margin)
    natural = {shape.name: shape.axes[2] / shape.axes[0] for shape in SHAPES}
    for i in range(len(asked)):
        (thing,) = asked.things(i)
        a, b, c = thing.axes
        assert thing.counted and not asked.scenes.objects.lying[i, 0]
        assert a == pytest.approx(b)
        tall = c / a / natural[thing.shape]
        heights = [(1 + margin) ** (level - (levels - 1) / 2) for level in range(levels)]
        level = min(range(levels), key=lambda k: abs(heights[k] - tall))
        assert tall == pytest.approx(heights[level], rel=1e-5)
        assert asked.named(i) == f"{thing.shape} of height {level + 1}"
    assert len(asked.classes) == 5 * levels


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"by": "shape", "among": SHAPE_NAMES, "distractors": 3, "distance": (2.2, 3.0)},
        {"by": "material", "among": ("striped", "metal")},
    ],
)
def test_same_is_whether_the_two_large_objects_agree(knobs: dict[str, Any]) -> None:
    asked, by = ask("same", n=FEW if knobs else N, **knobs), knobs.get("by", "colour")
    low, high = knobs.get("distance", (0.0, 9.0))
    shown = set()
    for i in range(len(asked)):
        first, second = (thing for thing in asked.things(i) if thing.size == "large")
        assert first.counted and second.counted
        assert asked.named(i) == ("same" if getattr(first, by) == getattr(second, by) else "different")
        assert low - 1e-5 <= math.dist(first.middle[:2], second.middle[:2]) <= high + 1e-5
        shown |= {getattr(first, by), getattr(second, by)}
    assert shown == set(knobs.get("among", COLOURS))


@pytest.mark.parametrize(
    "knobs", [{}, {"by": "shape", "among": ("egg", "cone", "table")}, {"by": "material"}, {"among": ("black", "white")}]
)
def test_odd_is_what_one_of_four_is_and_no_other(knobs: dict[str, Any]) -> None:
    asked, by = ask("odd", n=FEW if knobs else N, **knobs), knobs.get("by", "colour")
    for i in range(len(asked)):
        things = asked.things(i)
        assert len(things) == 4 and all(thing.counted for thing in things)
        count = Counter(getattr(thing, by) for thing in things)
        assert sorted(count.values()) == [1, 3]
        assert count[asked.named(i)] == 1
        assert set(count) <= set(asked.classes)
    if "among" in knobs:
        assert asked.classes == tuple(knobs["among"])


@pytest.mark.parametrize(
    ("objects", "spread", "lead", "minorities"),
    [
        (3, 2.0, 1, {1}),
        (5, 2.3, 1, {2}),
        (5, 2.3, 7, {1, 2}),
        (7, 3.0, 7, {1, 2, 3}),
        (7, 2.7, 1, {3}),
        (7, 3.0, 4, {2, 3}),
    ],
)
def test_majority_is_the_colour_of_more_objects(objects: int, spread: float, lead: int, minorities: set[int]) -> None:
    asked = ask("majority", n=FEW, size=(32, 32), objects=objects, spread=spread, lead=lead)
    splits: Counter[int] = Counter()
    for i in range(len(asked)):
        things = asked.things(i)
        assert len(things) == objects and all(thing.counted for thing in things)
        red, blue = (sum(thing.colour == colour for thing in things) for colour in ("red", "blue"))
        assert red + blue == objects
        assert asked.named(i) == ("red" if red > blue else "blue")
        splits[min(red, blue)] += 1
    assert set(splits) == minorities
    assert all(is_share(count, len(asked), 1 / len(minorities)) for count in splits.values())


def test_segmentation_names_the_shape_at_each_pixel() -> None:
    asked = ask("segmentation")
    for i in range(N):
        shape = {thing.slot: thing.shape for thing in asked.things(i)} | {-1: "background"}
        for slots, numbers in zip(asked.labels.instance[i].tolist(), asked.answers[i].tolist(), strict=True):
            assert [shape[slot] for slot in slots] == [asked.classes[number] for number in numbers]


def test_detection_holds_the_box_and_shape_of_each_counted_object() -> None:
    asked = ask("detection")
    for i in range(N):
        counted = {thing.slot: thing for thing in asked.things(i) if thing.counted}
        assert counted
        for slot, (*box, shape) in enumerate(asked.answers[i].tolist()):
            if slot in counted:
                assert tuple(box) == counted[slot].box
                assert asked.classes[shape] == counted[slot].shape
            else:
                assert (box, shape) == ([0, 0, 0, 0], -1)


def test_depth_is_that_of_the_ground_where_nothing_stands_before_it() -> None:
    asked = ask("depth")
    ground = 0
    for i in range(N):
        camera, place = asked.lens(i), int(asked.scenes.place[i])
        rows = zip(asked.labels.instance[i].tolist(), asked.answers[i].tolist(), strict=True)
        for row, (slots, depths) in enumerate(rows):
            for column in range(0, 24, 3):
                expected, depth = camera.ground_depth(row, column), depths[column]
                if place == 0 and slots[column] < 0:
                    assert depth == pytest.approx(expected, rel=1e-4)
                    ground += math.isfinite(expected)
                else:
                    assert 0 < depth < expected * (1 + 1e-4)
    assert ground > 1000


@pytest.mark.parametrize("knobs", [{}, {"detail": 1}, {"detail": 3, "objects": 6}])
@pytest.mark.parametrize("split", ["train", "test"])
def test_captions_are_true(split: str, knobs: dict[str, Any]) -> None:
    asked = ask("captions", split, n=FEW if knobs else N, **knobs)
    assert all(is_true(asked, i) for i in range(len(asked)))


def is_true(asked: Asked, i: int) -> bool:
    counted = [thing for thing in asked.things(i) if thing.counted]
    said = plain.parse(asked.answers[i].decode())
    assert counted and said.names
    return bool(plain.readings(said, counted, asked.lens(i)))


@pytest.mark.parametrize("style", ["clean", "night"])
def test_restoration_asks_for_the_image_as_it_was(style: str, tmp_path: Path) -> None:
    found = dataset("restoration", n=12, size=32, style=style, kind="blur", strength=0.7, root=tmp_path)
    knobs = knobs_of(TASKS["restoration"], {"kind": "blur", "strength": 0.7})
    where, _ = draw(TASKS["restoration"], knobs, "train", range(12), size=(32, 32))
    before = world.render(where, 32, style=style).image
    images, answers = found.tensors()
    assert isinstance(answers, torch.Tensor)
    assert (answers - before).abs().max() <= 0.5 / 255 + 1e-6
    assert (images - answers).abs().mean((1, 2, 3)).min() > 0.002


@pytest.mark.parametrize("task", ["segmentation", "detection", "depth", "captions", "restoration"])
def test_at_least_one_object_counts(task: str) -> None:
    asked = ask(task)
    assert all(any(thing.counted for thing in asked.things(i)) for i in range(N))


# Balance


@pytest.mark.parametrize("task", ["shapes", "attributes", "fine", "same", "odd", "majority"])
def test_answers_are_balanced(task: str) -> None:
    n = 500 if task in ("shapes", "fine") else 300
    asked = ask(task, n=n)
    count = Counter(asked.answers.tolist())
    assert set(count) == set(range(len(asked.classes)))
    for label, times in count.items():
        assert is_share(times, n, 1 / len(asked.classes)), f"{asked.classes[label]}: {times} of {n}"


def test_every_attribute_is_balanced() -> None:
    n = 500
    for name, words in (("shape", SHAPE_NAMES), ("colour", COLOURS), ("size", plain.SIZES)):
        count = Counter(ask("attributes", n=n, of=name).answers.tolist())
        assert all(is_share(count[label], n, 1 / len(words)) for label in range(len(words)))


# Knobs that spoil, in training alone

SPLITS = pytest.mark.parametrize("split", ["train", "val", "test"])
COUNT, TINY = 300, (16, 16)


def true_class(asked: Asked, i: int) -> int:
    return asked.classes.index(SHAPE_NAMES[int(asked.scenes.objects.shape[i, 0])])


@SPLITS
def test_colour_bias_binds_colours_to_classes_in_training_alone(split: str) -> None:
    asked = ask("shapes", split, COUNT, TINY, colour_bias=0.8)
    colours = asked.scenes.objects.colour[:, 0].tolist()
    bound = sum(colour == label % len(COLOURS) for colour, label in zip(colours, asked.answers.tolist(), strict=True))
    assert is_share(bound, COUNT, 0.8 + 0.2 / 12 if split == "train" else 1 / 12)
    assert all(int(asked.answers[i]) == true_class(asked, i) for i in range(COUNT))


@SPLITS
def test_imbalance_makes_later_classes_rare_in_training_alone(split: str) -> None:
    asked = ask("shapes", split, COUNT, TINY, imbalance=1.0)
    weights = [1 - 0.95 * label / 9 for label in range(10)] if split == "train" else [1.0] * 10
    count = Counter(asked.answers.tolist())
    for label, weight in enumerate(weights):
        assert is_share(count[label], COUNT, weight / sum(weights)), asked.classes[label]


@SPLITS
def test_label_noise_spoils_a_share_of_labels_evenly_in_training_alone(split: str) -> None:
    asked = ask("shapes", split, COUNT, TINY, label_noise=0.8)
    off = Counter((int(asked.answers[i]) - true_class(asked, i)) % 10 for i in range(COUNT))
    if split != "train":
        assert off == {0: COUNT}
        return
    wrong = COUNT - off[0]
    assert is_share(wrong, COUNT, 0.8)
    assert all(is_share(off[step], wrong, 1 / 9) for step in range(1, 10))


@SPLITS
def test_noise_makes_a_share_of_captions_false_in_training_alone(split: str) -> None:
    asked = ask("captions", split, noise=0.5)
    false = sum(not is_true(asked, i) for i in range(N))
    assert is_share(false, N, 0.5) if split == "train" else false == 0


def test_what_knobs_spoil_is_nothing_else() -> None:
    clean, noisy = ask("shapes", n=COUNT, size=TINY), ask("shapes", n=COUNT, size=TINY, label_noise=0.4)
    assert torch.equal(clean.labels.image, noisy.labels.image)
    clean, noisy = ask("captions"), ask("captions", noise=0.5)
    assert torch.equal(clean.labels.image, noisy.labels.image)
    assert all(is_true(clean, i) for i in range(N))


# Knobs that set what is there


@pytest.mark.parametrize("distractors", [0, 2, 5])
def test_distractors_are_as_many_small_objects_where_there_is_room(distractors: int) -> None:
    for task, large in (("shapes", 1), ("same", 2)):
        asked = ask(task, n=60, size=TINY, distractors=distractors, spread=2.7)
        sizes = [Counter(thing.size for thing in asked.things(i)) for i in range(60)]
        assert all(count["large"] == large and count["medium"] == 0 for count in sizes)
        full = [count["small"] == distractors for count in sizes]
        assert [not crowded for crowded in asked.scenes.crowded.tolist()] == full
        assert sum(full) >= 57


def test_objects_stay_within_the_spread() -> None:
    for task in ("shapes", "fine", "attributes", "same"):
        knob = TASKS[task].knobs["spread"]
        asked = ask(task)
        assert all(math.hypot(*thing.middle[:2]) < knob for i in range(N) for thing in asked.things(i))


@pytest.mark.parametrize("task", ["segmentation", "detection", "depth", "restoration"])
def test_objects_and_sizes_are_those_of_the_knobs(task: str) -> None:
    asked = ask(task, n=60, size=TINY, objects=3, sizes=("small", "large"))
    things = [asked.things(i) for i in range(60)]
    assert {len(there) for there in things} == {1, 2, 3}
    assert {thing.size for there in things for thing in there} == {"small", "large"}


def test_classes_are_those_of_the_knob_in_its_order() -> None:
    asked = ask("shapes", n=40, size=TINY, classes=("house", "egg", "cube"))
    assert {asked.things(i)[0].shape for i in range(40)} == {"house", "egg", "cube"}
    assert ask("shapes", n=40, size=TINY, classes=("house", "egg", "cube")).classes == ("house", "egg", "cube")
    assert ask("shapes", n=40, size=TINY, classes=None).classes == SHAPE_NAMES


@pytest.mark.parametrize("classes", [("house", "egg", "cube"), None])
def test_masks_and_boxes_number_the_classes_of_the_knob(classes: tuple[str, ...] | None) -> None:
    masks, boxes = (ask(task, n=40, size=TINY, classes=classes) for task in ("segmentation", "detection"))
    names = SHAPE_NAMES if classes is None else classes
    assert masks.classes == ("background", *names) and boxes.classes == names
    seen = set()
    for i in range(40):
        shape = {thing.slot: thing.shape for thing in masks.things(i)} | {-1: "background"}
        told = [names[label] for *_, label in boxes.answers[i].tolist() if label >= 0]
        assert told == [thing.shape for thing in boxes.things(i) if thing.counted]
        for slots, numbers in zip(masks.labels.instance[i].tolist(), masks.answers[i].tolist(), strict=True):
            assert [shape[slot] for slot in slots] == [masks.classes[number] for number in numbers]
        seen |= {thing.shape for thing in masks.things(i)}
    assert seen == set(names) if classes else seen <= set(names)


def test_detail_and_synonyms_change_the_words() -> None:
    plainly = {detail: [text.decode() for text in ask("captions", n=60, detail=detail).answers] for detail in (1, 2, 3)}
    length = [sum(map(len, plainly[detail])) for detail in (1, 2, 3)]
    assert length[0] * 1.5 < length[1] and length[1] * 1.2 < length[2]
    varied = [text.decode() for text in ask("captions", n=60, synonyms=True).answers]
    assert sum(a != b for a, b in zip(varied, plainly[2], strict=True)) > 30


def test_kind_and_strength_are_those_of_the_knobs(tmp_path: Path) -> None:
    for kind in ("noise", "rain", "haze", "blur", "dark", "sketch"):
        errors = []
        for strength in (0.0, 0.4, 1.0):
            found = dataset("restoration", n=2, size=24, kind=kind, strength=strength, root=tmp_path)
            errors.append(np.abs(found.images.astype(int) - found.targets).mean())
        assert errors[0] == 0 and errors[1] < errors[2], kind


# Held-out pairs of colour and shape


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_no_training_image_or_caption_holds_a_held_out_pair(noise: float) -> None:
    asked = ask("captions", "train", held_out=HELD_OUT, noise=noise)
    shown = {(thing.colour, thing.shape) for i in range(N) for thing in asked.things(i)}
    assert not shown & set(HELD_OUT)
    colours, shapes = zip(*HELD_OUT, strict=True)
    assert set(colours) <= {colour for colour, _ in shown}, "each colour is shown on other shapes"
    assert set(shapes) <= {shape for _, shape in shown}, "each shape is shown in other colours"
    told = [plain.parse(text.decode()) for text in asked.answers]
    assert not {(colour, shape) for said in told for _, colour, _, shape in said.names} & set(HELD_OUT)


@pytest.mark.parametrize("split", ["val", "test"])
def test_every_test_image_shows_a_held_out_pair_and_its_caption_names_it(split: str) -> None:
    asked = ask("captions", split, held_out=HELD_OUT)
    count: Counter[tuple[str, str]] = Counter()
    for i in range(N):
        first = asked.things(i)[0]
        assert first.slot == 0 and first.counted
        said = plain.parse(asked.answers[i].decode())
        assert (first.colour, first.shape) in {(colour, shape) for _, colour, _, shape in said.names}
        count[first.colour, first.shape] += 1
    assert set(count) == set(HELD_OUT)
    assert all(is_share(times, N, 1 / len(HELD_OUT)) for times in count.values())


def test_every_colour_but_one_may_be_held_out_of_a_shape() -> None:
    asked = ask("captions", size=TINY, held_out=tuple((colour, "cube") for colour in COLOURS[:-1]))
    cubes = [thing for i in range(N) for thing in asked.things(i) if thing.shape == "cube"]
    assert len(cubes) > 10
    assert {thing.colour for thing in cubes} == {"black"}


# Knobs that contradict themselves


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize(
    ("task", "knobs", "words"),
    [
        ("shapes", {"classes": ("cube",)}, "classes: expected at least two shapes, all different; got .*'cube'"),
        ("shapes", {"classes": "cube"}, "classes: expected at least two shapes, all different; got cube"),
        ("shapes", {"classes": ("cube", "egg", "cube")}, "classes: expected at least two shapes, all different"),
        ("shapes", {"classes": ()}, "classes: expected some of sphere, .*; got none"),
        ("same", {"among": ("red",)}, "among: expected at least two names, all different; got .*red"),
        ("odd", {"by": "shape", "among": ("cube", "cube")}, "among: expected at least two names, all different"),
        ("odd", {"by": "shape", "among": ("red", "blue")}, "among: expected some of sphere, .*; got red, blue"),
        ("odd", {"objects": 2}, "objects: expected 3 to 8, for one of them to be odd; got 2"),
        ("same", {"by": "size"}, "by: expected one of shape, colour, material; got 'size'"),
        ("odd", {"by": "size"}, "by: expected one of shape, colour, material; got 'size'"),
        ("attributes", {"of": ("weight",)}, "of: expected some of shape, colour, material, size, each once; got"),
        ("attributes", {"of": ("size", "size")}, "of: expected some of .*, each once; got"),
        ("attributes", {"of": None}, "of: expected some of .*, each once; got None"),
        ("same", {"distance": (3.0, 1.0)}, "distance: expected 0 <= least < greatest; got"),
        ("same", {"distance": (1.0,)}, "distance: expected 0 <= least < greatest; got"),
        ("same", {"distance": (-1.0, 1.0)}, "distance: expected 0 <= least < greatest; got"),
        ("majority", {"objects": 4}, "objects: expected 3, 5 or 7, for there to be a majority; got 4"),
        ("fine", {"margin": 0.0}, "margin: expected 0.01 to 1.0; got 0.0"),
        ("fine", {"margin": -0.2}, "margin: expected 0.01 to 1.0; got -0.2"),
        ("fine", {"levels": 1}, "levels: expected 2 to 8; got 1"),
        ("detection", {"sizes": ("huge",)}, "sizes: expected some of small, medium, large; got huge"),
        ("detection", {"objects": 0}, "objects: expected 1 to 8; got 0"),
        ("captions", {"held_out": ("red", "cube")}, "held_out: expected pairs, like .*; got"),
        ("captions", {"held_out": (("cube", "red"),)}, "held_out: expected some of red, .*; got cube"),
        ("captions", {"held_out": (("red", None),)}, "held_out: expected some of sphere, .*; got None"),
        ("captions", {"held_out": tuple((c, "egg") for c in COLOURS)}, "held_out: expected a colour of each shape"),
    ],
)
def test_knobs_that_make_no_sense_are_refused(task: str, knobs: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        dataset(task, n=4, size=16, root=tmp_path, **knobs)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
