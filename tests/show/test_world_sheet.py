"""The contact sheet: every task's samples are on it, and its words say the answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from visionlab.data import world
from visionlab.show.world_sheet import sheet


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("task", sorted(world.TASKS))
def test_every_sample_is_drawn_with_its_answer(task: str, cache: Path) -> None:
    found = world.dataset(task, n=8, size=(24, 32), root=cache)
    shown = sheet(found, world.TASKS[task].question, count=7)
    drawn = [axis for axis in shown.fig.axes if axis.images]
    assert len(drawn) == 7
    for axis, image in zip(drawn, found.images, strict=False):
        np.testing.assert_allclose(axis.images[0].get_array()[:, :32], image.transpose(1, 2, 0) / 255)
    assert shown.alt.startswith(f"7 samples of {task}, train, clean: {world.TASKS[task].question}")
    titles = [axis.get_title(loc="center").replace("\n", " ") for axis in drawn]
    if task == "captions":
        assert titles == found.tensors()[1][:7]
    elif found.targets.ndim == 1:
        assert titles == [found.classes[target] for target in found.targets[:7]]
    elif task == "detection":
        for axis, boxes in zip(drawn, found.targets, strict=False):
            there = boxes[boxes[:, 4] >= 0]
            assert [text.get_text() for text in axis.texts] == [found.classes[label] for label in there[:, 4]]
            corners = {(*patch.get_xy(), patch.get_width(), patch.get_height()) for patch in axis.patches}
            assert corners == {(a - 0.5, b - 0.5, c - a, d - b) for a, b, c, d, _ in there.tolist()}
    else:
        assert drawn[0].images[0].get_array().shape == (24, 64, 3)


def test_maps_are_beside_their_images(cache: Path) -> None:
    found = world.dataset("segmentation", n=4, size=32, root=cache)
    axis = sheet(found, "?").fig.axes[0]
    colours = axis.images[0].get_array()[:, 32:].reshape(-1, 3)
    pairs = {(tuple(colour), label) for colour, label in zip(colours.tolist(), found.targets[0].flatten(), strict=True)}
    assert len(pairs) == len(np.unique(found.targets[0])) == len({colour for colour, _ in pairs})
    clean = world.dataset("restoration", n=4, size=32, root=cache)
    drawn = sheet(clean, "?").fig.axes[0].images[0].get_array()
    np.testing.assert_allclose(drawn[:, 32:], clean.targets[0].transpose(1, 2, 0) / 255)
    depth = world.dataset("depth", n=4, size=32, root=cache)
    assert np.isfinite(sheet(depth, "?").fig.axes[0].images[0].get_array()).all()
