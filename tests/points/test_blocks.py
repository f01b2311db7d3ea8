from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from visionlab.data.clouds import Cloud
from visionlab.points.blocks import CHANNELS, Moved, cut, whole


def cloud(n: int, seed: int = 0, size: tuple[float, float, float] = (3.0, 2.2, 2.5)) -> Cloud:
    g = torch.Generator().manual_seed(seed)
    xyz = torch.rand(n, 3, generator=g) * torch.tensor(size) + torch.tensor([10.0, -4.0, 1.0])
    instances = torch.randint(5, (n,), generator=g)
    return Cloud(xyz, torch.rand(n, 3, generator=g), instances % 3, instances, ("a", "b", "c"), f"room {seed}")


def test_channels_are_colour_place_in_the_room_and_metres_in_the_block() -> None:
    room = cloud(4000)
    blocks = cut([room], points=256)
    assert len(CHANNELS) == blocks.features.shape[-1] == 9
    rgb, place, metres = blocks.features.split(3, -1)
    for i in range(len(blocks)):
        xyz = room.xyz[blocks.point[i]]
        assert torch.equal(rgb[i], room.rgb[blocks.point[i]])
        assert torch.equal(blocks.labels[i], room.labels[blocks.point[i]])
        low, high = room.xyz.amin(0), room.xyz.amax(0)
        torch.testing.assert_close(place[i], (xyz - low) / (high - low))
        torch.testing.assert_close(metres[i, :, 2], xyz[:, 2] - low[2])
        torch.testing.assert_close(metres[i, 0] - metres[i, 1], xyz[0] - xyz[1], atol=1e-5, rtol=1e-4)
    assert metres[..., :2].abs().max() <= 0.52, "a metre around the middle"


def test_blocks_overlap_by_half_and_cover_the_room() -> None:
    room = cloud(4000)
    blocks = cut([room], points=2000)
    assert len(blocks) == 5 * 4, "3 m and 2.2 m, in steps of half a metre: 0 to 2, and 0 to 1.5"
    assert len(blocks.point.unique()) == len(room)
    inner = (room.xyz[:, :2] - room.xyz[:, :2].amin(0) - 1).abs().amax(1) < 0.4
    times = torch.bincount(torch.cat([each.unique() for each in blocks.point]), minlength=len(room))
    assert (times[inner] == 4).all()


def test_few_points_are_repeated_and_none_is_left_out() -> None:
    blocks = whole([cloud(50), cloud(120, 1)], points=100)
    assert blocks.features.shape == (2, 100, 9)
    assert sorted(blocks.point[0].unique().tolist()) == list(range(50))
    assert len(blocks.point[1].unique()) == 100
    tiny = cut([cloud(30)], points=64)
    assert len(tiny) == 1, "a room too sparse for blocks is one"


def test_clusters_of_different_rooms_are_never_one() -> None:
    rooms = [cloud(60), cloud(60, 1)]
    same = [torch.arange(60) % 7, torch.arange(60) % 7]
    blocks = whole(rooms, 60, clusters=same)
    assert not set(blocks.cluster[0].tolist()) & set(blocks.cluster[1].tolist())
    assert len(blocks.cluster.unique()) == 14
    alone = whole(rooms, 60)
    assert len(alone.cluster.unique()) == 120
    with pytest.raises(ValueError, match="clusters: expected one number for each point of 2 rooms"):
        whole(rooms, 60, clusters=same[:1])


def test_relabelled_blocks_differ_in_labels_alone() -> None:
    rooms = [cloud(300), cloud(300, 1)]
    blocks = cut(rooms, points=128)
    others = blocks.relabelled([(room.labels + 1) % 3 for room in rooms])
    assert torch.equal(others.labels, (blocks.labels + 1) % 3)
    assert torch.equal(others.features, blocks.features)


def test_a_draw_follows_its_seed() -> None:
    rooms = [cloud(500)]
    assert torch.equal(whole(rooms, 64, seed=3).point, whole(rooms, 64, seed=3).point)
    assert not torch.equal(whole(rooms, 64, seed=3).point, whole(rooms, 64, seed=4).point)


def test_bad_blocks_are_named() -> None:
    with pytest.raises(ValueError, match="clouds: expected at least one"):
        whole([], 10)
    with pytest.raises(ValueError, match="points: expected 1 or more"):
        whole([cloud(10)], 0)
    with pytest.raises(ValueError, match="stride: expected more than 0"):
        cut([cloud(10)], stride=0.0)
    with pytest.raises(ValueError, match="turn, jitter, mirror, tint"):
        Moved(mirror=1.5)


def batch(n: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    blocks = whole([cloud(n, i) for i in range(6)], n)
    return blocks.features, blocks.labels


def test_augmentation_of_nothing_is_the_identity() -> None:
    features, labels = batch()
    same, given = Moved(turn=(0.0, 0.0, 0.0), jitter=0.0)((features, labels), torch.Generator())
    torch.testing.assert_close(same, features)
    assert given is labels


def test_turning_keeps_distances_and_what_is_not_turned() -> None:
    features, labels = batch()
    turned, _ = Moved(turn=(15.0, 15.0, 15.0), jitter=0.0)((features, labels), torch.Generator().manual_seed(0))
    assert torch.equal(turned[..., :6], features[..., :6])
    assert not torch.allclose(turned[..., 6:], features[..., 6:], atol=0.01)
    torch.testing.assert_close(
        torch.cdist(turned[..., 6:], turned[..., 6:]),
        torch.cdist(features[..., 6:], features[..., 6:]),
        atol=2e-3,
        rtol=0,
    )
    around_z, _ = Moved(jitter=0.0)((features, labels), torch.Generator().manual_seed(0))
    torch.testing.assert_close(around_z[..., 8], features[..., 8])
    angle = torch.atan2(around_z[..., 7], around_z[..., 6]) - torch.atan2(features[..., 7], features[..., 6])
    angle = torch.remainder(angle + torch.pi, 2 * torch.pi) - torch.pi
    assert angle.abs().max() <= torch.tensor(15.0).deg2rad() + 1e-3
    torch.testing.assert_close(angle, angle[:, :1].expand_as(angle), atol=1e-3, rtol=0)


def test_mirrors_and_tints_and_shakes() -> None:
    features, labels = batch()
    still = Moved(turn=(0.0, 0.0, 0.0), jitter=0.0)
    g = torch.Generator().manual_seed(0)
    mirrored, _ = replace(still, mirror=1.0)((features, labels), g)
    torch.testing.assert_close(mirrored[..., 6:8], -features[..., 6:8])
    torch.testing.assert_close(mirrored[..., 3:5], 1 - features[..., 3:5])
    tinted, _ = replace(still, tint=0.1)((features, labels), g)
    assert 0 < (tinted[..., :3] - features[..., :3]).abs().max() <= 0.1 + 1e-6
    shaken, _ = replace(still, jitter=0.01)((features, labels), g)
    assert 0.005 < (shaken - features).abs().max() <= 0.01 + 1e-6
