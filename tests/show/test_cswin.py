"""Pictures of CSWin: their words and their pixels say what the arrays say."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from visionlab.experiments.result import Result, Row
from visionlab.measure.attention import HeadGroup, StageView
from visionlab.show import cswin as draw
from visionlab.show import theme
from visionlab.show.cswin_width import Width, width_slider
from visionlab.show.figure import Figure

STRIPES = np.arange(6)[None, :].repeat(4, axis=0) // 2
WINDOWS = 10 * (np.arange(4)[:, None] // 2) + np.arange(6)[None, :] // 3


def share(shown: Figure, colour: str) -> float:
    """Which part of the picture has a colour."""
    pixels = np.asarray(Image.open(io.BytesIO(shown.png())).convert("RGB")) / 255
    return float((np.abs(pixels - np.array(to_rgb(colour))).max(axis=-1) < 0.02).mean())


def group(name: str, rows: slice, columns: slice) -> HeadGroup:
    mask = np.zeros((4, 4), dtype=bool)
    mask[rows, columns] = True
    return HeadGroup(name, mask / mask.sum(), mask)


def view(row: int, column: int) -> StageView:
    groups = (
        group("vertical stripe", slice(None), slice(column // 2 * 2, column // 2 * 2 + 2)),
        group("horizontal stripe", slice(row // 2 * 2, row // 2 * 2 + 2), slice(None)),
    )
    return StageView((row, column), groups, "", "block 1")


def outlines(shown: Figure) -> list[tuple[float, float, float, float]]:
    """Top, bottom, left and right of the dashed outline of each panel that has one."""
    found = []
    for ax in shown.fig.axes:
        for line in ax.lines:
            if line.get_linestyle() == "--" and len(line.get_xdata()) == 5:
                x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
                found.append((y.min(), y.max(), x.min(), x.max()))
    return found


def test_a_partition_names_the_part_of_the_token_wherever_the_token_lies_in_it() -> None:
    shown = draw.partitions({"vertical stripes": STRIPES, "windows": WINDOWS}, (2, 2))
    assert "vertical stripes: rows 0-3, columns 2-3, 33.3 %" in repr(shown)
    assert "windows: rows 2-3, columns 0-2, 25.0 %" in repr(shown)
    first, second = shown.fig.axes
    assert sorted({float(line.get_xdata()[0]) for line in first.lines if len(line.get_xdata()) == 2}) == [1.5, 3.5]
    assert {line.get_ydata()[0] for line in second.lines if tuple(line.get_xdata()) == (0, 1)} == {1.5}


def test_stripes_have_the_colour_of_their_orientation_and_windows_that_of_the_rival() -> None:
    for name, role in (("vertical stripes", "vertical"), ("horizontal stripes", "horizontal"), ("windows", "rival")):
        assert share(draw.partitions({name: STRIPES}, (0, 0)), theme.color(role)) > 0.1


def test_reach_maps_say_each_share_to_a_decimal() -> None:
    first, second = STRIPES == 0, STRIPES < 2
    shown = draw.reach_maps({"cswin": [first, second], "window": [first, first]}, (1, 1), [1, 2])
    assert "after 1, 2 blocks: cswin 33.3, 66.7; window 33.3, 33.3" in repr(shown)
    titles = [ax.get_title(loc="left") for ax in shown.fig.axes]
    assert titles == ["1 block: 33.3 %", "2 blocks: 66.7 %", "1 block: 33.3 %", "2 blocks: 33.3 %"]


def test_the_plain_picture_stands_beside_the_panels_as_it_is() -> None:
    image = np.zeros((16, 16, 3))
    image[..., 0] = 1.0
    with_picture = draw.stripe_panels(image, [view(0, 3)], (1, 14), plain=True)
    assert share(with_picture, "#FF0000") > 0.1
    assert share(draw.stripe_panels(image, [view(0, 3)], (1, 14)), "#FF0000") == 0


def test_there_is_a_row_for_each_group_of_heads() -> None:
    one = StageView((0, 0), (group("its part", slice(0, 2), slice(0, 2)),), "", "block 1")
    assert len(draw.stripe_panels(np.zeros((16, 16, 3)), [one, one], (1, 1)).fig.axes) == 2
    assert len(draw.stripe_panels(np.zeros((16, 16, 3)), [view(0, 0), one], (1, 1)).fig.axes) == 4


def test_the_outline_lies_where_the_other_tokens_stripe_crosses() -> None:
    shown = draw.stripe_panels(np.zeros((16, 16, 3)), [view(0, 3)], (1, 14), other=[view(2, 0)])
    assert outlines(shown) == [(8, 16, 8, 16), (0, 8, 0, 8)]
    assert repr(shown).endswith("Outlined: where the stripes of the other token cross.")
    assert outlines(draw.stripe_panels(np.zeros((16, 16, 3)), [view(0, 3)], (1, 14))) == []


def told(values: dict[str, float]) -> Result:
    """A result of three seeds around some means, on boards of 8x8 and of 16x16."""
    result = Result("cswin/toy", "long", "none", "0")
    for variant, mean in values.items():
        for seed in range(3):
            for size, less in ((8, 0), (16, 20)):
                result.rows.append(Row(variant, seed, f"accuracy on {size}x{size} (%)", mean - less + seed - 1))
    return result


def test_encodings_keep_their_colour_in_every_panel_and_the_words_say_the_means() -> None:
    means = {"none": 30.0, "ape": 40.0, "cpe": 95.0, "cpe*": 96.0, "rpe": 80.0, "lepe": 99.0}
    shown = draw.accuracy_by_size({"direction?": told(means), "colour?": told(means)}, (8, 16), (25, 50))
    assert "direction?: lepe 99.0, 79.0; cpe 95.0, 75.0" in repr(shown)
    assert "chance 25" in repr(shown) and repr(shown).endswith("chance 50.")
    for ax in shown.fig.axes:
        assert ax.get_legend_handles_labels()[1] == ["lepe", "cpe", "cpe*", "rpe", "ape", "none"]
        assert [label.get_text() for label in ax.get_xticklabels()] == ["8×8\n(trained on)", "16×16"]
    for first, second in zip(*(ax.containers for ax in shown.fig.axes), strict=True):
        assert first[0].get_color() == second[0].get_color()


def test_a_figure_by_distance_shows_the_mechanisms_of_equal_cost() -> None:
    result = Result("cswin/toy", "long", "none", "0")
    for variant in ("cswin", "global", "shifted window", "window", "axial"):
        for seed in range(3):
            for name in draw.DISTANCES:
                result.rows.append(Row(variant, seed, f"accuracy at distance {name} (%)", 50.0 + len(variant) + seed))
    shown = draw.accuracy_by_distance(result, "who?")
    assert shown.fig.axes[0].get_legend_handles_labels()[1] == ["cswin", "shifted window", "window", "axial"]
    assert "global" not in repr(shown)


@dataclass(frozen=True)
class Field:
    name: str
    strength: np.ndarray

    def share(self) -> float:
        return 100 * float((self.strength > 0).mean())


def test_fields_are_drawn_in_order_and_said_in_percent() -> None:
    fields = [Field(f"block {n}", (np.arange(16).reshape(4, 4) < 4 * n).astype(float)) for n in (1, 2, 3)]
    shown = draw.field_panels(np.zeros((8, 8, 3)), fields, (1, 1))
    assert repr(shown).endswith("after block 1 25.0; block 2 50.0; block 3 75.0.")
    assert [ax.get_title(loc="left") for ax in shown.fig.axes] == [
        "block 1\n25.0 %", "block 2\n50.0 %", "block 3\n75.0 %", "",
    ]  # fmt: skip


def test_the_slider_changes_the_cross_the_mark_and_the_title() -> None:
    seen = [np.zeros((4, 4), dtype=int) for _ in range(2)]
    seen[0][1] = 2
    seen[1][:2] = 2
    shown = width_slider([Width(1, seen[0], 10.04), Width(2, seen[1], 12.0)], (1, 2), 40.0)
    assert shown.layout.title.text == "Width 1: 25.0 % of the map in one block, 10.0 M multiply-adds"
    assert [step.label for step in shown.layout.sliders[0].steps] == ["1", "2"]
    assert [step.args[0] for step in shown.layout.sliders[0].steps] == [("1",), ("2",)]
    narrow, wide = shown.frames
    assert np.array_equal(np.asarray(narrow.data[0].z), seen[0]) and np.array_equal(np.asarray(wide.data[0].z), seen[1])
    assert (wide.data[1].x, wide.data[1].y) == ((12.0,), (50.0,))
    assert wide.layout.title.text.startswith("Width 2: 50.0 %")
    assert (shown.data[1].x, shown.data[1].y) == ((2,), (1,))
