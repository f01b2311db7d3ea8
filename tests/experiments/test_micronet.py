"""MicroNet's experiments: what can be counted beforehand, what is trained on what, and the published recipe."""

from __future__ import annotations

import dataclasses
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.data.small_images import write
from tests.experiments.scaled import small
from visionlab.backbones.micronet_rivals import RIVALS
from visionlab.data.images import load
from visionlab.experiments import micronet_imagenet as on_imagenet
from visionlab.experiments import micronet_images as on_images
from visionlab.experiments import micronet_time as on_time
from visionlab.experiments import small_images
from visionlab.experiments.experiment import Job, find
from visionlab.experiments.micronet import LAMBDAS, wired
from visionlab.train.stream import Renewed

SIZES = [(32, 2), (64, 4), (128, 2), (256, 4)]


def walked(channels: int, hidden: int, groups: int, *, shuffled: bool) -> np.ndarray:
    """Paths from each input to each output, walked one by one."""
    paths = np.zeros((channels, channels), dtype=int)
    for i in range(channels):
        for h in range(hidden):
            if i // (channels // groups) != h // (hidden // groups):
                continue
            # Channel h is number h % k of its group; it goes to place (number, group).
            k = hidden // groups
            there = (h % k) * groups + h // k if shuffled else h
            for o in range(channels):
                paths[o, i] += there // (hidden // groups) == o // (channels // groups)
    return paths


