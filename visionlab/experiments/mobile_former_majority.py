"""The two-way bridge of Mobile-Former on a puzzle (arXiv 2108.05895, section 3): which colour do most squares have?

A flat network answers at each pixel; what lies beyond the reach of its convolutions comes through the tokens or not at
all. The bridge is taken away in one direction or the other, before training and after.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visionlab.backbones.mobile_former_bridge import Former, ToFormer, ToMobile
from visionlab.backbones.mobile_former_cuts import bypass, freeze_slopes
from visionlab.backbones.mobile_former_flat import flat_network
from visionlab.backbones.mobile_former_mobile import DynamicReLU, RegularMobile, Slopes
from visionlab.data import puzzles
from visionlab.experiments.claim import Claim
from visionlab.experiments.experiment import Experiment, Job, Outcome
from visionlab.measure.cost import multiply_adds, parameters
from visionlab.train.loop import Recipe, fit, start
from visionlab.train.randomness import generator, seeded
from visionlab.train.stream import Batch, Fresh
from visionlab.weights import Card

__all__ = ["BOTH", "EXCITED", "MAJORITY", "MOBILE", "NETWORKS", "WEIGHTS", "accuracy_of_squares"]

MOBILE, EXCITED, BOTH = "Mobile alone", "squeeze-excite", "both bridges"
NETWORKS: dict[str, dict[str, Any]] = {
    MOBILE: {"tokens": (0, 32), "slopes": "static"},
    "wide Mobile": {"tokens": (0, 32), "slopes": "static", "channels": 18, "hidden": 50},
    EXCITED: {"tokens": (0, 32), "slopes": "static", "excite": True},
    BOTH: {"slopes": "static"},
    "read only": {"slopes": "static", "removed": ("*.to_mobile",)},
    "write only": {"slopes": "static", "removed": ("*to_former",)},
    "read only, dynamic ReLU": {"slopes": "token", "removed": ("*.to_mobile",)},
    "both bridges, dynamic ReLU": {"slopes": "token"},
}
"""The variants, as arguments of `flat_network`; but for the dynamic ones and the excited one, all have ReLU6."""
WIRES = {"reading": "*to_former", "writing": "*.to_mobile"}


@dataclass(frozen=True, kw_only=True)
class Majority:
    """Scale of the experiment; the test images are drawn from the seed, so all variants see the same ones."""

    recipe: Recipe
    variants: tuple[str, ...] = tuple(NETWORKS)
    test: int = 2048


def draw_majority(n: int, rng: torch.Generator) -> Batch:
    """Draw images (n, 3, 32, 32) and labels (n, 16, 16)."""
    puzzle = puzzles.majority_colour(n, generator=rng)
    return puzzle.images, puzzle.labels


def square_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy on the squares; the background is not asked."""
    images, labels = batch
    logits, asked = model(images), labels != puzzles.IGNORED
    right = (logits.argmax(dim=-1) == labels)[asked].to(logits.dtype).mean()
    loss = F.cross_entropy(logits.flatten(0, 2), labels.flatten(), ignore_index=puzzles.IGNORED)
    return loss, {"accuracy": 100 * right}


@torch.no_grad()
def accuracy_of_squares(model: nn.Module, batch: Batch) -> float:
    """Return the share in percent of the squares' places that are answered rightly."""
    images, labels = batch
    device = next(model.parameters()).device
    model.eval()
    answers = torch.cat([model(part.to(device)).argmax(dim=-1).cpu() for part in images.split(256)])
    asked = labels != puzzles.IGNORED
    return 100 * (answers == labels)[asked].double().mean().item()


def accuracy_after_cuts(model: nn.Module, batch: Batch) -> dict[str, float]:
    """Return the accuracy of a trained network in percent after each of its wires was cut, and its slopes held."""
    wires = {ToFormer: "reading", ToMobile: "writing"}
    have = {wires[type(module)] for module in model.modules() if type(module) in wires}
    found = {}
    for name, pattern in WIRES.items():
        if name in have:
            with bypass(model, pattern):
                found[f"accuracy without {name} (%)"] = accuracy_of_squares(model, batch)
    if any(isinstance(module, Slopes) for module in model.modules()):
        with freeze_slopes(model):
            found["accuracy with slopes held (%)"] = accuracy_of_squares(model, batch)
    return found


