"""``mode compare --task translation``: encoder-decoders with mixtures of experts, from scratch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distilled_experts.checks import check_device, check_number, check_whole
from distilled_experts.experiments.cells import Cell, Model
from distilled_experts.experiments.comparison import Comparison
from distilled_experts.experiments.records import Record
from distilled_experts.experiments.specification import parse_alpha
from distilled_experts.functional.options import check_distillation, refuse_kl
from distilled_experts.translation import (
    Corpus,
    ModelSettings,
    TrainingSettings,
    TranslationSettings,
    load_corpus,
    train_model,
)

__all__ = ["OPTIONS", "TranslationSpecification", "TranslationStudy", "translation_study"]

_TRAINING = {"epochs": "epochs", "batch_size": "tokens", "lr": "learning_rate", "device": "device"}
_MODEL = ("model", "hidden", "distance", "teacher")
_OTHERS = ("data_dir", "pair", "rows", "gate", "top_k", "experts", "alpha", "seeds")

OPTIONS = frozenset((*_OTHERS, *_MODEL, *_TRAINING))
"""Options of the command that `translation_study` takes."""

_ALPHAS = (0.0, 0.01, 0.1, 1.0)


@dataclass(frozen=True)
class TranslationSpecification(Comparison):
    """What is compared on sentence pairs, and how; `rows` pairs are trained on at most."""

    gate: str = "sparse"
    top_k: int | None = 2
    alpha: tuple[float, ...] = _ALPHAS
    seeds: int = 3
    pair: str = ""
    rows: int | None = None
    settings: TranslationSettings = field(default_factory=TranslationSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        model, training = self.settings.model, self.settings.training
        check_distillation(model.distance, model.teacher, "uniform", 1.0)
        refuse_kl(model.distance, "hidden states are no logits")
        for name, value in {"hidden": model.hidden, "epochs": training.epochs, "batch_size": training.tokens}.items():
            check_whole(name, value)
        if self.rows is not None:
            check_whole("rows", self.rows)
        check_number("lr", training.learning_rate, above=0)
        check_device(training.device)


@dataclass(frozen=True)
class TranslationStudy:
    """A comparison of translators, for `experiments.trained.run_study`."""

    specification: TranslationSpecification
    corpus: Corpus

    @property
    def test_share(self) -> float:
        """Test pairs over all others; 0 where they are published, and so the same for every seed."""
        return self.corpus.test_share

    def train(self, cell: Cell) -> Model:
        """Train and measure one model."""
        split = self.corpus.split(cell.seed)
        settings, dense = self.specification.settings, cell.arm == "dense"
        return train_model(split, settings, seed=cell.seed, alpha=cell.alpha, dense=dense)[1]

    def heading(self) -> dict[str, Any]:
        """What the record says of the pairs."""
        split = self.corpus.split(0)
        counts = f"{len(split.train)} / {len(split.validation)} / {len(split.test)} pairs"
        drawn = "drawn by each seed" if self.corpus.test is None else "as published"
        return {
            "rows": sum(map(len, split)),
            "features": None,
            "classes": None,
            "split": f"{counts}, {drawn}",
            "negated": False,
            "notes": list(self.corpus.notes),
        }

    def details(self, arms: Mapping[str, Sequence[Model]], record: Record) -> dict[str, Any]:
        """Of all seeds chrF and perplexity; of the first translations, tokens of each domain, and long sentences."""
        s = self.specification
        first = arms["dense"][0]
        return {
            "model": s.settings.model.model,
            "pair": s.pair,
            "notes": [*record["notes"], *_notes(first["too_long"], s.settings.model.longest)],
            "chrf": {arm: [m["chrf"] for m in found] for arm, found in arms.items()},
            "signatures": first["signatures"],
            "translations": _side_by_side({arm: found[0]["translations"] for arm, found in arms.items()}),
            "domain_tokens": {arm: _domains(arms[arm][0]) for arm in ("moe", "mode") if s.experts > 1},
            "own_domain_perplexity": {
                arm: [m["own_domain_perplexity"] for m in arms[arm]] for arm in ("moe", "mode") if s.experts > 1
            },
        }


def translation_study(data: str, **options: Any) -> TranslationStudy:
    """A study of sentence pairs by name, with options of the command; those that are None take their defaults.

    Parameters
    ----------
    data : str
        As in `translation.load_corpus`.
    **options
        ``data_dir``, ``pair``, ``rows`` (pairs to train on at most), ``epochs``, ``batch_size`` (tokens of targets in a
        step, about), ``lr``, ``device``, ``model``, ``hidden``, ``distance``, ``teacher``, and the fields of
        `Comparison`.

    Raises
    ------
    InvalidParameterError, DataError
        One line that names the parameter, its value, and what is allowed.
    """
    given = {name: value for name, value in options.items() if value is not None}
    rows = given.get("rows")
    if rows is not None:
        check_whole("rows", rows)
    corpus = load_corpus(data, pair=given.pop("pair", None), data_dir=given.pop("data_dir", None)).first(rows)
    experts = given.setdefault("experts", 4)
    if given.get("gate") == "dense":
        given.setdefault("top_k", None)
    top_k = given.setdefault("top_k", min(2, experts))
    if "alpha" in given:
        given["alpha"] = _ALPHAS if given["alpha"] == "auto" else parse_alpha(given["alpha"])
    training = TrainingSettings(**{name: given.pop(key) for key, name in _TRAINING.items() if key in given})
    model = ModelSettings(n_experts=experts, top_k=top_k, **{key: given.pop(key) for key in _MODEL if key in given})
    specification = TranslationSpecification(
        data=corpus.name,
        task="translation",
        metric="bleu",
        pair="-".join(corpus.languages),
        fingerprint=corpus.fingerprint,
        settings=TranslationSettings(model, training),
        **given,
    )
    return TranslationStudy(specification, corpus)


def _notes(too_long: dict[str, int], longest: int) -> list[str]:
    """What sentences of too many tokens came to, in the first seed."""
    left = [f"{n} {part} pairs" for part, n in too_long.items() if n and part != "test"]
    notes = [f"{' and '.join(left)} have a side of more than {longest} tokens and were left out"] if left else []
    if too_long["test"]:
        notes.append(f"{too_long['test']} test pairs have such a side: translated from what fits, and not probed")
    return notes


def _side_by_side(by_arm: dict[str, list[dict[str, str]]]) -> list[dict[str, str]]:
    """Source and reference once, with the translation of each arm."""
    first = next(iter(by_arm.values()))
    return [
        {"source": shared["source"], "reference": shared["reference"]}
        | {arm: rows[i]["translation"] for arm, rows in by_arm.items()}
        for i, shared in enumerate(first)
    ]


def _domains(model: Model) -> list[dict[str, Any]]:
    """Share and typical tokens of every domain."""
    return [
        {"share": share, "tokens": tokens}
        for share, tokens in zip(model["shares"], model["domain_tokens"], strict=True)
    ]
