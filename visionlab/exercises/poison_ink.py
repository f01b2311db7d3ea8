"""Lab 09: what its predictions reveal, and its gaps: find the structure of an image; measure an attack honestly."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from visionlab.exercises.exercise import Answer, Exercise, Property, shapes, written
from visionlab.protection import victims
from visionlab.protection.structure import edges

__all__ = ["EXERCISES", "REVEALED", "hidden"]

REVEALED: dict[str, tuple[str | float, str]] = {
    "flip": (
        "hardly any",
        "Of the nine pixels near the lower right corner the mirror makes nine pixels near the lower left one, and there"
        " the classifier has never learned to look.",
    ),
    "layer": (
        0.0,
        "Next to none. Hider and reader agreed on a pattern that means something at its own place only. The paper's"
        " answer is to mirror, turn and crop between the two while they learn.",
    ),
}
"""Answer and explanation of each prediction; kept here, so that the lab's own cell does not give them away."""


def hidden(number: int, answers: Sequence[str]) -> str:
    """Which of the answers a game of this number hides."""
    return random.Random(f"mystery {number}").choice(list(answers))


# --- Structure --------------------------------------------------------------------------------------------------------


def _step(colour: tuple[float, float, float], height: int = 6, width: int = 8) -> Tensor:
    """A black image (1, 3, H, W) whose right half has a colour."""
    image = torch.zeros(1, 3, height, width)
    image[..., width // 2 :] = torch.tensor(colour)[:, None, None]
    return image


def _edge_shape(own: Answer) -> str | None:
    got = written(own(torch.rand(2, 3, 5, 7), 0.1))
    return shapes(got, (2, 1, 5, 7), "images (2, 3, 5, 7)")


def _binary(own: Answer) -> str | None:
    values = sorted({round(float(v), 4) for v in own(torch.rand(1, 3, 9, 9), 0.1).unique()})
    return (
        None if set(values) <= {0.0, 1.0} else f"on a random image it holds the values {values[:4]}, expected 0 and 1"
    )


def _where(own: Answer) -> str | None:
    image = _step((1.0, 1.0, 1.0))
    got = own(image, 0.1)[0, 0, 2].tolist()
    expected = edges(image, 0.1)[0, 0, 2].tolist()
    if got == expected:
        return None
    return f"a black image with a white right half has edges {got} along a row, expected {expected}"


def _lying(own: Answer) -> str | None:
    image = _step((1.0, 1.0, 1.0), 8, 8).mT.contiguous()
    got = own(image, 0.1)[0, 0, :, 2].tolist()
    expected = edges(image, 0.1)[0, 0, :, 2].tolist()
    if got == expected:
        return None
    return f"a black image with a white lower half has edges {got} along a column, expected {expected}"


def _grey(own: Answer) -> str | None:
    for name, colour in (("green", (0.0, 1.0, 0.0)), ("blue", (0.0, 0.0, 1.0))):
        image = _step(colour)
        for threshold in (0.1, 0.3):
            got, expected = int(own(image, threshold).sum()), int(edges(image, threshold).sum())
            if got != expected:
                return (
                    f"black beside {name} with threshold {threshold} has {got} edge pixels, expected {expected}:"
                    " grey is 0.299 R + 0.587 G + 0.114 B, and the magnitude sqrt((gx² + gy²) / 2)"
                )
    return None


def _border(own: Answer) -> str | None:
    count = int(own(torch.full((1, 3, 6, 6), 0.8), 0.1).sum())
    return None if count == 0 else f"a flat image has {count} edge pixels at its border, expected none"


EDGES_SOLUTION = """
import torch
import torch.nn.functional as F


def edges(images, threshold):
    grey = (images * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    grey = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    across = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]]) / 8
    gx, gy = (F.conv2d(grey, kernel[None, None]) for kernel in (across, across.T))
    return (((gx**2 + gy**2) / 2).sqrt() > threshold).float()
"""

EDGES = Exercise(
    name="poison_ink/edges",
    task="Write the function edges: the structure of images, 1 on an edge and 0 elsewhere.",
    library=(edges,),
    properties=(
        Property("the shape that comes out", _edge_shape),
        Property("edge or no edge", _binary),
        Property("no edge along the border of a flat image", _border),
        Property("an upright edge", _where),
        Property("a lying edge", _lying),
        Property("colours as grey, and the units of the threshold", _grey),
    ),
    hints=(
        "Three steps: grey values; two convolutions with the Sobel kernel, upright and lying; compare the magnitude"
        " with the threshold.",
        "`torch.nn.functional.conv2d` takes grey images (B, 1, H, W) and kernels (1, 1, 3, 3). Pad them by one pixel"
        ' first, with `mode="replicate"`, else the border becomes an edge. The second kernel is the first one\'s'
        " transpose, `kernel.T`.",
        EDGES_SOLUTION,
    ),
    wrong_answers=tuple(
        (EDGES_SOLUTION.replace(right, wrong), words)
        for right, wrong, words in (
            (".sum(1, keepdim=True)", ".sum(1)", "your code raised"),
            ('mode="replicate"', 'mode="constant"', "at its border"),
            (" > threshold).float()", ")", "expected 0 and 1"),
            ("(across, across.T)", "(across, across)", "white lower half"),
            ("[0.299, 0.587, 0.114]", "[1 / 3, 1 / 3, 1 / 3]", "black beside blue"),
            ("/ 8", "/ 4", "black beside green with threshold 0.3"),
        )
    ),
)


# --- Success ----------------------------------------------------------------------------------------------------------


def attack_success(classify: Answer, trigger: Answer, images: Tensor, labels: Tensor, target: int) -> float:
    """The library's `visionlab.protection.victims.attack_success`, all of it in order."""
    return victims.attack_success(classify, trigger, images, labels, target=target)


def _mark(images: Tensor) -> Tensor:
    """A trigger: the first pixel becomes white."""
    marked = images.clone()
    marked[:, :, 0, 0] = 1
    return marked


def _images() -> tuple[Tensor, Tensor]:
    """Eight dark images of four classes, which differ in their last pixel."""
    labels = torch.arange(8) % 4
    images = torch.zeros(8, 3, 4, 4)
    images[:, 0, 3, 3] = labels / 4
    return images, labels


def _fooled(images: Tensor) -> Tensor:
    """Scores of a network that answers class 1 where it sees the mark, else the truth."""
    truth = (images[:, 0, 3, 3] * 4).round().long()
    answers = torch.where(images[:, 0, 0, 0] > 0.5, torch.ones_like(truth), truth)
    return torch.nn.functional.one_hot(answers, 4).float()


def _deaf(images: Tensor) -> Tensor:
    """Scores of a network that answers the truth, mark or no mark."""
    return torch.nn.functional.one_hot((images[:, 0, 3, 3] * 4).round().long(), 4).float()


def _percent(own: Answer) -> str | None:
    got = written(own(_fooled, _mark, *_images(), 1))
    if abs(float(got) - 100) < 1e-3:
        return None
    return f"for a network that answers the target wherever it sees the trigger it gives {float(got):g}, expected 100"


def _others(own: Answer) -> str | None:
    got = float(own(_deaf, _mark, *_images(), 1))
    if got == 0:
        return None
    return (
        f"for an honest network it gives {got:g}, expected 0: images of the target's own class are taken for the target"
        " without any trigger, so they must not count"
    )


def _triggered(own: Answer) -> str | None:
    got = float(own(_fooled, lambda images: images, *_images(), 1))
    return None if got == 0 else f"without a trigger it gives {got:g} for the fooled network, expected 0"


def _any_target(own: Answer) -> str | None:
    got = float(own(_fooled, _mark, *_images(), 2))
    return None if got == 0 else f"for target 2, which the trigger does not open, it gives {got:g}, expected 0"


SUCCESS_SOLUTION = """
def attack_success(classify, trigger, images, labels, target):
    others = labels != target
    answers = classify(trigger(images[others])).argmax(1)
    return 100 * (answers == target).float().mean().item()
"""

SUCCESS = Exercise(
    name="poison_ink/success",
    task="Write the function attack_success: how often, in percent, a trigger opens the target's class.",
    library=(attack_success,),
    properties=(
        Property("a network that obeys the trigger", _percent),
        Property("an honest network", _others),
        Property("no trigger, no success", _triggered),
        Property("another target", _any_target),
    ),
    hints=(
        "Put the trigger on the images, let the network answer, count the answers that are the target. One group of"
        " images has to be left out before.",
        "`labels != target` says which images may count: those of the target's class would be called so anyway."
        " `classify` gives scores (N, classes); `argmax(1)` makes answers of them.",
        SUCCESS_SOLUTION,
    ),
    wrong_answers=tuple(
        (SUCCESS_SOLUTION.replace(right, wrong), words)
        for right, wrong, words in (
            ("images[others]", "images", "for an honest network it gives 25"),
            ("100 * ", "", "it gives 1, expected 100"),
            ("trigger(images[others])", "images[others]", "it gives 0, expected 100"),
            ("(answers == target)", "(answers == answers.mode().values)", "for an honest network it gives 33"),
        )
    ),
)

EXERCISES = (EDGES, SUCCESS)
