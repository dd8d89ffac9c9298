"""Captions and alternative texts: what to see in each figure, with the numbers of the record. One module a subject."""

from distilled_experts.report.captions import comparison, experts, model, sweep, why

__all__ = ["comparison", "experts", "model", "sweep", "why"]
