from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.points import toy_points as toy
from visionlab.measure.points import selected
from visionlab.points.blocks import Moved
from visionlab.points.pnal import Cleaning, LabelMemory
from visionlab.points.training import CleaningLoss, recipe, train_points

ROOT = Path(__file__).parents[2]


def right(labels: Tensor, n: int, rate: float) -> float:
    truth = toy.blocks_of(n, 0.0).labels.flatten()
    return selected(labels.long(), toy.blocks_of(n, rate).labels.flatten(), truth).recall


def test_wrong_labels_of_whole_objects_are_corrected() -> None:
    blocks = toy.blocks_of(24, 0.5)
    _, memory = toy.run(blocks, 20, Cleaning(warmup=10))
    assert right(blocks.labels.flatten(), 24, 0.5) == 50
    assert right(memory.corrected, 24, 0.5) > 90
    assert [float((each >= 0).float().mean()) for each in memory.corrected_by_epoch[:10]] == [0] * 10
    assert (memory.corrected_by_epoch[-1] >= 0).float().mean() > 0.95
    assert len(memory.rows) == len(memory.predicted_by_epoch) == 20


def test_votes_end_where_they_shall() -> None:
    blocks = toy.blocks_of(8, 0.5)
    _, to_the_end = toy.run(blocks, 9, Cleaning(warmup=5))
    _, memory = toy.run(blocks, 9, Cleaning(warmup=5, rounds=2))
    for epoch in range(7):
        assert torch.equal(memory.corrected_by_epoch[epoch], to_the_end.corrected_by_epoch[epoch])
    for labels in memory.corrected_by_epoch[7:]:
        assert torch.equal(labels, memory.corrected_by_epoch[6])
    assert not torch.equal(to_the_end.corrected_by_epoch[8], memory.corrected_by_epoch[8])


def test_without_cleaning_labels_are_trained_on_as_they_are() -> None:
    blocks = toy.blocks_of(8, 0.5)
    run, memory = toy.run(blocks, 3)
    assert (memory.corrected == -1).all()
    assert (memory.predicted >= 0).all()
    assert all(row["selected"] == 1 for row in run.history)
    late, _ = toy.run(blocks, 3, Cleaning(warmup=3))
    assert late.history == run.history, "a warm-up that never ends"


def test_only_selected_points_count_and_what_becomes_of_the_others() -> None:
    blocks = toy.blocks_of(4, 0.5)

    class Seen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = toy.network()
            self.inputs: list[Tensor] = []

        def forward(self, x: Tensor) -> Tensor:
            self.inputs.append(x)
            logits: Tensor = self.inner(x)
            return logits

    ids = torch.arange(blocks.labels.numel()).view(blocks.labels.shape)
    batch = (blocks.features, blocks.labels, ids)
    losses = {}
    for unselected in ("drop", "keep", "zero"):
        memory = LabelMemory(blocks.cluster.flatten(), toy.CLASSES, slots=1)
        half = ids.flatten() < ids.numel() // 2
        memory.record(ids.flatten()[half], torch.ones(int(half.sum()), dtype=torch.long))
        network = Seen()
        cleaning = Cleaning(warmup=0, slots=1, unselected=unselected)  # type: ignore[arg-type]
        loss = CleaningLoss(memory, cleaning, calls=1, seed=0)
        value, named = loss(network, batch)
        seen = network.inputs[0]
        chosen = half.view(ids.shape)
        assert torch.equal(seen[chosen], blocks.features[chosen])
        assert (seen[~chosen] == 0).all() == (unselected == "zero")
        targets = torch.ones_like(blocks.labels)
        count = torch.ones_like(chosen) if unselected == "keep" else chosen
        targets = torch.where(chosen, targets, blocks.labels)
        logits = network.inner(seen)
        wanted = nn.functional.cross_entropy(logits[count], targets[count])
        torch.testing.assert_close(value, wanted)
        assert named["selected"] == count.float().mean()
        losses[unselected] = value.item()
    assert losses["drop"] == pytest.approx(losses["zero"])
    assert losses["keep"] != losses["drop"]


