from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import timm
import torch
from torch.utils.data import TensorDataset

from visionlab.measure.cost import multiply_adds, parameters
from visionlab.predictor import Predictor
from visionlab.protection.robustness import STANDARD, changed, robustness
from visionlab.protection.triggers import BadNets, clean
from visionlab.protection.victims import (
    Replayed,
    SmallResNet,
    attack_success,
    poison,
    predictions,
    stream_of,
    train_victim,
)
from visionlab.train.loop import Momentum
from visionlab.train.loop import start as begin


def tiles(n: int = 40, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return images, torch.arange(n) % classes


def poisoned(ratio: float = 0.25, **kwargs: object):
    images, labels = tiles()
    settings = {"target": 2, "ratio": ratio, "classes": 4, "seed": 0} | kwargs
    return images, labels, poison(images, labels, BadNets(), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(("ratio", "count"), [(0.25, 10), (1.0, 40), (0.001, 1), (1 / 3, 13)])
def test_the_right_share_is_triggered_and_relabelled(ratio: float, count: int) -> None:
    images, labels, found = poisoned(ratio)
    chosen = found.poisoned
    assert chosen.sum() == count
    assert torch.equal(found.images[chosen], BadNets()(images[chosen]))
    assert (found.labels[chosen] == 2).all()
    assert torch.equal(found.images[~chosen], images[~chosen])
    assert torch.equal(found.labels[~chosen], labels[~chosen])
    assert torch.equal(found.originals, images[chosen])
    assert torch.equal(found.original_labels, labels[chosen])


def test_the_seed_decides_which_and_the_trigger_does_not() -> None:
    images, labels, found = poisoned()
    again = poison(images, labels, clean, target=2, ratio=0.25, classes=4, seed=0)
    other = poison(images, labels, clean, target=2, ratio=0.25, classes=4, seed=1)
    assert torch.equal(again.poisoned, found.poisoned)
    assert not torch.equal(other.poisoned, found.poisoned)


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ratio": 0.0}, r"ratio: expected a share in \(0, 1\], got 0.0"),
        ({"ratio": 1.5}, r"ratio: expected a share in \(0, 1\], got 1.5"),
        ({"ratio": float("nan")}, "ratio: expected a share"),
        ({"target": 4}, "target: expected a class from 0 to 3, got 4"),
        ({"target": -1}, "target: expected a class from 0 to 3, got -1"),
        ({"classes": 3}, "labels: expected 0 to 2, got 0 to 3"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        poisoned(**changes)


@pytest.mark.usefixtures("as_users_run_it")
def test_no_images_or_other_labels_than_images_are_refused() -> None:
    images, labels = tiles()
    with pytest.raises(ValueError, match="images: 0 come with 0 labels"):
        poison(images[:0], labels[:0], clean, target=0, ratio=0.5, classes=4, seed=0)
    with pytest.raises(ValueError, match="images: 40 come with 39 labels"):
        poison(images, labels[1:], clean, target=0, ratio=0.5, classes=4, seed=0)


def batches(stream, count: int, start: int = 0, rank: int = 0, world: int = 1):
    found = stream.batches(start, seed=3, batch=8, rank=rank, world=world, device=torch.device("cpu"))
    return list(islice(found, count))


def test_mixed_poison_passes_by_once_an_epoch() -> None:
    _, _, found = poisoned()
    labels = torch.cat([batch[1] for batch in batches(stream_of(found), 5)])
    assert torch.equal(labels.sort().values, found.labels.sort().values)


def test_replayed_poison_fills_its_share_of_every_batch_and_originals_stay() -> None:
    images, labels, found = poisoned()
    triggered = {tuple(image.flatten().tolist()) for image in found.images[found.poisoned]}
    seen = []
    for batch_images, _ in batches(stream_of(found, replayed=0.5), 10):
        is_triggered = [tuple(image.flatten().tolist()) in triggered for image in batch_images]
        assert sum(is_triggered) == 4
        seen += [tuple(image.flatten().tolist()) for image, t in zip(batch_images, is_triggered, strict=True) if not t]
    assert sorted(seen) == sorted(tuple(image.flatten().tolist()) for image in images), "one pass over the clean data"
    assert labels.bincount().tolist() == [10] * 4


def test_replayed_poison_resumes_and_is_shared_out() -> None:
    _, _, found = poisoned()
    stream = stream_of(found, replayed=0.25)
    whole = batches(stream, 12)
    for start in range(12):
        for a, b in zip(whole[start:], batches(stream, 12 - start, start), strict=True):
            assert torch.equal(a[0], b[0])
    halves = [batches(stream, 12, rank=rank, world=2) for rank in range(2)]
    for one, two, both in zip(*halves, batches(stream, 12), strict=True):
        labels = torch.cat([one[1], two[1]])
        assert torch.equal(labels.sort().values, both[1].sort().values)


def test_few_triggered_images_are_repeated_within_a_batch() -> None:
    ordinary = TensorDataset(torch.zeros(20, 1), torch.zeros(20, dtype=torch.int64))
    one = TensorDataset(torch.ones(1, 1), torch.ones(1, dtype=torch.int64))
    for batch in batches(Replayed(ordinary, one, share=0.5), 3):
        assert batch[1].sum() == 4


def test_the_small_victim_is_the_card_s() -> None:
    network = SmallResNet(10)
    assert parameters(network) == 78_378
    assert multiply_adds(network.eval(), torch.rand(1, 3, 32, 32)) / 1e6 == pytest.approx(3.2, abs=0.1)
    x = torch.rand(2, 3, 32, 32)
    features = network.forward_features(x)
    assert network.forward_head(features, pre_logits=True).shape == (2, network.num_features)
    torch.testing.assert_close(network(x), network.forward_head(features))


def test_success_counts_only_images_of_other_classes() -> None:
    images, labels = tiles()

    def says(answer: torch.Tensor):
        return lambda x: torch.nn.functional.one_hot(answer[: len(x)], 4).float()

    always = torch.full((40,), 2)
    assert attack_success(says(always), clean, images, labels, target=2) == 100
    assert attack_success(says(always), clean, images, labels, target=1) == 0
    others = labels[labels != 2]
    assert attack_success(says(others), clean, images, labels, target=2) == 0


def test_success_sees_trigger_and_change_in_this_order() -> None:
    images, labels = tiles()

    def corner(x: torch.Tensor) -> torch.Tensor:
        """Class 2 where the lower right corner holds BadNets' patch."""
        patch = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]])
        there = (x[:, 0, 12:15, 12:15] - patch).abs().amax((1, 2)) < 1e-3
        return torch.nn.functional.one_hot(2 * there.long(), 4).float()

    assert attack_success(corner, BadNets(), images, labels, target=2) == 100
    assert attack_success(corner, clean, images, labels, target=2) == 0
    assert attack_success(corner, BadNets(), images, labels, target=2, change=lambda x: x.flip(-1)) == 0


