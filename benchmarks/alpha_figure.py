"""The picture of the README: scores against α for several numbers of experts, from a committed sweep.

    mode sweep mfeat_kar --gate sparse --data-dir DIR --json > benchmarks/results/sweep/mfeat_kar-sparse.json
    python benchmarks/alpha_figure.py
"""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.figure import Figure

from distilled_experts.report import figures

HERE = Path(__file__).parent
RECORD = HERE / "results" / "sweep" / "mfeat_kar-sparse.json"
PICTURE = HERE.parent / "docs" / "images" / "alpha.svg"


def main() -> None:
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    figure = Figure(figsize=(10, 4), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    figures.alpha_by_experts(record, left)
    figures.alpha_by_experts(record, right, own_domain=True)
    left.set_title("the mixture", pad=30)
    right.set_title("each expert alone, on its own domain", pad=30)
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(figures.to_svg(figure), encoding="utf-8")


if __name__ == "__main__":
    main()
