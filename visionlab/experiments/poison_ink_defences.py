"""What catches Poison Ink and its rivals (arXiv 2108.02488): each defence on victims, poisoned and clean.

BadNets is the positive control: a crude patch, which a defence that works has to find. The defender has 300 clean
images; what is measured are the others.
"""

from __future__ import annotations

from typing import Any

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from visionlab.experiments.audit import standing_out
from visionlab.experiments.claim import Claim, Kept
from visionlab.experiments.experiment import Job, Outcome
from visionlab.experiments.poison_ink_victims import images_of, victim_of
from visionlab.predictor import Predictor
from visionlab.protection.defences import fine_pruning, fine_tuning, neural_cleanse
from visionlab.protection.defences.case import Case, clean_means, features_of
from visionlab.protection.defences.clustering import examine as cluster
from visionlab.protection.defences.clustering import two_groups, whitening
from visionlab.protection.defences.grad_cam import concentration, heat_maps
from visionlab.protection.defences.spectral import examine as spectral
from visionlab.protection.defences.spectral import outlier_scores
from visionlab.protection.defences.strip import entropies
from visionlab.protection.triggers import Trigger
from visionlab.protection.victims import attack_success, predictions

__all__ = ["CLAIMS", "CODE", "measure_defences"]

FLAG = 2.0  # deviations of the logarithm below which Neural Cleanse calls a mask suspiciously small


def auc(clean_scores: Tensor, poisoned_scores: Tensor) -> float:
    """Area under the ROC curve in percent: 50 is chance."""
    truth = [0] * len(clean_scores) + [1] * len(poisoned_scores)
    return 100 * float(roc_auc_score(truth, torch.cat([clean_scores, poisoned_scores]).numpy()))


def detectors(case: Case, poisoned: Tensor, target: int) -> dict[str, float]:
    """Measure the checks of the training set: does a score tell the poisoned images of the target's class?"""
    assert case.training_images is not None
    assert case.training_labels is not None
    called = case.training_labels == target
    by_spectrum, by_group = spectral(case), cluster(case)
    assert by_spectrum.by_class is not None
    assert by_group.by_class is not None
    classes = case.predictor.classes
    metrics = {
        "spectral: spread of the target (%)": 100 * by_spectrum.by_class[target].item(),
        "clustering: distance of the target": by_group.by_class[target].item(),
    }
    for name, finding in (("spectral", by_spectrum), ("clustering", by_group)):
        named = [each for each, _ in standing_out(finding, classes)]
        false = [each for each in named if each != classes[target] or not poisoned.any()]
        metrics[f"{name}: target named (%)"] = 100.0 * (classes[target] in named)
        metrics[f"{name}: false alarms (classes)"] = float(len(false))
    if poisoned.any():
        bad = poisoned[called]
        own = outlier_scores(features_of(case.predictor, case.training_images[called]))
        for name, scores in (
            ("spectral, as published", own),
            ("spectral", by_spectrum.suspects[called]),
            ("clustering", by_group.suspects[called]),
        ):
            metrics[f"{name}: AUC (%)"] = auc(scores[~bad], scores[bad])
    return metrics


def cleansed(case: Case, target: int, steps: int) -> dict[str, float]:
    """Measure Neural Cleanse: how far the target's mask lies below the median, and what is flagged."""
    index = neural_cleanse.examine(case, steps=steps).suspects
    flagged = index > FLAG
    return {
        "Neural Cleanse: index of the target": index[target].item(),
        "Neural Cleanse: target flagged (%)": 100.0 * flagged[target].item(),
        "Neural Cleanse: other classes flagged": float(int(flagged.sum()) - int(flagged[target])),
    }


def cured(case: Case, trigger: Trigger, images: Tensor, labels: Tensor, target: int) -> dict:
    """Measure the cures: attack success once the network was pruned at a cost of four points, and once it was tuned."""

    def judge(predictor: Predictor) -> float:
        return attack_success(predictor.probabilities, trigger, images, labels, target=target)

    pruning = fine_pruning.examine(case, judge=judge).details
    tuning = fine_tuning.examine(case, judge=judge).details
    affordable = pruning["accuracy"] >= pruning["accuracy"][0] - 0.04
    return {
        "pruning: success at a cost of 4 points (%)": pruning["judged"][affordable][-1].item(),
        "tuning: success after 1 epoch (%)": tuning["judged"][1].item(),
        "tuning: success after 10 epochs (%)": tuning["judged"][2].item(),
        "tuning: points of accuracy lost": 100 * (tuning["accuracy"][0] - tuning["accuracy"][2]).item(),
    }


