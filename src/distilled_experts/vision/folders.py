"""Images in folders, one folder a class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from distilled_experts.errors import DataError
from distilled_experts.vision.images import Images, images_from
from distilled_experts.vision.pictures import ENDINGS, UNREADABLE, open_image

__all__ = ["read_folder"]

_PARTS = {"train", "test", "val", "valid", "validation"}
_GREY = {"1", "L", "LA"}


def read_folder(path: Path, name: str, *, size: int = 32) -> Images:
    """Read a folder of class folders; files that are damaged are left out and counted.

    Parameters
    ----------
    path : Path
        Each folder in it is a class, and all files below that one with an image's ending are its images.
    name : str
        Of the data set.
    size : int
        Images are cut to squares around their middle and scaled to so many pixels. They are grey if all of them are.

    Raises
    ------
    DataError
        When there are fewer than two classes with images that can be read.
    """
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if folders and {folder.name.lower() for folder in folders} <= _PARTS:
        within = " and ".join(folder.name for folder in folders)
        raise DataError(f"data: {str(path)!r} holds {within}, which are no classes; name one of these folders")
    read = [(folder.name, file, _image(file, size)) for folder in folders for file in _files(folder)]
    good = [(label, image) for label, _, image in read if image is not None]
    damaged = [file for _, file, image in read if image is None]
    if not good:
        raise DataError(f"data: no image in {str(path)!r} can be read; allowed: a folder for each class, with images")
    grey = all(image.mode in _GREY for _, image in good)
    pixels = np.stack([_pixels(image, grey) for _, image in good])
    empty = sorted({folder.name for folder in folders} - {label for label, _ in good})
    return images_from(name, pixels, [label for label, _ in good], notes=_notes(damaged, len(read), empty))


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.suffix.lower() in ENDINGS and file.is_file())


def _image(file: Path, size: int) -> Image.Image | None:
    """A square image, None where the file is damaged."""
    try:
        upright = ImageOps.exif_transpose(open_image(file))
        kept = upright if upright.mode in _GREY else upright.convert("RGB")
        return ImageOps.fit(kept.convert("L") if kept.mode == "1" else kept, (size, size))
    except UNREADABLE:
        return None


def _pixels(image: Image.Image, grey: bool) -> NDArray[np.uint8]:
    return np.asarray(image.convert("L" if grey else "RGB"), dtype=np.uint8).reshape(*image.size, -1)


def _notes(damaged: list[Path], n_files: int, empty: list[str]) -> tuple[str, ...]:
    notes: list[Any] = []
    if damaged:
        notes.append(f"{len(damaged)} of {n_files} files could not be read and were left out, first {damaged[0].name}")
    if empty:
        notes.append(f"{len(empty)} folders without images were left out: {', '.join(empty[:5])}")
    return tuple(notes)
