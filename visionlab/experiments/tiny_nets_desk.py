"""What the app on tiny networks does: races them on this machine, lets those that ship classify, turns dials."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import torch
from jaxtyping import Float
from torch import Tensor

from visionlab import weights
from visionlab.backbones.mobile_former import CONFIGURATIONS
from visionlab.data import world
from visionlab.data.images import load, photograph
from visionlab.experiments.contestants import contestants_of
from visionlab.experiments.tiny_nets import (
    NETWORKS,
    Cost,
    Mark,
    PublishedNetwork,
    best_within,
    cost,
    dialled,
    disagreements,
    frontier,
)
from visionlab.measure.cost import seconds
from visionlab.measure.latency import Contestant, machine, take_turns
from visionlab.predictor import Predictor
from visionlab.programs import missing_onnx

__all__ = [
    "FORMS",
    "KINDS",
    "OPENING",
    "Answer",
    "Entry",
    "Race",
    "activation_rows",
    "answer_rows",
    "budget_marks",
    "classify",
    "dial_rows",
    "examples",
    "marks",
    "opening_race",
    "race",
    "rows",
    "shipped",
    "told",
    "told_of_budget",
    "told_of_dials",
]

# --- A race -----------------------------------------------------------------------------------------------------------

AS_WRITTEN, FAST, ONNX = FORMS = ("as written", "fast form", "onnxruntime")
"""In which networks are measured; MicroNets alone have a fast form of their own."""
MEASURED = {"PyTorch": AS_WRITTEN, "folded": FAST, "onnxruntime": ONNX, "folded, onnxruntime": f"{FAST}, {ONNX}"}
ROUNDS = 15
"""Turns of each network, unless the time is up before."""
OPENING = (
    "micronet_m0", "micronet_m3", "mobile_former_26m", "mobile_former_52m", "mobilenetv3_small_050",
    "mobilenetv3_small_075", "mobilenetv3_small_100", "tinynet_e",
)  # fmt: skip
"""Networks that are measured before anybody has chosen."""


@dataclass(frozen=True)
class Entry:
    """What was measured of a network in one form, in milliseconds for an image: median, and half the quartiles."""

    network: PublishedNetwork
    form: str
    milliseconds: float
    spread: float


@dataclass(frozen=True)
class Race:
    """Networks that were measured together.

    Args:
        entries: in the order of the table of networks.
        batch: images at once.
        threads: of the CPU.
        turns: of each network.
        where: on what machine, in words.
    """

    entries: tuple[Entry, ...]
    batch: int
    threads: int
    turns: int
    where: str

    @property
    def fastest(self) -> dict[str, float]:
        """Milliseconds for an image of each network in its fastest form."""
        found: dict[str, float] = {}
        for entry in self.entries:
            name = entry.network.name
            found[name] = min(entry.milliseconds, found.get(name, entry.milliseconds))
        return found


@cache
def _contestants(name: str, onnx: bool) -> tuple[Contestant, ...]:
    return tuple(contestants_of(name, onnx=onnx))


def race(
    names: Sequence[str],
    *,
    forms: Sequence[str] = (AS_WRITTEN,),
    batch: int = 1,
    threads: int = 1,
    limit: float = 20.0,
    rounds: int = ROUNDS,
    hook: Callable[[str, float], object] = lambda what, share: None,
) -> Race:
    """Measure networks on this machine, float32, untrained, in turns.

    Args:
        names: of `NETWORKS`.
        forms: some of `FORMS`; a network without a fast form is measured as written instead.
        batch: images at once.
        threads: of the CPU.
        limit: seconds after which no further round of turns begins.
        rounds: turns of each at most.
        hook: told what is being done and how much of that is done, in [0, 1].

    Raises:
        ValueError: if nothing is chosen, or something unknown; or onnxruntime is not installed.
    """
    for what, chosen, there in (("networks", names, NETWORKS), ("forms", forms, FORMS)):
        if not chosen or not set(chosen) <= set(there):
            raise ValueError(f"{what}: expected some of {', '.join(there)}; got {', '.join(chosen) or 'none'}")
    if ONNX in forms and (missing := missing_onnx()):
        raise ValueError(f"forms: {missing} is not installed: pip install 'visionlab[onnx]'")
    contestants: list[Contestant] = []
    ordered = [name for name in NETWORKS if name in names]
    for done, name in enumerate(ordered):
        hook(f"preparing {NETWORKS[name].title}", done / len(ordered))
        found = {each.form: each for each in _contestants(name, ONNX in forms)}
        contestants += [found[form] for form in _wanted(forms, found)]
    timings = take_turns(
        contestants, batches=(batch,), threads=(threads,), repeats=rounds, limit=limit,
        hook=lambda done, total: hook("measuring", done / total),
    )  # fmt: skip
    entries = tuple(
        Entry(NETWORKS[t.network], MEASURED[t.form], 1e3 * t.median / batch, 1e3 * t.spread / batch) for t in timings
    )
    here = machine()
    where = f"{here['device']}, {here['cores']} cores, torch {here['torch']}"
    return Race(entries, batch, threads, len(timings[0].seconds), where)


def _wanted(forms: Sequence[str], there: Iterable[str]) -> list[str]:
    """Names of a network's forms that are to be measured; as written where it has none of the wanted ones."""
    found = [form for form in there if set(MEASURED[form].split(", ")) <= set(forms)]
    return found or ["PyTorch"]


