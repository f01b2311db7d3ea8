"""The setting of all experiments on watermarks: whose images are whose, what the owner trains, how answers are judged.

Structure marks (arXiv 2108.02360) and the spatial baseline (2002.11088, 2103.04980) protect the same network: one that
takes rain off pictures. As in the papers, what it answers are the pictures without rain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from visionlab import weights
from visionlab.data import world
from visionlab.data.images import load
from visionlab.experiments.experiment import Job
from visionlab.protection import owner
from visionlab.protection.hiding import ColourHider
from visionlab.protection.owner import Owned, Recipes, own_spatial, own_structure
from visionlab.protection.poison_ink import Weights
from visionlab.protection.robustness import STANDARD, changed, uncovered
from visionlab.protection.spatial_mark import Faint, Printed, SpatialMark, logo, rings
from visionlab.protection.splits import split
from visionlab.protection.surrogate import AUGMENTATIONS, FINE_TUNING, RECIPE, train_surrogate
from visionlab.protection.surrogate_networks import SurrogateUNet
from visionlab.protection.tasks import answers, pairs
from visionlab.protection.verification import (
    Calibration,
    Evidence,
    calibrate,
    spatial_evidence,
    structure_evidence,
    verify,
)
from visionlab.protection.watermark import Reading, StructureMark
from visionlab.protection.watermark_training import WEIGHTS, train_mark
from visionlab.train.loop import Recipe, start
from visionlab.train.randomness import generator, mix, seeded

__all__ = [
    "CHANGES", "SETS", "SYMBOLS", "Mark", "Pairs", "Setting", "calibrated", "evidence", "file_of", "held",
    "initial_owner", "mark_of", "owner_of", "pairs_of", "read", "shipped", "surrogate_of",
]  # fmt: skip

Mark = StructureMark | SpatialMark
Steps = tuple[tuple[str, float], ...]
SYMBOLS = (3,)
"""The owner's, of eight hues: sea green."""
CHANGES: dict[str, Steps] = {
    name: STANDARD[name] for name in ("none", "flip", "rotation 15", "crop 7/8", "blur 0.8", "noise 10/255", "JPEG 75")
}
"""What may have been made of answers before the owner sees them: thresholds hold for all of them."""
SETS = 100
"""Random sets of answers, of which the share with a claim is told."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Scale of an experiment.

    Args:
        thief: recipe of the thief's network.
        tuning: of fine-tuning on clean pairs, where a thief does that.
        clean: of the owner's surrogate of clean answers.
        structure: of the structure mark's initial stage.
        structure_marked: of the owner's surrogate of its answers.
        structure_reading: of its adversarial stage.
        spatial: the same three for the logo.
        spatial_marked: see above.
        spatial_reading: see above.
        loss: weights of the structure mark's loss.
        amplitude: of the structure mark, see `hiding.ColourHider`.
        decibels: of the logo, see `spatial_mark.Faint`; so that both have the same mean PSNR.
        size: side of the images.
        task: what the protected network does, see `tasks.TASKS`.
        owner: images of the owner.
        n: images of the thief.
        calibration: clean images that set thresholds.
        test: images that are asked about in the end.
        shipped: take the marks that ship instead of training them.
        variants: that run by default; none for all.
    """

    thief: Recipe = RECIPE
    tuning: Recipe = FINE_TUNING
    clean: Recipe = Recipes().clean
    structure: Recipe = Recipes().initial
    structure_marked: Recipe = Recipes().marked
    structure_reading: Recipe = Recipes().adversarial
    spatial: Recipe = owner.SPATIAL.initial
    spatial_marked: Recipe = owner.SPATIAL.marked
    spatial_reading: Recipe = owner.SPATIAL.adversarial
    loss: Weights = field(default_factory=lambda: WEIGHTS)
    amplitude: float = 0.12
    decibels: float = 32.4
    size: int = 32
    task: str = "rain"
    owner: int = 950
    n: int = 950
    calibration: int = 500
    test: int = 600
    shipped: bool = False
    variants: tuple[str, ...] = ()

    def recipes(self, kind: str) -> Recipes:
        """Return the owner's recipes for "structure" or any logo."""
        if kind == "structure":
            stages = (self.structure, self.structure_marked, self.structure_reading)
        else:
            stages = (self.spatial, self.spatial_marked, self.spatial_reading)
        return Recipes(clean=self.clean, initial=stages[0], marked=stages[1], adversarial=stages[2])


Pairs = dict[str, tuple[Tensor, Tensor]]


def pairs_of(job: Job) -> Pairs:
    """Return questions and clean answers (N, 3, H, W) of owner, thief, calibration and test, which share no image."""
    preset: Setting = job.preset
    sizes = {"owner": preset.owner, "thief": preset.n, "calibration": preset.calibration, "test": preset.test}
    if job.data == "world":
        images = world.dataset("shapes", "train", sum(sizes.values()), size=preset.size, seed=job.seed).tensors()[0]
    else:
        images = torch.cat([load(job.data, part, size=preset.size).tensors()[0] for part in ("train", "test")])
    whose = split(len(images), job.seed, **sizes)
    drawn = generator(job.seed, 0)
    return {name: pairs(images[getattr(whose, name)], preset.task, generator=drawn) for name in sizes}


