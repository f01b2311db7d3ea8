"""A network with all it needs to look at an ordinary image: its size, its normalisation, the names of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Predictor"]


@dataclass(frozen=True)
class Predictor:
    """Takes images in [0, 1] of any size, returns named scores.

    Args:
        model: takes normalised images (B, 3, size, size), returns logits (B, classes), or (B, places, classes).
        classes: a name for each output.
        size: side in pixels that images are resized to (shorter side, then the centre).
        mean: of each channel, subtracted.
        std: of each channel, divided by.
    """

    model: nn.Module
    classes: tuple[str, ...]
    size: int
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def prepare(self, images: Float[Tensor, "*b _ _ _"]) -> Float[Tensor, "b 3 s s"]:
        """Resize, crop and normalise images (B, 3, H, W) in [0, 1]; a single (3, H, W) is taken as a batch of one.

        Raises:
            TypeError: if they are no tensor.
            ValueError: if the shape or the range is another.
        """
        if not isinstance(images, Tensor):
            raise TypeError(
                f"images: expected a float tensor (3, H, W) or (B, 3, H, W) in [0, 1], got {type(images).__name__}"
            )
        images = images[None] if images.ndim == 3 else images
        if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape:
            raise ValueError(f"images: expected (B, 3, H, W) or (3, H, W), got shape {tuple(images.shape)}")
        low, high = images.min().item(), images.max().item()
        if not (low >= -1e-4 and high <= 1 + 1e-4):
            raise ValueError(f"images: expected values in [0, 1], got [{low:.3g}, {high:.3g}]")
        parameter = next(self.model.parameters())
        images = images.to(parameter)
        if images.shape[2:] != (self.size, self.size):
            scale = self.size / min(images.shape[2:])
            side = [max(self.size, round(s * scale)) for s in images.shape[2:]]
            images = F.interpolate(images, size=side, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
            top, left = ((s - self.size) // 2 for s in side)
            images = images[:, :, top : top + self.size, left : left + self.size]
        return self.normalise(images)

    def normalise(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Subtract the mean and divide by the deviation of each channel; images in [0, 1] keep their size."""
        mean, std = (images.new_tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return (images - mean) / std

    @torch.no_grad()
    def probabilities(self, images: Float[Tensor, "*b _ _ _"]) -> Float[Tensor, "b *places k"]:
        """Return the probability of each class, (B, classes); of each place if the network answers there."""
        return self.model(self.prepare(images)).softmax(dim=-1)

    def __call__(self, images: Float[Tensor, "*b _ _ _"], top: int = 5) -> list[dict[str, float]]:
        """Return the ``top`` classes of each image with their probabilities, best first.

        Raises:
            TypeError: if the images are no tensor.
            ValueError: if they have another shape or range, ``top`` is below 1, or the network answers at each place.
        """
        if top < 1:
            raise ValueError(f"top: expected a whole number >= 1, got {top}")
        found = self.probabilities(images)
        if found.ndim != 2:
            raise ValueError(
                f"model: expected one answer for each image, (B, classes), got shape {tuple(found.shape)};"
                " `.probabilities(images)` gives the answers for each place"
            )
        values, indices = found.topk(min(top, len(self.classes)))
        return [
            {self.classes[i]: float(v) for i, v in zip(index, value, strict=True)}
            for index, value in zip(indices.tolist(), values.tolist(), strict=True)
        ]

    @classmethod
    def from_timm(
        cls, name: str, *, classes: Sequence[str], checkpoint: str | Path | None = None, **kwargs: Any
    ) -> Predictor:
        """Build a registered network with the size and normalisation of its timm configuration.

        Args:
            name: as in ``timm.create_model``.
            classes: a name for each output.
            checkpoint: a file of weights, ours or published.
            kwargs: passed to the network.

        Raises:
            FileNotFoundError: if there is no such file of weights.
        """
        import timm

        if checkpoint and not Path(checkpoint).is_file():
            raise FileNotFoundError(f"checkpoint: there is no file {checkpoint}")
        model = timm.create_model(
            name, num_classes=len(classes), checkpoint_path=str(checkpoint) if checkpoint else "", **kwargs
        ).eval()
        cfg = model.pretrained_cfg
        return cls(model, tuple(classes), cfg["input_size"][-1], tuple(cfg["mean"]), tuple(cfg["std"]))
