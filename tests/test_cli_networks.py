"""The commands on networks, as users run them: what they measure and write, and what they refuse."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import visionlab  # noqa: F401  registers its networks
from tests.commands import complain, say
from tests.filling import entry
from tests.hostile import Hostile
from visionlab import programs
from visionlab.experiments import contestants


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_users_run_it: None) -> None:
    monkeypatch.chdir(tmp_path)


def trained(name: str, **kwargs: int) -> nn.Module:
    """A network whose weights are not those of a fresh one."""
    network = timm.create_model(name, **kwargs).eval()
    network.load_state_dict({key: entry(key, tuple(old.shape)) for key, old in network.state_dict().items()})
    return network.float()


# --- bench ------------------------------------------------------------------------------------------------------------


def test_bench_measures_a_network_in_both_runtimes(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    words = say(
        capsys, "bench", "test_resnet", "--size", 32, "--batches", 1, 3, "--threads", 1, "--repeats", 2,
        "--out", "b.json", "--picture", "b.png",
    )  # fmt: skip
    assert "median of 2 turns" in words
    assert "attention products of one image as this form runs them; activations are not counted" in words
    measured = json.loads(Path("b.json").read_text())
    assert [row["form"] for row in measured["rows"]] == ["PyTorch", "onnxruntime"]
    parameters = sum(p.numel() for p in timm.create_model("test_resnet").parameters())
    for row in measured["rows"]:
        assert f"{row['network']}  {row['form']}" in words
        assert (row["size"], row["parameters"]) == (32, parameters)
        assert row["multiply_adds"] > 0
        assert [(t["batch"], t["threads"]) for t in row["timings"]] == [(1, 1), (3, 1)]
        assert all(len(t["seconds"]) == 2 and min(t["seconds"]) > 0 for t in row["timings"])
        assert row["memory_mib"].keys() == {"1", "3"}
        assert all(0 <= grown < 200 for grown in row["memory_mib"].values())
    assert measured["machine"]["torch"] == torch.__version__
    with Image.open("b.png") as picture:
        assert picture.width > picture.height > 100


def test_bench_shows_the_fast_form_and_says_that_onnxruntime_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    words = say(capsys, "bench", "micronet_m0", "--size", 32, "--batches", 1, "--threads", 1, "--repeats", 1)
    assert "not measured in onnxruntime, as onnxruntime is not installed: pip install 'visionlab[onnx]'" in words
    assert "micronet_m0  PyTorch" in words
    assert "micronet_m0  folded" in words


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("micronet_m9",), "timm has no network 'micronet_m9'; near it are micronet_m"),
        ((), "expected the names of networks"),
        (("test_resnet", "--out", "b.txt"), "out: expected a name that ends in .json, got b.txt"),
        (("test_resnet", "--picture", "b.jpg"), "picture: expected a name that ends in .png, got b.jpg"),
        (("test_resnet", "--repeats", 0), "repeats: expected whole numbers >= 1, got 0"),
        (("test_resnet", "--threads", 0), "threads: expected whole numbers from 1 to 1024, got 0"),
        (("test_resnet", "--threads", 1, 1025), "threads: expected whole numbers from 1 to 1024, got 1, 1025"),
        (("test_resnet", "--size", 0), "size: expected a whole number of pixels >= 1, got 0"),
    ],
)
def test_bench_says_what_it_cannot_measure(
    capsys: pytest.CaptureFixture[str], words: tuple, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "missing", lambda *_: "onnx")
    assert complaint in complain(capsys, "bench", *words)


@pytest.mark.parametrize(("argument", "suffix"), [("--out", ".json"), ("--picture", ".png")])
def test_bench_says_before_any_work_that_a_file_cannot_be_written(
    capsys: pytest.CaptureFixture[str], argument: str, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contestants, "contestants_of", lambda *_, **__: pytest.fail("a network was made"))
    Path(f"folder{suffix}").mkdir()
    Path("file").touch()
    long = f"{'x' * 245}{suffix}"
    for path, words in (
        (f"folder{suffix}", f"{argument[2:]}: expected the name of a file, folder{suffix} is a folder"),
        (f"file/b{suffix}", f"{argument[2:]}: cannot write file/b{suffix}: Not a directory; choose a folder"),
        (f"file/new/b{suffix}", f"{argument[2:]}: cannot write file/new/b{suffix}: Not a directory; choose a folder"),
        (long, f"{argument[2:]}: cannot write {long}: File name too long"),
    ):
        assert words in complain(capsys, "bench", "test_resnet", argument, path)
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        assert "cannot write b" in complain(capsys, "bench", "test_resnet", argument, f"b{suffix}")
        tmp_path.chmod(0o700)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", f"folder{suffix}"]


def test_a_refused_bench_makes_no_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert "timm has no network" in complain(capsys, "bench", "micronet_m9", "--out", "new/folder/b.json")
    assert not Path("new").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_bench_says_that_there_is_no_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert "device: expected cpu" in complain(capsys, "bench", "test_resnet", "--device", "cuda")


# --- export -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["m.onnx", "m.pt2"])
def test_export_writes_a_program_of_the_checkpoint(
    capsys: pytest.CaptureFixture[str], out: str, tmp_path: Path
) -> None:
    network = trained("test_resnet", num_classes=7)
    torch.save({"state_dict": network.state_dict()}, "weights.pth")
    words = say(
        capsys, "export", "test_resnet", "--checkpoint", "weights.pth", "--out", out, "--size", 48, "--classes", 7
    )
    assert "(any number, 3, 48, 48)" in words
    assert words.count("of the largest answer") == 3
    assert "three photographs" in words
    content = Path(out).read_bytes()
    assert str(tmp_path).encode() not in content
    run = programs.opened(content, programs.FORMS[Path(out).suffix])
    images = torch.randn(5, 3, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(run(images), network(images), rtol=1e-3, atol=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == [out, "weights.pth"]


def test_export_writes_the_fast_form(capsys: pytest.CaptureFixture[str]) -> None:
    network = trained("micronet_m0")
    save_file(network.state_dict(), "weights.safetensors")
    words = say(
        capsys,
        "export",
        "micronet_m0",
        "--checkpoint",
        "weights.safetensors",
        "--out",
        "m.pt2",
        "--size",
        32,
        "--folded",
    )  # checked against the plain network
    assert "written to m.pt2, as none differs by more than 0.0001" in words
    program = torch.export.load("m.pt2")
    assert not [node for node in program.graph.nodes if "batch_norm" in str(node.target)]


def test_export_says_what_does_not_fit(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    torch.save(timm.create_model("micronet_m1").state_dict(), "m1.pth")
    torch.save(timm.create_model("test_resnet").state_dict(), "resnet.pth")
    for name, weights, more, words in (
        ("micronet_m9", "m1.pth", (), "timm has no network 'micronet_m9'; near it are micronet_m"),
        ("micronet_m0", "none.pth", (), "checkpoint: there is no file none.pth"),
        ("micronet_m0", "m1.pth", (), "checkpoint: holds a MicroNet of stem 6"),
        ("micronet_m0", "resnet.pth", (), "checkpoint: holds no MicroNet"),
        ("test_resnet", "m1.pth", (), "checkpoint: m1.pth does not fit the network test_resnet"),
        ("test_resnet", "resnet.pth", ("--folded",), "folded: test_resnet has no fast form"),
        ("test_resnet", "resnet.pth", ("--classes", 0), "classes: expected a whole number >= 1, got 0"),
        ("test_resnet", "resnet.pth", ("--size", 0), "size: expected a whole number of pixels >= 1, got 0"),
    ):
        complaint = complain(capsys, "export", name, "--checkpoint", weights, "--out", "m.pt2", *more)
        assert words in complaint
        assert complaint.count("\n") == 1
    words = complain(capsys, "export", "test_resnet", "--checkpoint", "resnet.pth", "--out", "m.pth")
    assert "out: expected a name that ends in .pt2 or .onnx, got m.pth" in words
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".pth"] * 2


NO_WEIGHTS = "is not a readable checkpoint ({} bytes): expected a whole file of tensors and plain values"


def test_export_says_what_is_no_file_of_weights(capsys: pytest.CaptureFixture[str]) -> None:
    state = timm.create_model("test_resnet").state_dict()
    Path("text.pth").write_text("no weights")
    Path("empty.pth").touch()
    Path("text.safetensors").write_text("no weights")
    for name, content in {
        "list": [1, 2], "tensor": torch.ones(3), "malicious": {"weight": Hostile(Path("made"))},
        "wrapped": {"model": [1]}, "numbers": {1: torch.ones(1)},
        "nan": state | {"fc.bias": torch.full((1000,), torch.nan)},
    }.items():  # fmt: skip
        torch.save(content, f"{name}.pth")
    for file, words in {
        "list.pth": "list.pth: expected a dict of tensors, got list",
        "tensor.pth": "tensor.pth: expected a dict of tensors, got Tensor",
        "text.pth": f"text.pth {NO_WEIGHTS.format(10)}",
        "empty.pth": f"empty.pth {NO_WEIGHTS.format(0)}",
        "malicious.pth": f"malicious.pth {NO_WEIGHTS.format(Path('malicious.pth').stat().st_size)}",
        "text.safetensors": "text.safetensors does not fit the network test_resnet: Error while",
        "wrapped.pth": "expected a dictionary of tensors by name in wrapped.pth",
        "numbers.pth": "expected a dictionary of tensors by name in numbers.pth",
        "nan.pth": "nan.pth has weights that are not finite numbers, in fc.bias",
    }.items():
        complaint = complain(capsys, "export", "test_resnet", "--checkpoint", file, "--out", "m.pt2")
        assert complaint.startswith(f"visionlab: checkpoint: {words}")
        assert "weights_only" not in complaint
        assert complaint.count("\n") == 1
    assert not Path("made").exists()


@pytest.mark.parametrize("name", ["micronet_m0", "mobile_former_26m", "cswin_tiny_224", "test_resnet"])
def test_export_names_the_classes_of_a_checkpoint(capsys: pytest.CaptureFixture[str], name: str) -> None:
    torch.save(timm.create_model(name, num_classes=10).state_dict(), "w.pth")
    for more, built in (((), 1000), (("--classes", 7), 7)):
        complaint = complain(capsys, "export", name, "--checkpoint", "w.pth", "--out", "m.pt2", *more)
        words = f"classes: expected --classes 10, as w.pth tells 10 classes apart; {name} was built for {built}\n"
        assert complaint == f"visionlab: {words}"


@pytest.mark.parametrize("file", ["w.pth", "w.pth.tar", "w.safetensors"])
def test_export_takes_what_timm_takes(capsys: pytest.CaptureFixture[str], file: str) -> None:
    state = trained("test_resnet").state_dict()
    if file == "w.pth.tar":  # as timm's own training writes it
        torch.save({"epoch": 3, "arch": "test_resnet", "state_dict": state, "args": Namespace(lr=0.1)}, file)
    elif file == "w.pth":
        torch.save({"model": {f"module.{key}": tensor for key, tensor in state.items()}}, file)
    else:
        save_file(state, file)
    assert "written to m.pt2" in say(
        capsys, "export", "test_resnet", "--checkpoint", file, "--out", "m.pt2", "--size", 32
    )


def test_export_leaves_no_file_that_computes_something_else(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(trained("test_resnet").state_dict(), "w.pth")
    wrong = trained("test_resnet")
    with torch.no_grad():
        wrong.conv1[0].weight[0] *= 1.01
    monkeypatch.setattr(contestants, "fast_form", lambda network: wrong)
    Path("m.pt2").write_text("an older file")
    words = complain(
        capsys, "export", "test_resnet", "--checkpoint", "w.pth", "--out", "m.pt2", "--size", 32, "--folded"
    )
    assert "of the largest answer on noise, three images, expected 0.0001 at most" in words
    assert Path("m.pt2").read_text() == "an older file"
    assert len(list(tmp_path.iterdir())) == 2


def test_export_needs_packages_for_onnx(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    words = complain(capsys, "export", "test_resnet", "--checkpoint", "w.pth", "--out", "m.onnx")
    assert "needs onnxruntime: pip install 'visionlab[onnx]'" in words


def test_export_says_that_a_folder_cannot_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    torch.save(timm.create_model("test_resnet").state_dict(), "w.pth")
    Path("folder.onnx").mkdir()
    for out, reason in (
        ("w.pth/m.pt2", "out: cannot write w.pth/m.pt2: Not a directory"),  # no folder, for root as well
        ("folder.onnx", "out: expected the name of a file, folder.onnx is a folder"),
    ):
        # The checkpoint is not looked at: nothing is done before the name is found good.
        assert reason in complain(capsys, "export", "test_resnet", "--checkpoint", "none.pth", "--out", out)
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        assert "cannot write" in complain(capsys, "export", "test_resnet", "--checkpoint", "w.pth", "--out", "m.pt2")
        tmp_path.chmod(0o700)
