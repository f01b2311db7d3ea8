"""Grad-CAM: where the network looks (Selvaraju et al., arXiv 1610.02391), and whether that is always the same place.

A patch draws all looks to itself, whatever the image (SentiNet, arXiv 1812.00292). The score is the concentration of
the mean heat map: high if the looks at different images fall on one place.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from visionlab.predictor import Predictor
from visionlab.protection.defences.case import Case, Finding

__all__ = ["concentration", "examine", "heat_maps"]


def heat_maps(
    predictor: Predictor, images: Float[Tensor, "n 3 h w"], classes: Int[Tensor, " n"] | None = None
) -> Float[Tensor, "n h w"]:
    """Heat maps (N, H, W) in [0, 1] of what speaks for a class, by default the one that the network answers.

    The channels of the last map, weighted by the mean gradient of the class's logit, without what speaks against it.

    Raises:
        ValueError: the network's last features are no map (B, C, U, V).
    """
    model: Any = predictor.model
    found = []
    for i in range(0, len(images), 256):
        part = predictor.prepare(images[i : i + 256])
        with torch.enable_grad():
            maps = model.forward_features(part).detach().requires_grad_()
            if maps.ndim != 4:
                raise ValueError(f"model: Grad-CAM needs a last map (B, C, U, V), got {tuple(maps.shape)}")
            logits = model.forward_head(maps)
            wanted = logits.argmax(1) if classes is None else classes[i : i + 256].to(logits.device)
            (gradient,) = torch.autograd.grad(logits.gather(1, wanted[:, None]).sum(), maps)
        heat = (gradient.mean((2, 3), keepdim=True) * maps.detach()).sum(1, keepdim=True).relu()
        heat = F.interpolate(heat, part.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
        found.append((heat / heat.amax((1, 2), keepdim=True).clamp(min=1e-9)).cpu())
    return torch.cat(found)


def concentration(maps: Float[Tensor, "n h w"]) -> float:
    """How uneven the mean of heat maps is, from 0 (all places alike) to 1 (a single one): its Gini coefficient."""
    mean = maps.mean(0).flatten().sort().values.double()
    if mean.sum() <= 0:
        return 0.0
    n = len(mean)
    rank = torch.arange(1, n + 1, dtype=torch.float64)
    return float((2 * (rank * mean).sum() / (n * mean.sum())) - (n + 1) / n)


def examine(case: Case) -> Finding:
    """Score each class by the concentration of where the network looks for it."""
    answers = case.predictor.probabilities(case.images).argmax(1).cpu()
    scores = torch.zeros(len(case.predictor.classes))
    means = torch.zeros(len(case.predictor.classes), *case.images.shape[-2:])
    for label in answers.unique().tolist():
        maps = heat_maps(case.predictor, case.images[answers == label])
        scores[label] = concentration(maps)
        means[label] = F.interpolate(maps.mean(0)[None, None], case.images.shape[-2:])[0, 0]
    meaning = "how much the looks at different images of a class fall on one place (Gini coefficient)"
    return Finding("Grad-CAM", scores.max().item(), meaning, scores, {"mean heat maps": means}, by_class=scores)
