from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from visionlab.show.timeline import Timeline


@pytest.fixture(scope="session")
def timeline() -> Timeline:
    spec = importlib.util.spec_from_file_location("made_rooms", Path(__file__).with_name("made_rooms.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.made_timeline()
