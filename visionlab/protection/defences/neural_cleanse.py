"""Neural Cleanse: a class with a backdoor is reached by a far smaller patch than any other (Wang et al., S&P 2019).

For each class a mask and a pattern are sought that send every image there, with the mask as small as possible. A class
whose mask is much smaller than the others' is suspicious: the outlier is measured in median absolute deviations.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from visionlab.predictor import Predictor
from visionlab.protection.defences.case import Case, Finding

__all__ = ["Reversed", "anomaly_index", "examine", "reverse"]


@dataclass(frozen=True)
class Reversed:
    """The smallest patch found for a class: mask (H, W) in [0, 1], pattern (3, H, W), and how often it works."""

    mask: Float[Tensor, "h w"]
    pattern: Float[Tensor, "3 h w"]
    success: float

    @property
    def size(self) -> float:
        """Sum of the mask, in pixels."""
        return self.mask.sum().item()


def reverse(
    predictor: Predictor,
    images: Float[Tensor, "n 3 h w"],
    target: int,
    *,
    steps: int = 200,
    batch: int = 48,
    rate: float = 0.1,
    wanted: float = 0.95,
    seed: int = 0,
) -> Reversed:
    """Seek the smallest patch that sends images to a class.

    Args:
        predictor: the network.
        images: clean ones in [0, 1], of the network's size.
        target: the class.
        steps: of Adam.
        batch: images a step.
        rate: learning rate.
        wanted: share of images that the patch must send there; the weight of the mask's size grows while it does,
            and shrinks while it does not.
        seed: of start and batches.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = images.shape[-2:]
    raw_mask = (torch.randn(1, 1, height, width, generator=generator) * 0.1).to(images).requires_grad_()
    raw_pattern = (torch.randn(1, 3, height, width, generator=generator) * 0.1).to(images).requires_grad_()
    optimiser = torch.optim.Adam([raw_mask, raw_pattern], lr=rate, betas=(0.5, 0.9))
    weight, recent, best = 1e-3, 0.0, None
    for step in range(steps):
        chosen = torch.randint(len(images), (batch,), generator=generator)
        mask, pattern = raw_mask.sigmoid(), raw_pattern.sigmoid()
        logits = predictor.model(predictor.normalise((1 - mask) * images[chosen] + mask * pattern))
        wrong = F.cross_entropy(logits, torch.full((batch,), target, device=logits.device))
        optimiser.zero_grad()
        (wrong + weight * mask.sum()).backward()
        optimiser.step()
        hit = (logits.argmax(1) == target).double().mean().item()
        recent = hit if step == 0 else 0.7 * recent + 0.3 * hit
        if recent >= wanted and (best is None or mask.sum().item() < best.size):
            best = Reversed(mask.detach()[0, 0].cpu(), pattern.detach()[0].cpu(), recent)
        if step % 10 == 9:
            weight = weight * 1.5 if recent >= wanted else weight / 1.5
    return best or Reversed(raw_mask.detach().sigmoid()[0, 0].cpu(), raw_pattern.detach().sigmoid()[0].cpu(), recent)


def anomaly_index(sizes: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """Distance of each size from the median in median absolute deviations (times 1.4826); below -2 is suspicious.

    Of logarithms, unlike in the paper: the masks of honest classes differ by factors, so that the deviation of the
    sizes themselves is too large for any to stand out at the small end.
    """
    scale = sizes.clamp(min=1e-6).log()
    median = scale.quantile(0.5)
    deviation = 1.4826 * (scale - median).abs().quantile(0.5)
    return (scale - median) / deviation.clamp(min=1e-9)


def examine(case: Case, *, steps: int = 200) -> Finding:
    """Seek a patch for each class; the score is the largest negative anomaly index."""
    images = case.images.to(next(case.predictor.model.parameters()))
    found = [
        reverse(case.predictor, images, target, steps=steps, seed=case.seed)
        for target in range(len(case.predictor.classes))
    ]
    sizes = torch.tensor([each.size for each in found])
    index = anomaly_index(sizes)
    details = {
        "mask sizes": sizes,
        "masks": torch.stack([each.mask for each in found]),
        "patterns": torch.stack([each.pattern for each in found]),
        "success": torch.tensor([each.success for each in found]),
    }
    meaning = "how far the smallest patch of a class lies below the median of all, in median absolute deviations"
    return Finding("Neural Cleanse", -index.min().item(), meaning, -index, details, by_class=-index)
