"""Masks and boxes: the right scene has the right boxes, classes keep their colour, the words say what was found."""

from __future__ import annotations

import numpy as np
import pytest

from visionlab.show import theme
from visionlab.show.dense import COLOURS, masks_and_boxes


def shown(classes: tuple[str, ...] = ("sphere", "cube")) -> object:
    truth = np.zeros((2, 8, 8), dtype=np.uint8)
    truth[0, 2:4, 2:6] = 1
    found = truth.copy()
    found[0, 2:4, 2:4] = 2
    boxes = {"cswin": np.array([[0, 2, 2, 6, 4, 0], [1, 1, 1, 3, 3, 1.0]]), "shifted window": np.zeros((0, 6))}
    return masks_and_boxes(np.full((2, 8, 8, 3), 0.5), {"what is there": truth, "cswin": found}, boxes, classes)


def test_each_scene_has_its_own_boxes_and_each_name_a_row() -> None:
    fig = shown().fig  # type: ignore[attr-defined]
    axes = np.array(fig.axes).reshape(3, 2)
    rectangles = [[patch.get_bbox().extents.tolist() for patch in ax.patches] for ax in axes[0]]
    assert rectangles == [[[1.5, 1.5, 5.5, 3.5]], [[0.5, 0.5, 2.5, 2.5]]]
    assert axes[0, 0].patches[0].get_edgecolor()[:3] == pytest.approx(
        tuple(int(theme.color("method")[i : i + 2], 16) / 255 for i in (1, 3, 5))
    )
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["boxes", "what is there", "cswin"]
    colours = axes[2, 0].images[0].cmap(axes[2, 0].images[0].norm(np.array([0, 1, 2])))
    wanted = [[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in ("#303030", *COLOURS[:2])]
    assert np.allclose(colours[:, :3], wanted)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["sphere", "cube", "cswin", "shifted window"]


def test_the_words_say_how_much_is_right() -> None:
    assert "cswin: 96.9 % of the pixels as they are" in repr(shown())  # 4 of 128 are wrong
    assert "cswin: 2 boxes; shifted window: 0 boxes" in repr(shown())


def test_more_classes_than_colours_are_refused() -> None:
    with pytest.raises(ValueError, match="classes: expected at most 8, one a colour; got 9"):
        shown(tuple("abcdefghi"))
