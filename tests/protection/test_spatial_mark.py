from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from visionlab.measure.image_quality import psnr
from visionlab.protection.hiding_published import GuidanceExtractor, PatchDiscriminator
from visionlab.protection.spatial_mark import Faint, SpatialMark, logo
from visionlab.protection.spatial_published import EmbeddingUNet
from visionlab.protection.spatial_training import (
    SpatialWeights,
    adversarial_stage,
    consistency,
    spatial_loss,
    train_spatial,
)
from visionlab.train.loop import Recipe, start
from visionlab.train.randomness import seeded

SHORT = Recipe(steps=25, batch=8, learning_rate=3e-3, warmup=5, weight_decay=0.0)


def networks(seed: int = 0) -> SpatialMark:
    with seeded(seed):
        return SpatialMark(logo(0))


def test_a_logo_is_half_ink_and_follows_from_the_seed() -> None:
    for blocks in (2, 8):
        found = logo(3, blocks=blocks)
        assert found.sum() == blocks**2 / 2
        assert torch.equal(found, logo(3, blocks=blocks))
    assert not torch.equal(logo(0), logo(1))
    for blocks in (0, 7):
        with pytest.raises(ValueError, match="blocks: expected an even number"):
            logo(0, blocks=blocks)


@torch.no_grad()
@pytest.mark.parametrize("decibels", [30.0, 34.0])
def test_the_amount_of_change_is_given_whatever_the_network_prefers(decibels: float, tiles: Tensor) -> None:
    with seeded(0):
        mark = SpatialMark(logo(0), Faint(decibels=decibels)).eval()
        nn.init.normal_(mark.embedder.residual.out.weight, std=1.0)  # type: ignore[union-attr, arg-type]
    images = 0.3 + 0.4 * tiles
    torch.testing.assert_close(psnr(mark.mark(images), images), torch.full((len(images),), decibels), atol=0.1, rtol=0)
    unclipped = (mark.embedder(images, mark.drawn(images)) - images).square().mean((1, 2, 3))
    torch.testing.assert_close(unclipped, torch.full((len(images),), 10 ** (-decibels / 10)), rtol=1e-3, atol=0)


@torch.no_grad()
def test_gain_0_is_the_identity_and_any_size_is_taken() -> None:
    mark = networks().eval()
    for size in ((32, 32), (17, 40)):
        images = torch.randint(256, (2, 3, *size)) / 255
        torch.testing.assert_close(mark.mark(images, gain=0.0), images, atol=1e-6, rtol=0)
        assert mark.mark(images).shape == images.shape
        assert mark.blocks(images).shape == (2, 8, 8)


def test_scores_are_centred_so_that_a_blank_scores_nothing() -> None:
    mark = networks()
    read = mark.pattern.expand(3, -1, -1)
    for drawn in (read, 0.1 * read + 0.7):
        assert mark.score(drawn).tolist() == pytest.approx([1, 1, 1], abs=1e-5)
        assert mark.bit_accuracy(drawn).tolist() == [1, 1, 1]
    torch.testing.assert_close(mark.score(1 - read), -torch.ones(3))
    blank = torch.ones(2, 8, 8)
    assert mark.score(blank).tolist() == [0, 0]
    assert mark.bit_accuracy(blank).tolist() == [0.5, 0.5]
    noise = torch.rand(2000, 8, 8, generator=torch.Generator().manual_seed(0))
    assert mark.score(noise).mean() == pytest.approx(0, abs=0.01)
    assert mark.bit_accuracy(noise).mean() == pytest.approx(0.5, abs=0.01)


