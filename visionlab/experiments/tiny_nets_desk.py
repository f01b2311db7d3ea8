"""What the app on tiny networks does with many of them: races on this machine, budgets, dials of Mobile-Former."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from visionlab import programs
from visionlab.backbones.mobile_former import CONFIGURATIONS
from visionlab.experiments.contestants import contestants_of
from visionlab.experiments.tiny_nets import (
    NETWORKS,
    Mark,
    PublishedNetwork,
    best_within,
    dialled,
    disagreements,
    frontier,
)
from visionlab.measure.latency import Contestant, machine, take_turns

__all__ = [
    "FORMS",
    "OPENING",
    "SIZES",
    "Entry",
    "Race",
    "activation_rows",
    "budget_marks",
    "dial_rows",
    "marks",
    "opening_race",
    "race",
    "rows",
    "told",
    "told_of_budget",
    "told_of_dials",
]

# --- A race -----------------------------------------------------------------------------------------------------------

AS_WRITTEN, FAST, ONNX = FORMS = ("as written", "fast form", "onnxruntime")
"""In which networks are measured; MicroNets, Mobile-Formers, and MobileNets and their kin have a fast form."""
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
def _contestants(name: str, onnx: bool, folded: bool) -> tuple[Contestant, ...]:
    return tuple(contestants_of(name, onnx=onnx, folded=folded))


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
    if ONNX in forms and (lacking := programs.missing(*programs.ONNX)):
        raise ValueError(f"forms: {lacking} is not installed: pip install 'visionlab[onnx]'")
    contestants: list[Contestant] = []
    ordered = [name for name in NETWORKS if name in names]
    for done, name in enumerate(ordered):
        hook(f"preparing {NETWORKS[name].title}", done / len(ordered))
        found = {each.form: each for each in _contestants(name, ONNX in forms, FAST in forms)}
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
    took = {name: (ms, networks[name].top1) for name, ms in race.fastest.items()}
    by_time = set(frontier(took))
    measured = [
        Mark(
            e.network.title, e.milliseconds, e.network.top1, e.network.family, e.form,
            e.network.name in by_time and e.milliseconds == race.fastest[e.network.name],
        )
        for e in race.entries
    ]  # fmt: skip
    return budget_marks(convention, networks), measured


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
    by_cost, by_time = best_within(counted, millions), best_within(took, milliseconds)
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


def budget_marks(convention: str, networks: Mapping[str, PublishedNetwork] = NETWORKS) -> list[Mark]:
    """Return networks, all of the table if not given, in a chart against multiply-adds."""
    spent = {name: (n.millions(convention), n.top1) for name, n in networks.items()}
    best = set(frontier(spent))
    return [Mark(n.title, spent[name][0], n.top1, n.family, "", name in best) for name, n in networks.items()]


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
    _, chosen = dialled(size, tokens, dim)
    m, d = CONFIGURATIONS[size]["tokens"]
    named = {f"published: {m} × {d}": dialled(size, m, d)[1], f"yours: {tokens} × {dim}": chosen}
    return {name: {part: count / 1e6 for part, count in parts.items()} for name, parts in named.items()}


def told_of_dials(size: str, tokens: int, dim: int) -> str:
    """Say what a Mobile-Former costs with other tokens.

    Raises:
        ValueError: if there is no such variant, or the network cannot be built so.
    """
    own, parts = dialled(size, tokens, dim)
    m, d = CONFIGURATIONS[size]["tokens"]
    count, published = sum(parts.values()), sum(dialled(size, m, d)[1].values())
    words = (
        f"Mobile-Former-{size.upper()} with {_some(tokens, 'token')} of width {dim}: {count:,} MAdds with those of"
        f" dynamic activations; {own:,} parameters."
    )
    if (tokens, dim) == (m, d):
        return f"{words} These are the published tokens."
    return f"{words} Published: {m} of width {d}, {published:,} MAdds; this is {100 * (count / published - 1):+.1f} %."
