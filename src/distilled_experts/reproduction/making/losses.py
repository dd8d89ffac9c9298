"""Mixtures trained with other losses: all losses, strengths and seeds of a table as one stack.

Shape suffixes as in `tabular.network`: S groups, one a seed · A members · B rows · E experts · C outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from distilled_experts.experiments.compare import resolve
from distilled_experts.experiments.data import Table
from distilled_experts.experiments.preparation import Group, Stack, prepare
from distilled_experts.experiments.stacks import new_mixture
from distilled_experts.functional import gate_variance, importance, load_balance, mutual_distillation, orthogonality
from distilled_experts.probing import expert_similarity, probe_outputs, sample_right
from distilled_experts.tabular.experts import network_outputs
from distilled_experts.tabular.network import StackedMixture, StackedOutput
from distilled_experts.tabular.training import StackedTraining

__all__ = ["loss_variants", "opposites"]

Loss = Callable[[StackedOutput], Tensor]
"""From the outputs of some members to a loss of each, (S, members)."""

_STRENGTHS = (0.01, 0.1, 1.0)
# Of the mixture that is distilled beside an opposite loss.
_COMBINED_ALPHA = 0.1
_MODE, _MOE = "MoDE", "MoE"


class Member(NamedTuple):
    """One model of every seed: the arm that may choose it, α, and another loss with its strength."""

    arm: str
    alpha: float = 0.0
    strength: float = 0.0
    loss: Loss | None = None


def loss_variants(table: Table, *, gate: str = "dense", seeds: int = 5, epochs: int | None = None) -> dict[str, Any]:
    """Train a mixture with every variant of mutual distillation, for classes.

    Parameters
    ----------
    table : Table
    gate : {"dense", "sparse"}
    seeds : int
    epochs : int, optional
        At most; default: that of `mode compare`.

    Returns
    -------
    dict
        ``data``, ``gate``, ``metric``, ``seeds`` and ``arms``: by name ``scores``, ``own_domain``, ``cka`` and the
        chosen ``strength``, each a list over the seeds.
    """
    members = [Member(_MOE), *_mode_members()]
    for name, loss in _variants(gate).items():
        members += [Member(name, strength=strength, loss=loss) for strength in _STRENGTHS]
    return _study(table, members, {}, gate, seeds, epochs)


def opposites(table: Table, *, gate: str = "dense", seeds: int = 5, epochs: int | None = None) -> dict[str, Any]:
    """Train with losses that drive experts apart or balance them, alone and beside distillation.

    Parameters and result as in `loss_variants`. α below zero exists here alone: distillation with its sign reversed.
    """
    members = [Member(_MOE), *_mode_members(), *(Member("negative α", -strength / 10) for strength in _STRENGTHS)]
    combined = {}
    for name, loss in _opposites(gate).items():
        both = f"{_MODE} + {name}"
        combined[both] = _MODE
        for strength in _STRENGTHS:
            members.append(Member(name, 0.0, strength, loss))
            members.append(Member(both, _COMBINED_ALPHA, strength, loss))
    return _study(table, sorted(members, key=_place_of(members)), combined, gate, seeds, epochs)


def _place_of(members: Sequence[Member]) -> Callable[[Member], int]:
    """Arms in the order in which they are named first, so that members with one loss stand together."""
    places = {name: place for place, name in enumerate(dict.fromkeys(member.arm for member in members))}
    return lambda member: places[member.arm]


def _mode_members() -> list[Member]:
    return [Member(_MODE, alpha) for alpha in _STRENGTHS]


def _distilled(out: StackedOutput, scope: str = "active", **options: Any) -> Tensor:
    mask = out.active if scope == "active" else None
    return mutual_distillation(out.experts, out.weights, None, mask, **options)


def _variants(gate: str) -> dict[str, Loss]:
    """Every variant but the default, which is trained as MoDE."""
    options: dict[str, dict[str, Any]] = {
        "relative": {"distance": "relative"},
        "KL": {"distance": "kl"},
        "KL, detached": {"distance": "kl", "detach_teacher": True},
        "cosine": {"distance": "cosine"},
        "gate teacher": {"teacher": "gate"},
        "gate teacher, detached": {"teacher": "gate", "detach_teacher": True},
        "gate weighting": {"weighting": "gate"},
        "peers": {"teacher": "peers"},
        "leave one out": {"teacher": "leave_one_out"},
    }
    if gate == "sparse":
        options["all experts"] = {"scope": "all"}
    return {name: partial(_distilled, **chosen) for name, chosen in options.items()}


def _load_balance(out: StackedOutput) -> Tensor:
    assert out.active is not None
    return load_balance(out.weights, out.active)


def _opposites(gate: str) -> dict[str, Loss]:
    """Every loss with the opposite aim; where all experts are active, the load is the same whatever the gate does."""
    losses: dict[str, Loss] = {
        "orthogonality": lambda out: orthogonality(out.experts, out.active),
        "gate variance": lambda out: gate_variance(out.weights),
        "importance": lambda out: importance(out.weights),
    }
    return losses | ({"load balance": _load_balance} if gate == "sparse" else {})


def _study(
    table: Table,
    members: Sequence[Member],
    inherited: Mapping[str, str],
    gate: str,
    seeds: int,
    epochs: int | None,
) -> dict[str, Any]:
    """Train all members; every arm chooses per seed by validation loss, plain MoE and inherited members among them."""
    specification = resolve(table, gate=gate, seeds=seeds, alpha=0.0, epochs=epochs)
    stack = prepare(table, specification, range(seeds))
    network = new_mixture(stack, specification, len(members))
    train, validation = (stack.rows(part, specification.device) for part in ("train", "validation"))
    alpha = torch.tensor([member.alpha for member in members]).repeat(seeds, 1)
    training = StackedTraining(
        *(network, alpha, train, validation, specification.task, stack.seeds, specification.training),
        extra_loss=partial(_extra_loss, members=members),
    )
    training.run()
    measured = [_measured(network, stack, place, specification.device) for place in range(seeds)]
    arms = {
        name: _arm(name, members, inherited, training.best_loss, measured)
        for name in dict.fromkeys(member.arm for member in members)
    }
    return {"data": table.name, "gate": gate, "metric": specification.metric, "seeds": seeds, "arms": arms}


def _extra_loss(out: StackedOutput, members: Sequence[Member]) -> Tensor:
    """The other loss of every member times its strength, (S, A)."""
    parts, start = [], 0
    for loss, group in groupby(members, key=lambda member: member.loss):
        strengths = out.experts.new_tensor([member.strength for member in group])
        stop = start + len(strengths)
        if loss is None:
            parts.append(strengths.expand(len(out.experts), -1))
        else:
            parts.append(strengths * loss(_members_of(out, slice(start, stop))))
        start = stop
    return torch.cat(parts, 1)


def _members_of(out: StackedOutput, chosen: slice) -> StackedOutput:
    active = None if out.active is None else out.active[:, chosen]
    return StackedOutput(out.experts[:, chosen], out.weights[:, chosen], active)


def _measured(network: StackedMixture, stack: Stack, place: int, device: str) -> dict[str, Any]:
    """Score, own-domain score and similarity of all members on one seed's test rows, each (A,)."""
    group: Group = stack.groups[place]
    y = group.y["test"]
    outputs = network_outputs(network.select(slice(place, place + 1)), stack.padded(place, "test"), device).model(0)
    return {
        "scores": sample_right(outputs.experts, outputs.mixture, y, "classification")[1].mean(-1),
        "own_domain": probe_outputs(outputs, y, "classification")["own_domain"],
        "cka": expert_similarity(outputs.experts, "classification").mean_cka,
    }


def _arm(
    name: str,
    members: Sequence[Member],
    inherited: Mapping[str, str],
    losses: Tensor,
    measured: Sequence[Mapping[str, Any]],
) -> dict[str, list[float]]:
    arms = {name, _MOE, inherited.get(name, name)} if name != _MOE else {_MOE}
    places = [place for place, member in enumerate(members) if member.arm in arms]
    chosen = [places[int(np.argmin(row))] for row in losses[:, places].cpu().numpy()]
    found = {key: [float(of_seed[key][a]) for of_seed, a in zip(measured, chosen, strict=True)] for key in measured[0]}
    return {**found, "strength": list(_chosen_strengths(members, chosen))}


def _chosen_strengths(members: Sequence[Member], chosen: Sequence[int]) -> Iterator[float]:
    """Strength of the other loss, or α where there is none."""
    for place in chosen:
        member = members[place]
        yield member.strength if member.loss is not None else member.alpha
