from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from visionlab.experiments import watermark_theft as theft
from visionlab.experiments.experiment import Experiment, Job
from visionlab.experiments.watermark import CONTROL, TASKS, THEFT
from visionlab.experiments.watermark_code import COLOUR, REGIONS, Coded
from visionlab.experiments.watermark_controls import EXPECTING, augmenting_owner
from visionlab.experiments.watermark_setting import (
    SYMBOLS,
    Setting,
    calibrated,
    evidence,
    held,
    mark_of,
    owner_of,
    pairs_of,
    read,
)
from visionlab.measure.image_quality import psnr
from visionlab.protection.regions import paint
from visionlab.protection.spatial_mark import SpatialMark
from visionlab.protection.splits import refuse_shared
from visionlab.protection.verification import Calibration
from visionlab.protection.watermark import StructureMark
from visionlab.train.loop import Recipe


def short(settings: Setting) -> Setting:
    recipes = {
        name: replace(recipe, steps=2, warmup=1, batch=4)
        for name, recipe in vars(settings).items()
        if isinstance(recipe, Recipe)
    }
    return replace(settings, **recipes, owner=64, n=64, calibration=100, test=64)  # type: ignore[arg-type]


def job(variant: str, folder: Path | None = None, seed: int = 0) -> Job:
    checkpoint = folder / "abc-eurosat_mini-x-0.pt" if folder else None
    return Job(variant, seed, short(THEFT.preset("long")), "eurosat_mini", "cpu", None, checkpoint)


class Sure(torch.nn.Module):
    """Draws the owner's ink on the structure of whatever comes."""

    def __init__(self, mark: StructureMark) -> None:
        super().__init__()
        self.structure, self.inks = mark.structure, mark.code.inks(torch.tensor(SYMBOLS))

    def forward(self, images: Tensor) -> Tensor:
        return paint(self.structure(images), self.inks.expand(len(images), -1, -1))


@pytest.mark.parametrize("data", ["eurosat_mini", "world"])
def test_owner_thief_and_test_share_no_picture(data: str) -> None:
    images = pairs_of(replace(job("structure: none"), data=data))
    assert [len(images[name][0]) for name in ("owner", "thief", "calibration", "test")] == [64, 64, 100, 64]
    refuse_shared(**{name: truth for name, (_, truth) in images.items()})
    again = pairs_of(replace(job("structure: none"), data=data))
    assert all(torch.equal(images[name][0], again[name][0]) for name in images)
    other = pairs_of(replace(job("structure: none", seed=1), data=data))
    assert not torch.equal(images["test"][1], other["test"][1])


def test_both_marks_are_put_as_strongly() -> None:
    truth = pairs_of(job("logo: none"))["test"][1]
    preset = THEFT.preset("long")
    symbols = torch.tensor(SYMBOLS)
    marked = (theft.marked_answers(mark_of(kind, preset, 0), truth, symbols) for kind in ("structure", "logo"))
    found = [psnr(x, truth).median().item() for x in marked]
    assert abs(found[0] - found[1]) < 6, "the untrained embedder spreads its ink; trained, they are 1 dB apart"


def test_thieves_of_clean_answers_are_the_same_for_both_marks(tmp_path: Path) -> None:
    for variant in ("structure: clean thief, all", "logo: clean thief, all"):
        THEFT.measure(job(variant, tmp_path))
    files = Counter(path.name.split("-")[3] for path in tmp_path.glob("*.pt"))
    assert files["thief"] == 1
    assert len(list(tmp_path.glob("*-rain-owner-clean-0.pt"))) == 1


