from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from visionlab.protection.owner_code import Hues, encode
from visionlab.protection.spatial_mark import SpatialMark, logo
from visionlab.protection.verification import (
    DOUBT,
    LEAST_IMAGES,
    Calibration,
    Evidence,
    calibrate,
    p_value,
    pooled,
    spatial_evidence,
    structure_evidence,
    structure_score,
    verify,
)
from visionlab.protection.watermark import Reading, StructureMark

INKS = Hues().inks(torch.arange(8))
CALIBRATION = Calibration(threshold=0.3, rate=0.01, images=150, false=1)


def reading(colours: Tensor, area: int = 100) -> Reading:
    """Of images (N, K, 3), as `StructureMark.decode` gives it."""
    areas = torch.full(colours.shape[:2], area)
    enough = areas >= 20
    return Reading(torch.where(enough[..., None], colours, 1), areas, Hues().read(colours).where(enough, -1))


def evidence(scores: Tensor, agrees: bool = True, usable: Tensor | None = None) -> Evidence:
    everywhere = torch.ones(len(scores), dtype=torch.bool)
    return Evidence(scores, everywhere & agrees, everywhere if usable is None else usable, 1.0)


# --- Evidence ---------------------------------------------------------------------------------------------------------


def test_the_score_is_1_for_the_ink_and_0_for_white_and_in_between() -> None:
    for share in (1.0, 0.5, 0.0):
        found = structure_score(reading(1 - share * (1 - INKS[3].expand(4, 1, 3))), INKS[3:4])
        torch.testing.assert_close(found, torch.full((4,), share))
    two = torch.stack([INKS[3], INKS[6]])[None]
    torch.testing.assert_close(structure_score(reading(two), two[0]), torch.ones(1))
    assert structure_score(reading(two, area=19), two[0]).tolist() == [0]


def test_classes_that_are_too_small_do_not_count() -> None:
    colours, area = torch.stack([INKS[3], INKS[6]])[None], torch.tensor([[100, 3]])
    half = Reading(torch.stack([INKS[3], torch.ones(3)])[None], area, torch.tensor([[3, -1]]))
    torch.testing.assert_close(structure_score(half, colours[0]), torch.ones(1))
    found = structure_evidence(StructureMark(classes=2), half, (3, 6))
    assert found.usable.tolist() == found.agrees.tolist() == [True]
    assert found.decoded == (3, -1)
    assert found.number is None, "half of a code is none"


def test_colours_are_pooled_by_pixels_and_decoded_once() -> None:
    noise = torch.randn(400, 1, 3, generator=torch.Generator().manual_seed(0))
    colours = 1 - 0.3 * (1 - INKS[3]) + 0.2 * noise
    single = reading(colours)
    found = structure_evidence(StructureMark(), single, encode("011", Hues()))
    assert (single.symbols == 3).float().mean() < 0.8
    assert found.decoded == (3,)
    assert found.number == 0b011
    assert found.score == pytest.approx(0.3, abs=0.03)
    weighted = Reading(torch.stack([INKS[1], INKS[2]])[:, None], torch.tensor([[300], [100]]), torch.tensor([[1], [2]]))
    torch.testing.assert_close(pooled(weighted)[0], (0.75 * INKS[1] + 0.25 * INKS[2])[None])


def test_nothing_to_read_is_no_ink() -> None:
    found = structure_evidence(StructureMark(), reading(INKS[:4, None], area=19), (3,))
    assert not found.usable.any()
    assert not found.detected(-1.0).any()
    assert found.decoded == (-1,)
    assert found.score == 0
    verdict = verify(found, CALIBRATION)
    assert verdict.abstained == 4
    assert verdict.p_value == 1
    assert not verdict.holds


# --- Verdict ----------------------------------------------------------------------------------------------------------


def test_a_mark_is_claimed_with_its_own_key_and_not_with_another() -> None:
    noise = torch.randn(16, 1, 3, generator=torch.Generator().manual_seed(0))
    found = reading(1 - 0.8 * (1 - INKS[3]) + 0.05 * noise)
    for symbol in range(8):
        verdict = verify(structure_evidence(StructureMark(), found, (symbol,)), CALIBRATION)
        assert verdict.holds == (symbol == 3)
        assert verdict.decoded == (3,)
        assert str(verdict).startswith("The mark is there" if symbol == 3 else "No claim: another code was read, (3,)")
    assert verify(structure_evidence(StructureMark(), found, (3,)), CALIBRATION).p_value == pytest.approx(DOUBT)
    assert structure_score(found, INKS[2:3]).min() > 0.3, "the score alone would claim other keys, too"


