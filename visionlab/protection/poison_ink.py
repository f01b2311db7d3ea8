"""Poison Ink: a backdoor written on the edges of the image, invisible, and robust to flips, turns and crops.

Zhang et al., IEEE TIP 2022, arXiv 2108.02488; published code ``ZJZAC/Poison-Ink``. For teaching, and for testing one's
own models and defences.

==================================================  ============================================================
paper                                               here
==================================================  ============================================================
structure extraction and colouring                  `structure.edges`, `structure.ink_pattern`
deep injection network (IN)                         `hiding.Hider`; published: `hiding_published.InjectionUNet`
guidance extractor (GE)                             `hiding.Reader`; published: `hiding_published.GuidanceExtractor`
interference layer                                  `interference.Interference`
L_inv, L_te, L_cl: invisible, there, only there     `ink_loss`
adversarial stage                                   `adversarial_loss`, `hiding_published.PatchDiscriminator`
incremental training                                `train_ink`, one `Interference` a stage
poisoning, victims, attack success rate             `victims`
rival attacks                                       `triggers`
defences                                            `defences`
experiments and claims                              `visionlab.experiments.poison_ink`
==================================================  ============================================================

Ours differs at small scale: the published networks have 12 million parameters and train on a GPU; the small ones learn
a residual on top of a faint fixed tint of the edges, which gives the reader something to find from the first step, and
an edge is what stands out in *this* image (`structure.adaptive_threshold`), so that smooth images carry ink as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from visionlab.data.graded import to_8_bits, warp
from visionlab.protection.hiding import ColourHider, Hider, Reader
from visionlab.protection.interference import Interference, through_jpeg
from visionlab.protection.structure import FixedPattern, edges, ink_pattern, random_inks
from visionlab.train.loop import Fit, Hook, Recipe, fit
from visionlab.train.stream import Batch, Paced, Shuffled

__all__ = [
    "PoisonInk",
    "Weights",
    "adversarial_loss",
    "against_discriminator",
    "colour_found",
    "ink_loss",
    "many_inks",
    "train_ink",
]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """How much each part of the loss counts.

    Args:
        invisible: mean squared difference of poisoned and clean image, once it counts in full.
        wait: share of the steps in which it does not count, else the hider finds that hiding nothing is best.
        ramp: share of the steps in which it comes to count.
        edge: error of the drawing on the edges of a poisoned image.
        background: and beside them.
        clean: error of the drawing of a clean image, which must be white. It has to outweigh ``edge``: edges can be
            drawn without any ink, which looks like success until one asks the reader about a clean image.
        colour: error of the mean colour of the drawing over the edges; that of a clean image counts twice. It helps
            where the networks serve several inks.
        adversarial: of `adversarial_loss`.
    """

    invisible: float = 60.0
    wait: float = 0.25
    ramp: float = 0.4
    edge: float = 4.0
    background: float = 1.0
    clean: float = 8.0
    colour: float = 0.0
    adversarial: float = 0.0

    def visible(self, progress: Tensor) -> Tensor:
        """Return the weight of ``invisible`` at a share of the run."""
        return self.invisible * ((progress - self.wait) / max(self.ramp, 1e-9)).clamp(0, 1)


class PoisonInk(nn.Module):
    """Hider and reader that are trained together.

    Args:
        hider: image and pattern to residual, or to the poisoned image where it has no ``tint``.
        reader: image to pattern.
        tint: share of the pattern that is laid over the edges beside what the hider adds.
        structure: where ink goes in an image, ``(images, outside=None) -> mask``.
        discriminator: for the adversarial stage.
    """

    def __init__(
        self,
        hider: nn.Module | None = None,
        reader: nn.Module | None = None,
        *,
        tint: float = 0.1,
        structure: Callable[..., Tensor] = edges,
        discriminator: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.hider = hider if hider is not None else Hider()
        self.reader = reader if reader is not None else Reader()
        self.tint = tint
        self.structure = structure
        self.discriminator = discriminator

    def hide(
        self,
        images: Float[Tensor, "b 3 h w"],
        ink: Float[Tensor, "b 3"],
        *,
        mask: Float[Tensor, "b 1 h w"] | None = None,
        gain: float = 1.0,
    ) -> Float[Tensor, "b 3 h w"]:
        """Return poisoned images (B, 3, H, W), 8 bits a channel, of images in [0, 1].

        Args:
            images: any size that the hider takes.
            ink: colour in [0, 1] of each image.
            mask: where the ink goes; by default on the structure of each image.
            gain: how strongly: 0 hides nothing, above 1 is easier to learn and to see.
        """
        mask = self.structure(images) if mask is None else mask
        pattern = ink_pattern(mask, ink.to(images))
        change = self.hider(images, pattern)
        if self.tint:
            change = change + self.tint * mask * (pattern - images)
        else:
            change = change - images
        return to_8_bits((images + gain * change).clamp(0, 1))

    def read(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return the drawing (B, 3, H, W) of what is hidden in images in [0, 1]: white where nothing is."""
        return self.reader(images)

    def forward(
        self,
        images: Float[Tensor, "b 3 h w"],
        ink: Float[Tensor, "b 3"],
        angle: Float[Tensor, " b"],
        scale: Float[Tensor, " b"],
        shift: Float[Tensor, "b 2"],
        mirrored: Tensor,
        quality: Tensor,
    ) -> dict[str, Tensor]:
        """Hide, interfere, read; return images, drawings, and what they should be.

        The mask of what should be drawn is that of the *transformed* clean image, so the reader learns which edges an
        image has and whether they are inked, not where ink was put; a fixed pattern is drawn where it has gone to. The
        black around a turned image is no structure.
        """
        poisoned = self.hide(images, ink)

        move = partial(warp, angle=angle, scale=scale, shift=shift, mirrored=mirrored)

        def interfere(x: Tensor) -> Tensor:
            return through_jpeg(move(x), quality)

        inside = move(torch.ones_like(images[:, :1]))
        outside = F.max_pool2d((inside < 0.99).to(images.dtype), 3, stride=1, padding=1)
        clean = interfere(images)
        if isinstance(self.structure, FixedPattern):
            mask = (move(self.structure(images)) > 0.5).to(images.dtype) * (1 - outside)
        else:
            mask = self.structure(clean, outside=outside)
        return {
            "images": images, "poisoned": poisoned, "outside": outside, "mask": mask,
            "pattern": ink_pattern(mask, ink.to(images)),
            "drawing": self.reader(interfere(poisoned)), "clean drawing": self.reader(clean),
        }  # fmt: skip


