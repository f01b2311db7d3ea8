"""Points to turn in a browser: what is drawn, in which colours, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from visionlab.data.world.rooms import room
from visionlab.show import clouds, replayed
from visionlab.show.points_report import DRAWN
from visionlab.show.timeline import Timeline
from visionlab.show.widgets.room import CLASS_COLOURS, VERDICTS


def markers(fig: object) -> list:
    return [trace for trace in fig.data if trace.mode == "markers"]


def test_a_class_has_its_colour_in_every_scene_and_one_entry_in_the_legend() -> None:
    xyz = np.random.default_rng(0).random((60, 3))
    one, other = np.arange(60) % 3, np.arange(60) % 2
    fig = clouds.clouds_figure(xyz, {"a": one, "b": other}, ["floor", "wall", "sofa"])
    traces = markers(fig)
    assert {(trace.name, trace.marker.color) for trace in traces} == {
        ("floor", CLASS_COLOURS[0]), ("wall", CLASS_COLOURS[1]), ("sofa", CLASS_COLOURS[2]),
    }  # fmt: skip
    assert [trace.name for trace in traces if trace.showlegend] == ["floor", "wall", "sofa"]
    assert sorted(np.concatenate([trace.customdata for trace in traces[:3]])) == list(range(60))


def test_verdicts_and_points_without_a_label() -> None:
    labels, truth = np.array([0, 1, -1, 1]), np.array([0, 0, 0, -1])
    fig = clouds.clouds_figure(np.eye(4, 3), {"a": labels}, ["x", "y"], colour="verdict", truth=truth)
    found = {trace.name: (len(trace.x), trace.marker.color) for trace in markers(fig)}
    assert found == {
        "right label": (1, VERDICTS["right"]), "wrong label": (1, VERDICTS["wrong"]),
        "no label": (2, clouds.class_colour(-1)),
    }  # fmt: skip


def test_a_large_cloud_is_thinned_and_open_from_above() -> None:
    cloud = room(0, 0, points=30_000)
    fig = clouds.cloud_figure(cloud, {"a": cloud.labels, "b": cloud.labels}, colour="rgb")
    traces = markers(fig)
    assert [len(trace.x) for trace in traces] == [DRAWN // 2] * 2
    assert traces[0].z.max() < cloud.xyz[:, 2].max() - 0.2
    assert np.array_equal(clouds.thinned(10), np.arange(10))
    assert clouds.inside(np.zeros((4, 3))).all()


def test_what_a_colouring_needs_has_to_be_there() -> None:
    for more in ({"colour": "verdict"}, {"colour": "rgb"}, {"colour": "heat"}):
        with pytest.raises(ValueError, match=r"truth, rgb|colour, panels"):
            clouds.clouds_figure(np.zeros((2, 3)), {"a": np.zeros(2, int)}, ["x", "y"], **more)
    with pytest.raises(ValueError, match="colour, panels"):
        clouds.clouds_figure(np.zeros((2, 3)), {}, ["x", "y"])


def test_a_run_is_replayed_and_its_points_explained(timeline: Timeline) -> None:
    run = timeline
    last = run.epochs
    fig = replayed.replay_figure(run, 0, last, middle="what the network said", sized=True)
    assert [note.text for note in fig.layout.annotations][1] == f"what the network said, epoch {last}"
    for kind, points in replayed.examples(run, 0, last).items():
        found = replayed.another(run, 0, last, kind, -1)
        assert found == (points[0] if points else None)
    given, truth, now = run.given[0], run.truth[0], run.labels(0, last)
    wrong = replayed.examples(run, 0, last)["wrong label, mended"]
    assert sorted(wrong) == np.flatnonzero((given != truth) & (now == truth) & (truth >= 0)).tolist()
    votes = replayed.point_figure(run, 0, last, 0).data[-1]
    assert sum(votes.x) == run.votes(0, last, 0).sum()
    cluster = replayed.cluster_figure(run, 0, last, 0)
    large = [trace for trace in cluster.data if (trace.name or "").startswith("its cluster")]
    assert sum(len(trace.x) for trace in large) == (run.cluster[0] == run.cluster[0, 0]).sum()
    with pytest.raises(ValueError, match="middle: expected one of"):
        replayed.replay_figure(run, 0, 1, middle="nothing")
    with pytest.raises(ValueError, match="room: expected one of"):
        replayed.Run(run, {}, "", 1).place("cellar")