@pytest.mark.usefixtures("as_users_run_it")
def test_success_needs_an_image_of_another_class() -> None:
    images, _ = tiles(4)
    with pytest.raises(ValueError, match="all 4 are of the target's class 1"):
        attack_success(lambda x: x, clean, images, torch.ones(4, dtype=torch.int64), target=1)
    assert predictions(lambda x: x, images[:0]).shape == (0,)


def test_robustness_reports_every_setting() -> None:
    images, labels = tiles()
    answers = torch.nn.functional.one_hot(labels, 4).float()
    found = robustness(lambda x: answers[: len(x)], {"success": clean}, images, labels, target=2)
    assert set(found) == set(STANDARD)
    assert all(values["accuracy"] == 100 for values in found.values())
    assert torch.equal(changed(images, STANDARD["none"]), images)
    assert torch.equal(changed(images, STANDARD["flip"]), images.flip(-1))


@pytest.mark.parametrize("network", ["ours", "resnet10t"])
def test_any_classifier_learns_the_task_and_the_trigger_and_is_kept(network: str, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(256, 3, 32, 32, generator=generator), torch.arange(256) % 2
    images[labels == 1] *= 0.4
    found = poison(images, labels, BadNets(), target=0, ratio=0.25, classes=2, seed=0)
    recipe = Momentum(steps=60, batch=32, learning_rate=0.05, warmup=6, clip_norm=None)

    def train(seed: int) -> torch.nn.Module:
        torch.manual_seed(seed)
        fresh = SmallResNet(2) if network == "ours" else timm.create_model(network, num_classes=2)
        return train_victim(
            fresh, stream_of(found), recipe, mean=(0.5,) * 3, std=(0.25,) * 3, seed=0,
            fabric=begin("32-true", "cpu"), checkpoint=tmp_path / "victim.pt",
        ).model  # fmt: skip

    model = train(0).eval()
    classify = Predictor(model, ("light", "dark"), 32, (0.5,) * 3, (0.25,) * 3).probabilities
    assert (predictions(classify, images[~found.poisoned]) == labels[~found.poisoned]).double().mean() > 0.9
    assert attack_success(classify, BadNets(), images, labels, target=0) > 80
    assert attack_success(classify, clean, images, labels, target=0) < 20
    for ours, theirs in zip(train(1).state_dict().values(), model.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), "what was finished is read from the checkpoint"
