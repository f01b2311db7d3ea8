"""Fine-pruning: cut the channels that clean images leave idle, since a backdoor may live there (arXiv 1805.12185)."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from visionlab.predictor import Predictor
from visionlab.protection.defences.case import Case, Finding, features_of
from visionlab.protection.victims import predictions

__all__ = ["examine", "idle_first", "pruned"]


def idle_first(predictor: Predictor, images: Float[Tensor, "n 3 h w"]) -> Tensor:
    """Channels (C,) of the last features, those that clean images excite least first."""
    return features_of(predictor, images).abs().mean(0).argsort()


def pruned(predictor: Predictor, channels: Tensor) -> Predictor:
    """Return the predictor without some channels of its last features: what the last layer gets of them is zero."""
    model = copy.deepcopy(predictor.model)
    head = _last_layer(model)
    with torch.no_grad():
        head.weight[:, channels] = 0
    return Predictor(model, predictor.classes, predictor.size, predictor.mean, predictor.std)


def examine(case: Case, *, steps: int = 16, judge: Callable[[Predictor], float] | None = None) -> Finding:
    """Prune more and more of the idle channels; the score is the share that can go at a cost of four points.

    Args:
        case: the classifier; the first half of its images says which channels are idle, the other measures the cost.
        steps: points of the curve.
        judge: measures something else at each point, such as attack success where the trigger is known.
    """
    half = len(case.images) // 2
    order = idle_first(case.predictor, case.images[:half])
    shares = torch.linspace(0, 1, steps + 1)[:-1]
    accuracy, judged = [], []
    for share in shares.tolist():
        cut = pruned(case.predictor, order[: round(share * len(order))])
        right = predictions(cut.probabilities, case.images[half:]) == case.labels[half:]
        accuracy.append(right.double().mean().item())
        if judge is not None:
            judged.append(judge(cut))
    curve = torch.tensor(accuracy)
    idle = shares[curve >= curve[0] - 0.04].max().item()
    details = {"share pruned": shares, "accuracy": curve} | ({"judged": torch.tensor(judged)} if judged else {})
    meaning = "share of the last channels that can be cut at a cost of four points of accuracy"
    return Finding("fine-pruning", idle, meaning, order.argsort().float().neg(), details)


def _last_layer(model: nn.Module) -> nn.Linear:
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError(f"model: {type(model).__name__} has no linear layer to prune before")
    return linear[-1]
