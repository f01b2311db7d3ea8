"""What the pictures of lab 02 ask of a network: boards are the puzzles they stand for, cuts keep news where it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.backbones.test_mobile_former import nano
from visionlab.backbones.mobile_former import MobileFormer
from visionlab.backbones.mobile_former_flat import flat_network
from visionlab.data.puzzles import COLOURS, IGNORED, majority_colour
from visionlab.experiments import mobile_former_live as live
from visionlab.experiments.mobile_former_probe import Cuts, answer, look
from visionlab.predictor import Predictor
from visionlab.show.bridge_words import no_cuts


@pytest.fixture(scope="module")
def solver() -> MobileFormer:
    """A flat network whose weights are large enough that every wire matters."""
    torch.manual_seed(0)
    network = flat_network(slopes="static").eval()
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    return network


def test_boards_are_the_puzzles_of_their_seed() -> None:
    puzzles = majority_colour(5, generator=torch.Generator().manual_seed(3))
    for board, labels, colour in zip(live.boards(5, 3), puzzles.labels, puzzles.colour.tolist(), strict=True):
        cells = labels[::2, ::2].numpy()
        assert ((board == 0) == (cells == IGNORED)).all()
        assert ((board == colour + 1) == (cells == 1)).all()


def test_a_board_is_painted_as_puzzles_are() -> None:
    board = live.boards(1)[0]
    cells = live.painted(board).unfold(2, 4, 4).unfold(3, 4, 4).mean(dim=(4, 5))[0].permute(1, 2, 0).numpy()
    for number, colour in enumerate(((0, 0, 0), *COLOURS[:2])):
        assert np.abs(cells[board == number].mean(axis=0) - colour).max() < 0.2
    assert (live.painted(board) == live.painted(board)).all()
    picture = live.puzzle_pictures([board])[0]
    assert picture.shape == (32, 32, 3)
    assert np.abs((picture / 255 - 0.5) / 0.2 - live.painted(board)[0].permute(1, 2, 0).numpy()).max() < 0.3


def test_each_square_is_answered_with_the_mean_of_its_places(solver: MobileFormer) -> None:
    board = live.boards(1)[0]
    sure = live.says_majority(solver)(board, no_cuts())[1]
    places = answer(solver, live.painted(board))[0, ..., 1]
    assert sure[2, 5] == pytest.approx(places[4:6, 10:12].mean())


@pytest.mark.parametrize("wire", ["reading", "writing"])
def test_with_a_wire_cut_a_flipped_square_is_news_for_its_neighbours_only(solver: MobileFormer, wire: str) -> None:
    board = live.boards(1)[0]
    row, column = np.argwhere(board > 0)[0]
    flipped = board.copy()
    flipped[row, column] = 3 - board[row, column]
    ask = live.says_majority(solver)
    rows, columns = np.indices(board.shape)
    far = np.maximum(abs(rows - row), abs(columns - column)) >= 4  # the convolutions see 9 pixels to each side
    moved = {name: np.abs(ask(flipped, cuts)[1] - ask(board, cuts)[1]) for name, cuts in
             (("whole", no_cuts()), ("cut", no_cuts() | {wire: True}))}  # fmt: skip
    assert moved["whole"][far].min() > 1e-5
    assert moved["cut"][far].max() < 1e-6
    assert moved["cut"][~far].max() > 1e-5


def test_the_bridge_on_a_picture_is_what_the_probe_sees() -> None:
    network = nano()
    predictor = Predictor(network, tuple("abcdefghij"[: network.num_classes]), 32)
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    x = predictor.normalise(torch.from_numpy(image / 255).float().permute(2, 0, 1)[None])
    views, scores = live.bridge(predictor)(image, no_cuts())
    assert list(scores) == list(predictor.classes)
    assert np.allclose(list(scores.values()), answer(predictor.model, x)[0], atol=1e-5)
    for ours, theirs in zip(views, look(predictor.model, x), strict=True):
        assert np.allclose(ours.tokens, theirs.tokens, atol=1e-4)
    cuts = no_cuts() | {"writing": True, "silent": (1,)}
    views, scores = live.bridge(predictor)(image, cuts)
    assert np.allclose(list(scores.values()), answer(predictor.model, x, Cuts(writing=True, silent=(1,)))[0], atol=1e-5)
    assert all(view.hears is None for view in views)


def test_squares_of_a_puzzle_vote_for_a_colour(solver: MobileFormer) -> None:
    board = live.boards(1)[0]
    picture = live.puzzle_pictures([board])[0]
    _, scores = live.puzzle_bridge(solver)(picture, no_cuts())
    sure = live.says_majority(solver)(board, no_cuts())[1]
    red = np.where(board == 1, sure, 1 - sure)[board > 0].mean()
    assert scores["red is the majority"] == pytest.approx(red, abs=0.02)
    assert sum(scores.values()) == pytest.approx(1)


def test_other_puzzles_are_other_puzzles(solver: MobileFormer) -> None:
    assert 0 <= live.majority_under(solver, 16, cells=12) <= 100
    with pytest.raises(ValueError, match="squares=99"):
        live.majority_under(solver, 16, squares=99)


def test_a_network_takes_the_side_of_its_opinion(solver: MobileFormer, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = majority_colour(50, generator=torch.Generator().manual_seed(1))
    red = 100 * (drawn.colour == 0).double().mean().item()
    assert 20 < red < 80
    for sign, (sides, hits) in {1: ((100.0, 0.0), red), -1: ((0.0, 100.0), 100 - red)}.items():

        def opinion(_model: object, x: torch.Tensor, _cuts: object, sign: int = sign) -> np.ndarray:
            """One colour leads, whatever the board; a square looks at its own alone."""
            reddish = nn.functional.avg_pool2d(x[:, 0] - x[:, 1], 2)
            return (sign * torch.stack([-reddish, reddish], dim=-1) + 0.5).numpy()

        monkeypatch.setattr(live, "answer", opinion)
        right, *found = live.sides_taken(solver, Cuts(), 50)
        assert found == pytest.approx(sides)
        assert right == pytest.approx(hits, abs=0.5)
