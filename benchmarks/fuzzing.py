"""Does any bad input end in a traceback, a hang, or damage to files that are there?

    python benchmarks/fuzzing.py --inputs 200     # some of each kind
    python benchmarks/fuzzing.py --write          # more than 100,000: benchmarks/results/fuzzing.json

Hypothesis harms valid files and makes up others, always the same ones; each is given to its reader in this process. An
input is accepted, or refused with an error of the package in one line; anything else has failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from fuzzing_targets import TARGETS, Target
from hypothesis import HealthCheck, Phase, given, seed, settings

from distilled_experts.errors import DistilledExpertsError

RECORD = Path(__file__).parent / "results" / "fuzzing.json"
MOST_SECONDS = 5.0
SHOWN = 20


def ending_of(target: Target, value: Any) -> str:
    """What an input comes to: "accepted", "refused", or what went wrong."""
    try:
        target.take(value)
    except DistilledExpertsError as error:
        n_lines = len(str(error).splitlines())
        return "refused" if n_lines <= 1 else f"{n_lines} lines"
    except Exception as error:  # noqa: BLE001  (this is what is looked for)
        return f"{type(error).__name__}: {str(error)[:200]}"
    return "accepted"


def tried(name: str, folder: Path, n_inputs: int) -> dict[str, Any]:
    """Give a target its inputs: how many were accepted and refused, and what went wrong with which."""
    folder.mkdir()
    os.chdir(folder)
    target = TARGETS[name][0](folder)
    (folder / "letter.txt").write_text("keep")
    before = files(folder)
    counts: Counter[str] = Counter()
    wrong: list[dict[str, str]] = []
    slowest = 0.0

    def check(value: Any) -> None:
        nonlocal slowest
        start = time.process_time()
        ending = ending_of(target, value)
        seconds = time.process_time() - start
        slowest = max(slowest, seconds)
        after = files(folder)
        if any(after.get(path) != before[path] for path in before):
            ending = "changed files"
        for path in after.keys() - before.keys():
            path.unlink()
        if seconds > MOST_SECONDS:
            ending = f"{seconds:.1f} seconds"
        good = ending in ("accepted", "refused")
        counts[ending if good else "failed"] += 1
        if not good:
            wrong.append({"ending": ending, "input": repr(value)[:2000]})

    options = settings(
        max_examples=n_inputs,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    seed(0)(options(given(target.inputs)(check)))()
    found = {key: counts[key] for key in ("accepted", "refused", "failed")}
    return {"inputs": counts.total(), **found, "slowest_seconds": round(slowest, 3), "wrong": wrong[:SHOWN]}


def files(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of all files."""
    found = [Path(root) / name for root, _, names in os.walk(folder) for name in names]
    return {path: (about.st_size, about.st_mtime_ns) for path in found for about in [path.stat()]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, help="Of each kind; default: those of the record.")
    parser.add_argument("--kinds", nargs="*", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        kinds = {}
        # In this order: in the last ones nothing is trained any more.
        for name in (name for name in TARGETS if name in arguments.kinds):
            kinds[name] = tried(name, Path(folder) / name, arguments.inputs or TARGETS[name][1])
        os.chdir("/")
    record = {"inputs": sum(kind["inputs"] for kind in kinds.values()), "kinds": kinds}
    record |= {"failed": sum(kind["failed"] for kind in kinds.values()), "seconds": round(time.process_time() - start)}
    text = json.dumps(record, indent=1, ensure_ascii=True)
    print(text)
    if arguments.write:
        RECORD.write_text(text + "\n", encoding="utf-8")
    sys.exit(1 if record["failed"] else 0)


if __name__ == "__main__":
    main()
