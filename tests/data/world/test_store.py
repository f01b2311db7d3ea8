"""Sets on disk are made once and whole, whatever stops the making, and what is not one is refused in words."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.world import makers
from tests.data.world.makers import CHUNK, COLUMNS, N, fill
from tests.hostile import Hostile
from visionlab.data.world import store
from visionlab.data.world.store import Column, StoreError, make


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.txt"
    path.touch()
    return path


def files(root: Path) -> dict[str, bytes]:
    (folder,) = (path for path in root.iterdir() if path.is_dir())
    assert folder.suffix != ".part"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def folder_of(root: Path) -> Path:
    makers.make(root, root / "log of the first")
    (folder,) = (path for path in root.iterdir() if path.is_dir())
    return folder


def check_nothing_saved_was_made_again(log: Path) -> int:
    """Read the log, and count the chunks that were begun."""
    saved, begun = 0, 0
    for line in log.read_text().splitlines():
        word, number = line.split()
        if word == "saved":
            saved = max(saved, int(number))
        else:
            begun += 1
            assert int(number) >= saved, f"entry {number} was saved, and is made again"
    return begun


def run(child: Any) -> int:
    child.start()
    child.join()
    return int(child.exitcode)


def test_a_set_is_made_once_and_mapped_read_only(tmp_path: Path, log: Path) -> None:
    made = makers.make(tmp_path / "cache", log)
    assert [line for line in log.read_text().splitlines() if line.startswith("saved")] == [
        f"saved {done}" for done in range(0, N + 1, CHUNK)
    ]
    log.write_text("")
    again = makers.make(tmp_path / "cache", log)
    assert log.read_text() == ""
    wanted = fill(range(N))
    for arrays in (made, again):
        for name, column in COLUMNS.items():
            assert isinstance(arrays[name], np.memmap)
            assert arrays[name].dtype == np.dtype(column.dtype)
            np.testing.assert_array_equal(arrays[name], wanted[name])
    with pytest.raises(ValueError, match="read-only"):
        made["images"][0] = 0


def test_anything_else_in_the_parameters_is_another_set(tmp_path: Path) -> None:
    column = {"images": Column((), "int64")}
    for value in (1, 2, "1", None, [1]):
        found = make(
            {"task": "toy", "knob": value}, column, 1, lambda which: {"images": np.zeros(1, int)}, root=tmp_path
        )
        assert found["images"].shape == (1,)
    make({"task": "toy", "knob": 1}, column, 2, lambda which: {"images": np.zeros(len(which), int)}, root=tmp_path)
    assert sum(path.is_dir() for path in tmp_path.iterdir()) == 6


def test_the_files_are_those_of_numpy(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    for name, values in fill(range(N)).items():
        np.testing.assert_array_equal(np.load(folder / f"{name}.npy"), values)
    assert json.loads((folder / "set.json").read_text())["set"]["parameters"] == {"task": "toy"}


def test_two_processes_at_once_make_a_set_once(tmp_path: Path, log: Path, children: ForkServerContext) -> None:
    pair = [
        children.Process(target=makers.make_slowly, args=(tmp_path / "cache", log, tmp_path / f"{i}.npz"))
        for i in range(2)
    ]
    for child in pair:
        child.start()
    for child in pair:
        child.join()
        assert child.exitcode == 0
    assert check_nothing_saved_was_made_again(log) == N // CHUNK
    first, second = (np.load(tmp_path / f"{i}.npz") for i in range(2))
    for name, values in fill(range(N)).items():
        np.testing.assert_array_equal(first[name], values)
        np.testing.assert_array_equal(second[name], values)


def test_a_kill_at_any_moment_loses_no_saved_entry(tmp_path: Path, children: ForkServerContext) -> None:
    n, chunks = 2 * CHUNK + 1, 3
    makers.make(tmp_path / "undisturbed", tmp_path / "undisturbed.txt", n=n)
    whole, out = files(tmp_path / "undisturbed"), tmp_path / "out.txt"
    (tmp_path / "killed").mkdir()
    assert run(children.Process(target=makers.die_at_every_change, args=(tmp_path / "killed", n, out))) == 0
    moments = int(out.read_text())
    assert 30 < moments < 200
    for moment in range(moments):
        assert files(tmp_path / "killed" / f"{moment}") == whole, f"moment {moment}"
        begun = check_nothing_saved_was_made_again(tmp_path / "killed" / f"{moment}.txt")
        assert chunks <= begun <= chunks + 1, f"moment {moment}"


def test_a_kill_between_the_last_chunk_and_the_end_makes_nothing_again(
    tmp_path: Path, log: Path, children: ForkServerContext
) -> None:
    folder = folder_of(tmp_path)
    whole = files(tmp_path)
    folder.rename(f"{folder}.part")
    makers.make(tmp_path, log)
    assert log.read_text() == f"saved {N}\n"
    assert files(tmp_path) == whole


def test_a_file_that_may_not_grow_is_said_and_what_was_made_is_used(
    tmp_path: Path, log: Path, children: ForkServerContext
) -> None:
    root, said = tmp_path / "cache", tmp_path / "said.txt"
    limit = len(COLUMNS["images"].head(N)) + 15 * 10  # ten entries, so two chunks and a half
    assert run(children.Process(target=makers.make_up_to, args=(limit, root, log, said))) == 0
    assert said.read_text().startswith("[Errno 27] cannot keep the set in ")
    assert "VISIONLAB_CACHE" in said.read_text()
    assert log.read_text().splitlines()[-1] == "filled 8"
    makers.make(root, log)
    assert check_nothing_saved_was_made_again(log) == N // CHUNK + 1
    makers.make(tmp_path / "undisturbed", tmp_path / "other log.txt")
    assert files(root) == files(tmp_path / "undisturbed")


ON_A_SMALL_DISK = """
import importlib.util, os, subprocess, sys
from pathlib import Path
import numpy as np
spec = importlib.util.spec_from_file_location("store", sys.argv[1])
store = sys.modules["store"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(store)
disk, columns = Path(sys.argv[2]), {"x": store.Column((1000,), "uint8")}

def mount(options):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=True)

