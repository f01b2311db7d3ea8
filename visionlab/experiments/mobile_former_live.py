"""What the pictures of lab 02 ask of a Mobile-Former: its bridge on any picture, and the majority on any board."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch
from einops import repeat
from torch import Tensor

from visionlab.backbones.mobile_former import MobileFormer
from visionlab.data.puzzles import COLOURS, IGNORED, from_picture, majority_colour, picture
from visionlab.experiments.mobile_former_majority import accuracy_of_squares
from visionlab.experiments.mobile_former_probe import BlockView, Cuts, answer, applied, look
from visionlab.predictor import Predictor

__all__ = [
    "boards", "bridge", "majority_under", "painted", "puzzle_bridge", "puzzle_pictures", "says_majority", "sides_taken",
]  # fmt: skip

CELLS, CELL, NOISE = 8, 4, 0.3
"""Of a board: cells along a side, pixels along a cell, deviation of the noise; those of `majority_colour`."""

Shown = tuple[tuple[BlockView, ...], dict[str, float]]


def bridge(predictor: Predictor) -> Callable[[np.ndarray, Mapping[str, Any]], Shown]:
    """Return what answers for pictures (H, W, 3) of uint8 and cuts: views of the blocks, and the class probabilities.

    Pictures keep their size.
    """
    model = cast(MobileFormer, predictor.model)

    def respond(image: np.ndarray, cuts: Mapping[str, Any]) -> Shown:
        x = predictor.normalise(_tensor(image))
        with applied(model, Cuts(**cuts)):
            scores = answer(model, x)[0].tolist()
            return look(model, x), dict(zip(predictor.classes, scores, strict=True))

    return respond


def puzzle_bridge(model: MobileFormer) -> Callable[[np.ndarray, Mapping[str, Any]], Shown]:
    """Return what answers for pictures of puzzles: views of the blocks, and what the squares say on the mean.

    A square speaks for its own colour as far as the network takes it for the majority's, else for the other one.
    """

    def respond(image: np.ndarray, cuts: Mapping[str, Any]) -> Shown:
        x = from_picture(_tensor(image))
        with applied(model, Cuts(**cuts)):
            sure = _by_cell(answer(model, x)[..., 1])
            views = look(model, x)
        colour = _by_cell((x[:, 0] - x[:, 1]).numpy())  # far above 0 on red squares, far below on green ones
        red = float(np.where(colour > 0, sure, 1 - sure)[abs(colour) > 1.5].mean())
        return views, {"red is the majority": red, "green is the majority": 1 - red}

    return respond


def says_majority(model: MobileFormer, seed: int = 0) -> Callable[[np.ndarray, Mapping[str, Any]], Any]:
    """Return what answers for boards and cuts: the picture (32, 32, 3), and each square's probability of "majority".

    Args:
        model: answers at each place, (B, 16, 16, 2).
        seed: of the noise, which stays the same when a square changes.
    """

    def respond(board: np.ndarray, cuts: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        x = painted(board, seed)
        return _picture(x)[0], _by_cell(answer(model, x, Cuts(**cuts))[..., 1])

    return respond


def boards(n: int, seed: int = 0) -> list[np.ndarray]:
    """Draw boards (8, 8) of the puzzle: 0 where there is no square, 1 for red, 2 for green."""
    found = []
    drawn = majority_colour(n, generator=torch.Generator().manual_seed(seed))
    for cells, colour, count in zip(drawn.cells, drawn.colour.tolist(), drawn.count.tolist(), strict=True):
        board = np.zeros((CELLS, CELLS), dtype=int)
        rows, columns = cells.T.numpy()
        board[rows, columns] = np.where(np.arange(len(cells)) < count, colour, 1 - colour) + 1
        found.append(board)
    return found


def painted(board: np.ndarray, seed: int = 0) -> Tensor:
    """Return a board as network input (1, 3, 32, 32), with noise."""
    colours = torch.tensor([(0.0, 0.0, 0.0), *COLOURS[:2]])[torch.as_tensor(board)]
    noise = torch.randn(1, 3, CELLS * CELL, CELLS * CELL, generator=torch.Generator().manual_seed(seed))
    return repeat(colours, "row column rgb -> 1 rgb (row y) (column x)", y=CELL, x=CELL) + NOISE * noise


def puzzle_pictures(found: list[np.ndarray], seed: int = 0) -> list[np.ndarray]:
    """Return boards as pictures (32, 32, 3) of uint8."""
    return [_picture(painted(board, seed))[0] for board in found]


def majority_under(model: MobileFormer, n: int = 256, **changes: Any) -> float:
    """Return how many places of squares a network labels rightly, in percent, on puzzles that it was not trained for.

    Args:
        model: answers at each place.
        n: number of puzzles.
        **changes: arguments of `majority_colour`.
    """
    drawn = majority_colour(n, generator=torch.Generator().manual_seed(1), **changes)
    return accuracy_of_squares(model, (drawn.images, drawn.labels))


def sides_taken(model: MobileFormer, cuts: Cuts, n: int = 200) -> tuple[float, float, float]:
    """Return, in percent: squares labelled rightly; boards on which nearly all squares say that red leads; or green.

    Args:
        model: answers at each place.
        cuts: wires to cut for this.
        n: boards.
    """
    drawn = majority_colour(n, generator=torch.Generator().manual_seed(1))
    says_most = answer(model, drawn.images, cuts)[..., 1] > 0.5
    labels, red_leads = drawn.labels.numpy(), (drawn.colour == 0).numpy()[:, None, None]
    asked = labels != IGNORED
    right = (says_most == (labels == 1))[asked].mean()
    # Who calls its own colour the majority's and has it, or neither, says what is so; else the contrary.
    says_red = (says_most == (labels == 1)) == red_leads
    shares = (says_red & asked).sum(axis=(1, 2)) / asked.sum(axis=(1, 2))
    return 100 * float(right), 100 * float((shares > 0.95).mean()), 100 * float((shares < 0.05).mean())


def _picture(x: Tensor) -> np.ndarray:
    return (picture(x) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def _tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None]


def _by_cell(places: np.ndarray) -> np.ndarray:
    """Return the mean over each cell of a map (1, h, w)."""
    side = places.shape[1] // CELLS
    return places[0].reshape(CELLS, side, CELLS, side).mean(axis=(1, 3))
