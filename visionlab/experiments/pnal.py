"""Experiments on PNAL (arXiv 2107.14230): what wrong labels of objects do to a segmentation, and what votes mend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from visionlab.data.world.rooms import ROOMS_VERSION
from visionlab.experiments import pnal_setting as setting
from visionlab.experiments.claim import Claim, Closed, Kept
from visionlab.experiments.experiment import Experiment, Job, Outcome
from visionlab.experiments.pnal_setting import BEST, LEARNT, Case, Setting, measure_case
from visionlab.measure import points as measures
from visionlab.points import blocks, clusters, dgcnn, label_noise, neighbours, robust_losses, spoiled, training, voting
from visionlab.points import pnal as method
from visionlab.points.blocks import Moved
from visionlab.points.training import recipe

__all__ = ["EXPERIMENTS", "REPLAYED"]

ACCURACY, IOU, LABELS = "accuracy (%)", "mean IoU (%)", "labels right (%)"
DECIDES = (
    Case, setting.clouds_of, setting.clusters_of, setting.noisy, spoiled.alike, spoiled.ALIKE, setting.blocks_of,
    setting.network_of, setting.predicted, setting.measure_case, setting._of_networks, setting.curves,
    setting.FIRST_TEST, clusters.COLOUR, setting.COARSER, method.Cleaning, method.LabelMemory, training.CleaningLoss,
    training.train_points, training.LOOKED_EVERY, voting.agreement, voting.uncertainty, voting.corrected,
    voting._largest, voting._first, voting._by_lot, blocks.channels, blocks.whole, blocks._blocks, blocks._apart,
    blocks.Moved, blocks._rotation, clusters.by_look, clusters.kmeans, clusters.purity, clusters.best_labels,
    label_noise.symmetric, label_noise.asymmetric, label_noise._flip, label_noise._others, label_noise.SLACK,
    label_noise.PARTNER_SHARE, robust_losses.cross_entropy, robust_losses.sce, robust_losses.gce,
    robust_losses.truncated_gce, robust_losses.truncation_weights, robust_losses.masked_mean, dgcnn.SmallDGCNN,
    dgcnn.PooledEdgeConv, dgcnn.gather, dgcnn.split, neighbours.nearest, measures.segmented, measures.selected,
)  # fmt: skip
"""What decides the numbers."""
RATES = (20, 40, 60, 80)
WORST = "60 %"
"""The rate at which all else is compared, that of the paper's abstract."""
OWN_RATES, ALIKE = "each room its own", "look-alikes, 40 %"
KINDS: dict[str, dict[str, Any]] = {
    **{f"{rate} %": {"rate": rate / 100} for rate in RATES},
    ALIKE: {"rate": 0.4, "noise": "asymmetric"},
    OWN_RATES: {"rate": None},
}
PNAL, USUAL, BOUND = f"PNAL, {WORST}", f"cross entropy, {WORST}", "clean labels"
NOISE: dict[str, Case] = {
    **{f"cross entropy, {name}": Case(**kind) for name, kind in KINDS.items()},
    **{f"PNAL, {name}": Case(**kind, cleaning=()) for name, kind in KINDS.items()},
    **{f"{loss}, {WORST}": Case(loss=loss) for loss in ("SCE", "GCE", "truncated GCE")},
    BOUND: Case(clean=True),
}
CHANGED: dict[str, Case] = {
    "PNAL": Case(cleaning=()),
    "lot among the voted": Case(cleaning=(("rule", "vote"),)),
    "smallest loss decides": Case(cleaning=(("rule", "first"),)),
    "each point for itself": Case(cleaning=(("rule", "point"),)),
    "eight must agree": Case(cleaning=(("slots", 8),)),
    "votes end after three epochs": Case(cleaning=(("rounds", 3),)),
    "others are zeros": Case(cleaning=(("unselected", "zero"),)),
    "short warm-up": Case(cleaning=(("warmup", 8),)),
    "long warm-up": Case(cleaning=(("warmup", 40),)),
    "twice as many clusters": Case(cleaning=(), grouped="finer"),
    "coarse clusters": Case(cleaning=(), grouped="coarse"),
    "true objects": Case(cleaning=(), grouped="objects"),
}
CONTROL = {"cross entropy": Case(), "PNAL": Case(cleaning=())}
SCAN_RATE = 0.25
"""Half of a scan is table: more would be nearly all of the things on it."""
SCANS = {
    "cross entropy": Case(rate=SCAN_RATE), "PNAL": Case(rate=SCAN_RATE, cleaning=()), BOUND: Case(clean=True)
}  # fmt: skip
REPLAYED = (USUAL, PNAL)
"""What the lab shows epoch by epoch."""


