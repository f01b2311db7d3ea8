"""What networks cost on a machine: a table, and multiply-adds against latency, which are not the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from visionlab.measure.latency import Timing
from visionlab.show.figure import Cell, Figure, Table, figure
from visionlab.show.theme import apply, color, log_axes

__all__ = ["latency_picture", "latency_table"]

MARKS = {"PyTorch": "o", "folded": "s", "onnxruntime": "^", "folded, onnxruntime": "D"}
ROLES = {"PyTorch": "method", "folded": "rival", "onnxruntime": "baseline", "folded, onnxruntime": "variant"}


def latency_table(measured: Mapping[str, Any]) -> Table:
    """Return a row for each network and form: size, parameters, multiply-adds, latencies and memory.

    Args:
        measured: what `visionlab bench --out` writes.
    """
    rows = measured["rows"]
    timings = [_timings(row) for row in rows]
    settings = [f"b{t.batch} t{t.threads}, ms" for t in timings[0]]
    batches = list(rows[0]["memory_mib"])
    columns = ["network", "form", "px", "params, M", "MAdds, M", *settings, *(f"b{b}, MiB" for b in batches)]
    cells: list[list[Cell]] = [
        [
            row["network"], row["form"], row["size"], f"{row['parameters'] / 1e6:.2f}",
            f"{row['multiply_adds'] / 1e6:.1f}",
            *(f"{1e3 * t.median:.2f} ±{1e3 * t.spread:.2f}" for t in found),
            *(f"{row['memory_mib'][batch]:.1f}" for batch in batches),
        ]
        for row, found in zip(rows, timings, strict=True)
    ]  # fmt: skip
    machine = measured["machine"]
    caption = (
        f"{machine['device']}, {machine['cores']} cores, torch {machine['torch']}, float32, untrained. b8 t2: 8 images"
        f" at once on 2 threads.\nMilliseconds a pass: median of {measured['repeats']} turns, ± half of what"
        " lies between their quartiles. MiB: what one pass adds at its peak, without the weights.\n"
        "MAdds: convolutions, linear layers and attention products of one image as this form runs them; activations are"
        " not counted."
    )
    return Table(cells, columns, caption)


def latency_picture(measured: Mapping[str, Any]) -> Figure:
    """Draw multiply-adds against latency on the fewest threads, a panel for each batch; the line is the best rate.

    Args:
        measured: what `visionlab bench --out` writes.
    """
    import matplotlib.pyplot as plt

    apply()
    rows = measured["rows"]
    batches = list(map(int, rows[0]["memory_mib"]))
    threads = min(timing["threads"] for timing in rows[0]["timings"])
    fig, axes = plt.subplots(
        1, len(batches), figsize=(6.4 * len(batches), 5.2), squeeze=False, sharex=True, sharey=True
    )
    said = []
    for ax, batch in zip(axes[0], batches, strict=True):
        points = [(row, _median(row, batch, threads)) for row in rows]
        _panel(ax, points)
        ax.set_title(f"Batch {batch}, {threads} thread{'s' * (threads > 1)}")
        ax.set_xlabel("multiply-adds of an image (M)")
        ax.set_ylabel("time for an image (ms)")
        said += [f"{row['network']} ({row['form']}), batch {batch}: {ms:.2f} ms an image" for row, ms in points]
    axes[0, 0].legend(fontsize=9)
    costs = "; ".join(
        f"{row['network']} ({row['form']}): {row['multiply_adds'] / 1e6:.1f} M multiply-adds" for row in rows
    )
    return figure(fig, f"Multiply-adds against latency. {costs}. {'; '.join(said)}.")


def _timings(row: Mapping[str, Any]) -> list[Timing]:
    return [Timing(**(timing | {"seconds": tuple(timing["seconds"])})) for timing in row["timings"]]


def _median(row: Mapping[str, Any], batch: int, threads: int) -> float:
    """Milliseconds for an image."""
    (found,) = (t for t in _timings(row) if (t.batch, t.threads) == (batch, threads))
    return 1e3 * found.median / batch


def _panel(ax: Any, points: list[tuple[Mapping[str, Any], float]]) -> None:
    """One panel: a mark for each form, the network's name above its slowest, and the line of the best rate."""
    for form, mark in MARKS.items():
        chosen = [(row["multiply_adds"] / 1e6, ms) for row, ms in points if row["form"] == form]
        if chosen:
            ax.plot(*zip(*chosen, strict=True), mark, color=color(ROLES[form]), label=form, markersize=8)
    for network in dict.fromkeys(row["network"] for row, _ in points):
        own = sorted((ms, row["multiply_adds"] / 1e6) for row, ms in points if row["network"] == network)
        ax.plot([x for _, x in own], [ms for ms, _ in own], "-", color=color("reference"), linewidth=0.8, zorder=1)
        y, x = own[-1]
        ax.annotate(network, (x, y), xytext=(0, 8), textcoords="offset points", ha="center", fontsize=10)
    best = min(ms / row["multiply_adds"] for row, ms in points) * 1e6
    ends = [min(row["multiply_adds"] for row, _ in points) / 1e6, max(row["multiply_adds"] for row, _ in points) / 1e6]
    ax.plot(ends, [best * x for x in ends], "--", color=color("reference"), linewidth=1.5, label="all at the best rate")
    log_axes(ax)
    ax.margins(0.25)
