"""One of two processes that train one model on halves of a batch: ``two_processes.py RANK FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from moe_oracle import Gradients, batch, count, gradients, kept_double, rows, split, tiny
from torch.nn.parallel import DistributedDataParallel

from distilled_experts.transformers import attach

CASES = ("global count", "own count", "reentrant")
WORLD = 2


def train(rank: int, case: str) -> Gradients:
    """Gradients after two micro-batches of this process."""
    whole = batch("prompt")
    model = attach(tiny(), 0.7, distance="mse")
    if case == "reentrant":
        model.activation_checkpointing_enable({"use_reentrant": True})
    parallel = DistributedDataParallel(model)
    for i, part in enumerate(split(rows(whole, rank * 4, rank * 4 + 4), 2)):
        with torch.enable_grad() if i else parallel.no_sync():
            if case == "own count":
                (parallel(**part).loss / 2).backward()
            else:
                # The processes' gradients are averaged: the Trainer multiplies by their number as well.
                loss = parallel(**part, num_items_in_batch=count(whole), use_cache=False).loss
                (WORLD * loss).backward()
    return gradients(model)


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
