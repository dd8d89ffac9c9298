"""Where the runs of a grid are computed: one by one, in processes side by side, or on the workers of a cluster.

All of it goes through joblib: its own processes (loky) on this machine, its Dask backend, or that of Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from joblib import Parallel, delayed

from distilled_experts.checks import check_whole
from distilled_experts.errors import InvalidParameterError
from distilled_experts.experiments.clusters import check_address, check_alone, connected

__all__ = ["Workers", "run_each"]

Unit = TypeVar("Unit")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Workers:
    """Who computes the runs of a grid.

    Parameters
    ----------
    jobs : int
        Processes side by side on this machine.
    cluster : str, optional
        Instead, the workers of a cluster: ``dask://HOST:PORT`` (or ``tcp://``, ``tls://``) is the scheduler of a Dask
        cluster, ``ray`` the Ray cluster that this machine belongs to, ``ray://HOST:PORT`` another one.

    Raises
    ------
    InvalidParameterError

    Examples
    --------
    >>> Workers(jobs=2, cluster="ray")
    Traceback (most recent call last):
    distilled_experts.errors.InvalidParameterError: jobs: 2 is not allowed; allowed: 1 with a cluster, which has workers
    """

    jobs: int = 1
    cluster: str | None = None

    def __post_init__(self) -> None:
        check_whole("jobs", self.jobs)
        if self.cluster is None:
            return
        check_address(self.cluster)
        if self.jobs != 1:
            raise InvalidParameterError("jobs", self.jobs, "1 with a cluster, which has workers")


HERE = Workers()
"""One run after the other, in this process."""


def run_each(
    run: Callable[[Unit], Result], units: Sequence[Unit], workers: Workers = HERE
) -> Iterator[tuple[Unit, Result]]:
    """Compute a result for every unit of a grid.

    Parameters
    ----------
    run : callable
        From a unit to its result; with several workers both are sent to other processes.
    units : sequence
    workers : Workers
        A run whose worker is lost is computed anew by another one.

    Yields
    ------
    pair
        Unit and result, as they end.

    Raises
    ------
    ClusterError
        The cluster cannot be reached, or its workers died of a run time and again.

    Examples
    --------
    >>> sorted(run_each(abs, [-2, 1]))
    [(-2, 2), (1, 1)]
    """
    if workers == HERE:
        yield from ((unit, run(unit)) for unit in units)
        return
    with _parallel(workers) as parallel:
        yield from parallel(delayed(_paired)(run, unit) for unit in units)


@contextmanager
def _parallel(workers: Workers) -> Iterator[Parallel]:
    if workers.cluster is None:
        yield Parallel(workers.jobs, return_as="generator_unordered")
        return
    with connected(workers.cluster) as backend:
        how = "generator_unordered" if backend.supports_return_generator else "list"
        # The cluster knows how many workers it has.
        yield Parallel(-1, backend=backend, return_as=how)


def _paired(run: Callable[[Unit], Result], unit: Unit) -> tuple[Unit, Any]:
    check_alone()
    return unit, run(unit)
