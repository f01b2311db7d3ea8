"""Is this network a copy? What N answers prove about a mark, at a false-positive rate that was measured.

An owner asks a suspected network, reads the mark in each answer, and counts. One image is *detected* if the owner's
symbols are read from it, where the mark carries a code, and its score lies above a threshold. Three steps:

1. `calibrate` on clean answers, of networks and images that have never seen the mark: the threshold comes from one half
   of them, and from the other half the rate at which clean answers are detected all the same. What has been made of the
   answers in question, noise or compression, nobody knows: each such kind of clean answers counts, the worst decides.
2. `structure_evidence` or `spatial_evidence`: scores of the answers in question.
3. `verify`: an exact p-value, and what it means.

The p-value is the upper tail of a binomial: how likely would so many of the answers that carry structure be detected
if each were so at the highest false-positive rate that the clean answers leave possible? That rate is the upper bound
of Clopper and Pearson (1934), and the chance that it is exceeded, `DOUBT`, is added (Berger and Boos, 1994). The papers
(arXiv 2002.11088, 2108.02360) report success rates only; the test is ours, the score that of our small-scale study.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from scipy import stats
from torch import Tensor

from visionlab.protection.owner_code import decode
from visionlab.protection.spatial_mark import SpatialMark
from visionlab.protection.watermark import Reading, StructureMark

__all__ = [
    "LEAST_IMAGES", "Calibration", "Evidence", "Verdict", "calibrate", "p_value", "pooled", "spatial_evidence",
    "structure_evidence", "structure_score", "verify",
]  # fmt: skip

LEAST_IMAGES = 8
"""Answers with structure that a claim needs at least."""
DOUBT = 1e-4
"""Probability that the false-positive rate is higher than its bound; no p-value is smaller."""


@dataclass(frozen=True)
class Evidence:
    """What was read from N images, against one claim.

    Args:
        scores: how strongly the claimed mark is in each: about 0 where it is not, 1 for the mark as it was put.
        agrees: whether the claimed code was read from each.
        usable: whether it carries structure enough; else it abstains.
        score: of all images together.
        decoded: symbols of all images together, -1 where none was read; empty where the mark has no code.
        claimed: symbols of the owner.
        number: what the decoded symbols stand for, or None.
    """

    scores: Float[Tensor, " n"]
    agrees: Bool[Tensor, " n"]
    usable: Bool[Tensor, " n"]
    score: float
    decoded: tuple[int, ...] = ()
    claimed: tuple[int, ...] = ()
    number: int | None = None

    @property
    def against_chance(self) -> Float[Tensor, " n"]:
        """The scores, but 0 where another code was read: clean answers seldom give the owner's, whatever they score."""
        return torch.where(self.agrees, self.scores, 0)

    def detected(self, threshold: float) -> Bool[Tensor, " n"]:
        """Return which images are detected: those that abstain are not."""
        return self.usable & self.agrees & (self.scores > threshold)


@dataclass(frozen=True)
class Calibration:
    """What clean answers say about chance.

    Args:
        threshold: of the score of one image.
        rate: wanted false-positive rate.
        images: clean answers with structure that were counted, none of which chose the threshold.
        false: how many of them are detected.
    """

    threshold: float
    rate: float
    images: int
    false: int

    @property
    def measured(self) -> float:
        """Share of clean answers that are detected."""
        return self.false / self.images

    @property
    def bound(self) -> float:
        """The highest false-positive rate that the count leaves possible, but for a probability `DOUBT`."""
        if self.false == self.images:
            return 1.0
        return float(stats.beta.ppf(1 - DOUBT, self.false + 1, self.images - self.false))


