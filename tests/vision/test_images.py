"""Images from folders, archives, bundled sets and the hub, with everything that can be wrong with them."""

from __future__ import annotations

import io
import sys
import time
import types
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from distilled_experts.errors import DataError, InvalidParameterError, MissingDependencyError, UnknownDataError
from distilled_experts.transformers import hub
from distilled_experts.vision.data import load_images
from distilled_experts.vision.images import draw_images, images_from

GREY = np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Patches of two photographs, a folder for each."""
    for name in ("china", "flower"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        photograph = load_sample_image(f"{name}.jpg")
        for i in range(5):
            patch = photograph[40 * i : 40 * i + 48, 60 * i : 60 * i + 64]
            Image.fromarray(patch).save(tmp_path / "pictures" / name / f"{i}.png")
    return tmp_path / "pictures"


def test_a_folder_of_class_folders(pictures):
    images = load_images(str(pictures))
    assert (images.name, images.classes, images.natural) == ("pictures", ("china", "flower"), True)
    assert images.pixels.shape == (10, 32, 32, 3)
    assert images.y.tolist() == [0] * 5 + [1] * 5
    assert images.notes == ()


def test_images_are_cut_to_squares_around_their_middle(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(2):
            wide = np.zeros((32, 64), dtype=np.uint8)
            wide[:, 16:48] = 255
            Image.fromarray(wide).save(tmp_path / name / f"{i}.png")
    images = load_images(str(tmp_path))
    assert images.pixels.shape == (4, 32, 32, 1)
    assert images.pixels.min() == 255


def test_damaged_files_are_counted_and_other_files_passed_over(pictures):
    whole = (pictures / "china" / "0.png").read_bytes()
    (pictures / "china" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "flower" / "text.jpg").write_text("no picture")
    (pictures / "flower" / "empty.png").write_bytes(b"")
    (pictures / "flower" / "notes.txt").write_text("passed over")
    (pictures / "nothing").mkdir()
    images = load_images(str(pictures))
    assert len(images.y) == 10
    assert images.notes == (
        "3 of 13 files could not be read and were left out, first cut.png",
        "1 folders without images were left out: nothing",
    )


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({}, "no image in .* can be read"),
        ({"a/x.png": b"broken", "b/y.png": b""}, "no image in .* can be read"),
        ({"a/x.png": GREY[0], "a/y.png": GREY[1]}, "1 classes in .*; allowed: 2 or more"),
        ({"a/x.png": GREY[0], "b/y.png": GREY[1], "b/z.png": GREY[2]}, "class 'a' of .* has 1 image"),
        ({"train/a/x.png": GREY[0], "test/a/y.png": GREY[1]}, "holds test and train, which are no classes"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, files, line):
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content) if isinstance(content, bytes) else Image.fromarray(content).save(path)
    with pytest.raises(DataError, match=line):
        load_images(str(tmp_path))


def test_an_archive_by_path_and_by_name(tmp_path):
    labels = np.array([3, 7, 3, 7])
    np.savez(tmp_path / "my_set_full.npz", X=GREY, y=labels, Xt=GREY[:2], yt=labels[:2], source="me")
    by_path, by_name = load_images(str(tmp_path / "my_set_full.npz")), load_images("my-set", data_dir=tmp_path)
    for images in (by_path, by_name):
        assert images.pixels.shape == (6, 8, 8, 1)
        assert images.classes == ("3", "7")
        assert images.y.tolist() == [0, 1, 0, 1, 0, 1]
        assert images.test_share == pytest.approx(1 / 3)
    assert by_path.fingerprint == by_name.fingerprint
    assert images_from("other", 255 - by_path.pixels, by_path.y).fingerprint != by_path.fingerprint


def test_fashion_has_names(tmp_path):
    np.savez(tmp_path / "fashion_mnist_small.npz", X=np.zeros((20, 8, 8), dtype=np.uint8), y=np.arange(20) % 10)
    images = load_images("fashion_mnist", data_dir=tmp_path)
    assert (images.classes[0], images.classes[9], images.natural) == ("T-shirt", "ankle boot", False)


def test_a_name_is_not_that_of_a_longer_one(tmp_path):
    np.savez(tmp_path / "cifar100_small.npz", X=GREY, y=[0, 1, 0, 1])
    with pytest.raises(UnknownDataError, match="'cifar' is no folder"):
        load_images("cifar", data_dir=tmp_path)


def test_an_archive_of_coded_images(tmp_path):
    coded = []
    for image in GREY:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=100)
        coded.append(np.frombuffer(buffer.getvalue(), dtype=np.uint8))
    ends = np.cumsum([0, *map(len, coded)])
    arrays = {"train_jpeg": np.concatenate(coded), "train_offset": ends, "y_train": [0, 1, 0, 1]}
    np.savez(tmp_path / "coded.npz", **arrays, classes=["cat", "dog"])
    images = load_images("coded", data_dir=tmp_path)
    assert images.classes == ("cat", "dog")
    assert np.abs(images.pixels[..., 0].astype(int) - GREY).max() <= 3


@pytest.mark.parametrize(
    ("arrays", "line"),
    [
        ({"Z": GREY}, "holds no images"),
        ({"X": GREY, "y": [0, 1]}, "for 4 images"),
        ({"X": GREY[0], "y": [0] * 8}, "images of shape"),
        ({"X": GREY.astype(float), "y": [0, 1, 0, 1]}, "type float64"),
        ({"X": np.array([{}]), "y": [0]}, "cannot be read"),
    ],
)
def test_archives_that_cannot_be_used(tmp_path, arrays, line):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(DataError, match=line):
        load_images(str(tmp_path / "bad.npz"))


def test_a_damaged_archive(tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"PK no archive")
    with pytest.raises(DataError, match="cannot be read"):
        load_images(str(tmp_path / "bad.npz"))


def test_drawing_keeps_the_shares_of_the_classes_and_is_always_the_same():
    images = images_from("many", np.zeros((1000, 8, 8), dtype=np.uint8), np.repeat([0, 1, 2], [700, 200, 100]))
    drawn, again = draw_images(images, 100), draw_images(images, 100)
    assert np.bincount(drawn.y).tolist() == [70, 20, 10]
    assert drawn.fingerprint == again.fingerprint
    assert draw_images(images, 1000) is images


def test_unknown_names_and_folders(tmp_path):
    with pytest.raises(UnknownDataError, match="known: digits, mnist, fashion-mnist, cifar10, cifar100"):
        load_images("nonesuch")
    with pytest.raises(InvalidParameterError, match="data: ''"):
        load_images("")
    with pytest.raises(InvalidParameterError, match="data_dir"):
        load_images("mnist", data_dir=tmp_path / "nowhere")


class _Split(dict):
    features: ClassVar = {"label": types.SimpleNamespace(names=["zero", "one"])}

    def __len__(self):
        return len(self["label"])


def test_the_hub_is_asked_by_name(monkeypatch):
    asked = []

    def load_dataset(path, name):
        asked.append((path, name))
        part = _Split(image=[Image.fromarray(image) for image in GREY], label=[0, 1, 0, 1])
        return {"train": part, "test": part}

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    monkeypatch.setattr(hub, "_check_online", lambda *_: None)
    images = load_images("mnist")
    assert asked == [("ylecun/mnist", None)]
    assert (images.classes, images.natural, images.test_share) == (("zero", "one"), False, 0.5)
    assert images.pixels.shape == (8, 8, 8, 1)


def test_without_the_package_or_the_network_there_is_one_line_soon(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependencyError, match=r"pip install .distilled-experts\[hub\]"):
        load_images("cifar10")
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace())
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    start = time.perf_counter()
    with pytest.raises(DataError, match=r"go online, or put an archive cifar10\.npz"):
        load_images("cifar10")
    assert time.perf_counter() - start < 10
