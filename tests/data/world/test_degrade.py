"""Degradations: none at strength 0, more with more strength, each image by itself."""

from __future__ import annotations

import math

import pytest
import torch

from visionlab.data import world
from visionlab.data.world import Render, Scenes
from visionlab.data.world.degrade import KINDS, degrade
from visionlab.data.world.layout import scenes

STRENGTHS = (0.0, 0.05, 0.15, 0.25, 0.4, 0.5, 0.7, 0.85, 1.0)
AT_FULL = {
    "noise": (0.12, 0.2),
    "rain": (0.008, 0.03),
    "haze": (0.03, 0.15),
    "blur": (0.002, 0.03),
    "dark": (0.15, 0.25),
    "sketch": (0.08, 0.25),
}
"""How far images differ from the clean ones, averaged over the values: at least in each, and in all on average."""


@pytest.fixture(scope="module", params=[(16, 16), (64, 64), (48, 96), (33, 47)], ids=str)
def pictures(request: pytest.FixtureRequest) -> tuple[Scenes, Render]:
    found = scenes(21, range(10), objects=(1, 6))
    return found, world.render(found, request.param)


@pytest.mark.parametrize("kind", KINDS)
def test_strength_0_leaves_every_bit(kind: str, pictures: tuple[Scenes, Render]) -> None:
    where, clean = pictures
    assert torch.equal(degrade(clean, where.key, kind, 0.0), clean.image)


@pytest.mark.parametrize("kind", KINDS)
def test_the_error_of_each_image_grows_with_strength(kind: str, pictures: tuple[Scenes, Render]) -> None:
    where, clean = pictures
    errors = []
    for strength in STRENGTHS:
        found = degrade(clean, where.key, kind, strength)
        assert found.shape == clean.image.shape and found.dtype == torch.float32
        assert found.isfinite().all()
        assert found.min() >= 0 and found.max() <= 1
        errors.append((found - clean.image).abs().mean((1, 2, 3)))
    growth = torch.stack(errors).diff(dim=0)
    if kind == "blur":  # in whole steps, of which small images have few
        assert (growth >= 0).all()
        assert (growth > 0).all(1).sum() >= 2
    elif kind == "rain":  # in streaks, likewise
        assert (growth >= 0).all()
        assert (growth.mean(1) > 0).all()
    else:
        assert (growth > 0).all()
    assert errors[0].max() == 0
    assert errors[-1].min() > AT_FULL[kind][0]
    assert errors[-1].mean() > AT_FULL[kind][1]


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_the_same_bits_alone_and_in_any_batch(kind: str, pictures: tuple[Scenes, Render]) -> None:
    where, clean = pictures
    for strength in (0.3, 1.0):
        together = degrade(clean, where.key, kind, strength)
        assert torch.equal(degrade(clean, where.key, kind, strength), together)
        alone = [degrade(clean[i], where.key[i : i + 1], kind, strength) for i in range(len(where))]
        assert torch.equal(torch.cat(alone), together)
        assert torch.equal(degrade(clean[2:9], where.key[2:9], kind, strength), together[2:9])


@pytest.mark.parametrize("kind", ["noise", "rain", "dark"])
def test_what_is_random_follows_from_the_key(kind: str, pictures: tuple[Scenes, Render]) -> None:
    where, clean = pictures
    one, other = (degrade(clean, key, kind, 0.8) for key in (where.key, where.key + 1))
    assert (one != other).flatten(1).any(1).all()


def test_the_clean_image_is_left_as_it_was(pictures: tuple[Scenes, Render]) -> None:
    where, clean = pictures
    before = clean.image.clone()
    for kind in KINDS:
        degrade(clean, where.key, kind, 0.0).zero_()
        degrade(clean, where.key, kind, 1.0)
        assert torch.equal(clean.image, before), kind


def test_noise_is_as_large_as_its_strength_says() -> None:
    found = scenes(22, 4)
    grey = world.render(found, 64).with_(image=0.5)
    for strength in (0.1, 0.3):
        noise = degrade(grey, found.key, "noise", strength) - 0.5
        assert noise.std().item() == pytest.approx(0.35 * strength, rel=0.03)
        assert abs(noise.mean().item()) < 0.002


def test_haze_is_paler_the_farther_a_thing_is() -> None:
    found = scenes(23, 4, places="open", elevation=(5.0, 6.0))
    black = world.render(found, 64).with_(image=0.0)
    haze = degrade(black, found.key, "haze", 0.5)[:, 0]
    expected = 0.85 * (1 - torch.exp(-0.11 * (black.depth.clamp(5, 20) - 5)))
    torch.testing.assert_close(haze, expected, atol=1e-5, rtol=0)
    assert haze[black.depth.isinf()].min() > haze[black.depth.isfinite()].max() - 1e-6


def test_rain_only_brightens_and_falls_thicker() -> None:
    found = scenes(24, 6)
    clean = world.render(found, 64)
    drops = []
    for strength in (0.2, 0.6, 1.0):
        brighter = degrade(clean, found.key, "rain", strength) - clean.image
        assert brighter.min() > -1e-6
        drops.append((brighter.amax(1) > 1e-4).float().mean((1, 2)))
    assert (torch.stack(drops).diff(dim=0) > 0).all()
    assert (drops[-1] < 0.5).all(), "there is something left to see"


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize(
    ("kind", "strength", "words"),
    [
        ("fog", 0.5, "kind: expected one of noise, rain, haze, blur, dark, sketch; got 'fog'"),
        ("noise", -0.1, "strength: expected a number between 0 and 1; got -0.1"),
        ("noise", 1.1, "strength: expected a number between 0 and 1; got 1.1"),
        ("noise", math.nan, "strength: expected a number between 0 and 1; got nan"),
    ],
)
def test_bad_input_is_refused_by_name(kind: str, strength: float, words: str) -> None:
    found = scenes(25, 1)
    with pytest.raises(ValueError, match=words):
        degrade(world.render(found, 16), found.key, kind, strength)


def test_the_noise_of_a_degradation_is_not_that_of_a_style() -> None:
    found = scenes(23, range(6))
    night, clean = world.render(found, 32, style="night"), world.render(found, 32)
    flat = Render(**(vars(clean) | {"image": torch.full_like(clean.image, 0.5)}))
    added = (degrade(flat, found.key, "noise", 0.3) - 0.5).flatten()
    light = Render(**(vars(clean) | {"image": night.image}))
    own = (night.image - torch.nn.functional.avg_pool2d(light.image, 3, 1, 1)).flatten()
    assert abs(torch.corrcoef(torch.stack([added, own]))[0, 1]) < 4 / len(own) ** 0.5
