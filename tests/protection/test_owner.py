from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from visionlab.protection.owner import Recipes, inked_questions, marked_answers, own_spatial, own_structure, small_logo
from visionlab.protection.owner_key import small_mark
from visionlab.train.loop import Recipe
from visionlab.train.randomness import seeded


def short(steps: int = 2) -> Recipes:
    recipe = Recipe(steps=steps, batch=4, learning_rate=1e-3, weight_decay=0.0)
    return Recipes(clean=recipe, initial=recipe, marked=recipe, adversarial=recipe)


def test_a_question_is_told_the_inks_of_its_answer() -> None:
    mark = small_mark("regions")
    symbols = torch.tensor([[3, 6], [0, 1]])
    told = inked_questions(mark, torch.zeros(2, 3, 8, 10), symbols)
    assert told.shape == (2, 9, 8, 10)
    assert not told[:, :3].any()
    inks = mark.code.inks(symbols)
    torch.testing.assert_close(told[:, 3:6], inks[:, 0, :, None, None].expand(-1, -1, 8, 10))
    torch.testing.assert_close(told[:, 6:], inks[:, 1, :, None, None].expand(-1, -1, 8, 10))


def test_answers_are_marked_some_at_a_time_as_all_at_once(tiles: Tensor) -> None:
    many = tiles.repeat(300 // len(tiles) + 1, 1, 1, 1)[:300]
    mark, logo = small_mark().eval(), small_logo().eval()
    with torch.no_grad():
        torch.testing.assert_close(marked_answers(mark, many, torch.tensor([3])), mark.mark(many, torch.tensor([3])))
        torch.testing.assert_close(marked_answers(logo, many), logo.mark(many))
    each = torch.arange(300)[:, None] % 8
    marked = marked_answers(mark, many, each)
    torch.testing.assert_close(marked[299], mark.mark(many[299:], each[299:]).detach()[0])


@pytest.mark.parametrize("kind", ["edges", "regions", "logo"])
def test_all_stages_run_count_their_steps_and_leave_networks_to_be_used(kind: str, tiles: Tensor) -> None:
    told: list[tuple[int, int]] = []
    with seeded(0):
        mark = small_logo() if kind == "logo" else small_mark(kind)

    def hook(step: int, steps: int, _: dict[str, float]) -> None:
        told.append((step, steps))

    own: Any = own_spatial if kind == "logo" else own_structure
    owned = own(mark, tiles, tiles, short(), seed=0, device="cpu", hook=hook)
    assert [step for step, _ in told] == list(range(1, 9))
    assert {steps for _, steps in told} == {8}
    assert owned.mark is mark
    assert owned.before is not mark
    assert not any(network.training for network in (owned.mark, owned.before, owned.clean))
    moved = [
        not torch.equal(one, other)
        for one, other in zip(owned.mark.extractor.parameters(), owned.before.extractor.parameters(), strict=True)
    ]
    assert any(moved), "the last stage trains the extractor"
    assert owned.history[-1]["step"] == 2


def test_an_owner_who_was_stopped_goes_on_to_the_same_networks(tiles: Tensor, tmp_path: Path) -> None:
    def trained(folder: Path | None) -> list[Tensor]:
        with seeded(0):
            mark = small_mark()
        file = (lambda name: folder / f"{name}.pt") if folder else None
        return list(own_structure(mark, tiles, tiles, short(), seed=0, device="cpu", checkpoint=file).mark.parameters())

    whole, first = trained(None), trained(tmp_path)
    (tmp_path / "adversarial.pt").unlink()
    (tmp_path / "marked.pt").unlink()
    for one, two, three in zip(whole, first, trained(tmp_path), strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)


def test_too_few_pairs_are_refused(tiles: Tensor) -> None:
    with pytest.raises(ValueError, match="inputs: expected 8 images or more, got 7"):
        own_structure(small_mark(), tiles[:7], tiles[:7], short(), seed=0, device="cpu")
    small = replace(short(), initial=replace(short().initial, batch=2))
    with pytest.raises(ValueError, match="recipe: expected a batch of 4 images or more"):
        own_structure(small_mark(), tiles[:8], tiles[:8], small, seed=0, device="cpu")
