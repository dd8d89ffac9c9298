"""A small language model: losses, and what its experts know."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from distilled_experts.report.formats import fixed, signed
from distilled_experts.report.values import Record
from distilled_experts.reproduction.changes import everywhere
from distilled_experts.reproduction.piece import Claim, Finding, Piece
from distilled_experts.reproduction.studies import LANGUAGE
from distilled_experts.reproduction.text import table

__all__ = ["MODERATE", "PIECES", "STRONG", "changes_at"]

MODERATE, STRONG = 0.01, 0.1
_MEASURES = {
    "own_domain_perplexity": ("own-domain perplexity", 2),
    "others_domain_perplexity": ("on others'", 2),
    "load_entropy": ("load, entropy", 3),
    "cka": ("CKA", 3),
    "agreement": ("agreement", 3),
    "narrow_vision": ("narrow vision", 3),
}


class _Corpus:
    """Records of one corpus, by arm and seed."""

    def __init__(self, name: str, records: Sequence[Record]) -> None:
        self.name = name
        self.moe = {record["seed"]: record for record in records if record["alpha"] == 0}
        self.arms: dict[tuple[str, float], list[Record]] = {}
        for record in records:
            if record["seed"] in self.moe:
                self.arms.setdefault((record["layers"], record["alpha"]), []).append(record)

    def changes(self, layers: str, alpha: float) -> list[float]:
        """Validation losses against MoE's of the same seed."""
        arm = self.arms.get((layers, alpha), ())
        return [record["validation_loss"] - self.moe[record["seed"]]["validation_loss"] for record in arm]

    def first(self, layers: str, alpha: float, key: str) -> float:
        """A measure of the first mixture, mean over the seeds."""
        return fmean(record["mixtures"][0][key] for record in self.arms[layers, alpha])


def _corpora(records: Sequence[Record]) -> list[_Corpus]:
    names = dict.fromkeys(record["corpus"] for record in records)
    return [_Corpus(name, [record for record in records if record["corpus"] == name]) for name in names]


def changes_at(records: Sequence[Record], alpha: float) -> list[float]:
    """Mean change of the validation loss on each corpus with this α in the first layer."""
    return [fmean(corpus.changes("first", alpha)) for corpus in _corpora(records)]


def _row(corpus: _Corpus, layers: str, alpha: float) -> list[str]:
    arm = corpus.arms[layers, alpha]
    name = f"MoDE, {layers}" if alpha else "MoE"
    by_seed = ", ".join(signed(change, 4) for change in corpus.changes(layers, alpha)) if alpha else ""
    loss = fixed(fmean(record["validation_loss"] for record in arm), 4)
    measures = []
    for key, (_, places) in _MEASURES.items():
        mean = fmean(mixture[key] for record in arm for mixture in record["mixtures"])
        measures.append(f"{fixed(corpus.first(layers, alpha, key), places)} / {fixed(mean, places)}")
    return [corpus.name, name, f"{alpha:g}", loss, by_seed, *measures]


def _language(records: Sequence[Record]) -> Finding:
    corpora = _corpora(records)
    rows = [
        _row(corpus, *arm) for corpus in corpora for arm in sorted(corpus.arms, key=lambda arm: (arm[0] != "none", arm))
    ]
    heads = ["corpus", "arm", "α", "validation loss", "− MoE, by seed", *(head for head, _ in _MEASURES.values())]
    note = (
        "A Mixtral of 3.4 million parameters, 8 experts, top-2, 600 steps; experts distil in the first layer or in "
        "all. Behind the loss: the first mixture / the mean of all four. Three seeds say nothing about significance."
    )
    return Finding(f"{table(heads, rows)}\n\n{note}", _claims(corpora))


def _claims(corpora: Sequence[_Corpus]) -> list[Claim]:
    moderate = [change for corpus in corpora for change in corpus.changes("first", MODERATE)]
    strong = [change for corpus in corpora for change in corpus.changes("first", STRONG)]
    own, vision = (
        [corpus.first("first", MODERATE, key) - corpus.first("none", 0.0, key) for corpus in corpora]
        for key in ("own_domain_perplexity", "narrow_vision")
    )

    where = f"At α = {MODERATE:g} in the first layer"
    return [
        everywhere(f"{where} the validation loss falls in every seed", [change < 0 for change in moderate]),
        everywhere(f"{where} the experts are better on their own domain, on every corpus", [c < 0 for c in own]),
        everywhere(f"{where} the narrow-vision index falls on every corpus", [change < 0 for change in vision]),
        everywhere(f"α = {STRONG:g} is too strong: the loss rises in every seed", [change > 0 for change in strong]),
    ]


PIECES = (
    Piece(
        "language",
        "Language models",
        "The paper's NLP data are not known beyond translation; a small language model stands beside them.",
        (LANGUAGE,),
        _language,
    ),
)
