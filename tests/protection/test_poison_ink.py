from __future__ import annotations

from pathlib import Path

import pytest
import torch

from visionlab.protection.hiding_published import GuidanceExtractor, InjectionUNet, PatchDiscriminator
from visionlab.protection.interference import NONE, Interference
from visionlab.protection.poison_ink import (
    PoisonInk,
    Weights,
    adversarial_loss,
    colour_found,
    ink_loss,
    train_ink,
)
from visionlab.protection.structure import FixedPattern
from visionlab.train.loop import Recipe, start


def networks() -> PoisonInk:
    torch.manual_seed(0)
    return PoisonInk()


def drawn(n: int, interference: Interference = NONE, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return torch.full((n, 3), 0.3), *interference.draw(n, 32, generator)


def test_interference_keeps_within_what_it_says() -> None:
    interference = Interference(rotation=20.0, scale=(0.8, 1.1), shift=0.25, flip=0.3, jpeg=0.6, quality=(40, 60))
    angle, scale, shift, mirrored, quality = interference.draw(4000, 32, torch.Generator().manual_seed(0))
    for values, low, high in ((angle, -20, 20), (scale, 0.8, 1.1), (shift, -8, 8)):
        assert values.min() >= low
        assert values.max() <= high
        assert values.max() - values.min() > 0.98 * (high - low)
    assert mirrored.float().mean() == pytest.approx(0.3, abs=0.03)
    assert (quality > 0).float().mean() == pytest.approx(0.6, abs=0.03)
    assert set(quality.tolist()) == {0, *range(40, 61)}


def test_no_interference_changes_nothing(tiles: torch.Tensor) -> None:
    parts = networks()(tiles, *drawn(len(tiles)))
    with torch.no_grad():
        poisoned = networks().hide(tiles, torch.full((len(tiles), 3), 0.3))
        torch.testing.assert_close(parts["poisoned"], poisoned, atol=1.1 / 255, rtol=0)
        torch.testing.assert_close(parts["drawing"], networks().read(poisoned), atol=0.05, rtol=0)
    assert parts["outside"].sum() == 0


def test_what_should_be_drawn_is_the_structure_of_the_turned_image(tiles: torch.Tensor) -> None:
    parts = networks()(tiles, *drawn(len(tiles), Interference(scale=(0.6, 0.7), flip=1.0, rotation=0.0, shift=0.0)))
    assert parts["outside"].mean() > 0.3
    assert (parts["mask"] * parts["outside"]).sum() == 0, "the black around the image is no structure"
    assert parts["mask"].sum() > 0
    assert torch.equal(parts["pattern"][:, :1], parts["mask"] * 0.3 + (1 - parts["mask"]))


def test_a_fixed_pattern_is_drawn_where_it_has_gone_to(tiles: torch.Tensor) -> None:
    logo = torch.zeros(1, 32, 32)
    logo[:, 4:12, 4:12] = 1
    torch.manual_seed(0)
    model = PoisonInk(structure=FixedPattern(logo))
    still = model(tiles[:2], *drawn(2))["mask"]
    mirrored = model(tiles[:2], *drawn(2, Interference(rotation=0.0, scale=(1.0, 1.0), shift=0.0, flip=1.0)))["mask"]
    assert torch.equal(still, logo.expand(2, 1, 32, 32))
    assert torch.equal(mirrored, still.flip(-1))


def test_jpeg_changes_its_share_and_passes_the_gradient(tiles: torch.Tensor) -> None:
    model = networks()
    parts = model(
        tiles, *drawn(len(tiles), Interference(rotation=0.0, scale=(1.0, 1.0), shift=0.0, flip=0.0, jpeg=1.0))
    )
    parts["drawing"].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.hider.parameters())


def test_the_loss_is_zero_for_perfect_networks_and_counts_each_failure(tiles: torch.Tensor) -> None:
    x = tiles[:4]
    mask = (torch.rand(4, 1, 32, 32) > 0.8).float()
    pattern = mask * 0.3 + 1 - mask
    pattern = pattern.expand(-1, 3, -1, -1)
    perfect = {
        "images": x, "poisoned": x, "outside": torch.zeros_like(mask), "mask": mask, "pattern": pattern,
        "drawing": pattern, "clean drawing": torch.ones_like(x),
    }  # fmt: skip
    done = torch.tensor(1.0)

    def loss(**changes: torch.Tensor) -> float:
        return ink_loss(perfect | changes, Weights(invisible=15.0, edge=4.0, background=1.0, clean=8.0), done)[0].item()

    assert loss() == 0
    assert loss(poisoned=x + 0.1) == pytest.approx(15 * 0.01, rel=1e-4)
    assert loss(drawing=pattern + 0.1 * mask) == pytest.approx(4 * 0.01, rel=1e-4)
    assert loss(drawing=pattern + 0.1 * (1 - mask)) == pytest.approx(0.01, rel=1e-4)
    assert loss(**{"clean drawing": torch.full_like(x, 0.9)}) == pytest.approx(8 * 0.01, rel=1e-4)
    assert loss(drawing=pattern + 0.1 * mask, outside=1 - mask) == pytest.approx(4 * 0.01, rel=1e-4)


