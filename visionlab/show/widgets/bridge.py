"""The two-way bridge of Mobile-Former: what each token reads, which token each pixel listens to, and wires to cut.

Python runs the network (a callable from picture and cuts to views of its blocks and scores), the page draws them. All
blocks travel with each answer, so that blocks and tokens are changed without the kernel; pictures and cuts are
questions to it. At most one question is on the way, and the newest waits for its turn.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
import traitlets as t
from PIL import Image

from visionlab.show import theme
from visionlab.show.bridge_words import WIRES, answer_words, block_words, no_cuts, strength
from visionlab.show.widgets.packed import check_image, colormap, module, png

if TYPE_CHECKING:
    from visionlab.experiments.mobile_former_probe import BlockView

__all__ = ["BridgeInspector", "Respond"]

Respond = Callable[[np.ndarray, Mapping[str, Any]], "tuple[Sequence[BlockView], Mapping[str, float]]"]
"""From an image (H, W, 3) of uint8 and cuts (wires by name, and ``silent``, a tuple of tokens) to views and scores."""

_LARGEST = 128  # longer side in pixels of a picture of the reader's own: as many maps travel as there are blocks
_YOURS = "yours"


class BridgeInspector(anywidget.AnyWidget):
    """Pictures to choose from; both directions of the bridge in each block over them; and what cuts do to the answer.

    ``picture``, ``block``, ``token`` and ``cuts`` may be set from Python as well, and ``own`` to the bytes of an image
    file, which then is the last picture (and ``own`` empty again); `readout` is what is on show.

    Args:
        pictures: by name, (H, W, 3) uint8.
        respond: called with a picture and its cuts; returns the views of the blocks, in order, and named scores in
            [0, 1]. It should take less than a tenth of a second.
        block: index of the block to begin with.
        token: index of the token to begin with.

    Raises:
        TypeError: a picture is no array, or ``respond`` cannot be called.
        ValueError: a picture, an index or an answer of ``respond`` does not fit; the message names it.
    """

    _esm = module("questions.js", "bridge.js")

    pictures = t.List(t.Dict()).tag(sync=True)
    picture = t.Int().tag(sync=True)
    own = t.CBytes().tag(sync=True)  # the page sends a memoryview
    largest = t.Int(_LARGEST).tag(sync=True)
    blocks = t.List(t.Dict()).tag(sync=True)
    block = t.Int().tag(sync=True)
    token = t.Int().tag(sync=True)
    wires = t.Dict().tag(sync=True)
    cuts = t.Dict().tag(sync=True)
    scores = t.List(t.Dict()).tag(sync=True)
    colours = t.List(t.Unicode()).tag(sync=True)
    colormap = t.Bytes().tag(sync=True)
    said = t.Unicode().tag(sync=True)
    answers = t.Int(0).tag(sync=True)

    def __init__(self, pictures: Mapping[str, np.ndarray], respond: Respond, *, block: int = 0, token: int = 0) -> None:
        if not callable(respond):
            raise TypeError(f"respond must be a callable (image, cuts) -> views, scores; got {type(respond).__name__}")
        if not pictures:
            raise ValueError("pictures must hold one picture or more; got none")
        for name, image in pictures.items():
            check_image(f"pictures: {name!r}", image)
        self._respond, self._images = respond, dict(pictures)
        self._uncut: dict[str, tuple[Sequence[BlockView], Mapping[str, float]]] = {}
        self._answered: tuple[int, Mapping[str, Any]] | None = None
        self._tokens = len(self._without_cuts(next(iter(pictures)))[0][0].tokens)
        if not 1 <= self._tokens <= len(theme.TOKENS):
            raise ValueError(f"respond must show 1 to {len(theme.TOKENS)} tokens; got {self._tokens}")
        first = self._look(0, no_cuts())
        for what, index, length in (("block", block, len(first["blocks"])), ("token", token, self._tokens)):
            _check_index(what, index, length)
        super().__init__(
            pictures=[{"name": name, "png": png(image)} for name, image in pictures.items()],
            block=block,
            token=token,
            wires=dict(WIRES),
            cuts=no_cuts(),
            colours=list(theme.TOKENS[: self._tokens]),
            colormap=colormap(),
            **first,
        )
        self.observe(self._answer, ["picture", "cuts"])
        self.observe(self._take_own, "own")

    def __repr__(self) -> str:
        return f"BridgeInspector({self.pictures[self.picture]['name']}: {self.readout})"

    @property
    def readout(self) -> str:
        """What the page says: of the token in the block, and of the answer."""
        return f"{self.blocks[self.block]['words'][self.token]} {self.said}"

    @t.validate("picture", "block", "token")
    def _valid_index(self, proposal: Any) -> int:
        name = proposal["trait"].name
        length = {"picture": len(self._images), "block": len(self.blocks), "token": self._tokens}[name]
        return _check_index(name, proposal["value"], length)

    @t.validate("cuts")
    def _valid_cuts(self, proposal: Any) -> dict[str, Any]:
        return _checked_cuts(proposal["value"], self._tokens)

    def _answer(self, _change: object) -> None:
        if self._answered == (self.picture, self.cuts):
            return  # one message may change both, and is one question
        self._answered = (self.picture, self.cuts)
        try:
            shown = self._look(self.picture, self.cuts)
        except Exception as error:
            # The page waits for an answer: a failure is one, and the learner must see it.
            self._fail(error)
            raise
        with self.hold_sync():
            for name, value in shown.items():
                setattr(self, name, value)
            self.answers += 1

    def _take_own(self, _change: object) -> None:
        if not self.own:
            return
        file, self.own = self.own, b""  # else the same file, sent again, would be no change
        try:
            image = Image.open(io.BytesIO(file)).convert("RGB")
            image.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
        except Exception as error:
            self._fail(error)
            raise ValueError(f"own must hold the bytes of an image file: {error}") from error
        self._uncut.pop(_YOURS, None)
        self._answered = None
        self._images[_YOURS] = np.asarray(image)
        with self.hold_sync():
            kept = [entry for entry in self.pictures if entry["name"] != _YOURS]
            self.pictures = [*kept, {"name": _YOURS, "png": png(self._images[_YOURS])}]
        self.picture = list(self._images).index(_YOURS)
        self._answer(None)  # where that is the place on show already

    def _fail(self, error: Exception) -> None:
        with self.hold_sync():
            self.said = f"No answer: {error}"
            self.answers += 1

    def _look(self, picture: int, cuts: Mapping[str, Any]) -> dict[str, Any]:
        """The answer for a picture in the form that travels."""
        name = list(self._images)[picture]
        views, before = self._without_cuts(name)
        after = before
        if cuts != no_cuts():
            views, scores = self._respond(self._images[name], dict(cuts))
            after = _checked_scores(scores)
        return {
            "blocks": [_packed(view, self._tokens, cuts, f"views[{i}]") for i, view in enumerate(views)],
            "scores": [{"name": key, "before": before[key], "after": after[key]} for key in before],
            "said": answer_words(before, after, cuts),
        }

    def _without_cuts(self, name: str) -> tuple[Sequence[BlockView], Mapping[str, float]]:
        """Views and scores of a picture with nothing cut, kept: answers with cuts stand beside them."""
        if name not in self._uncut:
            views, scores = self._respond(self._images[name], no_cuts())
            self._uncut[name] = views, _checked_scores(scores)
        return self._uncut[name]


def _check_index(what: str, index: int, length: int) -> int:
    if not 0 <= index < length:
        raise ValueError(f"{what} must be 0 to {length - 1}; got {index}")
    return index


def _checked_cuts(cuts: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    if set(cuts) != set(no_cuts()):
        raise ValueError(f"cuts must name {', '.join(no_cuts())}; got {', '.join(map(str, cuts)) or 'none'}")
    silent = tuple(int(token) for token in cuts["silent"])
    if not set(silent) <= set(range(tokens)) or len(set(silent)) == tokens:
        raise ValueError(f"cuts: silent must leave one of the tokens 0 to {tokens - 1}; got {silent}")
    return {name: bool(cuts[name]) for name in WIRES} | {"silent": silent}


def _checked_scores(scores: Mapping[str, float]) -> dict[str, float]:
    if not scores or not all(0 <= value <= 1 + 1e-6 for value in scores.values()):
        raise ValueError(f"respond must return named scores in [0, 1]; got {dict(scores)}")
    return {name: float(value) for name, value in scores.items()}


def _packed(view: BlockView, tokens: int, cuts: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Maps as bytes: 255 is the full `strength` of reading, and a weight of 1 of hearing."""
    if view.cosine.shape != (tokens, tokens):
        raise ValueError(f"{where}.cosine must be ({tokens}, {tokens}); got {view.cosine.shape}")
    read = None if view.reads is None else _checked_map(view.read, tokens, (1, 2), f"{where}.read")
    heard = None if view.hears is None else _checked_map(view.heard, tokens, 0, f"{where}.heard")
    return {
        "title": view.title,
        "read": None if read is None else _map(strength(read)),
        "heard": None if heard is None else _map(heard),
        "cosine": np.round(view.cosine.astype(float), 2).tolist(),
        "words": [block_words(view.title, read, heard, token, cuts) for token in range(tokens)],
    }


def _checked_map(weights: np.ndarray, tokens: int, over: int | tuple[int, int], where: str) -> np.ndarray:
    if weights.ndim != 3 or len(weights) != tokens:
        raise ValueError(f"{where} must have the shape ({tokens}, h, w); got {weights.shape}")
    if not (weights >= 0).all() or np.abs(weights.sum(axis=over) - 1).max() > 1e-2:
        raise ValueError(f"{where} must hold weights of at least 0 that sum to 1")
    return weights


def _map(shares: np.ndarray) -> dict[str, Any]:
    return {"size": list(shares.shape[1:]), "weights": np.rint(shares * 255).astype(np.uint8).tobytes()}