@cache
def opening_race() -> Race:
    """Measure a few networks for the page to open with, in a second or two; once for all who open it."""
    return race(OPENING, rounds=5, limit=3.0)


def marks(race: Race, convention: str) -> tuple[list[Mark], list[Mark]]:
    """Return the raced networks in a chart against multiply-adds, and in one against time.

    Raises:
        ValueError: if the convention is none of `CONVENTIONS`.
    """
    networks = {entry.network.name: entry.network for entry in race.entries}
    spent = {name: (network.millions(convention), network.top1) for name, network in networks.items()}
    took = {name: (ms, networks[name].top1) for name, ms in race.fastest.items()}
    by_cost, by_time = set(frontier(spent)), set(frontier(took))
    counted = [Mark(n.title, spent[name][0], n.top1, n.family, "", name in by_cost) for name, n in networks.items()]
    measured = [
        Mark(
            e.network.title, e.milliseconds, e.network.top1, e.network.family, e.form,
            e.network.name in by_time and e.milliseconds == race.fastest[e.network.name],
        )
        for e in race.entries
    ]  # fmt: skip
    return counted, measured


def rows(race: Race) -> list[list[str]]:
    """A row for each network and form: name, form, parameters, three counts, time, accuracy and its source."""
    return [
        [
            n.title, entry.form, f"{n.parameters / 1e6:.2f}", "" if n.published is None else str(n.published),
            f"{n.counted / 1e6:.1f}", f"{n.dynamic / 1e6:.1f}" if n.dynamic else "",
            f"{entry.milliseconds:.2f} ± {entry.spread:.2f}", f"{n.top1:.1f}", n.source, str(n.size),
        ]
        for entry in race.entries
        for n in [entry.network]
    ]  # fmt: skip


def told(race: Race, convention: str, target: float) -> str:
    """Name the winner on multiply-adds and the winner on time of the networks that reach an accuracy.

    Raises:
        ValueError: if the convention is none of `CONVENTIONS`.
    """
    took = race.fastest
    good = {name: NETWORKS[name] for name in took if NETWORKS[name].top1 >= target}
    how = (
        f"Measured on {race.where}; batch {race.batch}, {_some(race.threads, 'thread')}, float32, untrained, median of"
        f" {_some(race.turns, 'turn')}."
    )
    if not good:
        return (
            f"None of the {len(took)} networks reaches {target:g} %: lower the accuracy, or choose larger ones. {how}"
        )
    spent = {name: network.millions(convention) for name, network in good.items()}
    cheap, quick = min(spent, key=spent.__getitem__), min(good, key=took.__getitem__)
    start = f"Of {_some(len(good), 'network')} with {target:g} % or more,"
    if cheap == quick:
        verdict = (
            f"{start} {good[cheap].title} wins on both: {spent[cheap]:.3g} M MAdds, {took[cheap]:.2f} ms an image."
        )
    else:
        verdict = (
            f"{start} {good[cheap].title} wins on MAdds ({spent[cheap]:.3g} M, {took[cheap]:.2f} ms), and"
            f" {good[quick].title} wins on time ({took[quick]:.2f} ms, {spent[quick]:.3g} M MAdds)."
        )
    wrong, pairs = disagreements({name: NETWORKS[name].millions(convention) for name in took}, took)
    order = f" In {wrong} of all {pairs} pairs, the network with fewer MAdds is the slower one." if pairs else ""
    return f"{verdict}{order} {how}"


