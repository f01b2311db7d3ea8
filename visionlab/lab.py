"""What a notebook needs around the library: set-up, figures with words, exercises, predictions, source."""

from __future__ import annotations

import inspect
import logging
import random
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from visionlab.exercises import exercise as exercises
from visionlab.experiments.experiment import Experiment
from visionlab.experiments.result import Result
from visionlab.show import theme
from visionlab.show.figure import Figure, figure
from visionlab.show.live import LiveCurves
from visionlab.show.predict import Prediction

__all__ = ["Text", "check", "here", "hint", "predict", "setup", "show", "source", "train"]


class Text:
    """Words shown as they are in a cell's output, as Markdown where the page can."""

    def __init__(self, plain: str, markdown: str | None = None) -> None:
        self.plain, self.markdown = plain, markdown or plain

    def __repr__(self) -> str:
        return self.plain

    def _repr_markdown_(self) -> str:
        return self.markdown


def setup(seed: int = 0, *, threads: int = 1) -> Text:
    """Make a notebook run the same way each time: seeds, one thread, deterministic kernels, rounded printing.

    Args:
        seed: of Python's, NumPy's and torch's global generators.
        threads: of torch; labs are written and checked with one.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_printoptions(precision=3, sci_mode=False)
    np.set_printoptions(precision=3, suppress=True)
    warnings.filterwarnings("ignore", module=r"lightning_fabric|torch\.utils\.data|timm")
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    theme.apply()
    return Text("ready")


def here() -> Path:
    """Return the folder of the notebook."""
    return Path.cwd()


def show(fig: Any, alt: str) -> Figure:
    """Show a matplotlib figure together with a line that says what it shows; that line is what tests compare."""
    return figure(fig, alt)


def check(name: str, *answers: Callable[..., Any]) -> exercises.Check:
    """Check an answer to an exercise of this lab; see `visionlab.exercises.exercise.check`."""
    return exercises.check(exercises.find(name), answers)


def hint(name: str, step: int = 1) -> Text:
    """Return a hint: 1 and 2 lead the way, 3 is the solution."""
    found = exercises.find(name)
    if step not in (1, 2, 3):
        raise ValueError(f"step: expected 1, 2 or 3, got {step}")
    text = found.hints[step - 1]
    return Text(text.strip(), text if step < 3 else f"```python\n{text.strip()}\n```")


def predict(
    question: str, options: Sequence[str] | None, answer: str | float, explanation: str, **more: Any
) -> Prediction:
    """Ask for a guess before the answer is seen."""
    return Prediction(question, options, answer, explanation, **more)


def source(part: Any) -> Text:
    """Show the library's own source of a function or class."""
    code = inspect.getsource(part)
    return Text(code, f"```python\n{code}```")


def train(
    experiment: Experiment,
    *,
    metric: str,
    y_label: str,
    y_range: tuple[float, float] | None = None,
    seed: int = 0,
    variants: Sequence[str] | None = None,
    **run: Any,
) -> Result:
    """Run an experiment's quick preset live, by default with its variants: one curve each, drawn while it trains."""
    from IPython.display import display

    chosen = variants or getattr(experiment.preset("quick"), "variants", ()) or experiment.variants
    live = LiveCurves(experiment.question, chosen, metric, y_label, y_range, smooth=10)
    display(live)
    return experiment.run(
        "quick", seeds=(seed,), variants=chosen, hooks=lambda variant, _: live.callback(variant), **run
    )
