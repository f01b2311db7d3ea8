"""The EuroSAT pack: 3,000 satellite tiles in one small file that ships with the package.

EuroSAT (Helber et al., "EuroSAT: A Novel Dataset and Deep Learning Benchmark for Land Use and Land Cover
Classification", IEEE JSTARS 2019) holds 27,000 RGB tiles of 64 x 64 pixels in ten classes. The pack keeps 300
tiles of each class, 240 to train on and 60 to test with. It is a zip file of strips:

    train/AnnualCrop.jpg    240 tiles, one below the other (64 pixels wide, 15,360 high)
    test/AnnualCrop.jpg     60 tiles
    ...                     the same for every other class
    sources.json            the file name of every tile, strip by strip

A strip is a JPEG with full-resolution colour, whose 8 x 8 blocks never straddle two tiles: each tile decodes as if
it were alone, but all share one header and one set of Huffman tables. The quantisation is flat, not perceptual,
because networks look at all frequencies; chroma is quantised most finely in its lowest 4 x 4 frequencies, the only
ones that the chroma-subsampled originals carry.

`python -m visionlab.data.eurosat_pack SOURCE` makes the pack again from an unpacked or zipped EuroSAT RGB.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

__all__ = ["PACK", "SHA256", "TILE", "Packed", "build", "read"]

PACK = Path(__file__).parent / "packs" / "eurosat_mini.zip"
SHA256 = "35f212fdc9acdab563dc6cffc60cafe7337aaec70aada942f06a42d948fae383"
TILE = 64
QUANTISATION = [
    [3] * 64,  # luma
    [2 if row < 4 and column < 4 else 3 for row in range(8) for column in range(8)],  # chroma
]


@dataclass(frozen=True)
class Packed:
    """What `build` wrote: the file, its size and digest, and the fidelity of its tiles (PSNR in dB)."""

    path: Path
    size_in_bytes: int
    sha256: str
    mean_psnr: float
    lowest_psnr: float


def read(
    split: str, path: Path = PACK, *, sha256: str | None = SHA256
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """The tiles of one split, with their labels and the names of the classes.

    Args:
        split: "train" or "test".
        path: The pack; the one that ships with the package if not given.
        sha256: The digest that the file must have, in hexadecimal; None trusts any file.

    Returns:
        Tiles (N, 64, 64, 3) uint8, class by class; labels (N,) int64; class names in alphabetical order.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The split is unknown, or the file is not the pack that it should be.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; `python -m visionlab.data.eurosat_pack SOURCE` makes it")
    packed = path.read_bytes()
    found = hashlib.sha256(packed).hexdigest()
    if sha256 not in (None, found):
        raise ValueError(f"{path} is damaged: its SHA-256 is {found}, expected {sha256}")
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            strips = {name: archive.read(name) for name in sorted(archive.namelist()) if name.endswith(".jpg")}
        splits = sorted({PurePosixPath(name).parent.name for name in strips})
        if split not in splits:
            raise ValueError(f"split={split!r}: the EuroSAT pack has {splits}")
        tiles = {
            PurePosixPath(name).stem: _decode_strip(strips[name]) for name in strips if name.startswith(f"{split}/")
        }
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a EuroSAT pack: {error}") from error
    labels = np.repeat(np.arange(len(tiles)), [len(strip) for strip in tiles.values()])
    return np.concatenate(list(tiles.values())), labels, tuple(tiles)


def build(source: Path, destination: Path = PACK, *, train: int = 240, test: int = 60) -> Packed:
    """Pack `train` + `test` tiles of every class of an EuroSAT RGB folder or zip file.

    Which tiles, and which of them are for testing, follows from the SHA-256 of their file names alone: the order of
    the source does not matter, and the same source always gives the same bytes (for one version of libjpeg).

    Args:
        source: Folder or zip file with one folder of 64 x 64 pixel images per class, at any depth.
        destination: The file to write; it appears whole or not at all.
        train: Tiles of each class for training.
        test: Tiles of each class for testing.

    Raises:
        FileNotFoundError: There is no such source.
        ValueError: It is no such folder or zip file, a class has too few tiles, or a tile is not a 64 x 64 pixel
            image.
    """
    by_class, read_bytes = _find_tiles(source)
    members: dict[str, bytes] = {}
    sources: dict[str, list[str]] = {}
    fidelity: list[np.ndarray] = []
    for label, names in sorted(by_class.items()):
        if len(names) < train + test:
            raise ValueError(f"{source}: class {label} has {len(names)} tiles, needs {train + test}")
        chosen = sorted(names, key=_rank)[: train + test]
        for split, part in (("train", chosen[:train]), ("test", chosen[train:])):
            tiles = np.stack([_decode_tile(read_bytes, name) for name in part])
            member = f"{split}/{label}.jpg"
            members[member] = _encode_strip(tiles)
            sources[member] = [PurePosixPath(name).name for name in part]
            fidelity.append(_psnr(tiles, _decode_strip(members[member])))
    members["sources.json"] = json.dumps(sources, separators=(",", ":"), sort_keys=True).encode()
    packed = _zip(members)
    _write_whole(destination, packed)
    psnr = np.concatenate(fidelity)
    digest = hashlib.sha256(packed).hexdigest()
    return Packed(destination, len(packed), digest, float(psnr.mean()), float(psnr.min()))


