"""Contact sheets: several small images as one PNG, for the page of a record."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["contact_sheet"]

_GAP = 2
_SIDE = 32


def contact_sheet(pixels: NDArray[np.uint8], columns: int) -> str:
    """Images (N, height, width, channels) in rows of so many, as a PNG in base64; the gaps are transparent.

    Examples
    --------
    >>> text = contact_sheet(np.zeros((3, 8, 8, 1), dtype=np.uint8), 2)
    >>> Image.open(io.BytesIO(base64.b64decode(text))).size
    (18, 18)
    """
    small = [_small(image) for image in pixels]
    width, height = small[0].size
    rows = -(-len(small) // columns)
    size = (columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP)
    sheet = Image.new("LA" if pixels.shape[-1] == 1 else "RGBA", size)
    for place, image in enumerate(small):
        row, column = divmod(place, columns)
        sheet.paste(image, (column * (width + _GAP), row * (height + _GAP)))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _small(pixels: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    image.thumbnail((_SIDE, _SIDE))
    return image
