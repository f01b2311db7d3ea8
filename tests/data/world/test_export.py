"""Sets as files: independent readers find the same images and answers, and a folder is written whole or not at all."""

from __future__ import annotations

import csv
import json
import stat
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from tests.data.world import makers
from visionlab.data import images, world
from visionlab.data.world.dataset import draw
from visionlab.data.world.export import export, forms

N, SIZE = 24, (32, 40)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def a_set(task: str, cache: Path, split: str = "train") -> world.WorldSet:
    return world.dataset(task, split, N, size=SIZE, root=cache)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture)


def check_images(found: world.WorldSet, folder: Path) -> None:
    files = sorted(folder.glob("*.png"))
    assert [path.name for path in files] == [f"{i:06d}.png" for i in range(N)]
    for path, image in zip(files, found.images, strict=True):
        np.testing.assert_array_equal(pixels(path), image.transpose(1, 2, 0))


def about(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "about.json").read_text())


def test_every_task_can_be_written_and_says_what_it_is(tmp_path: Path, cache: Path) -> None:
    for task in world.TASKS:
        found = a_set(task, cache)
        for form in (None, *forms(task)):
            folder = tmp_path / f"{task}-{form}"
            assert export(found, folder, form) == folder
            assert len(list(folder.rglob("*.png"))) in (N, 2 * N)
            said = about(folder)
            assert (said["task"], said["split"], said["seed"]) == (task, "train", 0)
            assert said["version"] == world.VERSION
            assert said["knobs"] == json.loads(json.dumps(found.knobs))


@pytest.mark.parametrize("task", ["shapes", "fine", "same"])
def test_class_folders_are_read_by_torchvision_and_by_our_own_reader(task: str, tmp_path: Path, cache: Path) -> None:
    found = a_set(task, cache)
    export(found, tmp_path / "set")
    wanted = {f"{i:06d}.png": (found.classes[int(answer)], image) for i, (image, answer) in enumerate(found)}
    theirs = ImageFolder(str(tmp_path / "set"))
    assert len(theirs) == N
    for (path, label), (picture, _) in zip(theirs.samples, theirs, strict=True):
        name, image = wanted[Path(path).name]
        assert theirs.classes[label] == name
        np.testing.assert_array_equal(np.asarray(picture), (image * 255).round().byte().permute(1, 2, 0).numpy())
    ours = images.load(tmp_path / "set")
    assert isinstance(ours.images, list)
    for path, (image, label) in zip(ours.images, ours, strict=True):
        assert ours.classes[label] == wanted[path.name][0]
        assert torch.equal(image, wanted[path.name][1])


def test_splits_beside_each_other_are_one_data_set(tmp_path: Path, cache: Path) -> None:
    for split in ("train", "test"):
        export(a_set("same", cache, split), tmp_path / "same" / split)
    train, test = (images.load(tmp_path / "same", split) for split in ("train", "test"))
    assert train.classes == test.classes == ("different", "same")
    assert len(train) == len(test) == N


