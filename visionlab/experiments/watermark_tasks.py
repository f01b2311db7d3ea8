"""Other networks than the one that takes rain off (arXiv 2108.02360): is a mark on what they answer stolen as well?"""

from __future__ import annotations

from dataclasses import replace

from visionlab.experiments.experiment import Job, Outcome
from visionlab.experiments.watermark_setting import file_of, initial_owner, pairs_of
from visionlab.experiments.watermark_theft import Deeds, Thief, measured
from visionlab.protection.tasks import TASKS

__all__ = ["DEEDS", "OTHERS", "measure_tasks"]

DEEDS: Deeds = {
    "own answers": None,
    "all": Thief(augmentation="all"),
    "clean thief, all": Thief(answers="clean", augmentation="all"),
}
"""What is looked at for each task, as in `watermark_theft.OF_MARK`."""
OTHERS = tuple(name for name in TASKS if name != "rain")
"""Rain is the task of the experiment on theft."""


def measure_tasks(job: Job) -> Outcome:
    """Train an owner's networks for one task, and a thief's; look for the mark in what the thief's answers."""
    task, _, deed = job.variant.partition(": ")
    job = replace(job, preset=replace(job.preset, task=task))
    images = pairs_of(job)
    owned = initial_owner(job, images["owner"], job.preset.loss, file_of(job, "owner-initial"))
    return measured(job, owned, DEEDS[deed], images, own=deed == "own answers")
