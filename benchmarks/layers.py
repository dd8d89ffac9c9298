"""How near the layers are to the bare matrix products, and how far from what one would take otherwise.

    python benchmarks/layers.py                 # all tables; about 25 minutes on two idle cores
    python benchmarks/layers.py --short         # one round of most tables, in less than 5 minutes
    python benchmarks/layers.py --only sparse   # one table
    python benchmarks/layers.py --write         # also write the record, and the figure of growth
    python benchmarks/layers.py --check         # also compare with the committed record
    python benchmarks/layers.py --table         # measure nothing, print the committed record

Figures are ratios: every candidate stands between two measurements of its base, in rounds, with fresh tokens in each.
Each part has a process of its own, with one thread if not said otherwise, and keeps the memory that it frees, for
itself and its peers alike (`KEPT`); "default" rows show what the memory allocator of the system makes of it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import torch
from layer_figure import draw
from layer_parts import PARTS
from layer_peers import missing

RECORD = Path(__file__).parent / "results" / "layers.json"
ROUNDS = 7
# Without what takes longest.
SHORT = ("sparse", "dense", "epoch", "prediction", "models")
# Above the committed ratio, what `--check` allows for the drift of a machine.
TOLERANCE = 1.15
KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}


def run_part(name: str, rounds: int, short: bool) -> list[dict]:
    """The rows of a part, measured in a process of its own."""
    part = PARTS[name]
    rows = []
    for threads in part.threads:
        for kept in part.memory[:1] if short else part.memory:
            command = [sys.executable, __file__, "--part", name, "--rounds", str(rounds), "--threads", str(threads)]
            environment = os.environ | {"OMP_NUM_THREADS": str(threads)} | (KEPT if kept else {})
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{name}: {done.stderr.strip().splitlines()[-1]}")
            memory = "kept" if kept else "default"
            rows += [{"threads": threads, "memory": memory, **row} for row in json.loads(done.stdout)]
    return rows


def table(name: str, rows: list[dict]) -> str:
    """A table of medians and quartiles."""
    fixed = [key for key in rows[0] if key != "ratios"]
    figures = list(dict.fromkeys(figure for row in rows for figure in row["ratios"]))
    head = [*fixed, *figures]
    lines = [f"{name}: {PARTS[name].title}", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        cells = [str(row[key]) for key in fixed]
        cells += [shown(row["ratios"].get(figure)) for figure in figures]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def shown(figure: dict[str, float] | None) -> str:
    if figure is None:
        return "–"
    return f"{figure['median']:.2f} ({figure['low']:.2f} to {figure['high']:.2f})"


def slower(parts: dict[str, list[dict]]) -> list[str]:
    """What is slower than the committed record by more than the tolerance."""
    known, found = committed(), []
    for name, rows in parts.items():
        before = {key_of(row): row["ratios"] for row in known.get(name, ())}
        for row in rows:
            for figure, now in row["ratios"].items():
                then = before.get(key_of(row), {}).get(figure)
                worse = PARTS[name].worse(now["median"], then["median"]) if then else 0
                if worse > TOLERANCE:
                    found.append(
                        f"{name}, {dict(key_of(row))}, {figure}: {now['median']:.2f}, was {then['median']:.2f}"
                    )
    return found


def key_of(row: dict) -> tuple:
    return tuple((key, value) for key, value in row.items() if key != "ratios")


def main() -> None:
    arguments = parse()
    rounds = arguments.rounds or (1 if arguments.short else ROUNDS)
    if arguments.part:
        torch.set_num_threads(arguments.threads)
        print(json.dumps(PARTS[arguments.part].measure(rounds)))
    elif arguments.table:
        parts = committed()
        print("\n\n".join(table(name, parts[name]) for name in arguments.only if name in parts))
    else:
        measure(arguments, rounds)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, nargs="+", help="default: all, in the short form most")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--short", action="store_true", help="one round of most tables")
    parser.add_argument("--write", action="store_true", help=f"write {RECORD.name}")
    parser.add_argument("--check", action="store_true", help="fail where it is slower than the committed record")
    parser.add_argument("--table", action="store_true", help="print the committed record")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.only = arguments.only or list(SHORT if arguments.short else PARTS)
    return arguments


def measure(arguments: argparse.Namespace, rounds: int) -> None:
    """Measure part by part, then write and check as asked."""
    parts = {}
    for name in arguments.only:
        parts[name] = run_part(name, rounds, arguments.short)
        print(table(name, parts[name]), end="\n\n", flush=True)
    print(f"not measured here: {', '.join(missing())}")
    found = slower(parts) if arguments.check else []
    if arguments.write:
        write(parts, rounds)
    if found:
        raise SystemExit("slower than committed:\n" + "\n".join(found))


def write(parts: dict[str, list[dict]], rounds: int) -> None:
    """Write the record, in which parts that were not measured stay as they are, and the figure."""
    parts = (committed() if RECORD.exists() else {}) | parts
    record = {"environment": environment(), "rounds": rounds, "parts": parts}
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if {"growth", "models"} <= parts.keys():
        draw(parts)


def committed() -> dict[str, list[dict]]:
    """The parts of the committed record."""
    parts: dict[str, list[dict]] = json.loads(RECORD.read_text(encoding="utf-8"))["parts"]
    return parts


def environment() -> dict[str, object]:
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in ("torch", "transformers")},
        "processor": model[0].split(":")[1].strip() if model else platform.processor(),
        "bfloat16": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
    }


if __name__ == "__main__":
    main()