def _better(name: str, than: str, statement: str, margin: float, **more: Any) -> Claim:
    """Return the claim that PNAL beats another training in accuracy on rooms it has not seen, at the worst rate."""
    settled: dict[str, Any] = {"metric": ACCURACY, "method": PNAL, "source": "abstract"}
    return Claim(name=name, rival=than, statement=statement, margin=margin, **(settled | more))


ROBUST = (
    "Robust losses memorise less as well. PNAL is ahead on average, but by no more than seeds differ: more seeds, or"
    " longer trainings, should tell."
)
FEW = (
    "As many labels are right as what the network says at the end of the warm-up, or more: nothing is gained by putting"
    " one in the place of the other. It should show where the network knows more than its teachers: with more rooms."
)
NOISE_CLAIMS = (
    _better(
        "robust", USUAL,
        "With 60 % of wrong labels PNAL segments new rooms far better than the same network without it", 6.0,
        source="abstract: S3DIS, 60 % symmetric noise",
    ),
    _better("iou", USUAL, "So it does by mean IoU, in which rare classes count as much as others", 3.0, metric=IOU),
    Closed(
        name="half-way",
        statement="PNAL closes at least half of the gap to a network that was trained on clean labels",
        source="abstract: comparable to clean labels, S3DIS",
        metric=ACCURACY,
        method=PNAL,
        rival=USUAL,
        bound=BOUND,
        share=0.5,
        remark="What votes give is what the network knew at the end of the warm-up, of 4,000 objects most of which had"
        " a wrong name. The paper's data have many more: it should show with thousands of rooms (gpu, paper).",
    ),
    Claim(
        name="memorised",
        statement="Without it, the network learns wrong labels by heart",
        source="introduction: networks memorise wrong labels late",
        metric=LEARNT,
        method=USUAL,
        rival=PNAL,
        margin=5.0,
    ),
    Claim(
        name="labels",
        statement="Of the labels of the training rooms 40 % are right at first, far more at the end",
        source="figure 2",
        metric=LABELS,
        method=PNAL,
        rival=USUAL,
        margin=15.0,
    ),
    Kept(
        name="best-epoch",
        statement="Stopped in its best epoch, which only clean labels can tell, the usual training is no better",
        source="ours, a control",
        metric=ACCURACY,
        method=PNAL,
        rival=USUAL,
        rival_metric=BEST,
        margin=2.0,
        remark="Right labels are lost again the longer votes go on, so that PNAL ends a little below the best epoch."
        " That epoch is not known to anybody without clean labels.",
    ),
    *(
        _better(
            f"rate-{rate}", f"cross entropy, {rate} %", f"PNAL segments better with {rate} % of wrong labels too", 3.0,
            method=f"PNAL, {rate} %", remark=FEW,
        )
        for rate in RATES if f"{rate} %" != WORST
    ),
    *(
        _better(name.replace(" ", "-").lower(), f"{name}, {WORST}", f"PNAL beats {said}", 3.0, source="published code",
                remark=ROBUST)
        for name, said in (
            ("SCE", "symmetric cross entropy"),
            ("GCE", "generalised cross entropy"),
            ("truncated GCE", "generalised cross entropy that leaves out what it is far off"),
        )
    ),
    _better(
        "own-rates", f"cross entropy, {OWN_RATES}", "It needs no noise rate: each room may have its own", 3.0,
        method=f"PNAL, {OWN_RATES}", source="abstract: noise-rate blind",
    ),
    _better(
        "look-alikes", f"cross entropy, {ALIKE}", "It holds as well if classes are taken for those that look like them",
        3.0, method=f"PNAL, {ALIKE}", source="published code: asymmetric noise", remark=FEW,
    ),
)  # fmt: skip