def test_the_colour_counts_as_a_mean_over_the_edges_where_there_are_some(tiles: torch.Tensor) -> None:
    x, white = tiles[:2], torch.ones(2, 3, 32, 32)
    mask = torch.zeros(2, 1, 32, 32)
    mask[0, :, :10], mask[1, :, 0, :19] = 1, 1  # 320 pixels of edge, and 19, which are too few
    pattern = mask * 0.3 + 1 - mask
    noise = torch.where(torch.arange(32) % 2 == 0, 0.2, -0.2) * mask
    parts = {
        "images": x, "poisoned": x, "outside": torch.zeros_like(mask), "mask": mask, "pattern": pattern * white,
        "drawing": pattern * white, "clean drawing": white,
    }  # fmt: skip

    def loss(**changes: torch.Tensor) -> float:
        weights = Weights(invisible=0.0, edge=0.0, background=0.0, clean=0.0, colour=4.0)
        return ink_loss(parts | changes, weights, torch.tensor(1.0))[0].item()

    assert loss() == 0
    assert loss(drawing=parts["drawing"] + noise) == pytest.approx(0, abs=1e-9), "errors that cancel do not count"
    assert loss(drawing=parts["drawing"] + 0.1 * mask) == pytest.approx(4 * 0.01, rel=1e-4)
    assert loss(**{"clean drawing": white - 0.1 * mask}) == pytest.approx(2 * 4 * 0.01, rel=1e-4)


def test_invisibility_comes_to_count_as_the_run_goes_on() -> None:
    weights = Weights(invisible=10.0, wait=0.25, ramp=0.5)
    found = [weights.visible(torch.tensor(progress)).item() for progress in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert found == pytest.approx([0, 0, 5, 10, 10])


def test_hider_and_discriminator_each_see_the_other_as_fixed(tiles: torch.Tensor) -> None:
    discriminator = PatchDiscriminator()
    poisoned = tiles[:2].clone().requires_grad_()
    fooled, told = adversarial_loss(discriminator, {"images": tiles[:2], "poisoned": poisoned})
    fooled.backward(retain_graph=True)
    assert all(parameter.grad is None for parameter in discriminator.parameters())
    assert poisoned.grad is not None
    poisoned.grad = None
    told.backward()
    assert poisoned.grad is None
    assert all(parameter.grad is not None for parameter in discriminator.parameters())


def test_training_finds_ink_and_leaves_clean_images_white(tmp_path: Path, tiles: torch.Tensor) -> None:
    """A few steps on a few tiles: far from invisible, but ink is told from no ink."""
    model = networks()
    recipe = Recipe(steps=60, batch=16, learning_rate=3e-3, warmup=10, weight_decay=0.0)
    run = train_ink(
        model, tiles, recipe, (NONE,), inks=[(80, 160, 80)], seed=0, fabric=start("32-true", "cpu"),
        checkpoint=tmp_path / "ink.pt",
    )  # fmt: skip
    assert run.history[-1]["edge error"] < 0.5 * run.history[0]["edge error"]
    ink = (torch.tensor([80, 160, 80]) / 255).expand(len(tiles), 3)
    inked, share = colour_found(model, model.hide(tiles, ink).detach())
    plain, _ = colour_found(model, tiles)
    usable = share >= 0.01
    nearer = (inked - ink).norm(dim=1) < (plain - ink).norm(dim=1)
    assert nearer[usable].float().mean() > 0.9
    again = train_ink(
        networks(), tiles, recipe, (NONE,), inks=[(80, 160, 80)], seed=0, fabric=start("32-true", "cpu"),
        checkpoint=tmp_path / "ink.pt",
    )  # fmt: skip
    assert again.history == run.history


def test_stages_follow_each_other(tmp_path: Path, tiles: torch.Tensor) -> None:
    recipe = Recipe(steps=2, batch=8, learning_rate=1e-3, weight_decay=0.0)
    stages = (NONE, Interference(flip=0.0), Interference())
    run = train_ink(
        networks(), tiles, recipe, stages, seed=0, fabric=start("32-true", "cpu"), checkpoint=tmp_path / "ink.pt"
    )
    assert [row["step"] for row in run.history] == [1, 2, 3, 4, 5, 6]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ink-stage1.pt", "ink-stage2.pt", "ink.pt"]


def test_published_networks_train_with_the_adversarial_stage(tiles: torch.Tensor) -> None:
    torch.manual_seed(0)
    model = PoisonInk(
        InjectionUNet(base=8), GuidanceExtractor(dilations=(2, 1), width=16), tint=0.0,
        discriminator=PatchDiscriminator(),
    )  # fmt: skip
    recipe = Recipe(steps=2, batch=4, learning_rate=2e-4, betas=(0.5, 0.999), weight_decay=0.0)
    run = train_ink(
        model, tiles, recipe, (Interference(jpeg=0.5),), weights=Weights(adversarial=0.01), seed=0,
        fabric=start("32-true", "cpu"),
    )  # fmt: skip
    assert {"fooled", "told apart", "PSNR (dB)"} <= set(run.history[-1])


def test_an_image_without_structure_carries_no_ink() -> None:
    flat = torch.full((2, 3, 32, 32), 0.4)
    colour, share = colour_found(networks(), flat)
    assert torch.equal(colour, torch.ones(2, 3)), "white: no ink, not black"
    assert share.sum() == 0
