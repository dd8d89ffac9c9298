"""Images in NumPy's archives: arrays of pixels, or images coded as JPEG one after the other."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distilled_experts.errors import DataError
from distilled_experts.files import check_unpacked
from distilled_experts.vision.images import Images, images_from
from distilled_experts.vision.pictures import UNREADABLE, open_image

__all__ = ["read_archive"]

Array = NDArray[Any]

_DAMAGED = (*UNREADABLE, TypeError, LookupError, NotImplementedError, EOFError, zlib.error, zipfile.BadZipFile)


class _Part(NamedTuple):
    """Keys of a part: its images, its classes, and where coded images begin and end."""

    images: str
    classes: str
    offsets: str | None = None


# The part to train on, and the published part to test on where there is one.
_FORMS = (
    (_Part("X", "y"), _Part("Xt", "yt")),
    (_Part("x_train", "y_train"), _Part("x_test", "y_test")),
    (_Part("train_jpeg", "y_train", "train_offset"), _Part("test_jpeg", "y_test", "test_offset")),
)


def read_archive(path: Path, name: str, **about: Any) -> Images:
    """Read images and classes from an ``.npz`` file.

    Parameters
    ----------
    path : Path
        With arrays ``X`` (N, height, width) or (N, height, width, channels) of uint8 and ``y`` (N,), the published
        test part as ``Xt`` and ``yt``; or named as Keras does, ``x_train`` and so on; or ``train_jpeg`` with images
        coded as JPEG from ``train_offset[i]`` to ``train_offset[i + 1]``, and ``y_train``. All parts are put together.
        ``classes`` may hold the names of the classes.
    name : str
        Of the data set.
    **about
        Further fields of `Images`.

    Raises
    ------
    DataError
        When the file is damaged, holds something else, or unpacks to more than `files.most_bytes`.
    """
    try:
        _check_sizes(path)
        with np.load(path, allow_pickle=False) as archive:
            parts = _parts(archive)
            names = [str(label) for label in archive["classes"]] if "classes" in archive else None
        pixels, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True)) if parts else ((), ())
    except DataError:
        raise
    except _DAMAGED as error:
        raise DataError(f"data: {str(path)!r} cannot be read: {error}") from error
    if not parts:
        raise DataError(f"data: {str(path)!r} holds no images; allowed: arrays X and y, x_train and y_train")
    if len(parts) > 1:
        about["test_share"] = len(parts[1][1]) / len(labels)
    return images_from(name, pixels, labels, names, **about)


def _check_sizes(path: Path) -> None:
    """Refuse an archive whose arrays would take too much memory, or more than they have bytes."""
    n_bytes = 0
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as stream:
                major = np.lib.format.read_magic(stream)[0]
                read_header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
                shape, _, kind = read_header(stream)
            if math.prod(shape) * kind.itemsize > member.file_size:
                raise ValueError(f"{member.filename} is shorter than its header says")
            n_bytes += member.file_size
    check_unpacked(path, n_bytes)


def _parts(archive: Mapping[str, Array]) -> list[tuple[Array, Array]]:
    for form in _FORMS:
        if set(form[0]) - {None} <= set(archive):
            return [_read(archive, part) for part in form if set(part) - {None} <= set(archive)]
    return []


def _read(archive: Mapping[str, Array], part: _Part) -> tuple[Array, Array]:
    images, labels = archive[part.images], archive[part.classes].reshape(-1)
    if part.offsets is None:
        return images, labels
    ends = archive[part.offsets]
    coded = (images[start:end].tobytes() for start, end in pairwise(ends))
    return np.stack([np.asarray(open_image(io.BytesIO(one))) for one in coded]), labels
