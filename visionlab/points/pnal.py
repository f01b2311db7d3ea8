"""PNAL: learning with noisy labels for robust point cloud segmentation (ICCV 2021 oral, arXiv 2107.14230).

Early in training a network is right about most points, later it learns wrong labels by heart. PNAL remembers the last q
predictions of every training point, trusts points whose predictions agree, lets those of one cluster vote, and trains
on with the winner as the label of all points of the cluster. It needs no noise rate.

====================================================  ==========================================================
paper, published code                                 here
====================================================  ==========================================================
history of q predictions, a ring buffer               `LabelMemory.record`
point-wise confidence: u = -p ln p / ln K <= gamma    `voting.agreement`, `voting.uncertainty`, `Cleaning.trusted`
cluster-wise label correction, voting                 `voting.corrected`, `LabelMemory.correct`
clusters: DBSCAN on place and colour                  `clusters`
warm-up of T_w epochs, then the cleaned labels        `training.CleaningLoss`, `training.train_points`
moving average of the weights, which is tested        `training.recipe`, `visionlab.train.loop`
DGCNN                                                 `dgcnn.DGCNN`; small: `dgcnn.SmallDGCNN`
blocks of 1 m, nine channels                          `blocks`
noise by instance                                     `label_noise`
SCE, GCE, truncated                                   `robust_losses`
overall accuracy, mean intersection over union        `visionlab.measure.points`
====================================================  ==========================================================

Ours differs from the released configuration where that departs from the paper: clusters vote ("majority", not "first"),
points without a cleaned label lose their place in the loss, not their features ("drop", not "zero"), and clusters of
different rooms are never one. All of the published choices are at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from visionlab.points.voting import RULES, Rule, agreement, corrected, uncertainty

__all__ = ["Cleaning", "LabelMemory"]


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """How labels are corrected.

    Args:
        warmup: T_w, epochs in which the given labels are trained on, and nothing is corrected.
        rounds: epochs after it in which labels are corrected, and then no more; None: all, as published.
        slots: q, predictions that are remembered.
        share: of the slots that have to hold one class, for a point to be trusted; 1 is the paper's figure.
        gamma: instead of the share the published rule, `voting.uncertainty` of at most so much: 0.001 is the same as
            all slots.
        rule: how a cluster gets its class, see `voting.corrected`.
        divisor: T_v of the rule "vote".
        unselected: what happens to points without a corrected label: "drop", they have no loss; "keep", they keep the
            given label, as in the paper's figure 2; "zero", their features are zeros as well, as in the published code.

    Raises:
        ValueError: if one of them is out of range.
    """

    warmup: int = 4
    rounds: int | None = None
    slots: int = 4
    share: float = 1.0
    gamma: float | None = None
    rule: Rule = "majority"
    divisor: int = 5
    unselected: Literal["drop", "keep", "zero"] = "drop"

    def __post_init__(self) -> None:
        if self.warmup < 0 or not 1 <= self.slots <= 127 or self.divisor < 1:
            raise ValueError(
                "warmup, slots, divisor: expected 0 or more, 1 to 127, 1 or more; "
                f"got {self.warmup}, {self.slots}, {self.divisor}"
            )
        if self.rounds is not None and self.rounds < 1:
            raise ValueError(f"rounds: expected 1 or more, or None, got {self.rounds}")
        if not 0 < self.share <= 1:
            raise ValueError(f"share: expected more than 0, at most 1, got {self.share}")
        if self.rule not in RULES:
            raise ValueError(f"rule: expected one of {', '.join(RULES)}, got {self.rule!r}")
        if self.unselected not in ("drop", "keep", "zero"):
            raise ValueError(f"unselected: expected drop, keep or zero, got {self.unselected!r}")

    def corrects(self, epoch: int) -> bool:
        """Whether labels are corrected in an epoch, counted from 0."""
        return epoch >= self.warmup and (self.rounds is None or epoch < self.warmup + self.rounds)

    def trusted(self, share: Float[Tensor, " n"], classes: int) -> Bool[Tensor, " n"]:
        """Whether points are reliable (N,), by the share of slots that hold their most frequent class."""
        if self.gamma is None:
            return share >= self.share - 1e-6
        return uncertainty(share, classes) <= self.gamma  # False where it is not a number


class LabelMemory:
    """What is remembered of every training point: its last predictions, and its label once that has been corrected.

    Nine bytes a point with four slots, beside its cluster. A network's state does not hold it; the loop's checkpoint
    does.

    Args:
        cluster: (N,) of each point; those of different rooms must differ.
        classes: K, at most 127.
        slots: q.
        keep: remember of each epoch what was predicted last, and the labels: 2 bytes a point and epoch.

    Raises:
        ValueError: if there are no points, or too many classes.
    """

    def __init__(self, cluster: Int[Tensor, " n"], classes: int, *, slots: int = 4, keep: bool = False) -> None:
        if len(cluster) == 0 or not 2 <= classes <= 127:
            raise ValueError(f"cluster, classes: expected points, and 2 to 127: got {len(cluster)} and {classes}")
        n = len(cluster)
        self.cluster, self.classes, self.keep = cluster, classes, keep
        self.history = torch.full((n, slots), -1, dtype=torch.int8, device=cluster.device)
        self.counter = torch.zeros(n, dtype=torch.int32, device=cluster.device)
        self.corrected = torch.full((n,), -1, dtype=torch.int8, device=cluster.device)
        self.weights: Float[Tensor, " n"] | None = None
        self.calls = 0
        self.rows: list[dict[str, float]] = []
        self.predicted_by_epoch: list[Int[Tensor, " n"]] = []
        self.corrected_by_epoch: list[Int[Tensor, " n"]] = []

    def to(self, device: torch.device) -> LabelMemory:
        """Move what is kept of points to a device, in place."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))
        return self

    @property
    def predicted(self) -> Int[Tensor, " n"]:
        """The last prediction (N,) of each point, -1 where there is none."""
        slots = self.history.shape[1]
        last = (self.counter.long() - 1) % slots
        return self.history.gather(1, last[:, None])[:, 0]

    def record(self, ids: Int[Tensor, " n"], predicted: Int[Tensor, " n"]) -> None:
        """Put predictions into the next slot of their points, each of which comes once."""
        counter = self.counter[ids]
        self.history[ids, counter.long() % self.history.shape[1]] = predicted.to(self.history.dtype)
        self.counter[ids] = counter + 1

    def correct(
        self,
        ids: Int[Tensor, " n"],
        cleaning: Cleaning,
        *,
        losses: Float[Tensor, " n"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Int[Tensor, " n"]:
        """Correct the labels of some points by their histories, and return those in force (N,), -1 where there is none.

        Only these points vote, and only their labels change; a cluster without a trusted point keeps its labels.
        """
        label, share = agreement(self.history[ids], self.classes)
        trusted = cleaning.trusted(share, self.classes)
        found = corrected(
            label, trusted, self.cluster[ids], self.classes, cleaning.rule, losses=losses, divisor=cleaning.divisor,
            generator=generator,
        )  # fmt: skip
        before = self.corrected[ids].long()
        after = torch.where(found >= 0, found, before)
        self.corrected[ids] = after.to(self.corrected.dtype)
        return after

    def end_epoch(self, values: dict[str, float]) -> None:
        """Keep what there is at the end of an epoch."""
        self.rows.append(values)
        if self.keep:
            self.predicted_by_epoch.append(self.predicted.cpu())
            self.corrected_by_epoch.append(self.corrected.cpu().clone())

    def state_dict(self) -> dict[str, Any]:
        """Return all but the clusters, which do not change."""
        return {name: value for name, value in vars(self).items() if name not in ("cluster", "classes", "keep")}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Take a state back.

        Raises:
            ValueError: if it is of other points or of another number of slots.
        """
        if state["history"].shape != self.history.shape:
            theirs, ours = tuple(state["history"].shape), tuple(self.history.shape)
            raise ValueError(f"history: expected {ours}, points and slots, got {theirs}")
        vars(self).update(state)
        self.to(self.cluster.device)
