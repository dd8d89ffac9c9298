"""Does mutual distillation help in translation? Multi30k, English to German and French, three seeds.

    python benchmarks/translation.py run --data-dir DIR --jobs 2  # resumable; a record a pair of languages
    python benchmarks/translation.py table                        # the table from the committed records

English to German: the dense network, MoE and three α. English to French: the dense network, MoE and the α that had the
lowest mean validation loss in German. Every record is that of `mode compare`; models that are there are not trained
anew.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import fmean

RESULTS = Path(__file__).parent / "results" / "translation"
FIRST, SECOND = "en-de", "en-fr"
ALPHAS = (0.01, 0.1, 1.0)
HEADS = ("pair", "model", "BLEU", "chrF", "validation loss", "accuracy on own domain", "minutes")


def run(data_dir: str, runs: Path, jobs: int) -> None:
    """Make the records that are not there; what was interrupted is taken up."""
    compare(FIRST, ",".join(map(str, (0, *ALPHAS))), data_dir, runs, jobs)
    compare(SECOND, str(best_alpha(read(FIRST))), data_dir, runs, jobs)


def compare(pair: str, alpha: str, data_dir: str, runs: Path, jobs: int) -> None:
    """Run one comparison and keep its record."""
    record, folder = RESULTS / f"{pair}.json", runs / pair
    if record.exists():
        return
    command = [sys.executable, "-m", "distilled_experts", "compare", "multi30k", "--task", "translation"]
    options = ["--pair", pair, "--alpha", alpha, "--seeds", "3", "--data-dir", data_dir, "--jobs", str(jobs)]
    # Models side by side share the cores.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*command, *options, "--out", str(folder), "--continue", "--quiet"], check=True, env=environment)
    RESULTS.mkdir(parents=True, exist_ok=True)
    result = json.loads((folder / "result.json").read_text())
    # The command's own clock knows its last start alone.
    models = (folder / "metrics.jsonl").read_text().splitlines()
    result["seconds"] = sum(json.loads(model)["seconds"] for model in models)
    # The place of the run folder is this machine's.
    record.write_text(json.dumps({name: value for name, value in result.items() if name != "run"}, indent=1) + "\n")


def read(pair: str) -> dict:
    return json.loads((RESULTS / f"{pair}.json").read_text())


def best_alpha(record: dict) -> float:
    """The α above zero with the lowest validation loss, mean over the seeds."""
    path = record["alpha_path"]
    losses = {alpha: fmean(row[i] for row in path["validation_loss"]) for i, alpha in enumerate(path["alpha"]) if alpha}
    return min(losses, key=losses.get)


def table() -> str:
    """The records as a Markdown table, with the differences below it."""
    records = [read(pair) for pair in (FIRST, SECOND) if (RESULTS / f"{pair}.json").exists()]
    lines = [f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|"]
    lines += [f"| {' | '.join(row)} |" for record in records for row in rows(record)]
    lines += ["", *(sentence for record in records for sentence in (record["sentence"], chosen(record)))]
    return "\n".join(lines)


def rows(record: dict) -> list[list[str]]:
    """Dense network, MoE, and every α."""
    path, arms = record["alpha_path"], record["arms"]
    minutes = {arm: f"{arms[arm]['seconds'] / 60:.1f}" for arm in ("dense", "moe", "mode")}
    dense = [record["pair"], "dense network", spread(arms["dense"]["scores"]), spread(record["chrf"]["dense"]), "", ""]
    found = [[*dense, minutes["dense"]]]
    for i, alpha in enumerate(path["alpha"]):
        measured = ("test_scores", "validation_loss", "own_domain")
        scores, losses, own = ([row[i] for row in path[name]] for name in measured)
        name, chrf = (f"MoDE, α = {alpha:g}", "") if alpha else ("MoE", spread(record["chrf"]["moe"]))
        cells = [spread(scores), chrf, spread(losses, 3), spread([100 * value for value in own])]
        found.append([record["pair"], name, *cells, minutes["mode" if alpha else "moe"]])
    return found


def spread(values: list[float], digits: int = 2) -> str:
    """Mean over the seeds, and the lowest and highest."""
    return f"{fmean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def chosen(record: dict) -> str:
    own = record["own_domain_difference"]
    alphas = ", ".join(f"{alpha:g}" for alpha in record["alpha"])
    return (
        f"{record['pair']}: chosen α {alphas}; own-domain accuracy {100 * own['mean']:+.2f} points "
        f"({100 * own['low']:+.2f} to {100 * own['high']:+.2f}); {record['signatures']['bleu']}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--data-dir", required=True)
    running.add_argument("--runs", type=Path, default=Path("runs/translation"))
    running.add_argument("--jobs", type=int, default=1)
    commands.add_parser("table")
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments.data_dir, arguments.runs, arguments.jobs)
    print(table())


if __name__ == "__main__":
    main()