def test_a_batch_of_which_nothing_is_selected_has_no_loss() -> None:
    blocks = toy.blocks_of(4, 0.5)
    memory = LabelMemory(blocks.cluster.flatten(), toy.CLASSES)
    ids = torch.arange(blocks.labels.numel()).view(blocks.labels.shape)
    loss = CleaningLoss(memory, Cleaning(warmup=0), calls=9, seed=0)
    network = toy.network()
    value, named = loss(network, (blocks.features, blocks.labels, ids))
    value.backward()  # type: ignore[no-untyped-call]
    assert value == 0
    assert named["selected"] == 0
    assert all((p.grad == 0).all() for p in network.parameters())


@pytest.mark.parametrize("rule", ["majority", "first", "vote", "point"])
def test_a_run_that_was_stopped_ends_as_one_that_never_was(rule: str, tmp_path: Path) -> None:
    blocks = toy.blocks_of(8, 0.5)
    cleaning = Cleaning(warmup=2, slots=2, rule=rule)  # type: ignore[arg-type]
    options = {"dropout": 0.3, "augment": Moved(), "watch": lambda epoch, network: {"epoch": float(epoch)}}
    whole, labels = toy.run(blocks, 6, cleaning, **options)

    def stop(step: int, steps: int, values: dict[str, float]) -> None:
        if step == 8:
            raise KeyboardInterrupt

    path = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        toy.run(blocks, 6, cleaning, hook=stop, checkpoint=path, **options)
    again, same = toy.run(blocks, 6, cleaning, checkpoint=path, **options)
    assert again.history == whole.history
    assert torch.equal(same.corrected, labels.corrected)
    assert torch.equal(same.history, labels.history)
    assert same.rows == labels.rows == [{"epoch": float(i)} for i in range(1, 7)]
    assert all(map(torch.equal, same.corrected_by_epoch, labels.corrected_by_epoch))
    finished, _ = toy.run(blocks, 6, cleaning, checkpoint=path, **options)
    pairs = zip(finished.model.state_dict().values(), whole.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_two_processes_correct_as_one_does(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    alone, both = tmp_path / "alone", tmp_path / "both"
    for folder, launcher in (
        (alone, []),
        (both, ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]),
    ):
        folder.mkdir()
        command = [sys.executable, "-m", *launcher, "tests.points.toy_points", str(folder)]
        subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True, timeout=120)
    one, first, second = (torch.load(path) for path in (alone / "0.pt", both / "0.pt", both / "1.pt"))
    for key in ("labels", "weights"):
        assert torch.equal(first[key], second[key])
        assert torch.equal(first[key], one[key])
    for name, value in one["network"].items():
        torch.testing.assert_close(first["network"][name], value, atol=1e-5, rtol=1e-4)


def test_truncated_losses_leave_points_out_that_are_far_off() -> None:
    _, memory = toy.run(toy.blocks_of(16, 0.2), 9, loss="truncated GCE")
    assert memory.weights is not None
    assert 0 < memory.weights.mean() < 1
    _, plain = toy.run(toy.blocks_of(8, 0.5), 1, loss="truncated GCE")
    assert plain.weights is not None
    assert (plain.weights == 1).all(), "nothing is left out before the second epoch"


def test_points_without_a_label_are_learned_from_their_cluster() -> None:
    blocks = toy.blocks_of(16, 0.0)
    truth = blocks.labels.clone()
    labels = truth.clone()
    labels[:, ::2] = -1
    _, memory = toy.run(replace(blocks, labels=labels), 24, Cleaning(warmup=16))
    found = memory.corrected.view(labels.shape)[:, ::2]
    assert (found == truth[:, ::2]).float().mean() > 0.9


def test_bad_training_is_named() -> None:
    blocks = toy.blocks_of(4, 0.0)
    made = recipe(4, 2, batch=2)
    assert made.steps == 4
    assert made.ema == pytest.approx(0.75)
    with pytest.raises(ValueError, match="batch: 8 blocks a step, but there are only 4"):
        recipe(4, 2, batch=8)
    with pytest.raises(ValueError, match="blocks: expected labels below 2, got 3"):
        train_points(toy.network(), blocks, 2, made, seed=0)
    with pytest.raises(ValueError, match="recipe: 4 blocks a step, but there are only 2"):
        train_points(toy.network(), toy.blocks_of(2, 0.0), 4, recipe(4, 2), seed=0)
    with pytest.raises(ValueError, match="loss: expected one of cross entropy"):
        train_points(toy.network(), blocks, 4, made, seed=0, loss="mean")
