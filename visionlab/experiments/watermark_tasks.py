"""Other networks than the one that takes rain off (arXiv 2108.02360): is a mark on what they answer stolen as well?"""

from __future__ import annotations

from dataclasses import replace

from visionlab.experiments.experiment import Job, Outcome
from visionlab.experiments.watermark_setting import Pairs, file_of, mark_of, pairs_of
from visionlab.experiments.watermark_theft import Deeds, Thief, measured
from visionlab.protection.owner import WIDTH, Owned
from visionlab.protection.surrogate import train_surrogate
from visionlab.protection.surrogate_networks import SurrogateUNet
from visionlab.protection.tasks import TASKS, answers
from visionlab.protection.watermark import StructureMark
from visionlab.protection.watermark_training import train_mark
from visionlab.train.loop import start
from visionlab.train.randomness import seeded

__all__ = ["DEEDS", "OTHERS", "measure_tasks", "owner_of_task"]

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
    return measured(job, owner_of_task(job, images), DEEDS[deed], images, own=deed == "own answers")


def owner_of_task(job: Job, images: Pairs) -> Owned:
    """Train a structure mark on the answers of a task, without adversarial stage, which a mark on edges can spare."""
    preset = job.preset
    asked, truth = images["owner"]
    with seeded(job.seed, 2):
        clean = SurrogateUNet(WIDTH, levels=(preset.size // 4).bit_length() - 1)
    train_surrogate(
        clean, asked, truth, preset.clean, seed=job.seed, fabric=start(preset.clean.precision, job.device),
        checkpoint=file_of(job, "owner-clean"),
    )  # fmt: skip
    clean.cpu().eval()
    mark = mark_of("structure", preset, job.seed)
    assert isinstance(mark, StructureMark)
    run = train_mark(
        mark, asked, truth, answers(clean, asked), preset.structure, weights=preset.loss, seed=job.seed,
        fabric=start(preset.structure.precision, job.device), hook=job.hook, checkpoint=file_of(job, "owner-initial"),
    )  # fmt: skip
    mark.cpu().eval()
    return Owned(mark, mark, clean, run.history)
