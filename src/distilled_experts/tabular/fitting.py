"""Fit the stack behind an estimator: some members with every choice, then the others with what validated best."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distilled_experts.errors import TrainingError
from distilled_experts.tabular.encoding import PiecewiseLinear
from distilled_experts.tabular.network import StackedMixture
from distilled_experts.tabular.training import Rows, StackedTraining, TrainingSettings
from distilled_experts.tabular.watch import Watch

__all__ = ["Choices", "Fitted", "MemberFit", "Members", "Part"]

# Members that try every choice; as each is judged by a fifth of the rows, they judge by two fifths together.
DECIDING_MEMBERS = 2

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Part:
    """Rows for training or validation: features (N, D), targets (N,) codes or (N, C), weights (N,) or None.

    With `positions` (members, M) every member has those among them as its own.
    """

    x: Floats
    target: NDArray[np.generic]
    weight: Floats | None = None
    positions: NDArray[np.int32] | None = None

    @property
    def n_rows(self) -> int:
        """Of a member."""
        return len(self.x) if self.positions is None else self.positions.shape[1]

    def of(self, members: slice) -> Part:
        """The rows of some members."""
        return self if self.positions is None else replace(self, positions=self.positions[members])

    def rows(self, n_groups: int, device: str) -> Rows:
        """As tensors that all groups share."""
        x = torch.from_numpy(self.x)
        target = torch.from_numpy(self.target)
        weight = None if self.weight is None else torch.from_numpy(self.weight).to(device, x.dtype).unsqueeze(0)
        kind = target.dtype if target.dtype == torch.int64 else x.dtype
        positions = None if self.positions is None else torch.from_numpy(self.positions).to(device)
        shared = x.to(device).unsqueeze(0), target.to(device, kind).unsqueeze(0)
        return Rows(*shared, [self.n_rows] * n_groups, weight, positions)


@dataclass(frozen=True)
class Members:
    """The mixtures of an estimator: how many, from which seeds, and their shape."""

    seeds: Sequence[int]
    n_outputs: int
    n_experts: int
    hidden: int
    top_k: int | None
    scaled: bool


@dataclass(frozen=True)
class Choices:
    """What validation rows decide."""

    encodings: Sequence[PiecewiseLinear | None]
    alphas: Sequence[float]
    weight_decays: Sequence[float]

    @property
    def open(self) -> bool:
        """Whether there is anything to decide."""
        return len(self.encodings) * len(self.alphas) * len(self.weight_decays) > 1

    @property
    def first(self) -> Choices:
        """Where nothing decides."""
        return Choices(self.encodings[:1], self.alphas[:1], self.weight_decays[:1])

    def in_turn(self) -> tuple[Sequence[float], Sequence[float]]:
        """Strengths to try with everything else, and those to try with what was found best."""
        if len(self.encodings) * len(self.weight_decays) == 1:
            return self.alphas, ()
        middle = sorted(self.alphas)[(len(self.alphas) - 1) // 2]
        return (middle,), [alpha for alpha in self.alphas if alpha != middle]


@dataclass(frozen=True)
class Fitted:
    """A stack of one mixture a member, all made with the same choice, and how it came about.

    `curves` has losses by epoch and member ``(epochs, S)``, NaN after a member's training. `diverged` has the epochs
    ``(S,)`` in which the loss of a member was no longer finite, 0 where it always was.
    `loss` is the mean validation loss of the members that decided, and `path` has it for every α, with the encoding and
    the weight decay that were chosen and a finite loss; without validation rows the last training loss, and None.
    """

    network: StackedMixture
    alpha: float
    weight_decay: float
    loss: float
    path: dict[float, float] | None
    curves: dict[str, Floats]
    diverged: Floats

    @property
    def epochs(self) -> int:
        """Of the longest training."""
        return max(map(len, self.curves.values()))

    @property
    def history(self) -> dict[str, list[float]]:
        """Means over the members that are still in training."""
        return {name: np.nanmean(curve, axis=1).tolist() for name, curve in self.curves.items()}

    def beside(self, other: Fitted) -> Fitted:
        """The better of this and one with other strengths, and the path of both."""
        better = other if other.loss < self.loss else self
        return replace(better, path=dict(sorted({**(self.path or {}), **(other.path or {})}.items())))

    def joined(self, others: Fitted) -> Fitted:
        """With further members, which decided nothing."""
        ours, theirs = (dict(fitted.network.named_parameters()) for fitted in (self, others))
        weights = {name: torch.cat([p, theirs[name]]).detach() for name, p in ours.items()}
        network = self.network
        joined = StackedMixture.from_weights(weights, top_k=network.top_k, encoding=network.encoding)
        curves = {name: _side_by_side(curve, others.curves[name]) for name, curve in self.curves.items()}
        diverged = np.concatenate([self.diverged, others.diverged])
        return replace(self, network=joined.to(network.hidden_weight.device), curves=curves, diverged=diverged)


@dataclass(frozen=True)
class MemberFit:
    """Everything that a fit needs beside the choices."""

    members: Members
    task: str
    train: Part
    validation: Part | None
    settings: TrainingSettings
    device: str
    watch: Watch

    def run(self, choices: Choices) -> Fitted:
        """Train some members with the choices, and the others with those of the lowest validation loss.

        Encoding and weight decay are decided first, with the middle one of several strengths, then the strength: nearly
        always what all combinations would decide, in half the time. Without validation rows there is nothing to choose
        by: the first of each is taken, and all epochs are run.
        """
        n_members = len(self.members.seeds)
        if self.validation is None or not choices.open:
            return self.stack(slice(n_members), choices.first, self.watch.over(1.0))
        deciding, (strengths, others) = slice(min(n_members, DECIDING_MEMBERS)), choices.in_turn()
        # All trainings take about as long.
        n_trainings = len(choices.encodings) + bool(others) + (deciding.stop < n_members)
        shares = iter((np.arange(n_trainings) + 1) / n_trainings)
        best = self._best(deciding, replace(choices, alphas=strengths), shares)
        chosen = Choices([best.network.encoding], [best.alpha], [best.weight_decay])
        if others and not self.watch.stopped:
            with contextlib.suppress(TrainingError):
                found = self.stack(deciding, replace(chosen, alphas=others), self.watch.over(next(shares)))
                best = best.beside(found)
        if deciding.stop == n_members:
            return best
        rest = self.stack(slice(deciding.stop, None), replace(chosen, alphas=[best.alpha]), self.watch.over(1.0))
        return best.joined(rest)

    def _best(self, which: slice, choices: Choices, shares: Iterator[float]) -> Fitted:
        """The best of one stack for each encoding; it is no error when one of them never has a finite loss."""
        found: list[Fitted] = []
        failures: list[TrainingError] = []
        for encoding in choices.encodings:
            try:
                found.append(self.stack(which, replace(choices, encodings=[encoding]), self.watch.over(next(shares))))
            except TrainingError as error:
                failures.append(error)
            if self.watch.stopped:
                break
        if not found:
            raise failures[-1]
        return min(found, key=lambda fitted: fitted.loss)

    def stack(self, which: slice, choices: Choices, on_epoch: Callable[[StackedTraining], bool]) -> Fitted:
        """Train members × weight decays × α with one encoding as one stack, and keep the best of each member."""
        (encoding,) = choices.encodings
        pairs = list(itertools.product(choices.weight_decays, choices.alphas))
        members, train = self.members, self.train.of(which)
        seeds = members.seeds[which]
        dtype = torch.float64 if train.x.dtype == np.float64 else torch.float32
        network = StackedMixture(
            seeds,
            len(pairs),
            train.x.shape[1],
            members.n_outputs,
            n_experts=members.n_experts,
            hidden=members.hidden,
            top_k=members.top_k,
            encoding=encoding,
            scaled=members.scaled,
            dtype=dtype,
        ).to(self.device)
        settings = replace(self.settings, weight_decay=tuple(decay for decay, _ in pairs))
        training = StackedTraining(
            network,
            torch.tensor([alpha for _, alpha in pairs], dtype=dtype, device=self.device).repeat(len(seeds), 1),
            train.rows(len(seeds), self.device),
            None if self.validation is None else self.validation.of(which).rows(len(seeds), self.device),
            self.task,
            seeds,
            settings if self.validation is not None else replace(settings, patience=settings.epochs),
            alternatives=self.validation is not None,
        )
        training.run(on_epoch)
        losses = training.best_loss.mean(0)
        best = int(losses.argmin())
        decay, alpha = pairs[best]
        by_alpha = {
            a: loss for (d, a), loss in zip(pairs, losses.tolist(), strict=True) if d == decay and math.isfinite(loss)
        }
        return Fitted(
            network.select(members=slice(best, best + 1)).merged(),
            alpha,
            decay,
            float(losses[best]),
            None if self.validation is None else by_alpha,
            _finite_curves({name: torch.stack(values)[..., best] for name, values in training.history.items()}),
            training.diverged[:, best].cpu().numpy(),
        )


def _finite_curves(curves: dict[str, Tensor]) -> dict[str, Floats]:
    """Curves ``(epochs, members)`` with NaN for what is not finite, up to the last epoch in which all have values."""
    found = {name: curve.cpu().numpy() for name, curve in curves.items()}
    last = min(int(np.isfinite(curve).any(1).nonzero()[0].max(initial=0)) for curve in found.values())
    return {name: np.where(np.isfinite(curve), curve, np.nan)[: last + 1] for name, curve in found.items()}


def _side_by_side(*curves: Floats) -> Floats:
    """Curves ``(epochs, members)`` of different length as one array, with NaN past their ends."""
    longest = max(map(len, curves))
    return np.concatenate(
        [np.pad(curve, ((0, longest - len(curve)), (0, 0)), constant_values=np.nan) for curve in curves], axis=1
    )
