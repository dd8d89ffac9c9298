"""One of two processes that train one model on halves of a batch: ``two_processes.py RANK FOLDER``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.fsdp as fsdp
from moe_oracle import Gradients, batch, count, gradients, kept_double, rows, split, tiny
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from distilled_experts.transformers import attach

CASES = ("global count", "own count", "reentrant", "sharded", "sharded and checkpointed")
WORLD = 2

Waiting = Callable[[], AbstractContextManager[None]]


def train(rank: int, case: str) -> Gradients:
    """Gradients after two micro-batches of this process."""
    whole = batch("prompt")
    model = attach(tiny(), 0.7, distance="mse")
    if case in ("reentrant", "sharded and checkpointed"):
        model.activation_checkpointing_enable({"use_reentrant": case == "reentrant"})
    parallel, waiting = sharded(model) if "sharded" in case else replicated(model)
    for i, part in enumerate(split(rows(whole, rank * 4, rank * 4 + 4), 2)):
        with nullcontext() if i else waiting():
            if case == "own count":
                (parallel(**part).loss / 2).backward()
            else:
                # The processes' gradients are averaged: the Trainer multiplies by their number as well.
                loss = parallel(**part, num_items_in_batch=count(whole), use_cache=False).loss
                (WORLD * loss).backward()
    return {
        name: gradient.full_tensor() if "sharded" in case else gradient for name, gradient in gradients(model).items()
    }


def replicated(model: nn.Module) -> tuple[nn.Module, Waiting]:
    """All weights in each process, and a context in which gradients are not exchanged."""
    parallel = DistributedDataParallel(model)
    return parallel, parallel.no_sync


def sharded(model: nn.Module) -> tuple[nn.Module, Waiting]:
    """Half of the weights in each process."""
    for layer in model.model.layers:
        fsdp.fully_shard(layer)
    fsdp.fully_shard(model)

    @contextmanager
    def waiting() -> Iterator[None]:
        model.set_requires_gradient_sync(False)
        yield
        model.set_requires_gradient_sync(True)

    return model, waiting


def main(rank: int, folder: Path) -> None:
    """Write the gradients of all cases."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD)
    for case in CASES:
        torch.save(train(rank, case), folder / f"{case} {rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    with kept_double():
        main(int(sys.argv[1]), Path(sys.argv[2]))
