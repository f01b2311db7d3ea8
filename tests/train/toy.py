"""A small training run with all that is random in one (data, dropout, augmentation), as functions and as a program.

``torchrun -m tests.train.toy OUT RUNS`` does the runs of a JSON list of options and writes what each gave.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from visionlab.train.loop import Fit, Hook, Recipe, fit, start
from visionlab.train.randomness import seeded
from visionlab.train.stream import Batch, Fresh, Shuffled, Stream


def network(dropout: float, *, spare: bool = False) -> nn.Module:
    """A small network; with ``spare`` it has a batch norm, and a layer that no loss reaches."""
    with seeded(7):
        layers = [nn.Linear(6, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 1)]
        if spare:
            layers.insert(1, nn.BatchNorm1d(16))
            layers[0].spare = nn.Linear(2, 2)
        return nn.Sequential(*layers)


def draw(n: int, rng: torch.Generator) -> Batch:
    x = torch.randn(n, 6, generator=rng)
    return x, x.sum(dim=1).sin()


def squared_error(model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    error = model(batch[0])[:, 0] - batch[1]
    return error.square().mean(), {"absolute": error.abs().mean()}


def stream_of(kind: str) -> Stream:
    if kind == "fresh":
        return Fresh(draw)
    return Shuffled(TensorDataset(*draw(90, torch.Generator().manual_seed(3))))


@dataclass(frozen=True)
class Cut:
    """A stream that ends: every process of a run stops at the same step."""

    stream: Stream
    stop: int

    def batches(self, start: int, **more: Any) -> Iterator[Batch]:
        return islice(self.stream.batches(start, **more), self.stop - start)


def run(
    steps: int = 120,
    *,
    dropout: float = 0.25,
    spare: bool = False,
    jitter: float = 0.1,
    kind: str = "fresh",
    accumulate: int = 1,
    checkpoint: Path | str | None = None,
    save_every: int = 5,
    hook: Hook | None = None,
    stop: int | None = None,
    fabric: Fabric | None = None,
    **recipe: Any,
) -> Fit:
    settings: dict[str, Any] = {"batch": 24, "learning_rate": 1e-2, "warmup": min(5, steps - 1), "ema": 0.9} | recipe
    stream = stream_of(kind)
    return fit(
        network(dropout, spare=spare),
        stream if stop is None else Cut(stream, stop),
        squared_error,
        Recipe(steps=steps, accumulate=accumulate, **settings),
        seed=11,
        fabric=fabric or start("32-true", "cpu"),
        augment=lambda batch, rng: (batch[0] + jitter * torch.randn(batch[0].shape, generator=rng), batch[1]),
        checkpoint=checkpoint,
        save_every=save_every,
        hook=hook,
    )


def main(out: str, runs: str) -> None:
    """Do the runs with one fabric; write losses, weights, or the words with which a run was refused."""
    fabric, found = start("32-true", "cpu"), []
    for options in json.loads(runs):
        try:
            done = run(fabric=fabric, **options)
            weights = [p.double().flatten().tolist() for p in done.model.state_dict().values()]
            buffers = torch.cat([b.double().flatten() for b in (torch.zeros(1), *done.model.buffers())])
            everyone = fabric.all_gather(buffers)
            apart = (everyone - everyone[0]).abs().max().item()
            found.append({"history": done.history, "weights": weights, "apart": apart})
        except (ValueError, StopIteration) as error:
            found.append({"refused": f"{type(error).__name__}: {error}"})
    if fabric.is_global_zero:
        Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
