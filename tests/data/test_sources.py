"""The published layouts of known data sets, in small: `images.load` must read each of them."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets

from tests.data.small_images import as_tensor, pixels, write
from visionlab.data import images


def test_dtd_is_read_from_its_published_layout(tmp_path):
    labels = tmp_path / "dtd" / "dtd" / "labels"
    labels.mkdir(parents=True)
    files = {"train": ["banded/a.jpg", "woven/b.jpg"], "val": ["woven/c.jpg"], "test": ["banded/d.jpg"]}
    for split, names in files.items():
        (labels / f"{split}1.txt").write_text("\n".join(names) + "\n")
        for seed, name in enumerate(names):
            write(tmp_path / "dtd" / "dtd" / "images" / name, pixels(seed))
    dataset = images.load("dtd", root=tmp_path)
    assert dataset.classes == ("banded", "woven")
    assert dataset.labels.tolist() == [0, 1]
    assert dataset[1][0].shape == (3, 6, 8)
    (tmp_path / "dtd" / "dtd" / "images" / "banded" / "d.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"banded/d\.jpg"):
        images.load("dtd", "test", root=tmp_path)[0]


def test_eurosat_is_read_from_its_published_layout_and_is_all_train(tmp_path, monkeypatch):
    write(tmp_path / "eurosat" / "2750" / "Forest" / "Forest_1.png", pixels(0, 64, 64))
    write(tmp_path / "eurosat" / "2750" / "River" / "River_1.png", pixels(1, 64, 64))
    monkeypatch.setenv("VISIONLAB_DATA", str(tmp_path))
    dataset = images.load("eurosat")
    assert dataset.classes == ("Forest", "River")
    assert torch.equal(dataset[1][0], as_tensor(pixels(1, 64, 64)))
    with pytest.raises(ValueError, match=r"split='test': 'eurosat' has 'train'"):
        images.load("eurosat", "test")


def test_oxford_pets_is_read_from_its_published_layout(tmp_path):
    annotations = tmp_path / "oxford-iiit-pet" / "annotations"
    annotations.mkdir(parents=True)
    (annotations / "trainval.txt").write_text("Abyssinian_100 1 1 1\ngreat_pyrenees_2 2 2 1\n")
    (annotations / "test.txt").write_text("great_pyrenees_7 2 2 1\nAbyssinian_3 1 1 1\n")
    for seed, name in enumerate(("Abyssinian_100", "great_pyrenees_2", "great_pyrenees_7")):
        write(tmp_path / "oxford-iiit-pet" / "images" / f"{name}.jpg", pixels(seed))
    train, test = images.load("oxford_pets", root=tmp_path), images.load("oxford_pets", "test", root=tmp_path)
    assert train.classes == ("Abyssinian", "Great Pyrenees")
    assert train.labels.tolist() == [0, 1]
    assert test.labels.tolist() == [1, 0]
    assert test[0][0].shape == (3, 6, 8)


def test_fashion_mnist_is_read_from_its_published_layout(tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    grey = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    for prefix, count in (("train", 3), ("t10k", 2)):
        header = struct.pack(">IIII", 0x803, count, 28, 28)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(header + grey[:count].tobytes())
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, count) + bytes([9, 0, 4][:count]))
    train, test = images.load("fashion_mnist", root=tmp_path), images.load("fashion_mnist", "test", root=tmp_path)
    assert train.labels.tolist() == [9, 0, 4]
    assert len(test) == 2
    assert train.classes[9] == "Ankle boot"
    assert torch.equal(train.tensors()[0], torch.from_numpy(grey).float()[:, None].expand(-1, 3, -1, -1) / 255)
    images_file = raw / "train-images-idx3-ubyte"
    images_file.write_bytes(images_file.read_bytes()[:-5])
    with pytest.raises(FileNotFoundError, match=r"'fashion_mnist' is missing or damaged"):
        images.load("fashion_mnist", root=tmp_path)


def cifar_batches(root: Path, monkeypatch, kind: type, folder: str, key: str) -> np.ndarray:
    """Small batches in CIFAR's pickle form. torchvision knows the digests of the real ones, so it gets these."""
    planes = np.random.default_rng(0).integers(0, 256, (4, 3 * 32 * 32), dtype=np.uint8)
    (root / folder).mkdir()

    def put(name: str, content: object) -> list[str]:
        path = root / folder / name
        path.write_bytes(pickle.dumps(content))
        return [name, datasets.utils.calculate_md5(path)]

    train = [put("some_train", {"data": planes[:3], key: [1, 0, 1]})]
    monkeypatch.setattr(kind, "train_list", train)
    monkeypatch.setattr(kind, "test_list", [put("some_test", {"data": planes[3:], key: [0]})])
    name, digest = put("some_meta", {kind.meta["key"]: ["bird", "ship"]})
    monkeypatch.setattr(kind, "meta", {**kind.meta, "filename": name, "md5": digest})
    return planes.reshape(-1, 3, 32, 32)


