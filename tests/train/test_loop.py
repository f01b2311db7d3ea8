"""The training loop: what it optimises, and that nothing but (seed, step) decides what happens."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.train import toy
from visionlab.train.checkpoint import CheckpointError, read, save
from visionlab.train.loop import Recipe, fit, start
from visionlab.train.stream import Fresh

ROOT = Path(__file__).parents[2]


def weights(model: nn.Module) -> list[torch.Tensor]:
    return list(model.state_dict().values())


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a), weights(b), strict=True))


def test_the_loss_falls() -> None:
    history = toy.run(600, dropout=0.0, learning_rate=3e-2).history
    rows = [row["loss"] for row in history]
    assert sum(rows[-20:]) < 0.5 * sum(rows[:20])
    assert {"step", "loss", "absolute"} == set(history[0])


def test_one_seed_gives_the_same_bits_twice() -> None:
    first, second = toy.run(), toy.run()
    assert first.history == second.history
    assert same(first.model, second.model)


def test_the_callers_random_state_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    toy.run(10)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("parts", [2, 3, 24])
def test_accumulated_parts_give_the_step_of_the_whole_batch(parts: int) -> None:
    whole, split = toy.run(30, dropout=0.0), toy.run(30, dropout=0.0, accumulate=parts)
    for a, b in zip(weights(whole.model), weights(split.model), strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    assert [row["loss"] for row in split.history] == pytest.approx([row["loss"] for row in whole.history], rel=1e-4)


def test_the_average_is_the_exponential_moving_average_of_the_weights() -> None:
    model, trail = toy.network(0.0), []
    done = fit(
        model, Fresh(toy.draw), toy.squared_error, Recipe(steps=4, batch=8, learning_rate=0.1, ema=0.8),
        seed=0, fabric=start("32-true", "cpu"), hook=lambda *_: trail.append(model[0].weight.detach().clone()),
    )  # fmt: skip
    # torch's average starts from the weights after the first step.
    expected = trail[0]
    for later in trail[1:]:
        expected = 0.8 * expected + 0.2 * later
    assert torch.allclose(done.model[0].weight, expected, atol=1e-6)
    assert done.model is not model


def test_vectors_do_not_decay_and_matrices_do() -> None:
    model = nn.Linear(3, 3)
    nn.init.ones_(model.weight)
    nn.init.ones_(model.bias)
    fit(
        model, Fresh(lambda n, rng: (torch.zeros(n, 3),)), lambda m, b: (0.0 * m(b[0]).sum(), {}),
        Recipe(steps=1, batch=1, learning_rate=0.5, weight_decay=0.1), seed=0, fabric=start("32-true", "cpu"),
    )  # fmt: skip
    assert torch.allclose(model.weight, torch.full((3, 3), 0.95))
    assert torch.equal(model.bias, torch.ones(3))


def test_the_gradient_is_clipped_to_its_norm() -> None:
    norms = []
    model = nn.Linear(2, 1, bias=False)
    model.weight.register_post_accumulate_grad_hook(lambda p: norms.append(p.grad.norm().item()))
    before = model.weight.detach().clone()
    recipe = Recipe(steps=1, batch=1, learning_rate=1.0, weight_decay=0.0, clip_norm=1e-12)
    fit(model, Fresh(lambda n, rng: (torch.ones(n, 2),)), lambda m, b: (1e3 * m(b[0]).sum(), {}), recipe, seed=0,
        fabric=start("32-true", "cpu"))  # fmt: skip
    assert norms[0] > 1e3
    # AdamW divides by the root of the squared gradient plus 1e-8; far below that, it barely moves the weight.
    assert (model.weight - before).abs().max() < 1e-3


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_other_precisions_train(precision: str) -> None:
    model = toy.network(0.0)
    recipe = Recipe(steps=5, batch=8, learning_rate=1e-2, precision=precision)
    done = fit(model, Fresh(toy.draw), toy.squared_error, recipe, seed=0, fabric=start(precision, "cpu"))
    assert done.model[0].weight.dtype == (torch.float64 if precision == "64-true" else torch.float32)


def test_the_hook_hears_about_two_hundred_times_and_at_the_end() -> None:
    heard = []
    toy.run(1000, hook=lambda step, steps, values: heard.append((step, steps, values)))
    assert 180 <= len(heard) <= 220
    assert heard[-1][:2] == (1000, 1000)
    assert heard[0][2].keys() == {"loss", "absolute"}


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step() -> None:
    recipe = Recipe(steps=5, batch=2, learning_rate=1.0)
    stream = Fresh(lambda n, rng: (torch.full((n, 1), float("nan")),))
    with pytest.raises(FloatingPointError, match=r"loss: nan at step 0"):
        fit(
            nn.Linear(1, 1), stream, lambda m, b: (m(b[0]).mean(), {}), recipe, seed=0, fabric=start("32-true", "cpu")
        )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"steps": 0}, "steps: expected a whole number >= 1, got 0"),
        ({"batch": 0}, "batch: expected"),
        ({"accumulate": 5}, "accumulate: 5 parts do not divide a batch of 24"),
    ],
)
def test_impossible_recipes_are_refused(fields: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Recipe(**({"steps": 1, "batch": 24, "learning_rate": 0.1} | fields))


def test_a_run_stopped_anywhere_ends_as_one_that_never_was(tmp_path: Path) -> None:
    whole = toy.run(60)
    for stop in (1, 4, 23, 59):
        path = tmp_path / f"{stop}.pt"

        def stop_at(step: int, _steps: int, _values: dict, last: int = stop) -> None:
            if step > last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            toy.run(60, checkpoint=path, hook=stop_at)
        resumed = toy.run(60, checkpoint=path)
        assert resumed.history == whole.history
        assert same(resumed.model, whole.model)
    again = toy.run(60, checkpoint=path)
    assert again.history == whole.history
    assert same(again.model, whole.model)


def program(out: Path, *options: str, prefix: tuple[str, ...] = ()) -> list[str]:
    return [sys.executable, "-m", *prefix, *(["tests.train.toy"] if not prefix else []), str(out), *options]


def quiet_environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def test_a_run_killed_at_random_moments_ends_as_one_that_never_was(tmp_path: Path) -> None:
    steps, checkpoint, out = "3000", tmp_path / "run.pt", tmp_path / "killed.json"
    options = ["--steps", steps, "--kind", "shuffled", "--checkpoint", str(checkpoint)]
    moments = random.Random(1)
    kills = 0
    for _ in range(4):
        process = subprocess.Popen(program(out, *options), cwd=ROOT, env=quiet_environment())
        while not checkpoint.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 0.7))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        assert 0 < read(checkpoint)["step"] <= int(steps)
    assert kills >= 2
    subprocess.run(program(out, *options), cwd=ROOT, env=quiet_environment(), check=True)
    whole = toy.run(int(steps), kind="shuffled")
    found = json.loads(out.read_text())
    assert found["history"] == whole.history
    assert found["weights"] == [w.double().flatten().tolist() for w in weights(whole.model)]


@pytest.mark.parametrize(("kind", "accumulate"), [("fresh", 1), ("shuffled", 3)])
def test_two_processes_give_the_losses_of_one(tmp_path: Path, kind: str, accumulate: int) -> None:
    out = tmp_path / "two.json"
    options = ["--steps", "40", "--dropout", "0", "--kind", kind, "--accumulate", str(accumulate)]
    launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tests.train.toy")
    subprocess.run(program(out, *options, prefix=launcher), cwd=ROOT, env=quiet_environment(), check=True, timeout=240)
    two = json.loads(out.read_text())["history"]
    one = toy.run(40, dropout=0.0, kind=kind, accumulate=accumulate).history
    assert [row["loss"] for row in two] == pytest.approx([row["loss"] for row in one], rel=1e-4)
    assert [row["absolute"] for row in two] == pytest.approx([row["absolute"] for row in one], rel=1e-4)


def test_a_checkpoint_of_another_run_is_refused_in_words(tmp_path: Path) -> None:
    toy.run(10, checkpoint=tmp_path / "run.pt")
    with pytest.raises(CheckpointError, match=r"is of another run.*recipe"):
        toy.run(20, checkpoint=tmp_path / "run.pt")
    save(tmp_path / "weights.pt", {"head.weight": torch.zeros(2)})
    with pytest.raises(CheckpointError, match="no checkpoint of a training run"):
        toy.run(10, checkpoint=tmp_path / "weights.pt")


def test_a_batch_that_processes_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match="accumulate: 5 parts"):
        toy.run(5, accumulate=5)
