from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from visionlab.show import pnal
from visionlab.show.timeline import Timeline
from visionlab.show.widgets.room import CLASS_COLOURS, PANELS, Room, _classes


def unpacked(data: bytes, count: int) -> np.ndarray:
    pairs = np.frombuffer(data, np.uint8)
    halves = np.stack([pairs >> 4, pairs & 15], 1).ravel()[:count].astype(int)
    return np.where(halves == 15, -1, halves)


def test_the_first_message_holds_the_run(timeline: Timeline) -> None:
    state = pnal.room(timeline).get_state()
    assert state["shape"] == [10, 2, 512]
    assert state["rule"] == {"slots": 4, "warmup": 4, "share": 1.0, "gamma": None}
    assert state["names"] == ["room 1", "room 2"]
    assert "export default" in state["_esm"]
    assert state["packed"]
    for name in ("given", "truth", "predicted"):
        kept = getattr(timeline, name)
        assert (unpacked(state[name], kept.size).reshape(kept.shape) == kept).all()
    assert state["per_cluster"]
    cluster = np.frombuffer(state["cluster"], "<u4")
    assert state["clusters"] == cluster.max() + 1 == sum(len(np.unique(each)) for each in timeline.cluster)
    table = unpacked(state["in_force"], 10 * state["clusters"]).reshape(10, -1)
    assert (table[:, cluster].reshape(timeline.in_force.shape) == timeline.in_force).all()
    places = np.frombuffer(state["xyz"], "<i2").reshape(2, 512, 3) * np.array(state["units"])[:, None, None]
    shift = (timeline.xyz - places).reshape(2, -1, 3)
    assert np.ptp(shift, axis=1).max() < 1e-3, "a millimetre"
    assert np.abs(np.frombuffer(state["rgb"], np.uint8) / 255 - timeline.rgb.ravel()).max() <= 0.5 / 255 + 1e-6


def test_labels_that_differ_within_a_cluster_are_sent_point_by_point(timeline: Timeline) -> None:
    mixed = replace(timeline, in_force=timeline.predicted)
    state = Room(mixed).get_state()
    assert not state["per_cluster"]
    assert (unpacked(state["in_force"], mixed.in_force.size).reshape(mixed.in_force.shape) == mixed.in_force).all()


def test_many_classes_take_a_byte_each(timeline: Timeline) -> None:
    many = replace(timeline, classes=[f"class {k}" for k in range(40)])
    state = Room(many).get_state()
    assert not state["packed"]
    assert (np.frombuffer(state["predicted"], np.int8) == many.predicted.ravel()).all()
    assert state["colours"][20] == CLASS_COLOURS[0]
    assert np.frombuffer(_classes(np.array([1, -1, 14]), True), np.uint8).tolist() == [0x1F, 0xE0]


def test_four_rooms_and_thirty_epochs_are_small() -> None:
    shape, draw = (4, 2048), np.random.default_rng(0)
    cluster = draw.integers(0, 100, shape)
    labels = draw.integers(0, 10, (30, 4, 100)).astype(np.int8)
    run = Timeline(
        xyz=draw.uniform(size=(*shape, 3)), rgb=draw.uniform(size=(*shape, 3)), given=draw.integers(0, 10, shape),
        truth=draw.integers(0, 10, shape), cluster=cluster, predicted=draw.integers(0, 10, (30, *shape)),
        in_force=np.take_along_axis(labels, np.broadcast_to(cluster, (30, *shape)), 2),
        classes=[f"class {k}" for k in range(10)], warmup=4, slots=4,
    )  # fmt: skip
    state = Room(run).get_state()
    assert sum(len(value) for value in state.values() if isinstance(value, (bytes, memoryview))) < 300_000


def test_it_begins_with_the_last_epoch_and_says_what_it_shows(timeline: Timeline) -> None:
    widget = Room(timeline)
    right, wrong, none = timeline.score(0, 10)
    said = f"labels in force {right:.0f} % right, {wrong:.0f} % wrong, {none:.0f} % none yet"
    assert repr(widget) == f"Room(room 1, epoch 10 of 10: {said})"
    widget.picked = [0, 17]
    widget.epoch = 6
    assert widget.words == timeline.describe(0, 6, 17)
    assert Room(timeline, picked=(1, 3), epoch=5).room == 1


def test_a_point_and_the_room_go_together(timeline: Timeline) -> None:
    widget = Room(timeline)
    widget.picked = [1, 5]
    assert widget.room == 1
    widget.room = 0
    assert widget.picked == []


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"panels": ()}, "panels: expected one to three different ones of given, in force, truth, predicted"),
        ({"panels": PANELS}, "panels"),
        ({"panels": ("given", "given")}, "panels"),
        ({"panels": ("noise",)}, "panels"),
        ({"colour": "pretty"}, "colour: expected one of class, verdict, rgb; got 'pretty'"),
        ({"room": 2}, "room: expected 0 to 1; got 2"),
        ({"epoch": 0}, "epoch: expected 1 to 10; got 0"),
        ({"picked": (0, 512)}, "point: expected 0 to 511; got 512"),
        ({"picked": (0,)}, r"picked: expected \(room, point\)"),
    ],
)
def test_what_is_not_there_is_refused(timeline: Timeline, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Room(timeline, **given)
    widget = Room(timeline)
    for name, value in given.items():
        if name != "panels":
            with pytest.raises(ValueError, match=words):
                setattr(widget, name, list(value) if name == "picked" else value)


@pytest.mark.usefixtures("as_users_run_it")
def test_only_a_timeline_is_shown() -> None:
    with pytest.raises(TypeError, match="timeline: expected a Timeline, got dict"):
        Room({})  # type: ignore[arg-type]
