"""MicroNet-M0 to M3 by the paper's recipe (arXiv 2108.05894, section 5), on ImageNet or on a folder of one's own.

``torchrun --nproc-per-node 4 -m visionlab run micronet/imagenet --preset paper --data imagenet`` is the published run.
Where paper and published scripts differ, the scripts are followed: their rate is 0.2, ten times the paper's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN as MEAN
from timm.data import IMAGENET_DEFAULT_STD as STD
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from visionlab.data.images import ImageSet, load
from visionlab.data.transforms import normalise
from visionlab.experiments.experiment import Experiment, Job, Outcome
from visionlab.experiments.small_images import classify_loss
from visionlab.train.loop import Momentum, fit, start
from visionlab.train.randomness import seeded
from visionlab.train.stream import Batch, Renewed

__all__ = ["IMAGENET", "Pieces", "Published"]

NETWORKS = tuple(f"micronet_m{i}" for i in range(4))
IMAGES = 1_281_167  # of ImageNet's training set


@dataclass(frozen=True, kw_only=True)
class Published:
    """How M0 to M3 are trained.

    Args:
        recipe: of M0, M1 and M2.
        recipe_m3: of M3.
        size: side of the images; tests cut them from the middle of images 8/7 as large.
        workers: processes that load images.
        variants: that run by default; none for all.
    """

    recipe: Momentum
    recipe_m3: Momentum
    size: int = 224
    workers: int = 0
    variants: tuple[str, ...] = ()


class Pieces(Dataset[tuple[Tensor, int]]):
    """Each image as a random piece of it, mirrored or not: always the same piece in one epoch.

    Args:
        images: of any sizes.
        size: side of a piece after scaling.
        seed: numbers from which, with the image's own, its randomness follows.
    """

    def __init__(self, images: ImageSet, size: int, seed: tuple[int, ...]) -> None:
        self.images, self.size, self.seed = images, size, seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = self.images[index]
        with seeded(*self.seed, index):
            top, left, height, width = v2.RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3])
            mirrored = bool(torch.rand(()) < 0.5)
        piece = F.resized_crop(image, top, left, height, width, [self.size, self.size], antialias=True)
        return (piece.flip(-1) if mirrored else piece), label


def measure_imagenet(job: Job) -> Outcome:
    """Train one network on random pieces of images, and test it on the middle of others."""
    preset: Published = job.preset
    recipe = preset.recipe_m3 if job.variant == "micronet_m3" else preset.recipe
    images = load(job.data, "train")
    recipe = replace(recipe, batch=min(recipe.batch, len(images)))

    def pieces(seed: int, epoch: int) -> Pieces:
        return Pieces(images, preset.size, (seed, epoch))

    with seeded(job.seed):
        network = timm.create_model(job.variant, num_classes=len(images.classes))
    run = fit(
        network, Renewed(len(images), pieces, preset.workers), partial(classify_loss, smoothing=0.0), recipe,
        seed=job.seed, fabric=start(recipe.precision, job.device), augment=prepare, hook=job.hook,
        checkpoint=job.checkpoint,
    )  # fmt: skip
    return Outcome({"accuracy (%)": tested(run.model, job.data, preset.size)}, run.history, network=run.model)


def prepare(batch: Batch, _: torch.Generator) -> Batch:
    """Normalise the images of a batch."""
    images, labels = batch
    return normalise(images, MEAN, STD), labels


@torch.no_grad()
def tested(model: nn.Module, data: str, size: int) -> float:
    """Return the accuracy in percent on the middle of images of the test set, or of ImageNet's validation set."""
    test = load(data, "val" if data == "imagenet" else "test", size=size * 8 // 7)
    device, right = next(model.parameters()).device, 0
    model.eval()
    for first in range(0, len(test), 100):
        pairs = [test[i] for i in range(first, min(first + 100, len(test)))]
        images = F.center_crop(torch.stack([image for image, _ in pairs]), [size, size]).to(device)
        answers = model(normalise(images, MEAN, STD)).argmax(1).cpu()
        right += int((answers == torch.tensor([label for _, label in pairs])).sum())
    return 100 * right / len(test)


def recipe(steps: int, batch: int, rate: float, warmup: int = 0, decay: float = 3e-5) -> Momentum:
    """Return stochastic gradient descent with a cosine to zero, as in the published scripts."""
    return Momentum(
        steps=steps, batch=batch, learning_rate=rate, weight_decay=decay, warmup=warmup, nesterov=False, clip_norm=None
    )


EPOCH = IMAGES // 512
SHORT, LONG, LARGE = recipe(100, 32, 0.05, 10), recipe(1500, 32, 0.05, 100), recipe(3000, 256, 0.1, 300)
IMAGENET = Experiment(
    name="micronet/imagenet",
    question="What do MicroNet-M0 to M3 reach on ImageNet, or on your own pictures, by the paper's recipe?",
    variants=NETWORKS,
    measure=measure_imagenet,
    presets={
        "quick": Published(recipe=SHORT, recipe_m3=SHORT, size=64, variants=NETWORKS[:1]),
        "long": Published(recipe=LONG, recipe_m3=LONG, size=64, variants=NETWORKS[:1]),
        "gpu": Published(recipe=LARGE, recipe_m3=LARGE, workers=8, variants=NETWORKS[:1]),
        # Card 4.1: 600 epochs in batches of 512, M3 with five epochs of warm-up and more decay.
        "paper": Published(
            recipe=recipe(600 * EPOCH, 512, 0.2),
            recipe_m3=recipe(600 * EPOCH, 512, 0.2, 5 * EPOCH, 4e-5),
            workers=16,
        ),
    },
    data=("eurosat_mini", "imagenet"),
    folders=True,
    seeds=(),
    defined_by=(Pieces, Renewed, prepare, tested, recipe, classify_loss, normalise),
)
