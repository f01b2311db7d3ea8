"""Styles: the same scene as other cameras, lights or hands would show it. A style changes pixels, never labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from visionlab.data.world import counter

__all__ = ["STYLES", "blur", "gaussian_noise", "grid", "restyle"]

Image = Float[Tensor, "n 3 h w"]
Plane = Float[Tensor, "n 1 h w"]

HEAT = ((0.1, 0.1, 0.3), (0.2, 0.45, 0.5), (0.5, 0.6, 0.3), (0.9, 0.55, 0.2), (1, 0.9, 0.8))  # cold to hot


def restyle(style: str, picture: Any, key: Int[Tensor, " n"]) -> Image:
    """The images of a render in another style, in [0, 1]; noise follows from the scenes' keys."""
    return STYLES[style](picture, key).clamp(0, 1)


def _clean(picture: Any, key: Tensor) -> Image:
    return picture.image


def _textured(picture: Any, key: Tensor) -> Image:
    """Woven or brushed stuff over everything, of its own direction and colour on each object."""
    _, height, width = picture.instance.shape
    own = counter.lattice(key[:, None, None, None], picture.instance[:, None] + 1)
    y, x = grid(picture.image)
    angle = 6.2832 * own
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    scale = 64 / min(height, width)
    threads = (0.9 * scale * across + 0.8 * (0.35 * scale * along).sin()).sin() * (1.9 * scale * along).sin()
    tints = [counter.lattice(key[:, None, None] + i, picture.instance + 1) for i in range(1, 4)]
    return picture.image * (0.80 + 0.34 * threads) * (0.62 + 0.62 * torch.stack(tints, 1))


def _sketch(picture: Any, key: Tensor) -> Image:
    """Pencil on paper: outlines, and hatching where it is dark."""
    y, x = grid(picture.image)
    dark = 1 - _grey(picture.image)
    step = max(3.0, min(picture.image.shape[-2:]) / 20)
    first, second = ((x + sign * y).remainder(step) < step / 3 for sign in (1, -1))
    hatching = 0.45 * (first & (dark > 0.5)) + 0.35 * (second & (dark > 0.68))
    paper = 0.93 + 0.05 * _noise(picture.image, key)[:, :1]
    ink = 0.85 * _outlines(picture) + hatching * (1 - _outlines(picture))
    return (paper * (1 - ink)).expand(-1, 3, -1, -1)


def _night(picture: Any, key: Tensor) -> Image:
    """Little light, bluish, and the noise of a sensor at its limit."""
    gain = counter.between(key, "night", 0.12, 0.23)[:, None, None, None]
    colour = torch.tensor([0.75, 0.9, 1.25], device=key.device)[:, None, None]
    # A gamma of 2: squares and roots are the same bits wherever in a batch, other powers are not.
    light = picture.image * picture.image * gain * (0.35 * colour + 0.65 * colour.mean())
    noisy = light + (0.012 + 0.06 * light.clamp(min=0).sqrt()) * gaussian_noise(picture.image, key)
    return noisy.clamp(0, 1).sqrt()


def _sensor(picture: Any, key: Tensor) -> Image:
    """A cheap camera: out of focus, one colour a pixel interpolated to three, noise, and blocks of eight."""
    blurred = blur(blur(blur(picture.image)))
    rows, columns = (torch.arange(s, device=key.device) % 2 for s in picture.image.shape[-2:])
    green = (rows[:, None] + columns) % 2 == 1
    mosaic = torch.stack([(rows[:, None] == 0) & ~green, green, (rows[:, None] == 1) & ~green]).to(blurred.dtype)
    caught = (blurred + 0.12 * gaussian_noise(picture.image, key)) * mosaic
    return _blocks(blur(caught) / blur(mosaic[None]))  # the mean of the neighbours that caught this colour


def _toon(picture: Any, key: Tensor) -> Image:
    """Three tones a colour, and outlines."""
    grey = _grey(picture.image)
    base = _grey(picture.albedo).clamp(min=0.02)
    tone = (3 * (grey / base).clamp(0, 1.2) / 1.2).round() / 3
    bright = _saturate(picture.albedo * (0.4 + 0.75 * tone), 1.35)
    sky = picture.depth[:, None].isinf()
    return torch.where(sky, picture.image, bright) * (1 - 0.95 * _outlines(picture))


def _infrared(picture: Any, key: Tensor) -> Image:
    """Heat in false colours: every object has its own temperature, the ground is cool."""
    heat = counter.lattice(key[:, None, None, None], picture.instance[:, None] + 7)
    warm = torch.where(picture.instance[:, None] >= 0, 0.42 + 0.5 * heat, 0.16)
    facing = picture.normals[:, 2:].clamp(0, 1)
    noise = 0.02 * gaussian_noise(picture.image, key)[:, :1]
    amount = blur(warm * (0.7 + 0.3 * facing) + 0.12 * _grey(picture.image) + noise)
    stops = torch.tensor(HEAT, device=key.device)
    place = (amount.clamp(0, 1) * 4)[:, 0]
    low = place.long().clamp(max=3)
    share = (place - low)[..., None]
    return (stops[low] * (1 - share) + stops[low + 1] * share).permute(0, 3, 1, 2)


