from __future__ import annotations

import base64
import io
from html.parser import HTMLParser
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from PIL import Image

from visionlab.show.figure import Figure, Table, figure


def line(height: float = 1.0) -> plt.Figure:
    fig, ax = plt.subplots()
    ax.plot([0, 1, 2], [0, height, 0])
    return fig


def picture(shown: Figure) -> np.ndarray:
    data, _ = DisplayFormatter().format(shown)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data["image/png"]))))


def test_a_figure_gives_its_picture_and_its_words() -> None:
    shown = figure(line(), "  One peak, height 1.  ")
    data, metadata = DisplayFormatter().format(shown)
    assert data["text/plain"] == repr(shown) == "One peak, height 1."
    assert metadata == {"image/png": {"alt": "One peak, height 1."}}
    pixels = picture(shown)
    assert pixels.shape[0] > 200
    assert pixels.std() > 1


def test_another_figure_gives_another_picture_and_the_same_figure_the_same() -> None:
    low, high, again = (figure(line(height), "A peak.") for height in (1.0, 0.5, 1.0))
    assert low.png() == again.png()
    assert low.png() != high.png()


def test_a_wrapped_figure_is_closed_so_that_it_is_not_shown_twice() -> None:
    fig = line()
    assert plt.fignum_exists(fig.number)
    figure(fig, "A peak.")
    assert not plt.fignum_exists(fig.number)


def test_a_picture_in_few_colours_is_smaller_and_looks_the_same() -> None:
    noise = np.random.default_rng(0).random((60, 60, 3)) * 0.3 + np.linspace(0, 0.7, 60)[:, None, None]
    fig, ax = plt.subplots()
    ax.imshow(noise)
    (full, few), (a, b) = zip(*((png, pixels_of(png)) for png in pictures(fig)), strict=True)
    assert len(few) < 0.5 * len(full)
    assert a.shape == b.shape and len(np.unique(b.reshape(-1, 3), axis=0)) <= 256
    assert np.abs(a.astype(int) - b).mean() < 6


def pictures(fig: Any) -> tuple[bytes, bytes]:
    return Figure(fig, "noise").png(), figure(fig, "noise", few_colours=True).png()


def pixels_of(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_a_figure_without_words_is_refused() -> None:
    fig = line()
    with pytest.raises(ValueError, match="alt must say what the figure shows"):
        figure(fig, " \n")
    plt.close(fig)


def test_what_is_no_figure_is_refused() -> None:
    with pytest.raises(TypeError, match="fig must be a matplotlib figure; got ndarray"):
        Figure(np.zeros(3), "An array.")


ROWS = [("CSWin", 4.3242, np.int64(22), None), ("shifted <windows>", np.float32(4.5), 28, True)]
COLUMNS = ("network", "GMAC", "M parameters", "shown")


def test_a_table_aligns_words_left_and_numbers_right() -> None:
    assert repr(Table(ROWS, COLUMNS, "Cost")).splitlines() == [
        "Cost",
        "network             GMAC  M parameters  shown",
        "-----------------  -----  ------------  -----",
        "CSWin              4.324            22",
        "shifted <windows>    4.5            28  yes",
    ]


class Reader(HTMLParser):
    """Collects (tag, attributes, text) of the cells, and checks that every tag is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[tuple[str, dict[str, str | None], str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append((tag, dict(attrs)))
        if tag in ("th", "td", "caption"):
            self.cells.append((tag, dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        tag, attributes, text = self.cells.pop()
        self.cells.append((tag, attributes, text + data))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop()[0] == tag


def test_the_html_of_a_table_has_a_caption_and_scoped_headings_and_escapes_its_text() -> None:
    table = Table(ROWS, COLUMNS, "Cost & size")
    reader = Reader()
    reader.feed(DisplayFormatter().format(table)[0]["text/html"])
    assert reader.open == []
    assert reader.cells[0][::2] == ("caption", "Cost & size")
    assert [text for _, attributes, text in reader.cells if attributes.get("scope") == "col"] == list(COLUMNS)
    assert [text for _, attributes, text in reader.cells if attributes.get("scope") == "row"] == [
        "CSWin",
        "shifted <windows>",
    ]
    numbers = [attributes["style"] for tag, attributes, text in reader.cells if tag == "td" and text in ("22", "28")]
    assert numbers == ["text-align:right"] * 2


def test_the_html_of_a_table_is_the_same_each_time_and_has_no_ids() -> None:
    first, second = (Table(ROWS, COLUMNS, "Cost").to_html() for _ in range(2))
    assert first == second
    assert " id=" not in first


@pytest.mark.parametrize(
    ("rows", "columns", "caption", "message"),
    [
        ([("a", 1), ("b",)], ("x", "y"), "c", r"rows\[1\] must have 2 cells, one a column; got 1"),
        ([], (), "c", "columns must name at least one column"),
        ([], ("x",), " ", "caption must say what the table shows"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(rows, columns, caption, message) -> None:
    with pytest.raises(ValueError, match=message):
        Table(rows, columns, caption)


def test_a_table_without_rows_shows_its_headings() -> None:
    assert repr(Table([], ("x", "y"), "Nothing yet")).splitlines() == ["Nothing yet", "x  y", "-  -"]
