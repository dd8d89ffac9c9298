"""How good translations are: BLEU and chrF by sacreBLEU, with the signatures that make them comparable."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from distilled_experts.errors import MissingDependencyError

__all__ = ["TranslationScores", "score_translations"]


class TranslationScores(NamedTuple):
    """BLEU and chrF, 0 to 100, and their signatures."""

    bleu: float
    chrf: float
    signatures: dict[str, str]


def score_translations(
    translations: Sequence[str], references: Sequence[str], *, lower: bool = True
) -> TranslationScores:
    """Score translations against one reference each.

    Parameters
    ----------
    translations, references : sequence of str
        Plain text, not cut into tokens.
    lower : bool
        Whether capital letters make no difference.

    Raises
    ------
    MissingDependencyError
        sacreBLEU is not installed.

    References
    ----------
    Post, A Call for Clarity in Reporting BLEU Scores, WMT 2018. Popović, chrF: character n-gram F-score for automatic
    MT evaluation, WMT 2015.

    Examples
    --------
    >>> found = score_translations(["ein hund läuft im park ."], ["Ein Hund läuft im Park."])
    >>> round(found.bleu, 1), round(found.chrf, 1)
    (100.0, 100.0)
    >>> found.signatures["bleu"].split("|")[:2]
    ['nrefs:1', 'case:lc']
    """
    metrics = {name: getattr(_sacrebleu(), name.upper())(lowercase=lower) for name in ("bleu", "chrf")}
    scores = {name: metric.corpus_score(list(translations), [list(references)]) for name, metric in metrics.items()}
    signatures = {name: str(metric.get_signature()) for name, metric in metrics.items()}
    return TranslationScores(scores["bleu"].score, scores["chrf"].score, signatures)


def _sacrebleu() -> Any:
    try:
        return importlib.import_module("sacrebleu.metrics")
    except ImportError as error:
        raise MissingDependencyError(
            "translation: sacreBLEU is needed; pip install 'distilled-experts[translation]'"
        ) from error
