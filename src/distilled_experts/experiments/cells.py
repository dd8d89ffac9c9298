"""Models that are trained one by one: each a cell of arm, seed and α, recorded as it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from distilled_experts.experiments.comparison import Comparison
from distilled_experts.experiments.failures import Attempt
from distilled_experts.experiments.interruption import interruptible_by_termination
from distilled_experts.experiments.keeping import ModelKeeper
from distilled_experts.experiments.records import RunFolder
from distilled_experts.experiments.runner import Progress
from distilled_experts.experiments.scheduling import HERE, Workers, run_each

__all__ = ["Cell", "comparison_cells", "run_cells"]

Model = dict[str, Any]


@dataclass(frozen=True, order=True)
class Cell:
    """One model to train; `arm` is "dense" or "mixture"."""

    seed: int
    arm: str
    alpha: float = 0.0

    @classmethod
    def of(cls, model: Model) -> Cell:
        """The cell that a recorded model was trained for."""
        return cls(model["seed"], model["arm"], model["alpha"])

    def to_dict(self) -> Model:
        """What a record of the cell begins with."""
        return {"arm": self.arm, "seed": self.seed, "alpha": self.alpha}


def comparison_cells(specification: Comparison) -> list[Cell]:
    """The cells of `mode compare`, seed by seed: the dense network, and a mixture with each α."""
    mixtures = [Cell(seed, "mixture", alpha) for seed in range(specification.seeds) for alpha in specification.alphas]
    return sorted([*(Cell(seed, "dense") for seed in range(specification.seeds)), *mixtures])


def run_cells(
    cells: Sequence[Cell],
    train: Callable[[Cell], Model],
    folder: RunFolder | None = None,
    *,
    workers: Workers = HERE,
    progress: Progress | None = None,
) -> list[Model]:
    """Train every cell that `folder` does not hold already.

    Parameters
    ----------
    cells : sequence of Cell
    train : callable
        From a cell to what was found of its model; with several workers it is sent to other processes.
    folder : RunFolder, optional
        Takes the models as they come. A cell that was interrupted is trained anew.
    workers : Workers
        Who trains them.
    progress : callable, optional
        Told how many models are there, and how many there will be.

    Returns
    -------
    list of dict
        In the order of the cells, each with its arm, seed and α; that of a cell that failed holds the reason under
        ``failed``, as `failures` says.

    Examples
    --------
    >>> cells = [Cell(0, "dense"), Cell(0, "mixture", 0.1)]
    >>> run_cells(cells, lambda cell: {"test_score": 1 - cell.alpha})[1]
    {'arm': 'mixture', 'seed': 0, 'alpha': 0.1, 'test_score': 0.9}
    """
    found = {} if folder is None else {Cell.of(model): model for model in folder.metrics()}
    missing = [cell for cell in cells if cell not in found]
    report = progress or _silent
    report("models", len(found), len(cells))
    keeper = ModelKeeper(folder, lambda: [found[cell] for cell in cells if cell in found])
    with interruptible_by_termination(), keeper:
        for cell, model in run_each(Attempt(train, _failed), missing, workers):
            found[cell] = cell.to_dict() | model
            keeper.note()
            report("models", len(found), len(cells))
    return [found[cell] for cell in cells]


def _failed(cell: Cell, reason: str) -> Model:
    return {"failed": reason}


def _silent(name: str, done: int, total: int) -> None:
    """Nobody watches."""
