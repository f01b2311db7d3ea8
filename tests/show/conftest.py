from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import plotly.io
import pytest

from visionlab.show import theme
from visionlab.show.timeline import Timeline


@pytest.fixture(autouse=True)
def house_look() -> Iterator[None]:
    """Every test draws as the labs do, whichever ran before it, and leaves the defaults as they were."""
    template = plotly.io.templates.default
    with mpl.rc_context():
        theme.apply()
        yield
    plotly.io.templates.default = template


@pytest.fixture(scope="session")
def timeline() -> Timeline:
    spec = importlib.util.spec_from_file_location("made_rooms", Path(__file__).with_name("made_rooms.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.made_timeline()
