"""Pictures of Mobile-Former: their words say what the arrays say, and their pixels are where the arrays put them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from visionlab.experiments.mobile_former_probe import BlockView, Injection
from visionlab.show import mobile_former as draw
from visionlab.show import theme
from visionlab.show.bridge_words import answer_words, block_words, cut_words, no_cuts, share_of_half, strength
from visionlab.show.figure import Figure

IMAGE = np.full((16, 16, 3), 0.5)


def view(title: str, reads: np.ndarray | None, hears: np.ndarray | None, tokens: np.ndarray | None = None) -> BlockView:
    tokens = np.eye(2) if tokens is None else tokens
    unit = tokens / np.linalg.norm(tokens, axis=1, keepdims=True)
    return BlockView(title, title, reads, hears, tokens, unit @ unit.T, (), None)


def corner_and_even() -> np.ndarray:
    """One head: token 1 reads the first pixel alone, token 2 all 16 alike."""
    reads = np.zeros((1, 2, 4, 4))
    reads[0, 0, 0, 0] = 1
    reads[0, 1] = 1 / 16
    return reads


def halves() -> np.ndarray:
    """One head: the left column hears token 1 only, the other three token 2 only."""
    hears = np.zeros((1, 2, 4, 4))
    hears[0, 0, :, 0] = 1
    hears[0, 1, :, 1:] = 1
    return hears


def has(shown: Figure, colour: str, tolerance: float = 0.12) -> float:
    """Which part of the picture has about a colour."""
    pixels = np.asarray(Image.open(io.BytesIO(shown.png())).convert("RGB")) / 255
    return float((np.abs(pixels - np.array(to_rgb(colour))).max(axis=-1) < tolerance).mean())


def test_half_of_the_weight_is_counted_from_the_strongest_pixel_down() -> None:
    assert share_of_half(np.array([0.5, 0.3, 0.2])) == 1
    assert share_of_half(np.array([0.2, 0.49, 0.31])) == 2
    assert share_of_half(np.full((4, 4), 1 / 16)) == 8


def test_who_reads_everywhere_alike_looks_pale() -> None:
    first, second = strength(corner_and_even()[0])
    assert first.max() == 1
    assert np.allclose(second, 0.25)


def test_bridge_panels_say_where_tokens_read_and_who_is_heard() -> None:
    views = [
        view("block 1", corner_and_even(), halves()),
        view("block 2", None, halves()),
        view("end", halves() / 8, None),
    ]
    shown = draw.bridge_panels(IMAGE, views)
    assert "block 1: read 6, 50, heard 25, 75" in repr(shown)
    assert "block 2: nothing is read, heard 25, 75" in repr(shown)
    assert "end: read" in repr(shown)
    assert repr(shown).endswith("nothing is written.")
    assert len(shown.fig.axes) == 10, "nine maps and a colour bar"
    corner = shown.fig.axes[0].images[1].get_array()
    assert corner[0, 0] == 1
    assert corner[1:].max() == 0
    ears = shown.fig.axes[6].images[1].get_array()
    assert np.allclose(ears[:, 0, :3], to_rgb(theme.TOKENS[0]))
    assert np.allclose(ears[:, 1:, :3], to_rgb(theme.TOKENS[1]))
    assert (ears[..., 3] > 0.9).all()
    said = [[text.get_text() for text in ax.texts if text.get_text()] for ax in shown.fig.axes[:9]]
    assert said == [[], ["nothing is read"], [], [], ["nothing is read"], [], [], [], ["nothing is written"]]
    assert "strongest pixel" in shown.fig.axes[9].get_ylabel()
    assert [text.get_text() for text in shown.fig.legends[0].texts] == ["token 1", "token 2"]


def test_pixels_that_hear_all_tokens_alike_are_pale_but_have_a_hue() -> None:
    even = np.full((1, 2, 4, 4), 0.5)
    even[:, 0] += 0.01
    even[:, 1] -= 0.01
    dark = np.zeros((16, 16, 3))
    shown = draw.bridge_panels(dark, [view("block 1", None, even)])
    ears = shown.fig.axes[2].images[1].get_array()
    assert (abs(ears[..., 3] - 0.4) < 0.02).all()
    assert has(shown, "#CEB273", 0.05) > 0.05, "orange, not brown, on a black picture"


def test_cosines_are_written_and_their_mean_is_said() -> None:
    tokens = np.array([[1.0, 0.0], [0.6, 0.8]])
    shown = draw.cosine_panels([view("block 1", None, None, tokens), view("block 2", None, None)])
    assert repr(shown).endswith("block 1 0.60; block 2 0.00.")
    assert [text.get_text() for text in shown.fig.axes[0].texts] == ["1.00", "0.60", "0.60", "1.00"]
    assert [ax.get_xlabel() for ax in shown.fig.axes[:2]] == ["token", "token"]
    assert shown.fig.axes[2].get_ylim() == (-1, 1), "the colour bar"


def test_cosines_near_one_are_told_apart() -> None:
    tokens = np.array([[1.0, 0.0], [0.97, np.sqrt(1 - 0.97**2)]])
    texts = draw.cosine_panels([view("block 1", None, None, tokens)]).fig.axes[0].texts
    assert [text.get_text() for text in texts][:2] == ["1.00", "0.97"]


def test_slope_curves_are_the_larger_of_two_lines() -> None:
    slopes = np.array([[1.0, -1.0], [2.0, 0.5], [1.5, 0.25]])
    shown = draw.slope_curves(slopes, ["a", "b", "c"], ["red", "green", "green"], "channel 3")
    assert "channel 3: (a1, a2) for 3 images: a (1.00, -1.00), b (2.00, 0.50), c (1.50, 0.25)" in repr(shown)
    relu, first, second, third = shown.fig.axes[0].lines
    x = np.asarray(first.get_xdata())
    assert np.allclose(first.get_ydata(), abs(x))
    assert np.allclose(second.get_ydata(), np.where(x > 0, 2 * x, x / 2))
    assert np.allclose(relu.get_ydata(), np.maximum(x, 0))
    assert first.get_color() != second.get_color() == third.get_color(), "a colour for each group"
    assert [text.get_text() for text in shown.fig.axes[0].get_legend().texts] == [
        "ReLU: a1 = 1, a2 = 0",
        "red ×1\na1 1.00 to 1.00, a2 -1.00 to -1.00",
        "green ×2\na1 1.50 to 2.00, a2 0.25 to 0.50",
    ]
    with pytest.raises(ValueError, match="groups: expected 4 different ones at most, got 5"):
        draw.slope_curves(np.ones((5, 2)), list("abcde"), list("abcde"), "channel 3")


def test_the_cloud_counts_what_is_still_a_relu_and_what_folds() -> None:
    slopes = np.array([[1.0, 1.05, 1.0, 2.0], [0.0, 0.0, -0.5, 1.0]])
    shown = draw.slope_cloud({"late": slopes, "early": np.array([[1.0, 1.0], [0.0, 0.0]])})
    assert "late: 50 % within 0.1 of a ReLU, 25 % with a2 below -0.1" in repr(shown)
    late, early, bar = shown.fig.axes
    assert late.get_title("left") == "late\n50 % within 0.1 of a ReLU"
    assert [ax.collections[0].get_array().sum() for ax in (late, early)] == [4, 2], "every channel is in some cell"
    assert late.get_xlim() == early.get_xlim(), "one scale"
    assert bar.get_yscale() == "log"


def test_the_cloud_is_drawn_as_large_as_the_data_allow() -> None:
    ax = draw.slope_cloud({"still": np.array([[1.0, 1.05], [0.0, 0.2]])}).fig.axes[0]
    assert np.allclose([*ax.get_xlim(), *ax.get_ylim()], [0.88, 1.12, -0.12, 0.22])
    assert not ax.patches[0].get_fill(), "the ring hides nothing"


def test_an_injection_says_what_moved_and_how_the_answer_changed() -> None:
    moved = (np.zeros((4, 4)), np.full((2, 2), 0.5))
    scores = [np.array(pair) for pair in ((0.9, 0.1), (0.2, 0.8), (0.4, 0.6))]
    injection = Injection(*scores, ("block 1", "block 2"), moved)
    shown = draw.injection_panels(IMAGE, 1 - IMAGE, injection, ["field", "river"], "block 2")
    assert "put in after block 2" in repr(shown)
    assert "block 1 0.00, block 2 0.50" in repr(shown)
    assert (
        "the image alone field (0.90); the giver river (0.80); the image with the giver's tokens river (0.60)"
        in repr(shown)
    )
    first, second, bar = shown.fig.axes[2:]
    assert [ax.get_xlabel() for ax in (first, second)] == ["mean 0.00", "mean 0.50"]
    assert second.get_title("left") == "exchanged here\nblock 2"
    assert [ax.spines["left"].get_visible() for ax in (first, second)] == [False, True]
    assert bar.get_ylim() == (0, 0.5)
    assert "the giver river (0.80)" in shown.fig.get_supxlabel()
    still = draw.injection_panels(IMAGE, IMAGE, Injection(*scores, ("block 1",), moved[:1]), ["a", "b"], "block 1")
    assert "block 1 0.00" in repr(still)


def test_a_board_shows_what_is_right_and_crosses_what_is_wrong() -> None:
    board = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 2, 1, 0], [0, 0, 0, 0]])
    sure = {"whole": np.where(board == 1, 0.9, 0.1), "cut": np.full((4, 4), 0.9)}
    shown = draw.board_panels(board, sure)
    assert repr(shown) == "A puzzle of 3 red squares, 1 green ones; whole labels 4 of 4 right; cut labels 3 of 4 right."
    puzzle, whole, cut = shown.fig.axes
    assert [text.get_text() for text in puzzle.texts] == ["R", "R", "G", "R"]
    assert [text.get_text() for text in whole.texts] == ["R", "R", "G", "R", "most", "most", "few", "most"]
    crosses = [[line for line in ax.lines if line.get_marker() == "x"] for ax in (whole, cut)]
    assert [len(found) for found in crosses] == [0, 1]
    assert np.allclose(crosses[1][0].get_xydata(), (1.34, 1.66))
    assert np.allclose(puzzle.get_xlim(), (0.2, 2.8))
    assert has(shown, draw.SQUARES[1]) > has(shown, draw.SQUARES[2]) > 0.02


def test_words_of_cuts_and_answers() -> None:
    assert cut_words(no_cuts()) == "nothing"
    cuts = no_cuts() | {"slopes": True, "silent": (0, 2)}
    assert cut_words(cuts) == "dynamic slopes, the voice of token 1, the voice of token 3"
    before, after = {"field": 0.7, "river": 0.3}, {"field": 0.4, "river": 0.6}
    assert answer_words(before, before, no_cuts()) == "Nothing is cut. Answer: field (0.70)."
    assert answer_words(before, after, cuts).endswith("Answer: river (0.60); uncut it was field (0.70).")


def test_words_of_a_block_tell_cut_from_missing() -> None:
    reading, writing = no_cuts() | {"reading": True}, no_cuts() | {"writing": True}
    assert "reads nothing, for reading is cut; no pixel listens here" in block_words("b", None, None, 0, reading)
    assert "reads nothing here; nobody hears it, for writing is cut" in block_words("b", None, None, 0, writing)
    said = block_words("b", corner_and_even()[0], halves()[0], 0, no_cuts())
    assert said == (
        "b: token 1 has half of its reading on 1 of 16 pixels, most at row 0, column 0; 4 of 16 pixels listen to it"
        " more than to any other."
    )
    silenced = block_words("b", corner_and_even()[0], halves()[0], 0, no_cuts() | {"silent": (0,)})
    assert silenced.endswith("; it is silenced.")


def test_one_block_is_drawn_large() -> None:
    seen = view("stage 1, block 1", corner_and_even(), halves())
    shown = draw.bridge_view(IMAGE, seen, 0)
    assert [ax.get_title() for ax in shown.fig.axes[:3]] == [
        "the picture", "what token 1 reads: bright", "which token a pixel hears most",
    ]  # fmt: skip
    drawn = shown.fig.axes[1].images[-1].get_array()
    assert (drawn[0, 0], drawn.sum()) == (1, 1), "token 1 reads one pixel"
    names = [text.get_text() for text in shown.fig.axes[2].get_legend().texts]
    assert names == ["token 1", "token 2"]
    assert "strongest pixel" in shown.fig.axes[3].get_xlabel(), "the colour bar"
    assert all(has(shown, theme.TOKENS[token], 0.02) > 0.0005 for token in (0, 1)), "the legend shows their colours"
    assert repr(shown).startswith("stage 1, block 1: read 6, 50, heard 25, 75;")
    deaf = draw.bridge_view(IMAGE, view("stage 1, block 1", None, None), 1)
    assert [ax.get_title() for ax in deaf.fig.axes[1:3]] == ["token 2 reads nothing", "no pixel listens"]
    with pytest.raises(ValueError, match="token: expected 0 to 1, got 2"):
        draw.bridge_view(IMAGE, seen, 2)
