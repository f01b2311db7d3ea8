"""The predictor: any image in, named scores out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform
from torch import nn
from torchvision.transforms.functional import to_pil_image

from visionlab import weights
from visionlab.data.images import photograph
from visionlab.predictor import Predictor


def means() -> Predictor:
    """A predictor whose network returns the mean of each normalised channel."""

    class Means(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.scale * x.mean(dim=(2, 3))

    return Predictor(Means(), ("red", "green", "blue"), 32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def test_scores_carry_the_names_of_the_classes_best_first() -> None:
    image = torch.zeros(3, 40, 50)
    image[1] = 1.0
    (scores,) = means()(image)
    assert next(iter(scores)) == "green"
    assert sum(scores.values()) == pytest.approx(1)
    assert len(means()(image, top=2)[0]) == 2


def test_preparing_agrees_with_timms_evaluation() -> None:
    photo = photograph("chelsea")
    predictor = weights.load("cswin_nano_eurosat")
    transform = create_transform(
        (3, 64, 64), interpolation="bicubic", crop_pct=1.0, mean=predictor.mean, std=predictor.std
    )
    ours, theirs = predictor.prepare(photo)[0], transform(to_pil_image(photo))
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().mean() < 0.02


def test_an_image_of_the_right_size_is_only_normalised() -> None:
    image = torch.rand(2, 3, 32, 32)
    assert torch.equal(means().prepare(image), (image - 0.5) / 0.25)


def test_one_image_is_a_batch_of_one_and_batches_do_not_mix() -> None:
    predictor, images = weights.load("cswin_nano_eurosat"), torch.rand(3, 3, 70, 90)
    whole = predictor.probabilities(images)
    assert torch.allclose(predictor.probabilities(images[1]), whole[1:2], atol=1e-5)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.zeros(1, 40, 40), r"images: expected \(B, 3, H, W\) or \(3, H, W\), got shape \(1, 1, 40, 40\)"),
        (torch.zeros(2, 2, 3, 40, 40), "images: expected"),
        (torch.zeros(0, 3, 4, 4), "images: expected"),
        (255 * torch.ones(3, 40, 40), r"images: expected values in \[0, 1\], got \[255, 255\]"),
        (torch.full((3, 40, 40), float("nan")), r"images: expected values in \[0, 1\]"),
    ],
)
def test_other_input_is_refused_in_words(image: torch.Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        means()(image)


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (np.zeros((3, 40, 40), np.float32), "ndarray"),
        (Image.new("RGB", (40, 40)), "Image"),
        ([[0.0]], "list"),
    ],
    ids=["numpy", "PIL", "list"],
)
def test_what_is_no_tensor_is_refused_in_words(image: object, kind: str, as_users_run_it: None) -> None:
    for call in (means(), means().probabilities, means().prepare):
        with pytest.raises(TypeError) as refused:
            call(image)
        assert str(refused.value) == (
            f"images: expected a float tensor (3, H, W) or (B, 3, H, W) in [0, 1], got {kind}"
        )


@pytest.mark.parametrize("top", [-1, 0])
def test_too_few_classes_are_refused(top: int) -> None:
    with pytest.raises(ValueError, match=f"top: expected a whole number >= 1, got {top}"):
        means()(torch.zeros(3, 40, 40), top=top)


def test_a_network_that_answers_at_each_place_has_no_single_answer() -> None:
    predictor = weights.load("mobile_former_majority")
    words = r"got shape \(1, 16, 16, 2\); `\.probabilities\(images\)` gives the answers for each place"
    with pytest.raises(ValueError, match=words):
        predictor(torch.rand(3, 32, 32))
    assert torch.allclose(predictor.probabilities(torch.rand(3, 32, 32)).sum(-1), torch.ones(1, 16, 16))


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"checkpoint: there is no file .*nowhere\.pth"):
        Predictor.from_timm("cswin_tiny_224", classes=("a", "b"), checkpoint=tmp_path / "nowhere.pth")


def test_registered_networks_become_predictors() -> None:
    predictor = Predictor.from_timm(
        "cswin_tiny_224", classes=("a", "b"), depths=(1, 1, 1, 1), dim=8, heads=(2, 2, 2, 2)
    )
    assert predictor.size == 224
    assert set(predictor(torch.rand(3, 100, 120))[0]) == {"a", "b"}
