"""Where it does not help, and what speaks for and against it by type of data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from distilled_experts.report.formats import MISSING, fixed, signed
from distilled_experts.report.values import Record
from distilled_experts.reproduction.changes import everywhere
from distilled_experts.reproduction.piece import Claim, Finding, Piece
from distilled_experts.reproduction.pieces.elsewhere import gain_of
from distilled_experts.reproduction.pieces.language import MODERATE, STRONG, changes_at
from distilled_experts.reproduction.pieces.strength import curves
from distilled_experts.reproduction.pieces.tabular import gains
from distilled_experts.reproduction.studies import ALPHA, COMPARISONS, IMAGES, LANGUAGE, MULTI_VIEW, TRANSLATION
from distilled_experts.reproduction.text import strengths, table

__all__ = ["PIECES"]


def _listed(names: Sequence[str]) -> str:
    return "; ".join(names) or "none"


def _where_not(comparisons: Sequence[Record], alpha: Sequence[Record], views: Sequence[Record]) -> Finding:
    changes, dense = gains(comparisons), gains(comparisons, before="dense")
    unsure = [change.name for change in changes if (change.found.low or 0.0) <= 0]
    beaten = [change.name for change in dense if change.found.mean <= 0]
    found = curves(alpha)
    largest = max(found[0].gains)
    hurt = [f"{curve.data} ({signed(curve.gains[largest], 2)})" for curve in found if curve.gains[largest] < 0]
    single = [f"{record['gate']} gate ({signed(gain, 2)})" for record in views if (gain := _single_view(record)) <= 0]
    n = len(changes)
    rows = [
        [f"{len(unsure)} of {n} arms", "the interval of the gain reaches zero", _listed(unsure)],
        [f"{len(beaten)} of {n} arms", "a dense network of the same size is as good as MoDE", _listed(beaten)],
        [f"{len(hurt)} of {len(found)} sets", f"α = {largest:g} is worse than none, points", _listed(hurt)],
        [f"{len(single)} of {len(views)} gates", "samples show one view: best α above 0, points", _listed(single)],
        ["always", "top-1 routing with the active experts alone", "one active expert has nobody to learn from"],
    ]
    claims = [
        everywhere("MoDE is above MoE on every arm of every table", [change.found.mean > 0 for change in changes]),
        Claim("The 95 % interval of the gain is above zero on every arm", not unsure, f"{n - len(unsure)} of {n}"),
        Claim("MoDE is above a dense network of its size on every arm", not beaten, f"{n - len(beaten)} of {n}"),
    ]
    return Finding(table(["how often", "where it does not help", "which"], rows), claims)


def _single_view(record: Record) -> float:
    """Best change by distillation on samples with one view, in points."""
    one = record["studies"][-1]
    return 100 * max(float(found["mean"]) for found in one["difference"][1:])


def _by_data_type(
    comparisons: Sequence[Record], images: Sequence[Record], translation: Sequence[Record], language: Sequence[Record]
) -> Finding:
    rows = [
        *_tables(comparisons),
        *_trained("images", images),
        *_trained("translation", translation),
        *_language(language),
    ]
    means = {
        "tables": [change.found.mean for change in gains(comparisons)],
        "images": [gain_of(record).mean for record in images],
        "translation": [gain_of(record).mean for record in translation],
        "language models": [-change for change in changes_at(language, MODERATE)],
    }
    claims = [_helps(name, found) for name, found in means.items()]
    return Finding(table(["data", "for it", "against it", "what would improve it"], rows), claims)


def _helps(name: str, gained: Sequence[float]) -> Claim:
    text = f"It helps in the mean: {name}"
    if not gained:
        return Claim(text, None, "not run yet")
    return Claim(text, fmean(gained) > 0, f"above MoE on {sum(gain > 0 for gain in gained)} of {len(gained)} arms")


def _tables(records: Sequence[Record]) -> Iterator[list[str]]:
    if not records:
        return
    changes, n = gains(records), len(records)
    own = fmean(100 * record["own_domain_difference"]["mean"] for record in records)
    mean = fmean(100 * change.found.mean for change in changes)
    sure = sum((change.found.low or 0.0) > 0 for change in changes)
    beaten = sum(change.found.mean <= 0 for change in gains(records, before="dense"))
    chosen = strengths(alpha for record in records for alpha in record["alpha"])
    yield [
        "tables",
        f"mean gain {signed(mean, 2)} points; experts on their own domain {signed(own, 2)}; no cost at prediction",
        f"interval above zero on {sure} of {n} arms alone; a dense network is as good on {beaten}",
        f"α by validation rows for every table: the seeds chose {chosen}",
    ]


def _trained(name: str, records: Sequence[Record]) -> Iterator[list[str]]:
    if not records:
        yield [name, MISSING, MISSING, "not run yet"]
        return
    found = [gain_of(record) for record in records]
    own = fmean(gain_of(record, "own_domain_difference").mean for record in records)
    reaching = sum((gain.low or 0.0) <= 0 for gain in found)
    unseen = max((gain.detectable or 0.0) for gain in found)
    mean = fmean(gain.mean for gain in found)
    yield [
        name,
        f"mean gain {signed(mean, 2)} points; experts on their own domain {signed(own, 2)}",
        f"the interval reaches zero on {reaching} of {len(found)} arms",
        f"more seeds: with {records[0]['seeds']}, differences below {fixed(unseen, 2)} points stay unseen on some arm",
    ]


def _language(records: Sequence[Record]) -> Iterator[list[str]]:
    if not records:
        return
    moderate, strong = (changes_at(records, alpha) for alpha in (MODERATE, STRONG))
    worse = sum(change > 0 for change in strong)
    yield [
        "language models",
        f"validation loss at α = {MODERATE:g} by corpus: {', '.join(signed(change, 4) for change in moderate)}",
        f"the good range is narrow: α = {STRONG:g} is worse than none on {worse} of {len(strong)} corpora",
        "distilling in the first layer, or in all with a smaller α",
    ]


PIECES = (
    Piece(
        "where-not",
        "Where it does not help",
        "The method is called universal; where it does not help is not known to be shown.",
        (COMPARISONS, ALPHA, MULTI_VIEW),
        _where_not,
    ),
    Piece(
        "by-data-type",
        "By type of data: for it, against it, what would improve it",
        "Results on tables, in natural language processing and on images, called universal.",
        (COMPARISONS, IMAGES, TRANSLATION, LANGUAGE),
        _by_data_type,
        partly=True,
    ),
)
