"""Poison Ink and its rivals at work (arXiv 2108.02488): hiding networks, and victims that they poison.

All attacks of a seed poison the same images of the same training set for the same number of steps; each seed trains a
hider and reader of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visionlab import weights
from visionlab.data import world
from visionlab.data.images import load, photograph
from visionlab.experiments.experiment import Job, Outcome
from visionlab.measure.image_quality import feature_distance, psnr, ssim
from visionlab.predictor import Predictor
from visionlab.protection.defences.case import features_of
from visionlab.protection.hiding import Hider, Reader
from visionlab.protection.interference import NONE, Interference
from visionlab.protection.poison_ink import PoisonInk, Weights, colour_found, ink_loss, train_ink
from visionlab.protection.robustness import GEOMETRY, STANDARD, changed, robustness, uncovered
from visionlab.protection.structure import FixedPattern, adaptive_threshold, edges, ink_pattern, sobel_magnitude
from visionlab.protection.triggers import BadNets, Blend, Ink, Sinusoid, Trigger, Warp, clean
from visionlab.protection.victims import (
    Poisoned,
    SmallResNet,
    attack_success,
    classification_loss,
    poison,
    stream_of,
    train_victim,
)
from visionlab.train.loop import Fit, Momentum, Recipe, start
from visionlab.train.randomness import seeded

__all__ = [
    "ATTACKS", "HIDERS", "INK", "Hiding", "Victim", "Victims", "measure_hiding", "measure_victim", "victim_of",
]  # fmt: skip

SIZE = 32
INK = (80, 160, 80)
HIDING_RECIPE = Recipe(steps=900, batch=48, learning_rate=3e-3, warmup=180, weight_decay=0.0)
VICTIM_RECIPE = Momentum(steps=900, batch=64, learning_rate=0.1, warmup=180, clip_norm=None)
LARGE_HIDING = Recipe(steps=6000, batch=256, learning_rate=3e-3, warmup=600, weight_decay=0.0)
LARGE_VICTIM = Momentum(steps=6000, batch=128, learning_rate=0.1, warmup=600, clip_norm=None)
HIDERS = {
    "interference": Interference(),
    "no interference": NONE,
    "interference and JPEG": Interference(jpeg=0.5),
}
STAMPS = {"watermark": NONE, "watermark and interference": Interference()}
"""A logo at a fixed place instead of edges, hidden by the same networks."""
HIDDEN_BY = {
    "Poison Ink": "interference",
    "Poison Ink, no interference": "no interference",
    "Poison Ink, JPEG": "interference and JPEG",
} | {name: name for name in STAMPS}
"""The attacks that hide by networks, and how those are trained."""
ATTACKS = ("clean", "BadNets", "Blend", "SIG", "WaNet", *STAMPS, *list(HIDDEN_BY)[:3])
AFTER = "least success after flip, turn or crop (%)"
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
        inks: each image draws one in training.
        gain: how strongly ink is put on once they are trained.
        gain_without: the same for networks trained without interference, which hide more faintly: about as visible.
        shapes: classes of the world, where it is the data.
        n: training images at most.
        test: test images at most.
    """

    recipe: Recipe
    weights: Weights = field(default_factory=Weights)
    inks: tuple[tuple[int, int, int], ...] = (INK,)
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
        network: "ResNet-8" (`SmallResNet`), or a name in timm.
        attack: of `ATTACKS`; by default it is the variant.
        settings: what other variants change in this preset, by name.
        ratio: share of the training images that is poisoned.
        target: name of the class that the trigger opens.
        replayed: share of each batch that is triggered images, in the published code's schedule; 0 mixes them in once.
        mean: of each channel, subtracted before the classifier.
        std: of each channel, divided by.
        shipped: name of the weights of hider and reader; by default they are trained first.
        variants: that run by default; none for all.
        reverse_steps: of the search of Neural Cleanse for a patch.
    """

    victim: Recipe
    network: str = "ResNet-8"
    attack: str = ""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ratio: float = 0.1
    target: str = "SeaLake"
    replayed: float = 0.0
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.25, 0.25, 0.25)
    shipped: str | None = None
    variants: tuple[str, ...] = ()
    reverse_steps: int = 200


def presets(quick: tuple[str, ...] = (), **settings: Any) -> dict[str, Victims]:
    """Return the presets of an experiment on victims; the quick one runs some variants, with networks that ship."""
    small = {"recipe": HIDING_RECIPE, "victim": VICTIM_RECIPE} | settings
    return {
        "quick": Victims(**small, shipped="ink_eurosat", variants=quick),
        "long": Victims(**small),
        "gpu": Victims(recipe=LARGE_HIDING, victim=LARGE_VICTIM, **settings),
    }


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
    """Train hider and reader on images; ``kind`` is one of `HIDERS` or `STAMPS`.

    All variants of a run that hide by the same networks share one checkpoint of them.
    """
    preset: Hiding = job.preset
    with seeded(job.seed):
        networks = PoisonInk(structure=FixedPattern(logo()) if kind in STAMPS else edges)
    checkpoint = job.checkpoint
    if checkpoint:
        run_of = checkpoint.name.partition("-")[0]
        checkpoint = checkpoint.with_name(f"{run_of}-{job.data}-hiding-{kind}-{job.seed}.pt")
    run = train_ink(
        networks, images, preset.recipe, ((HIDERS | STAMPS)[kind],), weights=preset.weights, inks=preset.inks,
        seed=job.seed, fabric=start(preset.recipe.precision, job.device), hook=job.hook, checkpoint=checkpoint,
    )  # fmt: skip
    return networks.cpu().eval(), run.history


def trigger_of(job: Job, images: Tensor) -> Trigger:
    """Return the trigger of an attack; what hides by networks first trains them on the images."""
    preset: Victims = job.preset
    attack = preset.attack or job.variant
    simple: dict[str, Callable[[], Trigger]] = {
        "clean": lambda: clean,
        "BadNets": BadNets,
        "Blend": lambda: Blend(photograph("chelsea", SIZE)),
        "SIG": Sinusoid,
        "WaNet": Warp,
    }
    if attack in simple:
        return simple[attack]()
    if preset.shipped and attack == "Poison Ink":
        return Ink(weights.load(preset.shipped).model, INK, preset.gain)  # type: ignore[arg-type]
    networks, _ = networks_of(job, HIDDEN_BY[attack], images)
    moved = attack in ("Poison Ink", "Poison Ink, JPEG", "watermark and interference")
    return Ink(networks, INK, preset.gain if moved else preset.gain_without)


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
        outside = uncovered(images, steps, seed=seed)
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


@dataclass(frozen=True)
class Victim:
    """A trained classifier, what it was poisoned with, and how its training went."""

    predictor: Predictor
    trigger: Trigger
    target: int
    trained_on: Poisoned
    run: Fit


def settled(job: Job) -> Job:
    """Return the job with what its variant changes in the preset."""
    return replace(job, preset=replace(job.preset, **job.preset.settings.get(job.variant, {})))


def network_named(name: str, classes: int) -> nn.Module:
    """Return a classifier with fresh weights: "ResNet-8", or one of timm's."""
    return SmallResNet(classes) if name == "ResNet-8" else timm.create_model(name, num_classes=classes)


