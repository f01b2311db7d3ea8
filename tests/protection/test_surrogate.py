from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from visionlab.protection.surrogate import (
    AUGMENTATIONS,
    LOSSES,
    RECIPE,
    Augmentation,
    erased,
    fine_tuned,
    pruned,
    train_surrogate,
)
from visionlab.protection.surrogate_networks import SurrogatePlain, SurrogateUNet
from visionlab.protection.tasks import answers
from visionlab.train import checkpoint
from visionlab.train.loop import Recipe
from visionlab.train.randomness import seeded

SHORT = Recipe(steps=25, batch=4, learning_rate=3e-3, warmup=5, weight_decay=0.0)


def seeded_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photographs(n: int = 16, side: int = 32) -> torch.Tensor:
    return torch.rand(n, 3, side, side, generator=seeded_generator())


def tiny(seed: int = 0) -> nn.Module:
    with seeded(seed):
        return SurrogatePlain(4, dilations=(1,))


def ramps(n: int, side: int = 32) -> torch.Tensor:
    """Images whose first channel is the column and whose second is the row, from 0 to 1."""
    line = torch.linspace(0, 1, side)
    x, y = line.expand(side, side), line[:, None].expand(side, side)
    return torch.stack([x, y, x * 0 + 0.5]).expand(n, -1, -1, -1)


# --- Augmentation -----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(
    st.floats(0, 180), st.floats(0.3, 1), st.floats(0.3, 1), st.floats(0, 1),
    st.tuples(st.integers(8, 40), st.integers(8, 40)), st.integers(0, 1000),
)  # fmt: skip
def test_a_pair_is_moved_as_one(
    rotation: float, one: float, two: float, flip: float, size: tuple[int, int], seed: int
) -> None:
    """Whatever is true of the values at a place before is true after: here, output = 1 - input / 2."""
    augmentation = Augmentation(rotation=rotation, crop=(min(one, two), max(one, two)), flip=flip)
    inputs = torch.rand(4, 3, *size, generator=seeded_generator(seed))
    a, b = augmentation(inputs, 1 - inputs / 2, generator=seeded_generator(seed))
    assert a.shape == inputs.shape
    torch.testing.assert_close(b, 1 - a / 2, atol=1e-5, rtol=0)
    assert a.min() >= inputs.min() - 1e-5  # reflections come in at the border, no black
    assert a.max() <= inputs.max() + 1e-5


def test_no_augmentation_is_the_identity_to_the_bit() -> None:
    inputs, outputs = photographs(), photographs().flip(0)
    a, b = AUGMENTATIONS["none"](inputs, outputs, generator=seeded_generator())
    assert torch.equal(a, inputs)
    assert torch.equal(b, outputs)


def test_each_pair_has_its_own_draw_and_the_seed_decides_it() -> None:
    same = photographs(1).expand(30, -1, -1, -1)
    a, _ = AUGMENTATIONS["all"](same, same, generator=seeded_generator())
    again, _ = AUGMENTATIONS["all"](same, same, generator=seeded_generator())
    assert torch.equal(a, again)
    assert len({image.numpy().tobytes() for image in a}) == 30


def test_flips_are_one_in_two_and_exact() -> None:
    images = photographs(200, 8)
    a, _ = AUGMENTATIONS["flip"](images, images, generator=seeded_generator())
    mirrored = (a - images.flip(-1)).abs().amax((1, 2, 3)) < 1e-5
    kept = (a - images).abs().amax((1, 2, 3)) < 1e-5
    assert (mirrored ^ kept).all()
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.1)


def test_crops_keep_six_tenths_of_the_side_to_all_of_it_at_any_place() -> None:
    a, _ = AUGMENTATIONS["crop"](ramps(300), ramps(300), generator=seeded_generator())
    first, last = a[:, 0, 0, 0], a[:, 0, 0, -1]
    kept = last - first
    assert kept.min() > 0.57  # the corner pixels' centres lie a little inside the crop
    assert kept.max() <= 1
    assert kept.mean().item() == pytest.approx(0.8, abs=0.03)
    share = (first / (1 - kept))[kept < 0.8]
    assert share.min() < 0.1
    assert share.max() > 0.9
    top = a[:, 1, 0, 0]
    assert torch.corrcoef(torch.stack([first, top]))[0, 1] < 0.8  # not only along the diagonal


