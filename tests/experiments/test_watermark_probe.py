"""What lab 10 and its app look at, on the marks and thieves that ship."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from visionlab.data.images import photograph
from visionlab.experiments import watermark_microscope as microscope
from visionlab.experiments import watermark_probe as probe
from visionlab.experiments.watermark_setting import SYMBOLS
from visionlab.protection.owner import marked_answers
from visionlab.protection.regions import edge_map
from visionlab.protection.robustness import STANDARD
from visionlab.protection.surrogate import AUGMENTATIONS, Augmentation, erased

STARTS = {control.name: control.start for control in probe.theft_controls()}


@pytest.mark.parametrize(("augmentation", "logo"), [("none", True), ("all", False)])
@pytest.mark.parametrize("data", probe.DATA)
def test_a_thief_who_augments_loses_the_logo_and_keeps_the_structure(data: str, augmentation: str, logo: bool) -> None:
    assert probe.verdict("structure", probe.stolen("structure", augmentation, data), 64, data).holds
    assert probe.verdict("logo", probe.stolen("logo", augmentation, data), 64, data).holds == logo


@pytest.mark.parametrize("data", probe.DATA)
@pytest.mark.parametrize("kind", ["logo", "structure"])
def test_nobody_innocent_is_accused(kind: str, data: str) -> None:
    asked, truth = probe.images_of(data)["test"]
    for images in (asked, truth, probe.stolen("clean", "none", data), probe.stolen("clean", "all", data)):
        for seed in range(5):
            assert not probe.verdict(kind, images, 64, data, seed=seed).holds


def test_one_owner_does_not_find_her_mark_in_what_was_stolen_from_another() -> None:
    assert not probe.verdict("logo", probe.stolen("structure", "none"), 64).holds
    assert not probe.verdict("structure", probe.stolen("logo", "none"), 64).holds


def test_the_view_says_what_the_verdict_says() -> None:
    view = probe.theft(STARTS | {"augmentation": "all three", "n": 64})
    first, second = view.caption.split("; ")
    assert first.endswith("no claim")
    assert second.endswith("STOLEN")
    assert [title for title, _ in view.panels] == [
        "logo: the thief's answers", "logo: read", "structure: the thief's answers", "structure: read",
    ]  # fmt: skip
    assert len({picture.shape for _, picture in view.panels}) == 1
    few = probe.theft(STARTS | {"n": 4})
    assert few.caption.count("no claim") == 2, "a claim needs eight answers"


def test_no_strength_no_mark_and_more_of_it_is_easier_to_see() -> None:
    image = probe.images_of()["test"][1][44]
    mark, limit = probe.mark_of("structure"), probe.limit("structure").threshold
    nothing, once, twice = (probe.follow(mark, image, limit, gain=gain) for gain in (0.0, 1.0, 2.0))
    assert nothing.psnr == 100
    assert nothing.found is False
    assert np.array_equal(nothing.clean, nothing.marked)
    assert once.found is True
    assert once.psnr == pytest.approx(twice.psnr + 6, abs=1)
    assert once.score > 0.5 > once.clean_score
    for name, value in vars(once).items():
        if isinstance(value, np.ndarray):
            assert value.shape == (32, 32, 3), name
            assert value.min() >= 0
            assert value.max() <= 1


@pytest.mark.parametrize("change", ["flip", "rotation 15"])
def test_the_mark_is_read_after_a_move(change: str) -> None:
    image = probe.images_of()["test"][1][44]
    view = probe.follow(probe.mark_of("structure"), image, probe.limit("structure").threshold, steps=STANDARD[change])
    assert view.found is True


def test_a_picture_without_structure_abstains_and_one_of_another_size_is_followed() -> None:
    mark = probe.mark_of("structure")
    assert probe.follow(mark, torch.full((3, 32, 32), 0.4), 0.3).found is None
    assert probe.follow(mark, photograph("chelsea", 50)[:, :41], 0.3).marked.shape == (41, 50, 3)


def test_controls_answer_for_each_choice() -> None:
    truth = probe.images_of()["test"][1]
    pictures = {"one": truth[5], "two": truth[44]}
    values = {control.name: control.start for control in probe.controls(list(pictures))}
    for more in ({}, {"mark": "logo"}, {"symbol": 0}, {"change": "JPEG", "strength": 1.0}, {"image": "two"}):
        view = probe.explore(pictures, values | more)
        assert len(view.panels) == 7
        assert view.caption


def test_pictures_lie_in_rows_on_white() -> None:
    view = probe.grid(torch.zeros(5, 3, 8, 8), columns=2, gap=2, side=1)
    assert view.shape == (28, 18, 3)
    assert view[:8, 8:10].min() == 255
    assert view[:8, :8].max() == 0
    assert view[20:, 10:].min() == 255, "the sixth place is empty"
    painted = probe.painted(torch.rand(3, 9, 11), edge_map, (3,))
    assert painted.shape == (9, 11, 3)


# --- The microscope ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["logo", "structure"])
def test_without_augmentation_all_can_be_learned(kind: str) -> None:
    mark, image = probe.mark_of(kind), probe.images_of()["test"][1][44]
    put = marked_answers(mark, image[None], torch.tensor(SYMBOLS))[0] - image
    torch.testing.assert_close(
        microscope.mean_residual(mark, image, AUGMENTATIONS["none"], n=3), put, atol=2e-2, rtol=0
    )


def test_a_logo_is_averaged_away_and_structure_is_not() -> None:
    image = probe.images_of()["test"][1][44]
    left = {}
    for kind in ("logo", "structure"):
        mark = probe.mark_of(kind)
        put = microscope.mean_residual(mark, image, AUGMENTATIONS["none"], n=1)
        for degrees in (0.0, 30.0):
            mean = microscope.mean_residual(mark, image, Augmentation(rotation=degrees, crop=(1.0, 1.0), flip=0.5))
            left[kind, degrees] = ((mean * put).sum() / put.square().sum()).item()
    assert left["logo", 30.0] < 0.3
    assert 0.3 < left["logo", 0.0] < 0.8, "half of a mirrored logo stays"
    assert left["structure", 0.0] > 0.9
    assert left["structure", 30.0] > 0.6


def test_the_microscope_answers_its_controls() -> None:
    pictures = {"one": probe.images_of()["test"][1][44]}
    values = {control.name: control.start for control in microscope.microscope_controls(list(pictures))}
    still = microscope.microscope(pictures, values)
    assert len(still.panels) == 5
    assert still.caption == "logo: 100 % of it is left; structure: 100 % of it is left"
    turned = microscope.microscope(pictures, values | {"rotation": 45, "flip": "every other"})
    assert int(turned.caption.split()[1]) < 30


# --- What a public extractor gives away -------------------------------------------------------------------------------


def test_gradients_of_the_extractor_take_the_mark_away_and_noise_of_the_same_size_does_not() -> None:
    stolen = probe.stolen("structure", "none")[:64]
    attacked = erased(probe.mark_of("structure").extractor, stolen)
    change = attacked - stolen
    assert change.abs().max() <= 4 / 255 + 1e-6
    order = torch.randperm(change[0].numel(), generator=torch.Generator().manual_seed(0))
    shuffled = change.flatten(1)[:, order].view_as(change)
    assert probe.verdict("structure", (stolen + shuffled).clamp(0, 1)).holds
    assert not probe.verdict("structure", attacked).holds
