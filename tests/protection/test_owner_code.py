from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from visionlab.protection.owner_code import Code, Hues, Levels, capacity, decode, encode
from visionlab.protection.regions import class_means, edge_map, paint, regions
from visionlab.protection.structure import edges, ink_pattern

CODES: tuple[Code, ...] = (Levels(), Hues())


@pytest.mark.parametrize("code", CODES, ids=("levels", "hues"))
def test_every_symbol_has_an_ink_of_its_own_that_gives_it_back(code: Code) -> None:
    symbols = torch.arange(code.size)
    inks = code.inks(symbols)
    assert inks.shape == (code.size, 3)
    assert len({tuple(ink) for ink in inks.tolist()}) == code.size
    assert torch.equal(code.read(inks), symbols)
    assert torch.equal(code.read(inks[None, :, None].double())[0, :, 0], symbols), "any shape, any precision"
    assert code.read(torch.ones(2, 3)).tolist() == [-1, -1], "white is no ink"


def test_neighbouring_levels_have_neighbouring_numbers() -> None:
    inks = (255 * Levels().inks(torch.arange(125))).round()
    steps = (inks[1:] - inks[:-1]).abs()
    assert (steps.sum(1) == 40).all(), "one level of one channel"


def test_a_level_is_read_within_the_tolerance_and_not_beyond() -> None:
    ink = Levels().inks(torch.tensor([77]))
    for tolerance in (5.0, 10.0, 15.0):
        code = Levels(tolerance)
        for sign in (-1, 1):
            assert code.read(ink + sign * tolerance / 255).tolist() == [77]
            off = ink.clone()
            off[:, 1] += sign * (tolerance + 1) / 255
            assert code.read(off).tolist() == [-1], "one channel off is enough"
    for tolerance in (0.0, 20.0):
        with pytest.raises(ValueError, match="tolerance: expected more than 0 and less than 20"):
            Levels(tolerance)


def test_hues_are_read_of_pale_inks_until_they_are_nearly_white() -> None:
    inks = Hues().inks(torch.arange(8))
    assert Hues().read(1 - 0.2 * (1 - inks)).tolist() == list(range(8))
    assert Hues().read(1 - 0.05 * (1 - inks)).tolist() == [-1] * 8
    assert Hues(least=0.5).read(1 - 0.2 * (1 - inks)).tolist() == [-1] * 8


@pytest.mark.parametrize("code", CODES, ids=("levels", "hues"))
@given(classes=st.integers(1, 12), data=st.data())
def test_what_fits_comes_back(code: Code, classes: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, code.size**classes - 1))
    symbols = encode(number, code, classes=classes)
    assert len(symbols) == classes
    assert decode(symbols, code) == number
    length = data.draw(st.integers(1, math.floor(capacity(code, classes))))
    bits = data.draw(st.text("01", min_size=length, max_size=length))
    found = decode(encode(bits, code, classes=classes), code)
    assert f"{found:0{length}b}" == bits


def test_bytes_come_back_and_capacities_are_those_of_the_card() -> None:
    assert capacity(Levels(), 1) == pytest.approx(6.97, abs=0.005)
    assert capacity(Hues(), 2) == 6
    found = decode(encode(b"\x00owner", Levels(), classes=7), Levels())
    assert found is not None
    assert found.to_bytes(6) == b"\x00owner"


