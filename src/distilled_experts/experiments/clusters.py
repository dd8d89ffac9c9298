"""Clusters that joblib sends runs to: Dask, and Ray where it is installed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any

from joblib._dask import DaskDistributedBackend
from joblib.parallel import BACKENDS, ParallelBackendBase

from distilled_experts.errors import ClusterError, InvalidParameterError, MissingDependencyError

__all__ = ["check_address", "check_alone", "connected"]

_DASK = ("dask", "tcp", "tls")
_ALLOWED = "dask://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT of a Dask scheduler; ray; ray://HOST:PORT"
_CONNECT_SECONDS = 10


def check_address(address: str) -> None:
    """Raise an error unless an address is of a known form.

    Examples
    --------
    >>> check_address("dask://localhost:8786")
    >>> check_address("localhost")
    Traceback (most recent call last):
    distilled_experts.errors.InvalidParameterError: cluster: 'localhost' is not allowed; allowed: ...
    """
    kind, _, place = address.partition("://")
    if not (address == "ray" or (place and kind in (*_DASK, "ray"))):
        raise InvalidParameterError("cluster", address, _ALLOWED)


@contextmanager
def connected(address: str) -> Iterator[ParallelBackendBase]:
    """Joblib's backend for a cluster, for the length of a ``with`` block.

    Parameters
    ----------
    address : str
        As in `scheduling.Workers`.

    Raises
    ------
    MissingDependencyError
        What speaks to such clusters is not installed.
    ClusterError
        Nobody answers there, no worker is to be had, or one run after the other ended its worker.
    """
    if address.startswith("ray"):
        yield from _ray("auto" if address == "ray" else address)
    else:
        # Dask's own name of the protocol.
        yield from _dask(address.replace("dask://", "tcp://"))


def check_alone() -> None:
    """Raise an error where other runs may share this process: they would share its random state.

    Raises
    ------
    ClusterError
        This is a Dask worker with several threads.
    """
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return
    try:
        worker = distributed.get_worker()
    except ValueError:
        return
    if worker.state.nthreads > 1:
        raise ClusterError(
            f"cluster: the worker {worker.address} has {worker.state.nthreads} threads; allowed: one, as in "
            "dask worker --nworkers auto --nthreads 1, for runs in one process would share its random state"
        )


def _dask(address: str) -> Iterator[ParallelBackendBase]:
    try:
        from distributed import Client, KilledWorker
    except ImportError as error:
        raise MissingDependencyError(
            'cluster: Dask is not installed; pip install "distilled-experts[cluster]", on the workers too'
        ) from error
    try:
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterError(f"cluster: no Dask scheduler answers at {address!r} ({error})") from error
    with client:
        try:
            yield _Dask(client=client)
        except TimeoutError as error:
            raise ClusterError(f"cluster: the scheduler at {address!r} has no workers; start some") from error
        except KilledWorker as error:
            raise ClusterError(
                f"cluster: no worker survives one of the runs; have they enough memory? ({error})"
            ) from error


class _Dask(DaskDistributedBackend):
    """Joblib's backend, which is also told of runs that end without a result, because no worker survives them."""

    def effective_n_jobs(self, n_jobs: int) -> int:
        """How many runs are sent at a time, about half of them ahead."""
        # In the place of a single worker joblib would compute the runs here.
        n_workers: int = super().effective_n_jobs(n_jobs)
        return max(2, n_workers)

    def submit(self, func: Any, callback: Callable[[object], None] | None = None) -> Future[Any]:
        """Submit a batch of runs."""
        future: Future[Any] = super().submit(func, callback)
        future.add_done_callback(partial(_tell, callback))
        return future

    def retrieve_result_callback(self, out: object) -> object:
        """Take the result of a batch apart."""
        if isinstance(out, BaseException):
            raise out
        return super().retrieve_result_callback(out)


def _tell(callback: Callable[[object], None] | None, future: Future[Any]) -> None:
    error = future.exception()
    if error is not None and callback is not None:
        callback(error)


def _ray(address: str) -> Iterator[ParallelBackendBase]:
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise MissingDependencyError("cluster: Ray is not installed; pip install ray, on the workers too") from error
    try:
        ray.init(address=address, ignore_reinit_error=True, log_to_driver=False)
    except (ConnectionError, ValueError) as error:
        raise ClusterError(f"cluster: no Ray cluster answers at {address!r} ({error})") from error
    try:
        register_ray()
        yield BACKENDS["ray"](nesting_level=0)
    finally:
        ray.shutdown()
