"""Task data sets: made once and cached, or made as they are asked for, with splits that share no scene."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from visionlab.data.world import counter
from visionlab.data.world.degrade import degrade
from visionlab.data.world.layout import Edit, scenes
from visionlab.data.world.render import Quality, Render, render
from visionlab.data.world.scene import Scenes
from visionlab.data.world.store import Column, make
from visionlab.data.world.styles import STYLES
from visionlab.data.world.tasks import TASKS, Task, knobs_of

__all__ = ["SPLITS", "WorldSet", "dataset", "split_numbers"]

SPLITS = ("train", "val", "test")
AGAIN = 2**32  # a scene that is not clear enough is drawn again under a number this much higher
TRIES = 250
RARE = 0.1  # a smaller share of clear scenes, among 250 at least, and no more are drawn
CHUNK = 2**20  # pixels made at once, with all their labels: about 250 MB


def split_numbers(split: str, which: range) -> range:
    """The numbers of a split's scenes: each split has 2^40 of its own.

    Raises:
        ValueError: there is no such split, or it has no such entries.
    """
    if split not in SPLITS:
        raise ValueError(f"split: expected one of {', '.join(SPLITS)}; got {split!r}")
    if not 0 <= which.start <= which.stop <= AGAIN:
        raise ValueError(f"which: expected entries from 0 to {AGAIN}; got {which}")
    first = SPLITS.index(split) * 2**40
    return range(first + which.start, first + which.stop)


@dataclass(frozen=True, eq=False)
class WorldSet(Dataset[tuple[Any, ...]]):
    """A task's images and answers; entry i is (image, answer), tensors, or a caption as a string.

    Attributes:
        task, split, style, seed, knobs: what it is.
        images: (n, 3, H, W) uint8, mapped from the cache.
        targets: (n, ...) likewise.
        classes: names of the answers, where they are classes.
    """

    task: str
    split: str
    style: str
    seed: int
    knobs: Mapping[str, Any]
    images: np.ndarray = field(repr=False)
    targets: np.ndarray = field(repr=False)
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the names of the files, not what is in them: a process that loads data maps them anew."""
        files = [getattr(array, "filename", None) or np.asarray(array) for array in (self.images, self.targets)]
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        return _opened, (said | {"images": files[0], "targets": files[1]},)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "3 h w"], Tensor | str]:
        if not isinstance(index, (int, np.integer)):
            raise TypeError(f"index: expected a whole number; got {index!r}")
        if not -len(self) <= index < len(self):
            raise IndexError(f"index: expected less than {len(self)}; got {index}")
        image = torch.from_numpy(np.array(self.images[index])).float() / 255
        return image, self._answer(self.targets[index])

    def tensors(self) -> tuple[Float[Tensor, "n 3 h w"], Tensor | list[str]]:
        """All images in [0, 1] and all answers, in memory."""
        images = torch.from_numpy(np.array(self.images)).float().div_(255)
        if self.targets.dtype.kind == "S":
            return images, [text.decode() for text in self.targets]
        answers = torch.from_numpy(np.array(self.targets))
        return images, answers.float().div_(255) if TASKS[self.task].degrade else answers

    def _answer(self, target: Any) -> Tensor | str:
        if self.targets.dtype.kind == "S":
            return str(target.decode())
        answer = torch.from_numpy(np.array(target))
        return answer.float() / 255 if TASKS[self.task].degrade else answer


def _opened(said: dict[str, Any]) -> WorldSet:
    for name in ("images", "targets"):
        if not isinstance(said[name], np.ndarray):
            said[name] = np.lib.format.open_memmap(said[name], mode="r")
    return WorldSet(**said)


