"""The board of the majority-colour puzzle: click a square, and see which squares a network takes for the majority.

Python paints the puzzle and runs the network (a callable from board and cuts), the page shows both. At most one
question is on the way, and the newest waits for its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anywidget
import numpy as np
import traitlets as t

from visionlab.show.bridge_words import WIRES, cut_words, no_cuts
from visionlab.show.widgets.packed import module, png

__all__ = ["COLOURS", "MajorityBoard", "Respond"]

COLOURS = ("red", "green")
"""Of the squares: a board holds 0 where there is none, 1 for red, 2 for green."""

Respond = Callable[[np.ndarray, Mapping[str, Any]], tuple[np.ndarray, np.ndarray]]
"""From a board (n, n) and cuts to the picture (H, W, 3) uint8 and, (n, n), the share that the network gives to "this
square is of the majority's colour", 0 to 1; what it gives for empty cells does not matter."""


class MajorityBoard(anywidget.AnyWidget):
    """A puzzle whose squares change colour when they are clicked, the network's answer, and wires to cut.

    ``puzzle``, ``board`` (a list of n * n numbers) and ``cuts`` may be set from Python as well; ``readout`` is the line
    on show.

    Args:
        boards: puzzles to step through, (n, n) each, 0 for no square, 1 for red, 2 for green.
        respond: called with a board and cuts; see `Respond`. It should take less than a tenth of a second.
        wires: which of `visionlab.show.bridge_words.WIRES` can be cut.

    Raises:
        TypeError: ``respond`` cannot be called.
        ValueError: a board, a wire or an answer of ``respond`` does not fit; the message names it.
    """

    _esm = module("questions.js", "majority.js")

    side = t.Int().tag(sync=True)
    puzzles = t.Int().tag(sync=True)
    puzzle = t.Int(0).tag(sync=True)
    board = t.List(t.Int()).tag(sync=True)
    wires = t.Dict().tag(sync=True)
    cuts = t.Dict().tag(sync=True)
    picture = t.Bytes().tag(sync=True)
    sure = t.List(t.Float()).tag(sync=True)
    majority = t.Int().tag(sync=True)
    readout = t.Unicode().tag(sync=True)
    answers = t.Int(0).tag(sync=True)

    def __init__(
        self, boards: Sequence[np.ndarray], respond: Respond, *, wires: Sequence[str] = ("reading", "writing")
    ) -> None:
        if not callable(respond):
            raise TypeError(f"respond must be a callable (board, cuts) -> picture, sure; got {type(respond).__name__}")
        if unknown := [name for name in wires if name not in WIRES]:
            raise ValueError(f"wires must be some of {', '.join(WIRES)}; got {unknown[0]!r}")
        self._boards = [_checked_board(board, f"boards[{i}]") for i, board in enumerate(boards)]
        if not self._boards or len({board.shape for board in self._boards}) > 1:
            raise ValueError(f"boards must be one or more of one size; got {[board.shape for board in self._boards]}")
        self._respond = respond
        super().__init__(
            side=len(self._boards[0]),
            puzzles=len(self._boards),
            board=self._boards[0].ravel().tolist(),
            wires={name: WIRES[name] for name in wires},
            cuts=no_cuts(),
            **self._look(self._boards[0], no_cuts()),
        )
        self.observe(self._answer, ["board", "cuts"])
        self.observe(self._turn_to, "puzzle")

    def __repr__(self) -> str:
        return f"MajorityBoard({self.readout})"

    @t.validate("puzzle")
    def _valid_puzzle(self, proposal: Any) -> int:
        if not 0 <= proposal["value"] < len(self._boards):
            raise ValueError(f"puzzle must be 0 to {len(self._boards) - 1}; got {proposal['value']}")
        return proposal["value"]

    @t.validate("board")
    def _valid_board(self, proposal: Any) -> list[int]:
        if len(proposal["value"]) != self.side**2:
            raise ValueError(f"board must hold {self.side**2} cells; got {len(proposal['value'])}")
        return _checked_board(self._square(proposal["value"]), "board").ravel().tolist()

    @t.validate("cuts")
    def _valid_cuts(self, proposal: Any) -> dict[str, Any]:
        cuts = dict(proposal["value"])
        if wrong := [name for name, value in cuts.items() if value and name not in self.wires]:
            raise ValueError(f"cuts must be some of {', '.join(self.wires)}; got {wrong[0]!r}")
        return no_cuts() | {name: bool(cuts.get(name, False)) for name in self.wires}

    def _square(self, cells: Sequence[int]) -> np.ndarray:
        return np.asarray(cells).reshape(self.side, self.side)

    def _turn_to(self, _change: object) -> None:
        self.board = self._boards[self.puzzle].ravel().tolist()

    def _answer(self, _change: object) -> None:
        try:
            shown = self._look(self._square(self.board), self.cuts)
        except Exception as error:
            # The page waits for an answer: a failure is one, and the learner must see it.
            with self.hold_sync():
                self.readout = f"No answer: {error}"
                self.answers += 1
            raise
        with self.hold_sync():
            for name, value in shown.items():
                setattr(self, name, value)
            self.answers += 1

    def _look(self, board: np.ndarray, cuts: Mapping[str, Any]) -> dict[str, Any]:
        picture, sure = self._respond(board, dict(cuts))
        if sure.shape != board.shape or not ((sure >= 0) & (sure <= 1))[board > 0].all():
            raise ValueError(f"respond must say {board.shape} shares in [0, 1]; got {sure.shape}")
        red, green = (int((board == colour).sum()) for colour in (1, 2))
        majority = 0 if red == green else 1 if red > green else 2
        right = int(((sure > 0.5) == (board == majority))[board > 0].sum()) if majority else 0
        verdict = (
            f"{COLOURS[majority - 1]} is the majority. The network labels {right} of {red + green} squares right."
            if majority
            else "a tie, which it was never asked about."
        )
        return {
            "picture": png(picture),
            "sure": [round(float(value), 3) for value in np.where(board > 0, sure, 0).ravel()],
            "majority": majority,
            "readout": f"Cut: {cut_words(cuts)}. {red} red, {green} green: {verdict}",
        }


def _checked_board(board: np.ndarray, where: str) -> np.ndarray:
    board = np.asarray(board)
    if board.ndim != 2 or board.shape[0] != board.shape[1] or not np.isin(board, (0, 1, 2)).all():
        raise ValueError(f"{where} must be square, of 0, 1 and 2; got {board.shape} with {np.unique(board).tolist()}")
    if not (board > 0).any():
        raise ValueError(f"{where} must hold one square or more; got none")
    return board
