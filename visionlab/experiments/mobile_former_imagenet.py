"""The published seven Mobile-Formers by the authors' recipe for ImageNet (their readme, on timm 0.3.4's train script).

``torchrun … -m visionlab run mobile_former/imagenet --preset paper --data imagenet --variants mobile_former_294m``
trains one; without ImageNet, the smallest learns the satellite tiles that ship, or a folder of your own pictures.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from timm.data import create_transform
from torch import Tensor, nn
from torch.utils.data import Dataset

from visionlab.data.images import ImageSet, load
from visionlab.experiments.experiment import Experiment, Job, Outcome
from visionlab.train.loop import Recipe, fit, start
from visionlab.train.randomness import mix, seeded
from visionlab.train.stream import Batch, Renewed

__all__ = ["IMAGENET", "TABLE", "Settings"]

EPOCHS, WARM_UP, BATCH, IMAGES = 450, 3, 1024, 1_281_167


@dataclass(frozen=True)
class Settings:
    """What the readme sets for one network.

    Attributes:
        rate: peak learning rate.
        decay: weight decay.
        dropout: before the classifier.
        mixup: alpha of its Beta distribution.
        policy: timm's name of the RandAugment, none if empty.
        erasing: probability of a random rectangle of noise.
    """

    rate: float
    decay: float
    dropout: float
    mixup: float
    policy: str
    erasing: float


STRONG = "rand-m9-mstd0.5"
TABLE = {
    "mobile_former_26m": Settings(8e-4, 0.08, 0.1, 0.2, STRONG, 0.0),
    "mobile_former_52m": Settings(8e-4, 0.10, 0.2, 0.2, "", 0.0),
    "mobile_former_96m": Settings(8e-4, 0.10, 0.2, 0.0, STRONG, 0.0),
    "mobile_former_151m": Settings(9e-4, 0.10, 0.2, 0.2, STRONG, 0.2),
    "mobile_former_214m": Settings(9e-4, 0.15, 0.2, 0.2, STRONG, 0.2),
    "mobile_former_294m": Settings(1e-3, 0.20, 0.3, 0.2, STRONG, 0.2),
    "mobile_former_508m": Settings(1e-3, 0.20, 0.3, 0.2, STRONG, 0.2),
}


@dataclass(frozen=True, kw_only=True)
class ImageNet:
    """Scale of the training; rate, decay, dropout and augmentation of each network are those of `TABLE`.

    The rate is the recipe's, times that of the network over the 294M's.
    """

    recipe: Recipe
    variants: tuple[str, ...]
    side: int = 224
    crop: float = 0.875
    smoothing: float = 0.1
    workers: int = 0


def transform_of(row: Settings, side: int) -> Callable[[Image.Image], Tensor]:
    """Return timm's training transform: crop, flip, RandAugment, normalisation, erasing, with the readme's settings."""
    return create_transform(
        side, is_training=True, auto_augment=row.policy or None, re_prob=row.erasing, re_mode="pixel",
        color_jitter=0.0, interpolation="random",
    )  # fmt: skip


class Augmented(Dataset[tuple[Tensor, int]]):
    """Pictures as a transform changes them at random: always in the same way in one epoch.

    Args:
        images: of any sizes.
        transform: of `transform_of`.
        seed: numbers from which, with the picture's own, its randomness follows.
    """

    def __init__(self, images: ImageSet, transform: Callable[[Image.Image], Tensor], seed: tuple[int, ...]) -> None:
        self.images, self.transform, self.seed = images, transform, seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = self.images[index]
        with all_seeded(*self.seed, index):
            return self.transform(picture_of(image)), label


@contextmanager
def all_seeded(*numbers: int) -> Iterator[None]:
    """Seed what timm's transforms draw from, Python's, numpy's and torch's generators, for the block."""
    python, arrays, number = random.getstate(), np.random.get_state(), mix(*numbers)  # noqa: NPY002
    random.seed(number)
    np.random.seed(number % 2**32)  # noqa: NPY002
    try:
        with seeded(number):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)  # noqa: NPY002


def picture_of(image: Tensor) -> Image.Image:
    """Return an image (3, H, W) in [0, 1] as Pillow's, which timm's transforms take."""
    return Image.fromarray((image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))


def mixed(batch: Batch, rng: torch.Generator, *, alpha: float, classes: int) -> Batch:
    """Mix a batch with its reverse, one share for all, and give targets (B, classes); nothing is mixed at alpha 0."""
    images, labels = batch
    targets = F.one_hot(labels, classes).to(images.dtype)
    if alpha == 0:
        return images, targets
    share = np.random.default_rng(int(torch.randint(2**31, (), generator=rng, device=rng.device))).beta(alpha, alpha)
    return share * images + (1 - share) * images.flip(0), share * targets + (1 - share) * targets.flip(0)


def soft_loss(model: nn.Module, batch: Batch, *, smoothing: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy with label smoothing, of targets that are shares."""
    images, targets = batch
    logits = model(images)
    right = (logits.argmax(dim=-1) == targets.argmax(dim=-1)).to(logits.dtype).mean()
    return F.cross_entropy(logits, targets, label_smoothing=smoothing), {"accuracy": 100 * right}


