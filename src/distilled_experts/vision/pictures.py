"""Single images as files hold them, opened with care: they may come from strangers."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

from PIL import Image

__all__ = ["ENDINGS", "UNREADABLE", "open_image"]

# Pillow reads many more, some of them with the help of other programs.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
ENDINGS = {".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"}
"""Ends of the names of files that hold images."""

UNREADABLE = (
    *(OSError, ValueError, SyntaxError, OverflowError),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)
"""What Pillow raises for a damaged image, or one of more than 89 million pixels."""


def open_image(source: Path | io.BytesIO) -> Image.Image:
    """Open an image of a common format and unpack it.

    Raises
    ------
    UNREADABLE
        When it is damaged, of another format, or too large.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(source, formats=_FORMATS) as image:
            image.load()
            return image
