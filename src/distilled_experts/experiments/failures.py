"""Models that cannot be trained, for lack of memory or with a loss that is no number: the others of a grid go on.

A failed model is recorded with its reason under ``failed``. The record of the run is made of the seeds that are whole,
and says which are not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

from distilled_experts.errors import TrainingError

__all__ = ["Attempt", "failure_sentence", "told_failures", "whole_seeds"]

Model = dict[str, Any]
Unit = TypeVar("Unit")
Result = TypeVar("Result")

# What PyTorch's allocator for processors says in a plain RuntimeError.
_NO_MEMORY = "can't allocate memory"


@dataclass(frozen=True)
class Attempt(Generic[Unit, Result]):
    """A run that gives what `failed` makes of unit and reason where it cannot be computed; other errors go on.

    Examples
    --------
    >>> def short_of_memory(unit):
    ...     raise MemoryError(f"{unit} GiB")
    >>> Attempt(short_of_memory, lambda unit, reason: {"unit": unit, "failed": reason})(9)
    {'unit': 9, 'failed': 'out of memory (9 GiB)'}
    """

    run: Callable[[Unit], Result]
    failed: Callable[[Unit, str], Result]

    def __call__(self, unit: Unit) -> Result:
        """Compute the result of a unit."""
        try:
            return self.run(unit)
        except TrainingError as error:
            reason = str(error)
        except (MemoryError, torch.OutOfMemoryError) as error:
            reason = _out_of_memory(error)
        except RuntimeError as error:
            if _NO_MEMORY not in str(error):
                raise
            reason = _out_of_memory(error)
        return self.failed(unit, reason)


def _out_of_memory(error: Exception) -> str:
    told = " ".join(str(error).split())
    return f"out of memory ({told})" if told else "out of memory"


def whole_seeds(models: Sequence[Model]) -> tuple[list[Model], list[Model]]:
    """Models of seeds, at one number of experts, of which none has failed; and those that have.

    Raises
    ------
    TrainingError
        When no seed is whole.

    Examples
    --------
    >>> models = [{"seed": 0, "arm": "dense"}, {"seed": 1, "arm": "dense"}]
    >>> whole_seeds([*models, {"seed": 1, "arm": "mixture", "failed": "out of memory"}])[0]
    [{'seed': 0, 'arm': 'dense'}]
    """
    failed = [model for model in models if "failed" in model]
    lacking = {(model.get("experts"), model["seed"]) for model in failed}
    whole = [model for model in models if (model.get("experts"), model["seed"]) not in lacking]
    if failed and not whole:
        raise TrainingError(f"no seed could be trained in whole; {_first(failed)}")
    return whole, failed


def told_failures(failed: Sequence[Model]) -> list[str]:
    """What a reader must know of models that have failed, for the notes of a record."""
    if not failed:
        return []
    seeds = sorted({model["seed"] for model in failed})
    return [f"left out, for a model of theirs failed: seeds {', '.join(map(str, seeds))}; {_first(failed)}"]


def failure_sentence(record: Mapping[str, Any]) -> str | None:
    """What the command says where models of a run have failed."""
    failed = record.get("failed")
    if not failed:
        return None
    return f"{len(failed)} models failed, and their seeds were left out; {_first(failed)}; --continue tries them again"


def _first(failed: Sequence[Model]) -> str:
    model = failed[0]
    alpha = "" if model.get("alpha") is None else f", α = {model['alpha']:g}"
    return f"{model['arm']}, seed {model['seed']}{alpha}: {model['failed']}"