def test_boxes_are_the_extent_of_the_objects_masks(tmp_path: Path, cache: Path) -> None:
    found = a_set("detection", cache, "test")
    folder = export(found, tmp_path / "set", "coco")
    check_images(found, folder / "images")
    content = json.loads((folder / "instances_test.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    assert list(names.values()) == list(found.classes)
    assert min(names) == 1
    assert [image["file_name"] for image in content["images"]] == [f"{i:06d}.png" for i in range(N)]
    assert {(image["width"], image["height"]) for image in content["images"]} == {(SIZE[1], SIZE[0])}
    scenes, labels = draw(world.TASKS["detection"], found.knobs, "test", range(N), size=SIZE)
    wanted = []
    for i in range(N):
        for slot in labels.counted[i].nonzero()[:, 0].tolist():
            rows, columns = np.nonzero(labels.instance[i].numpy() == slot)
            left, top = int(columns.min()), int(rows.min())
            box = [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top]
            wanted.append((i, found.classes[scenes.objects.shape[i, slot]], box))
    notes = content["annotations"]
    assert {name for _, name, _ in wanted} >= {found.classes[0], found.classes[-1]}, "too few to tell"
    assert [(note["image_id"], names[note["category_id"]], note["bbox"]) for note in notes] == wanted
    assert [note["id"] for note in notes] == list(range(1, len(wanted) + 1))
    for note in notes:
        assert note["area"] == note["bbox"][2] * note["bbox"][3] > 0
        assert note["iscrowd"] == 0


def test_masks_lie_under_the_names_of_their_images(tmp_path: Path, cache: Path) -> None:
    found = a_set("segmentation", cache)
    folder = export(found, tmp_path / "set")
    check_images(found, folder / "images")
    names = about(folder)["classes"]
    assert names[0] == "background"
    scenes, labels = draw(world.TASKS["segmentation"], found.knobs, "train", range(N), size=SIZE)
    for i in range(N):
        mask = pixels(folder / "masks" / f"{i:06d}.png")
        assert mask.dtype == np.uint8
        assert mask.shape == SIZE
        assert ((mask > 0) == (labels.instance[i].numpy() >= 0)).all()
        there = {
            world.vocabulary.SHAPE_NAMES[scenes.objects.shape[i, k]] for k in labels.instance[i].unique() if k >= 0
        }
        assert {names[value] for value in np.unique(mask)} - {"background"} == there


def test_depth_and_clean_images_lie_under_the_names_of_their_images(tmp_path: Path, cache: Path) -> None:
    depth, restoration = a_set("depth", cache), a_set("restoration", cache)
    one, two = export(depth, tmp_path / "depth"), export(restoration, tmp_path / "restoration", "pairs")
    for i in range(N):
        np.testing.assert_array_equal(np.load(one / "depth" / f"{i:06d}.npy"), depth.targets[i])
        np.testing.assert_array_equal(pixels(two / "clean" / f"{i:06d}.png"), restoration.targets[i].transpose(1, 2, 0))
    check_images(depth, one / "images")
    check_images(restoration, two / "images")


def test_captions_are_cocos(tmp_path: Path, cache: Path) -> None:
    found = a_set("captions", cache, "val")
    folder = export(found, tmp_path / "set")
    check_images(found, folder / "images")
    content = json.loads((folder / "captions_val.json").read_text())
    files = {image["id"]: image["file_name"] for image in content["images"]}
    said = {files[note["image_id"]]: note["caption"] for note in content["annotations"]}
    assert said == {f"{i:06d}.png": text for i, (_, text) in enumerate(found)}
    assert len({note["id"] for note in content["annotations"]}) == N


def test_tables_say_the_answers_in_words(tmp_path: Path, cache: Path) -> None:
    for task in ("attributes", "captions"):
        found = a_set(task, cache)
        folder = export(found, tmp_path / task, "table")
        check_images(found, folder / "images")
        with (folder / "answers.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["file"] for row in rows] == [f"{i:06d}.png" for i in range(N)]
        if task == "captions":
            assert [row["caption"] for row in rows] == found.tensors()[1]
        else:  # what the scenes themselves say of their only object
            scenes, _ = draw(world.TASKS[task], found.knobs, "train", range(N), size=SIZE)
            things, sizes = scenes.objects, list(world.vocabulary.SIZES)
            colours = [list(world.vocabulary.COLOURS)[i] for i in things.colour[:, 0]]
            words = [f"{sizes[i]} {colour}" for i, colour in zip(things.size[:, 0], colours, strict=True)]
            assert [row["class"] for row in rows] == words


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path, cache: Path) -> None:
    found = a_set("shapes", cache)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("mine", "file"):
        with pytest.raises(
            FileExistsError, match=rf"folder: expected a new or an empty one; something lies at .*{name}"
        ):
            export(found, tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "file"}
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    export(found, tmp_path / "empty")
    export(found, tmp_path / "a" / "deep" / "one")
    assert len(images.load(tmp_path / "empty")) == len(images.load(tmp_path / "a" / "deep" / "one")) == N


def test_the_folder_is_as_open_as_any_other(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "other").mkdir()
    export(a_set("shapes", cache), tmp_path / "set")
    assert stat.S_IMODE((tmp_path / "set").stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


@pytest.mark.usefixtures("as_users_run_it")
def test_a_form_that_a_task_has_not_is_refused_by_name(tmp_path: Path, cache: Path) -> None:
    for task, form, has in (
        ("shapes", "coco", "imagefolder or table"),
        ("detection", "imagefolder", "coco"),
        ("segmentation", "coco", "pairs"),
        ("attributes", "zip", "imagefolder or table"),
    ):
        with pytest.raises(ValueError, match=f"form: a set of '{task}' is written as {has}; got '{form}'"):
            export(a_set(task, cache), tmp_path / "set", form)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"task: expected one of shapes, .*; got 'shape'"):
        forms("shape")
    assert not list(tmp_path.iterdir())


def test_progress_is_told_image_by_image(tmp_path: Path, cache: Path) -> None:
    for task in ("shapes", "detection", "depth", "attributes"):
        seen: list[tuple[int, int]] = []
        export(a_set(task, cache), tmp_path / task, hook=lambda done, n, seen=seen: seen.append((done, n)))
        assert seen == [(i, N) for i in range(1, N + 1)]


def test_what_is_stopped_or_finds_no_room_leaves_nothing(
    tmp_path: Path, cache: Path, children: ForkServerContext
) -> None:
    def stop(done: int, n: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(a_set("shapes", cache), tmp_path / "set", hook=stop)
    assert not list(tmp_path.iterdir())
    a_set("detection", cache)
    said = tmp_path / "said.txt"
    child = children.Process(
        target=makers.export_up_to, args=(2000, cache, tmp_path / "set", said, "detection", N, SIZE)
    )
    child.start()
    child.join()
    assert said.read_text().startswith(f"[Errno 27] cannot write {tmp_path / 'set'}: File too large")
    assert [path.name for path in tmp_path.iterdir()] == ["said.txt"]
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write .*file/set: "):
        export(a_set("shapes", cache), tmp_path / "file" / "set")
