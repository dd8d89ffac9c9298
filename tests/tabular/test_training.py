"""Stacked training against a plain PyTorch loop over the same models, and its promises."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from distilled_experts.errors import TrainingError
from distilled_experts.functional import sparse_gate
from distilled_experts.tabular.network import StackedMixture
from distilled_experts.tabular.training import Rows, StackedTraining, TrainingSettings

ALPHAS = (0.0, 0.1, 1.0)
D, C = 5, 3


def make_rows(task: str, n: int, seeds: list[int], *, weighted: bool = False) -> Rows:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    x = torch.stack([torch.randn(n, D, generator=g, dtype=torch.float64) for g in generators])
    code = (x[..., :2] > 0).long().sum(-1)
    target = code if task == "classification" else torch.stack([x.sum(-1), x[..., 0] * x[..., 1]], -1)
    weight = torch.stack([torch.rand(n, generator=g, dtype=torch.float64) for g in generators]) if weighted else None
    return Rows(x, target, [n] * len(seeds), weight)


def make_training(
    task: str = "classification",
    seeds: tuple[int, ...] = (0, 1),
    alphas: tuple[float, ...] = ALPHAS,
    top_k: int | None = None,
    weighted: bool = False,
    frozen: tuple[str, ...] = (),
    scaled: bool = False,
    **settings: object,
) -> StackedTraining:
    outputs = C if task == "classification" else 2
    shape = {"n_experts": 4, "hidden": 6, "top_k": top_k, "scaled": scaled}
    network = StackedMixture(seeds, len(alphas), D, outputs, **shape, dtype=torch.float64)
    return StackedTraining(
        network,
        torch.tensor(alphas, dtype=torch.float64).repeat(len(seeds), 1),
        make_rows(task, 50, list(seeds), weighted=weighted),
        make_rows(task, 20, [s + 100 for s in seeds]),
        task,
        seeds,
        TrainingSettings(**{"epochs": 3, "batch_size": 16, "learning_rate": 0.01} | settings),
        frozen,
    )


class PlainMixture(nn.Module):
    """The textbook version: a list of linear layers, a loop over experts."""

    def __init__(self, stack: StackedMixture, s: int, a: int) -> None:
        super().__init__()
        E, H, D = stack.hidden_weight.shape[2:]
        C = stack.output_weight.shape[3]
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(D, H), nn.ReLU(), nn.Linear(H, C)).double() for _ in range(E)
        )
        self.gate = nn.Linear(D, E).double()
        self.scale = nn.Parameter(torch.ones(D, dtype=torch.float64))
        self.top_k = stack.top_k or E
        with torch.no_grad():
            for e, expert in enumerate(self.experts):
                expert[0].weight.copy_(stack.hidden_weight[s, a, e])
                expert[0].bias.copy_(stack.hidden_bias[s, a, e])
                expert[2].weight.copy_(stack.output_weight[s, a, e])
                expert[2].bias.copy_(stack.output_bias[s, a, e])
            self.gate.weight.copy_(stack.gate_weight[s, a])
            self.gate.bias.copy_(stack.gate_bias[s, a])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mixture, and per row the mean squared deviation of the active experts from their mean."""
        x = x * self.scale
        weights, active = sparse_gate(self.gate(x), self.top_k)
        outputs = torch.stack([expert(x) for expert in self.experts], dim=1)
        chosen = torch.stack([outputs[n, active[n]] for n in range(len(x))])
        spread = (chosen - chosen.mean(1, keepdim=True)).square().mean((1, 2))
        return (weights.unsqueeze(-1) * chosen).sum(1), spread

    def optimizer(self, decay: float, *, scaled: bool) -> torch.optim.AdamW:
        """Decay where features come in; scales, where they are learnt, at twenty times the rate."""
        first = [self.gate.weight, *(expert[0].weight for expert in self.experts)]
        others = [p for p in self.parameters() if p is not self.scale and not any(p is q for q in first)]
        groups = [{"params": first, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
        scales = {"params": [self.scale], "lr": 0.2, "weight_decay": 0.0}
        return torch.optim.AdamW([*groups, scales] if scaled else groups, lr=0.01)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("top_k", [None, 2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("scaled", "decays"), [(False, (0.0, 0.0, 0.0)), (True, (0.0, 3.0, 10.0))])
def test_losses_and_weights_are_those_of_a_plain_loop(task, top_k, weighted, scaled, decays):
    training = make_training(task, top_k=top_k, weighted=weighted, scaled=scaled, weight_decay=decays)
    plain = {(s, a): PlainMixture(training.network, s, a) for s in range(2) for a in range(3)}
    optimizers = {(s, a): m.optimizer(decays[a], scaled=scaled) for (s, a), m in plain.items()}
    for step in range(4):
        rows = torch.stack([torch.arange(16) + 3 * step, torch.arange(16, 0, -1) + step])
        task_losses, distillation_losses = training.step(rows)
        for (s, a), model in plain.items():
            x, t = training.train.x[s, rows[s]], training.train.target[s, rows[s]]
            w = training.train.weight[s, rows[s]] if weighted else torch.ones(16, dtype=torch.float64)
            y, spread = model(x)
            row_loss = (
                nn.functional.cross_entropy(y, t, reduction="none") if t.dim() == 1 else (y - t).square().mean(-1)
            )
            loss, distillation = (w * row_loss).sum() / w.sum(), (w * spread).sum() / w.sum()
            torch.testing.assert_close(task_losses[s, a], loss)
            torch.testing.assert_close(distillation_losses[s, a], distillation)
            optimizers[s, a].zero_grad()
            (loss + ALPHAS[a] * distillation).backward()
            optimizers[s, a].step()
    for (s, a), model in plain.items():
        for e, expert in enumerate(model.experts):
            torch.testing.assert_close(training.network.hidden_weight[s, a, e], expert[0].weight)
            torch.testing.assert_close(training.network.output_weight[s, a, e], expert[2].weight)
            torch.testing.assert_close(training.network.output_bias[s, a, e], expert[2].bias)
        torch.testing.assert_close(training.network.gate_weight[s, a], model.gate.weight)
        if scaled:
            torch.testing.assert_close(training.network.feature_scale[s, a], model.scale)
            assert (model.scale - 1).abs().max() > 0.1


def test_decay_ends_at_zero_however_high_the_rate():
    training = make_training(scaled=True, weight_decay=(0.0, 10.0, 1e6), learning_rate=0.5, epochs=5)
    training.run()
    # What is left of the weights is the last step alone: with Adam at most (1 − β₁) / √(1 − β₂), about 3.2 rates.
    assert training.working.network.hidden_weight[:, 2].abs().max() < 3.2 * 0.5


def test_a_models_result_does_not_depend_on_its_neighbours():
    whole = make_training(epochs=30, patience=2, learning_rate=0.05)
    whole.run()
    alone = make_training(seeds=(1,), alphas=(0.1,), epochs=30, patience=2, learning_rate=0.05)
    alone.run()
    assert whole.best_epoch[1, 1] == alone.best_epoch[0, 0] < whole.epoch
    for stacked, single in zip(whole.network.parameters(), alone.network.parameters(), strict=True):
        torch.testing.assert_close(stacked[1, 1], single[0, 0])


def test_training_ends_when_every_model_has_lost_patience_and_keeps_the_best_weights():
    training = make_training(epochs=200, patience=3, learning_rate=0.1)
    training.run()
    assert training.epoch == int(training.best_epoch.max()) + 4
    losses = torch.stack(training.history["validation_loss"])
    check = StackedTraining(
        training.network, training.alpha, training.train, None, training.task, training.seeds, training.settings
    )
    torch.testing.assert_close(check.validation_loss(training.validation), training.best_loss)
    torch.testing.assert_close(
        losses.min(0).values[losses.argmin(0) + 1 == training.best_epoch],
        training.best_loss[losses.argmin(0) + 1 == training.best_epoch],
    )


def test_alpha_zero_is_plain_training_bit_for_bit():
    with_others, plain = make_training(), make_training(alphas=(0.0,) * 3)
    with_others.run()
    plain.run()
    for a, b in zip(with_others.network.parameters(), plain.network.parameters(), strict=True):
        assert torch.equal(a[:, 0], b[:, 0])
        assert not torch.equal(a[:, 1], b[:, 1])


def test_a_restored_training_goes_on_bit_for_bit():
    straight = make_training(epochs=6)
    straight.run()
    first = make_training(epochs=6)
    for _ in range(2):
        first.run_epoch()
    state = copy.deepcopy(first.state())
    first.run_epoch()  # what comes after the save must not matter
    resumed = make_training(epochs=6)
    resumed.restore(state)
    resumed.run()
    for a, b in zip(straight.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(torch.stack(straight.history["train_loss"]), torch.stack(resumed.history["train_loss"]))


def test_validation_loss_ignores_padding_and_chunks():
    training = make_training()
    whole = training.validation_loss(training.validation)
    rows = training.validation
    padded = torch.cat([rows.x, torch.full((2, 3, D), 7.0, dtype=torch.float64)], 1)
    target = torch.cat([rows.target, torch.zeros(2, 3, dtype=torch.int64)], 1)
    padded_rows = Rows(padded, target, rows.counts)
    torch.testing.assert_close(training.validation_loss(padded_rows, chunk=7), whole)


def test_batches_are_equal_and_differ_from_epoch_to_epoch():
    training = make_training(batch_size=16)
    assert (training.n_batches, training.batch_rows) == (3, 16)
    first = training._order()
    assert all(len(set(row.tolist())) == 48 for row in first)
    training.epoch = 1
    assert not torch.equal(first, training._order())


def test_distillation_draws_experts_together():
    training = make_training(alphas=(0.0, 0.1, 10.0), epochs=20)
    training.run()
    spread = training.history["distillation_loss"][-1]
    assert (spread[:, 2] < spread[:, 1]).all()
    assert (spread[:, 1] < spread[:, 0]).all()


def test_one_diverging_model_leaves_the_others_alone():
    training = make_training(alphas=(0.0, 0.1, float("inf")))
    with pytest.raises(TrainingError, match=r"not finite in epoch 1 \(steps 1 to 3\); a smaller learning rate or α"):
        training.run()
    sound = make_training(alphas=(0.0, 0.1))
    sound.run()
    torch.testing.assert_close(training.best_loss[:, :2], sound.best_loss)
    either = make_training(alphas=(0.0, 0.1, float("inf")))
    either.alternatives = True
    either.run()
    torch.testing.assert_close(either.best_loss[:, :2], sound.best_loss)


def test_a_model_that_diverges_ends_with_its_best_weights_and_the_others_go_on():
    def poison(t: StackedTraining) -> None:
        if t.epoch == 3:
            with torch.no_grad():
                t.working.network.hidden_weight[1, 2] = math.nan

    poisoned, sound = make_training(epochs=6), make_training(epochs=6)
    poisoned.run(poison)
    sound.run()
    assert poisoned.diverged[1, 2] == 4
    assert poisoned.diverged.count_nonzero() == 1
    assert 0 < poisoned.best_epoch[1, 2] <= 3
    for a, b in zip(poisoned.network.parameters(), sound.network.parameters(), strict=True):
        assert a.isfinite().all()
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1, :2], b[1, :2])


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_learning_rate_follows_its_schedule(schedule):
    training = make_training(schedule=schedule, epochs=10, warmup=0.1)
    rates = [training._learning_rate(step / 30) for step in range(30)]
    assert rates[1] == pytest.approx(0.01 / 3, rel=0.01)
    assert max(rates) <= 0.01
    assert rates[-1] == pytest.approx(0.01) if schedule == "constant" else rates[-1] < 0.001


def test_groups_that_are_done_leave_and_the_others_go_on_as_before():
    seeds = tuple(range(5))
    training = make_training(seeds=seeds, epochs=60, patience=1, learning_rate=0.05)
    in_training = []
    training.run(lambda t: in_training.append(len(t.working.groups)))
    assert in_training[0] == 5
    assert in_training[-1] < 3
    for s in seeds:
        alone = make_training(seeds=(s,), epochs=60, patience=1, learning_rate=0.05)
        alone.run()
        assert torch.equal(training.best_epoch[s], alone.best_epoch[0])
        torch.testing.assert_close(training.best_loss[s], alone.best_loss[0])
        for stacked, single in zip(training.network.parameters(), alone.network.parameters(), strict=True):
            torch.testing.assert_close(stacked[s], single[0])


@pytest.mark.parametrize("scaled", [False, True])
def test_a_training_restored_after_groups_have_left_goes_on_bit_for_bit(scaled):
    def make() -> StackedTraining:
        decays = (0.0, 1.0, 3.0) if scaled else 0.0
        options = {"epochs": 60, "patience": 1, "learning_rate": 0.05, "weight_decay": decays}
        return make_training(seeds=tuple(range(5)), scaled=scaled, **options)

    straight, first, resumed = make(), make(), make()
    straight.run()
    while len(first.working.groups) > 3:
        first.run_epoch()
    assert not first.finished
    resumed.restore(first.state())
    resumed.run()
    for a, b in zip(straight.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(straight.best_epoch, resumed.best_epoch)
    assert (straight.network.feature_scale is not None) == scaled


def test_without_validation_rows_all_epochs_are_run_and_the_last_weights_kept():
    training = make_training(epochs=5)
    training = StackedTraining(
        training.network,
        training.alpha,
        training.train,
        None,
        training.task,
        training.seeds,
        training.settings,
    )
    training.run()
    assert training.epoch == 5
    assert (training.best_epoch == 5).all()
    assert "validation_loss" not in training.history


def test_the_strength_follows_its_schedule():
    constant, annealed = make_training(epochs=20), make_training(epochs=20, alpha_schedule="anneal")
    constant.run()
    annealed.run()
    early, late = (torch.stack(t.history["distillation_loss"])[:, :, 2] for t in (constant, annealed))
    assert (late[-1] > early[-1]).all()
    plain = constant.network.hidden_weight[:, 0]
    assert torch.equal(plain, annealed.network.hidden_weight[:, 0])


def test_a_callback_can_end_training():
    training = make_training(epochs=20)
    training.run(lambda t: t.epoch == 4)
    assert training.epoch == 4


GATE = ("gate_weight", "gate_bias")


def test_under_a_frozen_gate_the_experts_learn_as_in_a_plain_loop_without_it():
    training = make_training(frozen=GATE)
    plain = PlainMixture(training.network, 1, 2)
    optimizer = torch.optim.Adam(plain.experts.parameters(), lr=0.01)
    for step in range(3):
        rows = torch.stack([torch.arange(16) + step] * 2)
        training.step(rows)
        y, spread = plain(training.train.x[1, rows[1]])
        optimizer.zero_grad()
        (nn.functional.cross_entropy(y, training.train.target[1, rows[1]]) + ALPHAS[2] * spread.mean()).backward()
        optimizer.step()
    torch.testing.assert_close(training.network.gate_weight[1, 2], plain.gate.weight)
    for e, expert in enumerate(plain.experts):
        torch.testing.assert_close(training.network.hidden_weight[1, 2, e], expert[0].weight)


def test_a_frozen_gate_stays_when_groups_leave_and_when_a_training_is_restored():
    def make() -> StackedTraining:
        return make_training(seeds=tuple(range(5)), epochs=60, patience=1, learning_rate=0.05, frozen=GATE)

    straight, first, resumed = make(), make(), make()
    gates = [getattr(straight.network, name).detach().clone() for name in GATE]
    straight.run()
    assert len(straight.working.groups) < 5
    while len(first.working.groups) == 5:
        first.run_epoch()
    resumed.restore(first.state())
    resumed.run()
    for training in (straight, resumed):
        assert all(torch.equal(getattr(training.network, n), g) for n, g in zip(GATE, gates, strict=True))
    assert torch.equal(straight.network.hidden_weight, resumed.network.hidden_weight)