def _paper(picture: Any, key: Tensor) -> Image:
    """Cut from coloured paper: one flat colour for each object, a white edge, and a shadow beside it."""
    sky = picture.depth.isinf()
    sheet = torch.where(sky, -2, picture.instance)
    colour = torch.where(sky[:, None], picture.image, picture.albedo)
    flat = torch.zeros_like(colour)
    for number in range(-2, int(sheet.max()) + 1):  # sky, ground and walls, and the objects, of which there are few
        mask = (sheet == number)[:, None]
        flat += mask * ((colour * mask).sum((2, 3), keepdim=True) / mask.sum((2, 3), keepdim=True).clamp(min=1))
    front = (picture.instance >= 0)[:, None].to(flat.dtype)
    side = max(1, min(flat.shape[-2:]) // 32)
    cast = F.pad(front, (side, 0, side, 0))[..., : front.shape[2], : front.shape[3]]
    shaded = flat * (1 - 0.4 * (cast * (1 - front)))
    edge = _edges(picture.instance)
    return shaded * (1 - edge) + 0.97 * edge + 0.03 * (_noise(flat, key)[:, :1] - 0.5)


def grid(image: Image) -> tuple[Tensor, Tensor]:
    """Row and column of each pixel, (H, W) each."""
    height, width = image.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=image.device), torch.arange(width, device=image.device), indexing="ij"
    )
    return y.to(image.dtype), x.to(image.dtype)


def _grey(image: Image) -> Plane:
    return (0.299 * image[:, 0] + 0.587 * image[:, 1] + 0.114 * image[:, 2])[:, None]


def _saturate(image: Image, amount: float) -> Image:
    grey = _grey(image)
    return grey + amount * (image - grey)


def _edges(numbers: Int[Tensor, "n h w"]) -> Plane:
    """1 where the pixel to the right or below is of another number."""
    across = F.pad(numbers[:, :, 1:] != numbers[:, :, :-1], (0, 1))
    down = F.pad(numbers[:, 1:] != numbers[:, :-1], (0, 0, 0, 1))
    return (across | down)[:, None].to(torch.float32)


def _outlines(picture: Any) -> Plane:
    """Borders of objects, and creases where the surface turns."""
    turn = picture.normals
    across = F.pad((turn[..., 1:] * turn[..., :-1]).sum(1, keepdim=True) < 0.75, (0, 1))
    down = F.pad((turn[..., 1:, :] * turn[..., :-1, :]).sum(1, keepdim=True) < 0.75, (0, 0, 0, 1))
    crease = (across | down) & picture.depth[:, None].isfinite()
    return torch.maximum(_edges(picture.instance), crease.to(torch.float32))


def blur(image: Tensor) -> Tensor:
    """A small binomial blur, written out so that the sum of each pixel has one order."""
    for axis in (2, 3):
        before = image.index_select(axis, _moved(image.shape[axis], -1, image.device))
        after = image.index_select(axis, _moved(image.shape[axis], 1, image.device))
        image = 0.25 * (before + after) + 0.5 * image
    return image


def _moved(side: int, by: int, device: torch.device) -> Tensor:
    return (torch.arange(side, device=device) + by).clamp(0, side - 1)


def _noise(image: Image, key: Tensor, salt: int = 0) -> Image:
    """Uniform noise in [0, 1) for each value."""
    place = torch.arange(image[0].numel(), device=image.device).view(image.shape[1:])
    return counter.lattice(key[:, None, None, None] + salt, place)


def gaussian_noise(image: Image, key: Tensor) -> Image:
    """Nearly normal noise of variance 1, a number a value: a sum of four uniform ones, equal on every machine."""
    total = torch.stack([_noise(image, key, salt) for salt in range(1, 5)]).sum(0)
    return (total - 2) * 3**0.5


def _blocks(image: Image, quality: float = 0.14) -> Image:
    """Coarse cosine coefficients of blocks of eight pixels, as in JPEG at low quality."""
    height, width = image.shape[-2:]
    padded = F.pad(image, (0, -width % 8, 0, -height % 8), mode="replicate")
    place = torch.arange(8, device=image.device, dtype=image.dtype)
    cosines = ((2 * place + 1) * place[:, None] * torch.pi / 16).cos() * 0.5
    cosines[0] *= 0.5**0.5
    tiles = padded.unflatten(3, (-1, 8)).unflatten(2, (-1, 8))  # n c rows 8 columns 8
    found = torch.einsum("uy,ncrysx,vx->ncrusv", cosines, tiles, cosines)
    step = quality * (1 + place[:, None] + place)[:, None]
    found = (found / step).round() * step
    tiles = torch.einsum("uy,ncrusv,vx->ncrysx", cosines, found, cosines)
    return tiles.flatten(4, 5).flatten(2, 3)[..., :height, :width]


STYLES: dict[str, Callable[[Any, Tensor], Image]] = {
    "clean": _clean,
    "textured": _textured,
    "sketch": _sketch,
    "night": _night,
    "sensor": _sensor,
    "toon": _toon,
    "infrared": _infrared,
    "paper": _paper,
}
