"""What a trained MicroNet loses when the coefficients of its Dynamic Shift-Max are taken from it, or changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from visionlab.backbones.micronet_shiftmax import Coefficients

__all__ = ["ALTERED", "altered"]

Change = Callable[[Tensor, Tensor], Tensor]
"""From coefficients (B, K, J, C) and offsets (K, J, 1) to others."""


def without_neighbour(a: Tensor, _offsets: Tensor) -> Tensor:
    """The shifted channel is not heard."""
    a = a.clone()
    a[:, :, 1:] = 0
    return a


def of_another_image(a: Tensor, _offsets: Tensor) -> Tensor:
    """Each image gets the coefficients of the next in the batch."""
    return a.roll(1, 0)


def of_the_mean_image(a: Tensor, _offsets: Tensor) -> Tensor:
    """All images get the mean coefficients of the batch: learnt ones, that do not depend on the image."""
    return a.mean(0, keepdim=True).expand_as(a)


def only_offsets(a: Tensor, offsets: Tensor) -> Tensor:
    """The offsets alone, with which training began."""
    return offsets.expand_as(a)


ALTERED: dict[str, Change] = {
    "as trained": lambda a, _offsets: a,
    "the mean image's": of_the_mean_image,
    "another image's": of_another_image,
    "without the neighbour": without_neighbour,
    "the offsets alone": only_offsets,
}
"""Whose coefficients an image gets."""


@contextmanager
def altered(model: nn.Module, change: Change) -> Iterator[nn.Module]:
    """Let every Dynamic Shift-Max of a network compute with changed coefficients while the block runs.

    Args:
        model: with Dynamic Shift-Max.
        change: of the coefficients, for instance one of `ALTERED`.

    Raises:
        ValueError: if the network has none whose coefficients depend on the image.
    """
    branches = [layer for layer in model.modules() if isinstance(layer, Coefficients)]
    if not branches:
        raise ValueError("model: expected a MicroNet with Dynamic Shift-Max, got one without")
    handles = [branch.register_forward_hook(lambda layer, _inputs, a: change(a, layer.offsets)) for branch in branches]
    try:
        yield model
    finally:
        for handle in handles:
            handle.remove()