def attempt(n, before=lambda which: None):
    def fill(which):
        before(which)
        print("fill", which.start)
        return {"x": np.full((len(which), 1000), which.start % 256, np.uint8)}
    try:
        print("made", int(store.make({"task": "t"}, columns, n, fill, root=disk, chunk=100)["x"].sum()))
    except OSError as error:
        print(error)

def use_up(which):
    if which.start == 200:
        try:
            (disk / "other").write_bytes(bytes(2_000_000))
        except OSError:
            pass

mount("size=1m")
attempt(2000)
attempt(500, use_up)
(disk / "other").unlink()
attempt(500)
mount("remount,ro")
attempt(500)
attempt(400)
"""


def test_a_disk_that_is_full_or_read_only_is_said_and_what_was_made_is_used(tmp_path: Path) -> None:
    # In a namespace of its own: the disk is gone when the process ends.
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        tried = subprocess.run([*alone, "mount", "-t", "tmpfs", "tmpfs", tmp_path], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare command to mount a small disk with")
    if tried.returncode:
        pytest.skip("this system lets nobody mount a small disk")
    command = [*alone, sys.executable, "-c", ON_A_SMALL_DISK, store.__file__, tmp_path]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "it needs 2.0 MB, and the disk has 1.0; make room, or choose" in said[0], "nothing is begun"
    assert said[1:4] == ["fill 0", "fill 100", "fill 200"]
    assert "No space left on device" in said[4]
    total = sum(100_000 * (start % 256) for start in range(0, 500, 100))
    assert said[5:9] == ["fill 200", "fill 300", "fill 400", f"made {total}"]
    assert said[9] == f"made {total}", "what is there can be read from a read-only disk"
    assert "Read-only file system" in said[10]
    assert len(said) == 11


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot keep the set in .*file.*make room, or choose a folder"):
        makers.make(tmp_path / "file" / "cache", tmp_path / "log.txt")
    assert not (tmp_path / "log.txt").exists()


def as_zip(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, x=np.zeros(3))


def as_pickle(path: Path) -> None:
    np.save(path, np.array([Hostile(path.parent / "owned")], dtype=object), allow_pickle=True)


SPOILT: dict[str, Callable[[Path], object]] = {
    "an empty array": lambda folder: (folder / "images.npy").write_bytes(b""),
    "an array cut short": lambda folder: (folder / "images.npy").write_bytes((folder / "images.npy").read_bytes()[:-1]),
    "no array": lambda folder: (folder / "words.npy").unlink(),
    "a zip": lambda folder: as_zip(folder / "images.npy"),
    "a pickle": lambda folder: as_pickle(folder / "images.npy"),
    "text": lambda folder: (folder / "images.npy").write_text("hello"),
    "another shape": lambda folder: np.save(folder / "images.npy", np.zeros((N, 5, 3), np.uint8)),
    "another type": lambda folder: np.save(folder / "images.npy", np.zeros((N, 3, 5), np.int8)),
    "a number": lambda folder: np.save(folder / "images.npy", np.uint8(3)),
    "no description": lambda folder: (folder / "set.json").unlink(),
    "half a description": lambda folder: (folder / "set.json").write_text('{"done": 4'),
    "another description": lambda folder: (folder / "set.json").write_text("[1]"),
    "a set half made": lambda folder: (folder / "set.json").write_text(
        (folder / "set.json").read_text().replace(f'"done": {N}', '"done": 4')
    ),
    "an empty folder": lambda folder: [path.unlink() for path in folder.iterdir()],
    "a file": lambda folder: [shutil.rmtree(folder), folder.write_text("hello")],
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_what_is_no_set_is_refused_and_named(tmp_path: Path, log: Path, spoil: Callable[[Path], object]) -> None:
    folder = folder_of(tmp_path)
    spoil(folder)
    with pytest.raises(StoreError, match=rf"{folder.name} .*delete it, and it will be made anew"):
        makers.make(tmp_path, log)
    assert not (folder / "owned").exists(), "no code of a file is run"
    shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    np.testing.assert_array_equal(makers.make(tmp_path, log)["images"], fill(range(N))["images"])


HALF: dict[str, Callable[[Path], object]] = {
    **{name: spoil for name, spoil in SPOILT.items() if name not in ("a file", "a set half made")},
    "more than all of it": lambda part: (part / "set.json").write_text(
        (part / "set.json").read_text().replace(f'"done": {N}', f'"done": {N + 1}')
    ),
    "less than nothing": lambda part: (part / "set.json").write_text(
        (part / "set.json").read_text().replace(f'"done": {N}', '"done": -4')
    ),
    "no number": lambda part: (part / "set.json").write_text(
        (part / "set.json").read_text().replace(f'"done": {N}', '"done": "all"')
    ),
}


@pytest.mark.parametrize("spoil", HALF.values(), ids=HALF.keys())
def test_what_a_killed_run_left_is_not_trusted(tmp_path: Path, log: Path, spoil: Callable[[Path], object]) -> None:
    folder = folder_of(tmp_path)
    part = folder.rename(f"{folder}.part")
    spoil(part)
    found = makers.make(tmp_path, log)
    assert log.read_text().startswith("saved 0\nfilled 0\n")
    for name, values in fill(range(N)).items():
        np.testing.assert_array_equal(found[name], values)


def test_a_foreign_file_in_the_way_is_named(tmp_path: Path, log: Path) -> None:
    folder = folder_of(tmp_path)
    shutil.rmtree(folder)
    Path(f"{folder}.part").write_text("hello")
    with pytest.raises(OSError, match=rf"cannot keep the set .*\({folder}.part\)"):
        makers.make(tmp_path, log)
    assert Path(f"{folder}.part").read_text() == "hello"


def test_a_mistake_in_the_entries_leaves_nothing(tmp_path: Path) -> None:
    def refuse(which: range) -> dict[str, np.ndarray]:
        raise ValueError("kind: no such thing")

    with pytest.raises(ValueError, match="kind: no such thing"):
        make({}, COLUMNS, N, refuse, root=tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    for wrong in (np.zeros((N, 5, 3), np.uint8), np.zeros((N - 1, 3, 5), np.uint8)):
        values = {"images": wrong, "words": np.zeros(N, "S12")}
        with pytest.raises(ValueError, match=r"images: expected an array of \(40, 3, 5\); got"):
            make({}, COLUMNS, N, lambda which, values=values: values, root=tmp_path)
    with pytest.raises(TypeError, match="Cannot cast"):
        make({}, COLUMNS, N, lambda which: {"images": np.zeros((N, 3, 5)), "words": np.zeros(N, "S12")}, root=tmp_path)


def test_memory_does_not_grow_with_the_set(tmp_path: Path, children: ForkServerContext) -> None:
    # 8 and 80 MB on the disk, 2 MB a chunk.
    for n in (200, 2000):
        out = tmp_path / f"{n}.txt"
        assert run(children.Process(target=makers.measure_store, args=(n, tmp_path / "cache", out))) == 0
        assert float(out.read_text()) < 25
