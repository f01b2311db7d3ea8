"""Poison Ink and its rivals at work (arXiv 2108.02488): hiding networks, and victims that they poison.

All attacks of a seed poison the same images of the same training set for the same number of steps; each seed trains a
hider and reader of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from visionlab import weights
from visionlab.data import world
from visionlab.data.images import load, photograph
from visionlab.data.transforms import normalise
from visionlab.experiments.experiment import Job, Outcome
from visionlab.measure.image_quality import feature_distance, psnr, ssim
from visionlab.predictor import Predictor
from visionlab.protection.defences.case import features_of
from visionlab.protection.poison_ink import NONE, Interference, PoisonInk, Weights, colour_found, train_ink
from visionlab.protection.robustness import GEOMETRY, STANDARD, changed, robustness
from visionlab.protection.structure import FixedPattern, edges
from visionlab.protection.triggers import BadNets, Blend, Ink, Sinusoid, Trigger, Warp, clean
from visionlab.protection.victims import SmallResNet, classification_loss, poison, stream_of
from visionlab.train.loop import Recipe, fit, start
from visionlab.train.randomness import seeded
from visionlab.train.stream import Batch, Shuffled, Stream

__all__ = ["ATTACKS", "HIDERS", "INK", "Hiding", "Victims", "measure_hiding", "measure_victim"]

SIZE = 32
INK = (80, 160, 80)
HIDERS = {
    "interference": Interference(),
    "no interference": NONE,
    "interference and JPEG": Interference(jpeg=0.5),
}
ATTACKS = (
    "clean", "BadNets", "Blend", "SIG", "WaNet", "watermark", "Poison Ink", "Poison Ink, no interference",
)  # fmt: skip
MOVES = ("flip", "rotation", "crop and resize", "shrink and pad", "shift")
LOGO = (
    "11110000", "10010110", "10010110", "11110000",
    "00001111", "01101001", "01101001", "00001111",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Hiding:
    """Scale of a hiding experiment: how hider and reader are trained.

    Args:
        recipe: of the networks.
        weights: of their loss.
        ink: the one ink, or none: each image its own.
        gain: how strongly ink is put on once they are trained.
        gain_without: the same for networks trained without interference, which hide more faintly: about as visible.
        shapes: classes of the world, where it is the data.
        n: training images at most.
        test: test images at most.
    """

    recipe: Recipe
    weights: Weights = field(default_factory=Weights)
    ink: tuple[int, int, int] | None = INK
    gain: float = 1.25
    gain_without: float = 2.7
    shapes: tuple[str, ...] = ("sphere", "cube", "cone", "ring", "table", "mushroom")
    n: int = 3000
    test: int = 600


@dataclass(frozen=True, kw_only=True)
class Victims(Hiding):
    """Scale of an experiment on victims.

    Args:
        victim: recipe of the classifier.
        ratio: share of the training images that is poisoned.
        target: name of the class that the trigger opens.
        replayed: share of each batch that is triggered images, in the published code's schedule; 0 mixes them in once.
        mean: of each channel, subtracted before the classifier.
        std: of each channel, divided by.
        shipped: name of the weights of hider and reader; by default they are trained first.
        variants: that run by default; none for all.
    """

    victim: Recipe
    ratio: float = 0.1
    target: str = "SeaLake"
    replayed: float = 0.0
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.25, 0.25, 0.25)
    shipped: str | None = None
    variants: tuple[str, ...] = ()


def images_of(job: Job, split: str) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Return images (N, 3, 32, 32) in [0, 1], labels and class names of the job's data."""
    preset: Hiding = job.preset
    n = preset.n if split == "train" else preset.test
    if job.data == "world":
        scenes = world.dataset(
            "shapes", split, n, size=SIZE, seed=job.seed, classes=preset.shapes, distractors=0, spread=1.0
        )
        images, labels = scenes.tensors()
        return images, torch.as_tensor(labels), tuple(preset.shapes)
    found = load(job.data, split, size=SIZE)
    images, labels = found.tensors()
    if len(images) > n:
        some = torch.linspace(0, len(images) - 1, n).long()  # all classes alike: sets are sorted by class
        images, labels = images[some], labels[some]
    return images, labels, found.classes