def test_no_claim_is_made_on_few_images_however_clear() -> None:
    for n, usable in ((LEAST_IMAGES - 1, None), (16, torch.arange(16) < LEAST_IMAGES - 1)):
        verdict = verify(evidence(torch.ones(n), usable=usable), CALIBRATION)
        assert verdict.p_value < 1e-3
        assert not verdict.enough
        assert not verdict.holds
        assert str(verdict) == f"No claim: {LEAST_IMAGES - 1} answers with structure, and a claim needs {LEAST_IMAGES}."
    assert verify(evidence(torch.ones(LEAST_IMAGES)), CALIBRATION).holds


def test_a_verdict_says_what_was_counted_and_what_it_does_not_prove() -> None:
    usable = torch.arange(20) < 16
    verdict = verify(evidence(torch.where(torch.arange(20) < 12, 0.5, 0.1), usable=usable), CALIBRATION)
    assert (verdict.images, verdict.abstained, verdict.detected) == (20, 4, 12)
    assert "12 of 16 answers carry the mark" in str(verdict)
    assert "of clean answers 1 of 150 do" in str(verdict)
    assert "does not prove" in str(verdict)
    nothing = verify(evidence(torch.zeros(16)), CALIBRATION)
    assert not nothing.holds
    assert "marks can be removed" in str(nothing)


def test_a_detection_needs_the_code_as_well_as_the_score() -> None:
    assert evidence(torch.ones(3)).detected(0.5).all()
    assert not evidence(torch.ones(3), agrees=False).detected(0.5).any()
    assert not evidence(torch.full((3,), 0.5)).detected(0.5).any(), "above, not at the threshold"


# --- Rates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_the_threshold_keeps_the_false_positive_rate(rate: float) -> None:
    generator = torch.Generator().manual_seed(0)
    rates, counts = [], []
    for _ in range(400):
        found = calibrate(evidence(torch.randn(240, generator=generator)), rate=rate)
        rates.append(stats.norm.sf(found.threshold))
        counts.append(found.measured)
    assert np.mean(rates) <= rate + 3 * np.std(rates) / 20
    assert np.mean(rates) > 0.7 * rate, "no stricter than asked"
    assert np.mean(counts) == pytest.approx(np.mean(rates), abs=3 * np.std(counts) / 20)


def test_of_several_kinds_of_clean_answers_the_worst_decides() -> None:
    generator = torch.Generator().manual_seed(0)
    plain, noisy = (evidence(scale * torch.randn(400, generator=generator)) for scale in (1.0, 3.0))
    both = calibrate(plain, noisy)
    assert both == calibrate(noisy, plain) == calibrate(noisy)
    assert both.threshold > 2 * calibrate(plain).threshold
    few = evidence(torch.where(torch.arange(60) % 2 == 0, 0.0, 9.0))  # those that choose the threshold are tame
    assert calibrate(plain, few).measured == 1
    with pytest.raises(ValueError, match="clean: expected answers of one kind or more, got none"):
        calibrate()


def test_images_that_abstain_and_those_that_chose_the_threshold_are_not_counted() -> None:
    scores = torch.arange(400.0)
    found = calibrate(evidence(scores, usable=scores >= 100), rate=0.1)
    assert found.images == 150
    assert found.threshold == 100 + 2 * (135 + 1 - 1)  # the 136th of 150
    assert found.false == 15


def test_where_chance_seldom_gives_the_code_a_low_score_is_enough() -> None:
    scores = torch.linspace(0, 1, 400)
    assert calibrate(evidence(scores, agrees=False), rate=0.1).threshold == 0
    seldom = Evidence(scores, torch.arange(400) % 40 < 4, torch.ones(400, dtype=torch.bool), 0.0)
    found = calibrate(seldom, rate=0.05)
    assert found.threshold == pytest.approx(0.5, abs=0.03), "a tenth agrees, half of those score less"
    assert found.measured == pytest.approx(0.05, abs=0.01)


def test_the_bound_is_that_of_clopper_and_pearson() -> None:
    for images, false in ((150, 0), (150, 3), (20, 20)):
        bound = Calibration(0.0, 0.01, images, false).bound
        if false < images:
            assert stats.binom.cdf(false, images, bound) == pytest.approx(DOUBT, rel=1e-6)
        else:
            assert bound == 1
    assert Calibration(0.0, 0.01, 150, 0).bound == pytest.approx(1 - DOUBT ** (1 / 150))


def test_the_p_value_is_the_tail_of_a_binomial() -> None:
    bound = CALIBRATION.bound
    assert p_value(0, 16, CALIBRATION) == 1
    assert p_value(16, 16, CALIBRATION) == pytest.approx(bound**16 + DOUBT)
    assert p_value(1, 16, CALIBRATION) == pytest.approx(1 - (1 - bound) ** 16 + DOUBT)
    falling = [p_value(k, 16, CALIBRATION) for k in range(17)]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize("truth", [0.002, 0.01, 0.05])
