"""Pre-processing: change each image a little before the network sees it; fragile triggers break, answers should not."""

from __future__ import annotations

import torch

from visionlab.protection.defences.case import Case, Finding
from visionlab.protection.robustness import STANDARD, changed
from visionlab.protection.victims import predictions

__all__ = ["examine"]


def examine(case: Case) -> Finding:
    """Accuracy under each change, and the share of answers that one changes; the score is the least such share.

    An owner reads from it which change is cheap enough to put before the network for good.
    """
    classify = case.predictor.probabilities
    before = predictions(classify, case.images)
    accuracy, moved = [], []
    for steps in STANDARD.values():
        after = predictions(classify, changed(case.images, steps, seed=case.seed))
        accuracy.append((after == case.labels).double().mean())
        moved.append((after != before).double().mean())
    moves = torch.stack(moved)
    details = {"accuracy": torch.stack(accuracy), "answers changed": moves}
    meaning = "share of clean answers that the gentlest change moves"
    return Finding("pre-processing", moves[1:].min().item(), meaning, moves, details)
