"""Claims: statements of a paper bound to an experiment, and the rule by which evidence decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from visionlab.experiments.result import Result
from visionlab.measure.intervals import Interval, difference, interval

__all__ = ["Claim", "Closed", "Kept", "Verdict"]

Status = Literal["shown", "not shown", "contradicted"]


@dataclass(frozen=True)
class Verdict:
    """What a result says of a claim: the status, and the difference in the claimed direction with its 95 % interval."""

    claim: Claim
    status: Status
    difference: Interval
    method: Interval
    rival: Interval

    def __str__(self) -> str:
        return f"{self.claim.statement}: {self.status} ({self.difference})"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The statement that ``method`` beats ``rival`` in ``metric`` by at least ``margin``.

    Args:
        name: short and unique within its experiment.
        statement: the claim in one sentence.
        source: where the paper states it.
        metric: the metric compared.
        method: the variant that should win.
        rival: the variant it is compared with; may be the method itself, in another metric.
        margin: least mean difference, in units of the metric.
        higher_is_better: direction of the metric.
        rival_metric: of the rival, if it is another one.
        exact: the metric is computed, not estimated: one run decides, without an interval.
        remark: at which scale the claim should show, and why it may not here.
    """

    name: str
    statement: str
    source: str
    metric: str
    method: str
    rival: str
    margin: float
    higher_is_better: bool = True
    rival_metric: str = ""
    exact: bool = False
    remark: str = ""

    def terms(self) -> dict[str, object]:
        """Return what decides a verdict, without the wording."""
        wording = ("statement", "source", "remark") + (() if self.rival_metric else ("rival_metric",))
        return {key: value for key, value in vars(self).items() if key not in wording}

    def judge(self, result: Result) -> Verdict:
        """Decide from a result.

        *shown*: the mean difference reaches the margin and its interval lies above zero. *contradicted*: the interval
        lies below zero. *not shown*: everything else, so also a tie at the ceiling and a single seed.

        Raises:
            KeyError: if the result lacks a variant or the metric.
        """
        sign = 1.0 if self.higher_is_better else -1.0
        both = (result.values(self.method, self.metric), self.rival_values(result))
        method, rival = ({seed: sign * value for seed, value in values.items()} for values in both)
        gap = difference(method, rival)
        if self.exact:
            gap = Interval(gap.mean, gap.mean, gap.mean, gap.seeds)
        return Verdict(self, self.decide(gap), gap, *(interval(list(values.values())) for values in both))

    def rival_values(self, result: Result) -> dict[int, float]:
        """What the method is compared with, by seed."""
        return result.values(self.rival, self.rival_metric or self.metric)

    @property
    def variants(self) -> tuple[str, ...]:
        """Those that a result must have for a verdict."""
        return self.method, self.rival

    @property
    def sides(self) -> tuple[str, str]:
        """Names of what should be larger, and of what smaller."""
        method, rival = self.method, self.rival
        if self.rival_metric:
            method, rival = f"{method}: {self.metric}", f"{rival}: {self.rival_metric}"
        return (method, rival) if self.higher_is_better else (rival, method)

    @property
    def rule(self) -> str:
        """What counts as evidence, in short."""
        better, worse = self.sides
        return f"{better} - {worse} >= {self.margin:g}"

    def decide(self, gap: Interval) -> Status:
        """Return the status that a difference in the claimed direction earns."""
        if gap.mean >= self.margin and gap.low > 0:
            return "shown"
        return "contradicted" if gap.high < 0 else "not shown"


@dataclass(frozen=True, kw_only=True)
class Kept(Claim):
    """The statement that ``method`` keeps what ``rival`` has: it is not worse in ``metric`` by as much as ``margin``.

    *shown*: the whole interval of the difference lies above -margin; *contradicted*: below it.
    """

    @property
    def rule(self) -> str:
        """What counts as evidence, in short."""
        better, worse = self.sides
        return f"{better} - {worse} > -{self.margin:g}, the whole interval"

    def terms(self) -> dict[str, object]:
        """Return what decides a verdict, without the wording."""
        return super().terms() | {"kept": True}

    def decide(self, gap: Interval) -> Status:
        """Return the status that a difference in the claimed direction earns."""
        if gap.low > -self.margin:
            return "shown"
        return "contradicted" if gap.high < -self.margin else "not shown"


@dataclass(frozen=True, kw_only=True)
class Closed(Claim):
    """The statement that ``method`` closes a share of the gap between ``rival`` and ``bound``, seed by seed.

    Args:
        bound: the variant that the rival falls short of.
        share: of the gap, that has to be closed.
    """

    bound: str
    share: float
    margin: float = 0.0

    def rival_values(self, result: Result) -> dict[int, float]:
        """What lies so far on the way from the rival to the bound, by seed."""
        bound = result.values(self.bound, self.metric)
        return {seed: own + self.share * (bound[seed] - own) for seed, own in super().rival_values(result).items()}

    @property
    def variants(self) -> tuple[str, ...]:
        """Those that a result must have for a verdict."""
        return *super().variants, self.bound

    @property
    def sides(self) -> tuple[str, str]:
        """Names of what should be larger, and of what smaller."""
        better, worse = super().sides
        return better, f"{100 * self.share:g} % of the way from {worse} to {self.bound}"
