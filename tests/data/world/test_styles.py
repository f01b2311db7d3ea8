"""Styles change pixels, never labels, each image by itself; and what surfaces look like before that."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from visionlab.data import world
from visionlab.data.world import STYLES, Render, Scenes, counter, surfaces
from visionlab.data.world.layout import scenes
from visionlab.data.world.styles import blur, gaussian_noise, restyle
from visionlab.data.world.vocabulary import BACKGROUNDS, GROUNDS, MATERIALS

SIZES: list[tuple[int, int]] = [(16, 16), (64, 64), (48, 96), (33, 47)]
DIFFERS = {
    "textured": (0.04, 0.1),
    "sketch": (0.08, 0.25),
    "night": (0.12, 0.2),
    "sensor": (0.012, 0.03),
    "toon": (0.01, 0.04),
    "infrared": (0.12, 0.2),
    "paper": (0.01, 0.08),
}
"""How far images differ from the clean ones, averaged over the values: at least in each, and in all on average."""


@pytest.fixture(scope="module", params=SIZES, ids=str)
def pictures(request: pytest.FixtureRequest) -> tuple[Scenes, Render]:
    found = scenes(11, range(12), objects=(1, 6))
    return found, world.render(found, request.param)


@pytest.mark.parametrize("style", STYLES)
def test_labels_are_equal_in_every_style(style: str) -> None:
    found = scenes(12, range(8), objects=(1, 6))
    clean, other = world.render(found, (32, 48)), world.render(found, (32, 48), style=style)
    for name, value in vars(clean).items():
        if name != "image":
            assert torch.equal(value, getattr(other, name)), name
    assert torch.equal(other.image, restyle(style, clean, found.key)), "a style is a function of the clean render"


@pytest.mark.parametrize("style", STYLES)
def test_an_image_of_any_style_is_finite_and_in_0_to_1(style: str, pictures: tuple[Scenes, Render]) -> None:
    where, clean = pictures
    found = restyle(style, clean, where.key)
    assert found.shape == clean.image.shape
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    assert found.min() >= 0 and found.max() <= 1
    assert (found.flatten(1).std(1) > 0.02).all(), "there is something to be seen"


@pytest.mark.parametrize("style", STYLES)
def test_every_style_differs_from_clean_and_clean_does_not(style: str, pictures: tuple[Scenes, Render]) -> None:
    where, clean = pictures
    differs = (restyle(style, clean, where.key) - clean.image).abs().mean((1, 2, 3))
    if style == "clean":
        assert differs.max() == 0
    else:
        least, average = DIFFERS[style]
        assert differs.min() > least
        assert differs.mean() > average


def test_no_two_styles_are_alike(pictures: tuple[Scenes, Render]) -> None:
    where, clean = pictures
    found = torch.stack([restyle(style, clean, where.key) for style in STYLES])
    apart = (found[:, None] - found[None]).abs().mean((3, 4, 5)).amin(-1)
    assert apart[~torch.eye(len(STYLES), dtype=torch.bool)].min() > 0.015


@pytest.mark.parametrize("style", STYLES)
def test_an_image_is_the_same_bits_alone_and_in_any_batch(style: str, pictures: tuple[Scenes, Render]) -> None:
    where, clean = pictures
    together = restyle(style, clean, where.key)
    assert torch.equal(restyle(style, clean, where.key), together)
    alone = torch.cat([restyle(style, clean[i], where.key[i : i + 1]) for i in range(len(where))])
    assert torch.equal(alone, together)
    order = torch.tensor([7, 0, 11, 3, 5])
    assert torch.equal(restyle(style, clean[order], where.key[order]), together[order])


@pytest.mark.parametrize("style", ["night", "sensor", "infrared", "sketch", "paper"])
def test_noise_follows_from_the_key(style: str, pictures: tuple[Scenes, Render]) -> None:
    where, clean = pictures
    one, other = restyle(style, clean, where.key), restyle(style, clean, where.key + 1)
    assert (one != other).flatten(1).any(1).all()
    pixels = (one - other).abs().mean()
    assert pixels < 0.25, "noise, not another picture"


def test_each_object_has_its_own_texture_and_heat() -> None:
    found = scenes(13, range(1), objects=4, shapes="sphere", colours="grey", materials="matte", elevation=(60.0, 70.0))
    clean = world.render(found, 96)
    assert clean.counted.all()
    for style in ("textured", "infrared"):
        image = restyle(style, clean, found.key)[0]
        means = torch.stack([image[:, clean.instance[0] == slot].mean(1) for slot in range(4)])
        apart = torch.cdist(means, means)[~torch.eye(4, dtype=torch.bool)]
        assert apart.max() > 0.15
        assert apart.min() > 0.01


def test_paper_gives_each_object_one_colour_of_its_own() -> None:
    found = scenes(14, range(3), objects=4)
    clean = world.render(found, 64)
    image = restyle("paper", clean, found.key)
    for i in range(3):
        for slot in clean.instance[i].unique().tolist():
            inside = clean.instance[i] == slot
            if slot < 0 or inside.sum() < 40:
                continue
            mean = clean.albedo[i][:, inside].mean(1, keepdim=True)
            flat = ((image[i][:, inside] - mean).abs() < 0.0151).all(0)  # but for the grain of the paper
            edge = (image[i][:, inside] > 0.9).all(0)
            assert (flat | edge).all()
            assert flat.sum() > edge.sum()


def test_sketches_have_no_colour_and_night_is_dark(pictures: tuple[Scenes, Render]) -> None:
    where, clean = pictures
    drawn, night = restyle("sketch", clean, where.key), restyle("night", clean, where.key)
    assert torch.equal(drawn[:, 0], drawn[:, 1]) and torch.equal(drawn[:, 0], drawn[:, 2])
    assert (night.mean((1, 2, 3)) < 0.6 * clean.image.mean((1, 2, 3))).all()


def test_blur_keeps_flat_images_and_spreads_a_point() -> None:
    flat = torch.full((1, 1, 6, 7), 0.3)
    torch.testing.assert_close(blur(flat), flat)
    point = torch.zeros(1, 1, 5, 5)
    point[0, 0, 2, 2] = 16.0
    line = torch.tensor([0.0, 1.0, 2.0, 1.0, 0.0])
    assert torch.equal(blur(point)[0, 0], line[:, None] * line)


def test_gaussian_noise_has_mean_0_and_variance_1() -> None:
    noise = gaussian_noise(torch.zeros(8, 3, 64, 64), counter.keys(0, torch.arange(8)))
    assert abs(noise.mean().item()) < 4 / math.sqrt(noise.numel())
    assert noise.var().item() == pytest.approx(1, abs=0.01)
    beside = (noise[..., 1:] * noise[..., :-1]).mean().item(), (noise[:-1] * noise[1:]).mean().item()
    assert max(map(abs, beside)) < 4 / math.sqrt(7 * 3 * 64 * 63)
    assert len(noise.unique()) > 0.9 * noise.numel()


# Surfaces


def plane(n: int) -> tuple[Tensor, Tensor]:
    line = torch.linspace(-5, 5, 80)
    return line.repeat(80).expand(n, -1), line.repeat_interleave(80).expand(n, -1)


def test_grounds_and_walls_reflect_no_less_than_nothing_and_no_more_than_all() -> None:
    found = scenes(15, range(200))
    x, y = plane(len(found))
    for colour in (surfaces.ground_colour(found, x, y), surfaces.background_colour(found, x, y.abs())):
        assert colour.min() >= 0 and colour.max() <= 1


@pytest.mark.parametrize(("kind", "names"), [("ground", GROUNDS), ("background", BACKGROUNDS)])
def test_only_plain_ones_are_of_one_colour(kind: str, names: tuple[str, ...]) -> None:
    one = scenes(16, 1, grounds="plain", backgrounds="plain")
    x, y = plane(1)
    paint = surfaces.ground_colour if kind == "ground" else surfaces.background_colour
    found = [paint(one.with_(**{kind: number}), x, y.abs()) for number in range(len(names))]
    spread = [colour.flatten(1).std(1).mean().item() for colour in found]
    assert spread[names.index("plain")] < 1e-6
    assert min(s for name, s in zip(names, spread, strict=True) if name != "plain") > 0.005
    assert all((a != b).any() for i, a in enumerate(found) for b in found[:i])


@pytest.mark.parametrize("material", MATERIALS)
def test_patterned_materials_show_the_colour_and_a_second_one(material: str) -> None:
    point = torch.rand(3, 4000, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for rgb in ((0.5, 0.05, 0.03), (0.02, 0.02, 0.03), (0.9, 0.88, 0.85)):
        own = torch.tensor(rgb)[:, None].expand(-1, 4000)
        number = torch.full((4000,), MATERIALS.index(material))
        colour = surfaces.material_colour(number, own, point, torch.full((4000,), 0.4))
        assert colour.min() >= 0 and colour.max() <= 1
        same = torch.isclose(colour, own, atol=1e-3).all(0).double().mean().item()
        if material in ("matte", "glossy", "metal"):
            assert same == 1
        else:
            assert (colour - own).abs().amax(0).max() > 0.15
            assert same < 0.75 and torch.cosine_similarity(colour.mean(1), torch.tensor(rgb), dim=0) > 0.9


def test_the_sky_of_a_paper_scene_is_a_sheet_of_its_own() -> None:
    found = scenes(17, range(4), places="open", elevation=(5.0, 6.0), backgrounds="plain")
    clean = world.render(found, 48)
    image = restyle("paper", clean, found.key)
    assert clean.depth.isinf().flatten(1).any(1).all()
    for i in range(4):
        ground = (clean.instance[i] < 0) & clean.depth[i].isfinite()
        mean = clean.albedo[i][:, ground].mean(1, keepdim=True)
        away = (image[i][:, ground] - mean).abs().amax(0)
        assert away.median() < 0.0151, "the grain of the paper"
        sky = clean.image[i][:, clean.depth[i].isinf()].mean(1, keepdim=True)
        assert (image[i][:, clean.depth[i].isinf()] - sky).abs().amax(0).median() < 0.0151


def test_direction_and_colour_of_a_texture_are_drawn_apart() -> None:
    """The red tint of an object and the angle of its threads follow from different numbers."""
    picture = world.render(scenes(18, range(300), objects=1, places="open"), 16)
    key = counter.keys(5, torch.arange(300))
    white = Render(**(vars(picture) | {"image": torch.ones_like(picture.image), "instance": picture.instance * 0 - 1}))
    red = restyle("textured", white, key)[:, 0].amax((1, 2))
    angle = counter.lattice(key, torch.zeros(300, dtype=torch.int64))
    assert abs(torch.corrcoef(torch.stack([red, angle]))[0, 1]) < 4 / 300**0.5
