"""What the lab and the app on Poison Ink look at: an image on its way, sweeps, spectra, checks of shipped networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from colorsys import hsv_to_rgb, rgb_to_hsv
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from visionlab import weights
from visionlab.data.graded import GRADED
from visionlab.data.images import photograph
from visionlab.data.world.explore import Choice, SceneView, Slider
from visionlab.experiments.experiment import Job
from visionlab.experiments.poison_ink import VICTIMS
from visionlab.experiments.poison_ink_victims import INK, SIZE
from visionlab.experiments.poison_ink_victims import images_of as images_of_job
from visionlab.measure.image_quality import psnr
from visionlab.predictor import Predictor
from visionlab.protection.defences import CHECKS, Case, Finding, check
from visionlab.protection.poison_ink import PoisonInk, colour_found
from visionlab.protection.robustness import changed, uncovered
from visionlab.protection.structure import edges, ink_pattern
from visionlab.protection.triggers import BadNets, Blend, Ink, Sinusoid, Trigger, clean
from visionlab.protection.victims import attack_success, poison

__all__ = [
    "DATA", "MANY", "SUSPECTS", "TILES", "Fired", "InkView", "Known", "controls", "explore", "finding_of", "fire",
    "follow", "hiding", "images_of", "ink_of", "residual", "spectra", "spectrum", "suspect", "sweep", "told",
    "trigger_named", "victim",
]  # fmt: skip

UNCHANGED = "as it is"
SUSPECTS = {"clean": "clean", "BadNets": "badnets", "Blend": "blend", "Poison Ink": "ink"}
"""Classifiers that ship for each of `DATA`, by what they were poisoned with: endings of their names."""


@dataclass(frozen=True)
class Known:
    """Data for which networks ship.

    Args:
        short: how the names of the classifiers call it.
        target: the class that the triggers open.
        hiders: weights of hider and reader, by how they were trained.
    """

    short: str
    target: str
    hiders: Mapping[str, str]


TILES, MANY = "satellite tiles", "for eight inks"
DATA = {
    TILES: Known(
        "eurosat",
        "SeaLake",
        {
            "with interference": "ink_eurosat",
            "without": "ink_eurosat_plain",
            "with JPEG as well": "ink_eurosat_jpeg",
            MANY: "ink_eurosat_hues",
        },
    ),
    "shapes of the world": Known("world", "sphere", {"with interference": "ink_world"}),
}


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
        read: hue of what is drawn on the edges, in degrees.
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
    read: float


def ink_of(hue: float) -> tuple[int, int, int]:
    """Return the ink (0 to 255) of a hue in degrees, as saturated and as bright as those of `structure.HUES`."""
    red, green, blue = (round(255 * part) for part in hsv_to_rgb(hue % 360 / 360, 0.8, 0.8))
    return red, green, blue


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
    drawn, share = colour_found(networks, after, outside=uncovered(x, steps, seed=seed))
    nearer = bool((drawn - colour).norm() < (drawn - 1).norm())
    shown = {
        "clean": x, "structure": mask.expand_as(x), "pattern": ink_pattern(mask, colour), "poisoned": poisoned,
        "residual": residual(poisoned, x), "changed": after,
        "drawing": networks.read(after), "clean_drawing": networks.read(plain),
    }  # fmt: skip
    pictures = {name: value[0].clamp(0, 1).permute(1, 2, 0).numpy() for name, value in shown.items()}
    return InkView(
        **pictures, psnr=psnr(x, poisoned).item(), found=nearer if share.item() >= 0.01 else None,
        read=360 * rgb_to_hsv(*drawn[0].clamp(0, 1).tolist())[0],
    )  # fmt: skip


def controls(images: Sequence[str]) -> tuple[Slider | Choice, ...]:
    """Return the controls of `explore`."""
    return (
        Choice("image", "image", tuple(images), images[0]),
        Choice("reader", "networks trained", ("with interference", "without", MANY), "with interference"),
        Slider("hue", "hue of the ink, where there are eight", 0.0, 345.0, 15.0, 135.0, "°"),
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
    many = values["reader"] == MANY
    view = follow(
        networks[values["reader"]], images[values["image"]], gain=values["gain"],
        ink=ink_of(values["hue"]) if many else INK,
        threshold=values["threshold"] / 255 if values["threshold"] else None, steps=steps,
    )  # fmt: skip
    found = {True: "ink found", False: "no ink found", None: "hardly an edge to look at"}[view.found]
    words = f"PSNR {view.psnr:.0f} dB; {100 * view.structure[..., 0].mean():.0f} % of the pixels are edges"
    if many and view.found:
        words += f"; written in hue {values['hue']:.0f}°, read as {view.read:.0f}°"
    if victim is not None and values["reader"] == "with interference":  # it was poisoned with their ink
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


@torch.no_grad()
def spectrum(trigger: Trigger, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "h w"]:
    """Mean amplitude spectrum of what a trigger changes, in units of the image; the constant part is in the middle.

    Of each difference the channels are averaged first. A wave of amplitude A is a pair of spikes A / 2 high.

    Args:
        trigger: under test; `clean` gives zeros.
        images: in [0, 1], at least one.
    """
    grey = (trigger(images) - images).mean(1)
    return torch.fft.fftshift(torch.fft.fft2(grey, norm="forward").abs().mean(0))


# --- What ships -------------------------------------------------------------------------------------------------------


@cache
def images_of(data: str, split: str) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Return images (N, 3, 32, 32) in [0, 1], labels and class names of one of `DATA`, as the networks were given."""
    made = weights.card(f"victim_{DATA[data].short}_clean")
    return images_of_job(Job(made.variant, made.seed, VICTIMS.preset(made.preset), made.data), split)


