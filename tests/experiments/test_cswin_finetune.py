"""Fine-tuning on a folder of pictures: it learns, it is kept, and it says where published weights belong."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from visionlab.experiments.cswin_finetune import FINETUNE, predictor_for, published_file, sets_of
from visionlab.experiments.experiment import Job


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of two kinds, of several sizes: smooth and striped ones."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for i in range(12):
        for kind in ("smooth", "striped"):
            height, width = rng.integers(50, 90, 2)
            shade = rng.integers(60, 190, 3)
            picture = np.ones((height, width, 1)) * shade
            if kind == "striped":
                picture = picture + 60 * np.sign(np.sin(np.arange(width) * 0.8))[None, :, None]
            (folder / kind).mkdir(exist_ok=True)
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / kind / f"{i:02d}.png")
    return folder


def quick(steps: int) -> Any:
    preset = FINETUNE.preset("quick")
    recipe = dataclasses.replace(preset.recipe, steps=steps, warmup=2, batch=8)
    return dataclasses.replace(preset, recipe=recipe)


def test_a_folder_is_divided_once_and_for_all(pictures: Path) -> None:
    whole, learn, test = sets_of(str(pictures), 32)
    assert len(whole) == 24 and len(learn) == 20 and len(test) == 4
    assert sorted([*learn.indices, *test.indices]) == list(range(24))
    assert sorted(int(whole.labels[i]) for i in test.indices) == [0, 0, 1, 1]
    assert sets_of(str(pictures), 32)[2].indices == test.indices


def test_the_small_network_learns_a_folder(pictures: Path) -> None:
    outcome = FINETUNE.measure(Job("cswin_nano_eurosat", 0, quick(30), str(pictures), device="cpu"))
    assert outcome.metrics["accuracy (%)"] == 100
    assert outcome.network.head.out_features == 2


def test_a_folder_smaller_than_a_batch_is_one_batch(pictures: Path) -> None:
    preset = dataclasses.replace(quick(3), recipe=dataclasses.replace(quick(3).recipe, batch=32))
    assert FINETUNE.measure(Job("cswin_nano_eurosat", 0, preset, str(pictures), device="cpu")).history


def test_a_run_on_a_folder_is_kept_and_found_again(pictures: Path, tmp_path: Path) -> None:
    experiment = dataclasses.replace(FINETUNE, presets={"quick": quick(3)})
    run = {"data": str(pictures), "device": "cpu", "folder": tmp_path}
    first = experiment.run("quick", **run)
    (kept,) = tmp_path.glob("*.json")
    written = kept.stat().st_mtime_ns
    assert experiment.run("quick", **run).rows == first.rows
    assert kept.stat().st_mtime_ns == written
    Image.new("RGB", (60, 60), "red").save(pictures / "smooth" / "new.png")
    try:
        assert experiment.run("quick", **run).seconds != first.seconds
        assert len(list(tmp_path.glob("*.json"))) == 2
    finally:
        (pictures / "smooth" / "new.png").unlink()


def test_published_weights_are_read_from_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISIONLAB_DATA", str(tmp_path))
    with pytest.raises(
        FileNotFoundError,
        match=rf"fetch https://github.com/.*/cswin_tiny_224.pth and put it at {re.escape(str(tmp_path))}",
    ):
        published_file("cswin_tiny_224")
    torch.manual_seed(0)
    network = timm.create_model("cswin_tiny_224")
    (tmp_path / "weights").mkdir()
    torch.save({"state_dict_ema": network.state_dict()}, tmp_path / "weights" / "cswin_tiny_224.pth")
    found = predictor_for("cswin_tiny_224", ("a", "b", "c"), drop_path=0.2)
    assert (found.size, found.classes) == (224, ("a", "b", "c"))
    for (name, ours), theirs in zip(found.model.state_dict().items(), network.state_dict().values(), strict=True):
        assert name.startswith("head.") or torch.equal(ours, theirs), name
    rates = [block.drop_path.drop_prob for stage in found.model.stages for block in stage.blocks]
    assert rates == pytest.approx([0.2 * i / 24 for i in range(25)])
    assert all(parameter.requires_grad for parameter in found.model.parameters())


def test_the_gpu_preset_runs_from_published_weights(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISIONLAB_DATA", str(tmp_path))
    (tmp_path / "weights").mkdir()
    torch.save({"state_dict_ema": timm.create_model("cswin_tiny_224").state_dict()},
               tmp_path / "weights" / "cswin_tiny_224.pth")  # fmt: skip
    preset: Any = FINETUNE.preset("gpu")
    recipe = dataclasses.replace(preset.recipe, steps=2, warmup=1, batch=2)
    (variant,) = preset.variants
    few = dataclasses.replace(preset, recipe=recipe, workers=0)
    outcome = FINETUNE.measure(Job(variant, 0, few, str(pictures), device="cpu"))
    assert 0 <= outcome.metrics["accuracy (%)"] <= 100
    assert outcome.history[-1]["step"] == 2


@pytest.mark.usefixtures("as_users_run_it")
def test_data_that_cannot_be_learnt_from_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="data: cswin/finetune runs on eurosat_mini, or a folder, got 'nowhere'"):
        FINETUNE.run("quick", data="nowhere")
    for kind in ("a", "b"):
        (tmp_path / kind).mkdir()
        Image.new("RGB", (40, 40)).save(tmp_path / kind / "1.png")
    with pytest.raises(ValueError, match=r"data: .* has no test split, and fewer than five pictures of every class"):
        FINETUNE.run("quick", data=str(tmp_path), device="cpu")
