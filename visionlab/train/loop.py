"""The training loop: plain PyTorch on Lightning Fabric, so that it runs on a CPU, a GPU, several, or several machines.

Everything random in it is a function of (seed, step), so a checkpoint holds the step, the weights and the optimiser,
and a run that was killed at any moment ends, once resumed, with the same numbers as one that never was.
"""

from __future__ import annotations

import atexit
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from visionlab.train import checkpoint as checkpoints
from visionlab.train.randomness import generator, mix
from visionlab.train.schedule import cosine_with_warmup
from visionlab.train.stream import Batch, Stream

__all__ = ["Fit", "Hook", "Momentum", "Recipe", "Stepped", "fit", "start"]

Precision = Literal["32-true", "bf16-mixed", "64-true"]
Loss = Callable[[nn.Module, Batch], tuple[Tensor, dict[str, Tensor]]]
Hook = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained, with AdamW.

    Args:
        steps: optimiser steps.
        batch: samples in one step, over all processes and accumulated parts together.
        learning_rate: the peak of the schedule.
        weight_decay: decay of matrices and kernels; vectors (biases, norms) have none.
        warmup: steps of linear warm-up.
        floor: learning rate of the last step.
        betas: AdamW's averages.
        clip_norm: largest norm of the gradient, or None.
        ema: decay of the moving average of the weights, or None; the average is what `fit` returns.
        precision: of Fabric.
        accumulate: parts a step's batch is worked through in, to save memory.
    """

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float = 0.05
    warmup: int = 0
    floor: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float | None = 1.0
    ema: float | None = None
    precision: Precision = "32-true"
    accumulate: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: expected a whole number >= 1, got {value}")
        if not 0 <= self.warmup < self.steps:
            raise ValueError(f"warmup: expected 0 <= warmup < steps = {self.steps}, got {self.warmup}")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema: expected a decay between 0 and 1, or None, got {self.ema}")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"clip_norm: expected a number > 0, or None, got {self.clip_norm}")
        if self.precision not in get_args(Precision):
            raise ValueError(f"precision: expected one of {', '.join(get_args(Precision))}, got {self.precision!r}")
        if self.batch % self.accumulate:
            raise ValueError(f"accumulate: {self.accumulate} parts do not divide a batch of {self.batch}")

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        return cosine_with_warmup(step, steps=self.steps, warmup=self.warmup, peak=self.learning_rate, floor=self.floor)

    def optimiser(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimiser of a network's parameters; its learning rate is set before each step."""
        return torch.optim.AdamW(_parameter_groups(model, self.weight_decay), lr=0.0, betas=self.betas)


@dataclass(frozen=True, kw_only=True)
class Stepped(Recipe):
    """The same with a rate that drops at given steps, if there are any.

    Args:
        milestones: steps from which on the rate is `drop` times what it was.
        drop: factor.
    """

    milestones: tuple[int, ...] = ()
    drop: float = 0.1

    def rate(self, step: int) -> float:
        """Return the learning rate of a step; a cosine where there are no milestones."""
        if not self.milestones:
            return super().rate(step)
        return self.learning_rate * self.drop ** sum(step >= milestone for milestone in self.milestones)


