"""The thief: a surrogate trained on what another network answers, and what a thief may try against marks in it.

Threat model of deep model watermarking (arXiv 2002.11088, 2103.04980; under augmentation 2108.02360): the thief asks
the network for answers, never sees its weights, and trains a network of any kind on the pairs. For owners who test
their own marks.

=====================================================  ============================================================
the thief's choice                                     here
=====================================================  ============================================================
architecture, size                                     `surrogate_networks`, or any image-to-image module
loss                                                   `LOSSES`
the pairs flipped, turned, cropped, jointly            `Augmentation`, `AUGMENTATIONS`
few queries                                            `train_surrogate` on fewer pairs
fine-tuning on clean pairs, pruning                    `fine_tuned`, `pruned`
gradients of an extractor that was made public         `erased`
JPEG, blur, noise, colour shift of what it answers     `robustness.changed`, `robustness.STANDARD`
=====================================================  ============================================================

Owner, thief and test share no image: `visionlab.protection.splits`.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.utils import prune

from visionlab.data.graded import warp
from visionlab.protection.hiding_published import PatchDiscriminator
from visionlab.protection.poison_ink import adversarial_loss
from visionlab.protection.structure import chroma_direction
from visionlab.protection.tasks import check_images
from visionlab.train.loop import Fit, Hook, Recipe, fit, start
from visionlab.train.randomness import seeded
from visionlab.train.stream import Batch, Fresh

__all__ = [
    "AUGMENTATIONS", "FINE_TUNING", "LOSSES", "RECIPE", "Augmentation", "erased", "fine_tuned", "pruned",
    "train_surrogate",
]  # fmt: skip

Features = Callable[[Tensor], Tensor]

RECIPE = Recipe(steps=500, batch=64, learning_rate=3e-3, warmup=150, weight_decay=0.0)
"""Of the small-scale study: a minute at most on one core."""
FINE_TUNING = Recipe(steps=50, batch=64, learning_rate=1e-3, warmup=5, weight_decay=0.0)

LOSSES: dict[str, dict[str, float]] = {
    "L1": {"L1": 1.0},
    "L2": {"L2": 1.0},
    "L1 + adversarial": {"L1": 1.0, "adversarial": 0.01},
    "L2 + adversarial": {"L2": 1.0, "adversarial": 0.001},
    "perceptual + adversarial": {"perceptual": 1.0, "adversarial": 0.01},
}
"""The published choices of a thief, as weights of their parts.

