"""What the probing of one model found, in words. Shared by terminal and page."""

from __future__ import annotations

from distilled_experts.report.formats import clean, counted, fixed, percent, upper_first
from distilled_experts.report.probe import ERRORS, losses_of, vision_index
from distilled_experts.report.values import Record, finite, known
from distilled_experts.report.words import (
    loss_name,
    loss_places,
    measure_line,
    own_domain_name,
    sample_name,
    score_name,
)

# A domain below this part of an even share counts as forgotten.
FORGOTTEN = 0.1


def sentence(record: Record) -> str:
    """Return what was found in one sentence: that of a comparison or a sweep, or the first about a probed model."""
    return findings(record)[0] if record["kind"] == "probe" else clean(record.get("sentence") or "")


def findings(record: Record) -> list[str]:
    """Return the findings as sentences, the most important one first.

    Parameters
    ----------
    record : mapping
        The record of a probing.
    """
    parts = (_scores, _losses, _routing, _errors, _domains, _similarity, _vision)
    return [text for part in parts if (text := part(record))]


def measures(record: Record) -> list[tuple[str, Record]]:
    """Return the measures of the whole model with their names."""
    names = {
        "score": f"{score_name(record)} of the mixture",
        "own_domain": own_domain_name(record),
        "routing_accuracy": "routing accuracy",
        "oracle": "oracle: some expert right",
    }
    found, parts = losses_of(record), {"mixture": "of the mixture", "own_domain": "on own domain"}
    losses = [(f"{loss_name(record)} {words}", found[part]) for part, words in parts.items() if found]
    errors = [(name, record["errors"][key]) for key, name in ERRORS.items()]
    return [*((name, record[key]) for key, name in names.items()), *losses, *errors]


def _scores(record: Record) -> str:
    mixture, own = measure_line(record["score"], 3), measure_line(record["own_domain"], 3)
    return (
        f"On {counted(record['samples'], sample_name(record))} the mixture reaches {score_name(record)} {mixture}; "
        f"its {counted(record['experts'], 'expert')}, each alone on its own domain, {own}."
    )


def _losses(record: Record) -> str:
    found = losses_of(record)
    if not found:
        return ""
    mixture, own = (measure_line(found[part], loss_places(record)) for part in ("mixture", "own_domain"))
    return f"{upper_first(loss_name(record))} of the mixture {mixture}; of each expert alone on its own domain {own}."


def _routing(record: Record) -> str:
    routing, oracle = finite(record["routing_accuracy"]["value"]), finite(record["oracle"]["value"])
    if routing is None or record["experts"] == 1:
        return ""
    return (
        f"On {_exact(oracle)} of the {sample_name(record)}s some expert is right; on {_exact(routing)} of those the "
        "gate gives the largest weight to one that is."
    )


def _errors(record: Record) -> str:
    shares = {name: finite(record["errors"][key]["value"]) or 0.0 for key, name in ERRORS.items()}
    wrong = sum(shares.values())
    if not wrong:
        return "No answer is wrong."
    parts = ", ".join(f"{percent(share / wrong)} {name}s" for name, share in shares.items())
    return f"Of the wrong answers ({_exact(wrong)}): {parts}."


def _domains(record: Record) -> str:
    shares = known(record["shares"]["value"])
    if len(shares) < 2:
        return ""
    forgotten = [str(expert) for expert, share in enumerate(shares) if share < FORGOTTEN / len(shares)]
    span = f"The domains hold from {percent(min(shares))} to {percent(max(shares))} of the {sample_name(record)}s"
    if not forgotten:
        return f"{span}."
    who = f"expert {forgotten[0]} has" if len(forgotten) == 1 else f"experts {', '.join(forgotten)} have"
    return f"{span}; {who} next to none."


def _similarity(record: Record) -> str:
    found = record["similarity"]
    if finite(found.get("mean_agreement")) is None:
        return ""
    numbers = f"mean CKA {fixed(found.get('mean_cka'), 2)}, agreement {fixed(found['mean_agreement'], 2)}"
    if not found.get("warning"):
        return f"The experts differ: {numbers}."
    return f"{upper_first(clean(found['warning']))} ({numbers})."


def _vision(record: Record) -> str:
    whole, task = vision_index(record, "whole"), vision_index(record, "task")
    parts = [f"{fixed(index, 2)} of the {name}" for index, name in ((whole, "whole loss"), (task, "task loss alone"))
             if index is not None]  # fmt: skip
    if not parts:
        return ""
    return f"Narrow-vision index (0: all experts learn from everything; 1: each from its own): {', '.join(parts)}."


def _exact(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
