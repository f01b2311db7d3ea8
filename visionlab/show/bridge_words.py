"""What is said of the two-way bridge of Mobile-Former, of its cuts and of the answers; tokens are counted from 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["WIRES", "answer_words", "block_words", "cut_words", "no_cuts", "share_of_half", "strength"]

WIRES = {
    "reading": "reading (Mobile→Former)",
    "writing": "writing (Former→Mobile)",
    "former": "the Former",
    "slopes": "dynamic slopes",
}
"""What can be cut, in words; ``silent`` tokens come beside it."""


def no_cuts() -> dict[str, Any]:
    """Return cuts that cut nothing."""
    return dict.fromkeys(WIRES, False) | {"silent": ()}


def cut_words(cuts: Mapping[str, Any]) -> str:
    """Say what is cut, "nothing" if nothing is."""
    parts = [words for name, words in WIRES.items() if cuts[name]]
    parts += [f"the voice of token {token + 1}" for token in cuts["silent"]]
    return ", ".join(parts) or "nothing"


def strength(weights: np.ndarray) -> np.ndarray:
    """Return weights (M, h, w) of reading as strengths in [0, 1], token by token.

    1 is the strongest pixel, but at least four times an even share: who looks everywhere alike is to look pale.
    """
    even = 1 / (weights.shape[1] * weights.shape[2])
    return weights / np.maximum(weights.max(axis=(1, 2), keepdims=True), 4 * even)


def share_of_half(weights: np.ndarray) -> int:
    """Return the least number of pixels that together have half of the weight."""
    ordered = np.sort(weights.astype(float).ravel())[::-1]
    return int(np.searchsorted(np.cumsum(ordered), ordered.sum() / 2)) + 1


def block_words(
    title: str, read: np.ndarray | None, heard: np.ndarray | None, token: int, cuts: Mapping[str, Any]
) -> str:
    """Say what a token reads in a block, and how many pixels listen to it first.

    Args:
        title: of the block.
        read: (M, h, w), each sums to 1 over the pixels; None where nothing is read.
        heard: (M, h, w), sums to 1 over the tokens; None where nothing is written.
        token: which one.
        cuts: what is cut.
    """
    if read is None:
        reads = "reads nothing, for reading is cut" if cuts["reading"] else "reads nothing here"
    else:
        row, column = np.unravel_index(int(read[token].argmax()), read[token].shape)
        half, pixels = share_of_half(read[token]), read[token].size
        reads = f"has half of its reading on {half} of {pixels} pixels, most at row {row}, column {column}"
    if heard is None:
        hears = "nobody hears it, for writing is cut" if cuts["writing"] else "no pixel listens here"
    else:
        first = int((heard.argmax(axis=0) == token).sum())
        hears = f"{first} of {heard[token].size} pixels listen to it more than to any other"
        if token in cuts["silent"]:
            hears = "it is silenced"
    return f"{title}: token {token + 1} {reads}; {hears}."


def answer_words(before: Mapping[str, float], after: Mapping[str, float], cuts: Mapping[str, Any]) -> str:
    """Say the best answer, and with cuts also what it was without."""
    best, old = max(after, key=after.__getitem__), max(before, key=before.__getitem__)
    if cut_words(cuts) == "nothing":
        return f"Nothing is cut. Answer: {best} ({after[best]:.2f})."
    return f"Cut: {cut_words(cuts)}. Answer: {best} ({after[best]:.2f}); uncut it was {old} ({before[old]:.2f})."
