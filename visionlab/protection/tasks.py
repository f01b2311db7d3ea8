"""What an image-processing network is sold for: tasks as pairs of input and output, made of clean images.

`pairs(images, "rain", generator=g)` gives what a network of this task takes, and what it should answer. Four tasks undo
a damage (rain, noise, haze, blur), two draw (sketch, style). `answers` asks any other network or function instead,
about images of any source: ``answers(network, load(folder, size=64).tensors()[0])``, with `visionlab.data.images.load`.
Rain is that of our small-scale study of structure-consistent watermarks (arXiv 2108.02360), which de-rain images.
Renders of the world have depth, and damages that know it: `visionlab.data.world.degrade`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

import torch
import torch.nn.functional as F
from jaxtyping import Float
from kornia.filters import gaussian_blur2d
from torch import Tensor, nn

from visionlab.data.graded import to_8_bits
from visionlab.protection.structure import luminance

__all__ = ["TASKS", "Task", "answers", "check_images", "pairs"]

AT_ONCE = 256
"""Images that are worked on together."""


@dataclass(frozen=True)
class Task:
    """One task.

    Args:
        unit: of the amount.
        strongest: amount at strength 1; at strength 0 it is 0, and nothing changes.
        usual: strength, unless told otherwise.
        undoes: whether the network shall undo the change, or make it.
        change: ``(images, amount, generator) -> images`` of the same shape.
    """

    unit: str
    strongest: float
    usual: float
    undoes: bool
    change: Callable[[Tensor, float, torch.Generator], Tensor]


def pairs(
    images: Float[Tensor, "b 3 h w"], task: str, *, strength: float | None = None, generator: torch.Generator
) -> tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b 3 h w"]]:
    """What a network takes and what it should answer: two batches (B, 3, H, W) in [0, 1].

    The one that is made of the images has 8 bits a channel, the other is the images themselves. Damages are drawn anew
    for each image, in kind and in amount: from 0.4 to 1.2 times what the strength says.

    Args:
        images: clean ones in [0, 1], with sides of 8 pixels or more.
        task: one of `TASKS`.
        strength: from 0, which changes nothing, to 1; by default the task's usual one.
        generator: of what is random in the task.

    Raises:
        ValueError: the task is unknown, the strength lies outside [0, 1], or the images are none or too small.
    """
    if task not in TASKS:
        near = get_close_matches(task, TASKS, n=1)
        raise ValueError(f"task: no {task!r}; " + (f"did you mean {near[0]!r}?" if near else ", ".join(TASKS)))
    check_images("images", images)
    found = TASKS[task]
    strength = found.usual if strength is None else strength
    if not 0 <= strength <= 1:
        raise ValueError(f"strength: expected 0 to 1, got {strength}")
    if strength == 0:
        return images, images
    amount = strength * found.strongest
    changed = torch.cat([found.change(part, amount, generator) for part in images.split(AT_ONCE)])
    changed = to_8_bits(changed.clamp(0, 1))
    return (changed, images) if found.undoes else (images, changed)


@torch.no_grad()
def answers(network: Callable[[Tensor], Tensor], images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 h w"]:
    """What any image-to-image network or function answers, as a file would keep it: (B, 3, H, W), clipped, 8 bits.

    Args:
        network: images in [0, 1] to images of the same size; a module is asked in evaluation mode, where it lies.
        images: in [0, 1]; channels after the third are told to the network as well.

    Raises:
        ValueError: there are no images, or the answers are of another shape.
    """
    check_images("images", images[:, :3])
    device, training = images.device, False
    if isinstance(network, nn.Module):
        device, training = next((p.device for p in network.parameters()), device), network.training
        network.eval()
    found = [network(part.to(device)).to(images) for part in images.split(AT_ONCE)]
    if isinstance(network, nn.Module):
        network.train(training)
    for part, answer in zip(images.split(AT_ONCE), found, strict=True):
        if answer.shape != part[:, :3].shape:
            wanted = tuple(part[:, :3].shape)
            raise ValueError(f"network: expected answers of shape {wanted}, got {tuple(answer.shape)}")
    return to_8_bits(torch.cat(found).clamp(0, 1))


def check_images(name: str, images: Tensor) -> None:
    """Refuse what is no batch of colour images with sides of 8 pixels or more, by the name of the argument.

    Raises:
        ValueError: it says what came, and what was expected.
    """
    if images.ndim != 4 or images.shape[1] != 3 or len(images) == 0 or min(images.shape[-2:]) < 8:
        raise ValueError(f"{name}: expected (B, 3, H, W), some, sides of 8 or more, got {tuple(images.shape)}")


# --- Damages ----------------------------------------------------------------------------------------------------------


def _rain(images: Tensor, brightness: float, generator: torch.Generator) -> Tensor:
    """Streaks of 7 pixels from seeds at 3 % of the pixels, slanting by up to 50 degrees, which differ by image.

    A slant that all images share would tell a network how a pair was turned.
    """
    n, height, width = len(images), *images.shape[-2:]
    reach = 3
    shape = (1, height + 2 * reach, width + 2 * reach)  # streaks come in from outside as well
    seeds = (_uniform(images, 0.0, 1.0, generator, *shape) < 0.03) * _uniform(
        images, 0.0, brightness, generator, *shape
    )
    seeds = seeds * _own(images, generator)
    slant = _uniform(images, -50.0, 50.0, generator, 1).deg2rad()
    step = torch.arange(-reach, reach + 1).to(images)
    down, right = step * slant.cos(), step * slant.sin()
    # Each of the 7 points of a streak is shared out among the four pixels around it.
    rows, columns = ((1 - (step[:, None] - at[:, None]).abs()).clamp(min=0) for at in (down, right))
    kernels = torch.einsum("nyk,nxk->nyx", rows, columns)
    return images + F.conv2d(seeds.view(1, n, *shape[1:]), kernels[:, None], groups=n).view(n, 1, height, width)


def _noise(images: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    noise = torch.randn(images.shape, generator=generator, device=generator.device).to(images)
    return images + deviation * _own(images, generator) * noise


def _haze(images: Tensor, depth: float, generator: torch.Generator) -> Tensor:
    """Light scattered on the way, by Koschmieder's law, over a ground that falls back in a direction of its own."""
    height, width = images.shape[-2:]
    direction = _uniform(images, 0.0, 2 * math.pi, generator, 1, 1)
    y, x = (torch.linspace(-0.5, 0.5, size).to(images) for size in (height, width))
    far = 0.5 + 0.5 * (y[:, None] * direction.sin() + x * direction.cos())  # from 0.15 to 0.85
    clear = torch.exp(-depth * _own(images, generator) * far[:, None])
    return images * clear + _uniform(images, 0.7, 0.95, generator, 1, 1, 1) * (1 - clear)


