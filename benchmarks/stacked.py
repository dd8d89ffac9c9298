"""How much faster many small mixtures train as one stack than one after the other.

    python benchmarks/stacked.py [--rounds 9] [--write]

10 seeds × 6 α on scikit-learn's digits, 4 experts of width 64, batches of 128, one epoch after a warm-up, against a
plain PyTorch loop over the same 60 models (lists of `nn.Linear`, Adam) and against the floor, the bare matrix products
of the same epoch. All see the same batches and start from the same weights; the losses are compared first. Rounds are
interleaved, each thread count runs in a process of its own, and what counts are ratios of medians.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from distilled_experts.tabular.network import StackedMixture
from distilled_experts.tabular.training import Rows, StackedTraining, TrainingSettings

SEEDS, ALPHAS, EXPERTS, HIDDEN, BATCH = 10, (0.0, 0.01, 0.03, 0.1, 0.3, 1.0), 4, 64, 128
LEARNING_RATE = 2e-3
RECORD = Path(__file__).parent / "results" / "stacked.json"


class PlainMixture(nn.Module):
    """The textbook mixture: a list of two-layer experts and a softmax gate."""

    def __init__(self, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(n_features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, n_classes))
            for _ in range(EXPERTS)
        )
        self.gate = nn.Linear(n_features, EXPERTS)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        outputs = torch.stack([expert(x) for expert in self.experts], dim=1)
        weights = self.gate(x).softmax(-1)
        spread = (outputs - outputs.mean(1, keepdim=True)).square().mean()
        return (weights.unsqueeze(-1) * outputs).sum(1), spread

    @torch.no_grad()
    def take_weights(self, stack: StackedMixture, s: int, a: int) -> None:
        """Start from the weights of one model of a stack."""
        for e, (first, _, last) in enumerate(self.experts):
            first.weight.copy_(stack.hidden_weight[s, a, e])
            first.bias.copy_(stack.hidden_bias[s, a, e])
            last.weight.copy_(stack.output_weight[s, a, e])
            last.bias.copy_(stack.output_bias[s, a, e])
        self.gate.weight.copy_(stack.gate_weight[s, a])
        self.gate.bias.copy_(stack.gate_bias[s, a])


def make_stack() -> StackedTraining:
    X, y = load_digits(return_X_y=True)
    x = torch.from_numpy((X - X.mean(0)) / X.std(0).clip(1e-6)).float().repeat(SEEDS, 1, 1)
    rows = Rows(x, torch.from_numpy(y).repeat(SEEDS, 1), [len(y)] * SEEDS)
    seeds = list(range(SEEDS))
    return StackedTraining(
        StackedMixture(seeds, len(ALPHAS), X.shape[1], 10, n_experts=EXPERTS, hidden=HIDDEN),
        torch.tensor(ALPHAS).repeat(SEEDS, 1),
        rows,
        None,
        "classification",
        seeds,
        TrainingSettings(batch_size=BATCH, learning_rate=LEARNING_RATE),
    )


def batches_of(training: StackedTraining) -> list[Tensor]:
    """An epoch's batches, (seeds, 128) row numbers each."""
    order = torch.stack([torch.randperm(training.train.counts[s], generator=seeded(s)) for s in range(SEEDS)])
    return list(order[:, : order.shape[1] // BATCH * BATCH].split(BATCH, dim=1))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Stacked:
    """All 60 models at once, as `mode compare` trains them."""

    def __init__(self) -> None:
        self.training = make_stack()

    def epoch(self, batches: list[Tensor]) -> Tensor:
        task, distillation = zip(*(self.training.step(rows) for rows in batches), strict=True)
        return torch.stack(task) + self.training.alpha * torch.stack(distillation)


class Loop:
    """One model after the other, each with an Adam of its own."""

    def __init__(self) -> None:
        self.rows, stack = (made := make_stack()).train, made.network
        self.models = {(s, a): PlainMixture(64, 10) for s in range(SEEDS) for a in range(len(ALPHAS))}
        for (s, a), model in self.models.items():
            model.take_weights(stack, s, a)
        self.optimizers = {k: torch.optim.Adam(m.parameters(), lr=LEARNING_RATE) for k, m in self.models.items()}

    def epoch(self, batches: list[Tensor]) -> Tensor:
        losses = torch.empty(len(batches), SEEDS, len(ALPHAS))
        for (s, a), model in self.models.items():
            optimizer = self.optimizers[s, a]
            for i, rows in enumerate(batches):
                output, spread = model(self.rows.x[s, rows[s]])
                loss = F.cross_entropy(output, self.rows.target[s, rows[s]]) + ALPHAS[a] * spread
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses[i, s, a] = loss.detach()
        return losses


class Floor:
    """The matrix products of the same epoch alone, into memory that is already there."""

    def __init__(self) -> None:
        S, A, E, H, D, C, B = SEEDS, len(ALPHAS), EXPERTS, HIDDEN, 64, 10, BATCH
        self.x = torch.randn(S, B, D, generator=seeded(0))
        self.w1, self.w2, self.wg = torch.randn(S, A * E * H, D), torch.randn(S * A * E, C, H), torch.randn(S, A * E, D)
        self.hidden, self.out, self.scores = (
            torch.empty(S, A * E * H, B),
            torch.empty(S * A * E, C, B),
            torch.empty(S, A * E, B),
        )
        self.g1, self.g2, self.gg = (torch.empty_like(w) for w in (self.w1, self.w2, self.wg))

    def epoch(self, batches: list[Tensor]) -> None:
        hidden = self.hidden.view(len(self.w2), HIDDEN, BATCH)
        for _ in batches:
            torch.bmm(self.w1, self.x.mT, out=self.hidden)
            torch.bmm(self.w2, hidden, out=self.out)
            torch.bmm(self.wg, self.x.mT, out=self.scores)
            torch.bmm(self.out, hidden.mT, out=self.g2)
            torch.bmm(self.w2.mT, self.out, out=hidden)
            torch.bmm(self.hidden, self.x, out=self.g1)
            torch.bmm(self.scores, self.x, out=self.gg)


def measure(threads: int, rounds: int) -> dict[str, object]:
    """Seconds of an epoch for each way, in interleaved rounds after one round to warm up and compare losses."""
    torch.set_num_threads(threads)
    ways = {"stacked": Stacked(), "loop": Loop(), "floor": Floor()}
    batches = batches_of(make_stack())
    losses = {name: way.epoch(batches) for name, way in ways.items()}
    difference = float((losses["stacked"] - losses["loop"]).abs().max())
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name].append(timed(lambda way=way: way.epoch(batches)))
    return {"threads": threads, "largest_loss_difference": difference, "seconds": seconds}


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def ratio(seconds: dict[str, list[float]], above: str, below: str) -> tuple[float, float, float]:
    """Median ratio of the rounds, with its quartiles."""
    ratios = [a / b for a, b in zip(seconds[above], seconds[below], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return middle, low, high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true", help=f"write the record to {RECORD}")
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.threads:
        print(json.dumps(measure(arguments.threads, arguments.rounds)))
        return
    results = []
    for threads in (1, 2):
        command = [sys.executable, __file__, "--threads", str(threads), "--rounds", str(arguments.rounds)]
        results.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    machine = platform.processor() or platform.machine()
    print(f"60 mixtures, one epoch of digits, {arguments.rounds} rounds; torch {torch.__version__}, {machine}")
    print("threads   loop / stacked (quartiles)   stacked / floor (quartiles)   largest loss difference")
    for result in results:
        result["loop_over_stacked"] = gain = ratio(result["seconds"], "loop", "stacked")
        result["stacked_over_floor"] = distance = ratio(result["seconds"], "stacked", "floor")
        spans = (f"{middle:5.2f} ({low:.2f} to {high:.2f})" for middle, low, high in (gain, distance))
        print(f"{result['threads']:7d}   {'         '.join(spans)}         {result['largest_loss_difference']:.1e}")
    if arguments.write:
        RECORD.parent.mkdir(exist_ok=True)
        RECORD.write_text(json.dumps({"torch": torch.__version__, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
