"""Controls of the experiment on theft (arXiv 2108.02360): is it structure that outlives the thief, or something less?

A logo that is symmetric; one that is printed and not written by a network; an owner who expects augmentation; a thief
with a larger network; and what the clean pairs are worth on their own that a thief may have.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from visionlab.experiments.claim import Claim, Kept
from visionlab.experiments.experiment import Job, Outcome
from visionlab.experiments.watermark_setting import Pairs, file_of, owner_of, pairs_of, surrogate_of
from visionlab.experiments.watermark_theft import TUNED_ON, Thief, measured
from visionlab.protection.owner import WIDTH, Owned, marked_answers
from visionlab.protection.spatial_mark import SpatialMark
from visionlab.protection.spatial_training import adversarial_stage
from visionlab.protection.surrogate import AUGMENTATIONS
from visionlab.protection.tasks import answers
from visionlab.train.loop import start

__all__ = ["ALONE", "CLAIMS", "CONTROLS", "EXPECTING", "HELD", "augmenting_owner", "measure_controls"]

EXPECTING = ", augmenting owner"
"""How the names of thieves end whose victim expects augmentation."""
ALONE = "structure: 200 clean pairs alone"
_ALL, _CLEAN = Thief(augmentation="all"), Thief(answers="clean", augmentation="all")
CONTROLS: dict[str, Thief] = {
    **{f"rings: {name}": Thief(augmentation=name) for name in AUGMENTATIONS},
    "rings: clean thief, all": _CLEAN,
    **{f"printed rings: {name}": Thief(augmentation=name) for name in AUGMENTATIONS},
    "printed rings: clean thief, all": _CLEAN,
    "logo: all": _ALL,
    f"logo: all{EXPECTING}": _ALL,
    f"logo: clean thief, all{EXPECTING}": _CLEAN,
    "structure: all": _ALL,
    "structure: all, wide U-Net": Thief(augmentation="all", network="wide U-Net"),
    "structure: none, tuned": Thief(tuned=True),
    ALONE: Thief(answers="clean", queries=TUNED_ON),
}


def measure_controls(job: Job) -> Outcome:
    """Train the owner's networks, of a kind and in a way that the variant names, and a thief's; look for the mark."""
    images = pairs_of(job)
    owned = owner_of(job, job.variant.partition(":")[0], images["owner"])
    if job.variant.endswith(EXPECTING):
        owned = augmenting_owner(job, owned, images)
    return measured(job, owned, CONTROLS[job.variant], images)


def augmenting_owner(job: Job, owned: Owned, images: Pairs) -> Owned:
    """Repeat the logo's adversarial stage with a surrogate that was trained on pairs with all augmentations."""
    preset = job.preset
    asked, truth = images["owner"]
    kept = 3 * len(asked) // 4
    mark = copy.deepcopy(owned.before)
    assert isinstance(mark, SpatialMark)
    surrogate = surrogate_of(
        job, "augmented", WIDTH, asked[:kept], marked_answers(mark, truth[:kept]), preset.spatial_marked,
        augmentation="all", draw=3,
    )  # fmt: skip
    stolen = answers(surrogate, asked[kept:])
    adversarial_stage(
        mark, asked[kept:], truth[kept:], stolen, preset.spatial_reading, seed=job.seed,
        fabric=start(preset.spatial_reading.precision, job.device), checkpoint=file_of(job, "owner-logo-expecting"),
    )  # fmt: skip
    return replace(owned, mark=mark.cpu().eval())


HELD = "held at 32 (%)"
"""Sets of 32 answers for which theft is claimed."""
OURS: dict[str, Any] = {"source": "ours, a control", "metric": HELD}
CLAIMS = (
    Claim(
        name="rings",
        remark="Its network writes a fine pattern, which is neither a ring nor symmetric: mirrors it mostly outlives,"
        " turns and crops it does not. A pattern written larger, for pictures of 256 pixels, should outlive more.",
        statement="A logo that looks the same mirrored and turned, a ring, outlives all augmentations",
        method="rings: all",
        rival="rings: clean thief, all",
        margin=90.0,
        **OURS,
    ),
    Claim(
        name="printed-rings",
        remark="It outlives mirrors, turns, and mostly crops, one at a time, but not all of them at once, which leave"
        " a blur of it. Thieves who turn and crop less should carry it.",
        statement="A ring that is printed, dark on light, and not written by a network, outlives them",
        method="printed rings: all",
        rival="printed rings: clean thief, all",
        margin=90.0,
        **OURS,
    ),
    Claim(
        name="augmenting-owner",
        remark="The thief's network answers no logo at all, so that there is nothing to read. No scale should help.",
        statement="An owner whose own surrogate is augmented reads the logo in what such a thief answers",
        method=f"logo: all{EXPECTING}",
        rival=f"logo: clean thief, all{EXPECTING}",
        margin=50.0,
        **OURS,
    ),
    Kept(
        name="wide",
        statement="A thief with twice as large a network is found as often, within ten points",
        source="abstract: circumvention",
        metric=HELD,
        method="structure: all, wide U-Net",
        rival="structure: all",
        margin=10.0,
    ),
    Claim(
        name="theft-pays",
        statement="Theft pays: a stolen network, tuned on 200 clean pairs, beats one trained on those alone",
        source="ours",
        metric="PSNR (dB)",
        method="structure: none, tuned",
        rival=ALONE,
        margin=0.5,
    ),
)
