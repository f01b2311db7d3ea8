"""The table and the picture of a bench: the numbers are those that were measured."""

from __future__ import annotations

from typing import Any

from visionlab.show.latency import latency_picture, latency_table


def row(network: str, form: str, multiply_adds: int, seconds: list[float]) -> dict[str, Any]:
    timings = [
        {"network": network, "form": form, "batch": batch, "threads": threads, "seconds": [batch * s for s in seconds]}
        for batch in (1, 8)
        for threads in (1, 2)
    ]
    return {
        "network": network, "form": form, "size": 32, "parameters": 1_500_000, "multiply_adds": multiply_adds,
        "memory_mib": {"1": 2.0, "8": 11.25}, "timings": timings,
    }  # fmt: skip


MEASURED = {
    "machine": {"device": "a processor", "cores": "2", "torch": "2.9"},
    "repeats": 3,
    "rows": [
        row("small", "PyTorch", 4_000_000, [0.003, 0.002, 0.004]),
        row("small", "folded", 6_000_000, [0.001, 0.001, 0.001]),
        row("large", "PyTorch", 400_000_000, [0.005, 0.005, 0.006]),
    ],
}


def test_the_table_shows_medians_and_spreads() -> None:
    lines = repr(latency_table(MEASURED)).splitlines()
    assert "a processor, 2 cores, torch 2.9" in lines[0]
    assert "median of 3 turns" in lines[1]
    assert "as this form runs them; activations are not counted" in lines[2]
    assert lines[3].split("  ")[0] == "network"
    for words in ("small", "PyTorch", "1.50", "4.0", "3.00 ±0.50", "24.00 ±4.00", "11.2"):
        assert words in lines[5]
    assert max(map(len, lines)) < 170


def test_the_picture_says_what_it_draws() -> None:
    drawn = latency_picture(MEASURED)
    assert "large (PyTorch): 400.0 M multiply-adds" in repr(drawn)
    assert "small (PyTorch), batch 8: 3.00 ms an image" in repr(drawn)
    assert len(drawn.fig.axes) == 2
    line = next(each for each in drawn.fig.axes[0].lines if each.get_linestyle() == "--")
    assert line.get_ydata()[-1] == 5.0, "the network with the best rate lies on the line"
    assert drawn.png().startswith(b"\x89PNG")