@dataclass(frozen=True)
class Verdict:
    """What is claimed, and on what grounds.

    Args:
        images: answers that were looked at.
        abstained: of them, those without structure enough, which count for nothing.
        detected: of the others, those in which the mark was found.
        score: of all answers together.
        p_value: probability of so many detections by chance, at most.
        level: the claim holds below it.
        calibration: threshold, false-positive rate, and on how many clean answers it was measured.
        decoded: symbols read from all answers together.
        claimed: symbols of the owner.
        number: what the decoded symbols stand for, or None.
    """

    images: int
    abstained: int
    detected: int
    score: float
    p_value: float
    level: float
    calibration: Calibration
    decoded: tuple[int, ...]
    claimed: tuple[int, ...]
    number: int | None

    @property
    def enough(self) -> bool:
        """Whether there are answers enough for any claim."""
        return self.images - self.abstained >= LEAST_IMAGES

    @property
    def holds(self) -> bool:
        """Whether the mark is claimed to be there: answers enough, the code agrees, and chance is ruled out."""
        return self.enough and self.decoded == self.claimed and self.p_value < self.level

    def __str__(self) -> str:
        """Say what is proven, and what is not."""
        counted, clean = self.images - self.abstained, self.calibration
        if not self.enough:
            return f"No claim: {counted} answers with structure, and a claim needs {LEAST_IMAGES}."
        found = f"{self.detected} of {counted} answers carry the mark (p = {self.p_value:.2g})"
        rate = f"of clean answers {clean.false} of {clean.images} do"
        if self.holds:
            return (
                f"The mark is there: {found}; {rate}. It proves that the network learned from marked answers, as far "
                "as the answers of networks that never saw the mark are like those of the calibration. It does not "
                "prove who trained it, nor that all that it was trained on was marked."
            )
        if self.decoded != self.claimed:
            read = "no code was read" if -1 in self.decoded else f"another code was read, {self.decoded}"
            return f"No claim: {read}, not {self.claimed}. {found}; {rate}."
        return f"No claim: {found}; {rate}. That does not prove that nothing was copied: marks can be removed."


# --- Evidence ---------------------------------------------------------------------------------------------------------


def structure_score(reading: Reading, inks: Float[Tensor, "k 3"]) -> Float[Tensor, " b"]:
    """How strongly inks c are in what was read, e: s = <1 - e, 1 - c> / |1 - c|^2 (B,), over the classes large enough.

    It is 0 for white and 1 for the ink, and says little about the hue: another ink scores as well. Classes that are too
    small do not count; an image without any scores 0.
    """
    away, way = 1 - reading.colours, (1 - inks).to(reading.colours)
    usable = reading.usable.to(away.dtype)
    along = ((away * way).sum(2) * usable).sum(1)
    return along / (way.square().sum(1) * usable).sum(1).clamp(min=1e-6)


def pooled(reading: Reading) -> tuple[Float[Tensor, "k 3"], Int[Tensor, " k"]]:
    """Colours (K, 3) of all images together, by pixels, and how many (K,); white where no image had enough."""
    area = reading.area * reading.usable
    total = area.sum(0)
    colours = (reading.colours * area[..., None]).sum(0) / total[:, None].clamp(min=1)
    return torch.where(total[:, None] > 0, colours, 1), total


def structure_evidence(mark: StructureMark, reading: Reading, symbols: tuple[int, ...]) -> Evidence:
    """What a reading says for the claim that images carry an owner's symbols.

    Colours of all images are pooled and decoded once. One image agrees if each of its classes that is large enough
    gives the owner's symbol.

    Args:
        mark: the owner's networks.
        reading: `mark.decode` of the answers.
        symbols: claimed, one a class.

    Raises:
        ValueError: if the symbols are not one a class.
    """
    if len(symbols) != mark.classes:
        raise ValueError(f"symbols: expected {mark.classes}, one a class, got {len(symbols)}")
    claimed = torch.tensor(symbols, device=reading.symbols.device)
    inks = mark.code.inks(claimed)
    colours, area = pooled(reading)
    together = Reading(colours[None], area[None], mark.code.read(colours)[None])
    decoded = tuple(together.symbols[0].tolist())
    usable = reading.usable
    return Evidence(
        scores=structure_score(reading, inks),
        agrees=((reading.symbols == claimed) | ~usable).all(1),
        usable=usable.any(1),
        score=structure_score(together, inks).item(),
        decoded=decoded,
        claimed=tuple(symbols),
        number=decode(decoded, mark.code),
    )


