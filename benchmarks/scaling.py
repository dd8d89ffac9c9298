"""What mutual distillation costs in traffic and memory when experts are spread over processes.

    python benchmarks/scaling.py [--write]

First measured in four processes on this machine: bytes that the layer and a model of Transformers send, with and
without distillation, and bytes that they keep for the way back. Then simulated for 64 experts in each of 32 layers on
256 GPUs: routing is drawn at random, and every row that leaves a GPU or its node is counted, beside what formulas
expect. The text is docs/scaling.md.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import MixtralConfig, MixtralForCausalLM
from transformers.distributed import DistributedConfig

from distilled_experts.experiments.records import environment
from distilled_experts.functional import combine
from distilled_experts.layers import Experts, MixtureOfExperts, ParallelExperts
from distilled_experts.transformers import attach
from distilled_experts.transformers.random_state import seeded

RECORD = Path(__file__).parent / "results" / "scaling.json"
PROCESSES, EXPERTS, TOP_K, WIDTH, TOKENS = 4, 8, 2, 16, 96


@dataclass(frozen=True)
class Cluster:
    """A model on GPUs: experts of each layer over `group` of them, `node` of which share a fast connection."""

    experts: int = 64
    layers: int = 32
    gpus: int = 256
    group: int = 64
    node: int = 8
    width: int = 4096
    tokens: int = 8192  # of a GPU, in a step
    number: int = 2  # bytes

    @property
    def row(self) -> int:
        """Bytes of a token."""
        return self.width * self.number


class Traffic(TorchDispatchMode):
    """Bytes that this process sends to others by all-to-all and all-reduce (as a ring sends them)."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        name, world, rank = func._schema.name, dist.get_world_size(), dist.get_rank()
        if name in ("c10d::alltoall_base_", "_c10d_functional::all_to_all_single"):
            values, sizes = (args[1], args[4]) if name.startswith("c10d") else (args[0], args[2])
            own = sizes[rank] if sizes else len(values) // world
            self.bytes += (len(values) - own) * math.prod(values.shape[1:]) * values.element_size()
        elif name in ("c10d::allreduce_", "_c10d_functional::all_reduce", "_c10d_functional::all_reduce_"):
            for values in args[0] if isinstance(args[0], list) else [args[0]]:
                self.bytes += 2 * (world - 1) * values.numel() * values.element_size() // world
        return func(*args, **(kwargs or {}))