@dataclass(frozen=True, kw_only=True)
class Momentum(Stepped):
    """The same with stochastic gradient descent, as convolutional networks are usually trained.

    Args:
        momentum: share of the last step that is kept.
        nesterov: look ahead.
    """

    weight_decay: float = 5e-4
    momentum: float = 0.9
    nesterov: bool = True

    def optimiser(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimiser; vectors decay as well, as is usual with it."""
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return torch.optim.SGD(
            trained, lr=0.0, momentum=self.momentum, nesterov=self.nesterov, weight_decay=self.weight_decay
        )


@dataclass
class Fit:
    """What a training run gives: the network (its average where the recipe keeps one), the logged values, seconds."""

    model: nn.Module
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


def start(precision: Precision = "32-true", device: str = "auto") -> Fabric:
    """Set up this process: one device, or under ``torchrun`` its share of all processes (gloo or nccl)."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Fabric(accelerator=device, devices=1, precision=precision)
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    nodes = int(os.environ["WORLD_SIZE"]) // local
    ddp = DDPStrategy(find_unused_parameters=True)  # such as what lies behind a wire that is cut
    fabric = Fabric(accelerator=device, devices=local, num_nodes=nodes, strategy=ddp, precision=precision)
    fabric.launch()
    atexit.register(_leave)
    return fabric


def _leave() -> None:
    """Leave the group of processes: an interpreter that ends with gloo's threads alive is sometimes aborted."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def fit(
    model: nn.Module,
    stream: Stream,
    loss: Loss,
    recipe: Recipe,
    *,
    seed: int,
    fabric: Fabric | None = None,
    augment: Callable[[Batch, torch.Generator], Batch] | None = None,
    hook: Hook | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    save_every: int = 100,
    memory: checkpoints.Stateful | None = None,
) -> Fit:
    """Train a network in place.

    Args:
        model: the network; it is moved to the device.
        stream: its data.
        loss: ``loss(model, batch) -> (scalar mean over the batch, named parts to log)``.
        recipe: steps, batch, learning rate and the rest.
        seed: of data, dropout and augmentation; weights are the caller's.
        fabric: of `start`; by default one for the recipe's precision.
        augment: changes a batch on the device.
        hook: called as ``hook(step, steps, values)`` about 200 times a run, and at its end.
        checkpoint: a file to resume from if it exists, and to save to every ``save_every`` steps.
        save_every: steps between saves.
        memory: what the loss remembers from step to step, if it does; it goes into the checkpoint.

    Raises:
        ValueError: if the batch cannot be split over processes and parts, or the checkpoint is of another run.
        FloatingPointError: if the loss is no longer finite.
    """
    fabric = fabric or start(recipe.precision)
    if recipe.batch % (recipe.accumulate * fabric.world_size):
        raise ValueError(
            f"batch: {recipe.batch} do not split over {fabric.world_size} processes x {recipe.accumulate} parts"
        )
    run = _Run(model, recipe, seed, fabric, memory)
    if checkpoint is not None and Path(checkpoint).exists():
        run.restore(checkpoint)
    began = time.perf_counter() - run.seconds
    log_every = max(1, recipe.steps // 200)
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    # On the CPU the generators of other devices are the caller's.
    seed_all = torch.random.default_generator.manual_seed if fabric.device.type == "cpu" else torch.manual_seed
    with torch.random.fork_rng(devices):
        share: dict[str, Any] = {"rank": fabric.global_rank, "world": fabric.world_size, "device": fabric.device}
        batches = stream.batches(run.step, seed=seed, batch=recipe.batch, **share)
        for step in range(run.step, recipe.steps):
            batch: Batch = fabric.to_device(next(batches))
            # Dropout and drop path draw from the global generators: seeding them per step leaves nothing to save. It
            # comes after the batch, since starting a loader draws from them as well.
            seed_all(mix(seed, step, fabric.global_rank))
            if augment is not None:
                batch = augment(batch, generator(seed, step, fabric.global_rank, 1, device=fabric.device))
            values = run.update(step, batch, loss)
            if step % log_every == 0 or step == recipe.steps - 1:
                run.log(step, values, hook)
            run.step, run.seconds = step + 1, time.perf_counter() - began
            if checkpoint is not None and (run.step % save_every == 0 or run.step == recipe.steps):
                run.save(checkpoint)
    run.agree()
    return Fit(run.average.module if run.average is not None else model, run.history, run.seconds)


class _Run:
    """Weights, optimiser, average and history of one run: all that a checkpoint holds."""

    def __init__(
        self, model: nn.Module, recipe: Recipe, seed: int, fabric: Fabric, memory: checkpoints.Stateful | None = None
    ) -> None:
        self.recipe, self.fabric, self.model, self.memory = recipe, fabric, model, memory
        model.train()
        self.wrapped, self.optimiser = fabric.setup(model, recipe.optimiser(model))
        ema = recipe.ema
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(ema), use_buffers=True) if ema else None
        self.history: list[dict[str, float]] = []
        self.step, self.seconds = 0, 0.0
        shapes = {name: list(p.shape) for name, p in model.named_parameters() if p.requires_grad}
        self.identity = {"seed": seed, "recipe": _plain(asdict(recipe)), "parameters": shapes}

    def update(self, step: int, batch: Batch, loss: Loss) -> dict[str, Tensor]:
        """Take one optimiser step and return its named values, averaged over the parts."""
        recipe = self.recipe
        rate = recipe.rate(step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        total: dict[str, Tensor] = {}
        for i, part in enumerate(_parts(batch, recipe.accumulate)):
            with self.fabric.no_backward_sync(self.wrapped, enabled=i < recipe.accumulate - 1):
                value, named = loss(self.wrapped, part)
                self.fabric.backward(value / recipe.accumulate)
            for name, tensor in {"loss": value, **named}.items():
                total[name] = total.get(name, 0.0) + tensor.detach() / recipe.accumulate
        if recipe.clip_norm is not None:
            self.fabric.clip_gradients(
                self.wrapped, self.optimiser, max_norm=recipe.clip_norm, error_if_nonfinite=False
            )
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update_parameters(self.model)
        return total

    def log(self, step: int, values: dict[str, Tensor], hook: Hook | None) -> None:
        """Average the values over processes, keep them, and tell the hook."""
        row = {
            name: float(cast(Tensor, self.fabric.all_reduce(tensor, reduce_op="mean")))
            for name, tensor in values.items()
        }
        if not math.isfinite(row["loss"]):
            raise FloatingPointError(f"loss: {row['loss']} at step {step}; lower the learning rate or the precision")
        self.history.append({"step": float(step + 1), **row})
        if hook is not None and self.fabric.is_global_zero:
            hook(step + 1, self.recipe.steps, row)

    @torch.no_grad()
    def agree(self) -> None:
        """Give every process the buffers of the first, as its checkpoint has them: batch norms have seen its share."""
        if self.fabric.world_size > 1:
            for module in filter(None, (self.model, self.average)):
                for buffer in module.buffers():
                    torch.distributed.broadcast(buffer, 0)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the checkpoint (the first process does)."""
        if self.fabric.is_global_zero:
            state = {
                "identity": self.identity,
                "step": self.step,
                "seconds": self.seconds,
                "history": self.history,
                "model": self.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "average": self.average.state_dict() if self.average is not None else None,
                "memory": self.memory.state_dict() if self.memory is not None else None,
            }
            checkpoints.save(path, state)
        self.fabric.barrier()

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Go on from a checkpoint of the same run.

        Raises:
            CheckpointError: if it is of another run, or of none.
        """
        state = checkpoints.read(path)
        theirs = state.get("identity")
        if not isinstance(theirs, dict):
            raise checkpoints.CheckpointError(f"{path} is no checkpoint of a training run: it does not say of which")
        if theirs != self.identity:
            keys = [key for key in self.identity if theirs.get(key) != self.identity[key]]
            there, here = ({key: of.get(key) for key in keys} for of in (theirs, self.identity))
            raise checkpoints.CheckpointError(
                f"{path} is of another run; delete it, or name another file. There: {there}; here: {here}"
            )
        try:
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            if self.memory is not None:
                self.memory.load_state_dict(state["memory"])
            self.history = list(state["history"])
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise checkpoints.CheckpointError(
                f"{path} does not fit this run; delete it, or name another file. {type(error).__name__}: {reason}"
            ) from error


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _parts(batch: Batch, parts: int) -> Iterator[Batch]:
    return zip(*(tensor.chunk(parts) for tensor in batch), strict=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return list(value) if isinstance(value, tuple) else value
