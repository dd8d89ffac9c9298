"""Does mutual distillation help a language model? A small Mixtral on two corpora, with and without.

    python benchmarks/language.py run --data-dir DIR     # resumable; a record a cell in benchmarks/results/language
    python benchmarks/language.py table                  # the tables from the committed records

8 experts, top-2, 4 layers, 3.4 million parameters. MoE is α = 0. MoDE distils in the first layer, as CoEKS does, on
both corpora, and in all layers on one of them. All arms of a seed have the same initial values, batches and steps.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
import transformers
from language_probing import probe, token_losses
from language_training import CORPORA, STEPS, train

RESULTS = Path(__file__).parent / "results" / "language"
ALPHAS, SEEDS = (0.003, 0.01, 0.03, 0.1), range(3)
LAYERS = {"shakespeare": ("first", "all"), "multi30k": ("first",)}
# Held-out windows that are probed, and windows of the training for narrow vision.
PROBED_WINDOWS, VISION_WINDOWS = 64, 32
MEASURES = (
    ("own_domain_perplexity", ".2f"),
    ("others_domain_perplexity", ".2f"),
    ("load_entropy", ".3f"),
    ("cka", ".3f"),
    ("agreement", ".3f"),
    ("narrow_vision", ".3f"),
)


class Cell(NamedTuple):
    """One run."""

    corpus: str
    layers: str
    alpha: float
    seed: int

    @property
    def record(self) -> Path:
        return RESULTS / f"{self.corpus}-{self.layers}-{self.alpha:g}-{self.seed}.json"


def grid() -> Iterator[Cell]:
    """All cells, one seed after the other, so that an unfinished grid holds whole comparisons."""
    for seed in SEEDS:
        for corpus, choices in LAYERS.items():
            yield Cell(corpus, "none", 0.0, seed)
            yield from (Cell(corpus, layers, alpha, seed) for layers in choices for alpha in ALPHAS)


def run_cell(cell: Cell, data_dir: Path, steps: int, device: str) -> dict[str, object]:
    """Train and probe one model."""
    corpus = CORPORA[cell.corpus](data_dir)
    start = time.perf_counter()
    model = train(corpus, layers=cell.layers, alpha=cell.alpha, seed=cell.seed, steps=steps, device=device)
    trained = time.perf_counter()
    return {
        **cell._asdict(),
        "steps": steps,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "validation_loss": token_losses(model, corpus.validation).double().mean().item(),
        "mixtures": probe(model, corpus.validation[:PROBED_WINDOWS], corpus.train[:VISION_WINDOWS]),
        "seconds": {"training": trained - start, "probing": time.perf_counter() - trained},
        "environment": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "device": device,
            "threads": torch.get_num_threads(),
        },
    }


def run(data_dir: Path, steps: int, device: str, seeds: list[int]) -> None:
    """Run the cells of these seeds that have no record yet."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    for cell in grid():
        if cell.seed not in seeds or cell.record.exists():
            continue
        record = run_cell(cell, data_dir, steps, device)
        unfinished = cell.record.with_suffix(".part")
        unfinished.write_text(json.dumps(record, indent=1), encoding="utf-8")
        unfinished.replace(cell.record)
        print(f"{cell.record.stem}: {record['validation_loss']:.4f}, {record['seconds']['training']:.0f} s", flush=True)


def table(corpus: str, records: list[dict]) -> str:
    """One row for each arm: means over the seeds, the loss also as differences from MoE under the same seed."""
    moe = {record["seed"]: record for record in records if record["alpha"] == 0}
    lines = [
        f"{corpus}, means of {len(moe)} seeds; behind the loss: the first mixture / the mean of all four",
        "",
        "| arm | α | validation loss | − MoE, by seed | own-domain perplexity | on others' | load, entropy | CKA "
        "| agreement | narrow vision |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for layers, alpha in sorted({(r["layers"], r["alpha"]) for r in records}, key=lambda arm: (arm[0] != "none", arm)):
        arm = [r for r in records if (r["layers"], r["alpha"]) == (layers, alpha) and r["seed"] in moe]
        if arm:
            lines.append("| " + " | ".join(row(layers, alpha, arm, moe)) + " |")
    return "\n".join(lines)


def row(layers: str, alpha: float, arm: list[dict], moe: dict[int, dict]) -> list[str]:
    differences = [r["validation_loss"] - moe[r["seed"]]["validation_loss"] for r in arm]
    loss = statistics.fmean(r["validation_loss"] for r in arm)
    name = "MoE" if alpha == 0 else f"MoDE, {layers}"
    by_seed = "" if alpha == 0 else ", ".join(f"{difference:+.4f}" for difference in differences)
    return [name, f"{alpha:g}", f"{loss:.4f}", by_seed, *(first_and_mean(arm, *measure) for measure in MEASURES)]


def first_and_mean(arm: list[dict], key: str, form: str) -> str:
    """A figure of the first mixture and, behind a slash, its mean over all, both as means over seeds."""
    first = statistics.fmean(r["mixtures"][0][key] for r in arm)
    mean = statistics.fmean(mixture[key] for r in arm for mixture in r["mixtures"])
    return f"{first:{form}} / {mean:{form}}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--data-dir", type=Path, default=os.environ.get("DISTILLED_EXPERTS_DATA"))
    running.add_argument("--steps", type=int, default=STEPS)
    running.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    running.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="such as 0 1; all by default")
    commands.add_parser("table")
    arguments = parser.parse_args()
    if arguments.command == "run":
        if arguments.data_dir is None:
            running.error("--data-dir: a folder with text/ is needed")
        run(Path(arguments.data_dir), arguments.steps, arguments.device, arguments.seeds)
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    for corpus in LAYERS:
        print(table(corpus, [record for record in records if record["corpus"] == corpus]), end="\n\n")


if __name__ == "__main__":
    main()
