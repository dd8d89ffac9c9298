"""The figures of comparisons, sweeps and probed models, as functions on matplotlib axes.

Each takes a record (a mapping, or a ``ProbeRecord``) or, over several records, what was found of each, and if wanted
axes to draw on; it returns the figure. No window is opened and no global setting of matplotlib is changed. `to_svg`
writes a figure so that the same record gives the same bytes.

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

from distilled_experts.report.figures.alpha import own_domain_against_alpha, score_against_alpha
from distilled_experts.report.figures.attention import attention
from distilled_experts.report.figures.change import exchange, flow, parallel_study
from distilled_experts.report.figures.course import (
    narrow_vision_against_alpha,
    narrow_vision_over_training,
    similarity_against_alpha,
    similarity_over_training,
)
from distilled_experts.report.figures.experts import contrasted_domains, domains, expert_domain_matrix
from distilled_experts.report.figures.model import (
    composition,
    errors,
    loss_matrix,
    narrow_vision,
    own_domain,
    similarity,
)
from distilled_experts.report.figures.overview import steps
from distilled_experts.report.figures.several import average_ranks, changes_against_alpha, forest
from distilled_experts.report.figures.style import to_svg
from distilled_experts.report.figures.sweep import alpha_by_experts, experts_by_alpha
from distilled_experts.report.figures.training import differences, learning_curves

__all__ = [
    "differences",
    "score_against_alpha",
    "own_domain_against_alpha",
    "learning_curves",
    "domains",
    "contrasted_domains",
    "expert_domain_matrix",
    "exchange",
    "flow",
    "parallel_study",
    "narrow_vision_over_training",
    "narrow_vision_against_alpha",
    "similarity_over_training",
    "similarity_against_alpha",
    "attention",
    "own_domain",
    "loss_matrix",
    "composition",
    "errors",
    "narrow_vision",
    "similarity",
    "alpha_by_experts",
    "experts_by_alpha",
    "forest",
    "changes_against_alpha",
    "average_ranks",
    "steps",
    "to_svg",
]
