"""Lab 00: what its predictions reveal, and its gap: the box around a mask."""

from __future__ import annotations

import torch
from torch import Tensor

from visionlab.data.world.labels import boxes_of
from visionlab.exercises.exercise import Answer, Exercise, Property, written

__all__ = ["EXERCISES", "REVEALED"]

REVEALED: dict[str, tuple[str | float, str]] = {
    "pixels": (
        16.0,
        "About one in six, hardly more often than guessing. Two pictures of one shape rarely agree pixel by pixel; what"
        " agrees most is the background, which says nothing of the shape.",
    ),
    "style": (
        "sketch",
        "A sketch has neither colour nor shading: lines alone, and hatching where it is dark. What the network learned"
        " from clean pictures is mostly not there. Toons and paper cut-outs keep the colours,"
        " and infrared pictures the outlines of objects.",
    ),
}
"""Answer and explanation of each prediction; kept here, so that the lab's own cell does not give them away."""


def box_of(mask: Tensor) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a mask (H, W); right and bottom lie outside; zeros if it is empty."""
    boxes, _ = boxes_of(mask[None, None])
    return tuple(boxes[0, 0].tolist())


def _block(height: int, width: int, rows: slice, columns: slice) -> Tensor:
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[rows, columns] = True
    return mask


def _expect(answer: Answer, mask: Tensor, what: str) -> str | None:
    got, expected = written(answer(mask)), box_of(mask)
    try:
        plain = tuple(int(x) for x in got)
    except (TypeError, ValueError):
        return f"expected four numbers (left, top, right, bottom), got {type(got).__name__}"
    return None if plain == expected else f"{what}: got {plain}, expected {expected}"


def _order(answer: Answer) -> str | None:
    return _expect(answer, _block(6, 9, slice(1, 3), slice(4, 9)), "rows 1-2 and columns 4-8 of a 6x9 image")


def _one(answer: Answer) -> str | None:
    return _expect(answer, _block(5, 5, slice(2, 3), slice(3, 4)), "the single pixel in row 2, column 3")


def _two(answer: Answer) -> str | None:
    mask = _block(8, 8, slice(0, 2), slice(1, 2)) | _block(8, 8, slice(6, 7), slice(5, 8))
    return _expect(answer, mask, "two separate spots of one object, which something hides in between")


def _empty(answer: Answer) -> str | None:
    return _expect(answer, torch.zeros(4, 4, dtype=torch.bool), "an empty mask")


SOLUTION = """
def box_of(mask):
    rows, columns = mask.nonzero(as_tuple=True)
    if len(rows) == 0:
        return 0, 0, 0, 0
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
"""

BOX = Exercise(
    name="world/box",
    task="write box_of.",
    library=(box_of,),
    properties=(
        Property("left, top, right, bottom", _order),
        Property("one pixel", _one),
        Property("two spots", _two),
        Property("nothing there", _empty),
    ),
    hints=(
        "`mask.nonzero(as_tuple=True)` gives the rows and the columns of all pixels that are set.",
        "Left and top are the smallest column and row, right and bottom the largest plus one. An empty mask has no"
        " smallest row: treat it first.",
        SOLUTION,
    ),
    wrong_answers=(
        (
            SOLUTION.replace(
                "int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1",
                "int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1",
            ),
            "got (1, 4, 3, 9), expected (4, 1, 9, 3)",
        ),
        (SOLUTION.replace(" + 1", ""), "got (4, 1, 8, 2), expected (4, 1, 9, 3)"),
        (SOLUTION.replace("columns.max()", "columns[-1]").replace("rows.min()", "rows[-1]"), "expected (4, 1, 9, 3)"),
        (SOLUTION.replace("    if len(rows) == 0:\n        return 0, 0, 0, 0\n", ""), "min()"),
    ),
)

EXERCISES = (BOX,)