def _find_tiles(source: Path) -> tuple[dict[str, list[str]], Callable[[str], bytes]]:
    """The image names of each class, and a function that reads one of them."""
    if source.is_dir():
        names = [path.relative_to(source).as_posix() for path in source.rglob("*")]

        def read_bytes(name: str) -> bytes:
            return (source / name).read_bytes()
    elif not source.exists():
        raise FileNotFoundError(f"source={source} does not exist")
    elif zipfile.is_zipfile(source):
        archive = zipfile.ZipFile(source)
        names, read_bytes = archive.namelist(), archive.read
    else:
        raise ValueError(f"source={source} is neither a folder nor a zip file")
    by_class = defaultdict(list)
    for path in map(PurePosixPath, names):
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
        if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".tif"} and not hidden and path.parent.name:
            by_class[path.parent.name].append(path.as_posix())
    if not by_class:
        raise ValueError(f"source={source} holds no class folders with images")
    return by_class, read_bytes


def _rank(name: str) -> str:
    """The place of a tile in the draw: a digest of class and file name, blind to the folders above."""
    return hashlib.sha256("/".join(PurePosixPath(name).parts[-2:]).encode()).hexdigest()


def _decode_tile(read_bytes: Callable[[str], bytes], name: str) -> np.ndarray:
    try:
        tile = np.asarray(Image.open(io.BytesIO(read_bytes(name))).convert("RGB"))
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{name} is not a readable image: {error}") from error
    if tile.shape != (TILE, TILE, 3):
        raise ValueError(f"{name} has shape {tile.shape}, expected {(TILE, TILE, 3)}")
    return tile


def _encode_strip(tiles: np.ndarray) -> bytes:
    strip = Image.fromarray(tiles.reshape(-1, TILE, 3))
    buffer = io.BytesIO()
    strip.save(buffer, "JPEG", qtables=QUANTISATION, subsampling="4:4:4", optimize=True, progressive=True)
    return buffer.getvalue()


def _decode_strip(encoded: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(encoded))).reshape(-1, TILE, TILE, 3)


def _psnr(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio (N,) in dB of tiles (N, 64, 64, 3) in 0 to 255, before and after packing."""
    squared_error = (before.astype(np.float64) - after) ** 2
    return 10 * np.log10(255**2 / squared_error.mean((1, 2, 3)).clip(1e-10))


def _zip(members: dict[str, bytes]) -> bytes:
    """A zip file that depends on its members alone: no times, no permissions, no compression."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(members.items()):
            member = zipfile.ZipInfo(name)
            member.create_system = 3  # else it records the operating system
            archive.writestr(member, content)
    return buffer.getvalue()


def _write_whole(destination: Path, content: bytes) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=destination.parent, prefix=f".{destination.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).chmod(0o644)  # mkstemp makes it private
        Path(temporary).replace(destination)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def main() -> None:
    """Build the pack from the command line and report what was written."""
    parser = argparse.ArgumentParser(description="Make the EuroSAT pack again.")
    parser.add_argument("source", type=Path, help="folder or zip file of EuroSAT RGB: one folder per class")
    parser.add_argument("--destination", type=Path, default=PACK, help="the file to write (default: %(default)s)")
    arguments = parser.parse_args()
    packed = build(arguments.source, arguments.destination)
    print(f"{packed.path}: {packed.size_in_bytes:,} bytes, SHA-256 {packed.sha256}")
    print(f"PSNR of a tile: mean {packed.mean_psnr:.2f} dB, lowest {packed.lowest_psnr:.2f} dB")


if __name__ == "__main__":
    main()
