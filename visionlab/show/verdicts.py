"""Claims and what the evidence says of them, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from visionlab.show.figure import Table

if TYPE_CHECKING:
    from visionlab.experiments.claim import Claim, Verdict

__all__ = ["checklist", "verdict_table"]


def checklist(claims: Sequence[Claim]) -> Table:
    """List claims before any evidence: what is said, where, and what would count."""
    rows = [
        [f"{i}. {claim.statement}", claim.source, claim.rule, claim.metric] for i, claim in enumerate(claims, start=1)
    ]
    return Table(rows, ["claim", "source", "it is shown if", "metric"], "What this lab puts to the test")


def verdict_table(verdicts: Sequence[Verdict], caption: str) -> Table:
    """Show each verdict with both means, their difference in the claimed direction and what it had to be."""
    rows = [
        [verdict.claim.statement, _metric(verdict.claim), *_figures(verdict), _needed(verdict.claim), verdict.status]
        for verdict in verdicts
    ]
    columns = ["claim", "metric", "method", "rival", "difference [95 % interval]", "needed", "verdict"]
    return Table(rows, columns, caption)


def _metric(claim: Claim) -> str:
    """What is compared, and whether less of it is better: then the difference is rival - method."""
    metrics = f"{claim.metric}; rival: {claim.rival_metric}" if claim.rival_metric else claim.metric
    return metrics if claim.higher_is_better else f"{metrics}; less is better"


def _needed(claim: Claim) -> str:
    """The rule without the names of what is subtracted; an estimated difference needs an interval above zero, too."""
    least = claim.rule.removeprefix(" - ".join(claim.sides)).strip().replace(">=", "≥")
    return least if claim.exact or "interval" in least else f"{least}, interval > 0"


def _figures(verdict: Verdict) -> list[str]:
    """Both means and their difference: percents and points with one decimal, ratios near 1 with two."""
    means = [verdict.method.mean, verdict.rival.mean]
    form = ".2f" if "%" not in verdict.claim.metric and max(map(abs, means)) < 2 else ".1f"
    return [*(format(mean, form) for mean in means), format(verdict.difference, form)]