The published script has 1 to 100 for the adversarial part, with another discriminator. Beside squared errors of images
in [0, 1], which are small, that is too much: in 200 steps of de-raining 0.01 cost 5 dB, 0.001 costs 1 dB.
"""


# --- The pairs --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Mirror, turn, and crop a pair at a place of its own, both images alike, in one bilinear interpolation.

    Reflections come in at the border: black corners would tell a network how the pair was turned.

    Args:
        rotation: degrees at most, either way.
        crop: least and largest share of the side that is kept, and resized to the whole.
        flip: probability of a mirror image.

    Raises:
        ValueError: if one of them is out of range.
    """

    rotation: float = 30.0
    crop: tuple[float, float] = (0.6, 1.0)
    flip: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.rotation <= 180:
            raise ValueError(f"rotation: expected 0 to 180 degrees, got {self.rotation}")
        if not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise ValueError(f"crop: expected 0 < least <= largest <= 1, got {self.crop}")
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip: expected a probability, got {self.flip}")

    def draw(
        self, n: int, size: tuple[int, int], generator: torch.Generator
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, "n 2"], Bool[Tensor, " n"]]:
        """Return angle (N,), scale (N,), shift (N, 2) in pixels and mirrored (N,), as `graded.warp` takes them.

        Args:
            n: pairs.
            size: height and width.
            generator: of the draw.
        """

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return low + (high - low) * torch.rand(n, *shape, generator=generator, device=generator.device)

        angle, kept = uniform(-self.rotation, self.rotation), uniform(*self.crop)
        reach = (1 / kept[:, None] - 1) / 2  # how far the enlarged image may move, in sides
        shift = reach * uniform(-1.0, 1.0, 2) * torch.tensor(size[::-1], device=generator.device)
        return angle, 1 / kept, shift, uniform(0.0, 1.0) < self.flip

    def __call__(
        self, inputs: Float[Tensor, "b c h w"], outputs: Float[Tensor, "b d h w"], *, generator: torch.Generator
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b d h w"]]:
        """Return inputs and outputs, each pair with its own draw."""
        if self == AUGMENTATIONS["none"]:
            return inputs, outputs
        angle, scale, shift, mirrored = self.draw(len(inputs), (inputs.shape[-2], inputs.shape[-1]), generator)
        both = torch.cat([inputs, outputs], 1)
        both = warp(both, angle=angle, scale=scale, shift=shift, mirrored=mirrored, padding="reflection")
        return both[:, : inputs.shape[1]], both[:, inputs.shape[1] :]


AUGMENTATIONS: dict[str, Augmentation] = {
    "none": Augmentation(rotation=0.0, crop=(1.0, 1.0), flip=0.0),
    "flip": Augmentation(rotation=0.0, crop=(1.0, 1.0)),
    "rotation": Augmentation(crop=(1.0, 1.0), flip=0.0),
    "crop": Augmentation(rotation=0.0, flip=0.0),
    "all": Augmentation(),
}


# --- Training ---------------------------------------------------------------------------------------------------------


def train_surrogate(
    network: nn.Module,
    inputs: Float[Tensor, "n c h w"],
    outputs: Float[Tensor, "n 3 h w"],
    recipe: Recipe = RECIPE,
    *,
    augmentation: Callable[..., tuple[Tensor, Tensor]] = AUGMENTATIONS["none"],
    loss: str = "L2",
    features: Features | None = None,
    seed: int,
    fabric: Fabric | None = None,
    hook: Hook | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Fit:
    """Train a network in place to answer as another one did.

    Args:
        network: images in [0, 1] to images of the same size, for instance `surrogate_networks.SurrogateUNet`.
        inputs: what the other network was asked, in [0, 1]; channels after the third are told to the network as well.
        outputs: what it answered. A batch draws its pairs with replacement, so that any number of them will do.
        recipe: steps, batch, rates.
        augmentation: of each pair, or a function as it: `Augmentation.__call__`.
        loss: one of `LOSSES`; the adversarial ones train a discriminator, the perceptual ones need ``features``.
        features: images in [0, 1] to features, best to maps (B, C, U, V) of some layers' depth. A module has to be
            in evaluation mode; it is moved to the device, and is not trained.
        seed: of batches, augmentation and discriminator; the network's weights are the caller's.
        fabric: of `visionlab.train.loop.start`.
        hook: of the loop; told the loss, its parts, and the PSNR between answers and outputs.
        checkpoint: file to resume from.

    Raises:
        ValueError: the pairs do not fit each other or are none, the loss is unknown, or ``features`` is missing.
    """
    _check(inputs, outputs, loss, features)
    fabric = fabric or start(recipe.precision)
    discriminator = None
    if "adversarial" in LOSSES[loss]:
        with seeded(seed):
            discriminator = PatchDiscriminator()
    if isinstance(features, nn.Module):
        features.to(fabric.device)
    run = fit(
        _Theft(network, LOSSES[loss], discriminator, features),
        Fresh(partial(_drawn, inputs, outputs)),
        lambda model, batch: model(*batch),
        recipe,
        seed=seed, fabric=fabric, hook=hook, checkpoint=checkpoint,
        augment=lambda batch, generator: augmentation(*batch, generator=generator),
    )  # fmt: skip
    assert isinstance(run.model, _Theft)
    run.model = run.model.network
    return run


class _Theft(nn.Module):
    """The network, and what its loss needs."""

    def __init__(
        self,
        network: nn.Module,
        weights: dict[str, float],
        discriminator: nn.Module | None,
        features: Features | None,
    ) -> None:
        super().__init__()
        self.network, self.weights, self.discriminator = network, weights, discriminator
        self.features = None if features is None else _fixed(features)

    def forward(self, inputs: Tensor, outputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch of pairs, and its parts."""
        found = self.network(inputs)
        if found.shape != outputs.shape:
            raise ValueError(f"network: expected answers of shape {tuple(outputs.shape)}, got {tuple(found.shape)}")
        squared = F.mse_loss(found, outputs)
        parts, told = {"L2": squared, "L1": F.l1_loss(found, outputs)}, found.new_zeros(())
        if self.features is not None:
            wanted = self.features(outputs)
            # Features have any scale: the error is relative to their size.
            error = (self.features(found) - wanted).square().mean()
            parts["perceptual"] = error / wanted.square().mean().clamp(min=1e-12)
        if self.discriminator is not None:
            fooled, told = adversarial_loss(self.discriminator, {"images": outputs, "poisoned": found})
            parts["adversarial"] = fooled
        named = {name: parts[name] for name in self.weights}
        loss = torch.stack([weight * parts[name] for name, weight in self.weights.items()]).sum()
        return loss + told, {**named, "PSNR (dB)": -10 * squared.detach().clamp(min=1e-10).log10()}


def _drawn(inputs: Tensor, outputs: Tensor, n: int, generator: torch.Generator) -> Batch:
    chosen = torch.randint(len(inputs), (n,), generator=generator, device=generator.device).to(inputs.device)
    return inputs[chosen], outputs[chosen]


def _fixed(features: Features) -> Features:
    """The same function without gradients of its weights."""
    if not isinstance(features, nn.Module):
        return features
    held = {name: value.detach() for name, value in features.named_parameters()}
    return lambda images: torch.func.functional_call(features, held, (images,))


def _check(inputs: Tensor, outputs: Tensor, loss: str, features: Features | None) -> None:
    check_images("inputs", inputs[:, :3])
    if outputs.shape != inputs[:, :3].shape:
        raise ValueError(f"outputs: expected {tuple(inputs[:, :3].shape)}, as inputs, got {tuple(outputs.shape)}")
    if loss not in LOSSES:
        raise ValueError(f"loss: expected one of {', '.join(LOSSES)}; got {loss!r}")
    if "perceptual" in LOSSES[loss] and features is None:
        raise ValueError(f"features: {loss!r} needs a function from images to features, got None")
    if "adversarial" in LOSSES[loss] and min(inputs.shape[-2:]) < 32:
        sides = " x ".join(map(str, inputs.shape[-2:]))
        raise ValueError(f"inputs: {loss!r} needs sides of 32 pixels or more, got {sides}")


# --- Circumventions ---------------------------------------------------------------------------------------------------


def fine_tuned(
    network: nn.Module,
    inputs: Float[Tensor, "n 3 h w"],
    targets: Float[Tensor, "n 3 h w"],
    recipe: Recipe = FINE_TUNING,
    *,
    seed: int,
    fabric: Fabric | None = None,
) -> nn.Module:
    """Return a copy of a surrogate, trained further on pairs that carry no mark, by their squared error.

    Args:
        network: a surrogate, which stays as it is.
        inputs: in [0, 1]; the small-scale study takes 200.
        targets: the truth, without a mark.
        recipe: steps, batch, rates.
        seed: of the batches.
        fabric: of `visionlab.train.loop.start`.
    """
    return train_surrogate(copy.deepcopy(network), inputs, targets, recipe, seed=seed, fabric=fabric).model


def pruned(network: nn.Module, share: float) -> nn.Module:
    """Return a copy of a network in which, in each convolution and linear layer, a share of the weights is zero.

    They are those nearest to zero (magnitude pruning, Han et al., 2015); biases and norms stay.

    Raises:
        ValueError: if the share lies outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share: expected 0 to 1, got {share}")
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            prune.l1_unstructured(module, "weight", amount=float(share))
            prune.remove(module, "weight")
    return network


def erased(
    extractor: nn.Module, images: Float[Tensor, "b 3 h w"], *, budget: float = 4 / 255, steps: int = 40
) -> Float[Tensor, "b 3 h w"]:
    """Change images as little as it takes for a known extractor to draw no hue: why extractors have to stay private.

    Projected gradient descent (Madry et al., 2018) along the mean hue that the extractor draws of all the images, which
    tells the owner's ink to anybody. Attacks that only see what an extractor answers: arXiv 2405.09863, 2502.20924.

    Args:
        extractor: image to drawing; white where there is no mark.
        images: in [0, 1], that carry one mark.
        budget: largest change of a pixel.
        steps: of the descent.

    Returns:
        Images (B, 3, H, W) in [0, 1].

    Raises:
        ValueError: if the budget is not positive, or there is no step.
    """
    if budget <= 0 or steps < 1:
        raise ValueError(f"budget and steps: expected both above 0, got {budget} and {steps}")
    with torch.no_grad():
        hue = chroma_direction(extractor(images).mean((0, 2, 3))[None])[0].view(1, 3, 1, 1)
    change = torch.zeros_like(images, requires_grad=True)
    for _ in range(steps):
        (slope,) = torch.autograd.grad((extractor(images + change) * hue).sum(), change)
        moved = (change - 2.5 * budget / steps * slope.sign()).clamp(-budget, budget)
        change = ((images + moved).clamp(0, 1) - images).detach().requires_grad_(True)
    return (images + change).detach()
