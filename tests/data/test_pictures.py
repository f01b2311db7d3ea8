from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from visionlab.data import pictures
from visionlab.data.pictures import Picture, files, middle_square, new_folder, read, squares, write


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_pictures_of_all_kinds_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    for mode, shape in (("RGB", (9, 14, 3)), ("RGBA", (9, 14, 4)), ("L", (9, 14)), ("LA", (9, 14, 2))):
        pixels = noise(*shape)
        Image.fromarray(pixels).save(path)
        found = read(path)
        colours = pixels[..., :3] if mode.startswith("RGB") else np.stack([pixels.reshape(9, 14, -1)[..., 0]] * 3, 2)
        assert torch.equal((255 * found.image).round().byte(), torch.from_numpy(colours).permute(2, 0, 1))
        assert found.grey == mode.startswith("L")
        assert (found.alpha is not None) == mode.endswith("A")
        write(found, path)
        with Image.open(path) as again:
            assert again.mode == ("RGBA" if mode.endswith("A") else "RGB")
            if found.alpha is not None:
                assert np.array_equal(np.asarray(again)[..., 3], pixels[..., -1])
                assert np.array_equal(np.asarray(again)[..., :3], colours)


def test_sixteen_bits_turned_pictures_and_palettes(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 9), 257 * 40, dtype=np.uint16)).save(tmp_path / "deep.png")
    deep = read(tmp_path / "deep.png")
    assert deep.grey
    assert (255 * deep.image).round().unique().tolist() == [40]
    upright = Image.fromarray(noise(8, 12, 3))
    exif = upright.getexif()
    exif[0x0112] = 6
    upright.save(tmp_path / "turned.png", exif=exif)
    assert read(tmp_path / "turned.png").image.shape == (3, 12, 8)
    palette = Image.fromarray(noise(8, 12, 3)).quantize(8)
    palette.save(tmp_path / "clear.gif", transparency=0)
    assert read(tmp_path / "clear.gif").alpha is not None


def test_forms_and_profiles(tmp_path: Path) -> None:
    smooth = torch.linspace(0.2, 0.8, 32).expand(3, 32, 32)
    picture = Picture(smooth, profile=b"a profile")
    for form, ending in pictures.FORMS.items():
        write(picture, tmp_path / "sub" / f"x{ending}", form)  # type: ignore[arg-type]
        found = read(tmp_path / "sub" / f"x{ending}")
        assert found.profile == b"a profile"
        assert (found.image - smooth).abs().max() < 3 / 255
    with pytest.raises(ValueError, match="would lose its transparency"):
        write(Picture(smooth, alpha=smooth[:1]), tmp_path / "x.jpg", "jpeg")


def test_what_is_no_picture_or_too_large_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"text\.png is not a readable picture"):
        read(tmp_path / "text.png")
    Image.new("1", (10_001, 10_000)).save(tmp_path / "huge.png")
    with pytest.raises(ValueError, match=r"huge\.png is not .*: 10001 x 10000 pixels, expected 100 mil"):
        read(tmp_path / "huge.png")


def test_the_middle_square_is_upright_and_of_three_channels(tmp_path: Path) -> None:
    pixels = noise(4, 10, 3)
    middle = middle_square(Image.fromarray(pixels))
    assert np.array_equal(np.asarray(middle), pixels[:, 3:7])
    turned = Image.Exif()
    turned[274] = 6  # a quarter turn clockwise makes it upright
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=turned)
    with Image.open(tmp_path / "turned.png") as opened:
        assert np.array_equal(np.asarray(middle_square(opened)), np.rot90(pixels[:, 3:7], -1))
    for mode in ("1", "L", "P", "RGBA", "CMYK", "I;16"):
        assert middle_square(Image.new(mode, (3, 5))).mode == "RGB"
    with pytest.raises(ValueError, match="This picture has 8000 x 6000 pixels; at most 40 million are taken"):
        middle_square(Image.new("1", (8000, 6000)))


def test_files_are_found_in_order_and_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "deep/c.webp", ".hidden.png", "__MACOSX/d.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [str(path.relative_to(tmp_path)) for path in files(tmp_path)] == ["a.JPG", "b.png", "deep/c.webp"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds none"):
        files(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        files(tmp_path / "none")


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    with new_folder(tmp_path / "new") as part:
        (part / "x").touch()
        assert not (tmp_path / "new").exists()
    assert (tmp_path / "new" / "x").exists()
    with pytest.raises(RuntimeError, match="oops"), new_folder(tmp_path / "other") as part:
        raise RuntimeError("oops")
    with pytest.raises(ValueError, match="out: expected a new folder"), new_folder(tmp_path / "new"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_pairs_are_cut_alike_and_have_to_fit(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for i in range(3):
            Image.fromarray(noise(30, 40 + i, 3)).save(tmp_path / folder / f"{i}.{'png' if folder == 'a' else 'bmp'}")
    asked, clean = squares(tmp_path / "b", tmp_path / "a", 16)
    assert asked is not None
    assert torch.equal(asked, clean)
    assert clean.shape == (3, 3, 16, 16)
    assert squares(tmp_path / "b", None, 16)[0] is None
    Image.fromarray(noise(30, 44, 3)).save(tmp_path / "a" / "1.png")
    with pytest.raises(ValueError, match=r"inputs: expected 41 x 30 pixels, as the answer 1.bmp, got 44 x 30"):
        squares(tmp_path / "b", tmp_path / "a", 16)
    (tmp_path / "a" / "2.png").unlink()
    with pytest.raises(ValueError, match=r"none for 2\.bmp"):
        squares(tmp_path / "b", tmp_path / "a", 16)