def test_an_ideal_extractor_shows_its_blocks(tiles: Tensor) -> None:
    mark = networks()

    class Ideal(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return mark.drawn(images)

    mark.extractor = Ideal()
    for images in (tiles, torch.rand(1, 3, 64, 48)):
        torch.testing.assert_close(mark.blocks(images), mark.pattern.expand(len(images), -1, -1))


def test_equal_drawings_are_consistent() -> None:
    one, two = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
    assert consistency(one.expand(6, -1, -1, -1)) == 0
    assert consistency(torch.cat([one, two, one, two])) == 0, "each of one half with its own of the other"
    mixed = consistency(torch.cat([one, one, two, two]))
    torch.testing.assert_close(mixed, (one - two).square().mean())
    torch.testing.assert_close(consistency(torch.cat([one, one, two, two, one])), mixed)  # the odd one waits


def test_the_loss_is_zero_for_perfect_networks_and_counts_each_failure(tiles: Tensor) -> None:
    x = tiles[:4]
    pattern, white = networks().drawn(x), torch.ones_like(x)
    perfect = {
        "images": x, "poisoned": x, "pattern": pattern, "drawing": pattern, "asked drawing": white,
        "clean drawing": white,
    }  # fmt: skip
    weights = SpatialWeights(invisible=3.0, logo=2.0, clean=5.0, consistency=0.5)

    def loss(**changes: Tensor) -> float:
        return spatial_loss(perfect | changes, weights)[0].item()

    assert loss() == 0
    assert loss(poisoned=x + 0.1) == pytest.approx(3 * 0.01, rel=1e-4)
    assert loss(drawing=pattern + 0.1) == pytest.approx(2 * 0.01, rel=1e-4)
    first = torch.tensor([0.1, 0.1, 0, 0])[:, None, None, None]
    assert loss(drawing=pattern + first) == pytest.approx((2 / 2 + 0.5) * 0.01, rel=1e-4)
    for name in ("asked drawing", "clean drawing"):
        assert loss(**{name: white - 0.1}) == pytest.approx(5 * 0.01, rel=1e-4)


def test_a_short_training_lowers_the_loss_and_resumes(tiles: Tensor, rain: Tensor, tmp_path: Path) -> None:
    fabric = start("32-true", "cpu")
    mark = networks()
    run = train_spatial(mark, rain, tiles, SHORT, seed=0, fabric=fabric, checkpoint=tmp_path / "logo.pt")
    assert run.history[-1]["loss"] < 0.5 * run.history[0]["loss"]
    other = networks(1)
    again = train_spatial(other, rain, tiles, SHORT, seed=0, fabric=fabric, checkpoint=tmp_path / "logo.pt")
    assert again.history == run.history
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in mark.state_dict().items())


def test_the_adversarial_stage_changes_the_extractor_alone(tiles: Tensor, rain: Tensor) -> None:
    mark = networks()
    with torch.no_grad():
        stolen = 0.5 * mark.mark(tiles) + 0.5 * rain
    before = {name: value.clone() for name, value in mark.state_dict().items()}
    run = adversarial_stage(mark, rain, tiles, stolen, SHORT, seed=0, fabric=start("32-true", "cpu"))
    assert run.model is mark
    assert run.history[-1]["loss"] < 0.5 * run.history[0]["loss"]
    assert "PSNR (dB)" not in run.history[-1]
    for name, value in mark.state_dict().items():
        assert torch.equal(value, before[name]) != name.startswith("extractor"), name


def test_published_networks_train_with_a_discriminator(tiles: Tensor, rain: Tensor) -> None:
    with seeded(0):
        mark = SpatialMark(
            logo(0), EmbeddingUNet(levels=3, base=8), GuidanceExtractor(dilations=(2, 1), width=16),
            discriminator=PatchDiscriminator(),
        )  # fmt: skip
    recipe = Recipe(steps=2, batch=4, learning_rate=2e-4, betas=(0.5, 0.999), weight_decay=0.0)
    weights = SpatialWeights(invisible=1.0, consistency=1.0, adversarial=0.01)
    run = train_spatial(mark, rain, tiles, recipe, weights=weights, seed=0, fabric=start("32-true", "cpu"))
    assert {"fooled", "told apart", "PSNR (dB)"} <= set(run.history[-1])


def test_published_networks_have_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        embedder = EmbeddingUNet()
    assert sum(parameter.numel() for parameter in embedder.parameters()) == 41_832_067
    with pytest.raises(ValueError, match="images: expected sides that are multiples of 8, got 12 x 16"):
        EmbeddingUNet(levels=3, base=8)(torch.rand(1, 3, 12, 16), torch.rand(1, 3, 12, 16))
    with pytest.raises(ValueError, match="levels: expected 2 or more, got 1"):
        EmbeddingUNet(levels=1)


def test_bad_input_is_refused_by_name(as_users_run_it: None, tiles: Tensor, rain: Tensor) -> None:
    mark = networks()
    for images in (tiles[:, :1], tiles[:0], tiles[..., :4]):
        for use in (mark.mark, mark.blocks):
            with pytest.raises(ValueError, match="images: expected"):
                use(images)
    for pattern in (torch.ones(1, 8, 8), torch.rand(8, 8), torch.rand(2, 8, 8)):
        with pytest.raises(ValueError, match=r"pattern: expected \(1, R, C\) of ink and paper"):
            SpatialMark(pattern)
    with pytest.raises(ValueError, match=r"outputs: expected \(60, 3, 32, 32\), as inputs, got \(59"):
        train_spatial(mark, rain, tiles[1:], SHORT, seed=0)
    with pytest.raises(ValueError, match=r"stolen: expected \(60, 3, 32, 32\), as inputs"):
        adversarial_stage(mark, rain, tiles, rain[..., :16], SHORT, seed=0)
    with pytest.raises(ValueError, match="recipe: expected a batch of 2 images or more"):
        train_spatial(mark, rain, tiles, Recipe(steps=1, batch=1, learning_rate=1e-3), seed=0)
