"""The report of a check for an owner's mark, as one HTML page: numbers, scores against clean pictures, drawings."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from visionlab.show import theme
from visionlab.show.figure import Figure, figure
from visionlab.show.report import embedded, page

__all__ = ["owner_report", "scores_figure"]

STYLE = """
.grid { display: flex; flex-wrap: wrap; gap: 1rem; } .grid figure { margin: 0; width: 17.5rem; }
.grid img { width: 8.5rem; image-rendering: pixelated; } figcaption { font-size: .85rem; overflow-wrap: anywhere; }
"""
PROVES = """
<h2>What it proves, and what it does not</h2>
<p>Each answer is read where its own structure is. It is <i>detected</i> if the owner's message is read, and its score
lies above the threshold, which was set on clean pictures. The p-value is the probability, at most, of so many
detections if the mark is in none: it takes the answers as those to questions drawn at random, and their kind as one of
those that were calibrated on. Pictures of one scene are not independent, and pictures of another kind may show the
owner's inks by themselves: give clean ones of their kind with <code>--clean</code>.</p>
<p>A claim says that whoever made the answers learned from marked ones, or copied them. It does not say who, nor that
all was marked. Another owner with the same message paints the same inks. No claim does not prove innocence:
fine-tuning on clean pairs removes the mark.</p>
<p class="soft">Key and extractor stay private: this report shows what it draws, and is for the owner.</p>
"""


def owner_report(
    summary: Mapping[str, Any],
    verdict: str,
    scores: Mapping[str, Float[Tensor, " _"]],
    threshold: float,
    examples: Sequence[tuple[str, Float[Tensor, "3 _ _"], Float[Tensor, "3 _ _"]]],
) -> str:
    """Write the page.

    Args:
        summary: names to plain values, which make the table; "clean pictures, by kind" has its own.
        verdict: in words.
        scores: of the suspect first, then of clean pictures by kind; 0 where another message was read.
        threshold: of the scores.
        examples: words, picture and drawing.
    """
    say = html.escape
    plain = {k: v for k, v in summary.items() if not isinstance(v, (dict, list)) and k != "verdict"}
    rows = "".join(f"<tr><th>{say(k)}</th><td>{say(_number(v))}</td></tr>" for k, v in plain.items())
    kinds = "".join(
        f"<tr><th>{say(kind)}</th><td>{row['with structure']}</td><td>{row['detected']}</td></tr>"
        for kind, row in summary["clean pictures, by kind"].items()
    )
    drawn = scores_figure(scores, threshold)
    grid = "".join(
        f"<figure>{embedded(_png(image), 'answer')} {embedded(_png(drawing), 'what the extractor draws of it')}"
        f"<figcaption>{say(words)}</figcaption></figure>"
        for words, image, drawing in examples
    )
    return page(
        f"Mark in {summary['suspect']}",
        f'<h1>Mark in {say(summary["suspect"])}</h1><p class="verdict">{say(verdict)}</p><table>{rows}</table>'
        f"<h2>Scores</h2>{embedded(drawn.png(), drawn.alt)}"
        f"<table><tr><th>clean pictures</th><th>with structure</th><th>detected</th></tr>{kinds}</table>"
        '<p class="soft">One half of each kind sets the threshold; the other half of the worst kind gives the rate.</p>'
        f'<h2>Answers, and what the extractor draws</h2><div class="grid">{grid}</div>{PROVES}',
        STYLE,
    )


def scores_figure(scores: Mapping[str, Float[Tensor, " _"]], threshold: float) -> Figure:
    """Draw the scores of the suspect beside those of all clean pictures, as shares, with the threshold.

    Args:
        scores: of the suspect first, then of clean pictures by kind.
        threshold: above it an image is detected.
    """
    import matplotlib.pyplot as plt

    first, *others = (np.asarray(each) for each in scores.values())
    clean = np.concatenate([*others, np.zeros(0)])
    edges = np.linspace(-0.5, 1.5, 41).tolist()
    fig, axis = plt.subplots(figsize=(6.5, 2.8), layout="constrained")
    for values, role, name in ((clean, "reference", "clean pictures"), (first, "method", "suspect")):
        axis.hist(
            values.clip(-0.5, 1.5), edges, weights=np.full(len(values), 1 / max(len(values), 1)),
            color=theme.color(role), alpha=0.6, label=f"{name} ({len(values)})",
        )  # fmt: skip
    axis.axvline(threshold, color=theme.color("rival"), linestyle="--", label=f"threshold {threshold:.2f}")
    axis.set(xlabel="score, 0 where another message was read", ylabel="share of pictures")
    axis.legend()
    over = [int((values > threshold).sum()) for values in (first, clean)]
    return figure(
        fig,
        f"Scores: of the suspect's {len(first)} answers {over[0]} lie above the threshold of {threshold:.2f}, of"
        f" {len(clean)} clean pictures {over[1]}.",
    )


def _png(image: Tensor) -> bytes:
    buffer = io.BytesIO()
    pixels = (image.permute(1, 2, 0).numpy().clip(0, 1) * 255).round().astype(np.uint8)
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
