"""STRIP: an answer that survives whatever is laid over the image was not given for the image (arXiv 1902.06531).

Clean images are added to an input, one after the other. For an honest input the answers scatter: their entropy is high.
If a trigger decides, they agree. A trigger that an addition washes out escapes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from visionlab.protection.defences.case import Case, Finding

__all__ = ["entropies", "examine"]


@torch.no_grad()
def entropies(
    probabilities: Callable[[Tensor], Tensor],
    inputs: Float[Tensor, "n 3 h w"],
    overlays: Float[Tensor, "m 3 h w"],
    *,
    count: int = 16,
    share: float = 0.5,
    seed: int = 0,
) -> Float[Tensor, " n"]:
    """Mean entropy (N,), in bits, of the answers to each input under ``count`` overlays; low is suspicious.

    Args:
        probabilities: images in [0, 1] to class probabilities (N, K).
        inputs: to be judged.
        overlays: clean images to lay over them.
        count: overlays an input.
        share: of each overlay that is added; what is brighter than white is cut off.
        seed: of the choice; the same overlays for every input, so that scores compare.
    """
    chosen = torch.randint(len(overlays), (count,), generator=torch.Generator().manual_seed(seed))
    total = torch.zeros(len(inputs))
    for overlay in overlays[chosen]:
        found = torch.cat([probabilities((part + share * overlay).clamp(0, 1)).cpu() for part in inputs.split(512)])
        total += -(found * found.clamp(min=1e-12).log2()).sum(1)
    return total / count


def examine(case: Case, *, count: int = 16, quantile: float = 0.01) -> Finding:
    """Share of the training images whose entropy is below nearly all clean ones, over the share expected."""
    assert case.training_images is not None
    probabilities = case.predictor.probabilities
    half = len(case.images) // 2
    overlays, honest = case.images[:half], case.images[half:]
    clean = entropies(probabilities, honest, overlays, count=count, seed=case.seed)
    suspect = entropies(probabilities, case.training_images, overlays, count=count, seed=case.seed)
    bound = clean.quantile(quantile)
    below = (suspect < bound).double().mean().item() / quantile
    meaning = f"training images below the lowest {100 * quantile:.0f} % of clean entropies, times what is expected"
    return Finding("STRIP", below, meaning, -suspect, {"clean entropies": clean, "training entropies": suspect})
