"""Does mutual distillation help? Nine tables, dense and sparse gate, ten seeds each.

    python benchmarks/does_it_help.py run --data-dir DIR     # resumable; records go to benchmarks/results/does_it_help
    python benchmarks/does_it_help.py table                  # the table from the committed records

Every record is that of `mode compare` with its defaults. Over all arms, p values are adjusted after Holm. The
own-domain score is compared at the fixed α = 0.03, so that nothing is chosen there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from distilled_experts.experiments.statistics import difference, holm

SETS = ("optdigits", "satimage", "mfeat_fac", "mfeat_kar", "isolet", "phoneme", "wall_robot", "vehicle", "splice")
GATES = ("dense", "sparse")
RESULTS = Path(__file__).parent / "results" / "does_it_help"
FIXED_ALPHA = 0.03
TEST_SHARE = 3 / 7


def run(data_dir: str, runs: Path) -> None:
    """Run every comparison that has no record yet; an interrupted one is taken up."""
    for name in SETS:
        for gate in GATES:
            record = RESULTS / f"{name}-{gate}.json"
            if record.exists():
                continue
            folder = runs / f"{name}-{gate}"
            command = [sys.executable, "-m", "distilled_experts", "compare", name, "--gate", gate]
            options = ["--data-dir", data_dir, "--out", str(folder), "--continue", "--quiet"]
            start = time.perf_counter()
            subprocess.run([*command, *options], check=True)
            print(f"{name}, {gate} gate: {time.perf_counter() - start:.0f} s", flush=True)
            RESULTS.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / "result.json", record)


def table() -> str:
    """The records as a Markdown table, with a verdict below it."""
    records = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"), key=place)]
    adjusted = holm([record["difference"]["p"] for record in records])
    own = [own_domain(record) for record in records]
    own_adjusted = holm([found.p for found in own])
    heads = ["data", "gate", "dense network", "MoE", "MoDE", "MoDE − MoE (95 % interval)", "p, Holm"]
    heads += ["own domain, α = 0.03 − α = 0", "wall s"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for record, p, found in zip(records, adjusted, own, strict=True):
        arms, change = record["arms"], record["difference"]
        means = " | ".join(f"{100 * arms[arm]['mean']:.2f}" for arm in ("dense", "moe", "mode"))
        gain = with_interval(change["mean"], change["low"], change["high"])
        own_gain = with_interval(found.mean, found.low, found.high)
        cells = [record["data"], record["gate"], means, gain, f"{p:.2g}", own_gain, f"{record['seconds']:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    gains = [record["difference"]["mean"] for record in records]
    lost = sum(p < 0.05 and gain < 0 for p, gain in zip(adjusted, gains, strict=True))
    own_lost = sum(p < 0.05 and found.mean < 0 for p, found in zip(own_adjusted, own, strict=True))
    n, better = len(gains), sum(gain > 0 for gain in gains)
    own_better = sum(found.mean > 0 for found in own)
    lines += [
        "",
        f"Accuracy in percent, means of {records[0]['seeds']} seeds. MoDE is above MoE on {better} of {n} arms and",
        f"significantly below on {lost}; mean gain {100 * sum(gains) / n:+.2f} points. At α = 0.03 the experts are",
        f"better on their own domain on {own_better} of {n} arms and significantly worse on {own_lost}.",
    ]
    return "\n".join(lines)


def with_interval(mean: float, low: float, high: float) -> str:
    """Points with their 95 % interval."""
    return f"{100 * mean:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"


def place(path: Path) -> tuple[int, str]:
    name, gate = path.stem.rsplit("-", 1)
    return SETS.index(name), gate


def own_domain(record: dict) -> object:
    """Own-domain score at the fixed α against α = 0."""
    path = record["alpha_path"]
    column = path["alpha"].index(FIXED_ALPHA)
    fixed, plain = ([row[i] for row in path["own_domain"]] for i in (column, 0))
    return difference(fixed, plain, TEST_SHARE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--data-dir", required=True)
    running.add_argument("--runs", type=Path, default=Path("runs/does_it_help"))
    commands.add_parser("table")
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments.data_dir, arguments.runs)
    print(table())


if __name__ == "__main__":
    main()