def _matters(name: str, other: str, statement: str, margin: float, metric: str = LABELS, **more: Any) -> Claim:
    settled: dict[str, Any] = {"method": "PNAL", "source": "figure 2"}
    return Claim(name=name, rival=other, statement=statement, margin=margin, metric=metric, **(settled | more))


CHANGED_CLAIMS = (
    _matters(
        "clusters", "each point for itself", "Votes of clusters mend more labels than points on their own", 2.0,
        remark="Six points are a cluster here, and one in seventeen belongs to something else: the larger neighbour"
        " wins, teaches the network so, and wins more votes. With scans of millions of points clusters are purer.",
    ),
    _matters(
        "majority", "smallest loss decides", "A vote mends more than the one point that the released code asks", 1.0,
        source="published code",
    ),
    _matters(
        "lot", "lot among the voted", "The majority mends more than a lot among classes with enough votes", 1.0,
        source="published code",
    ),
    _matters("early", "short warm-up", "Correction must not begin before the network knows much", 2.0, ACCURACY),
    _matters(
        "late", "long warm-up", "Nor late, when the network has learned wrong labels by heart", 2.0, ACCURACY,
        remark="Wrong labels are learned slowly here, a fifth of them in 56 epochs, and fewer epochs are left in"
        " which votes can spoil right ones. It should show after longer warm-ups, or without augmentation.",
    ),
    _matters(
        "steady", "PNAL", "A longer memory keeps votes steadier than the published four predictions", 0.5,
        method="eight must agree", source="ours",
        remark="It takes longer until right labels are lost, but they are. It should show in shorter trainings.",
    ),
    _matters(
        "enough", "PNAL", "Votes of three epochs, and then no more, leave better labels than votes to the end", 2.0,
        method="votes end after three epochs", source="ours",
    ),
    _matters(
        "finer", "PNAL", "Clusters half as large mend more labels still", 1.0, method="twice as many clusters",
        source="ours",
    ),
    _matters("small", "coarse clusters", "Clusters must be small: two objects in one get one label", 5.0),
    _matters(
        "objects", "PNAL", "Clusters that were the objects themselves would mend more labels", 2.0,
        method="true objects", source="ours, a bound",
    ),
    _matters(
        "zeros", "others are zeros", "Points that are not selected should leave the loss, not the input", 2.0, ACCURACY,
        source="ours; published code: zeros",
        remark="Nine points in ten are selected within three epochs, so that there are few zeros. It should show where"
        " many stay unselected for long.",
    ),
)  # fmt: skip
CONTROL_CLAIMS = (
    Claim(
        name="always",
        statement="PNAL is better also where strong augmentation and a short schedule let no label be memorised",
        source="ours, a negative control",
        metric=ACCURACY,
        method="PNAL",
        rival="cross entropy",
        margin=2.0,
        remark="It is a control: what is not memorised need not be mended, and PNAL adds its own mistakes. No scale"
        " should help.",
    ),
)
SCANS_CLAIMS = (
    Claim(
        name="real",
        statement="PNAL segments new scans better, trained on real scans with wrong labels of objects",
        source="abstract: real data",
        metric=ACCURACY,
        method="PNAL",
        rival="cross entropy",
        margin=2.0,
    ),
    Claim(
        name="real-labels",
        statement="It mends labels of real scans",
        source="abstract: real data",
        metric=LABELS,
        method="PNAL",
        rival="cross entropy",
        margin=3.0,
    ),
)

