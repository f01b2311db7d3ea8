from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from tests.data.small_images import as_tensor, pixels, write
from visionlab.data import images


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two classes with two images each, and what programs leave behind."""
    root = tmp_path / "animals"
    for index, name in enumerate(("cat/b.png", "cat/a.png", "dog/deep/c.png", "dog/d.png")):
        write(root / name, pixels(index))
    write(root / ".ipynb_checkpoints" / "a.png", pixels(9))
    write(root / "cat" / ".ipynb_checkpoints" / "a.png", pixels(9))
    (root / "__MACOSX").mkdir()
    (root / "dog" / "._d.png").write_bytes(b"resource fork")
    (root / "dog" / "notes.txt").write_text("no image")
    return root


# Folders


def test_a_folder_gives_its_images_exactly_with_labels_by_class_folder(folder):
    dataset = images.load(folder)
    assert (dataset.name, dataset.split, dataset.classes, len(dataset)) == ("animals", "train", ("cat", "dog"), 4)
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    assert dataset.labels.dtype == torch.int64
    for index, seed in enumerate((1, 0, 3, 2)):  # by class, then by folder and name
        image, label = dataset[index]
        assert torch.equal(image, as_tensor(pixels(seed)))
        assert image.dtype == torch.float32
        assert type(label) is int
        assert label == dataset.labels[index]
    stacked, labels = dataset.tensors()
    assert torch.equal(stacked, torch.stack([dataset[index][0] for index in range(4)]))
    assert torch.equal(labels, dataset.labels)


def test_a_path_as_text_is_a_folder_too_and_the_loader_batches_it(folder):
    dataset = images.load(str(folder))
    batch, labels = next(iter(DataLoader(dataset, batch_size=3)))
    assert batch.shape == (3, 3, 6, 8)
    assert labels.tolist() == [0, 0, 1]


def test_splits_share_one_list_of_classes_even_where_one_lacks_a_class(tmp_path):
    for seed, name in enumerate(("train/ant/0.png", "train/bee/0.png", "train/cow/0.png", "test/cow/0.png")):
        write(tmp_path / name, pixels(seed))
    (tmp_path / "annotations").mkdir()
    train, test = images.load(tmp_path, "train"), images.load(tmp_path, "test")
    assert train.classes == test.classes == ("ant", "bee", "cow")
    assert train.labels.tolist() == [0, 1, 2]
    assert test.labels.tolist() == [2]
    with pytest.raises(ValueError, match=r"split='val'.*\['train', 'test'\]"):
        images.load(tmp_path, "val")


def test_a_class_may_be_called_train(tmp_path):
    for seed, name in enumerate(("bus/0.png", "train/0.png", "tram/0.png")):
        write(tmp_path / name, pixels(seed))
    assert images.load(tmp_path).classes == ("bus", "train", "tram")


def test_a_folder_without_splits_has_no_test_images(folder):
    with pytest.raises(ValueError, match=r"split='test'.*found \['cat', 'dog'\].*all of it is 'train'"):
        images.load(folder, "test")


def test_folders_of_the_wrong_form_are_explained(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent does not exist"):
        images.load(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"no class folders \(0 images lie directly in it\)"):
        images.load(tmp_path)
    flat = write(tmp_path / "flat" / "a.png", pixels(0))
    with pytest.raises(ValueError, match=r"flat has no class folders \(1 images.*flat/CLASS/IMAGE"):
        images.load(flat.parent)
    with pytest.raises(ValueError, match=r"a\.png is a file"):
        images.load(flat)
    (tmp_path / "split" / "train").mkdir(parents=True)
    (tmp_path / "split" / "test").mkdir()
    with pytest.raises(ValueError, match=r"train has no class folders"):
        images.load(tmp_path / "split")
    write(tmp_path / "half" / "full" / "a.png", pixels(0))
    (tmp_path / "half" / "hollow").mkdir()
    with pytest.raises(ValueError, match=r"class folders without images: \['hollow'\]"):
        images.load(tmp_path / "half")


# Pictures


@pytest.mark.parametrize("damage", ["no image", "truncated", "empty"])
def test_a_corrupt_file_is_named(damage, folder):
    path = folder / "cat" / "a.png"
    whole = path.read_bytes()
    path.write_bytes({"no image": b"oops" * 50, "truncated": whole[: len(whole) // 2], "empty": b""}[damage])
    dataset = images.load(folder)
    assert torch.equal(dataset[1][0], as_tensor(pixels(0)))
    with pytest.raises(ValueError, match=r"cat/a\.png is not a readable image"):
        dataset[0]
    with pytest.raises(ValueError, match=r"cat/a\.png is not a readable image"):
        dataset.tensors()


def test_grey_palette_transparent_and_sixteen_bit_pictures_become_three_channels_without_warnings(tmp_path):
    grey = pixels(0)[..., 0]
    folder = tmp_path / "a"
    folder.mkdir()
    Image.fromarray(grey).save(folder / "0.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "1.png")
    Image.fromarray(np.dstack([grey, grey, grey, 255 - grey])).save(folder / "2.png")
    palette = Image.fromarray(grey, "L").convert("P")
    palette.save(folder / "3.png", transparency=bytes([0] * 128 + [255] * 128))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = images.load(tmp_path)
        for index in range(4):
            expected = torch.from_numpy(grey).float().expand(3, -1, -1) / 255
            assert torch.equal(dataset[index][0], expected), index
    Image.fromarray(grey.astype(np.float32)).save(folder / "4.tif")
    with pytest.raises(ValueError, match=r"4\.tif is not a readable image: floating-point"):
        images.load(tmp_path)[4]


def test_a_photograph_taken_sideways_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by a quarter to see it upright
    (tmp_path / "a").mkdir()
    Image.fromarray(pixels(0)).save(tmp_path / "a" / "0.png", exif=exif)
    image, _ = images.load(tmp_path)[0]
    assert torch.equal(image, as_tensor(pixels(0)).rot90(-1, (1, 2)))


def test_size_scales_the_shorter_side_and_cuts_out_the_centre(tmp_path):
    wide = np.zeros((20, 60, 3), dtype=np.uint8)
    wide[:, 20:40] = 255  # the centre square is white, both sides of it black
    write(tmp_path / "a" / "0.png", wide)
    write(tmp_path / "a" / "1.png", wide.transpose(1, 0, 2))
    dataset = images.load(tmp_path, size=10)
    stacked, _ = dataset.tensors()
    assert stacked.shape == (2, 3, 10, 10)
    assert stacked[:, :, 2:-2, 2:-2].min() == 1
    assert torch.equal(stacked[0], stacked[1].mT)
    assert 0 <= stacked.min() <= stacked.max() <= 1


def test_scaling_down_is_antialiased(tmp_path):
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 254
    write(tmp_path / "a" / "0.png", stripes)
    image, _ = images.load(tmp_path, size=16)[0]
    assert (image[:, :, 2:-2] - 0.5).abs().max() < 0.02


def test_an_image_of_the_right_size_is_left_as_it_is(tmp_path):
    write(tmp_path / "a" / "0.png", pixels(0, 7, 7))
    assert torch.equal(images.load(tmp_path, size=7)[0][0], as_tensor(pixels(0, 7, 7)))


def test_tensors_of_unequal_images_ask_for_a_size(tmp_path):
    write(tmp_path / "a" / "0.png", pixels(0))
    write(tmp_path / "a" / "1.png", pixels(1, 5, 8))
    with pytest.raises(ValueError, match=r"image 0 is \(3, 6, 8\), image 1 is \(3, 5, 8\).*size="):
        images.load(tmp_path).tensors()
    assert images.load(tmp_path, size=4).tensors()[0].shape == (2, 3, 4, 4)


@pytest.mark.parametrize("shape", [(5, 9, 7, 3), (5, 9, 7)])
def test_arrays_give_the_same_one_by_one_and_all_at_once(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    dataset = images.ImageSet(array, [0, 1, 0, 1, 0], ("a", "b"), name="made")
    stacked, labels = dataset.tensors()
    assert stacked.shape == (5, 3, 9, 7)
    assert torch.equal(stacked, torch.stack([image for image, _ in dataset]))
    assert [label for _, label in dataset] == labels.tolist() == [0, 1, 0, 1, 0]
    assert repr(dataset) == "ImageSet('made', 'train', 5 images, 2 classes)"


@pytest.mark.parametrize(
    ("array", "labels", "size", "complaint"),
    [
        (np.zeros((2, 4, 4)), [0, 0], None, "array of float64, expected uint8"),
        (np.zeros((2, 4, 4), dtype=np.uint8), [0], None, "2 images come with 1 labels"),
        (np.zeros((0, 4, 4), dtype=np.uint8), [], None, "0 images come with 0 labels"),
        (np.zeros((2, 4, 4), dtype=np.uint8), [0, 0], 0, "size=0"),
    ],
)
def test_a_set_that_does_not_hold_together_is_refused(array, labels, size, complaint):
    with pytest.raises(ValueError, match=complaint):
        images.ImageSet(array, labels, ("a",), name="made", size=size)


# Known data sets


def test_digits_are_whole_scaled_to_the_unit_range_and_split_for_good():
    train, test = images.load("digits"), images.load("digits", "test")
    assert len(train) + len(test) == 1797
    stacked, labels = train.tensors()
    assert stacked.shape == (1437, 3, 8, 8)
    assert (stacked.min(), stacked.max()) == (0, 1)
    assert train.classes == tuple("0123456789")
    assert labels[:10].tolist() == list(range(10))
    assert torch.bincount(test.labels).min() > 30


def test_the_eurosat_pack_loads_offline(no_network):
    dataset = images.load("eurosat_mini", "test", size=32)
    assert len(dataset) == 600
    assert dataset.classes[0] == "AnnualCrop"
    assert torch.bincount(dataset.labels).tolist() == [60] * 10
    assert dataset[0][0].shape == (3, 32, 32)


def test_the_data_root_comes_from_the_environment_or_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VISIONLAB_DATA", str(tmp_path))
    assert images.data_root() == tmp_path
    monkeypatch.delenv("VISIONLAB_DATA")
    assert images.data_root().parts[-2:] == ("visionlab", "data")


@pytest.mark.parametrize(
    ("wrong", "meant"), [("cifar1O", "cifar10"), ("CIFAR-100", "cifar100"), ("eurosat_min", "eurosat_mini")]
)
def test_a_misspelt_name_is_answered_with_the_right_one_and_all_others(wrong, meant):
    with pytest.raises(ValueError, match=rf"unknown data set '{wrong}' \(did you mean '{meant}'\?\)") as caught:
        images.load(wrong)
    assert all(name in str(caught.value) for name in images.NAMES)


def test_a_bad_size_is_refused_before_anything_is_read():
    with pytest.raises(ValueError, match="size=0"):
        images.load("no_such_set", size=0)


# Photographs


def test_all_photographs_come_with_the_packages(no_network):
    found = images.photographs()
    assert set(found) == set(images.PHOTOGRAPHS)
    assert len(found) == 12
    for image in found.values():
        assert image.shape[0] == 3
        assert min(image.shape[1:]) >= 300
        assert image.dtype == torch.float32
        assert 0 <= image.min() < 0.3
        assert 0.6 < image.max() <= 1


def test_one_photograph_at_one_size():
    cat = images.photograph("chelsea", size=64)
    assert cat.shape == (3, 64, 64)
    assert cat[0].mean() > cat[2].mean() + 0.1  # a ginger cat
    assert images.photograph("chelsea").shape == (3, 300, 451)


def test_a_misspelt_photograph_is_answered_with_the_right_one():
    with pytest.raises(ValueError, match=r"'astronaute' \(did you mean 'astronaut'\?\).*rocket"):
        images.photograph("astronaute")
