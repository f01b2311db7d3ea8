"""How much an image differs from another, one value an image: PSNR, SSIM, and the distance that a network sees."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from kornia.metrics import ssim as ssim_map
from torch import Tensor

__all__ = ["feature_distance", "psnr", "ssim"]


@torch.no_grad()
def feature_distance(
    features: Callable[[Tensor], Tensor], images: Float[Tensor, "b c h w"], others: Float[Tensor, "b c h w"]
) -> Float[Tensor, " b"]:
    """How differently a network sees images: 1 - cosine (B,) of its features, from 0 to 2.

    Args:
        features: images to features (B, C).
        images: in [0, 1].
        others: in [0, 1].

    Raises:
        ValueError: if the shapes differ.
    """
    _check(images, others)
    pairs = zip(images.split(128), others.split(128), strict=True)
    return torch.cat([1 - F.cosine_similarity(features(a), features(b), dim=1) for a, b in pairs])


def psnr(
    images: Float[Tensor, "b c h w"], others: Float[Tensor, "b c h w"], *, highest: float = 100.0
) -> Float[Tensor, " b"]:
    """Peak signal-to-noise ratio (B,) in dB of images in [0, 1]; ``highest`` where they are equal.

    Raises:
        ValueError: if the shapes differ.
    """
    _check(images, others)
    error = (images - others).square().flatten(1).mean(1)
    return (-10 * torch.log10(error)).clamp(max=highest)


def ssim(images: Float[Tensor, "b c h w"], others: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """Structural similarity (B,) of images in [0, 1], in Gaussian windows of 11 pixels (Wang et al., 2004).

    Raises:
        ValueError: if the shapes differ, or a side is shorter than the window's reach.
    """
    _check(images, others)
    if min(images.shape[-2:]) < 8:
        raise ValueError(f"images: expected sides of 8 pixels or more, got {tuple(images.shape[-2:])}")
    return ssim_map(images, others, window_size=11).flatten(1).mean(1)


def _check(images: Tensor, others: Tensor) -> None:
    if images.shape != others.shape:
        raise ValueError(f"others: expected {tuple(images.shape)}, as images, got {tuple(others.shape)}")
