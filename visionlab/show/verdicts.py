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
    """Show each verdict with both means, their difference and its 95 % interval."""
    rows = [
        [
            verdict.claim.statement,
            str(_plain(verdict.method.mean)),
            str(_plain(verdict.rival.mean)),
            str(verdict.difference),
            verdict.status,
        ]
        for verdict in verdicts
    ]
    return Table(rows, ["claim", "method", "rival", "difference [95 % interval]", "verdict"], caption)


def _plain(value: float) -> float:
    return round(value, 1)
