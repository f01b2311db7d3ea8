"""Files are written whole or not at all, and read without trust."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.hostile import Hostile
from tests.train import deaths
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


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("bad"), MemoryError()])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "c.pt"
    path.write_bytes(b"old")

    def fail(file: Any) -> None:
        file.write(b"half of the new")
        file.flush()
        raise error

    with pytest.raises(type(error)) as raised:
        write_whole(path, fail)
    assert raised.value is error
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


def test_a_value_that_cannot_be_stored_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(AttributeError, match="pickle"):
        save(tmp_path / "c.pt", {"f": lambda: 0})
    assert not list(tmp_path.iterdir())


def test_readers_see_whole_files_only_while_many_write(tmp_path: Path) -> None:
    path, torn = tmp_path / "c.txt", []
    write_whole(path, lambda file: file.write(b"0" * 50_000))

    def writer(mark: bytes) -> None:
        for _ in range(30):
            write_whole(path, lambda file: [file.write(mark * 25_000) for _ in range(2)])

    writers = [threading.Thread(target=writer, args=(mark,)) for mark in (b"1", b"2", b"3")]
    for thread in writers:
        thread.start()
    while any(thread.is_alive() for thread in writers):
        content = path.read_bytes()
        if len(content) != 50_000 or len(set(content)) != 1:
            torn.append(content)
    assert not torn
    assert [p.name for p in tmp_path.iterdir()] == ["c.txt"]


def test_a_file_that_may_not_grow_is_said_and_leaves_the_old_one(tmp_path: Path, children: ForkServerContext) -> None:
    path, said = save(tmp_path / "c.pt", {"x": torch.zeros(3)}), tmp_path / "said.txt"
    child = children.Process(target=deaths.save_up_to, args=(200_000, path, said))
    child.start()
    child.join()
    assert said.read_text().startswith(f"cannot write {path}: ")
    assert said.read_text().endswith("is the disk full?")
    assert torch.equal(read(path)["x"], torch.zeros(3))
    assert {p.name for p in tmp_path.iterdir()} == {"c.pt", "said.txt"}


ON_A_SMALL_DISK = """
import os, subprocess, sys, torch
from visionlab.train.checkpoint import save
folder = sys.argv[1]
for options in ("size=256k", "remount,ro"):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    if not os.listdir(folder):
        save(folder + "/c.pt", {"x": torch.zeros(3)})
    try:
        save(folder + "/c.pt", {"x": torch.ones(1_000_000)})
    except OSError as error:
        print(error)
    print(os.listdir(folder), torch.load(folder + "/c.pt")["x"].tolist())
"""


def test_a_disk_that_is_full_or_read_only_is_said_and_leaves_the_old_file(tmp_path: Path) -> None:
    # In a namespace of its own: the disk is gone when the process ends.
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        tried = subprocess.run([*alone, "mount", "-t", "tmpfs", "tmpfs", tmp_path], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare command to mount a small disk with")
    if tried.returncode:
        pytest.skip("this system lets nobody mount a small disk")
    command = [*alone, sys.executable, "-c", ON_A_SMALL_DISK, tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    full, kept, read_only, still = done.stdout.splitlines()
    assert full.startswith(f"cannot write {tmp_path / 'c.pt'}: ")
    assert full.endswith("is the disk full?")
    assert f"cannot write {tmp_path / 'c.pt'}: Read-only file system; choose a folder" in read_only
    assert kept == still == "['c.pt'] [0.0, 0.0, 0.0]"


def test_a_full_device_is_said_in_the_words_of_the_system(tmp_path: Path) -> None:
    def write(_file: Any) -> None:
        with Path("/dev/full").open("wb", buffering=0) as device:
            device.write(b"x")

    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with pytest.raises(OSError, match=r"cannot write .*c\.pt: No space left on device"):
        write_whole(tmp_path / "c.pt", write)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write .*file/c\.pt.*choose a folder that can be written"):
        save(tmp_path / "file" / "c.pt", {})
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(OSError, match=r"cannot write .*folder\.pt: Is a directory$"):
        save(tmp_path / "folder.pt", {})
    assert {p.name for p in tmp_path.iterdir()} == {"file", "folder.pt"}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write into read-only folders")
def test_a_read_only_folder_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match=r"cannot write .*choose a folder"):
        save(tmp_path / "c.pt", {})
    tmp_path.chmod(0o700)


def test_files_cut_anywhere_are_refused_and_named(tmp_path: Path) -> None:
    path = save(tmp_path / "c.pt", {"x": torch.zeros(1000), "step": 3})
    whole = path.read_bytes()
    for size in (0, 1, 30, 700, len(whole) // 2, len(whole) - 1000, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=rf"c\.pt is not a readable checkpoint \({size} bytes\)"):
            read(path)


def test_foreign_and_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(CheckpointError, match=r"notes\.txt is not a readable checkpoint \(5 bytes\)"):
        read(tmp_path / "notes.txt")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(CheckpointError, match=r"image\.png is not a readable checkpoint"):
        read(tmp_path / "image.png")
    with pytest.raises(FileNotFoundError, match=r"path: no checkpoint at .*nowhere"):
        read(tmp_path / "nowhere.pt")
    with pytest.raises(FileNotFoundError, match="path: no checkpoint at"):
        read(tmp_path)
    torch.save(torch.zeros(2), tmp_path / "tensor.pt")
    with pytest.raises(CheckpointError, match=r"tensor\.pt: expected a dict of tensors, got Tensor"):
        read(tmp_path / "tensor.pt")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_file_is_refused_and_nothing_of_it_runs(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "hostile.pt"
    torch.save({"x": Hostile(tmp_path / "owned")}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="tensors and plain values"):
        read(path)
    assert not (tmp_path / "owned").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "owned").exists(), "a careless reader would have run it"
