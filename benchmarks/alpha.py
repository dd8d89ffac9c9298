"""How strong should distillation be? Scores against α on nine tables, and the picture of the README.

    python benchmarks/alpha.py run --data-dir DIR      # resumable; records go to benchmarks/results/alpha
    python benchmarks/alpha.py table                   # the table and the picture from the committed records

Every record is that of `mode sweep` with 4 experts, the dense gate, ten seeds and its default α from 0 to 100.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from does_it_help import SETS
from matplotlib.figure import Figure

from distilled_experts.report import figures

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "alpha"
PICTURE = HERE.parent / "docs" / "images" / "alpha.svg"


def run(data_dir: str, runs: Path) -> None:
    """Run every sweep that has no record yet; an interrupted one is taken up."""
    for name in SETS:
        record = RESULTS / f"{name}.json"
        if record.exists():
            continue
        folder = runs / name
        command = [sys.executable, "-m", "distilled_experts", "sweep", name, "--experts", "4", "--data-dir", data_dir]
        subprocess.run([*command, "--out", str(folder), "--continue", "--quiet"], check=True)
        RESULTS.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "result.json", record)


def changes(record: dict, key: str) -> list[float]:
    """Points above α = 0, one for each α."""
    values = [cell[key] for cell in record["cells"]]
    return [100 * (value - values[0]) for value in values]


def table(records: list[dict]) -> str:
    """Points above α = 0, on the test rows."""
    alphas = records[0]["alpha"]
    lines = [f"| data | {' | '.join(f'α = {a:g}' for a in alphas[1:])} |", "|---" * len(alphas) + "|"]
    rows = [(record["data"], changes(record, "mean")) for record in records]
    rows.append(("mean", [statistics.fmean(column) for column in zip(*(r for _, r in rows), strict=True)]))
    lines += [f"| {name} | {' | '.join(f'{value:+.2f}' for value in row[1:])} |" for name, row in rows]
    return "\n".join(lines)


def draw(records: list[dict]) -> None:
    """The mixture's and its experts' scores against α: every table thin, their mean thick."""
    figure = Figure(figsize=(9, 3.6), layout="constrained", facecolor="white")
    titles = {"mean": "the mixture", "own_domain_mean": "each expert alone, on its own domain"}
    for axes, (key, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        rows = [changes(record, key) for record in records]
        for row in rows:
            axes.plot(row, color="#9db8cc", linewidth=1)
        axes.plot(
            [statistics.fmean(column) for column in zip(*rows, strict=True)], "o-", color="#0b5f9e", linewidth=2.5
        )
        axes.axhline(0, color="#555555", linewidth=0.8, linestyle=":")
        axes.set_xticks(range(len(rows[0])), [f"{alpha:g}" for alpha in records[0]["alpha"]])
        axes.set(title=title, xlabel="α", ylabel="accuracy, points above α = 0")
        axes.set_ylim(*((-8, 5) if key == "mean" else (-1, 13)))
        axes.spines[["top", "right"]].set_visible(False)
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(figures.to_svg(figure), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--data-dir", required=True)
    running.add_argument("--runs", type=Path, default=Path("runs/alpha"))
    commands.add_parser("table")
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments.data_dir, arguments.runs)
    records = [json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) for name in SETS]
    draw(records)
    print(table(records))


if __name__ == "__main__":
    main()