def many_inks() -> PoisonInk:
    """Networks for any ink that has a hue, such as `structure.HUES`: ours, see `hiding.ColourHider`."""
    return PoisonInk(ColourHider(), tint=0.0)


def ink_loss(parts: dict[str, Tensor], weights: Weights, progress: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of hider and reader: L_inv, L_te on and beside the edges, L_cl; squared errors all of them.

    Args:
        parts: from `PoisonInk.forward`.
        weights: of the parts.
        progress: share of the run that is done, in [0, 1].
    """
    error = (parts["poisoned"] - parts["images"]).square().mean()
    wrong = (parts["drawing"] - parts["pattern"]).square().mean(1, keepdim=True)
    inside = 1 - parts["outside"]
    edge = _mean_over(wrong, parts["mask"])
    background = _mean_over(wrong, inside * (1 - parts["mask"]))
    clean = _mean_over((parts["clean drawing"] - 1).square().mean(1, keepdim=True), inside)
    loss = weights.visible(progress) * error
    loss = loss + weights.edge * edge + weights.background * background + weights.clean * clean
    if weights.colour:
        loss = loss + weights.colour * _colour_error(parts)
    psnr = -10 * error.detach().clamp(min=1e-10).log10()
    return loss, {"PSNR (dB)": psnr, "edge error": edge, "clean error": clean}


def adversarial_loss(discriminator: nn.Module, parts: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Least-squares losses of hider and discriminator, in one pass: each sees the other as fixed.

    (D(p) - 1)^2 for the hider, and ((D(x) - 1)^2 + D(p)^2) / 2 for the discriminator.
    """
    fixed = {name: value.detach() for name, value in discriminator.named_parameters()}
    judged = torch.func.functional_call(discriminator, fixed, (parts["poisoned"],))
    real, false = discriminator(parts["images"]), discriminator(parts["poisoned"].detach())
    return (judged - 1).square().mean(), ((real - 1).square().mean() + false.square().mean()) / 2


def against_discriminator(
    model: nn.Module, parts: dict[str, Tensor], loss: Tensor, named: dict[str, Tensor], weight: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return a loss and its named parts with those of the model's ``discriminator``, if it has one and it counts."""
    discriminator = getattr(model, "module", model).discriminator
    if not weight or not isinstance(discriminator, nn.Module):
        return loss, named
    fooled, told = adversarial_loss(discriminator, parts)
    return loss + weight * fooled + told, named | {"fooled": fooled, "told apart": told}


def train_ink(
    networks: PoisonInk,
    images: Float[Tensor, "n 3 h w"],
    recipe: Recipe,
    stages: Sequence[Interference] = (Interference(),),
    *,
    weights: Weights | None = None,
    inks: Sequence[tuple[int, int, int]] | None = None,
    seed: int,
    fabric: Fabric | None = None,
    hook: Hook | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Fit:
    """Train hider and reader in place, one stage after the other, each starting from what the last one gave.

    Args:
        networks: what is trained.
        images: in [0, 1]; no labels are needed.
        recipe: of each stage.
        stages: published: none, then with rotation, crop, flip in turn, all earlier ones kept; ours: all at once.
        weights: of the loss.
        inks: (0 to 255), of which each image draws one; by default the 125 of `structure.random_inks`. The networks
            serve the inks that they were trained with.
        seed: of data and interference; weights are the caller's.
        fabric: of `visionlab.train.loop.start`.
        hook: of the loop.
        checkpoint: file to resume from; later stages add their number to its name.
    """
    side = max(images.shape[-2:])
    run = Fit(networks)
    for stage, interference in enumerate(stages):
        run_before = run
        run = fit(
            networks,
            Paced(Shuffled(TensorDataset(images)), recipe.steps),
            partial(_loss, weights=weights or Weights()),
            recipe,
            seed=seed + 1000 * stage, fabric=fabric, hook=hook,
            augment=partial(_interfered, interference=interference, inks=inks, side=side),
            checkpoint=None if checkpoint is None else _numbered(Path(checkpoint), stage),
        )  # fmt: skip
        for row in run.history:
            row["step"] += stage * recipe.steps
        run.history = run_before.history + run.history
        run.seconds += run_before.seconds
    return run


@torch.no_grad()
def colour_found(
    networks: PoisonInk, images: Float[Tensor, "b 3 h w"], *, outside: Float[Tensor, "b 1 h w"] | None = None
) -> tuple[Float[Tensor, "b 3"], Float[Tensor, " b"]]:
    """What the reader draws on the edges: its mean colour (B, 3), and the share of pixels that are edges (B,).

    Where fewer than 1 % of the pixels are edges the colour is white: no ink, not black.

    Args:
        networks: trained.
        images: in [0, 1].
        outside: 1 where a turned image has no content, as in `structure.edges`.
    """
    mask = networks.structure(images, outside=outside)
    share = mask.flatten(1).mean(1)
    total = (networks.read(images) * mask).flatten(2).sum(2)
    mean = total / mask.flatten(1).sum(1, keepdim=True).clamp(min=1)
    return torch.where((share < 0.01)[:, None], torch.ones_like(mean), mean), share


def _loss(model: nn.Module, batch: Batch, *, weights: Weights) -> tuple[Tensor, dict[str, Tensor]]:
    images, progress, *drawn = batch
    parts = model(images, *drawn)
    return against_discriminator(model, parts, *ink_loss(parts, weights, progress[0]), weights.adversarial)


def _interfered(
    batch: Batch,
    generator: torch.Generator,
    *,
    interference: Interference,
    inks: Sequence[tuple[int, int, int]] | None,
    side: int,
) -> Batch:
    images, progress = batch
    drawn = random_inks(len(images), inks, generator=generator)
    return (images, progress, drawn, *interference.draw(len(images), side, generator))


def _mean_over(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of values (B, 1, H, W) where a mask of the same shape is 1; 0 where it is empty."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def _numbered(path: Path, stage: int) -> Path:
    return path if stage == 0 else path.with_name(f"{path.stem}-stage{stage}{path.suffix}")


def _colour_error(parts: dict[str, Tensor]) -> Tensor:
    """Squared error of the mean colour over the edges, of images with 20 pixels of edge or more."""
    area = parts["mask"].flatten(2).sum(2)
    usable = (area >= 20).to(area.dtype)

    def error(drawing: Tensor, wanted: Tensor) -> Tensor:
        means = [(part * parts["mask"]).flatten(2).sum(2) / area.clamp(min=1) for part in (drawing, wanted)]
        return ((means[0] - means[1]).square() * usable).sum() / (3 * usable.sum()).clamp(min=1)

    clean = parts["clean drawing"]
    return error(parts["drawing"], parts["pattern"]) + 2 * error(clean, torch.ones_like(clean))
