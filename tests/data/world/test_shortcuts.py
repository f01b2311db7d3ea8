"""No answer is told by what is not asked about: where things stand, how many there are, or which was drawn first."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest
import torch
from torch import Tensor

from visionlab.data.world import Render, Scenes, counter
from visionlab.data.world.dataset import draw
from visionlab.data.world.relations import MAJORITY
from visionlab.data.world.tasks import TASKS, knobs_of

N, M, BINS = 1200, 800, 8  # scenes to learn from, scenes to be asked about, and parts of a statistic's range
SIDE = 24
CASES: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = (
    ("shapes", ()),
    ("shapes", (("distractors", 4), ("spread", 2.4))),
    ("attributes", ()),
    ("fine", ()),
    ("same", (("distractors", 2),)),
    ("same", (("by", "shape"),)),
    ("odd", ()),
    ("odd", (("by", "shape"),)),
    ("majority", ()),
)


@lru_cache
def asked(task: str, knobs: tuple[tuple[str, Any], ...], split: str) -> tuple[Scenes, Render, Tensor]:
    settings = knobs_of(TASKS[task], dict(knobs))
    found, labels = draw(TASKS[task], settings, split, range(N if split == "train" else M), size=(SIDE, SIDE))
    return found, labels, TASKS[task].target(found, labels, settings, False)


def statistics(found: Scenes, labels: Render) -> dict[str, Tensor]:
    """Numbers that say nothing of what is asked."""
    away = found.objects.position.square().sum(-1).sqrt()
    return {
        "objects that count": labels.counted.sum(1).float(),
        "distance of the first from the middle": away[:, 0],
        "least distance of any from the middle": away.amin(1),
        "elevation of the camera": found.camera.elevation,
        "distance of the camera": found.camera.distance,
        "field of view": found.camera.field_of_view,
        "elevation of the light": found.light.elevation,
        "lightness of the ground": found.ground_rgb.mean((1, 2)),
    }


def told(known: Tensor, labels: Tensor, new: Tensor) -> Tensor:
    """The commonest label of what is alike in a statistic."""
    edges = torch.quantile(known, torch.linspace(0, 1, BINS + 1)[1:-1]).unique()
    table = torch.zeros(BINS + 1, int(labels.max()) + 1)
    table.index_put_((torch.bucketize(known.contiguous(), edges), labels), torch.ones(len(labels)), accumulate=True)
    return table.argmax(1)[torch.bucketize(new.contiguous(), edges)]


@pytest.mark.parametrize(("task", "knobs"), CASES)
def test_what_is_not_asked_about_does_not_tell_the_answer(task: str, knobs: tuple[tuple[str, Any], ...]) -> None:
    (found, labels, answers), (new, seen, right) = (asked(task, knobs, split) for split in ("train", "test"))
    share = 1 / len(TASKS[task].classes(knobs_of(TASKS[task], dict(knobs))))
    # Four standard deviations over chance.
    most = share + 4 * (share * (1 - share) / M) ** 0.5
    for (name, known), value in zip(statistics(found, labels).items(), statistics(new, seen).values(), strict=True):
        accuracy = (told(known, answers, value) == right).double().mean().item()
        assert accuracy < most, f"{name} tells {accuracy:.1%} of the answers; chance is {share:.1%}"


def test_a_statistic_that_tells_the_answer_is_found_out() -> None:
    _, _, answers = asked("shapes", (), "train")
    assert (told(answers.float(), answers, answers.float()) == answers).double().mean() > 0.7


def test_the_odd_object_is_in_any_place() -> None:
    found, _, _ = asked("odd", (), "train")
    colour = found.objects.colour
    slot = ((colour[:, :, None] == colour[:, None]).sum(2) == 1).int().argmax(1)
    inmost = found.objects.position.square().sum(-1).argmin(1)
    for there in (slot.bincount(minlength=4) / N, ((slot == inmost).double().mean())):
        assert (there - 0.25).abs().max() < 4 * (0.25 * 0.75 / N) ** 0.5


def test_neither_area_nor_size_tells_the_majority_half_as_well_as_counting() -> None:
    found, labels, answers = asked("majority", (), "train")
    blue = found.objects.colour == MAJORITY[1]
    pixels = torch.stack([(labels.instance == slot).sum((1, 2)) for slot in range(blue.shape[1])], dim=1)
    covers = (pixels * blue).sum(1) > (pixels * ~blue).sum(1)
    medium = found.objects.size.double()
    larger = (medium * blue).sum(1) / blue.sum(1) < (medium * ~blue).sum(1) / (~blue).sum(1)
    for answer in (covers, larger):
        assert (answer.long() == answers).double().mean() < 0.75


def test_a_scene_that_is_drawn_again_keeps_its_answer() -> None:
    knobs = knobs_of(TASKS["same"], {"distance": (2.6, 9.0)})
    found, _ = draw(TASKS["same"], knobs, "train", range(200), size=(SIDE, SIDE))
    again = (found.key != counter.keys(0, torch.arange(200))).double().mean()
    assert again > 0.5
    first, _ = draw(TASKS["same"], knobs_of(TASKS["same"], {}), "train", range(200), size=(SIDE, SIDE))
    assert torch.equal(found.objects.colour[:, :2], first.objects.colour[:, :2])


def test_the_fine_shape_is_whole_within_the_image() -> None:
    _, labels, _ = asked("fine", (), "train")
    left, top, right, bottom = labels.full_boxes[:, 0].unbind(1)
    assert min(left.min(), top.min()) > 0 and max(right.max(), bottom.max()) < SIDE


def test_the_two_of_same_are_larger_than_what_is_beside_them() -> None:
    found, labels, _ = asked("same", (("distractors", 2),), "train")
    pixels = torch.stack([(labels.instance == slot).sum((1, 2)) for slot in range(4)], dim=1)
    assert (pixels[:, :2].amin(1) > pixels[:, 2:].amax(1)).all()
    assert found.objects.present.all(), "with fewer objects their number would tell of wide shapes"
