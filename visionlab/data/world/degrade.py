"""Clean images made worse, by strength: the pairs on which image-processing networks are trained."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from visionlab.data.world import counter
from visionlab.data.world.precision import in_float32
from visionlab.data.world.render import Render
from visionlab.data.world.styles import blur, gaussian_noise, grid, restyle

__all__ = ["KINDS", "degrade"]

OWN = 1_000_003  # added to keys: the noise of a degradation is not the one that the style drew


@in_float32
def degrade(picture: Render, key: Int[Tensor, " n"], kind: str, strength: float) -> Float[Tensor, "n 3 h w"]:
    """The images of a render, degraded, in [0, 1]; what is random follows from the scenes' keys.

    Args:
        picture: of `visionlab.data.world.render`.
        key: of its scenes.
        kind: one of `KINDS`.
        strength: from 0, which leaves the image as it is, to 1.

    Raises:
        ValueError: no such kind, or a strength out of range.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}; got {kind!r}")
    if not 0 <= strength <= 1:
        raise ValueError(f"strength: expected a number between 0 and 1; got {strength}")
    if strength == 0:  # to linear light and back, for one, is not the identity to the last bit
        return picture.image.clone()
    return KINDS[kind](picture, key + OWN, strength).clamp(0, 1)


def _noise(picture: Render, key: Tensor, strength: float) -> Tensor:
    return picture.image + 0.35 * strength * gaussian_noise(picture.image, key)


def _rain(picture: Render, key: Tensor, strength: float) -> Tensor:
    """Slanting streaks, each as long as a sixth of the image, brighter than what is behind them."""
    y, x = grid(picture.image)
    side = min(picture.image.shape[-2:])
    lean = counter.between(key, "lean", -0.5, 0.5)[:, None, None]
    column = (x + lean * y).floor().long()
    begin = counter.lattice(key[:, None, None], column)
    along = (y / side * 2.2 + 7 * begin).remainder(1)
    there = counter.lattice(key[:, None, None] + 1, column, (y / side * 2.2 + 7 * begin).floor().long())
    streak = ((there < 0.75 * strength) & (along < 0.4)).to(x.dtype) * (1 - along / 0.4)
    return picture.image + 0.6 * streak[:, None] * (1 - picture.image)


def _haze(picture: Render, key: Tensor, strength: float) -> Tensor:
    """Light scattered on the way: the farther, the paler (Koschmieder's law)."""
    far = picture.depth.clamp(max=20)[:, None]
    clear = torch.exp(-0.22 * strength * (far - 5).clamp(min=0))
    return picture.image * clear + 0.85 * (1 - clear)


def _blur(picture: Render, key: Tensor, strength: float) -> Tensor:
    image = picture.image
    for _ in range(round(8 * strength * min(image.shape[-2:]) / 64)):
        image = blur(image)
    return image


def _dark(picture: Render, key: Tensor, strength: float) -> Tensor:
    # A gamma of 2: squares and roots are the same bits wherever in a batch, other powers are not.
    light = picture.image * picture.image * (1 - 0.9 * strength)
    return (light + 0.02 * strength * gaussian_noise(picture.image, key)).clamp(min=0).sqrt()


def _sketch(picture: Render, key: Tensor, strength: float) -> Tensor:
    return picture.image + strength * (restyle("sketch", picture, key) - picture.image)


KINDS: dict[str, Callable[[Render, Tensor, float], Tensor]] = {
    "noise": _noise,
    "rain": _rain,
    "haze": _haze,
    "blur": _blur,
    "dark": _dark,
    "sketch": _sketch,
}
