"""Dynamic Shift-Max (MicroNet, arXiv 2108.05894): the larger of two mixes of a channel with one of the next group.

y_i = max over k of sum over j of a[k, j, i](x) * x[i shifted by j groups], with coefficients that a squeeze-and-excite
branch reads off the input. The paper's formula shifts by C/G channels; the published weights were trained with a shift
that also rolls by one *inside* the group, and that is the one here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from visionlab.backbones.micronet_factorized import check_groups

__all__ = ["ACT_MAX", "Coefficients", "DynamicShiftMax", "Offsets", "circular_shift", "coefficient_width", "shift_max"]

ACT_MAX = 2.0  # a coefficient lies within its offset -+ ACT_MAX
Offsets = Sequence[Sequence[float]]
"""Offsets alpha of the coefficients, one row a branch k: (of the channel itself, of the shifted one)."""


def circular_shift(x: Shaped[Tensor, "b c h w"], groups: int) -> Shaped[Tensor, "b c h w"]:
    """Put in place of channel v of group u the channel v + 1 of group u + 1, both counted in a circle.

    Raises:
        ValueError: if ``groups`` does not divide the channels.
    """
    check_groups("circular_shift", x.shape[1], groups)
    grouped = rearrange(x, "b (u v) h w -> b u v h w", u=groups)
    return rearrange(grouped.roll((-1, -1), (1, 2)), "b u v h w -> b (u v) h w")


def shift_max(
    maps: Sequence[Float[Tensor, "b c h w"]], a: Float[Tensor, "b branches shifts c"]
) -> Float[Tensor, "b c h w"]:
    """Return max over k of sum over j of a[:, k, j] * maps[j], the definition of Dynamic Shift-Max.

    Args:
        maps: J maps (B, C, H, W): the channels themselves, then shifted.
        a: coefficients (B, K, J, C).
    """
    a = a[..., None, None]
    branches = [a[:, k, 0] * maps[0] for k in range(a.shape[1])]
    for j, shifted in enumerate(maps[1:], start=1):
        branches = [torch.addcmul(branch, a[:, k, j], shifted) for k, branch in enumerate(branches)]
    return reduce(torch.maximum, branches)


def coefficient_width(channels: int, reduction: int) -> int:
    """Return the hidden width of the coefficient branch: C/reduction in multiples of 4, at least 4.

    It is the nearest multiple, or the next one if that would be less than 90 % of C/reduction.
    """
    wanted = channels // reduction
    width = max(4, (wanted + 2) // 4 * 4)
    return width + 4 if width < 0.9 * wanted else width


class Coefficients(nn.Module):
    """The input-dependent coefficients (B, K, J, C): mean over the map, two linear layers, hard sigmoid, range, offset.

    Args:
        channels: C.
        hidden: width between the two linear layers.
        offsets: alpha, K rows of J numbers.
    """

    offsets: Tensor

    def __init__(self, channels: int, *, hidden: int, offsets: Offsets) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        # Not a part of the state dict: published files do not hold it.
        self.register_buffer("offsets", torch.tensor(offsets, dtype=torch.float)[..., None], persistent=False)
        self.fc2 = nn.Linear(hidden, self.offsets.numel() * channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b branches shifts c"]:
        """Return for each image, branch and shift one coefficient a channel, in [offset - 2, offset + 2]."""
        branches, shifts, _ = self.offsets.shape
        gate = F.hardsigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3))))))
        gate = rearrange(gate, "b (k j c) -> b k j c", k=branches, j=shifts)
        return 2 * ACT_MAX * (gate - 0.5) + self.offsets.to(gate.dtype)


class DynamicShiftMax(nn.Module):
    """Dynamic Shift-Max with as many branches K and shifts J as ``offsets`` has rows and columns.

    K = J = 2 is the paper's. K = 1 is its linear form, without a maximum; J = 1, without the shifted channel, is
    Dynamic ReLU.

    Args:
        channels: C.
        groups: G; the shifted channel is one of the next group.
        hidden: width of the coefficient branch.
        offsets: alpha, K rows of J numbers.

    Raises:
        ValueError: if ``groups`` does not divide ``channels``, or ``offsets`` has not rows of one or two numbers.
    """

    def __init__(self, channels: int, groups: int, *, hidden: int, offsets: Offsets = ((1.0, 0.0), (1.0, 0.0))) -> None:
        super().__init__()
        check_groups("groups of Dynamic Shift-Max", channels, groups)
        lengths = {len(row) for row in offsets}
        if lengths not in ({1}, {2}):
            raise ValueError(f"offsets: expected rows of one or of two numbers, got {offsets}")
        self.groups, self.shifts = groups, lengths.pop()
        self.coefficients = Coefficients(channels, hidden=hidden, offsets=offsets)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Return the activated maps."""
        maps = [x, circular_shift(x, self.groups)] if self.shifts == 2 else [x]
        return shift_max(maps, self.coefficients(x))

    def multiply_adds(self, x: Float[Tensor, "b c h w"]) -> int:
        """Count what the mixes of ``x`` cost, K * J for each number of the map, without the coefficient branch."""
        return self.coefficients.offsets.numel() * x.numel()
