"""Sets as folders of files, in the forms that other programs read: class folders, COCO, pairs of images, a table."""

from __future__ import annotations

import csv
import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from visionlab.data.world.dataset import WorldSet
from visionlab.data.world.tasks import TASKS

__all__ = ["Form", "check", "export", "forms"]

Form = Literal["imagefolder", "coco", "pairs", "table"]
Tick = Callable[[int], None]


def forms(task: str) -> tuple[Form, ...]:
    """The forms in which a task's sets can be written, the usual one first.

    Raises:
        ValueError: there is no such task.
    """
    if task not in TASKS:
        raise ValueError(f"task: expected one of {', '.join(TASKS)}; got {task!r}")
    side = (32, 48)
    column = TASKS[task].column(side, TASKS[task].knobs)
    if column.dtype.startswith("S"):
        return ("coco", "table")
    if column.shape[-2:] == side:
        return ("pairs",)
    if len(column.shape) == 2:
        return ("coco",)
    return "imagefolder", "table"


def export(
    dataset: WorldSet,
    folder: str | Path,
    form: Form | None = None,
    *,
    hook: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a set as PNG files with their answers; beside them ``about.json`` says what it is.

    Args:
        dataset: of `visionlab.data.world.dataset`.
        folder: a new or an empty one.
        form: one of `forms`; the first of them by default.

            - imagefolder: ``CLASS/000123.png``, for `visionlab.data.images.load` and torchvision's ImageFolder. A class
              that this set has no image of has no folder: readers number the folders that are there, so export sets
              large enough to hold every class, the test set too.
            - coco: ``images/`` and ``instances_SPLIT.json`` (an area is that of the box) or ``captions_SPLIT.json``.
            - pairs: ``images/`` and, under the same names, ``masks/`` (classes as grey values), ``clean/``, or
              ``depth/`` (.npy, float32).
            - table: ``images/`` and ``answers.csv``.
        hook: called as ``hook(done, n)`` after each image.

    Returns:
        The folder; it appears when all of it is written.

    Raises:
        ValueError: sets of this task have no such form.
        FileExistsError: something lies in the folder, or in its place.
        OSError: it cannot be written, or the disk is full; nothing is left behind.
    """
    folder, form = check(dataset.task, folder, form)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}.part")
    try:
        temporary.mkdir(parents=True)
        WRITERS[form](dataset, temporary, lambda done: hook(done, len(dataset)) if hook else None)
        _write_json(temporary / "about.json", _about(dataset))
        if folder.exists():
            folder.rmdir()
        temporary.rename(folder)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, f"cannot write {folder}: {error.strerror or error}") from error
        raise
    return folder


def check(task: str, folder: str | Path, form: Form | None = None) -> tuple[Path, Form]:
    """Return the folder's full path and the form in which a set of a task would be written there.

    Raises:
        ValueError: sets of this task have no such form.
        FileExistsError: something lies in the folder, or in its place.
    """
    possible, folder = forms(task), Path(folder).expanduser().resolve()
    if form is not None and form not in possible:
        raise ValueError(f"form: a set of {task!r} is written as {' or '.join(possible)}; got {form!r}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"folder: expected a new or an empty one; something lies at {folder}")
    return folder, form or possible[0]


def _write_classes(dataset: WorldSet, folder: Path, tick: Tick) -> None:
    names = [dataset.classes[target] for target in dataset.targets]
    for name in set(names):
        (folder / name).mkdir()
    for done, _ in enumerate(_images(dataset.images, [folder / name for name in names]), start=1):
        tick(done)


def _write_coco(dataset: WorldSet, folder: Path, tick: Tick) -> None:
    height, width = dataset.images.shape[2:]
    content: dict[str, Any] = {"info": _about(dataset), "licenses": [], "images": []}
    for i, name in enumerate(_images(dataset.images, folder / "images")):
        content["images"].append({"id": i, "file_name": name, "width": width, "height": height})
        tick(i + 1)
    if dataset.targets.dtype.kind == "S":
        texts = [text.decode() for text in dataset.targets]
        content["annotations"] = [{"id": i + 1, "image_id": i, "caption": text} for i, text in enumerate(texts)]
        _write_json(folder / f"captions_{dataset.split}.json", content)
    else:
        content["categories"] = [{"id": i + 1, "name": name} for i, name in enumerate(dataset.classes)]
        content["annotations"] = list(_boxes(dataset.targets))
        _write_json(folder / f"instances_{dataset.split}.json", content)


def _boxes(targets: np.ndarray) -> Iterator[dict[str, Any]]:
    """COCO's annotations; numbers of annotations and classes begin at 1, since its tools take 0 for nothing."""
    for number, (image, slot) in enumerate(np.argwhere(targets[..., 4] >= 0), start=1):
        left, top, right, bottom, label = targets[image, slot].tolist()
        yield {
            "id": number,
            "image_id": int(image),
            "category_id": label + 1,
            "bbox": [left, top, right - left, bottom - top],
            "area": (right - left) * (bottom - top),
            "iscrowd": 0,
        }


def _write_pairs(dataset: WorldSet, folder: Path, tick: Tick) -> None:
    targets = dataset.targets
    depth, masks = targets.dtype.kind == "f", targets.ndim == 3
    answers = folder / ("depth" if depth else "masks" if masks else "clean")
    answers.mkdir()
    for i, name in enumerate(_images(dataset.images, folder / "images")):
        if depth:
            np.save((answers / name).with_suffix(".npy"), np.asarray(targets[i]))
        else:
            Image.fromarray(targets[i] if masks else targets[i].transpose(1, 2, 0)).save(answers / name)
        tick(i + 1)


def _write_table(dataset: WorldSet, folder: Path, tick: Tick) -> None:
    captions = dataset.targets.dtype.kind == "S"
    with (folder / "answers.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "caption" if captions else "class"])
        for i, name in enumerate(_images(dataset.images, folder / "images")):
            target = dataset.targets[i]
            table.writerow([name, target.decode() if captions else dataset.classes[target]])
            tick(i + 1)


WRITERS: dict[Form, Callable[[WorldSet, Path, Tick], None]] = {
    "imagefolder": _write_classes,
    "coco": _write_coco,
    "pairs": _write_pairs,
    "table": _write_table,
}


def _images(images: np.ndarray, below: Path | Sequence[Path]) -> Iterator[str]:
    """Write each image into the folder, or into one of its own, and give the file's name."""
    if isinstance(below, Path):
        below.mkdir()
        below = [below] * len(images)
    for i, (image, folder) in enumerate(zip(images, below, strict=True)):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{i:06d}.png")
        yield f"{i:06d}.png"


def _about(dataset: WorldSet) -> dict[str, Any]:
    from visionlab.data.world import VERSION

    about = {name: getattr(dataset, name) for name in ("task", "split", "style", "seed", "knobs", "classes")}
    return {"source": "visionlab, world", "version": VERSION, "question": TASKS[dataset.task].question, **about}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
