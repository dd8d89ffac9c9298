"""Images with classes: what all sources give."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilled_experts.errors import DataError

__all__ = ["Images", "draw_images", "images_from"]


@dataclass(frozen=True)
class Images:
    """Images of one size with their classes.

    Attributes
    ----------
    name : str
        Short name of the data set.
    pixels : array of uint8, shape (N, height, width, channels)
        One channel, or red, green and blue.
    y : array of int64, shape (N,)
        Class codes.
    classes : tuple of str
        Their names.
    natural : bool
        Whether a mirrored image could be one of the same class, as with photographs; not so with digits.
    test_share : float
        Part of the images that a test takes: as many as the published test part, or 0.3.
    notes : tuple of str
        What was repaired or left out.
    """

    name: str
    pixels: NDArray[np.uint8]
    y: NDArray[np.int64]
    classes: tuple[str, ...]
    natural: bool = True
    test_share: float = 0.3
    notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Hash of all pixels and classes, so that a run is never continued on other data."""
        digest = hashlib.sha256(repr((self.pixels.shape, self.classes)).encode())
        for array in (self.pixels, self.y):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]


def images_from(name: str, pixels: Any, labels: Any, classes: Sequence[str] | None = None, **about: Any) -> Images:
    """Check images and classes from any source.

    Parameters
    ----------
    name : str
    pixels : array, shape (N, height, width) or (N, height, width, channels)
        Whole numbers from 0 to 255.
    labels : array, shape (N,)
        Codes of `classes`, or without these anything that can be sorted.
    classes : sequence of str, optional
    **about
        Further fields of `Images`.

    Raises
    ------
    DataError
        When they are no images with classes, there are fewer than two classes, or one of them has a single image.

    Examples
    --------
    >>> images = images_from("tiny", np.zeros((4, 8, 8), dtype=np.uint8), ["b", "a", "a", "b"])
    >>> images.pixels.shape, images.classes, images.y
    ((4, 8, 8, 1), ('a', 'b'), array([1, 0, 0, 1]))
    """
    pixels, labels = np.asarray(pixels), np.asarray(labels)
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    if pixels.ndim != 4 or pixels.shape[-1] not in (1, 3) or pixels.dtype != np.uint8:
        allowed = "(N, height, width) or (N, height, width, 1 or 3) of uint8"
        raise DataError(
            f"data: images of shape {pixels.shape} and type {pixels.dtype} are not allowed; allowed: {allowed}"
        )
    if labels.shape != (len(pixels),):
        raise DataError(f"data: classes of shape {labels.shape} for {len(pixels)} images; allowed: one for each image")
    found, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    names = tuple(str(label if classes is None else classes[int(label)]) for label in found)
    if len(names) < 2:
        raise DataError(f"data: {len(names)} classes in '{name}'; allowed: 2 or more")
    if counts.min() < 2:
        raise DataError(f"data: class '{names[counts.argmin()]}' of '{name}' has 1 image; allowed: at least 2")
    return Images(name, pixels, codes.astype(np.int64), names, **about)


def draw_images(images: Images, most: int) -> Images:
    """At most so many of the images, as evenly from all classes as they are there; always the same ones.

    Raises
    ------
    DataError
        When so few leave a class without two images.

    Examples
    --------
    >>> images = images_from("tiny", np.zeros((30, 8, 8), dtype=np.uint8), [0, 1, 1] * 10)
    >>> drawn = draw_images(images, 9)
    >>> np.bincount(drawn.y), drawn.notes
    (array([3, 6]), ('9 of 30 images were drawn',))
    """
    n_images = len(images.y)
    if n_images <= most:
        return images
    order = np.random.default_rng(0).permutation(n_images)
    by_class = order[np.argsort(images.y[order], kind="stable")]
    # Every so many-th image, in the order of the classes.
    rows = np.sort(by_class[((np.arange(most) + 0.5) * n_images / most).astype(int)])
    left = np.bincount(images.y[rows], minlength=len(images.classes))
    if left.min() < 2:
        rare = images.classes[left.argmin()]
        raise DataError(f"rows: {most} leave class '{rare}' with fewer than 2 images; allowed: more")
    note = f"{most} of {n_images} images were drawn"
    return replace(images, pixels=images.pixels[rows], y=images.y[rows], notes=(*images.notes, note))
