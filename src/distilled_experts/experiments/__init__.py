"""Experiments: from a table's name to splits, scores and records."""