def test_rotations_go_up_to_30_degrees_either_way() -> None:
    a, _ = AUGMENTATIONS["rotation"](ramps(300), ramps(300), generator=seeded_generator())
    right, down = a[:, 0, 16, 17] - a[:, 0, 16, 16], a[:, 0, 17, 16] - a[:, 0, 16, 16]
    angle = torch.atan2(down, right).rad2deg()
    assert angle.abs().max() <= 30.1
    assert angle.max() > 27
    assert angle.min() < -27


# --- Training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_a_short_training_lowers_each_loss(loss: str) -> None:
    inputs = photographs()
    with seeded(0):
        network = SurrogateUNet(8)
        features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3)).eval()
    before = copy.deepcopy(features.state_dict())
    run = train_surrogate(
        network, inputs, inputs * 0.6, SHORT, loss=loss, augmentation=AUGMENTATIONS["all"], features=features, seed=0
    )
    assert run.model is network
    name = next(iter(LOSSES[loss]))
    values = [row[name] for row in run.history]
    assert sum(values[-4:]) < 0.7 * sum(values[:4])
    assert run.history[-1]["PSNR (dB)"] > run.history[0]["PSNR (dB)"]
    assert set(LOSSES[loss]) <= set(run.history[0])
    assert all(torch.equal(value, before[key]) for key, value in features.state_dict().items())
    assert all(weight.grad is None for weight in features.parameters())


def test_a_run_that_was_killed_ends_as_one_that_was_not(tmp_path: Path) -> None:
    inputs = photographs(6, 8)
    settings = {"augmentation": AUGMENTATIONS["all"], "seed": 3}
    recipe = Recipe(steps=103, batch=2, learning_rate=3e-3, weight_decay=0.0)

    def killed(step: int, steps: int, values: dict[str, float]) -> None:
        if step == 102:
            raise KeyboardInterrupt

    whole = train_surrogate(tiny(), inputs, inputs / 2, recipe, **settings).model  # type: ignore[arg-type]
    file = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        train_surrogate(tiny(), inputs, inputs / 2, recipe, hook=killed, checkpoint=file, **settings)  # type: ignore[arg-type]
    run = train_surrogate(tiny(9), inputs, inputs / 2, recipe, checkpoint=file, **settings)  # type: ignore[arg-type]
    assert run.history[-1]["step"] == 103
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, whole.state_dict()[name]), name


def test_a_checkpoint_holds_the_discriminator_as_well(tmp_path: Path) -> None:
    inputs, file = photographs(4), tmp_path / "run.pt"
    recipe = Recipe(steps=2, batch=2, learning_rate=3e-3, weight_decay=0.0)
    for seed in (0, 9):
        run = train_surrogate(tiny(seed), inputs, inputs / 2, recipe, loss="L2 + adversarial", seed=0, checkpoint=file)
        weights = run.model.state_dict()
        if seed == 0:
            first = copy.deepcopy(weights)
    assert all(torch.equal(value, first[name]) for name, value in weights.items())
    assert any(name.startswith("discriminator.") for name in checkpoint.read(file)["model"])


def test_the_seed_decides_the_run_and_few_queries_are_enough_to_start() -> None:
    inputs = photographs(3, 8)
    first, again, other = (
        train_surrogate(tiny(), inputs, 1 - inputs, SHORT, seed=seed).model(inputs) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_any_module_is_a_surrogate() -> None:
    inputs = photographs(8, 16)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 1))
    run = train_surrogate(network, inputs, inputs, SHORT, seed=0)
    assert answers(run.model, inputs).shape == inputs.shape


def test_the_usual_recipe_is_that_of_the_study() -> None:
    assert (RECIPE.steps, RECIPE.batch, RECIPE.learning_rate) == (500, 64, 3e-3)


# --- Circumventions ---------------------------------------------------------------------------------------------------


def test_fine_tuning_learns_the_new_pairs_and_leaves_the_surrogate_as_it_was() -> None:
    inputs = photographs(8, 8)
    network = tiny()
    before = network(inputs).detach()
    changed = fine_tuned(network, inputs, inputs * 0.6, SHORT, seed=0)
    assert torch.equal(network(inputs), before)
    assert (changed(inputs) - inputs * 0.6).square().mean() < 0.7 * (before - inputs * 0.6).square().mean()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_pruning_sets_the_share_of_least_weights_to_zero(share: float) -> None:
    with seeded(0):
        network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 4, 2), nn.Linear(10, 10))
    before = copy.deepcopy(network.state_dict())
    found = pruned(network, share)
    assert found.state_dict().keys() == before.keys()
    for name, value in found.state_dict().items():
        assert torch.equal(network.state_dict()[name], before[name])
        if value.ndim < 2:
            assert torch.equal(value, before[name])
            continue
        gone = value == 0
        assert gone.sum() == round(share * value.numel())
        assert torch.equal(value[~gone], before[name][~gone])
        if 0 < share < 1:
            assert before[name][gone].abs().max() <= before[name][~gone].abs().min()