LONG = Setting(recipe=recipe(192, 56), warmup=22, n=192, moved=Moved(mirror=0.5, tint=0.03))
GPU = Setting(
    recipe=recipe(256, 30, batch=12, learning_rate=1e-3, ema=0.99), warmup=6, n=256, test=64, points=4096,
    network="published", k=20, dropout=0.5, clusters=100, variants=(USUAL, PNAL, BOUND),
)  # fmt: skip
PAPER = Setting(
    recipe=recipe(27_056, 29, batch=12, learning_rate=1e-3, ema=0.999), warmup=4, points=4096, side=1.0,
    network="published", k=30, dropout=0.5, moved=Moved(turn=(15.0, 15.0, 15.0)), clusters=None,
    variants=(USUAL, PNAL, BOUND),
)  # fmt: skip
LIVE = Setting(recipe=recipe(96, 24), warmup=6, n=96, test=24, variants=(USUAL, PNAL))
TAUGHT = Setting(recipe=recipe(192, 20), warmup=6, n=192, moved=Moved(mirror=0.5, tint=0.08))
REAL = Setting(
    recipe=recipe(36, 32, learning_rate=1e-3), warmup=12, points=512, k=12, dropout=0.0, clusters=60,
    moved=Moved(turn=(0.0, 0.0, 180.0), mirror=0.5, tint=0.03),
)  # fmt: skip


def measure_noise(job: Job) -> Outcome:
    """Train by one method on one kind of noise."""
    outcome = measure_case(job, NOISE[job.variant])
    return outcome if job.variant in REPLAYED else replace(outcome, arrays={})


def measure_correction(job: Job) -> Outcome:
    """Train with one thing about the correction changed."""
    return replace(measure_case(job, CHANGED[job.variant]), arrays={})


def measure_control(job: Job) -> Outcome:
    """Train where nothing is memorised."""
    return replace(measure_case(job, CONTROL[job.variant]), arrays={})


def measure_scans(job: Job) -> Outcome:
    """Train on real scans."""
    return replace(measure_case(job, SCANS[job.variant]), arrays={})


def _experiment(
    what: str,
    question: str,
    cases: Mapping[str, Case],
    measure: Callable[[Job], Outcome],
    claims: tuple[Claim, ...],
    data: tuple[str, ...] = ("rooms",),
    **presets: Setting,
) -> Experiment:
    return Experiment(
        name=f"pnal/{what}",
        question=question,
        variants=tuple(cases),
        measure=measure,
        presets=presets,
        claims=claims,
        defined_by=(tuple(vars(case) for case in cases.values()), *DECIDES),
        data=data,
        versions={"rooms": ROOMS_VERSION} if "rooms" in data else {},
    )


EXPERIMENTS = (
    _experiment(
        "noise", "What do wrong labels of whole objects cost, and how much of it does PNAL win back?",
        NOISE, measure_noise, NOISE_CLAIMS, ("rooms", "s3dis", "scannet"),
        quick=LIVE, long=LONG, gpu=GPU, paper=PAPER,
    ),
    _experiment(
        "correction", "What mends labels: votes, clusters, or the moment at which votes begin?",
        CHANGED, measure_correction, CHANGED_CLAIMS,
        quick=replace(LIVE, variants=("PNAL",)), long=LONG,
    ),
    _experiment(
        "control", "Does PNAL help where no wrong label is memorised?",
        CONTROL, measure_control, CONTROL_CLAIMS,
        quick=replace(TAUGHT, n=64, test=24), long=TAUGHT,
    ),
    _experiment(
        "scans", "Does it hold on real scans of things on a table?",
        SCANS, measure_scans, SCANS_CLAIMS, ("mosd",),
        quick=replace(REAL, points=256), long=REAL,
    ),
)  # fmt: skip
