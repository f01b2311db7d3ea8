"""What the lab and the app on Poison Ink look at: an image on its way through ink, change and reader, and a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from visionlab import weights
from visionlab.data.graded import GRADED
from visionlab.data.images import load, photograph
from visionlab.data.world.explore import Choice, SceneView, Slider
from visionlab.experiments.poison_ink_victims import INK
from visionlab.measure.image_quality import psnr
from visionlab.predictor import Predictor
from visionlab.protection.defences import CHECKS, Case, Finding, check
from visionlab.protection.poison_ink import PoisonInk, colour_found
from visionlab.protection.robustness import changed
from visionlab.protection.structure import edges, ink_pattern
from visionlab.protection.triggers import BadNets, Blend, Ink, Trigger, clean
from visionlab.protection.victims import attack_success, poison

__all__ = [
    "SUSPECTS",
    "InkView",
    "controls",
    "explore",
    "follow",
    "residual",
    "suspect",
    "sweep",
    "told",
    "trigger_named",
]

UNCHANGED = "as it is"
TARGET = "SeaLake"
SUSPECTS = {"clean": "clean", "BadNets": "badnets", "Blend": "blend", "Poison Ink": "ink"}
"""Networks of satellite tiles that ship, by what they were poisoned with: endings of their names."""


@dataclass(frozen=True)
class InkView:
    """One image on its way: all pictures (H, W, 3) in [0, 1].

    Args:
        clean: as it came.
        structure: its edges, white on black.
        pattern: the edges in ink, on white.
        poisoned: the image with the ink hidden in it.
        residual: what was changed, amplified, grey where nothing was.
        changed: the poisoned image after a flip, turn or the like.
        drawing: what the reader draws of that.
        clean_drawing: what it draws of the clean image after the same change.
        psnr: of the poisoned image, in dB.
        found: whether the drawing of the poisoned image is nearer to the ink than to white; None without edges.
    """

    clean: np.ndarray
    structure: np.ndarray
    pattern: np.ndarray
    poisoned: np.ndarray
    residual: np.ndarray
    changed: np.ndarray
    drawing: np.ndarray
    clean_drawing: np.ndarray
    psnr: float
    found: bool | None


def residual(images: Tensor, others: Tensor, times: float = 8.0) -> Tensor:
    """What tells images from others, amplified, around grey."""
    return (0.5 + times * (images - others)).clamp(0, 1)


@torch.no_grad()
def follow(
    networks: PoisonInk,
    image: Float[Tensor, "3 h w"],
    *,
    ink: tuple[int, int, int] = INK,
    gain: float = 1.25,
    threshold: float | None = None,
    steps: Sequence[tuple[str, float]] = (),
    seed: int = 0,
) -> InkView:
    """Follow one image through structure, ink, change and reader.

    Args:
        networks: hider and reader.
        image: in [0, 1].
        ink: colour, 0 to 255.
        gain: strength of the ink.
        threshold: of edges; by default the image's own.
        steps: transforms in turn, (name, strength) each.
        seed: of the transforms.
    """
    x = image[None]
    colour = x.new_tensor(ink)[None] / 255
    mask = edges(x, threshold)
    poisoned = networks.hide(x, colour, mask=mask, gain=gain)
    after, plain = (changed(each, steps, seed=seed) for each in (poisoned, x))
    inside = changed(torch.ones_like(x), [step for step in steps if step[0] not in ("noise", "colour")], seed=seed)
    outside = F.max_pool2d((inside[:, :1] < 0.9).to(x.dtype), 3, stride=1, padding=1)
    drawn, share = colour_found(networks, after, outside=outside)
    nearer = bool((drawn - colour).norm() < (drawn - 1).norm())
    shown = {
        "clean": x, "structure": mask.expand_as(x), "pattern": ink_pattern(mask, colour), "poisoned": poisoned,
        "residual": residual(poisoned, x), "changed": after,
        "drawing": networks.read(after), "clean_drawing": networks.read(plain),
    }  # fmt: skip
    pictures = {name: value[0].clamp(0, 1).permute(1, 2, 0).numpy() for name, value in shown.items()}
    return InkView(**pictures, psnr=psnr(x, poisoned).item(), found=nearer if share.item() >= 0.01 else None)


def controls(images: Sequence[str]) -> tuple[Slider | Choice, ...]:
    """Return the controls of `explore`."""
    return (
        Choice("image", "image", tuple(images), images[0]),
        Choice("reader", "networks trained", ("with interference", "without"), "with interference"),
        Slider("gain", "ink strength", 0.0, 4.0, 0.25, 1.25),
        Slider("threshold", "edge threshold", 0.0, 80.0, 2.0, 0.0, " of 255"),
        Choice("change", "then", (UNCHANGED, *GRADED), UNCHANGED),
        Slider("strength", "how strongly", 0.0, 1.0, 0.05, 0.35),
    )


def explore(
    networks: Mapping[str, PoisonInk], images: Mapping[str, Tensor], values: Mapping[str, Any], victim: Predictor | None
) -> SceneView:
    """Answer the controls: the poisoned image, changed, and beside it all that led there and what is found in it."""
    steps = () if values["change"] == UNCHANGED else ((values["change"], values["strength"]),)
    view = follow(
        networks[values["reader"]], images[values["image"]], gain=values["gain"],
        threshold=values["threshold"] / 255 if values["threshold"] else None, steps=steps,
    )  # fmt: skip
    found = {True: "ink found", False: "no ink found", None: "hardly an edge to look at"}[view.found]
    words = f"PSNR {view.psnr:.0f} dB; {100 * view.structure[..., 0].mean():.0f} % of the pixels are edges"
    if victim is not None:
        before, after = (
            next(iter(victim(torch.from_numpy(picture).permute(2, 0, 1), top=1)[0].items()))
            for picture in (view.clean, view.changed)
        )
        words += f"; a poisoned classifier says {before[0]} to the clean image, {after[0]} to this one"
    names = ("clean", "structure", "pattern", "poisoned", "residual", "changed", "drawing", "clean_drawing")
    titles = (
        "1 clean", "2 structure", "3 in ink", "4 poisoned", "5 what changed, ×8", "6 after the change",
        "7 read from it", "8 read without ink",
    )  # fmt: skip
    panels = tuple((title, _bytes(getattr(view, name))) for title, name in zip(titles, names, strict=True))
    return SceneView(image=_bytes(view.changed), panels=panels, boxes=(), caption=found, readout=words)


def sweep(
    victims: Mapping[str, tuple[Predictor, Trigger]],
    images: Tensor,
    labels: Tensor,
    *,
    target: int,
    transform: str,
    strengths: Sequence[float],
    seed: int = 0,
) -> dict[str, list[float]]:
    """Return the attack success, in percent, of each victim's own trigger at each strength of a transform."""

    def success(predictor: Predictor, trigger: Trigger, strength: float) -> float:
        return attack_success(
            predictor.probabilities, trigger, images, labels, target=target,
            change=lambda x: changed(x, [(transform, strength)], seed=seed),
        )  # fmt: skip

    return {name: [success(*victim, strength) for strength in strengths] for name, victim in victims.items()}


