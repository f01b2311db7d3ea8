"""Mobile-Former as the backbone of two detectors, on scenes of the world (arXiv 2108.05895, sections on detection).

One is our sketch of E2E-MF, whose head has queries; the other an FCOS on a feature pyramid, which has no tokens at all.
A Mobile-Former backbone against two without tokens and of no fewer multiply-adds, under the same head: a wider Mobile,
and the same with the activations of MobileNetV3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from timm.models._features import FeatureGetterNet
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from visionlab.backbones.mobile_former import MobileFormer
from visionlab.backbones.mobile_former_bridge import Former, ToFormer, ToMobile
from visionlab.backbones.mobile_former_mobile import DynamicReLU, Slopes, Votes
from visionlab.backbones.mobile_former_nano import Excite, excited, nano_network
from visionlab.data import world
from visionlab.data.transforms import normalise
from visionlab.experiments.claim import Claim
from visionlab.experiments.dense_scenes import MEAN, SIZE, STD, Dense, measure_boxes
from visionlab.experiments.dense_scenes import box_loss as pyramid_loss
from visionlab.experiments.dense_scenes import scenes_of as pyramid_scenes
from visionlab.experiments.experiment import Experiment, Job, Outcome
from visionlab.heads.detection import Detector, detector, targets_of
from visionlab.heads.mobile_former_detection import MobileFormerDetector, QueryBlock, UpSampling, match, set_losses
from visionlab.measure.cost import multiply_adds
from visionlab.measure.dense import average_precision, sure_boxes
from visionlab.train.loop import Recipe, fit, start
from visionlab.train.randomness import seeded
from visionlab.train.stream import Batch, Shuffled

__all__ = ["DETECTION", "PYRAMID", "VARIANTS", "kept_scenes"]

WIDE: dict[str, Any] = {"tokens": (0, 32), "slopes": "static", "channels": (12, 18, 28, 44, 84)}
V3 = "wide MobileNetV3"
BACKBONES: dict[str, dict[str, Any]] = {
    "Mobile-Former": {"tokens": (6, 32), "slopes": "spatial"},
    "wide Mobile": WIDE,
    V3: WIDE | {"channels": (12, 18, 28, 40, 76)},
}
VARIANTS = tuple(BACKBONES)
OVERLAPS = tuple(0.5 + 0.05 * i for i in range(10))  # COCO's AP is the mean over these


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """Scale of the experiment."""

    recipe: Recipe
    n: int
    test: int
    classes: tuple[str, ...] = ("sphere", "cube")
    objects: int = 1
    sizes: tuple[str, ...] = ("large",)
    queries: int = 4
    dim: int = 64
    blocks: tuple[int, ...] = (1, 1, 1)
    no_object: float = 0.2
    kept: int = 4  # test scenes whose boxes are kept, to be looked at


def scenes_of(preset: Boxes, seed: int, split: str, n: int) -> tuple[Tensor, Tensor]:
    """Return images (n, 3, 64, 64) in [0, 1] and boxes (n, objects, 5)."""
    knobs = {name: getattr(preset, name) for name in ("classes", "objects", "sizes")}
    images, boxes = world.dataset("detection", split, n, size=SIZE, seed=seed, **knobs).tensors()
    return images, torch.as_tensor(boxes)


def kept_scenes(preset: Boxes, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return the scenes whose answers a run keeps: images (kept, 64, 64, 3) in [0, 1], and boxes (k, 6) as it has them.

    A box is the number of its image, left, top, right, bottom in pixels, and its class from 0 on.
    """
    images, boxes = scenes_of(preset, seed, "test", preset.kept)
    there = [[i, *box] for i, each in enumerate(boxes.tolist()) for box in each if box[4] >= 0]
    return images.permute(0, 2, 3, 1).numpy(), np.array(there, dtype=np.float32)


def backbone_of(variant: str) -> MobileFormer:
    """Return a backbone without its classifier."""
    backbone = nano_network(num_classes=0, **BACKBONES[variant])
    return excited(backbone) if variant == V3 else backbone


def detector_of(variant: str, preset: Boxes) -> tuple[MobileFormerDetector, float]:
    """Return a detector, and the cost of its backbone in millions of multiply-adds."""
    network = MobileFormerDetector(
        backbone_of(variant), len(preset.classes), queries=preset.queries, dim=preset.dim, blocks=preset.blocks
    )
    return network, multiply_adds(network.backbone, torch.zeros(1, 3, SIZE, SIZE)) / 1e6


def box_loss(model: nn.Module, batch: Batch, *, no_object: float) -> tuple[Tensor, dict[str, Tensor]]:
    """DETR's losses: class, boxes and their overlap, of the queries that match best."""
    images, boxes = batch
    told = model(normalise(images, MEAN, STD))
    parts = set_losses(told, targets_of(boxes, (SIZE, SIZE)), (SIZE, SIZE), no_object=no_object)
    return torch.stack(list(parts.values())).sum(), parts


@torch.no_grad()
def found_in(model: MobileFormerDetector, images: Tensor) -> list[dict[str, Tensor]]:
    """Return boxes, labels and scores of each image."""
    device = next(model.parameters()).device
    model.eval()
    return [
        {name: value.cpu() for name, value in each.items()}
        for part in images.split(50)
        for each in model.detect(normalise(part.to(device), MEAN, STD))
    ]


