"""The parts of `layers.py`: what is measured, against what."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from layer_cases import (
    ALPHA,
    Dense,
    LinearLoop,
    NaiveLoop,
    Sparse,
    in_transformers,
    prediction_step,
    seeded,
    training_step,
)
from layer_timing import peak_bytes, quartiles, ratios, seconds_of
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from distilled_experts.tabular.network import StackedMixture
from distilled_experts.tabular.training import Rows, StackedTraining, TrainingSettings

Found = list[dict]


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
            layers |= {name: in_transformers(block) for name, block in case.peers().items()}
            check_same_outputs(layers, case.fresh()())
            steps = {name: training_step(layer) for name, layer in layers.items()}
            found = ratios(case.floor(), steps, case.fresh(), rounds)
            rows.append({"dtype": str(dtype)[6:], "experts": experts, "ratios": found})
    return rows


def check_same_outputs(layers: dict[str, nn.Module], x: Tensor) -> None:
    """Peers do the same arithmetic."""
    with torch.no_grad():
        outputs = [layer(x) for layer in layers.values()]
    outputs = [getattr(output, "output", output).float() for output in outputs]
    for output in outputs[1:]:
        assert (output - outputs[0]).norm() <= 0.02 * outputs[0].norm()


def first_steps(rounds: int) -> Found:
    """Peer / MoDE, both from the start of a process."""
    rows = []
    for experts in (8, 64):
        for varying in (False, True):
            found: dict[str, list[float]] = {}
            for _ in range(rounds):
                ours = first_seconds("MoDE", experts, varying)
                for name in ("transformers grouped_mm", "transformers eager"):
                    found.setdefault(name, []).append(first_seconds(name, experts, varying) / ours)
            figures = {name: quartiles(values) for name, values in found.items()}
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
    layer = case.layer() if name == "MoDE" else in_transformers(case.mixtral(name.split()[1]))
    step, fresh = training_step(layer), case.fresh()
    inputs = [fresh()[: case.tokens - 61 * i * varying] for i in range(10)]
    return sum(seconds_of(step, x, 1) for x in inputs)


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
        if of_input:
            found["peak memory"] = quartiles([memory_of(layers["relative"], case) / memory_of(layers["plain"], case)])
        rows.append({"layer": words, "ratios": found})
    return rows


def prediction(rounds: int) -> Found:
    rows = []
    for tokens in (1, 16, 256, 4096):
        case = Sparse(tokens=tokens)
        layers = {"ours": case.layer()}
        layers |= {name: in_transformers(block) for name, block in case.peers().items()}
        steps = {name: prediction_step(layer) for name, layer in layers.items()}
        found = ratios(case.floor(training=False), steps, case.fresh(), rounds, max(1, 256 // tokens))
        rows.append({"tokens": tokens, "ratios": found})
    return rows


def memory_of(layer: nn.Module, case: Sparse) -> int:
    """Peak bytes of a training step."""
    return peak_bytes(training_step(layer), case.fresh()(), list(layer.parameters()))


def memory(rounds: int) -> Found:
    """Peak memory of a training step, against Transformers' default."""
    rows = []
    for experts in (8, 64):
        case = Sparse(experts=experts)
        base = memory_of(in_transformers(case.mixtral("grouped_mm")), case)
        layers = {"MoDE": case.layer(), "MoDE, recompute": case.layer(recompute=True)}
        layers["MoE"] = case.layer(distillation=False)
        layers["transformers eager"] = in_transformers(case.mixtral("eager"))
        found = {name: quartiles([memory_of(layer, case) / base]) for name, layer in layers.items()}
        rows.append({"experts": experts, "transformers grouped_mm": f"{base / 2**20:.0f} MiB", "ratios": found})
    return rows


def growth(rounds: int) -> Found:
    """Seconds of a training step against that of the smallest; beside it the growth of the work."""
    rows = []
    base = Sparse(tokens=512, width=256, hidden=512, experts=8, top_k=2)
    axes = {
        "tokens": (1024, 2048, 4096, 8192, 16384),
        "experts": (16, 32, 64, 128, 256),
        "top_k": (4, 8),
        "width": (512, 1024, 2048),
    }
    for axis, values in axes.items():
        for value in values:
            case = Sparse(**{**vars(base), axis: value})
            rows.append({"axis": axis, "from": getattr(base, axis), "to": value, "ratios": grown(base, case, rounds)})
    return rows


def grown(small: Sparse, large: Sparse, rounds: int) -> dict[str, dict[str, float]]:
    """Time and memory of a training step, large / small."""
    layers = small.layer(), large.layer()
    steps = [training_step(layer) for layer in layers]
    inputs = small.fresh(), large.fresh()
    found = ratios(
        lambda pair: steps[0](pair[0]),
        {"time": lambda pair: steps[1](pair[1])},
        lambda: tuple(fresh() for fresh in inputs),
        max(3, rounds // 3),
    )
    memories = [memory_of(layer, case) for layer, case in zip(layers, (small, large), strict=True)]
    return {**found, "memory": quartiles([memories[1] / memories[0]])}


def epoch(rounds: int) -> Found:
    """Peer / ours: an epoch of 8,192 rows in batches of 256, 8 experts, as the estimators train one model."""
    case = Dense(256, experts=8)
    x, y = torch.randn(8192, case.width, generator=seeded()), torch.randint(case.classes, (8192,), generator=seeded())
    training = one_model(case, x, y)
    orders = torch.Generator().manual_seed(0)

    def ours(_: object) -> None:
        for rows in torch.randperm(len(x), generator=orders).unsqueeze(0).split(case.batch, 1):
            training.step(rows)

    peers = {"list of nn.Linear, DataLoader, Adam": naive_epoch(case, x, y)}
    return [{"experts": case.experts, "batch": case.batch, "ratios": ratios(ours, peers, lambda: None, rounds)}]


def one_model(case: Dense, x: Tensor, y: Tensor) -> StackedTraining:
    network = StackedMixture([0], 1, case.width, case.classes, n_experts=case.experts, hidden=case.hidden)
    rows = Rows(x.unsqueeze(0), y.unsqueeze(0), [len(y)])
    settings = TrainingSettings(batch_size=case.batch)
    return StackedTraining(network, torch.full((1, 1), ALPHA), rows, None, "classification", [0], settings)


def naive_epoch(case: Dense, x: Tensor, y: Tensor) -> Callable[[object], None]:
    model = NaiveLoop(case)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    loader = DataLoader(TensorDataset(x, y), case.batch, shuffle=True, generator=seeded())

    def run(_: object) -> None:
        for rows, targets in loader:
            output, spread = model(rows)
            loss = F.cross_entropy(output, targets) + ALPHA * spread
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


PARTS = {
    "sparse": Part("a training step of a sparse layer / bare products", sparse, memory=(True, False)),
    "first": Part("first ten steps in bfloat16, Transformers / MoDE", first_steps, high=True),
    "dense": Part("a training step of a dense layer / bare products", dense, threads=(1, 2)),
    "price": Part("with distillation / without", price),
    "epoch": Part("an epoch of training on a table, peer / ours", epoch, threads=(1, 2), high=True),
    "prediction": Part("prediction of a sparse layer / bare products", prediction),
    "memory": Part("peak memory of a training step / Transformers grouped_mm", memory, memory=(False,)),
    "growth": Part("a training step / that of the smallest layer", growth),
}
