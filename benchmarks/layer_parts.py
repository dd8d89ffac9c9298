"""The parts of `layers.py`: what is measured, against what."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from layer_cases import (
    Dense,
    LinearLoop,
    NaiveLoop,
    Sparse,
    memory_of,
    prediction_step,
    training_step,
)
from layer_growth import growth
from layer_peers import dropping, mixtral, same_arithmetic
from layer_timing import Found, quartiles, ratios, seconds_of
from layer_training import epoch, models
from torch import Tensor, nn


@dataclass(frozen=True)
class Part:
    """One table. Ratios are better when they are low, or, with `high`, when they are high."""

    title: str
    measure: Callable[[int], Found]
    threads: tuple[int, ...] = (1,)
    memory: tuple[bool, ...] = (True,)
    high: bool = False

    def worse(self, now: float, then: float) -> float:
        return then / now if self.high else now / then


def sparse(rounds: int) -> Found:
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        for experts in (8, 64):
            case = Sparse(dtype, experts=experts)
            layers = {"MoDE": case.layer(), "MoE": case.layer(distillation=False)}
            layers |= same_arithmetic(case)
            check_same_outputs(layers, case.fresh()())
            steps = {name: training_step(layer) for name, layer in (layers | dropping(case)).items()}
            found = ratios(case.floor(), steps, case.fresh(), rounds)
            rows.append({"dtype": str(dtype)[6:], "experts": experts, "ratios": found})
    return rows


def check_same_outputs(layers: dict[str, nn.Module], x: Tensor) -> None:
    """Peers do the same arithmetic."""
    with torch.no_grad():
        outputs = [layer(x) for layer in layers.values()]
    first, *others = (getattr(output, "output", output).float() for output in outputs)
    for output in others:
        same = (output - first).norm(dim=-1) <= 0.02 * first.norm(dim=-1)
        # In bfloat16 scores of a gate can be equal; which of them wins is up to the implementation.
        assert same.float().mean() >= 0.97


def first_steps(rounds: int) -> Found:
    """Transformers' default / MoDE, both from the start of a process."""
    name, rows = "transformers grouped_mm", []
    for experts in (8, 64):
        for varying in (False, True):
            pairs = [[first_seconds(which, experts, varying) for which in (name, "MoDE")] for _ in range(rounds // 2)]
            figures = {name: quartiles([theirs / ours for theirs, ours in pairs])}
            rows.append({"experts": experts, "tokens": "varying" if varying else "4096", "ratios": figures})
    return rows


def first_seconds(name: str, experts: int, varying: bool) -> float:
    """Seconds of the first ten steps in bfloat16, in a process of their own."""
    code = f"import layer_parts; print(layer_parts.ten_steps({name!r}, {experts}, {varying}))"
    command, folder = [sys.executable, "-c", code], Path(__file__).parent
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def ten_steps(name: str, experts: int, varying: bool) -> float:
    case = Sparse(torch.bfloat16, experts=experts)
    layer = case.layer() if name == "MoDE" else mixtral(case, name.split()[1])
    step, fresh = training_step(layer), case.fresh()
    inputs = [fresh()[: case.tokens - 61 * i * varying] for i in range(10)]
    return seconds_of(step, inputs)


DENSE_SHAPES = ((256, 4), (256, 16), (1024, 8), (4096, 4), (4096, 16))


def dense(rounds: int) -> Found:
    rows = []
    for batch, experts in DENSE_SHAPES:
        case = Dense(batch, experts=experts)
        steps = {"MoDE": case.layer(), "MoE": case.layer(distillation=False)}
        steps |= {"list of nn.Linear": LinearLoop(case), "with naive distillation": NaiveLoop(case)}
        found = ratios(
            case.floor(),
            {name: training_step(layer, of_input=False) for name, layer in steps.items()},
            case.fresh(),
            rounds,
            repeats_for(batch * experts),
        )
        rows.append({"batch": batch, "experts": experts, "ratios": found})
    return rows


def repeats_for(rows: int) -> int:
    """Steps long enough together for the clock."""
    return max(2, 60_000 // rows)


def price(rounds: int) -> Found:
    """MoDE / MoE."""
    rows = []
    cases: list[tuple[str, Sparse | Dense, int]] = [
        (f"sparse, {str(dtype)[6:]}, {experts} experts", Sparse(dtype, experts=experts), 1)
        for dtype in (torch.float32, torch.bfloat16)
        for experts in (8, 64)
    ]
    cases += [
        (f"dense, batch {batch}, {experts} experts", Dense(batch, experts=experts), repeats_for(batch * experts))
        for batch, experts in DENSE_SHAPES
    ]
    for words, case, repeats in cases:
        of_input = isinstance(case, Sparse)
        layers = {distance: case.layer(distance=distance) for distance in ("mse", "relative")}
        layers["plain"] = case.layer(distillation=False)
        steps = {name: training_step(layer, of_input=of_input) for name, layer in layers.items()}
        plain = steps.pop("plain")
        found = ratios(plain, steps, case.fresh(), rounds, repeats)
        rows.append({"layer": words, "ratios": found})
    return rows


def prediction(rounds: int) -> Found:
    rows = []
    for tokens in (1, 16, 256, 4096):
        case = Sparse(tokens=tokens)
        layers = {"ours": case.layer()}
        layers |= same_arithmetic(case)
        steps = {name: prediction_step(layer) for name, layer in layers.items()}
        found = ratios(case.floor(training=False), steps, case.fresh(), rounds, max(1, 256 // tokens))
        rows.append({"tokens": tokens, "ratios": found})
    return rows


def memory(rounds: int) -> Found:
    """Peak memory of a training step, against Transformers' default."""
    rows = []
    for experts in (8, 64):
        case = Sparse(experts=experts)
        base = memory_of(mixtral(case, "grouped_mm"), case)
        layers = {"MoDE": case.layer(), "MoDE, recompute": case.layer(recompute=True)}
        layers["MoE"] = case.layer(distillation=False)
        layers["transformers eager"] = mixtral(case, "eager")
        found = {name: quartiles([memory_of(layer, case) / base]) for name, layer in layers.items()}
        rows.append({"experts": experts, "transformers grouped_mm": f"{base / 2**20:.0f} MiB", "ratios": found})
    return rows


PARTS = {
    "sparse": Part("a training step of a sparse layer / bare products", sparse, memory=(True, False)),
    "first": Part("first ten steps in bfloat16, Transformers / MoDE", first_steps, high=True),
    "dense": Part("a training step of a dense layer / bare products", dense, threads=(1, 2)),
    "price": Part("with distillation / without", price),
    "epoch": Part("an epoch of training on a table, peer / ours", epoch, threads=(1, 2), high=True),
    "prediction": Part("prediction of a sparse layer / bare products", prediction),
    "memory": Part("peak memory of a training step / Transformers grouped_mm", memory, memory=(False,)),
    "growth": Part("a training step / that of the smallest layer", growth),
    "models": Part("a training step of stacked models / of one", models, threads=(1, 2)),
}