def test_p_values_are_valid_where_there_is_no_mark(truth: float) -> None:
    """P(p <= level) <= level for every level, whatever the true rate; calibration and test both drawn anew."""
    rng = np.random.default_rng(0)
    n, runs = 40, 4000
    false, detected = rng.binomial(120, truth, runs), rng.binomial(n, truth, runs)
    found = np.array(
        [p_value(int(k), n, Calibration(0.0, 0.01, 120, int(f))) for k, f in zip(detected, false, strict=True)]
    )
    for level in (1e-3, 0.01, 0.05, 0.2, 0.5):
        assert (found <= level).mean() <= level + 3 * np.sqrt(level / runs)


def test_p_values_at_the_bound_are_those_of_an_exact_test() -> None:
    """If the true rate is the bound, the test is as sharp as counts allow: P(p <= level) is the largest tail below."""
    n, bound = 40, CALIBRATION.bound
    for level in (0.01, 0.1, 0.5):
        rejected = [k for k in range(n + 1) if p_value(k, n, CALIBRATION) <= level]
        size = sum(stats.binom.pmf(k, n, bound) for k in rejected)
        largest = max(tail for k in range(n + 1) if (tail := stats.binom.sf(k - 1, n, bound)) <= level - DOUBT)
        assert size == pytest.approx(largest)


def test_clean_and_marked_networks_from_end_to_end() -> None:
    """Clean answers draw faint noise, marked ones a pale ink in three of four images."""
    generator = torch.Generator().manual_seed(0)
    mark = StructureMark()

    def drawn(n: int, share: float) -> Reading:
        pale = 0.6 * (torch.rand(n, 1, 1, generator=generator) < share)
        return reading(1 - pale * (1 - INKS[3]) + 0.05 * torch.randn(n, 1, 3, generator=generator))

    def verdict(share: float) -> bool:
        return verify(structure_evidence(mark, drawn(16, share), (3,)), calibration).holds

    calibration = calibrate(structure_evidence(mark, drawn(300, 0.0), (3,)))
    assert calibration.measured < 0.05
    assert not any(verdict(0.0) for _ in range(200))
    assert np.mean([verdict(0.75) for _ in range(50)]) > 0.95


# --- The baseline -----------------------------------------------------------------------------------------------------


def test_the_logo_is_verified_in_the_same_way() -> None:
    mark = SpatialMark(logo(0))

    class Pale(nn.Module):
        def __init__(self, amount: float) -> None:
            super().__init__()
            self.amount = amount

        def forward(self, images: Tensor) -> Tensor:
            noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(len(images)))
            return 1 - self.amount * (1 - mark.drawn(images)) + 0.2 * noise

    def found(n: int, amount: float) -> Evidence:
        mark.extractor = Pale(amount)
        return spatial_evidence(mark, mark.blocks(torch.rand(n, 3, 32, 32)))

    calibration = calibrate(found(300, 0.0))
    assert verify(found(16, 0.5), calibration).holds
    assert not verify(found(16, 0.0), calibration).holds
    other = SpatialMark(logo(1))
    mark.extractor = Pale(0.5)
    wrong = spatial_evidence(other, mark.blocks(torch.rand(16, 3, 32, 32)))
    assert abs(wrong.score) < 0.5
    assert verify(found(16, 0.5), calibration).decoded == ()


# --- Bad input --------------------------------------------------------------------------------------------------------


def test_bad_input_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="symbols: expected 1, one a class, got 2"):
        structure_evidence(StructureMark(), reading(INKS[:2, None]), (3, 4))
    with pytest.raises(ValueError, match=r"clean: a rate of 0\.01 needs 197 answers with structure or more, got 196"):
        calibrate(evidence(torch.rand(196)), rate=0.01)
    calibrate(evidence(torch.rand(197)), rate=0.01)
    for rate in (0.0, 1.0):
        with pytest.raises(ValueError, match="rate: expected more than 0"):
            calibrate(evidence(torch.rand(9)), rate=rate)
    with pytest.raises(ValueError, match="evidence: expected an image or more, got none"):
        verify(evidence(torch.rand(0)), CALIBRATION)
    for level in (0.0, DOUBT, 1.0):
        with pytest.raises(ValueError, match="level: expected more than"):
            verify(evidence(torch.rand(9)), CALIBRATION, level=level)
    for detected, counted in ((5, 4), (-1, 4)):
        with pytest.raises(ValueError, match="detected: expected 0 to 4"):
            p_value(detected, counted, CALIBRATION)
