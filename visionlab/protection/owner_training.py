"""What the trainings of an owner's marks share: batches of images that belong together, and an extractor on its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from visionlab.protection.tasks import check_images
from visionlab.train.loop import Recipe
from visionlab.train.stream import Batch

__all__ = ["ExtractorAlone", "check_sets", "draw_together"]


class ExtractorAlone(nn.Module):
    """An extractor as all that there is to train: for adversarial stages, in which the embedder stays as it is.

    Args:
        extractor: image to drawing.
        parts: batch to the parts of the loss; it may use other networks, which are not trained.
    """

    def __init__(self, extractor: nn.Module, parts: Callable[..., dict[str, Tensor]]) -> None:
        super().__init__()
        self.extractor = extractor
        self.parts = parts
        self.discriminator = None

    def forward(self, *batch: Tensor) -> dict[str, Tensor]:
        """Return the parts of the loss."""
        return self.parts(*batch)


def draw_together(sets: tuple[Tensor, ...], n: int, generator: torch.Generator) -> Batch:
    """The same n places, at random and with replacement, of sets of one length."""
    chosen = torch.randint(len(sets[0]), (n,), generator=generator, device=generator.device).to(sets[0].device)
    return tuple(each[chosen] for each in sets)


def check_sets(sets: dict[str, Tensor], recipe: Recipe, least: int) -> None:
    """Refuse sets of images, by name, that differ in shape, and a batch of fewer images than a loss has kinds of them.

    Raises:
        ValueError: it says which, what was expected and what came.
    """
    first = next(iter(sets))
    for name, images in sets.items():
        check_images(name, images)
        if images.shape != sets[first].shape:
            raise ValueError(f"{name}: expected {tuple(sets[first].shape)}, as {first}, got {tuple(images.shape)}")
    if recipe.batch < least:
        raise ValueError(f"recipe: expected a batch of {least} images or more, for all kinds of them: {recipe.batch}")
