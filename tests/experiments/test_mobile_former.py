"""Mobile-Former's experiments: the numbers that can be known beforehand, and what is trained and tested on what."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.experiments.scaled import small
from visionlab.backbones.mobile_former import CONFIGURATIONS, MobileFormer
from visionlab.backbones.mobile_former_mobile import DynamicReLU
from visionlab.data import puzzles
from visionlab.data.images import ImageSet, load
from visionlab.experiments import mobile_former_boxes as boxes
from visionlab.experiments import mobile_former_costs as costs
from visionlab.experiments import mobile_former_imagenet as imagenet
from visionlab.experiments import mobile_former_images as on_images
from visionlab.experiments import mobile_former_majority as majority
from visionlab.experiments.experiment import Job, find
from visionlab.experiments.mobile_former import WEIGHTS
from visionlab.heads.detection import targets_of
from visionlab.measure.cost import multiply_adds, parameters


@pytest.mark.parametrize(
    ("name", "variant", "changes"),
    [
        ("mobile_former/majority", "both bridges, dynamic ReLU", {"test": 64}),
        ("mobile_former/tokens", "spatial slopes", {}),
        ("mobile_former/world", "full", {"n": 16, "test": 8}),
        ("mobile_former/detection", "Mobile-Former", {"n": 16, "test": 8}),
        ("mobile_former/detection-pyramid", "wide MobileNetV3", {"n": 16, "test": 8}),
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


# --- Majority --------------------------------------------------------------------------------------------------------


class Counts(nn.Module):
    """Answers by the colour of most squares, and the opposite in the upper half of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.anything = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        places = images.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(4, 5))
        redder = places[:, 0] - places[:, 1]
        sure = redder.abs() > 1.5
        most = ((redder > 0) & sure).flatten(1).sum(1) > ((redder < 0) & sure).flatten(1).sum(1)
        says = (redder > 0) == most[:, None, None]
        says = torch.where(torch.arange(16)[:, None] < 8, ~says, says).float()
        return 9 * torch.stack([1 - says, says], dim=-1)


def test_squares_are_counted_and_the_background_is_not_asked() -> None:
    batch = majority.draw_majority(200, torch.Generator().manual_seed(0))
    images, labels = batch
    assert images.shape == (200, 3, 32, 32)
    asked = labels != puzzles.IGNORED
    lower = (asked & (torch.arange(16)[:, None] >= 8)).sum() / asked.sum()
    assert 0.4 < lower < 0.6
    assert majority.accuracy_of_squares(Counts(), batch) == pytest.approx(100 * lower.item(), abs=1e-4)
    loss, values = majority.square_loss(Counts(), batch)
    assert values["accuracy"].item() == pytest.approx(100 * lower.item(), abs=1e-3)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-9)) + 9 * (1 - lower.item()), rel=1e-4)


def test_each_variant_has_the_wires_of_its_name_and_what_it_has_is_cut() -> None:
    settings = small(find("mobile_former/majority").preset("long"), test=32)
    cuts = {}
    for variant in majority.NETWORKS:
        metrics = majority.measure_majority(Job(variant, 0, settings, "none", device="cpu")).metrics
        cuts[variant] = [name.removeprefix("accuracy ") for name in metrics if "with" in name]
        assert 0 <= metrics["accuracy (%)"] <= 100
    reading, writing, slopes = "without reading (%)", "without writing (%)", "with slopes held (%)"
    assert list(cuts.values()) == [
        [], [], [], [reading, writing], [reading], [writing], [reading, slopes], [reading, writing, slopes],
    ]  # fmt: skip


def test_the_wide_mobile_costs_as_much_as_the_bridges() -> None:
    settings = small(find("mobile_former/majority").preset("long"), test=8)
    cost = {
        variant: majority.measure_majority(Job(variant, 0, settings, "none", device="cpu")).metrics["multiply-adds (M)"]
        for variant in (majority.MOBILE, "wide Mobile", majority.BOTH)
    }
    assert cost[majority.MOBILE] < cost[majority.BOTH] <= cost["wide Mobile"] < 1.01 * cost[majority.BOTH]
    assert cost[majority.BOTH] == pytest.approx(2.437376)