def measure_detection(job: Job) -> Outcome:
    """Train a detector and measure it on new scenes."""
    preset: Boxes = job.preset
    with seeded(job.seed):
        network, cost = detector_of(job.variant, preset)
    run = fit(
        network, Shuffled(TensorDataset(*scenes_of(preset, job.seed, "train", preset.n))),
        partial(box_loss, no_object=preset.no_object), preset.recipe,
        seed=job.seed, fabric=start(preset.recipe.precision, job.device), hook=job.hook, checkpoint=job.checkpoint,
    )  # fmt: skip
    images, boxes = scenes_of(preset, job.seed, "test", preset.test)
    found, truth = found_in(run.model, images), targets_of(boxes, (SIZE, SIZE))  # type: ignore[arg-type]
    precision = [100 * average_precision(found, truth, iou=overlap) for overlap in OVERLAPS]
    metrics = {
        "AP50 (%)": precision[0],
        "AP (%)": float(np.mean(precision)),
        "multiply-adds of the backbone (M)": cost,
    }
    return Outcome(metrics, run.history, arrays={"boxes": sure_boxes(found[: preset.kept])}, network=run.model)


NETWORK = (nano_network, excited, Excite, ToFormer, Former, ToMobile, DynamicReLU, Slopes, Votes, BACKBONES)
_BOXES: dict[str, Any] = {
    "source": "tables on COCO; our sketch of the detector",
    "metric": "AP50 (%)",
    "method": "Mobile-Former",
    "margin": 1.0,
    "remark": "Minutes of training from scratch, on scenes of one or two large objects, under a head whose queries read"
    " the map and are heard by it, whichever backbone stands below; on wider maps it costs half as much again."
    " On COCO, with ImageNet's weights, Mobile-Former gains 8.6 points of AP over MobileNetV3 under RetinaNet.",
}
DETECTION = Experiment(
    name="mobile_former/detection",
    question="Under one head of queries, do tokens in the backbone help to find which object is where?",
    variants=VARIANTS,
    measure=measure_detection,
    presets={
        "quick": Boxes(recipe=Recipe(steps=60, batch=8, learning_rate=3e-3, warmup=10), n=300, test=50),
        "long": Boxes(
            recipe=Recipe(steps=2400, batch=16, learning_rate=3e-3, weight_decay=0.01, warmup=100, ema=0.99),
            n=8000, test=400, objects=2, queries=6,
        ),
        "gpu": Boxes(
            recipe=Recipe(steps=8000, batch=64, learning_rate=3e-3, weight_decay=0.01, warmup=400, ema=0.999),
            n=50_000, test=2000, classes=("sphere", "cube", "cone", "ring"), objects=3, sizes=("medium", "large"),
            queries=10,
        ),
    },
    data=("world",),
    defined_by=(
        *NETWORK, backbone_of, scenes_of, detector_of, box_loss, found_in, sure_boxes, OVERLAPS, MobileFormerDetector,
        QueryBlock, UpSampling, match, set_losses, targets_of, average_precision, multiply_adds,
    ),
    versions={"world": world.VERSION},
    claims=(
        Claim(
            name="boxes",
            statement="Under one head, a backbone with tokens finds objects better than a wider Mobile without",
            rival="wide Mobile",
            **_BOXES,
        ),
        Claim(
            name="boxes-v3",
            statement="Under one head, a backbone with tokens finds objects better than one like MobileNetV3",
            rival=V3,
            **_BOXES,
        ),
    ),
)  # fmt: skip

# --- The same backbones under a head without tokens ------------------------------------------------------------------


def pyramid_backbone(variant: str) -> tuple[nn.Module, float]:
    """Return the four maps of a backbone, and its cost in millions of multiply-adds."""
    maps = FeatureGetterNet(backbone_of(variant), out_indices=(0, 1, 2, 3))
    return maps, multiply_adds(maps, torch.zeros(1, 3, SIZE, SIZE)) / 1e6


def measure_pyramid(job: Job) -> Outcome:
    """Train an FCOS on a backbone and measure it on new scenes."""
    return measure_boxes(job, pyramid_backbone)


_PYRAMID = {
    "source": "RetinaNet on COCO; here FCOS, which needs no anchors",
    "remark": "A minute or two of training from scratch, on scenes of three objects. On COCO, with ImageNet's weights,"
    " Mobile-Former gains 8.6 points of AP over MobileNetV3 under RetinaNet.",
}
PYRAMID = Experiment(
    name="mobile_former/detection-pyramid",
    question="Under a detector without any tokens, do tokens in the backbone help to find which object is where?",
    variants=VARIANTS,
    measure=measure_pyramid,
    presets={
        "quick": Dense(recipe=Recipe(steps=30, batch=8, learning_rate=3e-3, warmup=5), n=200, test=40, width=32),
        "long": Dense(recipe=Recipe(steps=800, batch=16, learning_rate=3e-3, warmup=50), n=4000, test=400),
        "gpu": Dense(recipe=Recipe(steps=8000, batch=64, learning_rate=3e-3, warmup=400), n=50_000, test=2000),
    },
    data=("world",),
    defined_by=(
        *NETWORK, backbone_of, pyramid_backbone, measure_boxes, pyramid_scenes, pyramid_loss, Detector, detector,
        targets_of, average_precision, sure_boxes,
    ),
    versions={"world": world.VERSION},
    claims=(
        Claim(
            name="boxes",
            statement="Under a head without tokens, a backbone with tokens finds objects better than a wider Mobile",
            rival="wide Mobile",
            **(_BOXES | _PYRAMID),
        ),
        Claim(
            name="boxes-v3",
            statement="Under a head without tokens, one with tokens finds objects better than one like MobileNetV3",
            rival=V3,
            **(_BOXES | _PYRAMID),
        ),
    ),
)  # fmt: skip