def measure_defences(job: Job) -> Outcome:
    """Train a victim and try every defence on it."""
    victim = victim_of(job)
    images, labels, _ = images_of(job, "test")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(job.seed))
    ours, rest = order[: len(order) // 2], order[len(order) // 2 :]
    found = victim.trained_on
    case = Case(victim.predictor, images[ours], labels[ours], found.images, found.labels, seed=job.seed)
    right = predictions(victim.predictor.probabilities, images) == labels
    metrics = {
        "accuracy (%)": 100 * right.double().mean().item(),
        "success, none (%)": attack_success(
            victim.predictor.probabilities, victim.trigger, images, labels, target=victim.target
        ),
    }
    metrics |= detectors(case, found.poisoned, victim.target)
    metrics |= cleansed(case, victim.target, job.preset.reverse_steps)
    others = rest[labels[rest] != victim.target]
    triggered = victim.trigger(images[others])
    if found.poisoned.any():
        scores = (
            -entropies(victim.predictor.probabilities, x, case.images, seed=job.seed)
            for x in (images[others], triggered)
        )
        metrics["STRIP: AUC (%)"] = auc(*scores)
    metrics["Grad-CAM: concentration (%)"] = 100 * concentration(heat_maps(victim.predictor, triggered))
    metrics |= cured(case, victim.trigger, images[rest], labels[rest], victim.target)
    return Outcome(metrics, victim.run.history, network=victim.run.model)


CODE = (
    victim_of, auc, detectors, cleansed, cured, standing_out, clean_means, features_of, cluster,
    two_groups, whitening, spectral, outlier_scores, entropies, heat_maps, concentration, neural_cleanse.reverse,
    neural_cleanse.anomaly_index, neural_cleanse.examine, fine_pruning.examine, fine_tuning.examine, fine_tuning.tuned,
)  # fmt: skip


RESISTS = "abstract: strong resistance to many defence techniques"
INK: dict[str, Any] = {"source": RESISTS, "method": "Poison Ink"}
CLAIMS = (
    Claim(
        name="strip",
        statement="STRIP tells images with a patch from clean ones far better than images with ink",
        source=RESISTS,
        metric="STRIP: AUC (%)",
        method="BadNets",
        rival="Poison Ink",
        margin=10.0,
    ),
    Claim(
        name="cam",
        statement="Grad-CAM shows the network staring at a patch, and at nothing in particular for ink",
        source=RESISTS,
        metric="Grad-CAM: concentration (%)",
        method="BadNets",
        rival="Poison Ink",
        margin=20.0,
    ),
    Kept(
        name="cleanse",
        statement="To Neural Cleanse ink's target is at most 2 deviations more suspicious than in a clean network",
        metric="Neural Cleanse: index of the target",
        remark="Here a small patch opens the inked class in all five networks, and the check flags it. We count"
        " deviations of the logarithms of mask sizes, which is sharper than the published count of sizes. Networks"
        " of the paper's size may also tell ink from a patch better than ours of 78 thousand parameters do.",
        **INK,
        rival="clean",
        margin=2.0,
        higher_is_better=False,
    ),
    Kept(
        name="spectral",
        statement="Seen from clean images, the inked class is spread at most 30 % more than in a clean network",
        metric="spectral: spread of the target (%)",
        remark="As published, centred on the mean of the suspicious class itself, the check finds none of the three"
        " attacks, not even the patch. It is a few clean images that give the ink away.",
        **INK,
        rival="clean",
        margin=30.0,
        higher_is_better=False,
    ),
    Kept(
        name="clustering",
        statement="To clustering the inked class lies at most one unit of scatter farther off than when clean",
        metric="clustering: distance of the target",
        remark="It is a few clean images again: they say where honest images of the class lie and how they scatter."
        " As published, without them, the check looks for two groups, and honest classes may have two as well.",
        **INK,
        rival="clean",
        margin=1.0,
        higher_is_better=False,
    ),
    Kept(
        name="pruning",
        statement="Pruned at a cost of 4 points, ink opens the class at most 20 points less often than a patch",
        metric="pruning: success at a cost of 4 points (%)",
        **INK,
        rival="BadNets",
        margin=20.0,
    ),
    Kept(
        name="tuning",
        statement="Tuned for ten epochs, ink opens the class at most 20 points less often than a patch",
        metric="tuning: success after 10 epochs (%)",
        remark="The five seeds scatter: tuning halves the success of ink in one network and hardly touches it in"
        " three. More seeds would tell; that ink outlives a single epoch is plain in all of them.",
        **INK,
        rival="BadNets",
        margin=20.0,
    ),
)
