"""The weights that ship: what their cards say holds, and a wrong file is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from visionlab import weights
from visionlab.data.images import load
from visionlab.experiments import ship
from visionlab.experiments.cswin_puzzles import same_colour_under
from visionlab.experiments.experiment import Job, find
from visionlab.experiments.small_images import shapes_of
from visionlab.train.checkpoint import CheckpointError


@pytest.mark.parametrize("name", weights.names())
def test_every_card_is_complete_and_can_be_made_again(name: str) -> None:
    card, recipe = weights.card(name), ship.recipes()[name]
    assert all(getattr(card, field) for field in ("classes", "licence", "commit", "metrics", "sha256"))
    for field in ("network", "classes", "size", "mean", "std", "experiment", "preset", "variant", "data", "seed"):
        assert getattr(card, field) == getattr(recipe, field)
    assert json.dumps(card.kwargs) == json.dumps(recipe.kwargs)
    experiment = find(card.experiment)
    assert card.variant in experiment.variants
    assert card.data in experiment.data
    experiment.preset(card.preset)


def test_every_recipe_ships() -> None:
    assert sorted(ship.recipes()) == weights.names()


def test_all_together_stay_small() -> None:
    assert sum(path.stat().st_size for path in weights.folder().glob("*.safetensors")) < 40e6


def test_the_eurosat_network_reaches_what_its_card_says() -> None:
    predictor = weights.load("cswin_nano_eurosat")
    images, labels = load("eurosat_mini", "test").tensors()
    assert predictor.classes == load("eurosat_mini", "test").classes
    found = torch.cat([predictor.probabilities(part).argmax(dim=1) for part in images.split(200)])
    accuracy = 100 * (found == labels).double().mean().item()
    assert accuracy == pytest.approx(weights.card("cswin_nano_eurosat").metrics["accuracy (%)"], abs=0.5)


def test_the_world_network_reaches_what_its_card_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VISIONLAB_CACHE", str(tmp_path))
    card, predictor = weights.card("cswin_nano_world"), weights.load("cswin_nano_world")
    experiment = find(card.experiment)
    job = Job(card.variant, card.seed, experiment.preset(card.preset), card.data, device="cpu")
    images, labels = shapes_of(job, "test", 400)
    found = torch.cat([predictor.model(part).argmax(dim=1) for part in images.split(200)])
    accuracy = 100 * (found == labels).double().mean().item()
    # On the first 400 of its 1,000 test scenes: three standard errors.
    assert accuracy == pytest.approx(card.metrics["accuracy (%)"], abs=7)


@pytest.mark.parametrize("mechanism", ["axial", "global"])
def test_the_flat_networks_answer_at_the_coloured_cells(mechanism: str) -> None:
    model = weights.load(f"flat_{mechanism}_same_colour").model
    assert same_colour_under(model, cells=8, noise=0.3) == 100


def test_a_changed_missing_or_foreign_file_is_refused(tmp_path: Path) -> None:
    name = weights.names()[0]
    for suffix in (".json", ".safetensors"):
        shutil.copy(weights.folder() / (name + suffix), tmp_path)
    file = tmp_path / f"{name}.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="is not the file of its card"):
        weights.load(name, tmp_path)
    file.write_bytes(content[:1000])
    with pytest.raises(CheckpointError, match="1000 bytes"):
        weights.load(name, tmp_path)
    file.unlink()
    with pytest.raises(CheckpointError, match="0 bytes"):
        weights.load(name, tmp_path)
    (tmp_path / f"{name}.json").write_text("{}")
    with pytest.raises(ValueError, match=r"the card .* cannot be read"):
        weights.load(name, tmp_path)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'cswin_nano_eurosat'"):
        weights.load("cswin_nano_eurosta")
    with pytest.raises(ValueError, match="weights: no recipe for 'nothing'"):
        ship.train("nothing")


def test_what_is_written_can_be_loaded(tmp_path: Path) -> None:
    recipe = next(iter(ship.recipes().values()))
    card = weights.write(recipe, recipe.build(), tmp_path)
    predictor = weights.load(card.name, tmp_path)
    assert len(predictor(torch.rand(3, 80, 100))[0]) == 5
