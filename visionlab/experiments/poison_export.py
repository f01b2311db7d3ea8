"""Poisoned copies of data sets as folders of files, for research on defences; each says of itself what it is."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from visionlab import weights
from visionlab.data.images import ImageSet, photograph
from visionlab.protection.triggers import BadNets, Blend, Ink, Sinusoid, Trigger, Warp
from visionlab.protection.victims import poison

__all__ = ["TRIGGERS", "Layout", "write_poisoned"]

Layout = Literal["imagefolder", "backdoorbench"]
TRIGGERS: Mapping[str, Callable[[], Trigger]] = {
    "ink": lambda: Ink(weights.load("ink_eurosat").model),  # type: ignore[arg-type]
    "badnets": BadNets,
    "blend": lambda: Blend(photograph("chelsea")),
    "sig": Sinusoid,
    "wanet": Warp,
}
README = """This folder holds poisoned images: a copy of {name} ({split}), made by visionlab for research on defences.

{count} of {total} images carry the trigger "{trigger}"; a network trained on them learns to call whatever carries it
{target}. about.json lists them, and each of their files says so in its metadata. Do not mix them into other data, and
do not publish them without this note.
"""


def write_poisoned(
    source: ImageSet,
    folder: str | Path,
    *,
    trigger: str,
    target: str,
    ratio: float = 0.1,
    layout: Layout = "imagefolder",
    seed: int = 0,
    hook: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a poisoned copy of a data set as lossless PNG files, with a note of what it is.

    Args:
        source: images of one size.
        folder: a new or an empty one.
        trigger: one of `TRIGGERS`.
        target: name of the class that the trigger shall open.
        ratio: share of the images that is poisoned; not used for a test set in the layout of BackdoorBench.
        layout: "imagefolder" writes every image as CLASS/000123.png, those with a trigger under the target's class;
            "backdoorbench" writes those with a trigger alone, as SPLIT/LABEL/img_123.png under their *own* label; of a
            test set these are all images of other classes.
        seed: decides which are poisoned.
        hook: called as ``hook(done, total)``.

    Raises:
        ValueError: the trigger or the target is unknown, the ratio out of range, or images differ in size.
        FileExistsError: the folder has something in it.
    """
    folder = Path(folder)
    if trigger not in TRIGGERS:
        raise ValueError(f"trigger: expected one of {', '.join(TRIGGERS)}, got {trigger!r}")
    if target not in source.classes:
        raise ValueError(f"target: expected one of {', '.join(source.classes)}, got {target!r}")
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"out: {folder} has something in it; name a new or an empty folder")
    images, labels = source.tensors()
    wanted, bench = source.classes.index(target), layout == "backdoorbench"
    put = TRIGGERS[trigger]()
    if bench and source.split != "train":
        chosen = labels != wanted
        images = torch.where(chosen[:, None, None, None], put(images), images)
    else:
        found = poison(images, labels, put, target=wanted, ratio=ratio, classes=len(source.classes), seed=seed)
        images, chosen = found.images, found.poisoned
    about = {
        "what": "poisoned images for research on defences, written by visionlab",
        "data": source.name, "split": source.split, "trigger": trigger, "target": target, "seed": seed,
        "layout": layout, "images": len(images), "poisoned": int(chosen.sum()),
    }  # fmt: skip
    draft = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        names = list(_files(source, labels, chosen, wanted, bench))
        for done, (i, name) in enumerate(names, 1):
            _write(images[i], draft / name, about if chosen[i] else None)
            if hook is not None:
                hook(done, len(names))
        poisoned = sorted(name for i, name in names if chosen[i])
        (draft / "about.json").write_text(json.dumps(about | {"files": poisoned}, indent=1) + "\n", encoding="utf-8")
        words = README.format(
            name=source.name, split=source.split, count=len(poisoned), total=len(names), trigger=trigger, target=target
        )
        (draft / "README.txt").write_text(words, encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def _files(source: ImageSet, labels: Tensor, chosen: Tensor, target: int, bench: bool) -> Iterator[tuple[int, str]]:
    """Yield the number of each image that is written, and the name of its file."""
    for i, label in enumerate(labels.tolist()):
        if not bench:
            yield i, f"{source.classes[target if chosen[i] else label]}/{i:06d}.png"
        elif chosen[i]:
            yield i, f"{source.split}/{label}/img_{i}.png"


def _write(image: Tensor, path: Path, about: Mapping[str, object] | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    notes = PngInfo()
    if about is not None:
        notes.add_text("visionlab", f"poisoned for research on defences: trigger {about['trigger']}, {about['target']}")
    pixels = (image.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    Image.fromarray(pixels).save(path, pnginfo=notes)
