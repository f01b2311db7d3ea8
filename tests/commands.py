"""The command line as tests use it: what a command says, and what it complains of."""

from __future__ import annotations

import pytest

from visionlab import cli


def say(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What a command that ends well prints."""
    cli.main([str(word) for word in words])
    return capsys.readouterr().out


def complain(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The complaint of a command that refuses what it was given."""
    with pytest.raises(SystemExit) as stop:
        cli.main([str(word) for word in words])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    return error[error.index("visionlab: ") :]
