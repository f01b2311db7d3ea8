"""Steal it: thieves' networks trained on marked answers, and what an owner finds in what those answer.

Each seed has an owner of its own, with a structure mark (arXiv 2108.02360) and a logo (2103.04980) of the same mean
PSNR. All thieves of a seed ask the same questions, none of which the owner trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from visionlab import weights
from visionlab.experiments.experiment import Job, Outcome
from visionlab.experiments.watermark_setting import (
    CHANGES,
    SETS,
    SYMBOLS,
    Mark,
    Pairs,
    Setting,
    calibrated,
    evidence,
    file_of,
    held,
    owner_of,
    pairs_of,
    read,
    shipped,
)
from visionlab.measure.image_quality import psnr, ssim
from visionlab.predictor import Predictor
from visionlab.protection.owner import Owned, marked_answers
from visionlab.protection.spatial_mark import SpatialMark
from visionlab.protection.surrogate import AUGMENTATIONS, Augmentation, fine_tuned, pruned, train_surrogate
from visionlab.protection.surrogate_networks import SURROGATES, SurrogateUNet
from visionlab.protection.tasks import answers
from visionlab.protection.verification import structure_evidence
from visionlab.protection.victims import SmallResNet
from visionlab.protection.watermark import Reading
from visionlab.train.loop import start
from visionlab.train.randomness import generator, seeded

__all__ = ["COUNTS", "THIEVES", "Thief", "measure_theft", "measured", "thief_of"]

COUNTS = (1, 2, 4, 8, 16, 32, 64)
"""Answers that the owner looks at."""
TUNED_ON = 200
"""Clean pairs that a thief who wants to be rid of a mark has, of those that he asked about."""


@dataclass(frozen=True, kw_only=True)
class Thief:
    """What a thief does.

    Args:
        answers: "marked" or "clean", those of which the thief learns; "stamped": clean ones, marked after each
            augmentation, so that the mark stays in its place (a control, which no thief can do).
        augmentation: of the pairs, see `surrogate.AUGMENTATIONS`.
        network: see `surrogate_networks.SURROGATES`, or "wide U-Net".
        loss: see `surrogate.LOSSES`.
        queries: pairs, or 0 for all.
        tuned: train further on 200 clean pairs.
        pruned: share of the weights that is set to zero in the end.
    """

    answers: str = "marked"
    augmentation: str = "none"
    network: str = "U-Net"
    loss: str = "L2"
    queries: int = 0
    tuned: bool = False
    pruned: float = 0.0


Deeds = dict[str, Thief | None]
GRID: Deeds = {name: Thief(augmentation=name) for name in AUGMENTATIONS}
CLEAN: Deeds = {f"clean thief, {name}": Thief(answers="clean", augmentation=name) for name in ("none", "all")}
FAMILIES: Deeds = {
    "all, residual": Thief(augmentation="all", network="residual"),
    "all, plain": Thief(augmentation="all", network="plain"),
    "all, L1": Thief(augmentation="all", loss="L1"),
    "all, L2 + adversarial": Thief(augmentation="all", loss="L2 + adversarial"),
    "all, perceptual + adversarial": Thief(augmentation="all", loss="perceptual + adversarial"),
    "all, 100 queries": Thief(augmentation="all", queries=100),
}
CURES: Deeds = {"none, tuned": Thief(tuned=True), "none, pruned": Thief(pruned=0.3)}
OWN: Deeds = {"own answers": None, "clean answers": None}
OF_MARK: dict[str, Deeds] = {
    "structure": OWN | GRID | CLEAN | FAMILIES | CURES,
    "logo": OWN | GRID | CLEAN | CURES | {
        "stamped after, all": Thief(answers="stamped", augmentation="all"),
        "none, residual": Thief(network="residual"),
        "none, plain": Thief(network="plain"),
    },
}  # fmt: skip
THIEVES = {f"{mark}: {name}": (mark, thief) for mark, thieves in OF_MARK.items() for name, thief in thieves.items()}
"""Variants: the mark, and what the thief does; None where answers are the owner's."""