def _some(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


# --- A budget ---------------------------------------------------------------------------------------------------------


def told_of_budget(race: Race, convention: str, millions: float, milliseconds: float) -> tuple[str, str, str]:
    """Name who is most accurate within each of two budgets: in words, and titles ("" for none).

    All networks of the table compete for the budget of multiply-adds; those that were raced, for that of time.

    Raises:
        ValueError: if the convention is none of `CONVENTIONS`.
    """
    counted = {name: (n.millions(convention), n.top1) for name, n in NETWORKS.items()}
    took = {name: (ms, NETWORKS[name].top1) for name, ms in race.fastest.items()}
    by_cost, by_time = best_within(counted, float(millions)), best_within(took, float(milliseconds))
    words = []
    for name, budget, among in (
        (by_cost, f"{millions:g} M MAdds", f"all {len(counted)} networks of the table"),
        (by_time, f"{milliseconds:g} ms an image on this machine", f"the {len(took)} that were raced"),
    ):
        if name is None:
            words.append(f"Within {budget}, none of {among}.")
            continue
        n = NETWORKS[name]
        here = f", {took[name][0]:.2f} ms" if name in took else ""
        words.append(
            f"Within {budget}, of {among}: {n.title}, {n.top1:g} %"
            f" ({n.millions(convention):.3g} M MAdds{here}, {n.parameters / 1e6:.1f} M parameters)."
        )
    first, second = ("" if name is None else NETWORKS[name].title for name in (by_cost, by_time))
    return "\n".join(words), first, second


def budget_marks(convention: str) -> list[Mark]:
    """Return all networks of the table in a chart against multiply-adds."""
    spent = {name: (n.millions(convention), n.top1) for name, n in NETWORKS.items()}
    best = set(frontier(spent))
    return [Mark(n.title, spent[name][0], n.top1, n.family, "", name in best) for name, n in NETWORKS.items()]


def activation_rows() -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Return what Dynamic Shift-Max adds to each MicroNet, and what was published: millions of multiply-adds."""
    micro = [n for n in NETWORKS.values() if n.family == "MicroNet"]
    parts = {
        n.title: {"convolutions, linear layers": n.counted / 1e6, "Dynamic Shift-Max": n.dynamic / 1e6} for n in micro
    }
    return parts, {n.title: float(n.published or 0) for n in micro}


SIZES = tuple(sorted(CONFIGURATIONS, key=lambda size: int(size[:-1])))
"""Variants of Mobile-Former."""


def dial_rows(size: str, tokens: int, dim: int) -> dict[str, dict[str, float]]:
    """Return millions of multiply-adds by part: as published, and with other tokens.

    Raises:
        ValueError: if there is no such variant, or the network cannot be built so.
    """
    chosen = dialled(size, tokens, dim)
    own = CONFIGURATIONS[size]["tokens"]
    named = {f"published: {own[0]} × {own[1]}": dialled(size, *own), f"yours: {tokens} × {dim}": chosen}
    return {name: {part: count / 1e6 for part, count in found.parts.items()} for name, found in named.items()}


def told_of_dials(size: str, tokens: int, dim: int) -> str:
    """Say what a Mobile-Former costs with other tokens.

    Raises:
        ValueError: if there is no such variant, or the network cannot be built so.
    """
    chosen, (m, d) = dialled(size, tokens, dim), CONFIGURATIONS[size]["tokens"]
    own = dialled(size, m, d)
    words = (
        f"Mobile-Former-{size.upper()} with {_some(tokens, 'token')} of width {dim}: {chosen.counted:,} MAdds"
        f" counted, {chosen.counted + chosen.dynamic:,} with dynamic activations; {chosen.parameters:,} parameters."
    )
    if (tokens, dim) == (m, d):
        return f"{words} These are the published tokens."
    change = 100 * (chosen.counted / own.counted - 1)
    return f"{words} Published: {m} of width {d}, {own.counted:,} MAdds, so this is {change:+.1f} %."


# --- Networks that ship -----------------------------------------------------------------------------------------------

KINDS = {"satellite tiles": "eurosat_mini", "scenes of the world": "world"}
"""What networks were trained on, and how their cards call it."""
TITLES = {"micronet": "MicroNet", "mobile_former": "Mobile-Former", "cswin": "CSWin"}
"""Backbones whose weights take part, by their module."""


@cache
def shipped(kind: str) -> dict[str, str]:
    """Return the names of the weights that classify a kind of image, by the title of their network.

    Raises:
        ValueError: if there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}; got {kind!r}")
    found: dict[str, str] = {}
    for module, title in TITLES.items():
        for name in weights.names():
            card = weights.card(name)
            network = re.match(r"visionlab\.backbones\.(\w+):", card.network)
            if card.data == KINDS[kind] and network and network[1].startswith(module) and "nano" in name:
                found[title] = name
    return found


