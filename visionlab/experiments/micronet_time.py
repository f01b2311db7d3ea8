"""MicroNet and time: what M0 to M3 and MobileNetV3s take on this machine, beside what they cost in multiply-adds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from visionlab.backbones.micronet import MicroNet, multiply_adds_of_shift_max
from visionlab.backbones.micronet_inference import (
    InPlaceShiftMax,
    MergedConvolution,
    fast_layers,
    inference_form,
    pointwise_layers,
)
from visionlab.backbones.mobilenet_inference import inference_form as mobilenet_form
from visionlab.experiments.claim import Claim
from visionlab.experiments.experiment import Experiment, Job, Outcome
from visionlab.measure.cost import multiply_adds, parameters
from visionlab.measure.latency import Contestant, keep_memory, take_turns
from visionlab.train.randomness import seeded

__all__ = ["NETWORKS", "TIME"]

FAST = ", inference form"
NETWORKS = (
    *(f"micronet_m{i}" for i in range(4)), f"micronet_m3{FAST}",
    *(f"mobilenetv3_small_{width}" for width in ("050", "075", "100")), f"mobilenetv3_small_100{FAST}",
)  # fmt: skip
"""Names in timm; "inference form" is the same function, made fast."""
METHOD, RIVAL = "micronet_m3", "mobilenetv3_small_100"


@dataclass(frozen=True)
class Turns:
    """Rounds, in each of which every network has a turn at each batch; and the side of the images."""

    rounds: int
    size: int = 224
    batches: tuple[int, ...] = (1, 8)


def untrained(variant: str, device: str = "cpu") -> nn.Module:
    """Return a network with random weights, in evaluation mode."""
    with seeded(0):
        network = timm.create_model(variant.removesuffix(FAST)).eval()
    if variant.endswith(FAST):
        network = (inference_form if isinstance(network, MicroNet) else mobilenet_form)(network)
    return network.to(device)


@lru_cache(maxsize=1)
def speeds(seed: int, preset: Turns, device: str) -> dict[str, dict[str, float]]:
    """Measure all networks by turns, so that drift of the machine hits all alike: images/s by network and metric.

    The variants of a seed share one measurement; another seed measures anew.
    """
    shape = (3, preset.size, preset.size)
    contestants = [Contestant(name, "PyTorch", shape, 0, 0, partial(untrained, name, device)) for name in NETWORKS]
    found: dict[str, dict[str, float]] = {name: {} for name in NETWORKS}
    for timing in take_turns(
        contestants, batches=preset.batches, threads=(1,), repeats=preset.rounds, device=device
    ):  # fmt: skip
        found[timing.network][f"images/s, batch {timing.batch}"] = timing.batch / timing.median
    for network in NETWORKS:
        for name, value in list(found[network].items()):
            found[network][name.replace("images/s", "speed, % of MobileNetV3")] = 100 * value / found[RIVAL][name]
    return found


class Counted(TorchDispatchMode):
    """Counts the operations of PyTorch that run inside the block."""

    operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count one, and run it."""
        self.operations += 1
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def costs(variant: str, image: Tensor) -> dict[str, float]:
    """Count parameters, multiply-adds as the paper does and without Shift-Max, and operations of one pass."""
    plain = untrained(variant.removesuffix(FAST))
    arithmetic, mixes = multiply_adds(plain, image), multiply_adds_of_shift_max(plain, image)
    network = untrained(variant)
    with Counted() as counted:
        network(image)
    return {
        "parameters (M)": parameters(plain) / 1e6,
        "multiply-adds (M)": (arithmetic + mixes) / 1e6,
        "multiply-adds without Shift-Max (M)": arithmetic / 1e6,
        "operations": float(counted.operations),
    }


def measure_time(job: Job) -> Outcome:
    """Return what a network costs and how fast it is; a seed is another measurement of the same networks."""
    preset: Turns = job.preset
    image = torch.zeros(1, 3, preset.size, preset.size)
    device = "cuda" if job.device == "cuda" else "cpu"
    return Outcome(costs(job.variant, image) | speeds(job.seed, preset, device)[job.variant])


MEASURED = (NETWORKS, RIVAL, MicroNet, untrained, speeds.__wrapped__, Counted, costs, take_turns, keep_memory)
FAST_FORM = (inference_form, fast_layers, pointwise_layers, MergedConvolution, InPlaceShiftMax, mobilenet_form)
TIME = Experiment(
    name="micronet/time",
    question="Do multiply-adds predict how long a network takes, on one thread of this machine?",
    variants=NETWORKS,
    measure=measure_time,
    presets={"quick": Turns(rounds=3), "long": Turns(rounds=9)},
    defined_by=(*MEASURED, *FAST_FORM),
    claims=(
        Claim(
            name="fewer",
            statement="MicroNet-M3 has less than half of the multiply-adds of a MobileNetV3-Small",
            source="results on ImageNet; counted exactly, with Shift-Max",
            metric="multiply-adds (M)",
            method=METHOD,
            rival=RIVAL,
            margin=28.0,
            higher_is_better=False,
            exact=True,
        ),
        Claim(
            name="slower",
            statement="And yet, as it is written, it is slower: on one thread MobileNetV3-Small works off more images",
            source="not in the paper, which counts multiply-adds; batch 8, one thread",
            metric="speed, % of MobileNetV3, batch 8",
            method=RIVAL,
            rival=METHOD,
            margin=25.0,
        ),
        Claim(
            name="slower-alone",
            statement="The same with one image at a time",
            source="not in the paper, which counts multiply-adds; batch 1, one thread",
            metric="speed, % of MobileNetV3, batch 1",
            method=RIVAL,
            rival=METHOD,
            margin=20.0,
        ),
        Claim(
            name="rewritten",
            statement="The same function is faster in its inference form: no shuffles, merged and dense convolutions",
            source="not in the paper; batch 8, one thread",
            metric="speed, % of MobileNetV3, batch 8",
            method=f"{METHOD}{FAST}",
            rival=METHOD,
            margin=10.0,
        ),
        Claim(
            name="both-rewritten",
            statement="Rewritten both, MobileNetV3-Small is the faster one again",
            source="not in the paper; batch 8, one thread",
            metric="speed, % of MobileNetV3, batch 8",
            method=f"{RIVAL}{FAST}",
            rival=f"{METHOD}{FAST}",
            margin=25.0,
        ),
    ),
)
