"""What the app on wrong labels of points does: spoil, train while one watches, read, group, find doubtful labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from visionlab.data.clouds import load
from visionlab.data.world.rooms import ROOM_CLASSES, room
from visionlab.experiments import pnal_desk as desk
from visionlab.experiments import pnal_doubts as doubts
from visionlab.experiments import pnal_live as live
from visionlab.points.spoiled import alike, has_objects, spoiled

TINY = live.Size(rooms=8, points=128, epochs=4, warmup=2, tested=2)


def test_look_alikes_are_partners_both_ways_and_each_class_has_one() -> None:
    names = ["wall", "window", "door", "sofa", "lamp"]
    assert alike(names) == {0: 2, 2: 0}
    assert alike(["sky", "road"]) == {}
    with pytest.raises(ValueError, match="has a known look-alike"):
        spoiled(replace(room(0, 0, points=64), classes=tuple("abcdefghij")), "between look-alikes", 20, 0)


def test_each_object_has_a_row_that_says_whether_its_label_is_right() -> None:
    cloud = room(0, 1, points=2000)
    noise = spoiled(cloud, "by object", 50, 3)
    rows = desk.objects(cloud, noise.labels)
    assert sum(int(row[2].replace(",", "")) for row in rows) == 2000
    assert {row[4] for row in rows} == {"right", "wrong"}
    assert all((row[1] == row[3]) == (row[4] == "right") for row in rows)
    assert f"{sum(row[4] == 'wrong' for row in rows)} of {len(rows)} objects" in desk.told(
        cloud, noise, "by object", 50
    )


def test_a_cloud_without_instances_is_not_spoiled_by_object() -> None:
    cloud = room(0, 1, points=500)
    bare = replace(cloud, instances=cloud.labels)
    assert has_objects(cloud)
    assert not has_objects(bare)
    with pytest.raises(
        ValueError, match="kind of noise: room 0-1 has no instances to mislabel; choose 'at boundaries'"
    ):
        spoiled(bare, "by object", 30, 0)
    assert not spoiled(bare, "by object", 0, 0).flipped.any()


def test_both_methods_are_told_of_epoch_by_epoch_and_are_the_same_in_the_warm_up() -> None:
    epochs = list(live.live(60, seed=1, size=TINY))
    assert [(each.method, each.epoch) for each in epochs] == [(m, e) for m in live.METHODS for e in (1, 2, 3, 4)]
    assert [each.done for each in epochs] == list(range(1, 9))
    last = epochs[-1]
    curves = last.curves
    assert curves["cross entropy"][live.NEW][:2] == curves["PNAL"][live.NEW][:2]
    assert len(set(curves["cross entropy"][live.RIGHT])) == 1
    assert curves["PNAL"][live.RIGHT][:2] == curves["cross entropy"][live.RIGHT][:2]
    assert last.words.startswith("cross entropy: ")
    run = last.runs["PNAL"]
    assert run["predicted"].shape == run["in_force"].shape == (4, 4, 128)
    assert run["classes"] == ROOM_CLASSES
    assert (run["in_force"][:2] == -1).all()
    assert last.runs["cross entropy"]["warmup"] == 4


def test_what_goes_wrong_in_a_training_reaches_who_waits() -> None:
    with pytest.raises(ValueError, match="rate: expected 0 to 100 %"):
        next(live.live(101, size=TINY))
    with pytest.raises(ValueError, match="train by: expected some of"):
        next(live.live(50, methods=[], size=TINY))


def test_doubtful_objects_come_with_words_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubts, "PASSES", 8)
    monkeypatch.setattr(doubts, "FEWEST", 4)
    clouds = [room(0, number, points=600) for number in (1, 2)]
    found = doubts.doubted(clouds, "by object", 30, 0, tmp_path)
    assert len(found.rows) == len(found.doubts)
    scores = [each.score for each in found.doubts]
    assert scores == sorted(scores, reverse=True)
    assert "objects had been made wrong" in found.words
    _, which, words = doubts.looked_at(found, 1)
    assert int(which.sum()) == found.doubts[0].points
    assert words.startswith(f"object {found.doubts[0].instance}: given ")
    assert [Path(file).name for file in found.files] == ["room_0-1-1-corrected.ply", "room_0-2-2-corrected.ply"]
    assert torch.equal(load(found.files[1])[0].labels, found.cleaned[1].labels)


def test_a_scan_that_is_not_in_metres_is_not_cut_into_blocks() -> None:
    cloud = room(0, 1, points=600)
    with pytest.raises(ValueError, match=r"xyz: room 0-1 spans .* m; at most 40 m are taken here.*Is it in metres"):
        doubts.cleaned([replace(cloud, xyz=1000 * cloud.xyz)])