def mark_of(kind: str, preset: Setting, seed: int) -> Mark:
    """Return the networks of a mark, "structure", "logo", "rings" or "printed rings", untrained."""
    with seeded(seed, 1):
        if kind == "structure":
            return StructureMark(ColourHider(amplitude=preset.amplitude))
        embedder = Printed if kind == "printed rings" else Faint
        return SpatialMark(logo(mix(seed)) if kind == "logo" else rings(), embedder(decibels=preset.decibels))


def file_of(job: Job, name: str) -> Path | None:
    """Return the checkpoint of what all variants of a run with a seed share."""
    if job.checkpoint is None:
        return None
    run_of = job.checkpoint.name.partition("-")[0]
    return job.checkpoint.with_name(f"{run_of}-{job.data}-{job.preset.task}-{name}-{job.seed}.pt")


def owner_of(job: Job, kind: str, own: tuple[Tensor, Tensor]) -> Owned:
    """Train the owner's networks of a kind, as `mark_of` has them, on the owner's pairs; or load them, if they ship."""
    preset: Setting = job.preset
    if preset.shipped and kind in MARKS:
        mark = shipped(MARKS[kind], job.data)
        return Owned(mark, mark, shipped("thief_clean_none", job.data), [])

    def file(stage: str) -> Path:
        found = file_of(job, f"owner-{stage if stage == 'clean' else f'{kind}-{stage}'}")
        assert found is not None
        return found

    train: Callable[..., Owned] = own_structure if kind == "structure" else own_spatial
    more = {"weights": preset.loss} if kind == "structure" else {}
    return train(
        mark_of(kind, preset, job.seed), *own, preset.recipes(kind), seed=job.seed, device=job.device, hook=job.hook,
        checkpoint=file if job.checkpoint else None, **more,
    )  # fmt: skip


def surrogate_of(
    job: Job,
    name: str,
    width: int,
    asked: Tensor,
    given: Tensor,
    recipe: Recipe,
    *,
    augmentation: str = "none",
    draw: int = 2,
) -> SurrogateUNet:
    """Train a surrogate, kept under a name that all variants of a run share; ``draw`` tells its first weights apart."""
    with seeded(job.seed, draw):
        network = SurrogateUNet(width, levels=(job.preset.size // 4).bit_length() - 1)
    train_surrogate(
        network, asked, given, recipe, augmentation=AUGMENTATIONS[augmentation], seed=job.seed,
        fabric=start(recipe.precision, job.device), checkpoint=file_of(job, f"surrogate-{name}"),
    )  # fmt: skip
    return network.cpu().eval()


def initial_owner(job: Job, own: tuple[Tensor, Tensor], loss: Weights, checkpoint: Path | None) -> Owned:
    """Train a structure mark on the owner's pairs by its initial stage alone, which a mark on edges can do with."""
    preset: Setting = job.preset
    asked, truth = own
    clean = surrogate_of(job, "clean", owner.WIDTH, asked, truth, preset.clean)
    mark = mark_of("structure", preset, job.seed)
    assert isinstance(mark, StructureMark)
    run = train_mark(
        mark, asked, truth, answers(clean, asked), preset.structure, weights=loss, seed=job.seed,
        fabric=start(preset.structure.precision, job.device), hook=job.hook, checkpoint=checkpoint,
    )  # fmt: skip
    mark.cpu().eval()
    return Owned(mark, mark, clean, run.history)


MARKS = {"structure": "mark", "logo": "logo"}
"""First part of the names of the weights of marks that ship."""


def shipped(name: str, data: str) -> nn.Module:
    """Return a network that ships, by the first part of its name."""
    return weights.load(f"{name}_{'world' if data == 'world' else 'eurosat'}").model


# --- Judging ----------------------------------------------------------------------------------------------------------


def read(mark: Mark, images: Tensor, steps: Steps = (), *, seed: int = 0) -> Reading | Tensor:
    """Return what the owner reads from images, changed in some way: colours of a structure mark, blocks of a logo."""
    after = changed(images, steps, seed=seed)
    if isinstance(mark, SpatialMark):
        return mark.blocks(after)
    return mark.decode(after, outside=uncovered(images, steps, seed=seed))


def evidence(mark: Mark, found: Reading | Tensor, symbols: tuple[int, ...] = SYMBOLS) -> Evidence:
    """Return what a reading says for the mark of an owner, whose symbols a logo does not have."""
    if isinstance(mark, SpatialMark):
        assert isinstance(found, Tensor)
        return spatial_evidence(mark, found)
    assert isinstance(found, Reading)
    return structure_evidence(mark, found, symbols)


def calibrated(mark: Mark, clean: nn.Module, images: tuple[Tensor, Tensor], *, seed: int = 0) -> Calibration:
    """Set the threshold by clean answers and by those of a clean surrogate, each under all of `CHANGES`."""
    asked, truth = images
    kinds = (truth, answers(clean, asked))
    return calibrate(*(evidence(mark, read(mark, x, steps, seed=seed)) for x in kinds for steps in CHANGES.values()))


def held(mark: Mark, found: Reading | Tensor, calibration: Calibration, n: int, *, seed: int) -> float:
    """Percent of random sets of n answers for which the mark is claimed."""
    draw, holds = generator(seed, n), 0
    for _ in range(SETS):
        some = torch.randperm(len(found), generator=draw)[:n]
        holds += verify(evidence(mark, found[some]), calibration).holds
    return 100 * holds / SETS