@pytest.mark.parametrize("variant", ["logo: stamped after, all", "structure: none, pruned"])
def test_every_kind_of_variant_is_measured(variant: str, tmp_path: Path) -> None:
    metrics = THEFT.measure(job(variant, tmp_path)).metrics
    assert {"detected (%)", "held at 32 (%)", "held at 16, before (%)", "AUC (%)", "PSNR (dB)"} <= set(metrics)
    assert 0 <= metrics["held at 32 (%)"] <= 100
    if "pruned" in variant:
        network = THEFT.measure(job(variant, tmp_path)).network
        assert network is not None
        kernel = network.body.down[0][0].weight
        assert (kernel == 0).double().mean().item() == pytest.approx(0.3, abs=0.01)


def test_claims_are_held_with_enough_answers_of_a_sure_mark_and_never_of_none() -> None:
    preset = THEFT.preset("long")
    mark = mark_of("structure", preset, 0).eval()
    assert isinstance(mark, StructureMark)
    truth = pairs_of(job("structure: none"))["test"][1]
    limit = Calibration(threshold=0.3, rate=0.05, images=200, false=8)
    nothing = read(mark, truth)
    assert held(mark, nothing, limit, 32, seed=0) == 0
    mark.extractor = Sure(mark)
    sure = read(mark, truth)
    shares = [held(mark, sure, limit, n, seed=0) for n in (4, 16, 32)]
    assert shares[0] == 0, "a claim needs eight answers"
    assert shares[1:] == [100, 100]
    assert evidence(mark, sure).decoded == SYMBOLS


def test_an_extractor_that_always_says_the_owners_code_proves_nothing() -> None:
    images = pairs_of(job("structure: none"))
    mark = mark_of("structure", THEFT.preset("long"), 0).eval()
    assert isinstance(mark, StructureMark)
    mark.extractor = Sure(mark)
    limit = calibrated(mark, torch.nn.Identity(), images["calibration"])
    assert limit.bound > 0.9 or limit.threshold >= 0.99
    assert held(mark, read(mark, images["test"][1]), limit, 32, seed=0) == 0


def test_owners_differ_by_seed_and_a_run_is_resumed(tmp_path: Path) -> None:
    own = pairs_of(job("structure: none"))["owner"]
    first = owner_of(job("structure: none", tmp_path), "structure", own)
    again = owner_of(job("structure: all", tmp_path), "structure", own)
    for one, other in zip(first.mark.parameters(), again.mark.parameters(), strict=True):
        assert torch.equal(one, other)
    other_seed = owner_of(job("structure: none", seed=1), "structure", own)
    assert not torch.equal(next(first.mark.parameters()), next(other_seed.mark.parameters()))
    assert any(
        not torch.equal(one, other)
        for one, other in zip(first.mark.extractor.parameters(), first.before.extractor.parameters(), strict=True)
    )
    for one, other in zip(first.mark.embedder.parameters(), first.before.embedder.parameters(), strict=True):
        assert torch.equal(one, other), "the adversarial stage leaves the embedder as it is"


def test_the_stamp_stays_in_its_place() -> None:
    mark = mark_of("logo", THEFT.preset("long"), 0).eval()
    assert isinstance(mark, SpatialMark)
    stamped = theft.Stamped(theft.AUGMENTATIONS["all"], mark)
    a, b = pairs_of(job("logo: none"))["thief"]
    inputs, outputs = stamped(a, b, generator=torch.Generator().manual_seed(0))
    moved = theft.AUGMENTATIONS["all"](a, b, generator=torch.Generator().manual_seed(0))
    assert torch.equal(inputs, moved[0])
    torch.testing.assert_close(outputs, mark.mark(moved[1].clamp(0, 1)))


@pytest.mark.parametrize(("experiment", "variant"), [(COLOUR, "no colour loss"), (REGIONS, "regions")])
def test_codes_are_measured(experiment: Experiment, variant: str, tmp_path: Path) -> None:
    settings = short(experiment.preset("long"))
    assert isinstance(settings, Coded)
    checkpoint = tmp_path / "abc-eurosat_mini-x-0.pt"
    outcome = experiment.measure(Job(variant, 0, settings, "eurosat_mini", "cpu", None, checkpoint))
    assert {"code right from 16, own (%)", "code right from 16, clean (%)"} <= set(outcome.metrics)
    assert all(0 <= value <= 100 for value in outcome.metrics.values())


