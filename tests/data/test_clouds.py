"""Point clouds from files in the layouts that others publish, written here field by field, and back to files."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from visionlab.data.clouds import UNLABELLED, Cloud, load, save

NAN = float("nan")
ROWS = [(0.0, 0.5, 1.0, 255, 0, 51, 2, 7), (1.0, 0.25, -1.5, 0, 102, 255, 0, 9), (2.0, 0.0, 0.125, 1, 2, 3, 2, 7)]


def text_ply(path: Path, rows: list[tuple[float, ...]], properties: str, extra: str = "") -> Path:
    lines = ["ply", "format ascii 1.0", "comment made by hand", f"element vertex {len(rows)}"]
    lines += [f"property {each}" for each in properties.split(", ")]
    lines += ["element face 1", "property list uchar int vertex_indices", "end_header"]
    path.write_text("\n".join([*lines, *(" ".join(map(str, row)) for row in rows), "3 0 1 2", extra]))
    return path


FULL = "float x, float y, float z, uchar red, uchar green, uchar blue, int label, ushort instance"


def binary_ply(path: Path, order: str, form: str, properties: str, rows: list[tuple[float, ...]]) -> Path:
    name = {"<": "binary_little_endian", ">": "binary_big_endian"}[order]
    head = f"ply\nformat {name} 1.0\nelement vertex {len(rows)}\n"
    head += "".join(f"property {each}\n" for each in properties.split(", "))
    head += "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    content = b"".join(struct.pack(order + form, *row) for row in rows)
    path.write_bytes(head.encode() + content + struct.pack(order + "Biii", 3, 0, 1, 2))
    return path


def check_rows(cloud: Cloud) -> None:
    table = torch.tensor(ROWS)
    torch.testing.assert_close(cloud.xyz, table[:, :3])
    torch.testing.assert_close(cloud.rgb, table[:, 3:6] / 255)
    assert cloud.labels.tolist() == [2, 0, 2]
    assert cloud.instances.tolist() == [7, 9, 7]
    assert cloud.classes == ("class 0", "class 1", "class 2")


# PLY


def test_a_text_ply_is_read(tmp_path: Path) -> None:
    check_rows(load(text_ply(tmp_path / "scan.ply", ROWS, FULL))[0])


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_binary_ply_is_read(tmp_path: Path, order: str) -> None:
    check_rows(load(binary_ply(tmp_path / "scan.ply", order, "fffBBBiH", FULL, ROWS))[0])


def test_properties_may_have_other_names_and_types(tmp_path: Path) -> None:
    names = "double x, double y, double z, float red, float green, float blue, float scalar_Class, uchar objectId"
    rows = [(*row[:3], *(c / 255 for c in row[3:6]), *row[6:]) for row in ROWS]
    check_rows(load(binary_ply(tmp_path / "scan.ply", "<", "dddffffB", names, rows))[0])
    rows = [(*row[:3], *(float(c) for c in row[3:6]), *row[6:]) for row in ROWS]
    check_rows(load(binary_ply(tmp_path / "scan.ply", "<", "dddffffB", names, rows))[0])


def test_without_instances_a_class_is_one_and_without_colours_all_is_grey(tmp_path: Path) -> None:
    rows = [(0, 0, 0, 3), (0, 0, 1, 1), (0, 0, 2, 3), (0, 0, 3, -1)]
    cloud = load(text_ply(tmp_path / "scan.ply", rows, "float x, float y, float z, int semantic"))[0]
    assert cloud.instances.tolist() == [2, 1, 2, 0]
    assert cloud.labels.tolist() == [3, 1, 3, UNLABELLED]
    assert (cloud.rgb == 0.5).all()


@pytest.mark.parametrize(
    ("rows", "properties", "words"),
    [
        (ROWS, FULL.replace("int label", "int intensity"), "no property label, labels, class or semantic; it has x, y"),
        ([(*ROWS[0][:2], NAN, *ROWS[0][3:]), *ROWS[1:]], FULL, "xyz: scan: 1 of 3 points"),
        ([(*row[:6], -2, 0) for row in ROWS], FULL, "labels: scan: expected -1 to 0, got -2"),
        ([(*row[:6], 0.5, 0) for row in ROWS], FULL.replace("int label", "float label"), "labels: .*whole numbers"),
        ([(*row[:6], 0.5, 0) for row in ROWS], FULL, "label: 0.5 is not of its type"),
        ([(*row[:6], 5000, 0) for row in ROWS], FULL, "up to 5000: expected a classes.txt"),
        (ROWS, FULL.replace("float z", "float height"), "xyz: .*no property z"),
        (ROWS, FULL.replace("float y", "float x"), "a property twice"),
        ([row[:7] for row in ROWS], FULL, "expected 3 vertices of 8 numbers"),
        ([], FULL, "no points"),
    ],
)
def test_what_is_wrong_with_a_ply_is_said(
    tmp_path: Path, rows: list[tuple[float, ...]], properties: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        load(text_ply(tmp_path / "scan.ply", rows, properties))


def test_a_truncated_file_is_noticed(tmp_path: Path) -> None:
    path = binary_ply(tmp_path / "scan.ply", "<", "fffBBBiH", FULL, ROWS)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"scan\.ply is truncated: it has 2 of 3 vertices"):
        load(path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match="expected a PLY header"):
        load(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="no PLY file"):
        load(path)
    text = text_ply(tmp_path / "text.ply", ROWS, FULL)
    text.write_text("\n".join(text.read_text().split("\n")[:-3]))
    with pytest.raises(ValueError, match="truncated: it has 2 of 3"):
        load(text)


# PCD


PCD = """# .PCD v0.7 - Point Cloud Data file format
VERSION 0.7
FIELDS x y z rgb label instance
SIZE 4 4 4 4 4 2
TYPE F F F U U U
COUNT 1 1 1 1 1 1
WIDTH 3
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS 3
"""


def packed(row: tuple[float, ...]) -> tuple[float, ...]:
    red, green, blue = (int(c) for c in row[3:6])
    return (*row[:3], red * 65536 + green * 256 + blue, *row[6:])


@pytest.mark.parametrize("form", ["ascii", "binary"])
def test_a_pcd_is_read(tmp_path: Path, form: str) -> None:
    rows = [packed(row) for row in ROWS]
    text = "".join(" ".join(map(str, row)) + "\n" for row in rows).encode()
    content = text if form == "ascii" else b"".join(struct.pack("<fffIIH", *row) for row in rows)
    path = tmp_path / "scan.pcd"
    path.write_bytes(f"{PCD}DATA {form}\n".encode() + content)
    check_rows(load(path)[0])
    path.write_bytes(f"{PCD}DATA {form}\n".encode() + content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"truncated: it has [12] of 3 points"):
        load(path)
    path.write_bytes(b"VERSION 0.7\n")
    with pytest.raises(ValueError, match="no line DATA"):
        load(path)
    path.write_bytes(f"{PCD}DATA {form}\n".encode().replace(b"label", b"other") + content)
    with pytest.raises(ValueError, match=r"labels: .*other"):
        load(path)


# npz


def test_an_npz_is_read(tmp_path: Path) -> None:
    table = np.array(ROWS)
    arrays = {"xyz": table[:, :3], "rgb": table[:, 3:6].astype(np.uint8), "labels": table[:, 6].astype(np.uint8)}
    np.savez(tmp_path / "scan.npz", **arrays, instances=table[:, 7].astype(np.int16))
    check_rows(load(tmp_path / "scan.npz")[0])
    np.savez(tmp_path / "scan.npz", **arrays | {"labels": np.zeros(2, np.int64)})
    with pytest.raises(ValueError, match=r"labels: .*expected \(3,\) numbers"):
        load(tmp_path / "scan.npz")
    np.savez(tmp_path / "scan.npz", **arrays | {"labels": np.array([{}] * 3)})
    with pytest.raises(ValueError, match="not a readable npz file of plain arrays"):
        load(tmp_path / "scan.npz")
    (tmp_path / "scan.npz").write_bytes((tmp_path / "scan.npz").read_bytes()[:200])
    with pytest.raises(ValueError, match="not a readable npz file"):
        load(tmp_path / "scan.npz")


def test_scans_of_things_on_tables_are_read(tmp_path: Path) -> None:
    arrays = {
        "xyz_mm": np.array([[[0, 0, 0], [500, -250, 100]], [[1, 2, 3], [4, 5, 6]]], np.int16),
        "rgb": np.full((2, 2, 3), 255, np.uint8),
        "semantic": np.array([[0, 2], [0, 1]], np.uint8),
        "instance": np.array([[0, 1], [0, 3]], np.uint8),
        "names": np.array(["learn0", "learn1"]),
    }
    np.savez_compressed(tmp_path / "scans.npz", **arrays)
    first, second = load(tmp_path / "scans.npz")
    assert (first.name, second.name) == ("learn0", "learn1")
    assert first.classes == ("table", "box", "cylinder")
    torch.testing.assert_close(first.xyz[1], torch.tensor([0.5, -0.25, 0.1]))
    assert first.labels.tolist() == [0, 2]
    assert second.instances.tolist() == [0, 3]
    np.savez_compressed(tmp_path / "scans.npz", **{key: arrays[key] for key in arrays if key != "names"})
    with pytest.raises(ValueError, match="expected xyz_mm, rgb, semantic, instance and names"):
        load(tmp_path / "scans.npz")


# Folders


def test_a_folder_of_clouds_has_splits_and_names_of_classes(tmp_path: Path) -> None:
    for split, name in (("train", "b"), ("train", "a"), ("test", "c")):
        (tmp_path / split).mkdir(exist_ok=True)
        text_ply(tmp_path / split / f"{name}.ply", ROWS, FULL)
    assert [cloud.name for cloud in load(tmp_path, "train")] == ["a", "b"]
    assert [cloud.name for cloud in load(tmp_path)] == ["test/c", "train/a", "train/b"]
    (tmp_path / "classes.txt").write_text("floor\nwall\nred chair\n")
    assert load(tmp_path, "test")[0].classes == ("floor", "wall", "red chair")
    (tmp_path / "classes.txt").write_text("floor\nwall\n")
    with pytest.raises(ValueError, match="labels: c: expected -1 to 1, got 0 to 2"):
        load(tmp_path, "test")
    with pytest.raises(ValueError, match="split='val'"):
        load(tmp_path, "val")
    with pytest.raises(ValueError, match="one file, which has no splits"):
        load(tmp_path / "train" / "a.ply", "train")


def test_numbered_classes_are_the_same_in_a_folder(tmp_path: Path) -> None:
    text_ply(tmp_path / "a.ply", ROWS, FULL)
    text_ply(tmp_path / "b.ply", [(*row[:6], 5, 0) for row in ROWS], FULL)
    assert [len(cloud.classes) for cloud in load(tmp_path)] == [6, 6]


def test_a_missing_source_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="'s3dis', 'scannet', 'mosd', or a folder or file"):
        load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="Put the folders Area_1 to Area_6"):
        load("s3dis", root=tmp_path)
    with pytest.raises(FileNotFoundError, match="Put the folder scans"):
        load("scannet", root=tmp_path)
    with pytest.raises(ValueError, match="has no clouds"):
        load(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"expected a file that ends in \.ply, \.pcd, \.npz"):
        load(tmp_path / "notes.txt")


def test_fewer_points_are_always_the_same_ones(tmp_path: Path) -> None:
    rows = [(float(i), 0.0, 0.0, i % 3) for i in range(100)]
    path = text_ply(tmp_path / "scan.ply", rows, "float x, float y, float z, int label")
    first, again = load(path, points=40)[0], load(path, points=40)[0]
    assert len(first) == 40
    assert torch.equal(first.xyz, again.xyz)
    assert torch.equal(first.xyz[:, 0].long() % 3, first.labels)
    assert len(load(path, points=1000)[0]) == 100
    with pytest.raises(ValueError, match="points=0"):
        load(path, points=0)


# S3DIS


def s3dis_room(area: Path, room: str, objects: dict[str, list[str]]) -> None:
    folder = area / room / "Annotations"
    folder.mkdir(parents=True)
    for name, lines in objects.items():
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="latin-1")


def test_s3dis_is_read_as_published(tmp_path: Path) -> None:
    root = tmp_path / "Stanford3dDataset_v1.2_Aligned_Version"
    chair = ["-1.5 2.25 0.5 255 0 51", "-1.5 2.25 0.75 255 0 51"]
    s3dis_room(root / "Area_1", "office_1", {"chair_1": chair, "ceiling_1": ["0 0 3.0 10 20 30"], "chair_2": chair[:1]})
    s3dis_room(root / "Area_5", "hallway_6", {"stairs_1": chair, "bookcase_12": chair[:1]})
    (train,) = load("s3dis", "train", root=tmp_path)
    assert train.name == "Area_1/office_1"
    assert train.classes[:3] == ("ceiling", "floor", "wall")
    assert len(train.classes) == 13
    assert train.labels.tolist() == [0, 7, 7, 7]
    assert train.instances.tolist() == [0, 1, 1, 2]
    torch.testing.assert_close(train.xyz[1], torch.tensor([-1.5, 2.25, 0.5]))
    torch.testing.assert_close(train.rgb[1], torch.tensor([1.0, 0.0, 0.2]))
    (test,) = load(root, "test")
    assert test.labels.tolist() == [9, 12, 12]
    assert len(load(root)) == 2
    with pytest.raises(ValueError, match=r"split='val': S3DIS has 'train' and 'test'"):
        load(root, "val")


def test_a_rare_bad_line_of_s3dis_is_left_out_and_many_are_an_error(tmp_path: Path) -> None:
    good = [f"{i} 0 1 185 187 173" for i in range(1200)]
    s3dis_room(tmp_path / "Area_5", "hallway_6", {"ceiling_1": [*good, "9.7 0 1 185\x10187 173"]})
    with pytest.warns(UserWarning, match=r"ceiling_1\.txt: left out 1 of 1201 lines"):
        assert len(load(tmp_path)[0]) == 1200
    s3dis_room(tmp_path / "Area_5", "hallway_7", {"ceiling_1": [*good[:100], "1 2 3 4 5"]})
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(ValueError, match=r"ceiling_1\.txt: 1 of 101 lines are not the six numbers"),
    ):
        load(tmp_path)


@pytest.mark.parametrize(("lines", "words"), [([""], "is empty"), (["a b c d e f"], "1 of 1 lines")])
def test_a_file_of_s3dis_without_points_is_an_error(tmp_path: Path, lines: list[str], words: str) -> None:
    s3dis_room(tmp_path / "Area_2", "office_1", {"wall_1": lines})
    with pytest.raises(ValueError, match=words):
        load(tmp_path)


# ScanNet


def scannet_scene(scans: Path, name: str, nyu: list[int], *, objects: bool) -> Path:
    scene = scans / name
    scene.mkdir(parents=True)
    properties = "float x, float y, float z, uchar red, uchar green, uchar blue, uchar alpha"
    rows = [(float(i), 0.5, 1.0, 255, 0, i, 255) for i in range(len(nyu))]
    binary_ply(scene / f"{name}_vh_clean_2.ply", "<", "fffBBBB", properties, rows)
    labelled = [(*row, label) for row, label in zip(rows, nyu, strict=True)]
    binary_ply(scene / f"{name}_vh_clean_2.labels.ply", "<", "fffBBBBH", properties + ", ushort label", labelled)
    if objects:
        parts = {"sceneId": name, "segIndices": [11, 11, 30, 42, 42, 50][: len(nyu)]}
        (scene / f"{name}_vh_clean_2.0.010000.segs.json").write_text(json.dumps(parts))
        groups = [
            {"id": 0, "objectId": 0, "segments": [11, 30], "label": "chair"},
            {"id": 1, "objectId": 1, "segments": [42], "label": "floor"},
        ]
        (scene / f"{name}.aggregation.json").write_text(json.dumps({"sceneId": name, "segGroups": groups}))
    return scene


def test_scannet_is_read_as_published(tmp_path: Path) -> None:
    root = tmp_path / "scannet"
    scannet_scene(root / "scans", "scene0000_00", [5, 5, 5, 2, 2, 13], objects=True)
    scannet_scene(root / "scans", "scene0001_00", [39, 36, 0, 40], objects=False)
    first, second = load("scannet", root=tmp_path)
    assert first.name == "scene0000_00"
    assert [first.classes[label] for label in first.labels[:4]] == ["chair", "chair", "chair", "floor"]
    assert first.labels[5] == UNLABELLED
    assert first.instances.tolist() == [0, 0, 0, 1, 1, 2]
    assert len(first.classes) == 20
    torch.testing.assert_close(first.rgb[3], torch.tensor([1.0, 0.0, 3 / 255]))
    assert second.labels.tolist() == [19, 18, -1, -1]
    assert second.instances.tolist() == [2, 1, 0, 0]
    with pytest.raises(FileNotFoundError, match=r"put scannetv2_val\.txt"):
        load(root, "val")
    (root / "scannetv2_val.txt").write_text("scene0001_00\nscene0011_00\n")
    assert [cloud.name for cloud in load(root, "val")] == ["scene0001_00"]
    with pytest.raises(ValueError, match="'train' and 'val'"):
        load(root, "test")


def test_files_of_scannet_that_do_not_fit_are_named(tmp_path: Path) -> None:
    scene = scannet_scene(tmp_path / "scans", "scene0000_00", [5, 5, 5, 2], objects=True)
    (scene / "scene0000_00_vh_clean_2.0.010000.segs.json").write_text('{"segIndices": [1, 2]}')
    with pytest.raises(ValueError, match=r"segs\.json: expected a segment for each of 4 vertices"):
        load(tmp_path)
    (scene / "scene0000_00.aggregation.json").write_text('{"other": 1}')
    (scene / "scene0000_00_vh_clean_2.0.010000.segs.json").write_text('{"segIndices": [1, 2, 1, 2]}')
    with pytest.raises(ValueError, match=r"aggregation\.json: expected JSON with segGroups"):
        load(tmp_path)
    (scene / "scene0000_00_vh_clean_2.labels.ply").unlink()
    with pytest.raises(FileNotFoundError, match=r"labels\.ply is missing"):
        load(tmp_path)


# Writing


def small_cloud() -> Cloud:
    rng = torch.Generator().manual_seed(0)
    xyz, rgb = torch.randn(50, 3, generator=rng), torch.rand(50, 3, generator=rng)
    labels, instances = torch.arange(50) % 3 - 1, torch.arange(50) // 7
    return Cloud(xyz, rgb, labels, instances, ("floor", "red chair"), "room 7")


@pytest.mark.parametrize("suffix", [".ply", ".npz"])
def test_what_is_saved_is_loaded_again(tmp_path: Path, suffix: str) -> None:
    cloud = small_cloud()
    path = tmp_path / "new" / f"room{suffix}"
    save(cloud, path, confidence=torch.rand(50), corrected=np.arange(50), reliable=torch.ones(50) > 0)
    (again,) = load(path)
    for name in ("xyz", "labels", "instances"):
        assert torch.equal(getattr(cloud, name), getattr(again, name))
    torch.testing.assert_close(again.rgb, cloud.rgb, atol=0.0 if suffix == ".npz" else 0.501 / 255, rtol=0.0)
    assert again.classes == cloud.classes
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    names = path.read_bytes()[:500] if suffix == ".ply" else b"".join(name.encode() for name in np.load(path))
    assert all(name in names for name in (b"confidence", b"corrected", b"reliable"))


def test_others_read_what_is_saved(tmp_path: Path) -> None:
    from visionlab.data.open3d_loader import load_open3d

    save(small_cloud(), tmp_path / "room.ply", confidence=torch.arange(50) / 50)
    point = load_open3d().t.io.read_point_cloud(str(tmp_path / "room.ply")).point
    np.testing.assert_array_equal(point["positions"].numpy(), small_cloud().xyz.numpy())
    np.testing.assert_array_equal(point["label"].numpy()[:, 0], small_cloud().labels.numpy())
    assert point["confidence"].numpy()[25, 0] == 0.5


@pytest.mark.parametrize(
    ("name", "extra", "words"),
    [
        ("room.pcd", {}, "path: expected a name that ends in .ply or .npz"),
        ("room.ply", {"confidence": torch.ones(49)}, "confidence: expected 50 numbers"),
        ("room.ply", {"label": torch.ones(50)}, "label: the cloud has its own"),
        ("room.npz", {"score": torch.arange(50) + 2**40}, "score: expected numbers of 32 bits"),
    ],
)
def test_what_cannot_be_saved_is_named(tmp_path: Path, name: str, extra: dict[str, torch.Tensor], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        save(small_cloud(), tmp_path / name, **extra)
    assert not list(tmp_path.iterdir())


def test_an_old_file_survives_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from visionlab.data import clouds

    path = tmp_path / "room.ply"
    save(small_cloud(), path)
    before = path.read_bytes()

    def fail(file: object, *_: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError("the disk is full")

    monkeypatch.setattr(clouds, "write_ply", fail)
    with pytest.raises(OSError, match="full"):
        save(small_cloud(), path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["room.ply"]
