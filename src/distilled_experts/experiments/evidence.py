"""Why distillation helps or not: what a comparison records of each mixture beside its scores.

The record of `mode compare` holds it under ``why``. S seeds, A values of α, E experts, T checkpoints; numbers that are
not defined are None. Every list over seeds is in the order of the seeds; "MoDE" is each seed's chosen α::

    {"by_alpha": {"alpha": [A], "shares": [S][A][E], "matrix": [S][A][E][E] | None, "own_domain": [S][A],
                  "cka": [S][A], "agreement": [S][A], "homogenised": [S][A] of 0 or 1,
                  "vision_task": [S][A], "vision_whole": [S][A], "adjusted_rand": [S][A]},
     "exchange": {"scores": [S][2][2], "gate": difference, "experts": difference, "gain": difference},
     "flow": {"types": ["right", "gate_error", "expert_error", "combination_error"], "shares": [4][4]},
     "course": {"moe" | "mode": {"epoch": [T], "vision_task": [T], "vision_whole": [T], "cka": [T], "agreement": [T],
                                 "homogenised": [T]}},
     "parallel": None | {"own_domain": {"moe": [S], "mode": [S]}, "score": {"moe": [S], "mode": [S]},
                         "difference": difference, "by_expert": [E] of {"share": x, "difference": difference | None}},
     "attention": None | {"columns": [str], "moe": [S][E][columns] | None, "mode": [S][E][columns] | None,
                          "picked_up": [S][E] of lists of column names}}

``exchange.scores`` has MoE's gate in row 0 and MoDE's in row 1, MoE's experts in column 0 and MoDE's in column 1.
``flow.shares`` goes from MoE's answers (rows) to MoDE's (columns), mean over the seeds. ``course`` is the mean over
the seeds at checkpoints that all of them reached; ``homogenised`` is there the share of the seeds with an alarm.
``difference`` is that of `statistics.Difference`. ``parallel`` and ``attention`` are there where they were asked for;
``matrix`` and the attention of an arm are None where they would be too many numbers, as `large_tables` says;
``exchange``, ``flow`` and ``course`` are None where models do not tell them: gates and experts of networks with layers
of their own beneath, for example, cannot be exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilled_experts.experiments.course import MEASURES
from distilled_experts.experiments.large_tables import large_table
from distilled_experts.experiments.statistics import difference
from distilled_experts.probing import (
    ANSWER_TYPES,
    ExpertOutputs,
    adjusted_rand,
    answer_flow,
    answer_types,
    contributions,
    dominating_experts,
    exchange_scores,
    expert_similarity,
    plain_numbers,
    sample_right,
)

__all__ = ["against_plain", "compared_with_plain", "explain"]

Model = dict[str, Any]

_BY_ALPHA = ("shares", "matrix", "own_domain", "cka", "agreement", "homogenised", "vision_task", "vision_whole")


def against_plain(outputs: ExpertOutputs, y: NDArray[np.generic], task: str) -> dict[str, NDArray[Any]]:
    """Similarity of the experts of some mixtures (A, N, …), and what changes from the first of them, plain MoE's.

    All have the same initial weights, so that experts correspond by index.

    Returns
    -------
    dict
        ``cka``, ``agreement``, ``homogenised`` (A) · ``exchange`` (A, 2, 2) and ``flow`` (A, 4, 4) as from
        `probing.exchange_scores` and `probing.answer_flow` · ``adjusted_rand`` (A).
    """
    domains = dominating_experts(outputs.weights)
    types = answer_types(*sample_right(outputs.experts, outputs.mixture, y, task), domains)
    plain = outputs.model(0)
    exchange = [exchange_scores(plain, outputs.model(a), y, task)["scores"] for a in range(len(domains))]
    return {
        **expert_similarity(outputs.experts, task).headline(),
        "exchange": np.stack(exchange),
        "flow": answer_flow(np.broadcast_to(types[:1], types.shape), types),
        "adjusted_rand": adjusted_rand(domains[:1], domains),
    }


def compared_with_plain(models: Sequence[Model]) -> list[Model]:
    """Models that were trained one by one, the mixtures with what changes from the plain one of their seed.

    ``domains`` and ``answers``, the dominating expert and the type of answer of every test sample, give way to ``flow``
    and ``adjusted_rand``. All have the same initial weights, so that experts correspond by index.
    """
    plain = {model["seed"]: model for model in models if model["arm"] == "mixture" and model["alpha"] == 0}
    return [_compared(model, plain[model["seed"]]) if "answers" in model else model for model in models]


def _compared(model: Model, plain: Model) -> Model:
    (domains, answers), (plain_domains, plain_answers) = (
        (np.array(one["domains"]), np.array(one["answers"])) for one in (model, plain)
    )
    kept = {name: value for name, value in model.items() if name not in ("domains", "answers")}
    changes = {"flow": answer_flow(plain_answers, answers), "adjusted_rand": adjusted_rand(plain_domains, domains)}
    return kept | {name: plain_numbers(change) for name, change in changes.items()}


def explain(
    path: Sequence[Sequence[Model]], moe: Sequence[Model], mode: Sequence[Model], test_share: float
) -> dict[str, Any]:
    """What the record of a comparison holds under ``why``; the module describes it.

    Parameters
    ----------
    path : sequence of sequence of dict
        The mixtures of every α, each in the order of the seeds.
    moe, mode : sequence of dict
        Plain mixtures, and each seed's chosen one.
    test_share : float
        Test rows divided by training rows.
    """
    names = (*_BY_ALPHA, "adjusted_rand")
    by_alpha = {name: [[model.get(name) for model in of_seed] for of_seed in zip(*path, strict=True)] for name in names}
    by_alpha["matrix"] = large_table(by_alpha["matrix"])
    told = set.intersection(*(set(model) for model in (*moe, *mode)))
    return {
        "by_alpha": {"alpha": [models[0]["alpha"] for models in path], **by_alpha},
        "exchange": _exchange([model["exchange"] for model in mode], test_share) if "exchange" in told else None,
        "flow": _flow([model["flow"] for model in mode]) if "flow" in told else None,
        "course": {"moe": _course(moe), "mode": _course(mode)} if "course" in told else None,
    }


def _flow(shares: list[list[list[float]]]) -> dict[str, Any]:
    return {"types": list(ANSWER_TYPES), "shares": np.mean(shares, axis=0).tolist()}


def _exchange(scores: list[list[list[float]]], test_share: float) -> dict[str, Any]:
    """What gate and experts contribute, over the seeds."""
    gate, experts = contributions(np.array(scores))
    parts = {"gate": gate, "experts": experts, "gain": gate + experts}
    none = [0.0] * len(scores)
    found = {name: difference(part.tolist(), none, test_share).to_dict() for name, part in parts.items()}
    return {"scores": scores, **found}


def _course(models: Sequence[Model]) -> dict[str, list[Any]]:
    """Means over the seeds, as far as all of them go."""
    courses = [model["course"] for model in models]
    length = min(len(course["epoch"]) for course in courses)
    return {"epoch": courses[0]["epoch"][:length], **{name: _means(courses, name, length) for name in MEASURES}}


def _means(courses: Sequence[dict[str, list[Any]]], name: str, length: int) -> list[Any]:
    """A mean is not defined where a value is not."""
    values = np.array([course[name][:length] for course in courses], dtype=float)
    means: list[Any] = plain_numbers(values.mean(0))
    return means