def measure_majority(job: Job) -> Outcome:
    """Train one network on fresh puzzles, test it on others, whole and with its wires cut."""
    preset: Majority = job.preset
    with seeded(job.seed):
        network = flat_network(**NETWORKS[job.variant])
    run = fit(
        network, Fresh(draw_majority), square_loss, preset.recipe,
        seed=job.seed, fabric=start(preset.recipe.precision, job.device), hook=job.hook, checkpoint=job.checkpoint,
    )  # fmt: skip
    test = draw_majority(preset.test, generator(job.seed, 1_000_000))
    metrics = {
        "accuracy (%)": accuracy_of_squares(run.model, test),
        **accuracy_after_cuts(run.model, test),
        "multiply-adds (M)": multiply_adds(flat_network(**NETWORKS[job.variant]), torch.zeros(1, 3, 32, 32)) / 1e6,
        "parameters (k)": parameters(network) / 1e3,
    }
    return Outcome(metrics, run.history, network=run.model)


_claim = partial(Claim, source="section 3, figure 1; our puzzle", metric="accuracy (%)")
MAJORITY = Experiment(
    name="mobile_former/majority",
    question="Is this square of the colour that most squares have? Who finds out, and through which wire?",
    variants=tuple(NETWORKS),
    measure=measure_majority,
    presets={
        "quick": Majority(
            recipe=Recipe(steps=200, batch=64, learning_rate=5e-3, weight_decay=0.01, warmup=20),
            variants=(MOBILE, BOTH), test=1024,
        ),
        "long": Majority(recipe=Recipe(steps=200, batch=64, learning_rate=5e-3, weight_decay=0.01, warmup=20)),
        "gpu": Majority(
            recipe=Recipe(steps=3000, batch=256, learning_rate=5e-3, weight_decay=0.01, warmup=100), test=8192
        ),
    },
    defined_by=(
        flat_network, ToFormer, Former, ToMobile, RegularMobile, DynamicReLU, Slopes, bypass,
        freeze_slopes, NETWORKS, WIRES, draw_majority, puzzles.majority_colour, square_loss, accuracy_of_squares,
        accuracy_after_cuts, multiply_adds,
    ),
    versions={"puzzles": puzzles.VERSION},
    claims=(
        _claim(
            name="bridges",
            statement="With both bridges a pixel knows what lies beyond the reach of its convolutions",
            method=BOTH, rival=MOBILE, margin=15.0,
        ),
        _claim(
            name="not-width",
            statement="A wider Mobile of no fewer multiply-adds does not make up for the bridges",
            method=BOTH, rival="wide Mobile", margin=15.0,
        ),
        Claim(
            name="not-tokens-alone",
            statement="Squeeze-and-excite, which hears the mean of the whole map, brings the message without any token",
            source="not in the paper; our puzzle", metric="accuracy (%)", method=EXCITED, rival=MOBILE, margin=15.0,
        ),
        _claim(
            name="writing",
            statement="With fixed slopes, tokens that read but do not write help no pixel",
            method=BOTH, rival="read only", margin=15.0,
        ),
        _claim(
            name="reading",
            statement="Tokens that write but have not read tell nothing: Mobile→Former is needed",
            method=BOTH, rival="write only", margin=15.0,
        ),
        _claim(
            name="slopes",
            statement="The slopes alone, set by the first token, bring the message to every pixel without any writing",
            method="read only, dynamic ReLU", rival=MOBILE, margin=15.0,
        ),
        _claim(
            name="cut-reading",
            statement="A trained network whose tokens may no longer read loses what it knew",
            method=BOTH, rival=BOTH, rival_metric="accuracy without reading (%)", margin=15.0,
        ),
        _claim(
            name="cut-writing",
            statement="A trained network whose tokens may no longer write loses what it knew",
            method=BOTH, rival=BOTH, rival_metric="accuracy without writing (%)", margin=15.0,
        ),
    ),
)  # fmt: skip

_card = partial(
    Card,
    network="visionlab.backbones.mobile_former_flat:flat_network",
    classes=("minority", "majority"),
    size=32,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    experiment="mobile_former/majority",
    preset="long",
    data="none",
    seed=0,
    licence="MIT, as visionlab, which draws its data",
)
SLOPES_ALONE = "read only, dynamic ReLU"
WEIGHTS = (
    _card(name="mobile_former_majority", kwargs=NETWORKS[BOTH], variant=BOTH),
    _card(name="mobile_former_majority_slopes", kwargs=NETWORKS[SLOPES_ALONE], variant=SLOPES_ALONE),
)
