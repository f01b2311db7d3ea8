"""CSWin in dense prediction (arXiv 2107.00652, section 4.3, tables 4 to 6 and 9): masks and boxes of the world.

Cross-shaped against shifted windows in one network: the same stem, merges, LePE, blocks, parameters and multiply-adds.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models._features import FeatureGetterNet
from torch import Tensor, nn

from visionlab.backbones.cswin_variants import RegionAttention, hierarchical_network, multiply_adds, regions_of
from visionlab.data import world
from visionlab.data.transforms import normalise
from visionlab.experiments.claim import Claim
from visionlab.experiments.dense_scenes import MEAN, SIZE, STD, Dense, box_loss, measure_boxes, scenes_of, train
from visionlab.experiments.experiment import Experiment, Job, Outcome
from visionlab.heads.detection import Detector, detector, targets_of
from visionlab.heads.segmentation import SegmentationFPN, segmentation_loss
from visionlab.measure.dense import average_precision, mean_iou, sure_boxes
from visionlab.train.loop import Recipe
from visionlab.train.randomness import seeded
from visionlab.train.stream import Batch

__all__ = ["DETECTION", "SEGMENTATION"]

SMALL: dict[str, Any] = {
    "img_size": SIZE, "dim": 24, "depths": (2, 2, 2, 1), "heads": (2, 4, 8, 8), "stripe_widths": (1, 2, 4, 2),
    "num_classes": 0,
}  # fmt: skip
WINDOWS = (4, 4, 4, 2)  # at 64 pixels a token sees as many others as in stripes of the widths above
VARIANTS = ("cswin", "shifted window")


def backbone_of(variant: str) -> tuple[nn.Module, float]:
    """Return the four maps of a small network with an attention, and its cost in millions of multiply-adds."""
    network = hierarchical_network(variant, windows=WINDOWS, **SMALL)
    cost = multiply_adds(network, 1, 3, SIZE, SIZE) / 1e6
    return FeatureGetterNet(network, out_indices=(0, 1, 2, 3)), cost


def pixel_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of pixels, and the share of pixels that are right."""
    images, masks = batch
    logits = model(normalise(images, MEAN, STD))
    right = (logits.argmax(1) == masks).to(logits.dtype).mean()
    return segmentation_loss(logits, masks), {"pixels right": 100 * right}


@torch.no_grad()
def measure_segmentation(job: Job) -> Outcome:
    """Train a segmentation network and measure it on new scenes."""
    with seeded(job.seed), torch.enable_grad():
        backbone, cost = backbone_of(job.variant)
        width = job.preset.width
        network = SegmentationFPN(backbone, 1 + len(job.preset.classes), width=width, head_width=width)
        run = train(job, network, *scenes_of(job, "segmentation", "train"), pixel_loss)
    model = run.model.eval()
    device = next(model.parameters()).device
    images, masks = scenes_of(job, "segmentation", "test")
    found = torch.cat([model(normalise(part.to(device), MEAN, STD)).argmax(1).cpu() for part in images.split(100)])
    metrics = {
        "mIoU (%)": 100 * mean_iou(found, masks, network.classify.out_channels),
        "pixels right (%)": 100 * (found == masks).double().mean().item(),
        "multiply-adds of the backbone (M)": cost,
    }
    seen = found[: job.preset.kept].to(torch.uint8).numpy()
    return Outcome(metrics, run.history, arrays={"masks": seen}, network=run.model)


def measure_detection(job: Job) -> Outcome:
    """Train a detector on one of the attentions and measure it."""
    return measure_boxes(job, backbone_of)


SHARED = (backbone_of, scenes_of, train, hierarchical_network, regions_of, RegionAttention)
REMARK = (
    "The paper's networks are 200 times larger, pre-trained on ImageNet and fine-tuned on COCO and ADE20K; there"
    " cross-shaped windows gain 1.2 points of box AP and 1.9 of mIoU over shifted ones in the same frame (table 9)."
)

SEGMENTATION = Experiment(
    name="cswin/segmentation",
    question="At equal multiply-adds, do crosses or shifted windows better tell which pixel belongs to which shape?",
    variants=VARIANTS,
    measure=measure_segmentation,
    presets={
        "quick": Dense(recipe=Recipe(steps=60, batch=16, learning_rate=3e-3, warmup=10), n=300, test=50, width=32),
        "long": Dense(recipe=Recipe(steps=1000, batch=16, learning_rate=2e-3, warmup=50), n=4000, test=400),
        "gpu": Dense(recipe=Recipe(steps=8000, batch=128, learning_rate=2e-3, warmup=400), n=50_000, test=2000),
    },
    data=("world",),
    defined_by=(*SHARED, pixel_loss, SegmentationFPN, segmentation_loss, mean_iou),
    versions={"world": world.VERSION},
    claims=(
        Claim(
            name="masks",
            statement="At equal cost, cross-shaped windows segment new scenes better than shifted windows",
            source="section 4.4, table 9",
            metric="mIoU (%)",
            method="cswin",
            rival="shifted window",
            margin=0.5,
            remark=REMARK,
        ),
    ),
)

DETECTION = Experiment(
    name="cswin/detection",
    question="At equal multiply-adds, do crosses or shifted windows better find which object is where?",
    variants=VARIANTS,
    measure=measure_detection,
    presets={
        "quick": Dense(recipe=Recipe(steps=30, batch=8, learning_rate=2e-3, warmup=5), n=200, test=40, width=32),
        "long": Dense(recipe=Recipe(steps=600, batch=16, learning_rate=1e-3, warmup=50), n=4000, test=400),
        "gpu": Dense(recipe=Recipe(steps=8000, batch=64, learning_rate=1e-3, warmup=400), n=50_000, test=2000),
    },
    data=("world",),
    defined_by=(*SHARED, measure_boxes, box_loss, Detector, detector, targets_of, average_precision, sure_boxes),
    versions={"world": world.VERSION},
    claims=(
        Claim(
            name="boxes",
            statement="At equal cost, cross-shaped windows find objects in new scenes better than shifted windows",
            source="section 4.4, table 9",
            metric="AP50 (%)",
            method="cswin",
            rival="shifted window",
            margin=0.5,
            remark=REMARK,
        ),
    ),
)
