"""Training loops of one's own: a model that several processes train on their parts of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
import torch.distributed as dist
import torch.distributed.fsdp as fsdp
from moe_oracle import Batch, Gradients, batch, count, expected, gradients, rows, split, tiny
from processes import Case
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from distilled_experts.transformers import attach

ALPHA, RATE = 0.7, 1e-2

Waiting = Callable[[], AbstractContextManager[None]]


def train(case: str) -> Gradients:
    """Gradients after two micro-batches of this process."""
    whole, world = batch("prompt"), dist.get_world_size()
    model = attach(tiny(), ALPHA, distance="mse")
    if case in ("reentrant", "sharded and checkpointed"):
        model.activation_checkpointing_enable({"use_reentrant": case == "reentrant"})
    parallel, waiting = sharded(model) if "sharded" in case else replicated(model)
    size = len(whole["labels"]) // world
    begin = dist.get_rank() * size
    for i, part in enumerate(split(rows(whole, begin, begin + size), 2)):
        with nullcontext() if i else waiting():
            if case == "own count":
                (parallel(**part).loss / 2).backward()
            else:
                # The processes' gradients are averaged: the Trainer multiplies by their number as well.
                loss = parallel(**part, num_items_in_batch=count(whole), use_cache=False).loss
                (world * loss).backward()
    return {
        name: gradient.full_tensor() if "sharded" in case else gradient for name, gradient in gradients(model).items()
    }


def replicated(model: nn.Module) -> tuple[nn.Module, Waiting]:
    """All weights in each process, and a context in which gradients are not exchanged."""
    parallel = DistributedDataParallel(model)
    return parallel, parallel.no_sync


def sharded(model: nn.Module) -> tuple[nn.Module, Waiting]:
    """Part of the weights in each process."""
    for layer in model.model.layers:
        fsdp.fully_shard(layer)
    fsdp.fully_shard(model)

    @contextmanager
    def waiting() -> Iterator[None]:
        model.set_requires_gradient_sync(False)
        yield
        model.set_requires_gradient_sync(True)

    return model, waiting


def alone(case: str, world: int) -> list[Gradients]:
    """Those of one process, from the same micro-batches."""
    whole = batch("prompt")
    size = len(whole["labels"]) // world
    parts = [part for i in range(world) for part in split(rows(whole, i * size, (i + 1) * size), 2)]
    divisors = [len(parts) * count(part) for part in parts] if case == "own count" else [count(whole)] * len(parts)
    return [expected(tiny(), parts, divisors, alpha=ALPHA)] * world


def train_in_parts() -> Gradients:
    """Weights after three steps of AdamW whose state is in parts, one in each process: ZeRO, stage 1."""
    # Its module warns of itself when it is imported.
    from torch.distributed.optim import ZeroRedundancyOptimizer

    whole, world = batch("prompt"), dist.get_world_size()
    size = len(whole["labels"]) // world
    own = rows(whole, dist.get_rank() * size, (dist.get_rank() + 1) * size)
    parallel = DistributedDataParallel(attach(tiny(), ALPHA, distance="mse"))
    optimizer = ZeroRedundancyOptimizer(parallel.parameters(), torch.optim.AdamW, lr=RATE)
    return stepped(parallel, optimizer, own, count(whole), world)


def alone_in_parts(world: int) -> list[Gradients]:
    """Those after three steps of one process."""
    model, whole = attach(tiny(), ALPHA, distance="mse"), batch("prompt")
    return [stepped(model, torch.optim.AdamW(model.parameters(), lr=RATE), whole, count(whole), 1)] * world


def stepped(
    model: nn.Module, optimizer: torch.optim.Optimizer, part: Batch, n_labels: int, n_processes: int
) -> Gradients:
    """Weights after three steps."""
    for _ in range(3):
        optimizer.zero_grad()
        (n_processes * model(**part, num_items_in_batch=n_labels, use_cache=False).loss).backward()
        optimizer.step()
    return {name.removeprefix("module."): weight.detach().clone() for name, weight in model.named_parameters()}


CASES = {
    **{
        name: Case(partial(train, name), partial(alone, name), worlds=(2,))
        for name in ("global count", "own count", "reentrant", "sharded", "sharded and checkpointed")
    },
    "sharded optimizer": Case(train_in_parts, alone_in_parts),
}
