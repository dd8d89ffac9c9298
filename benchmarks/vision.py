"""Does mutual distillation help image classifiers? MNIST, Fashion-MNIST and CIFAR-10, three seeds each.

    python benchmarks/vision.py run --data-dir DIR --jobs 2   # resumable; records go to benchmarks/results/vision
    python benchmarks/vision.py table                         # the table from the committed records

Every record is that of `mode compare NAME --task vision` with its defaults, but for the values of α. A sparse gate on
every set, the dense gate on one of them. DIR holds mnist_*.npz, fashion_mnist_*.npz and cifar10_*.npz.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

# Images that are used: as many as leave 10,000, 10,000 and 8,000 beside the test, a fifth of which validates.
IMAGES = {"mnist": 11_667, "fashion-mnist": 12_000, "cifar10": 10_000}
ARMS = [*((name, "sparse") for name in IMAGES), ("fashion-mnist", "dense")]
ALPHAS = "0,0.01,0.1,1,10,100"
SEEDS = 3
RESULTS = Path(__file__).parent / "results" / "vision"


def run(data_dir: str, runs: Path, jobs: int, model: str) -> None:
    """Run every comparison that has no record yet; an interrupted one is taken up."""
    for name, gate in ARMS:
        record = RESULTS / f"{name}-{gate}.json"
        if record.exists():
            continue
        folder = runs / f"{name}-{gate}"
        command = [sys.executable, "-m", "distilled_experts", "compare", name, "--task", "vision", "--gate", gate]
        what = ["--model", model, "--rows", IMAGES[name], "--seeds", SEEDS, "--alpha", ALPHAS, "--data-dir", data_dir]
        how = ["--jobs", jobs, "--out", folder, "--continue", "--quiet"]
        start = time.perf_counter()
        subprocess.run([*command, *map(str, [*what, *how])], check=True)
        print(f"{name}, {gate} gate: {(time.perf_counter() - start) / 60:.0f} minutes", flush=True)
        RESULTS.mkdir(parents=True, exist_ok=True)
        # Pictures are on the page in the run folder, whose place is this machine's.
        result = json.loads((folder / "result.json").read_text())
        kept = {name: value for name, value in result.items() if name not in ("examples", "run")}
        record.write_text(json.dumps(kept, indent=1) + "\n")


def table() -> str:
    """The records as a Markdown table."""
    heads = ["data", "gate", "dense network", "MoE", "MoDE", "α", "MoDE − MoE (95 % interval)", "MoE, own domain"]
    heads += ["MoDE, own domain", "α = 100", "minutes a model"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    lines += [f"| {' | '.join(cells(json.loads(path.read_text())))} |" for path in sorted(RESULTS.glob("*.json"))]
    return "\n".join([*lines, "", f"Accuracy in percent, means of {SEEDS} seeds ± standard error."])


def cells(record: dict) -> list[str]:
    """One row of the table."""
    arms, change, own, path = (record[key] for key in ("arms", "difference", "own_domain", "alpha_path"))
    last = [scores[-1] for scores in path["test_scores"]]
    return [
        record["data"],
        record["gate"],
        *(f"{100 * arms[arm]['mean']:.2f} ± {100 * arms[arm]['se']:.2f}" for arm in ("dense", "moe", "mode")),
        ", ".join(f"{alpha:g}" for alpha in record["alpha"]),
        f"{100 * change['mean']:+.2f} ({100 * change['low']:+.2f} to {100 * change['high']:+.2f})",
        *(f"{100 * own[arm]:.2f}" for arm in ("moe", "mode")),
        f"{100 * sum(last) / len(last):.2f}",
        f"{max(arm['seconds'] for arm in arms.values()) / 60:.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--data-dir", required=True)
    running.add_argument("--runs", type=Path, default=Path("runs/vision"))
    running.add_argument("--jobs", type=int, default=1)
    running.add_argument("--model", default="conv-head")
    commands.add_parser("table")
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments.data_dir, arguments.runs, arguments.jobs, arguments.model)
    print(table())


if __name__ == "__main__":
    main()