def test_every_task_has_an_owner_and_thieves_of_its_own(tmp_path: Path) -> None:
    settings = short(TASKS.preset("long"))
    for variant in ("sketch: own answers", "sketch: all", "blur: all"):
        run = Job(variant, 0, settings, "eurosat_mini", "cpu", None, tmp_path / "abc-eurosat_mini-x-0.pt")
        outcome = TASKS.measure(run)
        assert {"held at 32 (%)", "detected, JPEG 75 (%)", "PSNR (dB)"} <= set(outcome.metrics)
    files = {path.name.split("-")[2] + " " + path.name.split("-")[3] for path in tmp_path.glob("*.pt")}
    assert files == {f"{task} {whose}" for task in ("sketch", "blur") for whose in ("owner", "surrogate", "thief")}
    drawn = pairs_of(replace(run, preset=replace(settings, task="sketch")))["test"][1]
    assert not torch.equal(drawn, pairs_of(run)["test"][1]), "what a drawing network answers is no photograph"


def test_a_ring_stays_what_it_is_under_mirrors_and_quarter_turns() -> None:
    mark = mark_of("rings", CONTROL.preset("long"), 0)
    assert isinstance(mark, SpatialMark)
    ring = mark.pattern
    assert ring.mean() == 0.5
    for same in (ring.flip(-1), ring.flip(-2), ring.rot90(1, (-2, -1)), ring.mT):
        assert torch.equal(ring, same)
    plain = mark_of("logo", CONTROL.preset("long"), 0)
    assert isinstance(plain, SpatialMark)
    assert not torch.equal(plain.pattern, plain.pattern.flip(-1))


def test_rings_and_logo_have_thieves_of_their_own_and_share_the_innocent(tmp_path: Path) -> None:
    settings = short(CONTROL.preset("long"))
    for variant in ("rings: all", "logo: all", "rings: clean thief, all"):
        CONTROL.measure(Job(variant, 0, settings, "eurosat_mini", "cpu", None, tmp_path / "abc-eurosat_mini-x-0.pt"))
    files = Counter(path.name.split("-")[3] for path in tmp_path.glob("*.pt"))
    assert files["thief"] == 3, "two of marked answers and one of clean ones"


def test_an_owner_who_expects_augmentation_has_another_extractor_and_the_same_mark(tmp_path: Path) -> None:
    settings = short(CONTROL.preset("long"))
    run = Job(f"logo: all{EXPECTING}", 0, settings, "eurosat_mini", "cpu", None, tmp_path / "abc-eurosat_mini-x-0.pt")
    images = pairs_of(run)
    owned = owner_of(run, "logo", images["owner"])
    expecting = augmenting_owner(run, owned, images)
    for one, other in zip(owned.mark.embedder.parameters(), expecting.mark.embedder.parameters(), strict=True):
        assert torch.equal(one, other)
    assert any(
        not torch.equal(one, other)
        for one, other in zip(owned.mark.extractor.parameters(), expecting.mark.extractor.parameters(), strict=True)
    )


def test_only_what_ships_is_taken_from_what_ships() -> None:
    settings = replace(short(CONTROL.preset("long")), shipped=True)
    run = Job("rings: all", 0, settings, "eurosat_mini", "cpu")
    images = pairs_of(run)
    ring = owner_of(run, "rings", images["owner"]).mark
    assert isinstance(ring, SpatialMark)
    assert torch.equal(ring.pattern, ring.pattern.flip(-1)), "no logo in its place"
    few, history = theft.thief_of(run, ring, theft.Thief(answers="clean", queries=20), images)
    assert history, "who has 20 pairs is not the thief that ships, who had 950"
    assert not theft.thief_of(run, ring, theft.Thief(answers="clean"), images)[1]
    assert isinstance(few, torch.nn.Module)
