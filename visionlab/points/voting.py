"""Which points are sure of their class, and what a cluster makes of it: PNAL's selection and correction, as functions.

All work on any number of points at once, without a loop over points or clusters. Source: the published code of arXiv
2107.14230, whose numbers they reproduce, but where a docstring says otherwise.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["RULES", "Rule", "agreement", "corrected", "uncertainty"]

Rule = Literal["majority", "first", "vote", "point"]
RULES: tuple[str, ...] = get_args(Rule)


def agreement(history: Int[Tensor, "n q"], classes: int) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
    """The most frequent class ĉ (N,) of each point's last predictions, the smaller one of equals, and its share p (N,).

    Args:
        history: predicted classes; -1 in slots that are empty, which count for no class but are divided by as well.
        classes: K.

    Raises:
        ValueError: if a class is out of range, or there are no slots, or more than 127.
    """
    n, slots = history.shape
    if not 1 <= slots <= 127:
        raise ValueError(f"history: expected 1 to 127 slots, got {slots}")
    if n and not -1 <= int(history.min()) <= int(history.max()) < classes:
        raise ValueError(f"history: expected -1 to {classes - 1}, got {int(history.min())} to {int(history.max())}")
    counts = torch.zeros(n, classes + 1, dtype=torch.int8, device=history.device)
    counts.scatter_add_(1, history.long() + 1, torch.ones_like(history, dtype=torch.int8))
    label, most = _largest(counts[:, 1:].int())
    return label, most / slots


def uncertainty(share: Float[Tensor, " n"], classes: int) -> Float[Tensor, " n"]:
    """The published uncertainty u = -p ln p / ln K (N,) of the share p of the most frequent class; NaN where it is 0.

    It is not monotone: it rises up to p = 1 / e and falls again, so that 1 vote of 8 seems surer than 4 of 8.

    Raises:
        ValueError: if there are fewer than two classes.
    """
    if classes < 2:
        raise ValueError(f"classes: expected 2 or more, got {classes}")
    return -share * share.log() / math.log(classes)


def corrected(
    label: Int[Tensor, " n"],
    reliable: Bool[Tensor, " n"],
    cluster: Int[Tensor, " n"],
    classes: int,
    rule: str = "majority",
    *,
    losses: Float[Tensor, " n"] | None = None,
    divisor: int = 5,
    generator: torch.Generator | None = None,
) -> Int[Tensor, " n"]:
    """One class (N,) for all points of a cluster, by its reliable points; -1 in clusters that have none.

    ==========  ====================================================================================================
    rule        the class of a cluster
    ==========  ====================================================================================================
    majority    the one that most reliable points vote for, the smaller one of equals. Ours: the paper's voting, without
                chance
    first       that of the reliable point with the smallest loss. What the published code runs as it is released
    vote        one of all that have at least max // divisor votes, by lot. The published voting; where the largest
                count is below the divisor, classes without any vote can win, up to the largest one voted for
    point       none: each reliable point gets its own
    ==========  ====================================================================================================

    Args:
        label: what each point votes for, of `agreement`.
        reliable: which points vote.
        cluster: of each point; any numbers, but those of different rooms must differ.
        classes: K.
        rule: see above.
        losses: of each point, for "first"; of equal ones the earlier point decides.
        divisor: T_v of "vote".
        generator: of the lots.

    Raises:
        ValueError: if the rule is unknown, or lacks what it needs.
    """
    if rule not in RULES:
        raise ValueError(f"rule: expected one of {', '.join(RULES)}, got {rule!r}")
    if rule == "point":
        return torch.where(reliable, label, -1)
    ids, place = cluster.unique(return_inverse=True)
    voters, votes = place[reliable], label[reliable]
    if rule == "first":
        if losses is None:
            raise ValueError("losses: the rule 'first' needs the loss of each point")
        return _first(voters, votes, losses[reliable], len(ids))[place]
    table = torch.bincount(voters * classes + votes, minlength=len(ids) * classes).view(-1, classes)
    if rule == "majority":
        winner, most = _largest(table)
    else:
        if generator is None or divisor < 1:
            raise ValueError(f"generator: the rule 'vote' needs one, and a divisor from 1 on, not {divisor}")
        winner, most = _by_lot(table, divisor, generator), table.amax(1)
    return torch.where(most > 0, winner, -1)[place]


def _largest(table: Int[Tensor, "n k"]) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """The first column (N,) with the largest number, and that number; `argmax` promises no order among equals.

    Numbers times columns must fit into the table's type.
    """
    columns = table.shape[1]
    backwards = torch.arange(columns - 1, -1, -1, device=table.device)
    best = (table * columns + backwards).amax(1)
    return columns - 1 - best % columns, best // columns


def _first(voters: Tensor, votes: Tensor, losses: Tensor, clusters: int) -> Tensor:
    """The vote (C,) of the voter with the smallest loss in each cluster; -1 where nobody votes."""
    order = losses.argsort(stable=True)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    best = rank.new_full((clusters,), len(order)).scatter_reduce_(0, voters, rank, "amin")
    decided = torch.cat([votes[order], votes.new_full((1,), -1)])  # the last for clusters without voters
    return decided[best]


def _by_lot(table: Int[Tensor, "c k"], divisor: int, generator: torch.Generator) -> Int[Tensor, " c"]:
    """One of the classes (C,) with votes enough, each as likely."""
    column = torch.arange(table.shape[1], device=table.device)
    largest_voted = torch.where(table > 0, column, -1).amax(1, keepdim=True)
    enough = (table >= table.amax(1, keepdim=True) // divisor) & (column <= largest_voted)
    lots = torch.rand(table.shape, generator=generator, device=generator.device).to(table.device)
    return lots.masked_fill(~enough, -1.0).argmax(1)
