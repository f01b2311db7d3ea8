from __future__ import annotations

import itertools
import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import plotly.io
import pytest
from skimage.color import rgb2lab

from visionlab.show import theme

# Machado, Oliveira and Fernandes (2009), full severity, on linear RGB.
SIGHT = {
    "full": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
PAGES = {"light": "#FFFFFF", "dark": "#111111"}


def linear(color: str) -> np.ndarray:
    value = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def luminance(color: str) -> float:
    return float(linear(color) @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def lab_seen_with(color: str, sight: np.ndarray) -> np.ndarray:
    light = np.clip(sight @ linear(color), 0, 1)
    value = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return rgb2lab(value[None, None])[0, 0]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("role", theme.SERIES)
def test_series_colours_stand_out_on_light_and_dark_pages(role: str, page: str) -> None:
    assert contrast(theme.color(role), PAGES[page]) >= 3


@pytest.mark.parametrize("sight", SIGHT)
def test_series_can_be_told_apart_with_every_kind_of_colour_vision(sight: str) -> None:
    seen = {role: lab_seen_with(theme.color(role), SIGHT[sight]) for role in theme.SERIES}
    # 2.3 is a just noticeable difference in CIELAB; line patterns help where colours are near.
    assert min(np.linalg.norm(seen[a] - seen[b]) for a, b in itertools.combinations(seen, 2)) > 3 * 2.3


@pytest.mark.parametrize("sight", SIGHT)
def test_the_two_directions_differ_strongly_with_every_kind_of_colour_vision(sight: str) -> None:
    vertical, horizontal = (lab_seen_with(theme.color(role), SIGHT[sight]) for role in ("vertical", "horizontal"))
    assert np.linalg.norm(vertical - horizontal) > 80


def test_series_do_not_differ_by_colour_alone() -> None:
    assert len({theme.DASHES[role] for role in theme.SERIES}) == len(theme.SERIES)


def test_an_unknown_role_is_named() -> None:
    with pytest.raises(ValueError, match=r"role must be one of method, rival.*got 'winner'"):
        theme.color("winner")


def test_no_text_of_a_figure_is_smaller_than_11_points() -> None:
    fig, ax = plt.subplots()
    ax.plot([0, 1], label="a")
    ax.set(title="t", xlabel="x", ylabel="y")
    ax.legend()
    fig.canvas.draw()
    sizes = [text.get_fontsize() for text in fig.findobj(mpl.text.Text) if text.get_text()]
    plt.close(fig)
    assert len(sizes) > 5
    assert min(sizes) >= 11


def test_lines_take_the_colours_and_patterns_of_the_roles_in_turn() -> None:
    fig, ax = plt.subplots()
    lines = [ax.plot([0, 1])[0] for _ in theme.SERIES]
    plt.close(fig)
    assert [line.get_color() for line in lines] == [theme.color(role) for role in theme.SERIES]
    assert len({str(line._dash_pattern) for line in lines}) == len(lines)


def test_the_same_figure_gives_the_same_svg_twice(tmp_path) -> None:
    files = []
    for name in ("a.svg", "b.svg"):
        fig, ax = plt.subplots()
        ax.fill_between([0, 1], [0, 1])
        fig.savefig(tmp_path / name, metadata={"Date": None})
        plt.close(fig)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_plotly_figures_have_no_ground_of_their_own_and_readable_text() -> None:
    layout = plotly.io.templates["visionlab"].layout
    assert plotly.io.templates.default == "visionlab"
    assert layout.paper_bgcolor == layout.plot_bgcolor == "rgba(0, 0, 0, 0)"
    assert list(layout.colorway) == [theme.color(role) for role in theme.SERIES]
    assert min(contrast(layout.font.color, page) for page in PAGES.values()) >= 4
    assert layout.font.size >= 14


def test_importing_the_theme_loads_no_plotting_library() -> None:
    code = "import sys, visionlab.show.theme; print(sorted({'matplotlib', 'plotly'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