def dataset(
    task: str,
    split: str = "train",
    n: int = 1000,
    *,
    size: int | tuple[int, int] = 64,
    style: str = "clean",
    seed: int = 0,
    quality: Quality = "fast",
    root: str | Path | None = None,
    hook: Callable[[int, int], None] | None = None,
    device: torch.device | str = "cpu",
    **knobs: Any,
) -> WorldSet:
    """Return a task's data set, from the cache or made now; what was stopped goes on where it was.

    Args:
        task: one of `TASKS`.
        split: train, val or test: they never share a scene.
        n: entries; the first ones are the same for every n.
        size: side in pixels, or (height, width).
        style: one of `STYLES`: the same scenes in each.
        seed: of the whole family; another seed gives other scenes in every split.
        quality: of `visionlab.data.world.render`.
        root: folder of the cache.
        hook: called as ``hook(done, n)`` while the set is made; without one, a bar is shown on a terminal.
        device: where it is rendered.
        knobs: of the task, see ``TASKS[task].knobs``.

    Raises:
        ValueError: an argument is unknown or out of range.
        StoreError: the cache holds something else in this set's place.
        OSError: the cache cannot be written.
    """
    from visionlab.data.world import VERSION

    if task not in tuple(TASKS):
        raise ValueError(f"task: expected one of {', '.join(TASKS)}; got {task!r}")
    if style not in tuple(STYLES):
        raise ValueError(f"style: expected one of {', '.join(STYLES)}; got {style!r}")
    n, seed = _whole("n", n, 1, AGAIN), _whole("seed", seed, -(2**63), 2**63 - 1)
    split_numbers(split, range(n))
    height, width = size if isinstance(size, (tuple, list)) and len(size) == 2 else (size, size)
    side = (_whole("size", height, 16, 512), _whole("size", width, 16, 512))
    chosen = TASKS[task]
    settings = knobs_of(chosen, knobs)
    parameters = {"task": task, "split": split, "size": side, "style": style, "seed": seed, "quality": quality}
    arrays = make(
        parameters | {"knobs": settings, "version": VERSION},
        {"images": Column((3, *side), "uint8"), "targets": chosen.column(side, settings)},
        n,
        partial(_entries, chosen, settings, split, size=side, style=style, seed=seed, quality=quality, device=device),
        root=Path(root) if root else None,
        chunk=max(1, min(256, CHUNK // (side[0] * side[1]))),
        hook=hook or _bar(f"making {task}, {split}"),
    )
    return WorldSet(task, split, style, seed, settings, arrays["images"], arrays["targets"], chosen.classes(settings))


def _entries(task: Task, knobs: Mapping[str, Any], split: str, which: range, **how: Any) -> dict[str, np.ndarray]:
    """Some entries as they are stored; ``how`` they are drawn is for `draw`."""
    where, labels = draw(task, knobs, split, which, **how)
    images = degrade(labels, where.key, knobs["kind"], knobs["strength"]) if task.degrade else labels.image
    answers = task.target(where, labels, knobs, split == "train")
    return {
        "images": (images * 255).round().to(torch.uint8).cpu().numpy(),
        "targets": answers.cpu().numpy() if isinstance(answers, Tensor) else answers,
    }


def _bar(what: str) -> Callable[[int, int], None]:
    bar = tqdm(desc=what, unit="image", delay=1, disable=None)

    def hook(done: int, n: int) -> None:
        bar.total = n
        bar.update(done - bar.n)
        if done == n:
            bar.close()

    return hook


def _whole(argument: str, value: object, low: int, high: int) -> int:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{argument}: expected a whole number from {low} to {high}; got {value!r}")
    return int(value)


def _with_keys(edit: Edit, key: Tensor) -> Edit:
    return lambda _, things: edit(key, things)


def draw(
    task: Task,
    knobs: Mapping[str, Any],
    split: str,
    which: range,
    *,
    size: tuple[int, int],
    style: str = "clean",
    seed: int = 0,
    quality: Quality = "fast",
    device: torch.device | str = "cpu",
) -> tuple[Scenes, Render]:
    """Draw and render the scenes of some entries, each again until it is clear what the answer is.

    What the task edits, its answer among it, is drawn once: were it drawn again too, the answers that are seldom clear
    would become rare.

    Raises:
        ValueError: fewer than a tenth of the scenes that the knobs ask for are clear at this size.
    """
    numbers = torch.tensor(list(split_numbers(split, which)))
    factors = task.factors(knobs, split == "train")
    edit, first = factors.pop("edit"), counter.keys(seed, numbers)
    left, kept, drawn, found_clear = torch.arange(len(numbers)), [], 0, 0
    for _ in range(TRIES):
        found = scenes(seed, numbers[left], device=device, edit=_with_keys(edit, first[left].to(device)), **factors)
        picture = render(found, size, quality=quality, style=style)
        clear = task.clear(found, picture, knobs)
        kept.append((left[clear.cpu()], found[clear], picture[clear]))
        left = left[~clear.cpu()]
        if not len(left):
            places, where, pictures = zip(*kept, strict=True)
            order = torch.cat(places).argsort()
            return Scenes.cat(where)[order], Render.cat(pictures)[order]
        numbers[left] += AGAIN
        drawn, found_clear = drawn + len(clear), found_clear + int(clear.sum())
        if drawn >= TRIES and found_clear < RARE * drawn:
            break
    raise ValueError(
        f"task {task.name!r}: scenes as these knobs ask for are too rare at {size[0]} x {size[1]} pixels:"
        f" {found_clear} of {drawn} were clear; knobs {dict(knobs)}"
    )
