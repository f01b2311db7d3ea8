"""Fine-tuning on a few clean images: a network may forget what clean images do not use."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F

from visionlab.predictor import Predictor
from visionlab.protection.defences.case import Case, Finding
from visionlab.protection.victims import predictions

__all__ = ["examine", "tuned"]


def tuned(case: Case, *, epochs: int = 10, batch: int = 32, rate: float = 0.02) -> Predictor:
    """Return the classifier after training on the first half of the case's clean images, with SGD."""
    predictor = case.predictor
    model = copy.deepcopy(predictor.model).train()
    half = len(case.images) // 2
    images, labels = case.images[:half], case.labels[:half]
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(case.seed)
    optimiser = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4)
    with torch.enable_grad():
        for _ in range(epochs):
            for chosen in torch.randperm(half, generator=generator).split(batch):
                if len(chosen) < 2:
                    continue  # batch norms cannot take a single image
                logits = model(predictor.normalise(images[chosen].to(device)))
                loss = F.cross_entropy(logits, labels[chosen].to(device))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    return Predictor(model.eval(), predictor.classes, predictor.size, predictor.mean, predictor.std)


def examine(
    case: Case, *, epochs: tuple[int, ...] = (1, 10), judge: Callable[[Predictor], float] | None = None
) -> Finding:
    """Tune for some epochs; the score is the share of answers that have changed after the last.

    Args:
        case: the classifier; half of its images tune it, the other half measures.
        epochs: after which to look.
        judge: measures something else each time, such as attack success where the trigger is known.
    """
    half = len(case.images) // 2
    images, labels = case.images[half:], case.labels[half:]
    before = predictions(case.predictor.probabilities, images)
    states = [case.predictor, *(tuned(case, epochs=n) for n in epochs)]
    answers = torch.stack([predictions(state.probabilities, images) for state in states])
    details = {
        "epochs": torch.tensor([0, *epochs]),
        "accuracy": (answers == labels).double().mean(1),
    }
    if judge is not None:
        details["judged"] = torch.tensor([judge(state) for state in states])
    moved = (answers[-1] != before).double().mean().item()
    return Finding(
        "fine-tuning", moved, "share of answers that tuning changes", (answers[-1] != before).float(), details
    )
