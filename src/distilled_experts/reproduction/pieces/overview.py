"""The method at a glance, read from the code of the layer: which steps its forward pass takes, and what each gives."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from distilled_experts.reproduction.piece import Claim, Finding, Piece
from distilled_experts.reproduction.text import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PIECES", "Step", "steps_of"]

_LAYER, _RESULTS = "layers/mixture.py", ("output", "loss")


class Step(NamedTuple):
    """One call of a function: its name, what it gives, and what it takes."""

    name: str
    gives: tuple[str, ...]
    takes: tuple[str, ...]


def steps_of(source: str, results: tuple[str, ...]) -> list[Step]:
    """Steps of the method ``forward`` that its results depend on.

    Only calls of functions and of parts of the module count, not those of methods of values. Suffixes that name shapes
    are left out.

    Examples
    --------
    >>> source = "def forward(self, x):\\n    s_NE = self.gate(x)\\n    t = self.unused(x)\\n    y_ND = mix(x, s_NE)"
    >>> [step.name for step in steps_of(source, ("y",))]
    ['gate', 'mix']
    """
    (forward,) = (
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef) and node.name == "forward"
    )
    needed, steps = set(results), []
    for step in reversed(list(_calls(forward))):
        if needed & set(step.gives):
            needed |= set(step.takes)
            steps.append(step)
    return steps[::-1]


def _calls(forward: ast.FunctionDef) -> Iterator[Step]:
    for statement in forward.body:
        if not isinstance(statement, ast.Assign):
            continue
        value = statement.value.body if isinstance(statement.value, ast.IfExp) else statement.value
        if isinstance(value, ast.Call) and (name := _function(value.func)):
            arguments = [*value.args, *(keyword.value for keyword in value.keywords)]
            yield Step(name, _names(statement.targets), _names(arguments))


def _function(function: ast.expr) -> str:
    """Name of a function or of a part of the module, empty for a method of a value."""
    if isinstance(function, ast.Name):
        return function.id
    own = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "self"
    return function.attr.lstrip("_") if own and isinstance(function, ast.Attribute) else ""


def _names(nodes: list[ast.expr]) -> tuple[str, ...]:
    """Variables among expressions, without the suffixes of their shapes."""
    found = [part for node in nodes for part in (node.elts if isinstance(node, ast.Tuple) else [node])]
    return tuple(re.sub(r"_[A-Z]+k?$", "", node.id) for node in found if isinstance(node, ast.Name))


def _overview() -> Finding:
    source = (files("distilled_experts") / _LAYER).read_text(encoding="utf-8")
    steps = steps_of(source, _RESULTS)
    rows = [[f"`{step.name}`", ", ".join(step.takes), ", ".join(step.gives)] for step in steps]
    last = steps[-1]
    claim = Claim(
        "After gate and experts one step gives both the mixture and the loss between the experts",
        steps[0].name == "gate" and last.gives == _RESULTS and "experts" in last.takes,
        f"`{last.name}`: {', '.join(last.gives)}",
    )
    note = f"Read from `MixtureOfExperts.forward` in `{_LAYER}`."
    return Finding(f"{table(['step', 'takes', 'gives'], rows)}\n\n{note}", [claim], {"": partial(_draw, steps)})


def _draw(steps: list[Step]) -> Figure:
    from distilled_experts.report import figures

    return figures.steps([(step.name, ", ".join(step.gives), step.takes) for step in steps])


PIECES = (
    Piece(
        "overview",
        "Overview of the method",
        "The structure: a gate, experts, their weighted sum, and distillation among the experts.",
        (),
        _overview,
        "figure 2",
    ),
)