def _blur(images: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    return _gaussian(images, sigma * _own(images, generator).view(-1, 1))


# --- Drawings ---------------------------------------------------------------------------------------------------------


def _sketch(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Pencil: grey values divided by what is around them, dark where the image is darker than its neighbourhood."""
    grey = luminance(images)
    around = _gaussian(grey, grey.new_full((len(grey), 1), 2.0))
    drawing = (grey / around.clamp(min=1 / 255)).clamp(0, 1).square()
    return images + share * (drawing - images)


def _style(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Oil paint (Kuwahara et al., 1976) in a palette of blue shadows and warm light."""
    painted = _kuwahara(images, 2)
    grey = luminance(painted)
    shadow, light = (images.new_tensor(c).view(3, 1, 1) for c in ((0.05, 0.15, 0.4), (1.0, 0.85, 0.55)))
    drawing = 0.5 * painted + 0.5 * (shadow + grey * (light - shadow))
    return images + share * (drawing - images)


def _kuwahara(images: Tensor, reach: int) -> Tensor:
    """Each pixel as the mean of that quarter of its neighbourhood in which brightness varies least."""
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    means = F.avg_pool2d(padded, reach + 1, stride=1)
    grey = luminance(padded)
    varying = F.avg_pool2d(grey.square(), reach + 1, stride=1) - F.avg_pool2d(grey, reach + 1, stride=1).square()
    height, width = images.shape[-2:]
    corners = [(y, x) for y in (0, reach) for x in (0, reach)]
    quarters = torch.stack([means[..., y : y + height, x : x + width] for y, x in corners])
    calmest = torch.stack([varying[..., y : y + height, x : x + width] for y, x in corners]).argmin(0, keepdim=True)
    return quarters.gather(0, calmest.expand(-1, -1, 3, -1, -1))[0]


# --- What they share --------------------------------------------------------------------------------------------------


def _uniform(images: Tensor, low: float, high: float, generator: torch.Generator, *shape: int) -> Tensor:
    drawn = torch.rand(len(images), *shape, generator=generator, device=generator.device)
    return (low + (high - low) * drawn).to(images)


def _own(images: Tensor, generator: torch.Generator) -> Tensor:
    """What each image's amount is multiplied by, (B, 1, 1, 1)."""
    return _uniform(images, 0.4, 1.2, generator, 1, 1, 1)


def _gaussian(images: Tensor, sigma: Tensor) -> Tensor:
    """Blurred images (B, C, H, W), with a deviation (B, 1) in pixels each."""
    size = 2 * min(max(1, round(3 * float(sigma.max()))), min(images.shape[-2:]) - 1) + 1
    return gaussian_blur2d(images, (size, size), sigma.expand(-1, 2))


TASKS: dict[str, Task] = {
    "rain": Task("brightness of a streak at most", 1.0, 0.5, True, _rain),
    "noise": Task("deviation", 0.2, 0.5, True, _noise),
    "haze": Task("optical depth", 4.0, 0.3, True, _haze),
    "blur": Task("pixels (sigma)", 2.0, 0.5, True, _blur),
    "sketch": Task("share of the drawing", 1.0, 1.0, False, _sketch),
    "style": Task("share of the drawing", 1.0, 1.0, False, _style),
}
