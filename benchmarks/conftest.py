"""What benches of one kind share: seconds by name, printed and kept beside the file that measured them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="module")
def took(request: pytest.FixtureRequest) -> Iterator[dict[str, float]]:
    """Seconds by name, empty at first; at the end ``bench_x.py`` has them in ``x.json``."""
    torch.set_num_threads(2)
    found: dict[str, float] = {}
    yield found
    print()
    for name, value in found.items():
        print(f"  {value:7.3f}  {name}, s")
    kept = {"threads": torch.get_num_threads(), "torch": torch.__version__}
    kept |= {"seconds": {name: float(f"{value:.3g}") for name, value in found.items()}}  # type: ignore[dict-item]
    name = Path(str(request.node.path)).stem.removeprefix("bench_")
    Path(__file__).with_name(f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
