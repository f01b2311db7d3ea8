"""Experiments made small enough to run in a test."""

from __future__ import annotations

import dataclasses
from typing import Any


def small(settings: Any, **changes: Any) -> Any:
    """Return a preset of three steps of eight images."""
    recipe = dataclasses.replace(settings.recipe, steps=3, warmup=1, batch=8)
    return dataclasses.replace(settings, recipe=recipe, **changes)