def logo() -> Tensor:
    """The pattern (1, 32, 32) that the plain watermark hides in every image, half of it ink."""
    bits = torch.tensor([[float(bit) for bit in row] for row in LOGO])
    return F.interpolate(bits[None, None], scale_factor=SIZE // len(LOGO))[0]


def networks_of(job: Job, kind: str, images: Tensor) -> tuple[PoisonInk, list[dict[str, float]]]:
    """Train hider and reader on images; ``kind`` is one of `HIDERS`, or "watermark": a fixed logo, no interference."""
    preset: Hiding = job.preset
    with seeded(job.seed):
        networks = PoisonInk(structure=FixedPattern(logo()) if kind == "watermark" else edges)
    checkpoint = job.checkpoint and job.checkpoint.with_name(f"{job.checkpoint.stem}-hiding.pt")
    run = train_ink(
        networks, images, preset.recipe, (HIDERS.get(kind, NONE),), weights=preset.weights, ink=preset.ink,
        seed=job.seed, fabric=start(preset.recipe.precision, job.device), hook=job.hook, checkpoint=checkpoint,
    )  # fmt: skip
    return networks.cpu().eval(), run.history


def trigger_of(job: Job, images: Tensor) -> Trigger:
    """Return the trigger of an attack; Poison Ink and the watermark first train their networks on the images."""
    simple: dict[str, Callable[[], Trigger]] = {
        "clean": lambda: clean,
        "BadNets": BadNets,
        "Blend": lambda: Blend(photograph("chelsea", SIZE)),
        "SIG": Sinusoid,
        "WaNet": Warp,
    }
    if job.variant in simple:
        return simple[job.variant]()
    if job.preset.shipped and job.variant == "Poison Ink":
        return Ink(weights.load(job.preset.shipped).model, INK, job.preset.gain)  # type: ignore[arg-type]
    kinds = {"Poison Ink": "interference", "Poison Ink, no interference": "no interference", "watermark": "watermark"}
    networks, _ = networks_of(job, kinds[job.variant], images)
    return Ink(networks, INK, job.preset.gain if job.variant == "Poison Ink" else job.preset.gain_without)


def stealth(job: Job, images: Tensor, trigger: Trigger) -> dict[str, float]:
    """How far triggered images are from clean ones after rounding to 8 bits: mean PSNR, SSIM, distance of features.

    The features are those of a small CSWin that knows the data and has seen no trigger.
    """
    triggered = trigger(images)
    encoder = weights.load("cswin_nano_world" if job.data == "world" else "cswin_nano_eurosat")
    distance = feature_distance(partial(features_of, encoder), images, triggered)
    return {
        "PSNR (dB)": psnr(images, triggered).mean().item(),
        "SSIM": ssim(images, triggered).mean().item(),
        "feature distance (%)": 100 * distance.mean().item(),
    }


def detection(networks: PoisonInk, trigger: Trigger, images: Tensor, seed: int) -> dict[str, float]:
    """Percent of inked, and of clean, images on whose edges the reader draws a colour nearer to the ink than to white.

    Images with hardly an edge are left out, and the black around a turned image is no structure.
    """
    ink = torch.tensor(INK) / 255
    metrics = {}
    for name, steps in STANDARD.items():
        inside = changed(torch.ones_like(images), [step for step in steps if step[0] in MOVES], seed=seed)
        outside = F.max_pool2d((inside[:, :1] < 0.99).to(images.dtype), 3, stride=1, padding=1)
        for kind, x in (("detected", trigger(images)), ("false alarms", images)):
            colour, share = colour_found(networks, changed(x, steps, seed=seed), outside=outside)
            nearer = (colour - ink).norm(dim=1) < (colour - 1).norm(dim=1)
            metrics[f"{kind}, {name} (%)"] = 100 * nearer[share >= 0.01].double().mean().item()
    return metrics


def measure_hiding(job: Job) -> Outcome:
    """Train hider and reader, and measure how well ink is hidden and found on held-out images."""
    networks, history = networks_of(job, job.variant, images_of(job, "train")[0])
    images = images_of(job, "test")[0]
    trigger = Ink(networks, INK, job.preset.gain_without if job.variant == "no interference" else job.preset.gain)
    metrics = stealth(job, images, trigger) | detection(networks, trigger, images, job.seed)
    metrics["images with hardly an edge (%)"] = 100 * (edges(images).mean((1, 2, 3)) < 0.01).double().mean().item()
    return Outcome(metrics, history, network=networks)


def measure_victim(job: Job) -> Outcome:
    """Poison the training set, train a classifier on it, and measure accuracy and attack success on held-out images."""
    preset: Victims = job.preset
    images, labels, classes = images_of(job, "train")
    target = classes.index(preset.target)
    trigger = trigger_of(job, images)
    stream: Stream = Shuffled(TensorDataset(images, labels))
    if job.variant != "clean":
        found = poison(images, labels, trigger, target=target, ratio=preset.ratio, classes=len(classes), seed=job.seed)
        stream = stream_of(found, replayed=preset.replayed)
    with seeded(job.seed):
        network = SmallResNet(len(classes))
    run = fit(
        network, stream, partial(victim_loss, mean=preset.mean, std=preset.std), preset.victim, seed=job.seed,
        fabric=start(preset.victim.precision, job.device), hook=job.hook, checkpoint=job.checkpoint,
    )  # fmt: skip
    classify = Predictor(run.model.cpu().eval(), classes, SIZE, preset.mean, preset.std).probabilities
    images, labels, _ = images_of(job, "test")
    shaken = robustness(classify, {"success": trigger, "false triggers": clean}, images, labels, target=target)
    metrics = {"accuracy (%)": shaken["none"]["accuracy"]} | stealth(job, images, trigger)
    for name, values in shaken.items():
        metrics |= {f"{kind}, {name} (%)": value for kind, value in values.items()}
    metrics["least success after flip, turn or crop (%)"] = min(shaken[name]["success"] for name in GEOMETRY)
    return Outcome(metrics, run.history, network=run.model)


def victim_loss(
    model: nn.Module, batch: Batch, *, mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The classification loss of images in [0, 1]."""
    images, labels = batch
    return classification_loss(model, (normalise(images, mean, std), labels))