@pytest.mark.parametrize(
    ("name", "kind", "folder", "key"),
    [
        ("cifar10", datasets.CIFAR10, "cifar-10-batches-py", "labels"),
        ("cifar100", datasets.CIFAR100, "cifar-100-python", "fine_labels"),
    ],
)
def test_cifar_is_read_from_its_published_layout(name, kind, folder, key, tmp_path, monkeypatch):
    planes = cifar_batches(tmp_path, monkeypatch, kind, folder, key)
    train, test = images.load(name, root=tmp_path), images.load(name, "test", root=tmp_path)
    assert torch.equal(train.tensors()[0], torch.from_numpy(planes[:3]).float() / 255)
    assert torch.equal(test[0][0], torch.from_numpy(planes[3]).float() / 255)
    assert train.labels.tolist() == [1, 0, 1]
    assert train.classes == ("bird", "ship")


def test_flowers_are_read_from_their_published_layout(tmp_path, monkeypatch):
    from scipy.io import savemat

    root = tmp_path / "flowers-102"
    for seed in range(1, 5):
        write(root / "jpg" / f"image_{seed:05d}.jpg", pixels(seed))
    savemat(root / "imagelabels.mat", {"labels": [[1, 102, 3, 3]]})
    savemat(root / "setid.mat", {"trnid": [[2, 1]], "valid": [[3, 3]], "tstid": [[4, 3]]})
    files = {
        kind: (name, datasets.utils.calculate_md5(root / name) if name.endswith(".mat") else "")
        for kind, (name, _) in datasets.Flowers102._file_dict.items()
    }
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", files)
    dataset = images.load("flowers102", root=tmp_path)
    assert dataset.labels.tolist() == [101, 0]
    assert len(dataset.classes) == 102
    assert images.load("flowers102", "val", root=tmp_path).labels.tolist() == [2, 2]
    assert dataset[0][0].shape == (3, 6, 8)


def test_imagenet_is_read_from_its_unpacked_archives(tmp_path):
    root = tmp_path / "imagenet"
    write(root / "val" / "n01440764" / "a.JPEG", pixels(0))
    write(root / "val" / "n02123045" / "b.JPEG", pixels(1))
    names = {"n01440764": ("tench", "Tinca tinca"), "n02123045": ("tabby", "tabby cat")}
    torch.save((names, ["n01440764", "n02123045"]), root / "meta.bin")
    dataset = images.load("imagenet", "val", root=tmp_path)
    assert dataset.classes == ("tench, Tinca tinca", "tabby, tabby cat")
    assert dataset.labels.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"split='test': 'imagenet' has 'train', 'val'"):
        images.load("imagenet", "test", root=tmp_path)


@pytest.mark.parametrize("name", [name for name in images.NAMES if name not in {"digits", "eurosat_mini"}])
def test_a_missing_data_set_says_what_to_put_where(name, tmp_path, no_network):
    with pytest.raises(FileNotFoundError) as caught:
        images.load(name, root=tmp_path)
    message = str(caught.value)
    assert f"data set {name!r} is missing or damaged in {tmp_path}. Put " in message
    assert "VISIONLAB_DATA" in message
    assert ("or pass download=True." in message) == (name != "imagenet")


def test_a_failed_download_says_so(tmp_path, no_network):
    with pytest.raises(FileNotFoundError, match=r"cifar-10-batches-py/.*the download failed"):
        images.load("cifar10", root=tmp_path, download=True)
