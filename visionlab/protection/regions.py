"""Structure in classes: each pixel of an image belongs to one of them, or to none, and each class has its own ink.

Edges are one class. Regions are several, so that an image carries several symbols (arXiv 2108.02360 paints semantic
regions; how to find them is left to us). A map of classes holds 0 where there is no structure, else 1 to k.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from visionlab.protection.structure import LOWEST, QUANTILE, THRESHOLD, adaptive_threshold, sobel_magnitude

__all__ = ["class_means", "edge_map", "paint", "regions"]

SMOOTHING = 5
"""Pixels along a side of the window over which brightness is averaged: what is narrower is no region."""
MANY = 2**24
"""Values that torch's quantile refuses to sort."""


def edge_map(
    images: Float[Tensor, "b 3 h w"], *, outside: Float[Tensor, "b 1 h w"] | None = None
) -> Int[Tensor, "b 1 h w"]:
    """The edges of images in [0, 1] as the only class: 1 where `structure.edges` has one, else 0.

    It asks no question about the number of images, so that `torch.export` leaves it open.

    Args:
        images: of any size.
        outside: 1 where there is no image: no edge is there.
    """
    magnitude = sobel_magnitude(images)
    if outside is not None:
        magnitude = magnitude * (1 - outside)
    return (magnitude > _least_edge(magnitude)).long()


def regions(
    images: Float[Tensor, "b 3 h w"], k: int = 2, *, outside: Float[Tensor, "b 1 h w"] | None = None
) -> Int[Tensor, "b 1 h w"]:
    """Dark to bright regions 1 to k of images in [0, 1], about equally large, by quantiles of smoothed brightness.

    The rule knows no places, so regions move with the image. Brightness is the mean of the channels, which is what
    `hiding.ColourHider` never changes: with luminance, ink of two hues evens out what tells faint regions apart. A flat
    image is all region 1: the others are empty there.

    Args:
        images: of any size.
        k: how many regions.
        outside: 1 where there is no image, as in the corners of a turned one: 0 is given there, and none counts.

    Raises:
        ValueError: if there is to be no region.
    """
    if k < 1:
        raise ValueError(f"k: expected 1 region or more, got {k}")
    inside = torch.ones_like(images[:, :1]) if outside is None else 1 - outside
    # The mean is taken of what is inside the window and the image.
    share = _window_mean(inside).clamp(min=1e-6)
    smooth = _window_mean(images.mean(1, keepdim=True) * inside) / share
    # Sums in another order, as in a mirrored image, differ in the last bits.
    smooth = (smooth * 2**12).round() / 2**12
    ordered = torch.where(inside > 0, smooth, torch.inf).flatten(1).sort(1).values
    count = inside.flatten(1).sum(1).long()
    labels = torch.ones_like(smooth, dtype=torch.long)
    for i in range(1, k):
        last = (count * i // k - 1).clamp(min=0)
        labels += smooth > ordered.gather(1, last[:, None])[:, :, None, None]
    return torch.where(inside > 0, labels, 0)


def paint(labels: Int[Tensor, "b 1 h w"], inks: Float[Tensor, "b k 3"]) -> Float[Tensor, "b 3 h w"]:
    """The drawing t (B, 3, H, W): each class 1 to k in its ink, on white paper; as `structure.ink_pattern` for one."""
    white = torch.ones_like(inks[:, :1])
    palette = torch.cat([white, inks], 1)
    flat = palette.gather(1, labels.long().flatten(1)[..., None].expand(-1, -1, 3))
    return flat.transpose(1, 2).unflatten(2, labels.shape[-2:])


def class_means(
    drawing: Float[Tensor, "b 3 h w"], labels: Int[Tensor, "b 1 h w"], classes: int
) -> tuple[Float[Tensor, "b k 3"], Float[Tensor, "b k"]]:
    """Mean colour (B, K, 3) of a drawing over each class, white where it is empty, and its pixels (B, K)."""
    members = torch.stack([labels[:, 0] == i for i in range(1, classes + 1)], 1).to(drawing.dtype)
    area = members.sum((2, 3))
    total = torch.einsum("bkhw,bchw->bkc", members, drawing)
    return torch.where(area[..., None] > 0, total / area[..., None].clamp(min=1), 1), area


def _least_edge(magnitude: Tensor) -> Tensor:
    """`structure.adaptive_threshold`, one image after the other where torch's quantile refuses so many values."""
    if torch.compiler.is_exporting() or magnitude.numel() < MANY:  # an exported program asks nothing about sizes
        return adaptive_threshold(magnitude)
    last = magnitude[0].numel() - 1
    place = QUANTILE * last
    near = [
        [one.flatten().kthvalue(min(k, last) + 1).values for k in (int(place), int(place) + 1)] for one in magnitude
    ]
    low, high = torch.tensor(near).to(magnitude).T
    return torch.lerp(low, high, place % 1).clamp(LOWEST, THRESHOLD).view(-1, 1, 1, 1)


def _window_mean(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, SMOOTHING, stride=1, padding=SMOOTHING // 2, count_include_pad=False)
