"""A small training run with dropout and an average, as a program: ``python -m tests.train.toy OUT [--options]``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from visionlab.train.loop import Fit, Hook, Recipe, fit, start
from visionlab.train.randomness import seeded
from visionlab.train.stream import Batch, Fresh, Shuffled, Stream


def network(dropout: float) -> nn.Module:
    with seeded(7):
        return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 1))


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


def run(
    steps: int = 120,
    *,
    dropout: float = 0.25,
    kind: str = "fresh",
    accumulate: int = 1,
    checkpoint: Path | None = None,
    save_every: int = 5,
    hook: Hook | None = None,
    **recipe: object,
) -> Fit:
    settings = {"steps": steps, "batch": 24, "learning_rate": 1e-2, "warmup": 5, "ema": 0.9} | recipe
    return fit(
        network(dropout),
        stream_of(kind),
        squared_error,
        Recipe(accumulate=accumulate, **settings),
        seed=11,
        fabric=start("32-true", "cpu"),
        checkpoint=checkpoint,
        save_every=save_every,
        hook=hook,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--dropout", type=float, default=0.25)
    parser.add_argument("--kind", default="fresh")
    parser.add_argument("--accumulate", type=int, default=1)
    options = vars(parser.parse_args())
    out = options.pop("out")
    done = run(**options)
    weights = [p.double().flatten().tolist() for p in done.model.state_dict().values()]
    out.write_text(json.dumps({"history": done.history, "weights": weights}))


if __name__ == "__main__":
    main()