def test_all_variants_of_a_seed_see_the_same_puzzles_and_seeds_see_others(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[tuple[str, int], list[Tensor]] = {}
    draw = majority.draw_majority

    def watched(n: int, rng: torch.Generator) -> Any:
        batch = draw(n, rng)
        seen.setdefault(key, []).append(batch[0])
        return batch

    monkeypatch.setattr(majority, "draw_majority", watched)
    settings = small(find("mobile_former/majority").preset("quick"), test=16)
    for key in (("both bridges", 0), ("read only", 0), ("both bridges", 1)):
        majority.measure_majority(Job(*key, settings, "none", device="cpu"))
    assert [len(batch) for batch in seen["both bridges", 0]] == [8, 8, 8, 16]
    pairs = list(zip(seen["both bridges", 0], seen["read only", 0], strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    others = zip(seen["both bridges", 0], seen["both bridges", 1], strict=True)
    assert not any(torch.equal(a, b) for a, b in others)
    assert not torch.equal(seen["both bridges", 0][-1][:8], seen["both bridges", 0][0]), "nothing tested was trained on"


# --- Tiles and shapes ------------------------------------------------------------------------------------------------


def test_variants_differ_in_what_their_name_says() -> None:
    cost = {variant: on_images.costs_of(variant) for variant in on_images.NETWORKS}
    adds = {variant: each["multiply-adds (M)"] for variant, each in cost.items()}
    assert adds["full"] == pytest.approx(1.41568)
    assert adds["full"] <= adds["wide Mobile"] < 1.01 * adds["full"]
    assert adds["Mobile alone"] < adds["1 token"] < adds["full"] < adds["6 tokens"]
    assert adds["width 16"] < adds["full"] < adds["width 64"]
    size = {variant: each["parameters (k)"] for variant, each in cost.items()}
    assert size["6 tokens"] - size["1 token"] == pytest.approx(5 * 32 / 1000)
    assert size["spatial slopes"] == size["full"]


@pytest.mark.parametrize("card", WEIGHTS, ids=lambda card: card.name)
def test_cards_build_the_network_of_their_variant_also_as_json(card: Any) -> None:
    experiment = find(card.experiment)
    assert card.variant in experiment.variants
    assert card.seed in experiment.seeds
    assert card.data in experiment.data
    read = dataclasses.replace(card, **{"kwargs": json.loads(json.dumps(card.kwargs))})
    network = read.build()
    answer = network.eval()(torch.zeros(1, 3, card.size, card.size))
    assert answer.shape[-1] == len(card.classes)
    assert parameters(network) == parameters(card.build())


# --- Boxes -----------------------------------------------------------------------------------------------------------


def test_a_perfect_answer_scores_a_hundred_and_what_is_kept_is_what_was_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VISIONLAB_CACHE", str(tmp_path))
    settings = small(find("mobile_former/detection").preset("quick"), n=8, test=8)
    _, answers = boxes.scenes_of(settings, 0, "test", 8)
    truth = targets_of(answers, (64, 64))
    right = [target | {"scores": torch.ones(len(target["labels"]))} for target in truth]
    monkeypatch.setattr(boxes, "found_in", lambda *_: right)
    found = boxes.measure_detection(Job("Mobile-Former", 0, settings, "world", device="cpu"))
    assert found.metrics["AP50 (%)"] == found.metrics["AP (%)"] == pytest.approx(100)
    images, there = boxes.kept_scenes(settings)
    assert images.shape == (4, 64, 64, 3)
    assert np.array_equal(found.arrays["boxes"], there)
    shifted = [t | {"boxes": t["boxes"] + 0.25 * (t["boxes"][:, 2:] - t["boxes"][:, :2]).repeat(1, 2)} for t in right]
    monkeypatch.setattr(boxes, "found_in", lambda *_: shifted)
    # A quarter aside both ways: 9/16 over 23/16, less than half in common.
    assert boxes.measure_detection(Job("Mobile-Former", 0, settings, "world", device="cpu")).metrics["AP50 (%)"] == 0


def test_rivals_of_the_backbone_are_no_cheaper() -> None:
    preset = find("mobile_former/detection").preset("long")
    (_, ours), *rivals = (boxes.detector_of(name, preset) for name in boxes.VARIANTS)
    assert len(rivals) == 2
    assert all(ours <= cost < 1.02 * ours for _, cost in rivals)


# --- Costs -----------------------------------------------------------------------------------------------------------


def test_counts_are_those_of_the_card_and_claims_follow() -> None:
    experiment = find("mobile_former/cost")
    result = experiment.run("long")
    card = {
        "6 tokens of 192": 292.49, "projected bridges": 386.02, "1 token of 192": 266, "3 tokens of 192": 276,
        "9 tokens of 192": 309, "6 tokens of 64": 274, "6 tokens of 128": 282, "6 tokens of 256": 307,
        "6 tokens of 320": 324,
    }  # fmt: skip
    for variant, adds in card.items():
        assert result.values(variant, "multiply-adds, 224 px (M)")[0] == pytest.approx(adds, abs=0.6), variant
    size = {"6 tokens of 192": 11.422648, "6 tokens of 64": 7.3, "6 tokens of 256": 14.3, "6 tokens of 320": 17.9}
    for variant, number in size.items():
        assert result.values(variant, "parameters (M)")[0] == pytest.approx(number, abs=0.06), variant
    for side in (224, 448, 896):
        parts = [result.values("6 tokens of 192", f"{part}, {side} px (M)")[0] for part in costs.PARTS]
        total = result.values("6 tokens of 192", f"multiply-adds, {side} px (M)")[0]
        assert sum(parts) == pytest.approx(total, abs=1e-5)
    assert result.values("6 tokens of 192", "Former, largest over smallest image")[0] == 1
    assert result.values("6 tokens of 192", "Mobile, largest over smallest image")[0] == 16
    assert [claim.judge(result).status for claim in experiment.claims] == ["shown"] * 3


def test_parts_are_what_the_torch_counter_finds_whatever_other_threads_compute() -> None:
    with torch.device("meta"):
        network = MobileFormer(**CONFIGURATIONS["26m"])
        other = MobileFormer(**CONFIGURATIONS["52m"]).eval()
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            other(torch.empty(1, 3, 64, 64, device="meta"))

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        found = costs.counted(network, 96)
    finally:
        stop.set()
        disturber.join()
    with torch.inference_mode():
        assert found == costs.counted(network, 96)
    activated: list[int] = []
    acts = [module for module in network.modules() if isinstance(module, DynamicReLU)]
    with costs.hooked(acts, lambda _module, _inputs, output: activated.append(output.numel())):
        plain = multiply_adds(network, torch.empty(1, 3, 96, 96, device="meta"))
    assert sum(found.values()) == plain + 2 * sum(activated)
    assert all(found.values())


def test_time_is_a_ratio_of_two_that_took_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    took = {"mobilenetv3_small_100": 1.0, costs.REFERENCE: 4.0}

    def turns(rivals: Any, *, batches: Any, threads: Any, repeats: int) -> Any:
        from visionlab.measure.latency import Timing

        assert (threads, repeats) == ((1,), 3)
        return [Timing(r.network, r.form, b, 1, (b * took[r.network],)) for r in rivals for b in batches]

    monkeypatch.setattr(costs, "take_turns", turns)
    job = Job("mobilenetv3_small_100", 0, find("mobile_former/time").preset("quick"), "none")
    metrics = costs.measure_time(job).metrics
    assert metrics["multiply-adds (M)"] == pytest.approx(56.5, abs=0.05)
    assert metrics["multiply-adds over MobileNetV3-Large's"] == pytest.approx(56.5 / 216.6, abs=1e-3)
    for batch in (1, 8):
        assert metrics[f"images/s, batch {batch}"] == pytest.approx(1.0)
        assert metrics[f"time over MobileNetV3-Large's, batch {batch}"] == pytest.approx(0.25)


# --- The authors' recipe ---------------------------------------------------------------------------------------------


def test_the_recipe_is_the_published_one() -> None:
    preset = find("mobile_former/imagenet").preset("paper")
    columns = {"26m": (8e-4, 0.08, 0.1, 0.2), "52m": (8e-4, 0.1, 0.2, 0.2), "96m": (8e-4, 0.1, 0.2, 0.0),
               "151m": (9e-4, 0.1, 0.2, 0.2), "214m": (9e-4, 0.15, 0.2, 0.2), "294m": (1e-3, 0.2, 0.3, 0.2),
               "508m": (1e-3, 0.2, 0.3, 0.2)}  # fmt: skip
    assert preset.variants == tuple(f"mobile_former_{size}" for size in columns)
    for size, (rate, decay, dropout, mixup) in columns.items():
        row = imagenet.TABLE[f"mobile_former_{size}"]
        recipe = imagenet.recipe_of(preset.recipe, row)
        assert recipe.learning_rate == pytest.approx(rate)
        assert recipe.weight_decay == decay
        assert (row.dropout, row.mixup) == (dropout, mixup)
        assert row.policy == ("" if size == "52m" else "rand-m9-mstd0.5")
        assert row.erasing == (0.2 if size in ("151m", "214m", "294m", "508m") else 0)
    recipe = preset.recipe
    assert (recipe.batch, recipe.steps * recipe.batch // 1_281_167) == (1024, 449)
    assert recipe.steps // (1_281_167 // 1024) == 450
    assert recipe.warmup == 3 * (1_281_167 // 1024)
    assert (preset.side, preset.crop, preset.smoothing) == (224, 0.875, 0.1)


def few(data: str, split: str) -> Any:
    """Sixteen tiles of a split."""
    whole = load(data, split)
    assert isinstance(whole.images, np.ndarray)
    return ImageSet(whole.images[:16], whole.labels[:16], whole.classes, name=data, split=split)


@pytest.mark.parametrize("preset", ["gpu", "paper"])
def test_two_steps_of_the_large_presets_run(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "load", few)
    experiment = find("mobile_former/imagenet")
    settings = experiment.preset(preset)
    recipe = dataclasses.replace(settings.recipe, steps=2, warmup=1, batch=4)
    settings = dataclasses.replace(settings, recipe=recipe, workers=0)
    outcome = experiment.measure(Job(settings.variants[0], 0, settings, "eurosat_mini", device="cpu"))
    assert outcome.history[-1]["step"] == 2
    assert outcome.metrics["accuracy (%)"] in [100 * n / 16 for n in range(17)]


def test_each_network_has_its_own_augmentation() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8))
    for name, row in imagenet.TABLE.items():
        transform = imagenet.transform_of(row, 32)
        assert transform(picture).shape == (3, 32, 32)
        kinds = [type(step).__name__ for step in transform.transforms]  # type: ignore[attr-defined]
        assert ("RandAugment" in kinds) == bool(row.policy), name
        assert ("RandomErasing" in kinds) == bool(row.erasing), name


def test_pictures_change_from_epoch_to_epoch_and_a_seed_repeats_them() -> None:
    pictures = few("eurosat_mini", "test")
    transform = imagenet.transform_of(imagenet.TABLE["mobile_former_294m"], 32)
    one, again, other = (imagenet.Augmented(pictures, transform, (0, epoch)) for epoch in (0, 0, 1))
    assert torch.equal(one[7][0], again[7][0])
    assert not torch.equal(one[7][0], other[7][0])
    assert one[7][1] == pictures[7][1]


def test_transforms_leave_everybodys_generators_alone() -> None:
    def drawn() -> tuple[float, float]:
        return random.random(), torch.rand(()).item()

    random.seed(0)
    torch.manual_seed(0)
    expected = drawn()
    random.seed(0)
    torch.manual_seed(0)
    with imagenet.all_seeded(1, 2):
        inside = drawn()
    assert drawn() == expected
    with imagenet.all_seeded(1, 2):
        assert drawn() == inside


def test_mixed_pictures_have_mixed_targets() -> None:
    images, labels = torch.arange(4.0).view(4, 1, 1, 1), torch.tensor([0, 1, 2, 0])
    plain, targets = imagenet.mixed((images, labels), torch.Generator(), alpha=0.0, classes=3)
    assert torch.equal(plain, images)
    assert targets.argmax(1).tolist() == labels.tolist()
    both, targets = imagenet.mixed((images, labels), torch.Generator().manual_seed(0), alpha=0.2, classes=3)
    share = (both[0, 0, 0, 0] - 3) / -3
    assert 0 <= share <= 1
    assert torch.allclose(targets[1], torch.tensor([0, share, 1 - share]))
    assert torch.allclose(targets.sum(1), torch.ones(4))
    loss, values = imagenet.soft_loss(nn.Identity(), (20 * torch.eye(3), torch.eye(3)), smoothing=0.0)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert values["accuracy"] == 100
