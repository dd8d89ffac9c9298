"""Experts on different processes: our own layer, and models of Transformers under its plan for expert parallelism."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from moe_oracle import Gradients, batch, count, expected, gradients, rows, tiny
from processes import Case
from torch import Tensor
from transformers.distributed import DistributedConfig

from distilled_experts.layers import Experts, MixtureOfExperts, MoEOutput, ParallelExperts
from distilled_experts.transformers import attach

ALPHA = 0.7
D_IN, D_OUT, HIDDEN, E = 6, 5, 7, 8
# One process has no samples, another one has a single one, of which most experts get nothing.
N_SAMPLES = (5, 0, 1, 8)
LAYERS: dict[str, dict[str, Any]] = {
    "layer, sparse": {"top_k": 2},
    "layer, dense": {},
    "layer, all compared": {"top_k": 2, "scope": "all", "distance": "relative"},
    "layer, others compared": {"top_k": 2, "scope": "active+2", "activation": "swiglu", "distance": "cosine"},
}


def samples(rank: int) -> Tensor:
    """Those of a process."""
    generator = torch.Generator().manual_seed(1 + rank)
    return torch.randn(N_SAMPLES[rank], D_IN, generator=generator, dtype=torch.float64).requires_grad_()


def mixture(**options: Any) -> MixtureOfExperts:
    """The same layer in each process, all experts in it."""
    generator = torch.Generator().manual_seed(0)
    return MixtureOfExperts(
        D_IN, D_OUT, hidden=HIDDEN, n_experts=E, generator=generator, dtype=torch.float64, **options
    )


def spread(layer: MixtureOfExperts) -> MixtureOfExperts:
    """Leave a process its own experts."""
    all_experts = layer.experts
    assert isinstance(all_experts, Experts)
    n_own = E // dist.get_world_size()
    own = Experts(D_IN, D_OUT, hidden=HIDDEN, n_experts=n_own, activation=all_experts.activation, dtype=torch.float64)
    mine = slice(dist.get_rank() * n_own, (dist.get_rank() + 1) * n_own)
    own.load_state_dict({name: values[mine] for name, values in all_experts.state_dict().items()})
    layer.experts = ParallelExperts(own)
    return layer


def backward(out: MoEOutput) -> None:
    """From a loss that depends on all that the layer returns."""
    distillation = 0.0 if out.distillation_loss is None else ALPHA * out.distillation_loss
    (out.output.square().sum() + distillation + out.balance_loss).backward()


def results(layer: MixtureOfExperts, x: Tensor) -> Gradients:
    """What a layer says of some samples, and all gradients."""
    out = layer(x)
    backward(out)
    assert out.distillation_loss is not None
    assert x.grad is not None
    found = {"output": out.output.detach(), "loss": out.distillation_loss.detach(), "of x": x.grad}
    found |= {name.replace("experts.experts", "experts"): g for name, g in gradients(layer).items()}
    return {name: values for name, values in found.items() if values.numel()}


def run_layer(**options: Any) -> Gradients:
    """In one of the processes."""
    return results(spread(mixture(**options)), samples(dist.get_rank()))


def wanted_of_layer(world: int, **options: Any) -> list[Gradients]:
    """By one process with all experts: their gradients are those of all samples."""
    found = [results(mixture(**options), samples(rank)) for rank in range(world)]
    n_own = E // world
    for name in [name for name in found[0] if name.startswith("experts.")]:
        total = torch.stack([one[name] for one in found]).sum(0)
        for rank, one in enumerate(found):
            one[name] = total[rank * n_own : (rank + 1) * n_own]
    return found


@contextmanager
def counted() -> Iterator[list[int]]:
    """Bytes that go to other processes, call by call."""
    sizes: list[int] = []
    exchange = dist.all_to_all_single

    def counting(output: Tensor, values: Tensor, come: Any = None, sent: Any = None, group: Any = None) -> None:
        rank, world = dist.get_rank(), dist.get_world_size()
        parts = values.split(sent) if sent is not None else values.chunk(world)
        sizes.append(sum(part.numel() for i, part in enumerate(parts) if i != rank) * values.element_size())
        exchange(output, values, come, sent, group)

    with mock.patch.object(dist, "all_to_all_single", counting):
        yield sizes


def run_traffic() -> Gradients:
    """Bytes sent by one process, forward and backward, with and without distillation."""
    found = {}
    for name, distillation in (("with", True), ("without", False)):
        layer, x = spread(mixture(top_k=2, distillation=distillation)), samples(dist.get_rank())
        with counted() as sizes:
            backward(layer(x))
        found[name] = torch.tensor(sizes, dtype=torch.float64)
    return found


def wanted_traffic(world: int) -> list[Gradients]:
    """The counts, every row there, every output back, and both ways once more for the gradients."""
    layer, n_own = mixture(top_k=2), E // world
    homes = [layer.gate(samples(rank)).indices.flatten() // n_own for rank in range(world)]
    wanted = []
    for rank in range(world):
        there = int((homes[rank] != rank).sum())
        here = sum(int((home == rank).sum()) for other, home in enumerate(homes) if other != rank)
        sizes = [(world - 1) * n_own, there * D_IN, here * D_OUT, there * D_OUT, here * D_IN]
        wanted.append(dict.fromkeys(("with", "without"), 8 * torch.tensor(sizes, dtype=torch.float64)))
    return wanted


# Processes that share a batch, processes over which experts are spread (None: all), how tokens travel, and options.
MODELS: dict[str, tuple[int, int | None, str, dict[str, Any]]] = {
    "model, own batches": (1, None, "all_to_all", {}),
    "model, own batches, all compared": (1, None, "all_to_all", {"scope": "all"}),
    "model, shared batches": (2, None, "all_to_all", {}),
    "model, shared batches, summed on the way": (2, 2, "all_reduce", {}),
}


def run_model(sharing: int, spread_over: int | None, way: str, options: dict[str, Any]) -> Gradients:
    """Gradients of a language model in one of the processes; those that are in parts, whole."""
    world, whole = dist.get_world_size(), batch("prompt")
    n_batches = world // sharing
    config = DistributedConfig(
        tp_size=sharing, fsdp_size=n_batches, ep_size=spread_over or world, ep_implementation=way
    )
    size, place = len(whole["labels"]) // n_batches, dist.get_rank() // sharing
    model: Any = tiny()
    distributed, _, meshes = model.prepare_distribute_model(config)
    model = model.maybe_distribute_model(model, distributed, meshes)
    attach(model, ALPHA, layers="all", distance="mse", **options)
    part = rows(whole, place * size, (place + 1) * size)
    # Gradients are averaged over the batches.
    (n_batches * model(**part, num_items_in_batch=count(whole), use_cache=False).loss).backward()
    found = {n: g.full_tensor() if hasattr(g, "full_tensor") else g for n, g in gradients(model).items()}
    if config.efsdp_size > 1:
        return found
    # In double precision FSDP2 divides twice where nobody else has the same experts.
    return {name: gradient * n_batches if "experts" in name else gradient for name, gradient in found.items()}


def wanted_of_model(world: int, **options: Any) -> list[Gradients]:
    """By one process, every expert asked about every token."""
    whole, every = batch("prompt"), options.get("scope") == "all"
    found = expected(tiny(), [whole], [count(whole)], alpha=ALPHA, layers=range(3), every_expert=every)
    return [found] * world


CASES = {
    **{name: Case(partial(run_layer, **o), partial(wanted_of_layer, **o)) for name, o in LAYERS.items()},
    "traffic": Case(run_traffic, wanted_traffic, 1e-15),
    **{name: Case(partial(run_model, *made), partial(wanted_of_model, **made[-1])) for name, made in MODELS.items()},
}
