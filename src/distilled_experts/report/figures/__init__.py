"""The figures of a comparison and of a sweep, as functions on matplotlib axes.

Each takes a record and, if wanted, axes to draw on; it returns the figure. No window is opened and no global
setting of matplotlib is changed. `to_svg` writes a figure so that the same record gives the same bytes.

Examples
--------
>>> from distilled_experts.report import figures
>>> record = {"format": 1, "kind": "compare", "metric": "accuracy", "arms": {}, "alpha": [0.1],
...           "alpha_path": {"alpha": [0.0, 0.1], "test_scores": [[0.9, 0.95]]}}
>>> figure = figures.score_against_alpha(record)
>>> figure.axes[0].get_ylabel()
'test accuracy'
"""

from __future__ import annotations

from distilled_experts.report.figures.alpha import alpha_by_experts, own_domain_against_alpha, score_against_alpha
from distilled_experts.report.figures.experts import domain_shares, expert_domain_matrix
from distilled_experts.report.figures.style import to_svg
from distilled_experts.report.figures.training import differences, learning_curves

__all__ = [
    "differences",
    "score_against_alpha",
    "own_domain_against_alpha",
    "expert_domain_matrix",
    "domain_shares",
    "learning_curves",
    "alpha_by_experts",
    "to_svg",
]
