"""Data sets of the Hugging Face hub, by way of the optional package ``datasets``."""

from __future__ import annotations

import importlib
import os
import urllib.error
import urllib.request
from typing import Any

from distilled_experts.errors import DataError, MissingDependencyError

__all__ = ["load_from_hub"]

_HUB = "https://huggingface.co"
_CONNECT_SECONDS = 5.0


def load_from_hub(path: str, name: str | None = None, *, remedy: str) -> Any:
    """Load all splits of a data set, from the cache of ``datasets`` or over the network.

    Parameters
    ----------
    path, name : str
        Repository and configuration, as ``datasets.load_dataset`` takes them.
    remedy : str
        What to do without a network, for the message of the error.

    Returns
    -------
    datasets.DatasetDict

    Raises
    ------
    MissingDependencyError
        ``datasets`` is not installed.
    DataError
        The hub cannot be reached, which takes seconds to find out, or the data set cannot be loaded.
    """
    try:
        datasets: Any = importlib.import_module("datasets")
    except ImportError as error:
        raise MissingDependencyError(
            f"data: '{path}' is on the Hugging Face hub: pip install \"distilled-experts[hub]\", or {remedy}"
        ) from error
    _check_online(path, remedy)
    try:
        return datasets.load_dataset(path, name)
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"data: '{path}' could not be loaded from the Hugging Face hub ({error}); or {remedy}"
        ) from error


def _check_online(path: str, remedy: str) -> None:
    """Find out in seconds what the client of the hub would retry for minutes."""
    address = os.environ.get("HF_ENDPOINT") or _HUB
    request = urllib.request.Request(address, method="HEAD")
    try:
        # Where this user's own environment says; nothing is read.
        urllib.request.urlopen(request, timeout=_CONNECT_SECONDS).close()  # nosec B310
    except urllib.error.HTTPError:
        # It has answered.
        return
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"data: '{path}' could not be fetched from the Hugging Face hub ({reason}); go online, or {remedy}"
        ) from error