class Stamped:
    """An augmentation of clean pairs whose outputs get the mark afterwards."""

    def __init__(self, augmentation: Augmentation, mark: SpatialMark) -> None:
        self.augmentation, self.mark = augmentation, mark

    @torch.no_grad()
    def __call__(self, inputs: Tensor, outputs: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return inputs, and outputs with the mark."""
        inputs, outputs = self.augmentation(inputs, outputs, generator=generator)
        return inputs, self.mark.to(outputs.device).mark(outputs.clamp(0, 1))


def network_of(name: str, size: int) -> nn.Module:
    """Return a thief's network, untrained; a U-Net has a bottleneck of 4 x 4 for any size."""
    levels = (size // 4).bit_length() - 1
    if name == "wide U-Net":
        return SurrogateUNet(48, levels=levels)
    return SurrogateUNet(levels=levels) if name == "U-Net" else SURROGATES[name]()


class Perceptual(nn.Module):
    """Images in [0, 1] to maps of the first layers of a classifier: what a perceptual loss compares."""

    def __init__(self, classifier: Predictor) -> None:
        super().__init__()
        network = classifier.model
        assert isinstance(network, SmallResNet)
        self.layers = nn.Sequential(network.stem, network.blocks[0], network.blocks[1])
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """Return maps (B, C, H / 4, W / 4)."""
        return self.layers(self.classifier.normalise(images))


def thief_of(job: Job, mark: Mark, thief: Thief, images: Pairs) -> tuple[nn.Module, list[dict[str, float]]]:
    """Train a thief's network; one that is tuned or pruned in the end goes on from one that is not."""
    preset: Setting = job.preset
    if preset.shipped and thief.answers == "clean" and not thief.queries:
        return shipped(f"thief_clean_{thief.augmentation}", job.data), []
    asked, truth = images["thief"]
    first = replace(thief, tuned=False, pruned=0.0)
    # A thief of clean answers meets no mark: both marks share it.
    kind = "any" if thief.answers == "clean" else job.variant.partition(":")[0]
    key = hashlib.sha256(repr((kind, sorted(asdict(first).items()))).encode()).hexdigest()[:12]
    augmentation: Callable[..., tuple[Tensor, Tensor]] = AUGMENTATIONS[thief.augmentation]
    given = truth
    if thief.answers == "marked":
        given = marked_answers(mark, truth, torch.tensor(SYMBOLS))
    if thief.answers == "stamped":
        assert isinstance(mark, SpatialMark)
        augmentation = Stamped(AUGMENTATIONS[thief.augmentation], mark)
    n = thief.queries or len(asked)
    features = None
    if "perceptual" in thief.loss:
        features = Perceptual(weights.load(f"victim_{'world' if job.data == 'world' else 'eurosat'}_clean"))
    with seeded(job.seed, 2):
        network = network_of(thief.network, preset.size)
    run = train_surrogate(
        network, asked[:n], given[:n], preset.thief, augmentation=augmentation, loss=thief.loss, features=features,
        seed=job.seed, fabric=start(preset.thief.precision, job.device), hook=job.hook,
        checkpoint=file_of(job, f"thief-{key}"),
    )  # fmt: skip
    network = run.model.cpu().eval()
    if thief.tuned:
        few, true = (part[:TUNED_ON] for part in images["thief"])
        fabric = start(preset.tuning.precision, job.device)
        network = fine_tuned(network, few, true, preset.tuning, seed=job.seed, fabric=fabric).cpu().eval()
    return pruned(network, thief.pruned) if thief.pruned else network, run.history


def measure_theft(job: Job) -> Outcome:
    """Train the owner's networks and one thief's, and look for the mark in what the thief's answers."""
    kind, thief = THIEVES[job.variant]
    images = pairs_of(job)
    own = job.variant.endswith("own answers")
    return measured(job, owner_of(job, kind, images["owner"]), thief, images, own=own)


def measured(job: Job, owned: Owned, thief: Thief | None, images: Pairs, *, own: bool = False) -> Outcome:
    """Train a thief's network, and look for the owner's mark in what it answers.

    Args:
        job: what is run.
        owned: the owner's networks.
        thief: what the thief does; none where the owner looks at answers of the network that was never stolen.
        images: of `pairs_of`.
        own: whether those have the mark.
    """
    asked, truth = images["test"]
    network: nn.Module
    if thief is None:
        network, history = owned.mark, owned.history
        found = marked_answers(owned.mark, truth, torch.tensor(SYMBOLS)) if own else truth
    else:
        network, history = thief_of(job, owned.mark, thief, images)
        found = answers(network, asked)
    metrics = {"PSNR (dB)": psnr(found, truth).mean().item(), "SSIM": ssim(found, truth).mean().item()}
    metrics["PSNR of the mean error (dB)"] = psnr(found[None].flatten(1, 2), truth[None].flatten(1, 2)).item()
    clean = owned.clean
    if thief is not None and thief.answers != "clean":
        honest = Thief(answers="clean", augmentation="all" if thief.augmentation == "all" else "none")
        clean = thief_of(replace(job, hook=None), owned.mark, honest, images)[0]
    metrics |= judged(job, owned, images["calibration"], found, answers(clean, asked))
    return Outcome(metrics, history[:-1:10] + history[-1:], network=network)


def judged(
    job: Job, owned: Owned, calibration: tuple[Tensor, Tensor], found: Tensor, clean: Tensor
) -> dict[str, float]:
    """What the owner says of answers; beside them, answers of a clean thief, for the AUC of single images."""
    metrics: dict[str, float] = {}
    both = ((owned.mark, ""), (owned.before, ", before"))
    for mark, when in both[: 1 if owned.before is owned.mark else 2]:
        limit = calibrated(mark, owned.clean, calibration, seed=job.seed)
        reading = read(mark, found)
        one = evidence(mark, reading)
        metrics |= {
            f"detected{when} (%)": 100 * one.detected(limit.threshold).double().mean().item(),
            **{f"held at {n}{when} (%)": held(mark, reading, limit, n, seed=job.seed) for n in COUNTS if n >= 8},
            f"score{when}": one.scores[one.usable].mean().item(),
        }
        if when:
            continue
        metrics |= _alone(mark, reading, read(mark, clean))
        metrics |= {"bound of false positives (%)": 100 * limit.bound, "abstained (%)": 100 - _percent(one.usable)}
        for name, steps in CHANGES.items():
            after = read(mark, found, steps, seed=job.seed)
            share = evidence(mark, after).detected(limit.threshold)
            metrics[f"detected, {name} (%)"] = _percent(share)
            metrics[f"held at 32, {name} (%)"] = held(mark, after, limit, 32, seed=job.seed)
    return metrics


def _alone(mark: Mark, found: Reading | Tensor, clean: Reading | Tensor) -> dict[str, float]:
    """How well single images tell the mark, and what code is read from some together."""
    ours, theirs = evidence(mark, found), evidence(mark, clean)
    scores = torch.cat([ours.against_chance, theirs.against_chance])
    truth = torch.cat([torch.ones(len(ours.scores)), torch.zeros(len(theirs.scores))])
    metrics = {"AUC (%)": 100 * float(roc_auc_score(truth.numpy(), scores.numpy()))}
    if isinstance(mark, SpatialMark):
        assert isinstance(found, Tensor)
        return metrics | {"bits right (%)": 100 * mark.bit_accuracy(found).mean().item()}
    for n in COUNTS:
        draw = generator(0, n)
        some = (torch.randperm(len(found), generator=draw)[:n] for _ in range(SETS))
        right = [structure_evidence(mark, found[each], SYMBOLS).decoded == SYMBOLS for each in some]  # type: ignore[arg-type]
        metrics[f"code right from {n} (%)"] = 100 * sum(right) / len(right)
    return metrics


def _percent(share: Tensor) -> float:
    return 100 * share.double().mean().item()
