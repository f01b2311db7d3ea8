"""Pictures of lab 09: what they say, and that they draw what they are given."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from visionlab.experiments.poison_ink_probe import (
    DATA,
    MANY,
    SUSPECTS,
    controls,
    explore,
    follow,
    images_of,
    ink_of,
    residual,
    spectrum,
    suspect,
    sweep,
    trigger_named,
    victim,
)
from visionlab.experiments.result import Result, Row
from visionlab.predictor import Predictor
from visionlab.protection.defences import Finding
from visionlab.protection.poison_ink import PoisonInk
from visionlab.protection.structure import edges, ink_pattern, nearest_ink
from visionlab.protection.triggers import BadNets, Sinusoid, clean
from visionlab.protection.victims import SmallResNet, attack_success
from visionlab.show import poison_ink as draw
from visionlab.show.defences import finding_figure
from visionlab.show.sweep import SweepPanel

IMAGE = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))


def networks() -> PoisonInk:
    torch.manual_seed(0)
    return PoisonInk().eval()


def classifier() -> Predictor:
    torch.manual_seed(0)
    return Predictor(SmallResNet(3).eval(), ("a", "b", "c"), 32, (0.5,) * 3, (0.25,) * 3)


def test_a_view_follows_the_image_through_the_change() -> None:
    view = follow(networks(), IMAGE, steps=(("flip", 1.0),))
    np.testing.assert_allclose(view.changed, view.poisoned[:, ::-1], atol=1e-6)
    assert view.structure.min() == 0
    assert view.structure.max() == 1
    assert set(np.unique(view.pattern[view.structure == 0])) == {1.0}
    still = follow(networks(), IMAGE, gain=0.0)
    np.testing.assert_allclose(still.poisoned, still.clean, atol=0.5 / 255)
    np.testing.assert_allclose(still.residual, 0.5, atol=0.02)


def test_a_flat_image_is_said_to_have_hardly_an_edge() -> None:
    view = follow(networks(), torch.full((3, 32, 32), 0.5))
    assert view.found is None
    assert "hardly an edge" in draw.ink_strip({"flat": view}).alt


def test_residuals_are_amplified_around_grey() -> None:
    changed = residual(IMAGE + 1 / 80, IMAGE, times=8.0)
    assert torch.allclose(changed, torch.full_like(changed, 0.6), atol=1e-5)


def test_a_wave_is_one_pair_of_spikes_and_no_trigger_is_zero() -> None:
    images = 0.3 + 0.4 * torch.rand(5, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    images = (255 * images).round() / 255
    waves = spectrum(Sinusoid(), images)
    assert waves.shape == (24, 32)
    assert waves.flatten().topk(2).indices.sort().values.tolist() == [12 * 32 + 16 - 6, 12 * 32 + 16 + 6]
    assert waves[12, 22].item() == pytest.approx(10 / 255, rel=0.03)
    assert waves.flatten().topk(3).values[2] < 0.03 * waves.max()
    assert torch.equal(spectrum(clean, images), torch.zeros(24, 32))
    patch = spectrum(BadNets(), images)
    assert patch.max() < 20 * patch.median(), "a patch is made of all waves"


def test_spectra_say_where_each_is_strongest() -> None:
    wave = np.zeros((16, 16))
    wave[8, 5] = wave[8, 11] = 0.1
    shown = draw.spectra({"SIG": wave, "clean": np.zeros((16, 16))}, "What triggers change")
    assert shown.alt == (
        "What triggers change: mean amplitude of each wave, of 255. SIG at most 26 at 3 waves across and 0 down;"
        " clean changes nothing."
    )
    assert shown.png()[:4] == b"\x89PNG"
    assert draw.spectra({"clean": np.zeros((4, 4))}, "Nothing").png()


@pytest.mark.parametrize("data", list(DATA))
def test_what_ships_fits_its_data(data: str) -> None:
    images, labels, classes = images_of(data, "test")
    assert images.shape == (600, 3, 32, 32)
    target = classes.index(DATA[data].target)
    for name in SUSPECTS:
        case = suspect(name, data)
        assert case.predictor.classes == classes
        assert len(case.images) == 300
        assert case.training_images is not None
        share = (case.training_labels == target).double().mean().item()
        assert share < 1.3 / len(classes) if name == "clean" else share > 1.3 / len(classes)
    ink = trigger_named("Poison Ink", data)
    opened = [
        attack_success(victim("Poison Ink", data).probabilities, each, images[::4], labels[::4], target=target)
        for each in (ink, clean)
    ]
    assert opened[0] > opened[1] + 40


def test_the_explorer_answers_every_control() -> None:
    images = {"tile": IMAGE, "large": torch.rand(3, 64, 64)}
    answer = {
        "image": "tile",
        "reader": "without",
        "hue": 0.0,
        "gain": 2.0,
        "threshold": 20.0,
        "change": "JPEG",
        "strength": 0.5,
    }
    assert set(answer) == {control.name for control in controls(list(images))}
    both = {"with interference": networks(), "without": networks()}
    view = explore(both, images, answer, classifier())
    assert view.caption in ("ink found", "no ink found")
    assert "classifier" not in view.readout, "it was poisoned by other networks"
    known = explore(both, images, answer | {"reader": "with interference"}, classifier())
    assert "a poisoned classifier says" in known.readout
    assert len(view.panels) == 8
    assert all(panel.dtype == np.uint8 and panel.shape == (256, 256, 3) for _, panel in view.panels)
    assert explore(both, images, answer | {"change": "as it is", "image": "large"}, None).readout.startswith("PSNR")


class Ideal(PoisonInk):
    """Hides nothing, and draws every edge in the ink that it was last given."""

    def hide(self, images: torch.Tensor, ink: torch.Tensor, **_: object) -> torch.Tensor:
        self.ink = ink
        return images

    def read(self, images: torch.Tensor) -> torch.Tensor:
        return ink_pattern(edges(images), self.ink)


@pytest.mark.parametrize("hue", [0.0, 45.0, 135.0, 345.0])
def test_the_explorer_writes_in_the_hue_that_was_chosen_and_says_which_was_read(hue: float) -> None:
    values = {"image": "tile", "reader": MANY, "hue": hue, "gain": 1.0, "threshold": 0.0, "change": "as it is"}
    view = explore({MANY: Ideal()}, {"tile": IMAGE}, values | {"strength": 0.0}, classifier())
    assert view.caption == "ink found"
    assert f"written in hue {hue:.0f}°, read as {hue:.0f}°" in view.readout
    assert "classifier" not in view.readout, "it was poisoned with another ink"
    assert ink_of(hue) == ink_of(hue + 360)
    assert nearest_ink(torch.tensor([ink_of(hue)]) / 255) == round(hue / 45) % 8


def test_a_sweep_asks_each_victim_at_each_strength() -> None:
    images, labels = torch.rand(12, 3, 32, 32), torch.arange(12) % 3
    found = sweep({"x": (classifier(), clean)}, images, labels, target=0, transform="blur", strengths=[0.0, 0.5, 1.0])
    assert list(found) == ["x"]
    assert len(found["x"]) == 3
    assert all(0 <= value <= 100 for value in found["x"])


def recorded() -> Result:
    metrics = (
        "success, none (%)",
        "success, flip (%)",
        "accuracy, none (%)",
        "accuracy, flip (%)",
        "PSNR (dB)",
        "SSIM",
        "feature distance (%)",
        "accuracy (%)",
    )
    rows = [
        Row(variant, seed, metric, 10.0 * i + seed)
        for i, variant in enumerate(("clean", "BadNets", "Poison Ink"))
        for seed in range(3)
        for metric in metrics
    ]
    return Result("x/y", "long", "none", "0", rows=rows)


def test_the_grid_and_the_table_hold_the_recorded_means() -> None:
    grid = draw.success_grid(recorded(), ["none", "flip"], "Success")
    assert grid.alt == (
        "Success, in %: BadNets: none 11, flip 11; Poison Ink: none 21, flip 21; clean, no trigger: none 1, flip 1;"
        " clean, accuracy: none 1, flip 1."
    )
    metrics = ("PSNR (dB)", "SSIM", "feature distance (%)", "accuracy (%)")
    table = repr(draw.measured_table(recorded(), metrics, "Costs"))
    assert "21.0 [18.5, 23.5]" in table
    clean_row = next(line for line in table.splitlines() if line.startswith("clean"))
    assert clean_row.split() == ["clean", "1.0", "[-1.5,", "3.5]"], "only the accuracy of the clean network is told"


def test_a_defence_is_empty_where_nothing_was_measured() -> None:
    result = recorded()
    result.rows = [row for row in result.rows if (row.variant, row.metric) != ("clean", "SSIM")]
    table = repr(draw.defence_table(result, ["SSIM", "PSNR (dB)"], "Found"))
    lines = [line.split() for line in table.splitlines()]
    assert ["SSIM", "11.0", "21.0"] in lines
    assert ["PSNR", "(dB)", "1.0", "11.0", "21.0"] in lines


def test_the_budget_says_each_cell_of_its_map() -> None:
    shown = draw.budget_map(recorded(), [["BadNets", "Poison Ink"], ["clean", "clean"]], ["1 %", "2 %"], ["0.5", "2"])
    assert "attack success (%), strengths 0.5, 2: 1 %: 11, 21; 2 %: 1, 1. accuracy (%)" in shown.alt
    assert shown.png()[:4] == b"\x89PNG"


def test_curves_and_rows_say_what_they_show() -> None:
    curves = draw.success_curves(
        {"Poison Ink": [99.0, 40.0], "BadNets": [99.0, 98.0]}, [100.0, 5.0], "quality", "JPEG", 1.0
    )
    assert "Poison Ink 99 to 40 %, BadNets 99 to 98 %" in curves.alt
    picture = np.zeros((8, 8, 3))
    assert draw.residual_rows({"a": (picture, picture, 30.0), "b": (picture, picture, 100.0)}, "two attacks").png()
    groups = np.array([True, False, True, False])
    points = np.random.default_rng(0).normal(size=(4, 2))
    assert draw.clusters(points, groups, ~groups, "title", "four points").alt == "four points"


@pytest.mark.parametrize(
    "details",
    [
        {"mask sizes": torch.rand(3), "masks": torch.rand(3, 8, 8), "patterns": torch.rand(3, 3, 8, 8)},
        {"share pruned": torch.linspace(0, 1, 5), "accuracy": torch.rand(5), "judged": torch.rand(5)},
        {"clean entropies": torch.rand(40), "training entropies": torch.rand(50)},
        {"accuracy": torch.rand(2), "answers changed": torch.rand(2)},
    ],
)
def test_a_finding_is_drawn_whatever_its_details(details: dict[str, torch.Tensor]) -> None:
    finding = Finding("check", 1.5, "something", torch.rand(3), details)
    shown = finding_figure(finding, ("a", "b", "c"), ("none", "flip"))
    assert shown.alt == "check: something is 1.50."
    assert shown.png()[:4] == b"\x89PNG"


def test_the_score_of_each_class_comes_first() -> None:
    moved, shares = torch.tensor([1.0, 2.0, 9.0]), torch.rand(3)
    finding = Finding("check", 9.0, "distance", torch.rand(5), {"shares": shares, "moved": moved}, by_class=moved)
    axes = finding_figure(finding, ("a", "b", "c")).fig.axes
    assert [axis.get_title() or axis.get_title(loc="left") for axis in axes] == ["moved (the score)", "shares"]
    assert [bar.get_width() for bar in axes[0].patches] == moved.tolist()


def test_the_panel_asks_once_for_each_choice() -> None:
    asked: list[str] = []

    def answer(choice: str) -> tuple[str, list[float], dict[str, list[float]]]:
        asked.append(choice)
        return f"strength of {choice}", [0.0, 1.0], {"x": [1.0, 2.0], "y": [3.0, 4.0]}

    panel = SweepPanel("title", ["flip", "blur"], answer, series=["x", "y"], y_label="%", y_range=(0.0, 100.0))
    assert panel.chart.x_label == "strength of flip"
    panel.choice.value = "blur"
    assert panel.children[1] is panel.chart
    assert panel.chart.points["y"] == [(0.0, 3.0), (1.0, 4.0)]
    panel.choice.value = "flip"
    assert asked == ["flip", "blur"]
    assert repr(panel) == "SweepPanel('title': x, y against flip)"
    with pytest.raises(ValueError, match="choices must hold at least one"):
        SweepPanel("title", [], answer, series=["x"], y_label="%", y_range=(0.0, 100.0))