@pytest.mark.parametrize("variant", LAMBDAS)
def test_paths_are_those_of_a_walk(variant: str) -> None:
    result = find("micronet/wiring").run("quick", variants=(variant,))
    for channels, reduction in SIZES[:2]:
        _, groups = wired(variant, channels, reduction)
        paths = walked(channels, channels // reduction, groups, shuffled="no" not in variant)
        for metric, expected in (
            ("groups", LAMBDAS[variant] * (channels // reduction) ** 0.5),
            ("fewest paths of a pair", paths.min()),
            ("most paths of a pair", paths.max()),
            ("pairs connected (%)", 100 * (paths > 0).mean()),
            ("paths to an output", paths.sum(axis=1).max()),
            ("rank", channels // reduction),
        ):
            (value,) = result.values(variant, f"{metric}, C = {channels}, R = {reduction}").values()
            assert value == pytest.approx(expected), metric


def test_a_multiply_add_buys_most_at_the_root() -> None:
    result = find("micronet/wiring").run("long")
    for channels, reduction in SIZES:
        name = f", C = {channels}, R = {reduction}"
        (adds,) = result.values("1", f"multiply-adds a pixel{name}").values()
        assert adds == 2 * channels**2 / (reduction * (channels / reduction) ** 0.5)
        worth = {v: result.values(v, f"pairs connected by a multiply-add{name}")[0] for v in LAMBDAS}
        assert max(worth, key=lambda v: worth[v]) == "1"
        assert worth["1/2"] == worth["2"] == worth["1"] / 2
    assert [claim.judge(result).status for claim in find("micronet/wiring").claims] == ["shown"] * 5


@pytest.mark.parametrize(
    ("name", "variant", "changes"),
    [
        ("micronet/ingredients", "MicroNet", {}),
        ("micronet/ingredients", "+ static Shift-Max", {}),
        ("micronet/world", "MobileNet", {"n": 16, "test": 8}),
    ],
)
def test_training_repeats_to_the_bit_and_reports_what_it_costs(
    name: str, variant: str, changes: dict[str, int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VISIONLAB_CACHE", str(tmp_path))
    experiment = find(name)
    job = Job(variant, 100, small(experiment.preset("quick"), **changes), experiment.data[0], device="cpu")
    first, second = experiment.measure(job), experiment.measure(job)
    assert first.metrics == second.metrics
    assert first.history == second.history
    assert [row["step"] for row in first.history] == [1, 2, 3]
    assert first.metrics.keys() == {
        "accuracy (%)", "parameters (k)", "multiply-adds (M)", "multiply-adds without Shift-Max (M)",
    }  # fmt: skip
    mixes = first.metrics["multiply-adds (M)"] - first.metrics["multiply-adds without Shift-Max (M)"]
    assert (mixes > 0) == (variant != "MobileNet")


def test_all_networks_of_a_seed_see_the_same_tiles_turned_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[tuple[str, int], list[Tensor]] = {}
    loss = small_images.classify_loss

    def watched(model: Any, batch: Any, *, smoothing: float) -> Any:
        seen.setdefault(key, []).append(batch[0].clone())
        return loss(model, batch, smoothing=smoothing)

    monkeypatch.setattr(small_images, "classify_loss", watched)
    settings = small(find("micronet/ingredients").preset("quick"))
    for key in (("MobileNet", 100), ("MicroNet", 100), ("MobileNet", 101)):
        on_images.measure_ingredients(Job(*key, settings, "eurosat_mini", device="cpu"))
    one, other, third = seen.values()
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one, third, strict=True))


def test_the_ladder_goes_from_mobilenet_to_micronet_through_networks_that_are_measured() -> None:
    assert set(on_images.LADDER) <= set(RIVALS)
    assert (on_images.LADDER[0], on_images.LADDER[-1]) == ("MobileNet", "MicroNet")
    assert tuple(RIVALS) == find("micronet/ingredients").variants


# --- The published recipe ---------------------------------------------------------------------------------------------


def test_the_paper_preset_is_the_table_of_the_published_scripts() -> None:
    preset: Any = find("micronet/imagenet").preset("paper")
    epoch = 1_281_167 // 512
    for recipe, decay, warmup in ((preset.recipe, 3e-5, 0), (preset.recipe_m3, 4e-5, 5 * epoch)):
        assert (recipe.steps, recipe.batch, recipe.warmup) == (600 * epoch, 512, warmup)
        assert (recipe.momentum, recipe.nesterov, recipe.weight_decay) == (0.9, False, decay)
        assert recipe.rate(warmup) == pytest.approx(0.2)
        assert recipe.rate(recipe.steps - 1) == pytest.approx(0, abs=1e-9)
        middle = warmup + (recipe.steps - 1 - warmup) // 2
        assert recipe.rate(middle) == pytest.approx(0.1, rel=1e-4)
        assert not recipe.milestones and recipe.clip_norm is None and recipe.ema is None
        (group,) = recipe.optimiser(torch.nn.BatchNorm1d(3)).param_groups
        assert group["weight_decay"] == decay, "vectors decay as well"
    assert preset.size == 224
    assert not preset.variants


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen pictures of two kinds and of several sizes, half of them to test on."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for split in ("train", "test"):
        for i in range(6):
            for label in ("dark", "light"):
                height, width = rng.integers(70, 120, 2)
                picture = rng.integers(0, 100, (height, width, 3)) + 150 * (label == "light")
                write(folder / split / label / f"{i}.png", picture.astype(np.uint8))
    return folder


@pytest.mark.parametrize("preset", ["gpu", "paper"])
def test_large_presets_run_two_steps(preset: str, pictures: Path) -> None:
    settings: Any = find("micronet/imagenet").preset(preset)
    for variant in ("micronet_m0", "micronet_m3"):
        recipes = {key: getattr(settings, key) for key in ("recipe", "recipe_m3")}
        short = {
            key: dataclasses.replace(recipe, steps=2, warmup=min(recipe.warmup, 1), batch=4)
            for key, recipe in recipes.items()
        }
        few = dataclasses.replace(settings, **short, workers=0)
        outcome = on_imagenet.measure_imagenet(Job(variant, 100, few, str(pictures), device="cpu"))
        assert outcome.metrics.keys() == {"accuracy (%)"}
        assert outcome.history[-1]["step"] == 2
        assert outcome.network is not None and outcome.network.num_classes == 2


def test_pieces_are_new_in_each_epoch_and_the_same_for_a_run_that_is_resumed(pictures: Path) -> None:
    images = load(pictures, "train")
    stream = Renewed(len(images), lambda seed, epoch: on_imagenet.Pieces(images, 32, (seed, epoch)))
    where = {"seed": 3, "batch": 4, "rank": 0, "world": 1, "device": torch.device("cpu")}
    whole = list(islice(stream.batches(0, **where), 7))
    resumed = list(islice(stream.batches(4, **where), 3))
    for ours, theirs in zip(whole[4:], resumed, strict=True):
        assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])
    assert all(batch[0].shape == (4, 3, 32, 32) for batch in whole)
    first = on_imagenet.Pieces(images, 32, (3, 0))
    assert torch.equal(first[2][0], first[2][0])
    assert not torch.equal(first[2][0], on_imagenet.Pieces(images, 32, (3, 1))[2][0])
    labels = torch.cat([batch[1] for batch in whole[:3]])
    assert sorted(labels.tolist()) == [0] * 6 + [1] * 6, "an epoch sees each picture once"
    halves = [next(stream.batches(0, **(where | {"rank": rank, "world": 2})))[0] for rank in (0, 1)]
    assert torch.equal(torch.cat(halves), whole[0][0])


# --- Time -------------------------------------------------------------------------------------------------------------


def test_time_counts_exactly_and_measures_all_networks_by_turns() -> None:
    preset = on_time.Turns(rounds=1, size=64, batches=(1,))
    found = {
        name: on_time.measure_time(Job(name, 100, preset, "none", device="cpu")).metrics for name in on_time.NETWORKS
    }
    assert found[on_time.RIVAL]["speed, % of MobileNetV3, batch 1"] == pytest.approx(100)
    for name, metrics in found.items():
        assert metrics["images/s, batch 1"] > 0
        ratio = metrics["images/s, batch 1"] / found[on_time.RIVAL]["images/s, batch 1"]
        assert metrics["speed, % of MobileNetV3, batch 1"] == pytest.approx(100 * ratio), name
    plain, fast = found["micronet_m3"], found["micronet_m3, inference form"]
    assert fast["operations"] < plain["operations"]
    assert fast["multiply-adds (M)"] == plain["multiply-adds (M)"] > plain["multiply-adds without Shift-Max (M)"]


def test_multiply_adds_are_the_published_ones() -> None:
    image = torch.zeros(1, 3, 224, 224)
    for name, millions in (("micronet_m0", 4.05), ("micronet_m3", 20.81), ("mobilenetv3_small_100", 56.51)):
        assert on_time.costs(name, image)["multiply-adds (M)"] == pytest.approx(millions, abs=0.01)