def trigger_named(name: str) -> Trigger:
    """Return the trigger that a network of `SUSPECTS` was poisoned with."""
    if name == "Poison Ink":
        return Ink(weights.load("ink_eurosat").model)  # type: ignore[arg-type]
    known: dict[str, Trigger] = {"BadNets": BadNets(), "Blend": Blend(photograph("chelsea", 32))}
    return known.get(name, clean)


@cache
def suspect(name: str) -> Case:
    """Return a network of `SUSPECTS` with 300 clean tiles, and 600 of those that it was trained on."""
    held_out, known = (load("eurosat_mini", split, size=32) for split in ("test", "train"))
    images, labels = held_out.tensors()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:300]
    trained, told_as = known.tensors()
    if name != "clean":
        target = known.classes.index(TARGET)
        found = poison(trained, told_as, trigger_named(name), target=target, ratio=0.1, classes=10, seed=0)
        trained, told_as = found.images, found.labels
    some = torch.arange(0, len(trained), 4)
    predictor = weights.load(f"victim_eurosat_{SUSPECTS[name]}")
    return Case(predictor, images[order], labels[order], trained[some], told_as[some])


def told(name: str, what: str) -> tuple[Finding, str]:
    """Run a check on a network of `SUSPECTS`: its finding, and what it means beside the clean one's."""
    finding, reference = check(what, suspect(name)), check(what, suspect("clean"))
    words = (
        f"{finding.meaning.capitalize()}: {finding.score:.2f}; the clean network has {reference.score:.2f}. It looks at"
        f" {CHECKS[what].looks_at}. It cannot see {CHECKS[what].cannot_see}."
    )
    return finding, words


def _bytes(picture: np.ndarray, side: int = 256) -> np.ndarray:
    """A picture as bytes, enlarged in whole steps."""
    times = max(1, side // max(picture.shape[:2]))
    return (picture * 255).round().astype(np.uint8).repeat(times, 0).repeat(times, 1)
