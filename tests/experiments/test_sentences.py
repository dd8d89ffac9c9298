"""The answer in words: it claims what the interval allows, and no more."""

from __future__ import annotations

import pytest

from distilled_experts.experiments.sentences import comparison_sentence


def record(mean: float, low: float | None, high: float | None, p: float | None, metric: str = "accuracy") -> dict:
    found = {"mean": mean, "low": low, "high": high, "p": p, "detectable": None if p is None else 0.0123}
    return {"data": "tea", "seeds": 1 if p is None else 10, "metric": metric, "difference": found, "alpha": [0.0, 0.1]}


@pytest.mark.parametrize(
    ("given", "begins", "holds"),
    [
        (record(0.02, 0.01, 0.03, 0.001), "Mutual distillation helps on tea", "+2.00 points (95 % interval +1.00 to"),
        (record(-0.02, -0.03, -0.01, 0.001), "Mutual distillation hurts on tea", "−3.00 to −1.00 points"),
        (record(0.02, -0.01, 0.05, 0.2), "No difference found on tea", "a true difference of 1.23 points"),
        (record(0.02, None, None, None), "With one seed nothing can be said", "use --seeds 10"),
        (record(0.5, -0.1, 1.1, 0.09, "rmse"), "No difference found", "+0.5 (95 % interval −0.1 to +1.1, p = 0.09)"),
    ],
)
def test_sentence(given, begins, holds):
    sentence = comparison_sentence(given)
    assert sentence.startswith(begins)
    assert holds in sentence


def test_where_every_seed_chose_zero_it_says_that_they_are_the_same():
    sentence = comparison_sentence(record(0.0, 0.0, 0.0, 1.0) | {"alpha": [0.0, 0.0]})
    assert "MoDE is plain MoE" in sentence
