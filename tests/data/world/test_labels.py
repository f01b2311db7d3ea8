"""Labels and pixels of one render belong together, whatever the size, the quality and the style."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from visionlab.data import world
from visionlab.data.world import STYLES, Render, Scenes
from visionlab.data.world.labels import LEAST_PIXELS, LEAST_VISIBLE
from visionlab.data.world.layout import scenes
from visionlab.data.world.render import Quality
from visionlab.data.world.shapes import PARTS, SHAPES

K = 6
SIZES: list[tuple[int, int]] = [(40, 48), (16, 16), (96, 20)]


@pytest.fixture(scope="module", params=SIZES, ids=str)
def pictures(request: pytest.FixtureRequest) -> tuple[Scenes, Render]:
    found = scenes(31, range(14), objects=(1, K), stacking=0.5)
    return found, world.render(found, request.param)


def only(found: Scenes, slots: list[int]) -> Scenes:
    """The scenes without the objects in other slots; what stood on one of them stays where it is."""
    keep = torch.zeros(K, dtype=torch.bool)
    keep[slots] = True
    return found.with_(objects=found.objects.with_(present=found.objects.present & keep))


def size_of(picture: Render) -> tuple[int, int]:
    return picture.image.shape[2], picture.image.shape[3]


def extent(mask: torch.Tensor) -> list[int]:
    rows, columns = np.nonzero(mask.numpy())
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else [0, 0, 0, 0]


def test_visible_shares_and_boxes_are_those_of_each_object_rendered_alone(pictures: tuple[Scenes, Render]) -> None:
    found, picture = pictures
    size = size_of(picture)
    hidden = 0
    for slot in range(K):
        alone = world.render(only(found, [slot]), size).instance == slot
        visible = picture.instance == slot
        assert not (visible & ~alone).any()
        assert not (alone & (picture.instance == -1)).any()
        whole, seen = alone.sum((1, 2)), visible.sum((1, 2))
        torch.testing.assert_close(picture.visibility[:, slot], seen / whole.clamp(min=1), rtol=0, atol=0)
        assert picture.boxes[:, slot].tolist() == [extent(mask) for mask in visible]
        assert picture.full_boxes[:, slot].tolist() == [extent(mask) for mask in alone]
        counted = (seen >= LEAST_PIXELS) & (seen >= LEAST_VISIBLE * whole)
        assert torch.equal(picture.counted[:, slot], counted & found.objects.present[:, slot])
        hidden += int((seen < whole).sum())
    assert hidden >= 3


def test_objects_lie_before_the_scene_without_them_and_change_nothing_beside_them(
    pictures: tuple[Scenes, Render],
) -> None:
    found, picture = pictures
    bare = world.render(only(found, []), size_of(picture))
    on = picture.instance >= 0
    assert not (bare.instance >= 0).any() and not bare.counted.any() and not bare.boxes.any()
    assert (picture.depth[on] < bare.depth[on]).all()
    assert torch.equal(picture.depth[~on], bare.depth[~on])
    for name in ("normals", "albedo"):
        with_, without = (getattr(x, name).movedim(1, -1)[~on] for x in (picture, bare))
        assert torch.equal(with_, without)


def test_a_nearer_object_hides_a_farther_one(pictures: tuple[Scenes, Render]) -> None:
    found, picture = pictures
    size = size_of(picture)
    depth = torch.stack([world.render(only(found, [slot]), size).depth for slot in range(K)])
    assert torch.equal(picture.depth, depth.amin(0))
    on = picture.instance >= 0
    own = depth.gather(0, picture.instance.clamp(min=0)[None])[0]
    assert torch.equal(own[on], picture.depth[on])


def test_masks_of_shapes_and_parts_follow_from_the_instances(pictures: tuple[Scenes, Render]) -> None:
    found, picture = pictures
    on = picture.instance >= 0
    shape = found.objects.shape.gather(1, picture.instance.clamp(min=0).flatten(1)).view_as(picture.instance)
    assert torch.equal(picture.semantic, torch.where(on, shape + 1, 0))
    assert torch.equal(picture.part > 0, on)
    names = [PARTS[i - 1].split(":")[0] for i in picture.part[on].tolist()]
    assert names == [SHAPES[i - 1].name for i in picture.semantic[on].tolist()]
    present = found.objects.present.gather(1, picture.instance.clamp(min=0).flatten(1)).view_as(on)
    assert present[on].all()


def test_normals_are_of_unit_length_and_face_the_camera_and_the_sky_is_empty(pictures: tuple[Scenes, Render]) -> None:
    picture = pictures[1]
    sky = picture.depth.isinf()
    length = picture.normals.square().sum(1).sqrt()
    assert ((length - 1).abs()[~sky] < 1e-5).all()
    assert (picture.depth[~sky] > 0).all()
    assert not picture.normals.movedim(1, -1)[sky].any()
    assert not picture.albedo.movedim(1, -1)[sky].any()
    assert not (sky & (picture.instance >= 0)).any()
    # Away from the middle of the image the line of sight is oblique, and a surface seen edge-on may face away a little.
    assert (picture.normals[:, 2][picture.instance >= 0] > -0.5).all()


@pytest.mark.parametrize("size", [16, (512, 16), (16, 512), (33, 47), 200])
@pytest.mark.parametrize("quality", ["fast", "full"])
def test_every_size_gives_finite_images_in_0_to_1_and_aligned_labels(
    size: int | tuple[int, int], quality: Quality
) -> None:
    picture = world.render(scenes(32, range(2), objects=(2, 8)), size, quality=quality)
    height, width = (size, size) if isinstance(size, int) else size
    assert picture.image.shape == picture.normals.shape == picture.albedo.shape == (2, 3, height, width)
    assert picture.instance.shape == picture.semantic.shape == picture.part.shape == (2, height, width)
    assert picture.depth.shape == (2, height, width)
    assert picture.boxes.shape == picture.full_boxes.shape == (2, 8, 4)
    for x in (picture.image, picture.albedo):
        assert x.dtype == torch.float32 and x.isfinite().all() and x.min() >= 0 and x.max() <= 1
    assert not picture.depth.isnan().any() and picture.normals.isfinite().all()
    assert (picture.boxes[..., 2] <= width).all() and (picture.boxes[..., 3] <= height).all()
    assert (picture.instance >= 0).any()


@pytest.mark.parametrize("style", STYLES)
def test_quality_and_style_change_the_image_alone(style: str) -> None:
    found = scenes(33, range(3), objects=(1, 8))
    fast, other = world.render(found, (33, 47)), world.render(found, (33, 47), quality="full", style=style)
    for name, value in vars(fast).items():
        assert torch.equal(value, getattr(other, name)) == (name != "image"), name


def test_more_pixels_show_the_same_scene() -> None:
    """An odd multiple of the size has a pixel of the smaller image in the middle of each block."""
    found = scenes(34, range(3), objects=(3, 8))
    small, large = world.render(found, (24, 32)), world.render(found, (72, 96))
    middle = large.instance[:, 1::3, 1::3]
    assert (small.instance == middle).float().mean() > 0.999
    near = small.depth.isfinite() & (small.instance == middle)
    torch.testing.assert_close(small.depth[near], large.depth[:, 1::3, 1::3][near], rtol=1e-4, atol=1e-4)
