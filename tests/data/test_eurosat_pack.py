from __future__ import annotations

import hashlib
import io
import json
import re
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visionlab.data import eurosat_pack

CLASSES = ("Forest", "River", "SeaLake")


def tile(seed: int) -> Image.Image:
    """A smooth random tile, as much like a field from above as a test needs."""
    coarse = np.random.default_rng(seed).integers(40, 200, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("eurosat")
    for index, label in enumerate(CLASSES):
        (folder / "2750" / label).mkdir(parents=True)
        for number in range(12):
            tile(100 * index + number).save(folder / "2750" / label / f"{label}_{number}.png")
    return folder


def build(source: Path, destination: Path, train: int = 7, test: int = 3) -> eurosat_pack.Packed:
    return eurosat_pack.build(source, destination, train=train, test=test)


def test_the_shipped_pack_is_whole_small_and_evenly_filled():
    assert eurosat_pack.PACK.stat().st_size < 6.8e6
    seen = {}
    for split, each in (("train", 240), ("test", 60)):
        tiles, labels, classes = eurosat_pack.read(split)
        assert tiles.shape == (10 * each, 64, 64, 3)
        assert tiles.dtype == np.uint8
        assert len(classes) == 10
        assert list(classes) == sorted(classes)
        assert np.bincount(labels).tolist() == [each] * 10
        seen[split] = {picture.tobytes() for picture in tiles}
        assert len(seen[split]) == 10 * each
    assert not seen["train"] & seen["test"]


def test_the_shipped_pack_lists_its_sources_without_repeats_and_has_its_notice_beside_it():
    with zipfile.ZipFile(eurosat_pack.PACK) as archive:
        sources = json.loads(archive.read("sources.json"))
    names = [name for strip in sources.values() for name in strip]
    assert len(names) == len(set(names)) == 3000
    assert all(name.startswith(Path(strip).stem) for strip, listed in sources.items() for name in listed)
    notice = eurosat_pack.PACK.with_suffix(".md").read_text()
    for needed in ("Helber", "Copyright (c) 2023 Patrick Helber", "MIT License", "Copernicus Sentinel data"):
        assert needed in notice


def test_decoding_the_training_tiles_takes_about_a_second():
    start = time.perf_counter()
    eurosat_pack.read("train")
    assert time.perf_counter() - start < 5  # 0.6 s on one idle core; the rest is for busy machines


def test_a_tile_of_each_shipped_class_has_its_typical_colour():
    tiles, labels, classes = eurosat_pack.read("train")
    mean = {label: tiles[labels == index].mean((0, 1, 2)) for index, label in enumerate(classes)}
    brightness = {label: rgb.mean() for label, rgb in mean.items()}
    assert max(brightness, key=lambda label: brightness[label]) in {"Industrial", "AnnualCrop", "PermanentCrop"}
    assert brightness["Forest"] < brightness["Pasture"] < brightness["Industrial"]
    assert mean["SeaLake"][2] > mean["SeaLake"][0]  # water is blue, fields are not
    assert mean["AnnualCrop"][0] > mean["SeaLake"][0] + 20


def test_packing_keeps_tiles_classes_and_splits(source, tmp_path):
    packed = build(source, tmp_path / "pack.zip")
    with zipfile.ZipFile(packed.path) as archive:
        sources = json.loads(archive.read("sources.json"))
    for split, each in (("train", 7), ("test", 3)):
        tiles, labels, classes = eurosat_pack.read(split, packed.path, sha256=packed.sha256)
        assert classes == CLASSES
        assert labels.tolist() == np.repeat(range(3), each).tolist()
        names = [name for label in classes for name in sources[f"{split}/{label}.jpg"]]
        for unpacked, label, name in zip(tiles, labels, names, strict=True):
            original = np.asarray(Image.open(source / "2750" / classes[label] / name)).astype(float)
            assert np.sqrt(((unpacked - original) ** 2).mean()) < 255 / 10 ** (packed.lowest_psnr / 20) + 1e-9
    assert packed.mean_psnr > packed.lowest_psnr > 42
    assert packed.size_in_bytes == packed.path.stat().st_size


def test_tiles_are_chosen_and_split_by_the_digest_of_their_names(source, tmp_path):
    packed = build(source, tmp_path / "pack.zip")
    with zipfile.ZipFile(packed.path) as archive:
        sources = json.loads(archive.read("sources.json"))
    for label in CLASSES:
        names = [f"{label}_{number}.png" for number in range(12)]
        names.sort(key=lambda name, label=label: hashlib.sha256(f"{label}/{name}".encode()).digest())
        assert sources[f"train/{label}.jpg"] == names[:7]
        assert sources[f"test/{label}.jpg"] == names[7:10]


def test_a_tile_decodes_the_same_whatever_lies_beside_it(source):
    one, other, third = (np.asarray(tile(seed)) for seed in (1, 2, 3))
    strips = [np.stack([one, other]), np.stack([third, other]), other[None]]
    decoded = [eurosat_pack._decode_strip(eurosat_pack._encode_strip(strip))[-1] for strip in strips]
    assert np.array_equal(decoded[0], decoded[1])
    assert np.array_equal(decoded[0], decoded[2])


def test_packing_again_gives_the_same_bytes_from_a_folder_and_from_a_zip(source, tmp_path):
    zipped = tmp_path / "source.zip"
    with zipfile.ZipFile(zipped, "w") as archive:
        for path in sorted(source.rglob("*.png"), reverse=True):
            archive.write(path, "another_name/" + path.relative_to(source / "2750").as_posix())
        archive.writestr("__MACOSX/another_name/Forest/._Forest_0.png", b"what archivers leave behind")
    packs = [build(source, tmp_path / "1.zip"), build(source, tmp_path / "2.zip"), build(zipped, tmp_path / "3.zip")]
    first, *others = [packed.path.read_bytes() for packed in packs]
    assert all(other == first for other in others)
    assert len({packed.sha256 for packed in packs}) == 1


def test_the_command_line_reports_what_it_wrote(tmp_path, monkeypatch, capsys):
    source, destination = tmp_path / "source", tmp_path / "new" / "pack.zip"
    (source / "Forest").mkdir(parents=True)
    for number in range(300):
        tile(number).save(source / "Forest" / f"{number}.png", compress_level=1)
    monkeypatch.setattr(sys, "argv", ["eurosat_pack", str(source), "--destination", str(destination)])
    eurosat_pack.main()
    digest = re.search(r"SHA-256 (\w{64})", capsys.readouterr().out)[1]
    assert len(eurosat_pack.read("train", destination, sha256=digest)[0]) == 240
    assert len(eurosat_pack.read("test", destination, sha256=digest)[0]) == 60


@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_a_damaged_pack_is_refused(damage, tmp_path):
    content = bytearray(eurosat_pack.PACK.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    else:
        del content[len(content) // 2 :]
    path = tmp_path / "damaged.zip"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged\.zip is damaged: its SHA-256"):
        eurosat_pack.read("train", path)
    with pytest.raises(ValueError, match=r"damaged\.zip is not a EuroSAT pack"):
        eurosat_pack.read("train", path, sha256=None)


def test_a_missing_pack_and_an_unknown_split_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.zip is missing"):
        eurosat_pack.read("train", tmp_path / "absent.zip")
    with pytest.raises(ValueError, match=r"split='val'.*'test', 'train'"):
        eurosat_pack.read("val")


def test_bad_sources_are_named_and_nothing_is_written(source, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(FileNotFoundError, match=r"source=.*absent does not exist"):
        build(tmp_path / "absent", out / "pack.zip")
    text = tmp_path / "notes.txt"
    text.write_text("no zip")
    with pytest.raises(ValueError, match=r"notes\.txt is neither a folder nor a zip file"):
        build(text, out / "pack.zip")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="holds no class folders"):
        build(empty, out / "pack.zip")
    with pytest.raises(ValueError, match="class Forest has 12 tiles, needs 20"):
        build(source, out / "pack.zip", train=15, test=5)
    assert not list(out.iterdir())


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"not an image", r"Forest/1\.png is not a readable image"),
        (tile(0).resize((32, 32)), r"Forest/1\.png has shape \(32, 32, 3\), expected \(64, 64, 3\)"),
    ],
)
def test_a_bad_tile_is_named(content, complaint, tmp_path):
    folder = tmp_path / "Forest"
    folder.mkdir()
    tile(0).save(folder / "0.png")
    if isinstance(content, bytes):
        (folder / "1.png").write_bytes(content)
    else:
        buffer = io.BytesIO()
        content.save(buffer, "PNG")
        (folder / "1.png").write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match=complaint):
        build(tmp_path, tmp_path / "pack.zip", train=1, test=1)


def test_a_failed_write_leaves_no_file_behind_and_the_old_one_as_it_was(source, tmp_path, monkeypatch):
    destination = tmp_path / "pack.zip"
    destination.write_bytes(b"old")

    def full_disk(*arguments: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        build(source, destination)
    assert [path.name for path in tmp_path.iterdir()] == ["pack.zip"]
    assert destination.read_bytes() == b"old"