def sent_by_layer(distillation: bool) -> int:
    """Bytes of a step of our layer in this process."""
    generator = torch.Generator().manual_seed(0)
    options = {"hidden": WIDTH, "activation": "relu"}
    layer = MixtureOfExperts(
        WIDTH, WIDTH, n_experts=EXPERTS, top_k=TOP_K, distillation=distillation, generator=generator, **options
    )
    layer.experts = ParallelExperts(Experts(WIDTH, WIDTH, n_experts=EXPERTS // PROCESSES, **options))
    x = torch.randn(TOKENS, WIDTH, generator=torch.Generator().manual_seed(dist.get_rank())).requires_grad_()
    with Traffic() as traffic:
        out = layer(x)
        loss = out.output.square().sum()
        (loss if out.distillation_loss is None else loss + out.distillation_loss).backward()
    return traffic.bytes


def sent_by_model(way: str, alpha: float | None) -> int:
    """Bytes of a step of a model with one layer in this process, those of its attention included."""
    config = MixtralConfig(
        vocab_size=32, hidden_size=WIDTH, intermediate_size=WIDTH, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=4, num_local_experts=EXPERTS, num_experts_per_tok=TOP_K,
    )  # fmt: skip
    own = way == "all_to_all"
    sizes = {"fsdp_size": PROCESSES} if own else {"tp_size": PROCESSES}
    plan = DistributedConfig(**sizes, ep_size=PROCESSES, ep_implementation=way)
    with seeded(0):
        model: Any = MixtralForCausalLM(config).train()
    model.set_experts_implementation("eager")
    resolved, _, meshes = model.prepare_distribute_model(plan)
    model = model.maybe_distribute_model(model, resolved, meshes)
    if alpha is not None:
        attach(model, alpha)
    tokens = torch.randint(32, (4, TOKENS // 4), generator=torch.Generator().manual_seed(dist.get_rank() if own else 0))
    with Traffic() as traffic:
        model(tokens, labels=tokens, use_cache=False).loss.backward()
    return traffic.bytes


def measure(rank: int, folder: str) -> None:
    """In one of the processes; the first writes the sums over all."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=PROCESSES)
    found = {
        "layer": [sent_by_layer(distillation) for distillation in (False, True)],
        "attach, all_to_all": [sent_by_model("all_to_all", alpha) for alpha in (None, 0.1)],
        "attach, all_reduce": [sent_by_model("all_reduce", alpha) for alpha in (None, 0.1)],
    }
    every = [None] * PROCESSES
    dist.all_gather_object(every, found)
    if rank == 0:
        sums = {name: np.sum([one[name] for one in every], axis=0).tolist() for name in found}
        (Path(folder) / "sums.json").write_text(json.dumps(sums))
    dist.destroy_process_group()


def measured_traffic() -> dict[str, dict[str, float]]:
    """Bytes of all processes in a step, without and with distillation."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(measure, (folder,), nprocs=PROCESSES)
        sums = json.loads((Path(folder) / "sums.json").read_text())
    return {name: {"without": plain, "with": distilled} for name, (plain, distilled) in sums.items()}


def kept_bytes(run: Callable[[], Any], *given: Tensor) -> int:
    """Bytes that a computation keeps for its way back, beside what it was given."""
    kept: dict[int, int] = {}

    def keep(values: Tensor) -> Tensor:
        storage = values.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return values

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda values: values):
        outputs = run()
    known = {values.untyped_storage().data_ptr() for values in given}
    del outputs
    return sum(size for place, size in kept.items() if place not in known)


def measured_memory() -> dict[str, dict[str, float]]:
    """Bytes kept for each token and unit of width, without and with distillation."""
    found = {}
    for dtype in (torch.bfloat16, torch.float32):
        said = torch.randn(512, TOP_K, 64, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
        weights = torch.full((512, TOP_K), 1 / TOP_K, dtype=dtype, requires_grad=True)
        sizes = [
            kept_bytes(lambda said=said, w=weights, d=d: combine(said, w, distillation=d), weights)
            for d in (False, True)
        ]
        found[str(dtype).removeprefix("torch.")] = dict(
            zip(("without", "with"), (size / (512 * 64) for size in sizes), strict=True)
        )
    return found


def expected_places(total: int, n_places: int, top_k: int) -> float:
    """Places among which k distinct experts lie, where each place has as many experts."""
    each = total // n_places
    return n_places * (1 - math.comb(total - each, top_k) / math.comb(total, top_k))


def simulated_rows(c: Cluster, top_k: int) -> dict[str, float]:
    """Rows per token that leave its GPU, its node one by one, and its node once for each other node."""
    random, tokens = np.random.default_rng(0), 512
    n_nodes, on_node = c.group // c.node, c.experts // (c.group // c.node)
    rows = {"gpu": 0, "node": 0, "other nodes": 0}
    for gpu in range(c.group):
        chosen = random.random((tokens, c.experts)).argpartition(top_k, axis=1)[:, :top_k]
        home = chosen * c.group // c.experts
        nodes = chosen // on_node
        rows["gpu"] += int((home != gpu).sum())
        rows["node"] += int((nodes != gpu // c.node).sum())
        visited = np.zeros((tokens, n_nodes), bool)
        np.put_along_axis(visited, nodes, True, axis=1)
        visited[:, gpu // c.node] = False
        rows["other nodes"] += int(visited.sum())
    return {name: count / (tokens * c.group) for name, count in rows.items()}


def expected_rows(c: Cluster, top_k: int) -> dict[str, float]:
    """The same by formula."""
    n_nodes = c.group // c.node
    return {
        "gpu": top_k * (1 - 1 / c.group),
        "node": top_k * (1 - 1 / n_nodes),
        "other nodes": expected_places(c.experts, n_nodes, top_k) * (1 - 1 / n_nodes),
    }


def step_traffic(c: Cluster, rows: dict[str, float]) -> dict[str, float]:
    """Bytes that a GPU sends in one layer of a step: there, back, and both once more for the gradients."""
    unit, each, places = c.tokens * c.row, rows["node"], rows["other nodes"]
    return {
        "unreduced, leaves the GPU, plain": 4 * rows["gpu"] * unit,
        "unreduced, leaves the GPU, distilled": 4 * rows["gpu"] * unit,
        "unreduced, leaves the node, plain": 4 * each * unit,
        "unreduced, leaves the node, distilled": 4 * each * unit,
        "summed by node, leaves the node, plain": 4 * places * unit,
        # Every output comes back by itself, and so does its gradient.
        "summed by node, leaves the node, distilled, each": (2 * places + 2 * each) * unit,
        # Two sums come back, of the weighted and of the bare outputs; the gradient and the mean go there again.
        "summed by node, leaves the node, distilled, two sums": 6 * places * unit,
    }


def simulated(top_k: int) -> dict[str, Any]:
    """All of it for one number of active experts."""
    c = Cluster()
    drawn, formula = simulated_rows(c, top_k), expected_rows(c, top_k)
    traffic = {
        kind: {name: value / 2**30 for name, value in step_traffic(c, rows).items()}
        for kind, rows in (("simulated", drawn), ("expected", formula))
    }
    return {
        "rows": {"simulated": drawn, "expected": formula},
        "gib_a_layer": traffic,
        # The mean of the experts, in single precision, is what distillation keeps beside the outputs.
        "kept_gib_a_layer": {
            "outputs": c.tokens * top_k * c.row / 2**30,
            "distillation": c.tokens * c.width * 4 / 2**30,
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"write the record to {RECORD}")
    arguments = parser.parse_args()
    record = {
        "measured": {"processes": PROCESSES, "traffic": measured_traffic(), "kept": measured_memory()},
        "cluster": vars(Cluster()),
        "simulated": {str(top_k): simulated(top_k) for top_k in (2, 8)},
    }
    print(json.dumps(record, indent=1))
    if arguments.write:
        RECORD.write_text(json.dumps(record | {"environment": environment()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
