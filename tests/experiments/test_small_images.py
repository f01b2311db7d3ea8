"""What experiments on small images share: folders of tiles, accuracy and loss."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.data.small_images import write
from tests.experiments.scaled import small
from visionlab.experiments.experiment import Job, find
from visionlab.experiments.small_images import EUROSAT_CLASSES, accuracy, classify_loss, images_of


@pytest.mark.parametrize(
    ("name", "variant"),
    [("cswin/eurosat", "cswin"), ("micronet/ingredients", "MicroNet"), ("mobile_former/tokens", "1 token")],
)
def test_experiments_on_tiles_run_on_any_folder_of_the_same_form(name: str, variant: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split, number in (("train", 2), ("test", 1)):
        for i, kind in enumerate(EUROSAT_CLASSES):
            for j in range(number):
                # Each class has a brightness of its own; tiles of other sizes are brought to 64 pixels.
                tile = rng.integers(20 * i, 20 * i + 60, (48, 80, 3), dtype=np.uint8)
                write(tmp_path / split / kind / f"{j}.png", tile)
    experiment = find(name)
    outcome = experiment.measure(Job(variant, 0, small(experiment.preset("gpu")), str(tmp_path), "cpu"))
    assert outcome.metrics["accuracy (%)"] in [10 * n for n in range(11)]
    images, labels = images_of(str(tmp_path), "train")
    assert images.shape == (20, 3, 64, 64)
    assert labels.tolist() == [i for i in range(10) for _ in range(2)]
    low, high = ((images[labels == i] * 0.225 + 0.45).mean().item() * 255 for i in (0, 9))
    assert low == pytest.approx(29.5, abs=8)
    assert high == pytest.approx(209.5, abs=8)


def test_accuracy_is_the_share_of_right_answers() -> None:
    class Threshold(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.anything = nn.Parameter(torch.zeros(1))

        def forward(self, images: Tensor) -> Tensor:
            bright = images.mean(dim=(1, 2, 3)) > 0.5
            return torch.stack([~bright, bright], dim=1).float()

    images = torch.linspace(0, 1, 600).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    labels = (torch.arange(600) >= 450).long()
    assert accuracy(Threshold(), images, labels) == pytest.approx(75)
    loss, values = classify_loss(Threshold(), (images, labels), smoothing=0.1)
    assert values["accuracy"].item() == pytest.approx(75)
    # Logits are 1 and 0; of each label, a tenth of its weight is shared by both classes.
    right, wrong = math.log(1 + math.exp(-1)), math.log(1 + math.e)
    expected = [0.95 * hit + 0.05 * miss for hit, miss in ((right, wrong), (wrong, right))]
    assert loss.item() == pytest.approx(0.75 * expected[0] + 0.25 * expected[1], rel=1e-5)
