"""Ratios of times that a drifting machine leaves alone: each candidate stands between two measurements of its base."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import torch
from memory import held, peak, reset_peak
from torch import Tensor

Input = TypeVar("Input")
Step = Callable[[Input], object]
Quartiles = dict[str, float]
# Rows of a table: what was measured, and its ratios.
Found = list[dict]


def seconds_of(step: Step[Input], inputs: Sequence[Input]) -> float:
    """Seconds of a step on each input; with one thread those of the processor, which other programs disturb least."""
    clock = time.process_time if torch.get_num_threads() == 1 and not torch.cuda.is_available() else wall
    start = clock()
    for given in inputs:
        step(given)
    return clock() - start


def wall() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def ratios(
    base: Step[Input], candidates: Mapping[str, Step[Input]], fresh: Callable[[], Input], rounds: int, repeats: int = 1
) -> dict[str, Quartiles]:
    """Quartiles of candidate / base, each step of a round with new input; the first round warms up."""
    found: dict[str, list[float]] = {name: [] for name in candidates}
    for i in range(rounds + 1):
        inputs = [fresh() for _ in range(repeats)]
        before = seconds_of(base, inputs)
        for name, step in candidates.items():
            taken = seconds_of(step, inputs)
            after = seconds_of(base, inputs)
            if i:
                found[name].append(2 * taken / (before + after))
            before = after
    return {name: quartiles(values) for name, values in found.items()}


def quartiles(values: list[float]) -> Quartiles:
    low, median, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return {"low": low, "median": median, "high": high}


def peak_bytes(step: Step[Input], given: Input, parameters: Iterable[Tensor]) -> int:
    """Bytes that a step needs beyond weights and input, gradients included."""
    step(given)
    for parameter in parameters:
        parameter.grad = None
    reset_peak()
    before = held()
    step(given)
    return peak() - before
