"""Fine-tuning CSWin on one's own pictures (arXiv 2107.00652, sections 4.1 and supplement), from published weights.

``visionlab run cswin/finetune --preset gpu --data FOLDER`` starts from the authors' file, which it tells you where to
put; ``--variants`` chooses the network. Without any download, the small network that ships is fine-tuned.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import timm
import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import Tensor, nn
from torch.utils.data import Subset

from visionlab import weights
from visionlab.data.images import ImageSet, data_root, load
from visionlab.data.transforms import flip_and_shift
from visionlab.experiments.experiment import Experiment, Job, Outcome
from visionlab.predictor import Predictor
from visionlab.train.loop import Recipe, fit, start
from visionlab.train.randomness import seeded
from visionlab.train.stream import Batch, Shuffled

__all__ = ["FINETUNE", "predictor_for", "published_file"]

RELEASES = "https://github.com/microsoft/CSWin-Transformer/releases/download/v0.1.0"
PUBLISHED = ("cswin_tiny_224", "cswin_small_224", "cswin_base_224", "cswin_base_384")
SHIPPED = "cswin_nano_eurosat"


@dataclass(frozen=True, kw_only=True)
class Finetune:
    """Scale of fine-tuning."""

    recipe: Recipe
    variants: tuple[str, ...]
    drop_path: float = 0.0
    smoothing: float = 0.1
    shift: int = 4
    workers: int = 0


def published_file(name: str) -> Path:
    """Return where the authors' weights of a network are kept.

    Raises:
        FileNotFoundError: they are not there; the message says what to put where.
    """
    path = data_root() / "weights" / f"{name}.pth"
    if not path.is_file():
        raise FileNotFoundError(
            f"weights: {name} starts from the authors' file: fetch {RELEASES}/{name}.pth and put it at {path} "
            "(VISIONLAB_DATA names another folder)"
        )
    return path


def predictor_for(variant: str, classes: tuple[str, ...], drop_path: float = 0.0) -> Predictor:
    """Return a trained network with a new classifier for some classes, and how its images are prepared."""
    if variant == SHIPPED:
        trained = weights.load(variant)
        model, size, mean, std = trained.model, trained.size, trained.mean, trained.std
    else:
        model = timm.create_model(variant, checkpoint_path=str(published_file(variant)))
        about = model.pretrained_cfg
        size, mean, std = about["input_size"][-1], about["mean"], about["std"]
    cast(Any, model).reset_classifier(len(classes))
    _set_drop_path(model, drop_path)
    return Predictor(model.requires_grad_(True), classes=classes, size=size, mean=mean, std=std)


def sets_of(data: str, size: int) -> tuple[ImageSet, Subset[tuple[Tensor, int]] | ImageSet, ImageSet | Subset]:
    """Return all training pictures, those to learn from, and those to test on.

    A folder without a test split is divided: of each class every fifth picture, in the order of names, is for the test.
    """
    whole = load(data, "train", size=size)
    try:
        return whole, whole, load(data, "test", size=size)
    except ValueError:
        place = torch.zeros(len(whole), dtype=torch.int64)
        for label in whole.labels.unique():
            mine = (whole.labels == label).nonzero()[:, 0]
            place[mine] = torch.arange(len(mine)) % 5
        if not (place == 4).any():
            raise ValueError(f"data: {data} has no test split, and fewer than five pictures of every class") from None
        learn, test = ((place != 4).nonzero()[:, 0].tolist(), (place == 4).nonzero()[:, 0].tolist())
        return whole, Subset(whole, learn), Subset(whole, test)


def finetune_loss(model: nn.Module, batch: Batch, *, smoothing: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy with label smoothing."""
    images, labels = batch
    logits = model(images)
    accuracy = (logits.argmax(dim=-1) == labels).to(logits.dtype).mean()
    return F.cross_entropy(logits, labels, label_smoothing=smoothing), {"accuracy": 100 * accuracy}


def measure_finetune(job: Job) -> Outcome:
    """Fine-tune one network on pictures under small moves and mirroring, and test it on others."""
    preset: Finetune = job.preset
    classes = load(job.data, "train").classes
    with seeded(job.seed):
        predictor = predictor_for(job.variant, classes, preset.drop_path)
    _, learn, test = sets_of(job.data, predictor.size)

    def prepare(batch: Batch, rng: torch.Generator) -> Batch:
        return predictor.normalise(flip_and_shift(batch[0], shift=preset.shift, generator=rng)), batch[1]

    recipe = replace(preset.recipe, batch=min(preset.recipe.batch, len(learn)))
    run = fit(
        predictor.model, Shuffled(learn, workers=preset.workers), partial(finetune_loss, smoothing=preset.smoothing),
        recipe, seed=job.seed, fabric=start(recipe.precision, job.device), augment=prepare,
        hook=job.hook, checkpoint=job.checkpoint,
    )  # fmt: skip
    return Outcome({"accuracy (%)": accuracy_on(run.model, predictor, test)}, run.history, network=run.model)


@torch.no_grad()
def accuracy_on(model: nn.Module, predictor: Predictor, test: ImageSet | Subset) -> float:
    """Return the share of right answers in percent, read from the disk a few pictures at a time."""
    device, right = next(model.parameters()).device, 0
    model.eval()
    for first in range(0, len(test), 64):
        pairs = [test[i] for i in range(first, min(first + 64, len(test)))]
        images = predictor.normalise(torch.stack([image for image, _ in pairs]).to(device))
        right += int((model(images).argmax(1).cpu() == torch.tensor([label for _, label in pairs])).sum())
    return 100 * right / len(test)


def _set_drop_path(model: nn.Module, rate: float) -> None:
    drops = [module for module in model.modules() if isinstance(module, DropPath)]
    for i, drop in enumerate(drops):
        drop.drop_prob = rate * i / max(1, len(drops) - 1)


FINETUNE = Experiment(
    name="cswin/finetune",
    question="How well does a trained CSWin sort your own pictures?",
    variants=(SHIPPED, *PUBLISHED),
    measure=measure_finetune,
    presets={
        "quick": Finetune(
            recipe=Recipe(steps=100, batch=32, learning_rate=1e-3, warmup=10), variants=(SHIPPED,), shift=3
        ),
        "long": Finetune(
            recipe=Recipe(steps=1000, batch=32, learning_rate=1e-3, warmup=50, ema=0.998), variants=(SHIPPED,), shift=3
        ),
        # Card 4.2: low rates, drop path and an average of the weights.
        "gpu": Finetune(
            recipe=Recipe(
                steps=2000, batch=64, learning_rate=5e-5, weight_decay=1e-8, warmup=100, ema=0.9996,
                precision="bf16-mixed",
            ),
            variants=("cswin_tiny_224",), drop_path=0.2, shift=16, workers=8,
        ),
    },
    data=("eurosat_mini",),
    folders=True,
    seeds=(),
    defined_by=(predictor_for, sets_of, finetune_loss, accuracy_on, flip_and_shift),
)  # fmt: skip
