"""Where images come from: a file, a folder, a bundled set, the data folder, the Hugging Face hub."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.datasets

from distilled_experts.errors import InvalidParameterError, UnknownDataError
from distilled_experts.transformers.hub import load_from_hub
from distilled_experts.vision.archives import read_archive
from distilled_experts.vision.folders import read_folder
from distilled_experts.vision.images import Images, images_from

__all__ = ["load_images"]

_ARCHIVE = ".npz"
# Name to repository, column of images, column of classes.
_HUB = {
    "mnist": ("ylecun/mnist", "image", "label"),
    "fashion-mnist": ("zalando-datasets/fashion_mnist", "image", "label"),
    "cifar10": ("uoft-cs/cifar10", "img", "label"),
    "cifar100": ("uoft-cs/cifar100", "img", "fine_label"),
}
# Mirrored digits are none, and nearly all of these shoes point to the left.
_UNNATURAL = ("digits", "mnist", "fashion-mnist")
_FASHION = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def load_images(data: str, *, data_dir: str | Path | None = None, size: int = 32) -> Images:
    """Load images with classes.

    Parameters
    ----------
    data : str
        A folder of class folders, an ``.npz`` file, or a name. A name is looked up below the data folder, as a folder
        or as an archive whose name begins with it (``mnist`` is found in ``mnist_full.npz``); then among the bundled
        sets (``digits``, 8 × 8 pixels); then on the hub, by the optional package ``datasets``: mnist, fashion-mnist,
        cifar10, cifar100.
    data_dir : str or Path, optional
        Data folder, searched recursively.
    size : int
        Side of images from folders.

    Returns
    -------
    Images

    Raises
    ------
    UnknownDataError
        Where nothing has this name.
    DataError
        Where images cannot be read or fetched, or have fewer than two classes.
    MissingDependencyError
        Where the images are on the hub alone, and ``datasets`` is not installed.

    Examples
    --------
    >>> images = load_images("digits")
    >>> images.pixels.shape, len(images.classes), images.natural
    ((1797, 8, 8, 1), 10, False)
    """
    if not data:
        raise InvalidParameterError("data", data, "a folder, an .npz file, or the name of a set of images")
    path = Path(data)
    if path.is_dir():
        return read_folder(path, path.resolve().name, size=size)
    if path.is_file() and path.suffix == _ARCHIVE:
        return read_archive(path, path.stem)
    name = data.lower().replace("_", "-")
    local = {} if data_dir is None else _below(Path(data_dir))
    found = local.get(name) or next((path for stem, path in local.items() if stem.startswith(f"{name}-")), None)
    if found is not None and found.is_dir():
        return read_folder(found, name, size=size)
    if found is not None:
        return _named(read_archive(found, name, natural=name not in _UNNATURAL))
    if name == "digits":
        return _digits()
    if name in _HUB:
        return _from_hub(name)
    known = ", ".join(["digits", *_HUB, *local])
    raise UnknownDataError(f"data: '{data}' is no folder, no .npz file and no known set of images; known: {known}")


def _below(folder: Path) -> dict[str, Path]:
    """Archives and folders by their names as they are asked for, the least deep first."""
    if not folder.is_dir():
        raise InvalidParameterError("data_dir", str(folder), "an existing folder")
    found = sorted(folder.rglob(f"*{_ARCHIVE}"), key=lambda path: (len(path.parts), path))
    folders = (path for path in sorted(folder.iterdir()) if path.is_dir() and any(p.is_dir() for p in path.iterdir()))
    return {path.stem.lower().replace("_", "-"): path for path in (*reversed(found), *folders)}


def _named(images: Images) -> Images:
    """Classes that are numbers in the archives, by their names."""
    numbered = images.name == "fashion-mnist" and images.classes == tuple("0123456789")
    return replace(images, classes=_FASHION) if numbered else images


def _digits() -> Images:
    bunch = sklearn.datasets.load_digits()
    # Grey from 0 to 16.
    return images_from("digits", (bunch.images * (255 / 16)).astype(np.uint8), bunch.target, natural=False)


def _from_hub(name: str) -> Images:
    repository, image, label = _HUB[name]
    remedy = f"put an archive {name}{_ARCHIVE} with arrays X and y into a folder and name it with --data-dir"
    parts: Any = load_from_hub(repository, remedy=remedy)
    splits = [parts[split] for split in ("train", "test")]
    pixels = np.stack([np.asarray(one) for split in splits for one in split[image]])
    labels = np.concatenate([split[label] for split in splits])
    share = len(splits[1]) / len(labels)
    return images_from(
        name, pixels, labels, splits[0].features[label].names, natural=name not in _UNNATURAL, test_share=share
    )
