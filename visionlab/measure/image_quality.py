"""How much an image differs from another, one value an image: PSNR, SSIM, LPIPS, and what a network sees."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
import torch.nn.functional as F
from jaxtyping import Float
from kornia.metrics import ssim as ssim_map
from torch import Tensor

__all__ = ["feature_distance", "lpips", "lpips_at_hand", "psnr", "ssim"]

LPIPS_SIDE = 32  # pixels; AlexNet's pooling leaves nothing of 30


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


def lpips_at_hand() -> bool:
    """Whether `lpips` has what it needs: AlexNet's weights in the cache of torch's hub."""
    return _alexnet_weights().is_file()


@torch.no_grad()
def lpips(images: Float[Tensor, "b 3 h w"], others: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
    """Learned perceptual distance (B,) in features of AlexNet (Zhang et al., arXiv 1801.03924); 0 where they are equal.

    It was fitted to patches of 64 pixels: values of other sizes compare with each other, not with published ones.
    Images whose shorter side has fewer than 32 pixels are enlarged to that, bilinearly, since AlexNet's pooling would
    leave nothing of them. Nothing is downloaded.

    Args:
        images: in [0, 1].
        others: in [0, 1].

    Raises:
        ValueError: if the shapes differ, there are not three channels, or a value is outside of [0, 1].
        RuntimeError: if the weights are absent; the message has the command that fetches them.
    """
    _check(images, others)
    for name, given in (("images", images), ("others", others)):
        if given.ndim != 4 or given.shape[1] != 3:
            raise ValueError(f"{name}: expected (B, 3, H, W), got {tuple(given.shape)}")
        if given.numel() and not (given.min() >= 0 and given.max() <= 1):
            raise ValueError(f"{name}: expected values in [0, 1], got {given.min():.3g} to {given.max():.3g}")
    weights = _alexnet_weights()
    if not weights.is_file():
        fetch = "from torchvision.models import alexnet; alexnet(weights='IMAGENET1K_V1')"
        raise RuntimeError(
            f'lpips: torchvision\'s AlexNet weights are not at {weights}; fetch 233 MB: python -c "{fetch}"'
        )
    shorter = min(images.shape[-2:])
    if shorter < LPIPS_SIDE:
        sides = [round(side * LPIPS_SIDE / shorter) for side in images.shape[-2:]]
        images, others = (F.interpolate(x, sides, mode="bilinear", align_corners=False) for x in (images, others))
    # One pair a call: over a batch torchmetrics sums or averages, and older ones know nothing else.
    measure = _lpips_network(weights).to(images.device)
    values = [measure(a, b).reshape(()) for a, b in zip(images.split(1), others.split(1), strict=True)]
    return torch.stack(values) if values else images.new_zeros(0)


def _alexnet_weights() -> Path:
    """The file in which torchvision keeps AlexNet's weights once they were downloaded."""
    from torchvision.models import AlexNet_Weights

    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(AlexNet_Weights.IMAGENET1K_V1.url).path).name


@cache
def _lpips_network(weights: Path) -> Any:
    """AlexNet with the layers fitted to judgements of people; one for each file of weights."""
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    return LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True)


def _check(images: Tensor, others: Tensor) -> None:
    if images.shape != others.shape:
        raise ValueError(f"others: expected {tuple(images.shape)}, as images, got {tuple(others.shape)}")
