"""Results: a tidy table with curves, arrays and the story of how they came about; one JSON file (and safetensors)."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes
from torch import nn

from visionlab.measure.intervals import Interval, interval
from visionlab.train.checkpoint import write_whole

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Result", "Row", "environment"]


@dataclass(frozen=True)
class Row:
    """One measured value."""

    variant: str
    seed: int
    metric: str
    value: float


@dataclass
class Result:
    """What an experiment measured.

    Args:
        experiment: its name.
        preset: the name of the preset that ran.
        data: the name of the data.
        hash: of the experiment's definition at the time (`Experiment.hash`).
        rows: the tidy table.
        curves: by "variant/seed", then by metric: (step, value) pairs.
        arrays: by name, to probe.
        environment: versions and machine.
        seconds: by "variant/seed".
        networks: the trained networks of a live run by (variant, seed); not saved.
    """

    experiment: str
    preset: str
    data: str
    hash: str
    rows: list[Row] = field(default_factory=list)
    curves: dict[str, dict[str, list[tuple[float, float]]]] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    networks: dict[tuple[str, int], nn.Module] = field(default_factory=dict, repr=False, compare=False)

    @property
    def variants(self) -> list[str]:
        """The variants measured, in order."""
        return list(dict.fromkeys(row.variant for row in self.rows))

    @property
    def seeds(self) -> list[int]:
        """The seeds measured."""
        return sorted({row.seed for row in self.rows})

    def values(self, variant: str, metric: str) -> dict[int, float]:
        """Return the values of one metric by seed.

        Raises:
            KeyError: if the variant or the metric was not measured.
        """
        found = {row.seed: row.value for row in self.rows if row.variant == variant and row.metric == metric}
        if not found:
            metrics = sorted({row.metric for row in self.rows})
            raise KeyError(f"no {metric!r} of {variant!r}; measured: {metrics} of {self.variants}")
        return found

    def summary(self, variant: str, metric: str) -> Interval:
        """Return the mean of a metric over seeds with its 95 % interval."""
        return interval(list(self.values(variant, metric).values()))

    def table(self) -> pd.DataFrame:
        """Return the tidy table as a data frame (variant, seed, metric, value)."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.rows])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the result to one JSON, and its arrays to a safetensors file beside it; each atomically."""
        path = Path(path)
        content = {key: getattr(self, key) for key in ("experiment", "preset", "data", "hash", "environment")}
        content["seconds"] = {key: round(value, 1) for key, value in self.seconds.items()}
        content["rows"] = [[row.variant, row.seed, row.metric, row.value] for row in self.rows]
        content["curves"] = self.curves
        content["arrays"] = sorted(self.arrays)
        if self.arrays:
            blob = to_bytes({name: np.ascontiguousarray(array) for name, array in self.arrays.items()})
            write_whole(path.with_suffix(".safetensors"), lambda file: file.write(blob))
        text = json.dumps(content, separators=(",", ":")) + "\n"
        return write_whole(path, lambda file: file.write(text.encode()))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Result:
        """Read a result that `save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is truncated or of another format.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"path: no result at {path}")
        try:
            content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            arrays = load_file(path.with_suffix(".safetensors")) if content["arrays"] else {}
            return cls(
                **{key: content[key] for key in ("experiment", "preset", "data", "hash", "environment", "seconds")},
                rows=[Row(str(v), int(s), str(m), float(x)) for v, s, m, x in content["rows"]],
                curves={k: {m: [(x, y) for x, y in p] for m, p in c.items()} for k, c in content["curves"].items()},
                arrays={name: arrays[name] for name in content["arrays"]},
            )
        except Exception as error:
            raise ValueError(f"{path} is not a whole result file: {type(error).__name__}: {error}") from error


def environment(device: str) -> dict[str, str]:
    """Describe where a result was measured."""
    import visionlab

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    return {
        "visionlab": visionlab.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
        "system": platform.system(),
        "device": f"{device} ({name})",
        "threads": str(torch.get_num_threads()),
    }