@pytest.mark.parametrize(
    ("message", "classes", "words"),
    [
        ("0000", 1, r"message: 4 bits, but 1 x 8 symbols carry 3\.00 bits"),
        (8, 1, r"message: expected less than 8, of 3\.00 bits; got 8"),
        (b"ab", 5, "message: 16 bits, but 5 x 8 symbols carry 15"),
        (-1, 1, "message: expected a number from 0 on, got -1"),
        ("12", 1, "message: expected a string of 0 and 1, got '12'"),
        ("", 1, "message: expected a string of 0 and 1"),
        (b"", 1, "message: expected a byte or more"),
        (0, 0, "classes: expected 1 or more, got 0"),
    ],
)
def test_what_cannot_be_carried_is_refused(message: int | str | bytes, classes: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        encode(message, Hues(), classes=classes)


def test_an_abstention_is_no_number_and_wrong_symbols_are_refused() -> None:
    assert decode((3, -1), Hues()) is None
    for symbols, words in (((), "one for each class"), ((8,), "0 to 7, or -1, got 8")):
        with pytest.raises(ValueError, match=words):
            decode(symbols, Hues())
    for code in CODES:
        for symbol in (-1, code.size):
            with pytest.raises(ValueError, match=f"symbols: expected 0 to {code.size - 1}"):
                code.inks(torch.tensor([symbol]))


# --- Structure in classes ---------------------------------------------------------------------------------------------


def noise(n: int = 3, height: int = 24, width: int = 32) -> torch.Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("k", [1, 2, 5])
def test_regions_are_about_equally_large_from_dark_to_bright_and_move_with_the_image(k: int) -> None:
    labels = regions(noise(), k)
    assert labels.unique().tolist() == list(range(1, k + 1))
    for label in range(1, k + 1):
        assert (labels == label).float().mean() == pytest.approx(1 / k, abs=0.02)
    for turn in (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.transpose(-1, -2)):
        assert (regions(turn(noise()), k) == turn(labels)).float().mean() > 0.995
    ramp = torch.linspace(0, 1, 32).expand(1, 3, 16, 32)
    assert (regions(ramp, k)[0, 0].diff(dim=-1) >= 0).all()


def test_what_is_outside_is_no_region_and_does_not_count() -> None:
    images = torch.linspace(0.5, 1, 32).expand(1, 3, 16, 32).clone()
    outside = torch.zeros(1, 1, 16, 32)
    outside[..., :10] = 1
    images[..., :10] = 0
    labels = regions(images, 2, outside=outside)
    assert torch.equal(labels == 0, outside > 0)
    assert (labels == 1).sum() == (labels == 2).sum() == 16 * 11
    assert regions(images, 2, outside=torch.ones_like(outside)).sum() == 0


def test_a_flat_image_is_one_region_and_none_is_refused() -> None:
    assert regions(torch.full((1, 3, 16, 16), 0.4), 3).unique().tolist() == [1]
    with pytest.raises(ValueError, match="k: expected 1 region or more, got 0"):
        regions(noise(), 0)


def test_the_map_of_edges_is_that_of_poison_ink() -> None:
    outside = (noise()[:, :1] > 0.9).float()
    assert torch.equal(edge_map(noise()).float(), edges(noise()))
    assert torch.equal(edge_map(noise(), outside=outside).float(), edges(noise(), outside=outside))


def test_paint_gives_each_class_its_ink_and_means_find_it_again() -> None:
    inks = torch.rand(3, 2, 3, generator=torch.Generator().manual_seed(1))
    labels = torch.randint(0, 3, (3, 1, 24, 32), generator=torch.Generator().manual_seed(2))
    labels[2][labels[2] == 2] = 0
    drawing = paint(labels, inks)
    for image in range(3):
        for y, x in ((0, 0), (5, 9), (23, 31)):
            label = labels[image, 0, y, x]
            expected = inks[image, label - 1] if label else torch.ones(3)
            assert torch.equal(drawing[image, :, y, x], expected)
    means, area = class_means(drawing, labels, 2)
    torch.testing.assert_close(means[:2], inks[:2])
    torch.testing.assert_close(means[2], torch.stack([inks[2, 0], torch.ones(3)]))
    assert area[2, 1] == 0
    assert area[0, 0] == (labels[0] == 1).sum()
    mask = edges(noise())
    assert torch.equal(paint(edge_map(noise()), inks[:, :1]), ink_pattern(mask, inks[:, 0]))
