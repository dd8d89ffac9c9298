"""Several processes find what one process finds: data, optimizer, weights or experts in parts, with distillation."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from moe_oracle import assert_same, kept_double, tiny
from processes import run_processes
from trainer_loops import sentences

from distilled_experts.errors import InvalidParameterError
from distilled_experts.layers import Experts, ParallelExperts


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    with kept_double():
        yield


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("module", ["own_loops", "trainer_loops", "spread_experts"])
def test_processes_find_what_one_finds(module: str, world: int, tmp_path: Path) -> None:
    known = importlib.import_module(module).CASES
    cases = {name: case for name, case in known.items() if world in case.worlds}
    found = run_processes(world, module, tmp_path, list(cases))
    for name, case in cases.items():
        for rank, pair in enumerate(zip(found[name], case.wanted(world), strict=True)):
            assert_same(*pair, tolerance=case.tolerance, name=f"{name}, process {rank}: ")


def test_one_process_leaves_experts_without_tokens() -> None:
    model, rows = tiny(), sentences(2)[2:4]
    seen: list[torch.Tensor] = []
    model.model.layers[0].mlp.experts.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    model(**{name: torch.stack([row[name] for row in rows]) for name in rows[0]})
    assert len(seen[0].unique()) < 4


def test_spread_experts_want_processes() -> None:
    with pytest.raises(InvalidParameterError, match="init_process_group"):
        ParallelExperts(Experts(4, 2, hidden=8, n_experts=3))