def _kind(name: str) -> str:
    return next(kind for kind, data in KINDS.items() if data == weights.card(name).data)


@dataclass(frozen=True)
class Answer:
    """What a network says of an image.

    Args:
        weights: their name.
        probabilities: of its classes, in their order.
        milliseconds: of one pass, image by image.
        cost: parameters and multiply-adds.
    """

    weights: str
    probabilities: dict[str, float]
    milliseconds: float
    cost: Cost


@cache
def predictor(name: str) -> Predictor:
    """Load weights, once."""
    return weights.load(name)


@cache
def _cost(name: str) -> Cost:
    return cost(predictor(name).model, predictor(name).size)


@torch.inference_mode()
def classify(image: Float[Tensor, "3 h w"], kind: str) -> dict[str, Answer]:
    """Let every network that ships for a kind of image classify one; by their titles.

    Args:
        image: in [0, 1].
        kind: one of `KINDS`.

    Raises:
        ValueError: if there is no such kind, or the image is none.
    """
    answers = {}
    for title, name in shipped(kind).items():
        own = predictor(name)
        prepared = own.prepare(image)
        said = own.model(prepared).softmax(dim=-1)[0].tolist()
        took = 1e3 * seconds(partial(own.model, prepared), repeats=7)
        answers[title] = Answer(name, dict(zip(own.classes, said, strict=True)), took, _cost(name))
    return answers


def answer_rows(answers: dict[str, Answer]) -> list[list[str]]:
    """A row for each network.

    It says what it was trained on, its two likeliest answers, time, multiply-adds with those of dynamic activations,
    parameters, and its accuracy on held-out images.
    """
    found = []
    for title, answer in answers.items():
        best = sorted(answer.probabilities, key=answer.probabilities.__getitem__, reverse=True)[:2]
        metrics = weights.card(answer.weights).metrics or {}
        numbers = (
            answer.milliseconds, (answer.cost.counted + answer.cost.dynamic) / 1e6, answer.cost.parameters / 1e6,
        )  # fmt: skip
        found.append([
            title, _kind(answer.weights), *(f"{name} ({100 * answer.probabilities[name]:.0f} %)" for name in best),
            *(f"{number:.2f}" for number in numbers),
            f"{metrics['accuracy (%)']:.1f}" if "accuracy (%)" in metrics else "",
        ])  # fmt: skip
    return found


@cache
def examples() -> dict[str, Float[Tensor, "3 h w"]]:
    """Return pictures to start with: satellite tiles that no network has seen, scenes, photographs."""
    tiles = load("eurosat_mini", "test")
    scenes = world.dataset("shapes", "test", 60, size=64, distractors=0, spread=1.3)
    chosen = {}
    for kind in ("River", "Highway", "Residential", "SeaLake"):
        chosen[f"satellite: {kind}"] = tiles[int((tiles.labels == tiles.classes.index(kind)).nonzero()[0])][0]
    images, labels = scenes.tensors()
    assert isinstance(labels, Tensor)
    for shape in ("mushroom", "ring", "table", "cone"):
        chosen[f"world: {shape}"] = images[labels.tolist().index(scenes.classes.index(shape))]
    return chosen | {"a cat": photograph("chelsea", 224), "a rocket": photograph("rocket", 224)}