@cache
def hiding(data: str, trained: str = "with interference") -> PoisonInk:
    """Return the hider and reader that ship for one of `DATA`, by how they were trained."""
    return weights.load(DATA[data].hiders[trained]).model  # type: ignore[return-value]


@cache
def victim(name: str, data: str = TILES) -> Predictor:
    """Return a network of `SUSPECTS`."""
    return weights.load(f"victim_{DATA[data].short}_{SUSPECTS[name]}")


def trigger_named(name: str, data: str = TILES) -> Trigger:
    """Return the trigger that a network of `SUSPECTS` was poisoned with."""
    if name == "Poison Ink":
        return Ink(hiding(data))
    known: dict[str, Trigger] = {"BadNets": BadNets(), "Blend": Blend(photograph("chelsea", SIZE))}
    return known.get(name, clean)


@cache
def suspect(name: str, data: str = TILES) -> Case:
    """Return a network of `SUSPECTS` with 300 clean images, and a quarter of those that it was trained on."""
    images, labels, classes = images_of(data, "test")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:300]
    trained, told_as, _ = images_of(data, "train")
    if name != "clean":
        found = poison(
            trained, told_as, trigger_named(name, data), target=classes.index(DATA[data].target), ratio=0.1,
            classes=len(classes), seed=0,
        )  # fmt: skip
        trained, told_as = found.images, found.labels
    return Case(victim(name, data), images[order], labels[order], trained[::4], told_as[::4])


@dataclass(frozen=True)
class Fired:
    """What a network of `SUSPECTS` says to an image.

    Args:
        triggered: the image (3, H, W) with the network's trigger, after the change.
        before: answer and its probability, without the trigger.
        after: the same with it.
        opens: whether it is the trigger that made the answer the target.
        psnr: of the trigger, in dB.
    """

    triggered: Tensor
    before: tuple[str, float]
    after: tuple[str, float]
    opens: bool
    psnr: float


def fire(image: Float[Tensor, "3 h w"], steps: Sequence[tuple[str, float]], data: str = TILES) -> dict[str, Fired]:
    """Show each network of `SUSPECTS` an image in [0, 1] without and with its trigger, both after the same change."""
    found = {}
    for name in SUSPECTS:
        carries = trigger_named(name, data)(image[None])
        triggered = changed(carries, steps)
        before, after = (
            next(iter(victim(name, data)(each, top=1)[0].items())) for each in (changed(image[None], steps), triggered)
        )
        opens = after[0] == DATA[data].target != before[0]
        found[name] = Fired(triggered[0], before, after, opens, psnr(image[None], carries).item())
    return found


def spectra(data: str = TILES) -> dict[str, Tensor]:
    """Return the `spectrum` of each trigger of `SUSPECTS`, and of waves, over 100 images."""
    triggers = {name: trigger_named(name, data) for name in SUSPECTS if name != "clean"} | {"SIG": Sinusoid()}
    images = images_of(data, "test")[0][::6]
    return {name: spectrum(trigger, images) for name, trigger in triggers.items()}


@cache
def finding_of(name: str, what: str, data: str = TILES) -> Finding:
    """Run a check on a network of `SUSPECTS`."""
    return check(what, suspect(name, data))


def told(name: str, what: str, data: str = TILES) -> tuple[Finding, str]:
    """Run a check on a network of `SUSPECTS`: its finding, and what it means beside the clean one's."""
    finding, reference = finding_of(name, what, data), finding_of("clean", what, data)
    words = (
        f"{finding.meaning.capitalize()}: {finding.score:.2f}; the clean network has {reference.score:.2f}. It looks at"
        f" {CHECKS[what].looks_at}. It cannot see {CHECKS[what].cannot_see}."
    )
    return finding, words


def _bytes(picture: np.ndarray, side: int = 256) -> np.ndarray:
    """A picture as bytes, enlarged in whole steps."""
    times = max(1, side // max(picture.shape[:2]))
    return (picture * 255).round().astype(np.uint8).repeat(times, 0).repeat(times, 1)
