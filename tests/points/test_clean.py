from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.points import toy_points as toy
from visionlab.data.clouds import Cloud
from visionlab.points.clean import PRESETS, Cleaned, check_clouds, clean_labels, clusters_of, digest, doubtful
from visionlab.train.loop import start


def noisy(n: int, rate: float = 0.25, seed: int = 0) -> tuple[list[Cloud], list[Cloud]]:
    """Rooms with true labels, and the same with wrong ones."""
    clouds = toy.rooms(n, seed)
    labels = toy.wrong(clouds, rate, seed)
    return clouds, [replace(cloud, labels=own) for cloud, own in zip(clouds, labels, strict=True)]


def run(clouds: list[Cloud], epochs: int = 4, **more: object) -> list[Cleaned]:
    return clean_labels(clouds, epochs=epochs, fabric=start(device="cpu"), **more)  # type: ignore[arg-type]


def test_every_point_gets_a_label_and_wrong_objects_come_first() -> None:
    true, given = noisy(12)
    cleaned = run(given, 12)
    assert [each.cloud for each in cleaned] == given
    for each in cleaned:
        assert each.labels.shape == (toy.POINTS,)
        assert int(each.labels.min()) >= 0
        torch.testing.assert_close(each.probabilities.sum(1), torch.ones(toy.POINTS))
        rows = torch.arange(toy.POINTS)
        torch.testing.assert_close(each.confidence, each.probabilities[rows, each.labels])
        torch.testing.assert_close(each.given_probability, each.probabilities[rows, each.cloud.labels])
    doubts = doubtful(cleaned)
    assert len(doubts) == 12 * toy.OBJECTS
    assert sum(doubt.points for doubt in doubts) == 12 * toy.POINTS
    assert [doubt.score for doubt in doubts] == sorted((doubt.score for doubt in doubts), reverse=True)
    wrong = []
    for doubt in doubts:
        own = true[doubt.cloud].instances == doubt.instance
        truth = int(true[doubt.cloud].labels[own][0])
        assert doubt.proposed != doubt.given == int(given[doubt.cloud].labels[own][0])
        wrong.append(truth != doubt.given)
    assert sum(wrong) == 36
    assert sum(wrong[:18]) >= 15, "of the first half of what is wrong, nearly all is"
    before, after = ((torch.cat(labels) == torch.cat([each.labels for each in true])).float().mean() for labels in (
        [each.labels for each in given], [each.labels for each in cleaned],
    ))  # fmt: skip
    assert after > before


def test_points_without_a_label_get_proposals_and_come_last() -> None:
    clouds = [replace(each, labels=torch.where(each.instances < 2, -1, each.labels)) for each in toy.rooms(8)]
    cleaned = run(clouds, 8)
    doubts = doubtful(cleaned)
    bare = [doubt for doubt in doubts if doubt.given == -1]
    assert len(bare) == 16
    assert doubts[-16:] == bare
    assert all(doubt.score == 0 == doubt.given_probability and 0 <= doubt.proposed < toy.CLASSES for doubt in bare)
    sure = [doubt.proposed_probability for doubt in bare]
    assert sure == sorted(sure, reverse=True)
    assert (cleaned[0].given_probability[clouds[0].labels == -1] == 0).all()
    assert sum(int((each.labels == -1).sum()) for each in cleaned) == 0


def test_large_clouds_are_cut_and_points_outside_the_blocks_follow_their_cluster() -> None:
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(5000) % 3
    xyz = torch.rand(5000, 3, generator=g) * torch.tensor([1.0, 0.6, 2.0])
    cloud = Cloud(xyz, torch.eye(3)[labels], labels, labels, tuple("abc"))
    (cleaned,) = run([cloud], 3)
    cluster = clusters_of(cloud)
    for number in range(int(cluster.max()) + 1):
        own = cleaned.labels[cluster == number]
        assert (own == own[0]).all() or torch.equal(own, labels[cluster == number])


def test_clusters_are_the_published_ones_where_those_are_any() -> None:
    g = torch.Generator().manual_seed(0)
    things = torch.arange(400) % 4
    dense = 3 * torch.eye(3)[things.clamp(max=2)] * (things < 3)[:, None] + 0.01 * torch.rand(400, 3, generator=g)
    cloud = Cloud(dense, torch.full((400, 3), 0.5), things, things, tuple("abcd"))
    found = clusters_of(cloud)
    assert int(found.max()) == 3
    assert len(torch.stack([found, things], 1).unique(dim=0)) == 4
    sparse = clusters_of(toy.rooms(1)[0])
    assert sorted(sparse.unique().tolist()) == list(range(toy.POINTS // 16))


def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    _, given = noisy(4)
    path = tmp_path / "run.pt"

    def stop(step: int, steps: int, values: dict[str, float]) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(given, checkpoint=path, hook=stop)
    assert path.exists()
    for one, other in zip(run(given, checkpoint=path), run(given), strict=True):
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.probabilities, other.probabilities)


def test_what_cannot_be_learned_from_is_named() -> None:
    cloud = toy.rooms(1)[0]
    few = Cloud(cloud.xyz[:9], cloud.rgb[:9], cloud.labels[:9], cloud.instances[:9], cloud.classes, "few")
    for clouds, words in (
        ([], "clouds: expected at least one, got none"),
        (
            [cloud, replace(cloud, classes=tuple("abcde"), name="other")],
            "the same classes in all, toy 0 has a, b",
        ),
        ([replace(cloud, labels=torch.ones_like(cloud.labels))], "labels of two classes or more, got b"),
        ([replace(cloud, labels=torch.full_like(cloud.labels, -1))], "labels of two classes or more, got none"),
        ([cloud, few], "expected 12 points or more in each, few has 9"),
        ([replace(cloud, classes=tuple(map(str, range(128))))], "at most 127 classes, got 128"),
    ):
        with pytest.raises(ValueError, match=words):
            check_clouds(clouds, PRESETS["quick"].neighbours)
    with pytest.raises(ValueError, match="epochs: expected 2 or more"):
        run([cloud], 1)


def test_a_digest_tells_clouds_and_options_apart() -> None:
    clouds = toy.rooms(2)
    assert digest(clouds, seed=1) == digest(toy.rooms(2), seed=1)
    others = (
        digest(clouds, seed=2),
        digest(clouds[:1], seed=1),
        digest([clouds[0], replace(clouds[1], labels=clouds[1].labels.flip(0))], seed=1),
        digest([clouds[0], replace(clouds[1], name="other")], seed=1),
    )
    assert len({digest(clouds, seed=1), *others}) == 5


def test_the_published_network_runs_as_well() -> None:
    cleaned = run(noisy(2)[1], 2, preset="full")
    assert [len(each.labels) for each in cleaned] == [toy.POINTS] * 2
    assert len(doubtful(cleaned)) == 2 * toy.OBJECTS
