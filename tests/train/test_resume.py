"""Nothing but (seed, step) decides what happens: not a kill, not a resumption, not the number of processes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.train import deaths, toy
from visionlab.train.checkpoint import CheckpointError, read, save
from visionlab.train.loop import Fit, Recipe, fit, start
from visionlab.train.stream import Fresh

ROOT = Path(__file__).parents[2]


def same(a: Fit, b: Fit) -> bool:
    pairs = zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    return a.history == b.history and all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("kind", ["fresh", "shuffled"])
def test_a_run_stopped_anywhere_ends_as_one_that_never_was(tmp_path: Path, kind: str) -> None:
    whole = toy.run(60, kind=kind)
    for stop in (0, 1, 4, 5, 23, 59):
        path = tmp_path / f"{stop}.pt"
        with pytest.raises(StopIteration):
            toy.run(60, kind=kind, checkpoint=path, stop=stop)
        assert path.exists() == (stop >= 5)
        assert stop < 5 or read(path)["step"] == stop // 5 * 5
        assert same(toy.run(60, kind=kind, checkpoint=path), whole)
    assert same(toy.run(60, kind=kind, checkpoint=path), whole), "a finished run is not trained any further"


def test_a_run_goes_on_counting_its_seconds(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    with pytest.raises(StopIteration):
        toy.run(10, checkpoint=path, stop=5)
    save(path, read(path) | {"seconds": 100.0})
    assert 100 < toy.run(10, checkpoint=path).seconds < 160


def test_a_run_killed_at_random_moments_ends_as_one_that_never_was(tmp_path: Path, children: ForkServerContext) -> None:
    path, chance = tmp_path / "run.pt", random.Random(1)
    options: dict[str, Any] = {"steps": 500, "kind": "shuffled", "save_every": 1, "checkpoint": path}
    for reached in (1, 20, 90, 91, 200):
        child = children.Process(target=toy.run, kwargs=options)
        child.start()
        while not path.exists() or read(path)["step"] < reached:
            assert child.is_alive()
        time.sleep(chance.uniform(0.0, 0.02))
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert reached <= read(path)["step"] < 500, "the run ended before it was killed"
    assert same(toy.run(**options), toy.run(**(options | {"checkpoint": None})))


@pytest.mark.parametrize("moment", ["half is written", "all is written, nothing is in place"])
def test_a_run_killed_while_saving_ends_as_one_that_never_was(
    tmp_path: Path, children: ForkServerContext, moment: str
) -> None:
    path = tmp_path / "run.pt"
    options = {"moment": moment, "after": 32, "steps": 60, "checkpoint": path}
    child = children.Process(target=deaths.die_while_saving, kwargs=options)
    child.start()
    child.join()
    assert child.exitcode in (-signal.SIGKILL, -signal.SIGXFSZ)
    assert read(path)["step"] == 30
    part = next(tmp_path.glob(".run.pt.*.part"))
    assert (part.stat().st_size < path.stat().st_size / 2) == (moment == "half is written")
    assert same(toy.run(60, checkpoint=path), toy.run(60))


def on_two_processes(out: Path, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tests.train.toy"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", *launcher, str(out), json.dumps(runs)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=240)
    return json.loads(out.read_text())


def test_two_processes_give_the_losses_of_one(tmp_path: Path) -> None:
    # Without what each process draws for itself: dropout and augmentation.
    runs: list[dict[str, Any]] = [
        {"kind": kind, "accumulate": parts, "steps": 40, "dropout": 0, "jitter": 0}
        for kind in ("fresh", "shuffled")
        for parts in (1, 3)
    ]
    drawn = {"steps": 40}
    resumed = drawn | {"checkpoint": str(tmp_path / "run.pt")}
    refused = {"batch": 9, "accumulate": 3, "steps": 1}
    spare = {"spare": True, "steps": 20, "ema": None}
    more = [drawn, resumed | {"stop": 13}, resumed, refused, spare, spare | {"ema": 0.9}]
    found = on_two_processes(tmp_path / "two.json", [*runs, *more])
    for options, two in zip(runs, found, strict=False):
        one = toy.run(**options)
        for name in ("loss", "absolute"):
            expected = [row[name] for row in one.history]
            assert [row[name] for row in two["history"]] == pytest.approx(expected, rel=1e-4)
        for ours, theirs in zip(two["weights"], one.model.state_dict().values(), strict=True):
            assert ours == pytest.approx(theirs.flatten().tolist(), abs=1e-5)
    whole, stopped, again, odd, *spared = found[len(runs) :]
    assert stopped["refused"].startswith("StopIteration")
    assert read(tmp_path / "run.pt")["step"] == 40
    assert again == whole
    assert odd["refused"] == "ValueError: batch: 9 do not split over 2 processes x 3 parts"
    for run in spared:
        assert run["apart"] == 0, "batch norms have seen a share each, and one network comes of it"
        assert run["history"][-1]["loss"] < run["history"][0]["loss"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 20}, r"'steps': 10.*'steps': 20"),
        ({"learning_rate": 0.5}, r"'learning_rate': 0\.01.*'learning_rate': 0\.5"),
        ({"ema": None}, r"'ema': 0\.9.*'ema': None"),
        ({"betas": (0.5, 0.9)}, r"0\.999.*0\.5"),
    ],
)
def test_a_checkpoint_of_another_recipe_is_refused_in_words(tmp_path: Path, changes: dict, words: str) -> None:
    toy.run(10, checkpoint=tmp_path / "run.pt")
    with pytest.raises(CheckpointError, match=rf"run\.pt is of another run; delete it, or name another.*{words}"):
        toy.run(**({"steps": 10, "checkpoint": tmp_path / "run.pt"} | changes))


def resume(model: nn.Module, path: Path, seed: int = 0) -> Fit:
    def loss(network: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        return network(batch[0]).square().mean(), {}

    recipe = Recipe(steps=2, batch=4, learning_rate=0.1, ema=0.5)
    return fit(model, Fresh(toy.draw), loss, recipe, seed=seed, fabric=start("32-true", "cpu"), checkpoint=path)


def network(width: int = 6) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, width), nn.Linear(width, 6))


def frozen(part: int) -> nn.Module:
    model = network()
    model[part].requires_grad_(False)
    return model


def with_buffer() -> nn.Module:
    model = network()
    model.register_buffer("mean", torch.zeros(2))
    return model


def test_a_checkpoint_of_another_network_or_seed_is_refused_in_words(tmp_path: Path) -> None:
    resume(network(), tmp_path / "run.pt")
    resume(frozen(0), tmp_path / "frozen.pt")
    for model, file, words in (
        (network(7), "run.pt", r"is of another run.*\[6, 6\].*\[7, 6\]"),
        (nn.Linear(6, 6), "run.pt", r"is of another run.*'1\.weight'.*here: .*'weight'"),
        (frozen(0), "run.pt", "is of another run"),
        (frozen(1), "frozen.pt", r"is of another run.*'1\.weight'.*here: .*'0\.weight'"),
        (with_buffer(), "run.pt", r'does not fit this run; delete it, or name another file.*"mean"'),
    ):
        with pytest.raises(CheckpointError, match=words):
            resume(model, tmp_path / file)
    with pytest.raises(CheckpointError, match=r"is of another run.*'seed': 0.*'seed': 1"):
        resume(network(), tmp_path / "run.pt", seed=1)
    resume(network(), tmp_path / "run.pt")


@pytest.mark.parametrize("key", ["identity", "model", "optimiser", "average", "history", "step", "seconds"])
def test_a_checkpoint_with_something_missing_or_damaged_is_refused_in_words(tmp_path: Path, key: str) -> None:
    resume(network(), tmp_path / "run.pt")
    state = read(tmp_path / "run.pt")
    without = {k: v for k, v in state.items() if k != key}
    for changed in (without, state | {key: None}, state | {key: 7 if key == "history" else "x"}):
        save(tmp_path / "changed.pt", changed)
        with pytest.raises(
            CheckpointError, match=r"changed\.pt (does not fit this run|is no checkpoint of a training)"
        ):
            resume(network(), tmp_path / "changed.pt")


def test_a_file_of_weights_alone_is_refused_in_words(tmp_path: Path) -> None:
    save(tmp_path / "weights.pt", network().state_dict())
    with pytest.raises(CheckpointError, match=r"weights\.pt is no checkpoint of a training run"):
        resume(network(), tmp_path / "weights.pt")