def recipe_of(recipe: Recipe, row: Settings) -> Recipe:
    """Return a recipe with the rate and decay of a network."""
    rate = recipe.learning_rate * row.rate / TABLE["mobile_former_294m"].rate
    return replace(recipe, learning_rate=rate, weight_decay=row.decay)


@torch.no_grad()
def accuracy_on(model: nn.Module, pictures: ImageSet, side: int, crop: float) -> float:
    """Return the share of right answers in percent: shorter side to side / crop, bilinear, then the centre."""
    transform = create_transform(side, crop_pct=crop, interpolation="bilinear")
    device, right = next(model.parameters()).device, 0
    model.eval()
    for first in range(0, len(pictures), 64):
        pairs = [pictures[i] for i in range(first, min(first + 64, len(pictures)))]
        images = torch.stack([transform(picture_of(image)) for image, _ in pairs])
        answers = model(images.to(device)).argmax(1).cpu()
        right += int((answers == torch.tensor([label for _, label in pairs])).sum())
    return 100 * right / len(pictures)


def measure_imagenet(job: Job) -> Outcome:
    """Train one of the seven, and test it on the held-out pictures."""
    preset: ImageNet = job.preset
    row, pictures = TABLE[job.variant], load(job.data, "train")
    classes = len(pictures.classes)
    with seeded(job.seed):
        network = timm.create_model(job.variant, num_classes=classes, drop_rate=row.dropout)
    recipe = replace(recipe_of(preset.recipe, row), batch=min(preset.recipe.batch, len(pictures)))
    transform = transform_of(row, preset.side)

    def changed(seed: int, epoch: int) -> Augmented:
        return Augmented(pictures, transform, (seed, epoch))

    run = fit(
        network, Renewed(len(pictures), changed, preset.workers),
        partial(soft_loss, smoothing=preset.smoothing), recipe,
        seed=job.seed, fabric=start(recipe.precision, job.device),
        augment=partial(mixed, alpha=row.mixup, classes=classes), hook=job.hook, checkpoint=job.checkpoint,
    )  # fmt: skip
    held_out = load(job.data, "val" if job.data == "imagenet" else "test")
    metrics = {"accuracy (%)": accuracy_on(run.model, held_out, preset.side, preset.crop)}
    return Outcome(metrics, run.history, network=run.model)


PER_EPOCH = IMAGES // BATCH
IMAGENET = Experiment(
    name="mobile_former/imagenet",
    question="How well do the published Mobile-Formers sort pictures, trained by the authors' recipe?",
    variants=tuple(TABLE),
    measure=measure_imagenet,
    presets={
        "quick": ImageNet(
            recipe=Recipe(steps=20, batch=16, learning_rate=1e-3, warmup=5), variants=("mobile_former_26m",), side=64
        ),
        "long": ImageNet(
            recipe=Recipe(steps=1500, batch=64, learning_rate=1e-3, warmup=100), variants=("mobile_former_26m",),
            side=64,
        ),
        "gpu": ImageNet(
            recipe=Recipe(steps=3000, batch=128, learning_rate=1e-3, warmup=150, precision="bf16-mixed"),
            variants=("mobile_former_26m",), side=64, workers=8,
        ),
        # The readme, and where it is silent the defaults of timm 0.3.4, whose train script it uses.
        "paper": ImageNet(
            recipe=Recipe(
                steps=EPOCHS * PER_EPOCH, batch=BATCH, learning_rate=1e-3, weight_decay=0.2,
                warmup=WARM_UP * PER_EPOCH, floor=1e-5, clip_norm=None, precision="bf16-mixed",
            ),
            variants=tuple(TABLE), workers=16,
        ),
    },
    data=("eurosat_mini", "imagenet"),
    folders=True,
    seeds=(),
    defined_by=(TABLE, transform_of, Augmented, Renewed, mixed, soft_loss, recipe_of, accuracy_on),
)  # fmt: skip
