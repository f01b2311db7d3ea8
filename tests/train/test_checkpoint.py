"""Files are written whole or not at all, and read without trust."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.hostile import Hostile
from visionlab.train.checkpoint import CheckpointError, read, save, write_whole

ROOT = Path(__file__).parents[2]


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    state = {"step": 3, "weights": {"a": torch.arange(4)}, "history": [{"loss": 0.5}], "none": None}
    path = save(tmp_path / "new" / "folder" / "c.pt", state)
    back = read(path)
    assert torch.equal(back["weights"].pop("a"), state["weights"].pop("a"))
    assert back == state


def test_files_are_as_readable_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    path = save(tmp_path / "c.pt", {})
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    path.write_bytes(b"old")

    def fail(file: Any) -> None:
        file.write(b"half of the new")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, fail)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


def test_a_disk_that_is_full_is_said_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = save(tmp_path / "c.pt", {"x": torch.zeros(3)})
    program = f"""
import resource, signal, torch
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from visionlab.train.checkpoint import save
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    save({str(path)!r}, {{"x": torch.zeros(1_000_000)}})
except OSError as error:
    print("refused:", error)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "refused:" in done.stdout
    assert f"cannot write {path}" in done.stdout
    assert "disk full" in done.stdout
    assert torch.equal(read(path)["x"], torch.zeros(3))
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write .*file/c\.pt.*choose a folder that can be written"):
        save(tmp_path / "file" / "c.pt", {})


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write into read-only folders")
def test_a_read_only_folder_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match=r"cannot write .*choose a folder"):
        save(tmp_path / "c.pt", {})
    tmp_path.chmod(0o700)


def test_truncated_foreign_and_missing_files_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "c.pt", {"x": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(CheckpointError, match=r"c\.pt is not a readable checkpoint \(700 bytes\)"):
        read(path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(CheckpointError, match="notes"):
        read(tmp_path / "notes.txt")
    (tmp_path / "empty.pt").touch()
    with pytest.raises(CheckpointError, match=r"\(0 bytes\)"):
        read(tmp_path / "empty.pt")
    with pytest.raises(FileNotFoundError, match=r"path: no checkpoint at .*nowhere"):
        read(tmp_path / "nowhere.pt")
    torch.save(torch.zeros(2), tmp_path / "tensor.pt")
    with pytest.raises(CheckpointError, match="expected a dict of tensors, got Tensor"):
        read(tmp_path / "tensor.pt")


def test_a_hostile_file_is_refused_and_nothing_of_it_runs(tmp_path: Path) -> None:
    torch.save({"x": Hostile(tmp_path / "owned")}, tmp_path / "hostile.pt")
    with pytest.raises(CheckpointError, match="tensors and plain values"):
        read(tmp_path / "hostile.pt")
    assert not (tmp_path / "owned").exists()
