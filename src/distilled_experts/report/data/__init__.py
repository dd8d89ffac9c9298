"""The numbers behind each figure, as rows of a table. No rows means that there is nothing to draw."""

from distilled_experts.report.data import comparison, experts, model, sweep, why

__all__ = ["comparison", "experts", "model", "sweep", "why"]
