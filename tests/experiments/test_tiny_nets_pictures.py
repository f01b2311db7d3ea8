"""A picture before tiny networks: those that ship are found by their cards, and say what they say in Python."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from visionlab import weights
from visionlab.experiments import tiny_nets_pictures as pictures
from visionlab.experiments.mobile_former_probe import Cuts, answer
from visionlab.measure.cost import multiply_adds, parameters
from visionlab.show.bridge_words import no_cuts

TILES = "satellite tiles"


@pytest.fixture
def with_former(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Weights of a Mobile-Former beside those of a CSWin, and no others."""
    for path in weights.folder().glob("cswin_nano_eurosat.*"):
        shutil.copy(path, tmp_path)
    own = replace(
        weights.card("cswin_nano_eurosat"), name="mobile_former_nano_eurosat", kwargs={},
        network="visionlab.backbones.mobile_former_nano:nano_network", metrics={},
    )  # fmt: skip
    torch.manual_seed(0)
    network = own.build().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1 if parameter.ndim == 1 else 6)  # else all probabilities are alike
    weights.write(own, network, tmp_path)
    monkeypatch.setattr(weights, "folder", lambda: tmp_path)
    forget()
    yield own.name
    forget()


def forget() -> None:
    for cached in (pictures.shipped, pictures.predictor, pictures._cost):
        cached.cache_clear()


def test_networks_are_found_by_their_cards() -> None:
    for kind, data in pictures.KINDS.items():
        found = pictures.shipped(kind)
        assert "CSWin" in found
        assert set(found) <= {"MicroNet", "Mobile-Former", "CSWin"}
        for name in found.values():
            assert weights.card(name).data == data
    with pytest.raises(ValueError, match="kind: expected one of satellite tiles, scenes of the world; got 'cats'"):
        pictures.shipped("cats")


def test_new_weights_take_part(with_former: str) -> None:
    assert pictures.shipped(TILES) == {"Mobile-Former": with_former, "CSWin": "cswin_nano_eurosat"}
    assert pictures.shipped("scenes of the world") == {}
    assert pictures.token_networks() == {TILES: with_former}
    assert pictures.blocks_and_tokens(TILES) == (7, 3)


def test_answers_are_those_of_the_networks(with_former: str) -> None:
    image = pictures.examples()["satellite: River"]
    found = pictures.classify(image, TILES)
    for title, name in pictures.shipped(TILES).items():
        own, said = weights.load(name), found[title]
        expected = own.probabilities(image)[0]
        assert list(said.probabilities) == list(own.classes)
        torch.testing.assert_close(torch.tensor(list(said.probabilities.values())), expected)
        assert said.milliseconds > 0
        x = torch.zeros(1, 3, own.size, own.size)
        assert (said.cost.parameters, said.cost.counted) == (parameters(own.model), multiply_adds(own.model, x))
    rows = pictures.answer_rows(found)
    assert [row[:2] for row in rows] == [["Mobile-Former", TILES], ["CSWin", TILES]]
    assert rows[1][2].startswith("River (")
    assert rows[0][-1] == ""
    assert rows[1][-1] == "77.7"
    assert found["Mobile-Former"].cost.dynamic > 0 == found["CSWin"].cost.dynamic


def test_tokens_are_looked_at_and_cut(with_former: str) -> None:
    image = pictures.examples()["satellite: River"]
    own = weights.load(with_former)
    whole = pictures.tokens(image, TILES, no_cuts())
    assert whole.before == whole.after
    np.testing.assert_allclose(list(whole.before.values()), own.probabilities(image)[0], rtol=1e-5)
    np.testing.assert_allclose(whole.image, image.permute(1, 2, 0), atol=1e-6)
    assert len(whole.views) == 7
    cut = pictures.tokens(image, TILES, no_cuts() | {"writing": True, "silent": (1,)})
    expected = answer(own.model, own.prepare(image), Cuts(writing=True, silent=(1,)))[0]
    np.testing.assert_allclose(list(cut.after.values()), expected, rtol=1e-5)
    assert cut.before == whole.before
    assert cut.after != whole.after
    assert cut.views[0].hears is None
    assert pictures.tokens(image, TILES, no_cuts()).after == whole.after, "the network is whole again"


def test_impossible_cuts_and_unknown_networks_are_refused(with_former: str) -> None:
    image = torch.rand(3, 20, 30)
    with pytest.raises(ValueError, match="silent: one of the 3 tokens has to be heard"):
        pictures.tokens(image, TILES, no_cuts() | {"silent": (0, 1, 2)})
    with pytest.raises(ValueError, match="network: expected one of satellite tiles; got 'scenes of the world'"):
        pictures.tokens(image, "scenes of the world", no_cuts())


def test_examples_are_named_by_what_they_show() -> None:
    found = pictures.examples()
    assert all(image.ndim == 3 and image.min() >= 0 and image.max() <= 1 for image in found.values())
    assert {name.split(":")[0] for name in found} == {"satellite", "world", "a cat", "a rocket"}
