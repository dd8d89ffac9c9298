"""How large a model is, and which width makes two models equally large."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

__all__ = ["matching_width", "n_parameters"]


def n_parameters(model: nn.Module) -> int:
    """How many parameters a model has, each counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def matching_width(build: Callable[[int], nn.Module], wanted: int, multiple: int = 1) -> int:
    """Hidden width, a multiple of some number, at which a model comes nearest to so many parameters.

    Examples
    --------
    >>> matching_width(lambda hidden: torch.nn.Linear(3, hidden), 40)
    10
    """
    # The number of parameters is linear in the hidden width.
    one, two = (n_parameters(build(hidden)) for hidden in (1, 2))
    return multiple * max(1, round((1 + (wanted - one) / (two - one)) / multiple))
