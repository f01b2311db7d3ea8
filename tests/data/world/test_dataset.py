"""Task data sets: made once, the same for every n, resumed after a kill, never overlapping, and refused in words."""

from __future__ import annotations

import json
import pickle
import time
from itertools import pairwise
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.data.world import makers
from visionlab.data import world
from visionlab.data.world import counter
from visionlab.data.world.dataset import AGAIN, SPLITS, TRIES, dataset, draw, split_numbers
from visionlab.data.world.tasks import knobs_of

SMALL: dict[str, Any] = {"task": "attributes", "n": 12, "size": 16}
TASKS = sorted(world.TASKS)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def folders(root: Path) -> set[str]:
    return {path.name for path in root.iterdir() if path.is_dir()} if root.exists() else set()


def test_a_set_is_made_once_and_then_found(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    made = dataset(**SMALL, root=tmp_path, hook=lambda done, n: seen.append((done, n)))
    assert seen == [(0, 12), (12, 12)]
    found = dataset(**SMALL, root=tmp_path, hook=lambda done, n: seen.append((done, n)))
    assert len(seen) == 2
    assert isinstance(found.images, np.memmap)
    np.testing.assert_array_equal(made.images, found.images)
    np.testing.assert_array_equal(made.targets, found.targets)


def test_sets_are_kept_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIONLAB_CACHE", str(tmp_path / "mine"))
    dataset(**SMALL)
    assert len(folders(tmp_path / "mine" / "world")) == 1


@pytest.mark.parametrize("task", TASKS)
def test_the_first_entries_are_the_same_for_every_n(task: str, cache: Path) -> None:
    few, more = (dataset(task, n=n, size=32, root=cache) for n in (3, 7))
    np.testing.assert_array_equal(few.images, more.images[:3])
    np.testing.assert_array_equal(few.targets, more.targets[:3])
    assert len({image.tobytes() for image in more.images}) == 7


def test_no_number_of_a_scene_belongs_to_two_splits() -> None:
    # A scene that is drawn again gets a number that much higher, and so many times at most.
    reach = range(AGAIN * (TRIES - 1), AGAIN * TRIES)
    numbers = [range(split_numbers(s, range(1))[0], split_numbers(s, range(AGAIN))[-1] + reach.start) for s in SPLITS]
    for before, after in pairwise(numbers):
        assert before.stop < after.start
    assert numbers[-1].stop < 2**63


def test_no_two_scenes_of_any_split_or_seed_have_the_same_key() -> None:
    tries = torch.arange(3)[:, None] * AGAIN
    numbers = torch.cat([(torch.tensor(split_numbers(s, range(5000))) + tries).flatten() for s in SPLITS])
    keys = torch.cat([counter.keys(seed, numbers) for seed in (0, 1, 2, -1)])
    assert len(keys) == 180_000
    assert len(keys.unique()) == len(keys)


def test_splits_and_seeds_show_different_images(cache: Path) -> None:
    sets = [dataset(**SMALL, split=split, seed=seed, root=cache) for split in SPLITS for seed in (0, 1)]
    assert len({image.tobytes() for found in sets for image in found.images}) == 6 * SMALL["n"]


def test_styles_show_the_same_scenes(cache: Path) -> None:
    clean, night = (dataset("segmentation", n=4, size=32, style=style, root=cache) for style in ("clean", "night"))
    np.testing.assert_array_equal(clean.targets, night.targets)
    assert not np.array_equal(clean.images, night.images)


def test_two_processes_at_once_render_a_set_once(tmp_path: Path, children: ForkServerContext) -> None:
    arguments = {"task": "shapes", "n": 600, "size": 24}
    pair = [
        children.Process(
            target=makers.render, args=(tmp_path / "cache", tmp_path / f"{i}.npz", tmp_path / "log"), kwargs=arguments
        )
        for i in range(2)
    ]
    for child in pair:
        child.start()
    for child in pair:
        child.join()
        assert child.exitcode == 0
    steps = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [done for _, done, _ in steps] == [0, 256, 512, 600]
    assert len({process for process, _, _ in steps}) == 1
    first, second = (np.load(tmp_path / f"{i}.npz") for i in range(2))
    for name in ("images", "targets"):
        np.testing.assert_array_equal(first[name], second[name])


def test_a_set_that_was_killed_goes_on_to_the_same_bytes(tmp_path: Path, children: ForkServerContext) -> None:
    arguments = {"task": "shapes", "n": 1100, "size": 24}
    log = tmp_path / "log"
    for kill in range(3):
        child = children.Process(
            target=makers.render, args=(tmp_path / "cache", tmp_path / "0.npz", log), kwargs=arguments
        )
        child.start()
        while not log.exists() or log.read_text().count("\n") < 2 * (kill + 1):
            assert child.is_alive()
            time.sleep(0.002)
        time.sleep(0.02 * kill)
        child.kill()
        child.join()
    resumed = dataset(**arguments, root=tmp_path / "cache")
    whole = dataset(**arguments, root=tmp_path / "undisturbed")
    np.testing.assert_array_equal(resumed.images, whole.images)
    np.testing.assert_array_equal(resumed.targets, whole.targets)
    steps = [json.loads(line)[1] for line in log.read_text().splitlines()]
    assert steps[0] == 0
    assert steps == sorted(steps), "what was made is not made again"


def test_memory_does_not_grow_with_the_set(tmp_path: Path, children: ForkServerContext) -> None:
    grown = []
    for n in (300, 1500):
        out = tmp_path / f"{n}.txt"
        child = children.Process(target=makers.measure_dataset, args=(n, tmp_path / "cache", out))
        child.start()
        child.join()
        grown.append(float(out.read_text()))
    # All at once would be about 350 MB; a chunk is 70.
    assert grown[1] < grown[0] + 60, grown


def test_large_images_are_made_a_few_at_a_time(tmp_path: Path) -> None:
    seen = []
    dataset("attributes", n=5, size=(512, 500), root=tmp_path, hook=lambda done, n: seen.append(done))
    assert seen == [0, 4, 5]


def test_another_version_is_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset(**SMALL, root=tmp_path)
    before = folders(tmp_path)
    monkeypatch.setattr(world, "VERSION", world.VERSION + 1)
    dataset(**SMALL, root=tmp_path)
    assert before < folders(tmp_path)
    assert len(folders(tmp_path)) == 2


@pytest.mark.usefixtures("as_users_run_it")
def test_knobs_and_sizes_may_come_as_numpy_gives_them(tmp_path: Path) -> None:
    dataset("shapes", n=2, size=16, distractors=2, spread=1.25, seed=3, root=tmp_path)
    dataset(
        "shapes", n=np.int64(2), size=(np.int32(16), 16), distractors=np.int64(2), spread=np.float32(1.25),
        seed=np.int64(3), root=tmp_path,
    )  # fmt: skip
    dataset("same", n=2, size=16, distance=[0, 9], root=tmp_path)
    dataset("same", n=2, size=16, distance=(np.float32(0), np.float32(9)), root=str(tmp_path))
    assert len(folders(tmp_path)) == 2


# Items


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("task", TASKS)
def test_an_entry_is_an_image_in_0_to_1_and_an_answer(task: str, cache: Path) -> None:
    found = dataset(task, n=3, size=(32, 40), root=cache)
    images, answers = found.tensors()
    assert len(found) == len(images) == len(answers) == 3
    for i in (0, 2, -1, -3):
        image, answer = found[i]
        assert image.shape == (3, 32, 40)
        assert image.dtype == torch.float32
        assert 0 <= image.min() < image.max() <= 1
        assert torch.equal(image, images[i])
        if task == "captions":
            assert isinstance(answer, str)
            assert answer == answers[i]
        else:
            assert isinstance(answer, torch.Tensor)
            assert torch.equal(answer, answers[i])
    with pytest.raises(IndexError, match="index: expected less than 3; got 3"):
        found[3]
    with pytest.raises(IndexError, match="got -4"):
        found[-4]
    assert sum(1 for _ in found) == 3


def test_answers_are_what_the_column_says(cache: Path) -> None:
    sets = {task: dataset(task, n=3, size=32, root=cache) for task in TASKS}
    for task, found in sets.items():
        if found.targets.ndim == 1 and task != "captions":
            assert 0 <= found.targets.min() <= found.targets.max() < len(found.classes), task
    assert sets["segmentation"].targets.max() < len(sets["segmentation"].classes)
    clean = sets["restoration"].tensors()[1]
    assert isinstance(clean, torch.Tensor)
    assert clean.dtype == torch.float32
    assert 0 <= clean.min() < clean.max() <= 1


def test_an_entry_may_be_changed_without_harm_to_the_set(cache: Path) -> None:
    found = dataset(**SMALL, root=cache)
    image, answer = found[0]
    assert isinstance(answer, torch.Tensor)
    answer.zero_()
    image.zero_()
    assert found[0][0].max() > 0


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_makes_batches(workers: int, cache: Path) -> None:
    found = dataset(**SMALL, root=cache)
    loader = DataLoader(found, batch_size=5, num_workers=workers, multiprocessing_context="fork" if workers else None)
    batches = list(loader)
    assert [len(images) for images, _ in batches] == [5, 5, 2]
    assert torch.equal(torch.cat([images for images, _ in batches]), found.tensors()[0])
    texts = next(iter(DataLoader(dataset("captions", n=4, size=32, root=cache), batch_size=4)))[1]
    assert all(isinstance(text, str) for text in texts)


def test_a_pickled_set_is_small_and_reads_the_same_files(cache: Path) -> None:
    found = dataset("attributes", n=200, size=32, root=cache)
    packed = pickle.dumps(found)
    assert len(packed) < 4000 < found.images.nbytes
    again = pickle.loads(packed)
    assert isinstance(again.images, np.memmap) and not again.images.flags.writeable
    np.testing.assert_array_equal(again.images, found.images)
    np.testing.assert_array_equal(again.targets, found.targets)
    assert again.knobs == found.knobs and again.classes == found.classes


def test_a_set_says_what_it_is_without_its_pixels(cache: Path) -> None:
    words = repr(dataset(**SMALL, root=cache))
    assert words.startswith("WorldSet(task='attributes', split='train', style='clean', seed=0")
    assert "array" not in words
    assert "memmap" not in words


# Bad input


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"task": "shape"}, "task: expected one of shapes, .*; got 'shape'"),
        ({"split": "validation"}, "split: expected one of train, val, test; got 'validation'"),
        ({"style": "oil"}, "style: expected one of clean, .*; got 'oil'"),
        ({"n": 0}, "n: expected a whole number from 1 to .*; got 0"),
        ({"n": -1}, "n: expected .*; got -1"),
        ({"n": 1.5}, "n: expected .*; got 1.5"),
        ({"n": 2**32 + 1}, "n: expected a whole number from 1 to 4294967296; got"),
        ({"size": 8}, "size: expected a whole number from 16 to 512; got 8"),
        ({"size": 600}, "size: expected .*; got 600"),
        ({"size": (64, 8)}, "size: expected .*; got 8"),
        ({"size": (64, 64, 3)}, "size: expected .*; got"),
        ({"size": "64"}, "size: expected .*; got '64'"),
        ({"seed": 0.5}, "seed: expected .*; got 0.5"),
        ({"seed": 2**63}, "seed: expected .*; got"),
        ({"quality": "best"}, "quality: expected 'fast' or 'full'; got 'best'"),
        ({"colour": "red"}, "'shapes' has no knob colour; it has classes, distractors"),
        ({"distractors": 7}, "distractors: expected 0 to 6; got 7"),
        ({"distractors": "two"}, "distractors: expected a whole number; got 'two'"),
        ({"distractors": 1.5}, "distractors: expected a whole number; got 1.5"),
        ({"colour_bias": 1.1}, "colour_bias: expected a share between 0 and 1; got 1.1"),
        ({"colour_bias": "much"}, "colour_bias: expected a number; got 'much'"),
        ({"label_noise": float("nan")}, "label_noise: expected a share between 0 and 1; got nan"),
        ({"spread": 9.0}, "spread"),
        ({"classes": ("cube", "blob")}, "classes: expected some of sphere, .*; got blob"),
        ({"classes": 3}, "classes: expected words, or None; got 3"),
        ({"task": "majority", "objects": 4}, "objects: expected 3, 5 or 7"),
        ({"task": "same", "distance": 3.0}, "distance: expected values in brackets, like .*; got 3.0"),
        ({"task": "same", "distance": ("a", "b")}, "distance: expected numbers, like .*; got"),
        ({"task": "same", "distance": (0.0, float("inf"))}, "distance: expected numbers"),
        ({"task": "same", "distance": (None, 9.0)}, "distance: expected numbers"),
        ({"task": "attributes", "of": (["size"],)}, "of: expected some of shape"),
        ({"classes": (b"cube", "egg")}, "classes: expected words, or None; got .b'cube'"),
        ({"n": True}, "n: expected a whole number from 1 to .*; got True"),
        ({"task": ["shapes"]}, "task: expected one of shapes"),
        ({"style": ["clean"]}, "style: expected one of clean"),
        ({"task": "captions", "synonyms": "no"}, "synonyms: expected True or False; got 'no'"),
        ({"task": "restoration", "kind": "fog"}, "kind: expected one of noise, .*; got 'fog'"),
        ({"task": "restoration", "kind": 3}, "kind: expected a word; got 3"),
        ({"task": "restoration", "strength": 2.0}, "strength: expected a share between 0 and 1; got 2"),
    ],
)
def test_bad_input_is_refused_by_name_and_leaves_nothing(bad: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        dataset(**{"task": "shapes", "n": 4, "size": 16, "root": tmp_path} | bad)
    assert not folders(tmp_path)


def test_knobs_that_no_scene_fulfils_are_refused_soon(tmp_path: Path) -> None:
    start = time.process_time()
    words = (
        r"task 'same': scenes as these knobs ask for are too rare at 32 x 32 pixels: 0 of 256 were clear; .*'distance'"
    )
    with pytest.raises(ValueError, match=words):
        dataset("same", n=1000, size=32, distance=(8.9, 9.0), root=tmp_path)
    # 250 tries of the first 256 scenes would take a hundred times as long.
    assert time.process_time() - start < 5
    assert not folders(tmp_path)


def test_rare_scenes_are_searched_for_whatever_the_number_of_entries() -> None:
    task = world.TASKS["same"]
    knobs = knobs_of(task, {"distance": (2.2, 9.0)})
    found = [draw(task, knobs, "train", range(count), size=(32, 32)) for count in (1, 8)]
    for where, labels in found:
        apart = (where.objects.position[:, 0] - where.objects.position[:, 1]).norm(dim=-1)
        assert (apart >= 2.2).all()
        assert labels.counted[:, :2].all()
    (one, _), (eight, _) = found
    assert len(eight) == 8
    assert torch.equal(one.key, eight.key[:1])
    assert not torch.equal(eight.key, counter.keys(0, torch.arange(8))), "some were drawn again"
