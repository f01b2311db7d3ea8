"""The queue of a page's questions to Python, with a model that answers when the test says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from visionlab.show.widgets.packed import module

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

MODEL = """
    const [held, sent] = [{ board: [1, 2], cuts: { silent: [] }, puzzle: 0 }, []];
    const model = {
        get: name => held[name],
        set: changes => Object.assign(held, (sent.push(changes), changes)),
        save_changes: () => null,
    };
    const waits = [];
    const line = questions(model, waiting => waits.push(waiting));
"""


@pytest.fixture
def played(chromium: Any) -> Iterator[Callable[[str, str], Any]]:
    """Runs a script beside a queue and its model, and returns what it returns."""
    page = chromium.new_page()
    source = module("questions.js")
    yield lambda script, shown: page.evaluate(f"() => {{ {source}\n{MODEL}\n{script}\nreturn {shown}; }}")
    page.close()


def test_one_question_is_on_the_way_and_the_newest_of_each_trait_waits(played: Callable[[str, str], Any]) -> None:
    sent, waits = played(
        """
        line.ask({ board: [2, 2] });
        line.ask({ board: [2, 1] });
        line.ask({ cuts: { silent: [1] } });
        line.ask({ board: [1, 1] });
        line.answered();
        line.answered();
        """,
        "[sent, waits]",
    )
    assert sent == [{"board": [2, 2]}, {"board": [1, 1], "cuts": {"silent": [1]}}]
    assert waits == [True, True, False]


def test_what_python_has_already_is_not_asked_for_it_would_not_answer(played: Callable[[str, str], Any]) -> None:
    sent, waits = played(
        """
        line.ask({ board: [1, 2], cuts: { silent: [] } });
        line.ask({ puzzle: 1 });
        line.ask({ puzzle: 0 });
        line.ask({ puzzle: 1 });
        line.answered();
        """,
        "[sent, waits]",
    )
    assert sent == [{"puzzle": 1}]
    assert waits == [False, True, False]


def test_bytes_are_always_sent(played: Callable[[str, str], Any]) -> None:
    script = "for (const _ of [1, 2]) line.ask({ own: new DataView(new ArrayBuffer(3)) }), line.answered();"
    assert played(script, "sent.length") == 2


def test_what_waits_is_wanted_until_it_is_dropped(played: Callable[[str, str], Any]) -> None:
    wanted, sent = played(
        """
        line.ask({ puzzle: 1 });
        line.ask({ puzzle: 2, board: [2, 2] });
        const wanted = ["puzzle", "board", "cuts"].map(line.wanted);
        line.drop("board");
        wanted.push(line.wanted("board"));
        line.answered();
        """,
        "[wanted, sent]",
    )
    assert wanted == [2, [2, 2], {"silent": []}, [1, 2]]
    assert sent == [{"puzzle": 1}, {"puzzle": 2}]


def test_an_answer_that_never_comes_holds_nothing_back_for_ever(played: Callable[[str, str], Any]) -> None:
    script = """
        const slow = setTimeout;
        let late = () => null;
        window.setTimeout = (act, ms) => ((late = act), ms > 1000 ? 0 : slow(act, ms));
        line.ask({ puzzle: 1 });
        line.ask({ puzzle: 2 });
        late();
        """
    assert played(script, "sent") == [{"puzzle": 1}, {"puzzle": 2}]