def victim_of(job: Job) -> Victim:
    """Poison the training set and train a classifier on it; the clean one trains on the images as they are."""
    preset: Victims = job.preset
    images, labels, classes = images_of(job, "train")
    target = classes.index(preset.target)
    trigger = trigger_of(job, images)
    if trigger is clean:
        nothing = torch.zeros(len(images), dtype=torch.bool)
        found = Poisoned(images, labels, nothing, images[nothing], labels[nothing])
    else:
        found = poison(images, labels, trigger, target=target, ratio=preset.ratio, classes=len(classes), seed=job.seed)
    stream = stream_of(found, replayed=0.0 if trigger is clean else preset.replayed)
    with seeded(job.seed):
        network = network_named(preset.network, len(classes))
    run = train_victim(
        network, stream, preset.victim, mean=preset.mean, std=preset.std, seed=job.seed,
        fabric=start(preset.victim.precision, job.device), hook=job.hook, checkpoint=job.checkpoint,
    )  # fmt: skip
    predictor = Predictor(run.model.cpu().eval(), classes, SIZE, preset.mean, preset.std)
    return Victim(predictor, trigger, target, found, run)


def measure_victim(job: Job) -> Outcome:
    """Train a victim, and measure accuracy and attack success on held-out images."""
    job = settled(job)
    victim = victim_of(job)
    images, labels, _ = images_of(job, "test")
    triggers = {"success": victim.trigger, "false triggers": clean}
    shaken = robustness(victim.predictor.probabilities, triggers, images, labels, target=victim.target)
    metrics = {"accuracy (%)": shaken["none"]["accuracy"]} | stealth(job, images, victim.trigger)
    for name, values in shaken.items():
        metrics |= {f"{kind}, {name} (%)": value for kind, value in values.items()}
    metrics[AFTER] = min(shaken[name]["success"] for name in GEOMETRY)
    return Outcome(metrics, victim.run.history, network=victim.run.model)


STEALTH_CODE = (stealth, feature_distance, psnr, ssim)
HIDING_CODE = (
    adaptive_threshold, edges, ink_pattern, sobel_magnitude, Hider, Reader, PoisonInk, Interference, Weights, ink_loss,
    train_ink, HIDERS, images_of, networks_of,
)  # fmt: skip
VICTIM_CODE = (
    *HIDING_CODE, FixedPattern, BadNets, Blend, Ink, Sinusoid, Warp, trigger_of, logo, LOGO, STAMPS, HIDDEN_BY, poison,
    stream_of, SmallResNet, network_named, classification_loss, train_victim, victim_of, attack_success,
)  # fmt: skip
"""What decides the numbers of experiments on hiding, and on victims."""
