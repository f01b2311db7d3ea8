"""The command line: each command answers, and what the user can mend is said in one line."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from visionlab import cli
from visionlab.experiments.result import Result
from visionlab.papers import PAPERS

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("VISIONLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cli, "_runs", lambda: tmp_path / "runs")
    return tmp_path / "runs"


def say(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    cli.main(list(args))
    return capsys.readouterr().out


def complain(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    with pytest.raises(SystemExit) as stop:
        cli.main(list(args))
    assert stop.value.code == 2
    words = capsys.readouterr().err
    assert words.startswith("visionlab: ")
    assert words.count("\n") == 1
    return words


def test_list_names_everything_of_every_paper(capsys: pytest.CaptureFixture[str]) -> None:
    words = say(capsys, "list")
    for paper in PAPERS:
        for name in (paper.title, paper.lab, paper.app, *paper.experiments, *paper.models):
            assert name in words


def test_run_measures_judges_and_writes(capsys: pytest.CaptureFixture[str], tmp_path: Path, own_cache: Path) -> None:
    out = tmp_path / "reach.json"
    words = say(capsys, "run", "cswin/reach", "--variants", "cswin", "shifted window", "--out", str(out))
    assert "shown (94.5)" in words
    assert Result.load(out).values("cswin", "reach on 56x56, 2 blocks (%)") == {0: 100.0}
    kept = list(own_cache.glob("*.json"))
    assert len(kept) == 2
    kept[0].write_text(kept[0].read_text().replace("100.0", "50.0"))
    again = say(capsys, "run", "cswin/reach", "--variants", "cswin", "shifted window")
    assert again != words.replace(f"written to {out}\n", ""), "a finished part is read, not measured again"


def test_show_prints_each_claim_with_its_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    words = say(capsys, "show", "claims")
    assert words.count("cswin/same-colour") == 3
    assert "not shown" in words
    assert "accuracy at distance 6-7" in say(capsys, "show", "recorded")


def test_weights_and_data_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "cswin_nano_eurosat" in say(capsys, "weights")
    assert "sha256" in say(capsys, "weights", "show", "cswin_nano_eurosat")
    assert "eurosat_mini" in say(capsys, "data")
    assert "SeaLake                  60" in say(capsys, "data", "eurosat_mini", "--split", "test")
    assert "tasks of the world, for data make and data show: shapes, " in say(capsys, "data")
    assert "stripes_explorer" in say(capsys, "app")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["run", "cswin/rech"], "did you mean 'cswin/reach'"),
        (["run", "cswin/reach", "--preset", "huge"], "preset: cswin/reach has quick, long, got 'huge'"),
        (["run", "cswin/reach", "--variants", "swin"], "variants: cswin/reach has cswin, axial"),
        (["run", "cswin/eurosat", "--data", "mnist"], "data: cswin/eurosat runs on eurosat_mini, got 'mnist'"),
        (["weights", "show", "nothing"], "weights: no 'nothing'"),
        (["data", "cifar11"], "cifar10"),
        (["data", "cifar10"], "download"),
        (["data", "make", "shape"], "task: expected one of shapes, "),
        (["data", "show", "shape"], "task: expected one of shapes, "),
        (["data", "make", "shape", "--out", "new"], "task: expected one of shapes, "),
        (["data", "make", "shapes", "--n", "0"], "n: expected a whole number from 1"),
        (["data", "make", "shapes", "--split", "all"], "split: expected one of train, val, test; got 'all'"),
        (["data", "make", "shapes", "--style", "oil"], "style: expected one of clean"),
        (["data", "make", "shapes", "--knob", "n=3"], "knob: shapes has classes, distractors"),
        (["data", "make", "shapes", "--form", "table"], "form: expected with `make` and --out alone"),
        (["data", "show", "shapes", "--form", "table"], "form: expected with `make` and --out alone"),
        (["data", "make", "same", "--knob", "distance=a,b"], "distance: expected numbers, like"),
        (["data", "make", "shapes", "--knob", "distractors"], "distractors: expected a whole number; got ''"),
        (["data", "make", "shapes", "--knob", "distractors=two"], "distractors: expected a whole number; got 'two'"),
        (["data", "make", "shapes", "--out", "new", "--form", "coco"], "form: a set of 'shapes' is written as"),
        (["data", "make", "shapes", "--out", "."], "folder: expected a new or an empty one"),
        (["lab", "99_nothing"], "lab: no '99_nothing'; there are "),
        (["app", "nothing"], "there are noisy_points_demo, poison_ink_demo, stripes_explorer, tiny_nets_demo"),
    ],
)
def test_mistakes_are_answered_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], words: str
) -> None:
    monkeypatch.setenv("VISIONLAB_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(cli, "_learners_copy", lambda labs: labs)
    assert words in complain(capsys, *args)


def test_a_cache_that_cannot_be_written_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(cli, "_runs", lambda: tmp_path / "file" / "runs")
    assert "cannot write" in complain(capsys, "run", "cswin/reach", "--variants", "cswin")


def test_the_learners_copy_is_made_once_and_keeps_answers(tmp_path: Path) -> None:
    labs = tmp_path / "labs"
    labs.mkdir()
    (labs / "01_one.ipynb").write_text("original")
    copy = cli._learners_copy(labs)
    (copy / "01_one.ipynb").write_text("my answers")
    (labs / "02_two.ipynb").write_text("new lab")
    assert cli._learners_copy(labs) == copy == tmp_path / "my_labs"
    assert (copy / "01_one.ipynb").read_text() == "my answers"
    assert (copy / "02_two.ipynb").read_text() == "new lab"


def test_data_make_keeps_a_set_and_writes_it_as_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    options = "--split test --n 12 --size 24 --style night --seed 3 --knob by=shape among=cube,cone distance=0,4"
    command = ["data", "make", "same", *options.split()]
    words = say(capsys, *command)
    assert f"same, test: 12 images, kept in {tmp_path / 'cache' / 'world'}" in words
    (folder,) = (path for path in (tmp_path / "cache" / "world").iterdir() if path.is_dir())
    made = json.loads((folder / "set.json").read_text())["set"]["parameters"]
    assert made["knobs"] | {"by": "shape", "among": ["cube", "cone"], "distance": [0, 4]} == made["knobs"]
    assert (made["split"], made["size"], made["style"], made["seed"]) == ("test", [24, 24], "night", 3)
    words = say(capsys, *command, "--out", str(tmp_path / "files"))
    assert f"written to {tmp_path / 'files'} as imagefolder" in words
    assert len(list((tmp_path / "files").glob("*/*.png"))) == 12
    assert "same" in say(capsys, "data", str(tmp_path / "files"))
    assert "folder: expected a new" in complain(capsys, *command, "--out", str(tmp_path / "files"))
    say(capsys, "data", "make", "shapes", "--n", "2", "--size", "16", "--out", str(tmp_path / "t"), "--form", "table")
    assert (tmp_path / "t" / "answers.csv").is_file()


def test_a_folder_that_is_not_free_is_said_before_anything_is_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "mine").touch()
    complain(capsys, "data", "make", "shapes", "--out", str(tmp_path / "mine"))
    assert not (tmp_path / "cache" / "world").exists()


def test_data_show_says_what_a_task_asks_and_draws_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = say(capsys, "data", "show", "captions", "--size", "24", "--knob", "synonyms=true", "detail=1")
    assert "captions: What does the picture show, in a sentence?" in words
    assert "  synonyms=True: whether a caption may call things by other words\n" in words
    assert "  detail=1: how much a caption says, 1 to 3\n" in words
    with pytest.raises(SystemExit) as stop:
        cli.main(["data", "show", "captions", "--n", "9"])
    assert stop.value.code == 2
    assert "n: expected with `make` alone; show draws 24 images; got 9" in capsys.readouterr().err
    assert "classes  none" in words
    with Image.open("captions.png") as picture:
        assert min(picture.size) > 800
    words = say(capsys, "data", "show", "same", "--size", "24", "--out", "other.png")
    assert "classes  different, same" in words
    assert Path("other.png").is_file()


def test_an_interrupt_says_that_the_same_command_goes_on_and_it_does(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ["data", "make", "attributes", "--n", "3000", "--size", "24"]
    world = tmp_path / "cache" / "world"

    def interrupt() -> None:
        while not list(world.glob("*.part/set.json")):
            time.sleep(0.005)
        # Python drops an interrupt that comes in a destructor; whoever sits there presses the keys again.
        while not stopped.is_set():
            os.kill(os.getpid(), signal.SIGINT)
            stopped.wait(2)

    stopped = threading.Event()
    thread = threading.Thread(target=interrupt, daemon=True)
    # A job in the background ignores the signal, and so does all that it starts, these tests included.
    before_us = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread.start()
    try:
        with pytest.raises(SystemExit) as stop:
            cli.main(command)
    finally:
        stopped.set()
        thread.join()
        signal.signal(signal.SIGINT, before_us)
    assert stop.value.code == 130
    assert "the same command goes on where it was" in capsys.readouterr().err
    (part,) = world.glob("*.part")
    before = json.loads((part / "set.json").read_text())["done"]
    assert 0 < before < 3000
    first = (part / "images.npy").read_bytes()[: 128 + 256 * 3 * 24 * 24]
    assert "attributes, train: 3000 images" in say(capsys, *command)
    (folder,) = (path for path in world.iterdir() if path.is_dir())
    assert (folder / "images.npy").read_bytes().startswith(first)


@pytest.mark.parametrize(
    ("command", "goes_on"),
    [
        ("bench micronet_m0", False),
        ("export micronet_m0 --checkpoint w.pth --out m.pt2", False),
        ("watermark wrap key network --out m.pt2", False),
        ("list", False),
        ("run cswin/reach", True),
        ("weights train cswin_nano_eurosat", True),
        ("data show same", True),
        ("watermark train key --outputs folder --message 101", True),
    ],
)
def test_an_interrupt_promises_no_more_than_is_true(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, goes_on: bool
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tyro.cli", interrupted)
    monkeypatch.setattr("tyro.extras.subcommand_cli_from_dict", interrupted)
    with pytest.raises(SystemExit) as stop:
        cli.main(command.split())
    assert stop.value.code == 130
    words = "stopped; the same command goes on where it was" if goes_on else "stopped"
    assert capsys.readouterr().err == f"\nvisionlab: {words}\n"


@pytest.mark.parametrize("port", ["99999999", "-1", "0"])
def test_an_app_says_which_ports_there_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, port: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["tiny_nets_demo.py", "--port", port])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "apps" / "tiny_nets_demo.py"), run_name="__main__")
    assert stop.value.code == 2
    assert f"error: port: expected a whole number from 1 to 65535, got {port}\n" in capsys.readouterr().err


def test_a_run_that_was_killed_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "visionlab", "run", "cswin/same-colour", "--variants", "cswin", "--device", "cpu"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    runs = tmp_path / "visionlab" / "runs"
    try:
        while not list(runs.glob("*.pt")):
            assert process.poll() is None
            os.sched_yield()
    finally:
        process.kill()
        process.wait()
    done = subprocess.run([*command, "--out", str(tmp_path / "out.json")], cwd=ROOT, env=environment, check=True,
                          capture_output=True, text=True)  # fmt: skip
    assert "cswin: accuracy" in done.stdout
    steps = [step for step, _ in json.loads((tmp_path / "out.json").read_text())["curves"]["cswin/0"]["loss"]]
    assert steps == sorted(set(steps))
    assert steps[0] == 1
    shutil.rmtree(runs)
