from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from visionlab.protection.splits import Split, refuse_shared, split


@settings(deadline=None, max_examples=30)
@given(st.tuples(*[st.integers(1, 20)] * 4), st.integers(0, 30), st.integers(0, 1000))
def test_sets_have_their_sizes_and_share_nothing(sizes: tuple[int, ...], more: int, seed: int) -> None:
    owner, thief, calibration, test = sizes
    n = sum(sizes) + more
    found = split(n, seed, owner=owner, thief=thief, calibration=calibration, test=test)
    sets = [found.owner, found.thief, found.calibration, found.test]
    assert tuple(map(len, sets)) == sizes
    together = torch.cat(sets)
    assert len(together.unique()) == len(together)
    assert together.min() >= 0
    assert together.max() < n


def test_the_seed_decides_who_has_what() -> None:
    sizes = {"owner": 20, "thief": 20, "calibration": 5, "test": 5}
    assert torch.equal(split(60, 1, **sizes).thief, split(60, 1, **sizes).thief)
    assert not torch.equal(split(60, 1, **sizes).thief, split(60, 2, **sizes).thief)


@pytest.mark.usefixtures("as_users_run_it")
def test_too_many_none_and_shared_ones_are_refused() -> None:
    with pytest.raises(ValueError, match=r"n: expected 11 images or more \(owner 5 \+ thief 4 .* test 1\), got 10"):
        split(10, 0, owner=5, thief=4, calibration=1, test=1)
    with pytest.raises(ValueError, match="thief: expected 1 image or more, got 0"):
        split(10, 0, owner=5, thief=0, calibration=1, test=1)
    one, two = torch.tensor([0, 1]), torch.tensor([2, 3])
    with pytest.raises(ValueError, match="test: expected images that no other set has, got 3, of thief"):
        Split(one, two, torch.tensor([4]), torch.tensor([5, 3]))
    with pytest.raises(ValueError, match="owner: expected images that no other set has, got 1, of owner"):
        Split(torch.tensor([1, 1]), two, torch.tensor([4]), torch.tensor([5]))


def test_the_same_picture_in_two_sets_is_found() -> None:
    images = torch.rand(30, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    refuse_shared(owner=images[:10], thief=images[10:20], test=images[20:])
    refuse_shared(owner=torch.cat([images[:2], images[:2]]), thief=images[2:4])  # twice in one set is no theft
    pixels = (images * 255).round() / 255
    stolen = torch.cat([pixels[10:13], pixels[7:8] + 0.1 / 255])  # less than half a level away
    with pytest.raises(ValueError, match="test: expected images that no other set has, image 3 is 7 of owner"):
        refuse_shared(owner=pixels[:10], thief=pixels[13:20], test=stolen)
    other = torch.zeros(1, 3, 8, 2), torch.zeros(1, 3, 4, 4)  # as many bytes, another picture
    refuse_shared(owner=other[0], thief=other[1])
