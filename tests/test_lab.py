"""What a notebook leans on."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from visionlab import lab
from visionlab.backbones.cswin_attention import from_stripes, to_stripes
from visionlab.data.open3d_loader import load_open3d


@pytest.fixture(autouse=True)
def restore() -> object:
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    torch.set_printoptions(profile="default")
    np.set_printoptions()


def test_setup_makes_runs_equal() -> None:
    drawn = []
    for _ in range(2):
        assert repr(lab.setup(seed=3)) == "ready"
        drawn.append((torch.rand(2).tolist(), np.random.rand()))  # noqa: NPY002
    assert drawn[0] == drawn[1]
    assert torch.get_num_threads() == 1


def test_figures_carry_their_words() -> None:
    fig, ax = plt.subplots()
    ax.plot([0, 1])
    shown = lab.show(fig, "a line from 0 to 1")
    data, metadata = shown._repr_mimebundle_()
    assert data["text/plain"] == metadata["image/png"]["alt"] == "a line from 0 to 1"
    assert not plt.fignum_exists(fig.number)


def test_checks_and_hints_go_by_the_name_of_the_exercise() -> None:
    assert lab.check("cswin/stripes", to_stripes, from_stripes).right
    assert "reshape" in lab.hint("cswin/stripes", 3).plain
    assert lab.hint("cswin/stripes", 3).markdown.startswith("```python")
    assert "not answered yet" in repr(lab.check("cswin/stripes", lambda *_: None, lambda *_: None))
    with pytest.raises(ValueError, match="step: expected 1, 2 or 3, got 4"):
        lab.hint("cswin/stripes", 4)


def test_source_shows_the_librarys_own_code() -> None:
    assert "def to_stripes" in lab.source(to_stripes).plain
    assert lab.here() == Path.cwd()


def test_open3d_imports_on_any_machine() -> None:
    open3d = load_open3d()
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(np.eye(3)))
    assert len(cloud.points) == 3