# --- What makes no sense ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"outputs": torch.rand(4, 3, 16, 8)}, r"outputs: expected \(4, 3, 16, 16\), as inputs, got \(4, 3, 16, 8\)"),
        ({"outputs": torch.rand(3, 3, 16, 16)}, r"outputs: expected \(4, 3, 16, 16\), as inputs, got \(3, 3, 16, 16\)"),
        ({"inputs": torch.rand(0, 3, 16, 16)}, r"inputs: expected \(B, 3, H, W\), some, .* got \(0, 3, 16, 16\)"),
        ({"inputs": torch.rand(4, 1, 16, 16)}, r"inputs: expected \(B, 3, H, W\), some, .* got \(4, 1, 16, 16\)"),
        ({"loss": "L3"}, r"loss: expected one of L1, L2, .*; got 'L3'"),
        ({"loss": "perceptual + adversarial"}, "features: 'perceptual .* needs a function from images to features"),
        ({"loss": "L1 + adversarial"}, r"inputs: 'L1 .* needs sides of 32 pixels or more, got 16 x 16"),
        ({"network": nn.Conv2d(3, 3, 3)}, r"network: expected answers of shape \(4, 3, 16, 16\), got \(4, 3, 14, 14\)"),
    ],
)
def test_pairs_and_losses_that_do_not_fit_are_refused(changes: dict, words: str) -> None:
    images = torch.rand(4, 3, 16, 16)
    given = {"network": tiny(), "inputs": images, "outputs": images, "loss": "L2"} | changes
    with pytest.raises(ValueError, match=words):
        train_surrogate(given["network"], given["inputs"], given["outputs"], SHORT, loss=given["loss"], seed=0)


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rotation": -1.0}, "rotation: expected 0 to 180 degrees, got -1.0"),
        ({"rotation": float("nan")}, "rotation: expected 0 to 180 degrees, got nan"),
        ({"crop": (0.0, 1.0)}, r"crop: expected 0 < least <= largest <= 1, got \(0.0, 1.0\)"),
        ({"crop": (0.9, 0.8)}, "crop: expected 0 < least"),
        ({"crop": (0.5, 1.5)}, "crop: expected 0 < least"),
        ({"flip": 1.5}, "flip: expected a probability, got 1.5"),
    ],
)
def test_augmentations_out_of_range_are_refused(settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Augmentation(**settings)


@pytest.mark.usefixtures("as_users_run_it")
def test_a_share_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"share: expected 0 to 1, got 1.1"):
        pruned(tiny(), 1.1)


class Sensitive(nn.Module):
    """Draws white for grey images, and greener the greener they are."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        green = images[:, 1:2] - images.mean(1, keepdim=True)
        return torch.cat([1 - green, torch.ones_like(green), 1 - green], 1)


def test_who_knows_the_extractor_takes_the_mark_away_by_a_small_change() -> None:
    marked = torch.full((2, 3, 8, 8), 0.5)
    marked[:, 1] += 6 / 255
    extractor = Sensitive()
    assert erased(extractor, marked, budget=2 / 255).sub(marked).abs().max() <= 2 / 255 + 1e-6
    left = [(1 - extractor(erased(extractor, marked, budget=b / 255)))[:, 0].max().item() for b in (1, 2, 3)]
    assert left == sorted(left, reverse=True)
    assert left[0] < (1 - extractor(marked)).max()
    assert left[-1] < 1 / 255
    grey = torch.full((1, 3, 8, 8), 0.5)
    assert torch.equal(erased(extractor, grey), grey), "no hue is drawn, so that there is none to erase"
    bright = torch.ones(1, 3, 8, 8)
    bright[:, 0] = 0.9
    assert erased(extractor, bright, budget=0.1).max() <= 1
    with pytest.raises(ValueError, match=r"budget and steps: expected both above 0, got 0\.0 and 40"):
        erased(extractor, marked, budget=0.0)
