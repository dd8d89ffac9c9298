"""Training of mixtures on a table: whole epochs against a plain loop, and many models in one stack."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from layer_cases import ALPHA, Dense, NaiveLoop, seeded
from layer_peers import installed
from layer_timing import Found, Step, ratios
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from distilled_experts.tabular.network import StackedMixture
from distilled_experts.tabular.training import Rows, StackedTraining, TrainingSettings


def epoch(rounds: int) -> Found:
    """Peer / ours: an epoch of 8,192 rows in batches of 256, 8 experts, as the estimators train one model."""
    case = Dense(256, experts=8)
    x, y = torch.randn(8192, case.width, generator=seeded()), torch.randint(case.classes, (8192,), generator=seeded())
    training = stacked(case, x.unsqueeze(0), y.unsqueeze(0))
    orders = torch.Generator().manual_seed(0)

    def ours(_: object) -> None:
        for rows in torch.randperm(len(x), generator=orders).unsqueeze(0).split(case.batch, 1):
            training.step(rows)

    peers = {"list of nn.Linear, DataLoader, Adam": naive_epoch(case, x, y)}
    if installed("neural-trees"):
        peers["neural-trees"] = hierarchical_epoch(case, x, y)
    return [{"experts": case.experts, "batch": case.batch, "ratios": ratios(ours, peers, lambda: None, rounds)}]


def models(rounds: int) -> Found:
    """A step of so many models, each on rows of its own, against a step of one."""
    rows = []
    for case in (Dense(64, hidden=32, experts=4), Dense(256, hidden=128, experts=8)):
        one = models_step(case, 1)
        for count in (2, 4, 8, 16, 32, 64):
            found = ratios(one, {"time": models_step(case, count)}, lambda: None, rounds, max(1, 64 // count))
            rows.append({"batch": case.batch, "hidden": case.hidden, "from": 1, "to": count, "ratios": found})
    return rows


def models_step(case: Dense, count: int) -> Step[None]:
    generator = seeded()
    x = torch.randn(count, case.batch, case.width, generator=generator)
    y = torch.randint(case.classes, (count, case.batch), generator=generator)
    training = stacked(case, x, y)
    positions = torch.arange(case.batch).expand(count, -1)
    return lambda _: training.step(positions)


def stacked(case: Dense, x: Tensor, y: Tensor) -> StackedTraining:
    """Models that train side by side, on rows (models, rows, width)."""
    seeds = list(range(len(x)))
    network = StackedMixture(seeds, 1, case.width, case.classes, n_experts=case.experts, hidden=case.hidden)
    rows = Rows(x, y, [y.shape[1]] * len(x))
    alpha, settings = torch.full((len(x), 1), ALPHA), TrainingSettings(batch_size=case.batch)
    return StackedTraining(network, alpha, rows, None, "classification", seeds, settings)


def naive_epoch(case: Dense, x: Tensor, y: Tensor) -> Step[object]:
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


def hierarchical_epoch(case: Dense, x: Tensor, y: Tensor) -> Step[object]:
    """A tree of gates over as many experts, without dropout, warm from the second call on."""
    from neural_trees import HierarchicalMixtureOfExperts

    depth = case.experts.bit_length() - 1
    sizes = {"depth": depth, "expert_hidden": case.hidden, "dropout_rate": 0.0, "batch_size": case.batch}
    model = HierarchicalMixtureOfExperts(**sizes, max_epochs=1, learning_rate=3e-3, random_state=0, warm_start=True)
    rows, targets = x.numpy(), y.numpy()
    return lambda _: model.fit(rows, targets)
