"""Random numbers for code that can only draw from the global generators, such as the Trainer."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from transformers import set_seed

__all__ = ["seeded"]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the generators of Python, NumPy and PyTorch for a while; then they go on as if nothing had been drawn.

    Examples
    --------
    >>> with seeded(0):
    ...     first = torch.rand(1)
    >>> before = torch.random.get_rng_state()
    >>> with seeded(0):
    ...     second = torch.rand(1)
    >>> bool(first == second), bool((before == torch.random.get_rng_state()).all())
    (True, True)
    """
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  (others draw from it)
    with torch.random.fork_rng():
        try:
            set_seed(seed)
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)  # noqa: NPY002  (others draw from it)