def spatial_evidence(mark: SpatialMark, blocks: Float[Tensor, "n r c"]) -> Evidence:
    """What blocks, as `SpatialMark.blocks` reads them, say for the claim that images carry the owner's logo.

    There is no code, and no image abstains; drawings of all images are averaged.
    """
    everywhere = torch.ones(len(blocks), dtype=torch.bool, device=blocks.device)
    together = mark.score(blocks.mean(0, keepdim=True)).item()
    return Evidence(mark.score(blocks), everywhere, everywhere, together)


# --- Test -------------------------------------------------------------------------------------------------------------


def calibrate(*clean: Evidence, rate: float = 0.05, least: float = 0.0) -> Calibration:
    """Set the threshold on every other clean answer, and count on the rest.

    The threshold is the ceil((m + 1)(1 - rate))-th smallest of m scores, which are 0 where another code was read: a new
    clean answer is detected with at most the wanted probability, on average over the choice of the m. Of several kinds
    of answers the highest threshold counts, and then the kind in which false positives may be most frequent.

    Args:
        clean: of answers that never saw the mark, against the same claim, by kind: they should have gone through what
            the answers in question may have gone through. A threshold made without noise fails under noise.
        rate: wanted, for one image. Chance is ruled out by counting images, so that one need not be certain: 0.01 takes
            the threshold from the one or two strangest clean answers, and misses more marked ones.
        least: the threshold is no lower. Where few clean answers give the owner's code it would be 0, and any trace of
            that hue in pictures of a kind that nobody calibrated on would count.

    Raises:
        ValueError: if the rate lies outside (0, 1), the least threshold is below 0, or there are too few answers of a
            kind for the rate, or none at all.
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate: expected more than 0 and less than 1, got {rate}")
    if least < 0:
        raise ValueError(f"least: expected 0 or more, got {least}")
    if not clean:
        raise ValueError("clean: expected answers of one kind or more, got none")
    thresholds, counted = [], []
    for kind in clean:
        usable = kind.usable.nonzero()[:, 0]
        first, second = usable[::2], usable[1::2]
        place = math.ceil((len(first) + 1) * (1 - rate))
        if place > len(first) or not len(second):
            needed = max(2, 2 * math.ceil(1 / rate - 1) - 1)
            raise ValueError(
                f"clean: a rate of {rate:g} needs {needed} answers with structure or more, got {len(usable)}"
            )
        thresholds.append(kind.against_chance[first].sort().values[place - 1].item())
        counted.append(second)
    threshold = max(least, *thresholds)
    found = [
        Calibration(threshold, rate, len(second), int(kind.detected(threshold)[second].sum()))
        for kind, second in zip(clean, counted, strict=True)
    ]
    return max(found, key=lambda one: one.bound)


def p_value(detected: int, counted: int, calibration: Calibration) -> float:
    """The probability, at most, that so many of the counted answers are detected if the mark is in none.

    Raises:
        ValueError: if more are detected than counted.
    """
    if not 0 <= detected <= counted:
        raise ValueError(f"detected: expected 0 to {counted}, got {detected}")
    return min(1.0, float(stats.binom.sf(detected - 1, counted, calibration.bound)) + DOUBT)


def verify(evidence: Evidence, calibration: Calibration, *, level: float = 1e-3) -> Verdict:
    """The verdict on images, of which those that abstain do not count.

    It takes the answers as independent of each other, as those to images drawn at random are, given the network. The
    symbols have to be claimed before anybody looks: who tries all of them finds one.

    Args:
        evidence: against the same claim as the calibration's.
        calibration: from clean answers.
        level: of the test.

    Raises:
        ValueError: if there is no image, or the level is not between `DOUBT` and 1.
    """
    if len(evidence.scores) == 0:
        raise ValueError("evidence: expected an image or more, got none")
    if not DOUBT < level < 1:
        raise ValueError(f"level: expected more than {DOUBT:g} and less than 1, got {level}")
    counted = int(evidence.usable.sum())
    detected = int(evidence.detected(calibration.threshold).sum())
    return Verdict(
        images=len(evidence.scores), abstained=len(evidence.scores) - counted, detected=detected,
        score=evidence.score, p_value=p_value(detected, counted, calibration), level=level, calibration=calibration,
        decoded=evidence.decoded, claimed=evidence.claimed, number=evidence.number,
    )  # fmt: skip
