"""What attaching costs: time and peak memory of a training step, against the same model unattached.

    python benchmarks/attach.py [--rounds 9] [--experts 8 64] [--write]

One Mixtral layer of width 512 on 4096 tokens, top-2, float32, the computation ``grouped_mm``; a step is forward,
backward and Adam. With one layer the mixture's share of a step is as large as it can be. Arms take turns within a
round, in one process and on the same weights; what counts are the medians of the ratios within a round. Peak
memory is what the process had at most during the step (Linux), weights and Adam's moments included; on a GPU what
PyTorch allocated.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch
from memory import peak, reset_peak
from torch import Tensor
from transformers import MixtralConfig, MixtralForCausalLM

from distilled_experts.transformers import attach, detach

RECORD = Path(__file__).parent / "results" / "attach.json"
WIDTH, HIDDEN, LENGTH, ROWS, VOCABULARY, TOP_K = 512, 1024, 512, 8, 1024, 2
ARMS = ("unattached", "attached")


def make_model(n_experts: int, device: str) -> MixtralForCausalLM:
    config = MixtralConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=HIDDEN,
        num_hidden_layers=1,
        num_attention_heads=8,
        num_key_value_heads=8,
        num_local_experts=n_experts,
        num_experts_per_tok=TOP_K,
        max_position_embeddings=LENGTH,
        experts_implementation="grouped_mm",
    )
    return MixtralForCausalLM(config).to(device).train()


class Step:
    """A training step of one model, and what it costs."""

    def __init__(self, n_experts: int, device: str) -> None:
        self.device = device
        self.model = make_model(n_experts, device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-4)
        generator = torch.Generator().manual_seed(0)
        self.tokens = torch.randint(VOCABULARY, (ROWS, LENGTH), generator=generator).to(device)

    def run(self) -> Tensor:
        loss: Tensor = self.model(self.tokens, labels=self.tokens, use_cache=False).loss
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def cost(self, arm: str) -> dict[str, float]:
        """Seconds and bytes of one step."""
        if arm == "attached":
            attach(self.model, 0.01, layers="all")
        self.optimizer.zero_grad()
        reset_peak(self.device)
        start = time.perf_counter()
        loss = self.run().item()
        seconds = time.perf_counter() - start
        memory = peak(self.device)
        if arm == "attached":
            detach(self.model)
        return {"seconds": seconds, "bytes": memory, "loss": loss}


def compare(n_experts: int, rounds: int, device: str) -> dict[str, object]:
    """Medians of both arms, and of the ratios within a round."""
    step = Step(n_experts, device)
    for arm in ARMS:
        step.cost(arm)
    # Every other round begins with the other arm, so that a drift of the machine's speed falls on both.
    measured = [{arm: step.cost(arm) for arm in (ARMS if i % 2 else ARMS[::-1])} for i in range(rounds)]
    result: dict[str, object] = {"experts": n_experts, "rounds": rounds}
    for figure in ("seconds", "bytes"):
        for arm in ARMS:
            result[f"{figure}_{arm}"] = statistics.median(one[arm][figure] for one in measured)
        ratios = sorted(one["attached"][figure] / one["unattached"][figure] for one in measured)
        result[f"{figure}_ratio"] = statistics.median(ratios)
        result[f"{figure}_ratio_quartiles"] = [ratios[rounds // 4], ratios[-1 - rounds // 4]]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--experts", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--write", action="store_true", help=f"write {RECORD.name}")
    arguments = parser.parse_args()
    record = {
        "comparisons": [compare(n_experts, arguments.rounds, arguments.device) for n_experts in arguments.experts],
        "environment": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "device": arguments.device,
            "threads": torch.get_num_threads(),
        },
    }
    print(json.dumps(record, indent=1))
    if arguments.write:
        RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
