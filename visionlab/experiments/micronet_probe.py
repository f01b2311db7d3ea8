"""Look inside Dynamic Shift-Max: the functions that a trained MicroNet makes of its channels, image by image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from visionlab.backbones.micronet import MicroNet
from visionlab.backbones.micronet_shiftmax import Coefficients, DynamicShiftMax, circular_shift
from visionlab.watch import watch

__all__ = ["ShiftMaxView", "separable_share", "shift_max_views"]


@dataclass(frozen=True)
class ShiftMaxView:
    """One Dynamic Shift-Max with K branches and J shifts on N images.

    Args:
        name: where it stands, "block 3, behind the depthwise".
        coefficients: a of each image, (N, K, J, C): [:, 0, 0] is a1, [:, 0, 1] b1, [:, 1, 0] a2, [:, 1, 1] b2.
        offsets: alpha, (K, J), to which the network adds.
        neighbours: (C,), the channel that is mixed into each.
        second: share of the pixels where the second branch is the larger one, (N, C); zeros where there is one branch.
    """

    name: str
    coefficients: np.ndarray
    offsets: np.ndarray
    neighbours: np.ndarray
    second: np.ndarray

    @property
    def moves(self) -> float:
        """How far coefficients lie from their mean over the images: the deviation, averaged over all of them."""
        return float(self.coefficients.std(axis=0).mean())

    @property
    def text(self) -> str:
        """What there is to see, in a sentence."""
        branches = "two branches" if self.coefficients.shape[1] == 2 else "linear"
        return (
            f"{self.name}: {self.coefficients.shape[-1]} channels, {branches}; coefficients move by {self.moves:.2f}"
            f" from image to image, between {self.coefficients.min():.2f} and {self.coefficients.max():.2f}"
        )


@torch.no_grad()
def shift_max_views(model: MicroNet, images: Float[Tensor, "n 3 h w"]) -> list[ShiftMaxView]:
    """Return what every Dynamic Shift-Max of a network does on normalised images (N, 3, H, W), in order.

    Raises:
        ValueError: if the network has none whose coefficients depend on the image.
    """
    found = [
        (name, layer)
        for name, layer in model.named_modules()
        if isinstance(layer, DynamicShiftMax) and isinstance(layer.coefficients, Coefficients)
    ]
    if not found:
        raise ValueError("model: expected a MicroNet with Dynamic Shift-Max, got one without")
    inputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, given: inputs.update({name: given[0]})

    handles = [layer.register_forward_pre_hook(keep(name)) for name, layer in found]
    training = model.training
    try:
        with watch(model, *(f"{name}.coefficients" for name, _ in found)) as seen:
            model.eval()(images)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    titles = _titles(model)
    return [_view(titles[name], layer, inputs[name], seen[f"{name}.coefficients"]) for name, layer in found]


def _view(title: str, layer: DynamicShiftMax, x: Tensor, a: Tensor) -> ShiftMaxView:
    maps = torch.stack((x, circular_shift(x, layer.groups))[: layer.shifts])
    branches = torch.einsum("nkjc, jnchw -> knchw", a, maps)
    second = (branches[-1] > branches[0]).double().mean((2, 3))
    channels = torch.arange(x.shape[1])[None, :, None, None]
    return ShiftMaxView(
        title, a.cpu().numpy(), layer.coefficients.offsets[..., 0].cpu().numpy(),
        circular_shift(channels, layer.groups).flatten().numpy(), second.cpu().numpy(),
    )  # fmt: skip


def _titles(model: nn.Module) -> dict[str, str]:
    """Name each layer of a block in words, by its name in the network."""
    titles, number = {}, 0
    for s, stage in enumerate(model.get_submodule("stages").children()):
        for b, block in enumerate(stage.get_submodule("blocks").children()):
            number, before = number + 1, ""
            for name, _ in block.named_children():
                titles[f"stages.{s}.blocks.{b}.{name}"] = f"block {number}, behind {before}"
                before = {"expand": "the expansion", "depthwise": "the depthwise", "squeeze": "the squeeze"}.get(
                    name, before
                )
    return titles


def separable_share(model: nn.Module) -> dict[str, np.ndarray]:
    """Return what of each depthwise kernel one column times one row can hold: in percent of its energy, by layer.

    The nearest product is that of the largest singular value. Pairs of column and row hold all of theirs, so only
    k x k kernels are looked at.

    Raises:
        ValueError: if the network has no depthwise convolution of k x k, k > 1.
    """
    found = {}
    for name, layer in model.named_modules():
        if not isinstance(layer, nn.Conv2d) or layer.groups != layer.in_channels or min(layer.kernel_size) == 1:
            continue
        energy = torch.linalg.svdvals(layer.weight.detach().double()[:, 0]).square()
        found[name] = (100 * energy[:, 0] / energy.sum(dim=1)).cpu().numpy()
    if not found:
        raise ValueError("model: expected a network with k x k depthwise convolutions, got one without")
    return found
