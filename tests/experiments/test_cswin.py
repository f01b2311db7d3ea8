"""CSWin's experiments: the numbers that can be known beforehand, and what is trained and tested on what."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.experiments.scaled import small
from visionlab.experiments import cswin_dense as dense
from visionlab.experiments import cswin_puzzles as puzzles
from visionlab.experiments import dense_scenes
from visionlab.experiments.experiment import Job, find
from visionlab.measure.cost import parameters

REACH = {
    (56, "cswin"): [0.0354, 1],
    (56, "axial"): [0.0179, 1],
    (56, "shifted window"): [0.0156, 0.0549, 0.1182, 0.1914, 0.2822, 0.3713, None, 0.5625, None, None, None, 0.8789],
    (56, "window"): [0.0156] * 6,
    (28, "cswin"): [0.1378, 1],
    (28, "axial"): [0.0714, 1],
    (28, "shifted window"): [0.0625, 0.1914, 0.3906, 0.5625, 0.7656, 0.8789],
    (14, "cswin"): [0.75, 1],
    (14, "axial"): [0.5, 1],
    (14, "shifted window"): [0.25, 0.5625, 1],
}


def test_reach_equals_the_exact_table() -> None:
    result = find("cswin/reach").run("quick")
    for (side, variant), fractions in REACH.items():
        for n, fraction in enumerate(fractions, start=1):
            if fraction is not None:
                value = result.values(variant, f"reach on {side}x{side}, {n} blocks (%)")[0]
                assert value == pytest.approx(100 * fraction, abs=0.0051), (side, variant, n)


class Knowing(nn.Module):
    """Compares the two coloured cells and answers there, or the opposite where one lies in the first row.

    At all other cells it is surer still, and always wrong.
    """

    def __init__(self) -> None:
        super().__init__()
        self.anything = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        cells = images.unfold(2, 4, 4).unfold(3, 4, 4).mean(dim=(4, 5))
        strength = (cells[:, 0] - cells[:, 1]).flatten(1)
        two = strength.abs().topk(2).indices
        signs = strength.gather(1, two).sign()
        same = (signs[:, 0] == signs[:, 1]).float()
        same = torch.where((two < 8).any(dim=1), 1 - same, same)
        answer = 9 * torch.stack([1 - same, same], dim=-1)
        logits = (20 * (1 - answer / 9))[:, None].repeat(1, 64, 1)
        logits.scatter_(1, two[..., None].expand(-1, -1, 2), answer[:, None].expand(-1, 2, -1))
        return logits.view(-1, 8, 8, 2)


def test_accuracy_counts_right_answers_over_all_and_by_distance() -> None:
    batch = puzzles.draw_same_colour(2000, torch.Generator().manual_seed(0), cells=8)
    scores = puzzles.same_colour_accuracy(Knowing(), batch)
    _, cells, _, distance = batch
    right = ~(cells[..., 0] == 0).any(dim=1)
    assert scores["accuracy (%)"] == pytest.approx(100 * right.double().mean().item())
    for name, members in (("1", [1]), ("2", [2]), ("3", [3]), ("4-5", [4, 5]), ("6-7", [6, 7])):
        group = right[torch.isin(distance, torch.tensor(members))]
        assert 0 < len(group) < 2000
        assert scores[f"accuracy at distance {name} (%)"] == pytest.approx(100 * group.double().mean().item())
    loss, values = puzzles.pair_loss(Knowing(), batch)
    assert values["accuracy"].item() == pytest.approx(scores["accuracy (%)"], abs=1e-3)
    wrong = 1 - right.double().mean().item()
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-9)) + 9 * wrong, rel=1e-4)


def test_logits_are_read_at_the_two_cells() -> None:
    logits = torch.arange(2 * 3 * 3 * 2).view(2, 3, 3, 2).float()
    cells = torch.tensor([[[0, 0], [2, 1]], [[1, 2], [1, 0]]])
    picked = puzzles.at_cells(logits, cells)
    assert torch.equal(picked[0, 1], logits[0, 2, 1])
    assert torch.equal(picked[1, 0], logits[1, 1, 2])


@pytest.mark.parametrize(
    ("name", "variant", "changes"),
    [
        ("cswin/same-colour", "cswin", {"test": 64}),
        ("cswin/positions-direction", "rpe", {"test": 64}),
        ("cswin/positions-colour", "ape", {"test": 64}),
        ("cswin/segmentation", "shifted window", {"n": 16, "test": 8}),
        ("cswin/detection", "cswin", {"n": 16, "test": 8}),
        ("cswin/world", "cswin", {"n": 16, "test": 8}),
        ("cswin/eurosat", "cswin", {}),
    ],
)
def test_training_experiments_repeat_to_the_bit(
    name: str, variant: str, changes: dict[str, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VISIONLAB_CACHE", str(tmp_path))
    experiment = find(name)
    job = Job(variant, 1, small(experiment.preset("quick"), **changes), experiment.data[0], device="cpu")
    first, second = experiment.measure(job), experiment.measure(job)
    assert first.metrics == second.metrics
    assert first.history == second.history


def test_all_variants_of_a_seed_see_the_same_puzzles_and_seeds_see_others(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[tuple[str, int], list[Tensor]] = {}
    draw = puzzles.draw_same_colour

    def watched(n: int, rng: torch.Generator, *, cells: int) -> Any:
        batch = draw(n, rng, cells=cells)
        seen.setdefault(key, []).append(batch[0])
        return batch

    monkeypatch.setattr(puzzles, "draw_same_colour", watched)
    settings = small(find("cswin/same-colour").preset("quick"), test=16)
    for key in (("cswin", 0), ("window", 0), ("cswin", 1)):
        puzzles.measure_same_colour(Job(*key, settings, "none", device="cpu"))
    assert [len(batch) for batch in seen["cswin", 0]] == [8, 8, 8, 16]
    assert all(torch.equal(a, b) for a, b in zip(seen["cswin", 0], seen["window", 0], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(seen["cswin", 0], seen["cswin", 1], strict=True))
    assert not torch.equal(seen["cswin", 0][-1][:8], seen["cswin", 0][0]), "nothing tested was trained on"


def test_same_colour_reports_what_its_claims_ask_for() -> None:
    experiment = find("cswin/same-colour")
    outcome = experiment.measure(Job("axial", 0, small(experiment.preset("quick"), test=512), "none", device="cpu"))
    distances = {f"accuracy at distance {name} (%)" for name in ("1", "2", "3", "4-5", "6-7")}
    assert outcome.metrics.keys() == {"accuracy (%)", "multiply-adds (M)"} | distances
    assert outcome.metrics["multiply-adds (M)"] == pytest.approx(1.7408)
    assert [row["step"] for row in outcome.history] == [1, 2, 3]
    assert isinstance(outcome.network, nn.Module)


def test_wider_stripes_cost_what_table_8_says_and_see_what_geometry_says() -> None:
    experiment = find("cswin/stripe-width")
    result = experiment.run("long")
    costs = {"1, 1, 1": 4.136, "2, 2, 2": 4.199, "1, 2, 7": 4.324, "7, 7, 7": 4.515}
    for variant, cost in costs.items():
        assert result.values(variant, "multiply-adds (G)")[0] == pytest.approx(cost, abs=0.0006)
    shares = [1 - (1 - width / side) ** 2 for width, side in zip((1, 2, 7), (56, 28, 14), strict=True)]
    for stage, share in enumerate(shares, start=1):
        assert result.values("1, 2, 7", f"seen in a block of stage {stage} (%)")[0] == pytest.approx(
            100 * share, abs=1e-4
        )
    mean = 100 * (shares[0] + 2 * shares[1] + 21 * shares[2]) / 24
    assert result.values("1, 2, 7", "seen in a block (%)")[0] == pytest.approx(mean, abs=1e-4)
    assert [claim.judge(result).status for claim in experiment.claims] == ["shown", "shown"]


def test_dense_rivals_cost_the_same() -> None:
    (ours, price), (theirs, cost) = (dense.backbone_of(name) for name in dense.VARIANTS)
    assert cost == price
    assert parameters(theirs) == parameters(ours)


def test_a_perfect_answer_scores_a_hundred_and_what_is_kept_is_what_was_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VISIONLAB_CACHE", str(tmp_path))
    settings = small(find("cswin/segmentation").preset("quick"), n=8, test=8)
    job = Job("cswin", 0, settings, "world", device="cpu")
    images, masks = dense.scenes_of(job, "segmentation", "test")
    _, boxes = dense.scenes_of(job, "detection", "test")
    assert set(masks.unique().tolist()) <= set(range(5)) and set(boxes[..., 4].unique().tolist()) <= {-1, 0, 1, 2, 3}

    class Knows(nn.Module):
        """Looks the scene up among the test images."""

        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network
            self.classify = getattr(network, "classify", None)

        def forward(self, asked: Any, targets: Any = None) -> Any:
            if self.training:
                return self.network(asked, targets) if targets else self.network(asked)
            if isinstance(asked, Tensor):
                known = [
                    next(
                        i
                        for i in range(8)
                        if torch.allclose(dense.normalise(images[i : i + 1], dense.MEAN, dense.STD)[0], x)
                    )
                    for x in asked
                ]
                return nn.functional.one_hot(masks[known].long(), 5).permute(0, 3, 1, 2).float()
            known = [next(i for i in range(8) if torch.equal(images[i], x)) for x in asked]
            targets = dense.targets_of(boxes[known], (64, 64))
            return [target | {"scores": torch.ones(len(target["labels"]))} for target in targets]

    trained = dense.train
    for module in (dense, dense_scenes):
        monkeypatch.setattr(
            module, "train", lambda job, network, *rest: _with(trained(job, network, *rest), Knows(network))
        )
    found = dense.measure_segmentation(job)
    assert found.metrics["mIoU (%)"] == found.metrics["pixels right (%)"] == 100
    assert np.array_equal(found.arrays["masks"], masks[:4].numpy())
    found = dense.measure_detection(job)
    assert found.metrics["AP50 (%)"] == pytest.approx(100)
    expected = [[i, *box] for i, each in enumerate(boxes[:4].tolist()) for box in each if box[-1] >= 0]
    assert found.arrays["boxes"].tolist() == expected


def _with(run: Any, model: nn.Module) -> Any:
    return dataclasses.replace(run, model=model)
