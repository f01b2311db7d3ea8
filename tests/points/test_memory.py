from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from visionlab.points.pnal import Cleaning, LabelMemory

GOLDENS = Path(__file__).parents[1] / "goldens"


def memory_of(golden: dict[str, Any]) -> LabelMemory:
    inputs = golden["inputs"]
    memory = LabelMemory(torch.tensor(inputs["cluster"]), golden["classes"], slots=golden["history_length"])
    memory.history = torch.tensor(inputs["history"], dtype=torch.int8)
    memory.counter = torch.tensor(inputs["enqueued_so_far"], dtype=torch.int32)
    return memory


def ids_of(step: dict[str, Any], n: int) -> torch.Tensor:
    return torch.arange(n) if isinstance(step["ids"], str) else torch.tensor(step["ids"])


@pytest.mark.parametrize("name", ["first", "sparse"])
def test_the_rule_first_is_the_published_one_over_several_calls(name: str) -> None:
    golden = json.loads((GOLDENS / f"pnal_correction_{name}_open.json").read_text())
    memory = memory_of(golden)
    cleaning = Cleaning(slots=golden["history_length"], gamma=golden["threshold"], rule="first")
    for step in golden["steps"]:
        ids = ids_of(step, golden["points"])
        labels = memory.correct(ids, cleaning, losses=torch.tensor(step["loss"], dtype=torch.float64))
        assert memory.corrected.tolist() == step["corrected_labels_after"]
        assert (labels >= 0).int()[ids.argsort()].tolist() == step["selected"]
        memory.record(ids, torch.tensor(step["predictions_enqueued_after"]))
        assert memory.history.tolist() == step["history_after"]


@pytest.mark.parametrize("name", ["first", "sparse", "vote"])
def test_the_majority_is_chained_over_the_steps(name: str) -> None:
    golden = json.loads((GOLDENS / f"pnal_correction_{name}_open.json").read_text())
    memory = memory_of(golden)
    cleaning = Cleaning(slots=golden["history_length"], gamma=golden["threshold"])
    for step in golden["steps"]:
        ids = ids_of(step, golden["points"])
        memory.correct(ids, cleaning)
        assert memory.corrected.tolist() == step["majority_after"]
        memory.record(ids, torch.tensor(step["predictions_enqueued_after"]))


def test_votes_fall_on_published_winners() -> None:
    golden = json.loads((GOLDENS / "pnal_correction_vote_open.json").read_text())
    memory = memory_of(golden)
    cleaning = Cleaning(gamma=golden["threshold"], rule="vote", divisor=golden["threshold_voting"])
    for number, step in enumerate(golden["steps"]):
        ids = ids_of(step, golden["points"])
        memory.correct(ids, cleaning, generator=torch.Generator().manual_seed(number))
        for vote in step["votes"]:
            inside = ids[memory.cluster[ids] == vote["cluster"]]
            assert len(memory.corrected[inside].unique()) == 1
            assert int(memory.corrected[inside[0]]) in vote["winners"]
        memory.corrected = torch.tensor(step["corrected_labels_after"], dtype=torch.int8)
        memory.record(ids, torch.tensor(step["predictions_enqueued_after"]))


def test_all_slots_are_the_published_threshold() -> None:
    share = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    for classes in (4, 13):
        assert Cleaning().trusted(share, classes).equal(Cleaning(gamma=0.001).trusted(share, classes))
    assert Cleaning(gamma=0.1).trusted(share, 13).tolist() == [False, False, False, True, True]
    assert Cleaning(share=0.75).trusted(share, 13).tolist() == [False, False, False, True, True]
    assert not Cleaning(gamma=9.0).trusted(share[:1], 13).item(), "no history is no confidence"


def test_labels_stay_until_their_cluster_votes_again() -> None:
    memory = LabelMemory(torch.tensor([0, 0, 1, 1]), 3, slots=2)
    everyone = torch.arange(4)
    for predicted in ([1, 0, 2, 2], [1, 1, 2, 0]):
        memory.record(everyone, torch.tensor(predicted))
    assert memory.predicted.tolist() == [1, 1, 2, 0]
    cleaning = Cleaning(slots=2)
    assert memory.correct(everyone, cleaning).tolist() == [1, 1, 2, 2]
    memory.record(everyone, torch.tensor([0, 2, 0, 0]))
    assert memory.correct(everyone, cleaning).tolist() == [1, 1, 0, 0]
    assert memory.correct(torch.tensor([1]), cleaning).tolist() == [1]


def test_only_the_points_of_a_call_vote_and_change() -> None:
    memory = LabelMemory(torch.zeros(4, dtype=torch.long), 3, slots=1)
    memory.record(torch.arange(4), torch.tensor([2, 2, 2, 0]))
    assert memory.correct(torch.tensor([3, 0]), Cleaning(slots=1)).tolist() == [0, 0], "a tie: the smaller class"
    assert memory.corrected.tolist() == [0, -1, -1, 0]


def test_a_state_is_taken_back() -> None:
    memory = LabelMemory(torch.tensor([5, 5, 7]), 4, keep=True)
    memory.record(torch.arange(3), torch.tensor([1, 2, 3]))
    memory.end_epoch({"test": 1.0})
    again = LabelMemory(torch.tensor([5, 5, 7]), 4, keep=True)
    again.load_state_dict(memory.state_dict())
    assert again.predicted.tolist() == [1, 2, 3]
    assert again.rows == [{"test": 1.0}]
    assert again.predicted_by_epoch[0].tolist() == [1, 2, 3]
    other = LabelMemory(torch.tensor([5, 7]), 4)
    with pytest.raises(ValueError, match="history: expected \\(2, 4\\)"):
        other.load_state_dict(memory.state_dict())


def test_bad_settings_are_named() -> None:
    for settings, message in (
        ({"warmup": -1}, "warmup"),
        ({"slots": 0}, "slots"),
        ({"rounds": 0}, "rounds: expected 1 or more, or None, got 0"),
        ({"share": 0.0}, "share: expected more than 0"),
        ({"rule": "most"}, "rule"),
        ({"unselected": "forget"}, "unselected"),
    ):
        with pytest.raises(Exception, match=message):
            Cleaning(**settings)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cluster, classes"):
        LabelMemory(torch.zeros(0, dtype=torch.long), 4)
    with pytest.raises(ValueError, match="cluster, classes"):
        LabelMemory(torch.zeros(4, dtype=torch.long), 128)
