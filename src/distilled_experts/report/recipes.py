"""Which figures a page shows of each kind of record, in which order and under which headings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from distilled_experts.report import captions, data, figures
from distilled_experts.report.captions.caption import Caption
from distilled_experts.report.data.rows import Data
from distilled_experts.report.values import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Recipe(NamedTuple):
    """How one exhibit is made from a record; one that is stepped takes an ``alpha`` and is made anew for each.

    ``stepped`` is the measure that must be known at every α.
    """

    key: str
    title: str
    draw: Callable[..., Figure]
    describe: Callable[..., Caption]
    collect: Callable[[Record], Data]
    stepped: str = ""


class Section(NamedTuple):
    """Recipes under one heading."""

    key: str
    title: str
    recipes: tuple[Recipe, ...]


COMPARE = (
    Section(
        "scores",
        "Figures",
        (
            Recipe(
                "differences",
                "The difference, seed by seed",
                figures.differences,
                captions.comparison.differences,
                data.comparison.differences,
            ),
            Recipe(
                "score-against-alpha",
                "Test score against α",
                figures.score_against_alpha,
                captions.comparison.score_against_alpha,
                data.comparison.score_against_alpha,
            ),
            Recipe(
                "own-domain-against-alpha",
                "Experts on their own domains against α",
                figures.own_domain_against_alpha,
                captions.comparison.own_domain_against_alpha,
                data.comparison.own_domain_against_alpha,
            ),
            Recipe(
                "learning-curves",
                "Learning curves",
                figures.learning_curves,
                captions.comparison.learning_curves,
                data.comparison.learning_curves,
            ),
        ),
    ),
    Section(
        "domains-and-experts",
        "Who does what",
        (
            Recipe(
                "domains",
                "How the rows are shared out",
                figures.domains,
                captions.experts.domains,
                data.experts.domains,
                stepped="shares",
            ),
            Recipe(
                "expert-domain-matrix",
                "Every expert on every domain",
                figures.expert_domain_matrix,
                captions.experts.expert_domain_matrix,
                data.experts.expert_domain_matrix,
                stepped="matrix",
            ),
            Recipe(
                "contrasted-domains",
                "Little and much distillation",
                figures.contrasted_domains,
                captions.experts.contrasted_domains,
                data.experts.contrasted_domains,
            ),
        ),
    ),
    Section(
        "reasons",
        "Where the change comes from",
        (
            Recipe(
                "exchange",
                "Better experts, or a better gate?",
                figures.exchange,
                captions.why.exchange,
                data.why.exchange,
            ),
            Recipe("flow", "What becomes of the errors", figures.flow, captions.why.flow, data.why.flow),
            Recipe(
                "parallel-study",
                "Experts under one gate",
                figures.parallel_study,
                captions.why.parallel_study,
                data.why.parallel_study,
            ),
        ),
    ),
    Section(
        "vision",
        "What the experts learn from, and how alike they become",
        (
            Recipe(
                "narrow-vision-over-training",
                "Narrow vision over training",
                figures.narrow_vision_over_training,
                captions.why.narrow_vision_over_training,
                data.why.narrow_vision_over_training,
            ),
            Recipe(
                "narrow-vision-against-alpha",
                "Narrow vision against α",
                figures.narrow_vision_against_alpha,
                captions.why.narrow_vision_against_alpha,
                data.why.narrow_vision_against_alpha,
            ),
            Recipe(
                "similarity-over-training",
                "Similarity of the experts over training",
                figures.similarity_over_training,
                captions.why.similarity_over_training,
                data.why.similarity_over_training,
            ),
            Recipe(
                "similarity-against-alpha",
                "Similarity of the experts against α",
                figures.similarity_against_alpha,
                captions.why.similarity_against_alpha,
                data.why.similarity_against_alpha,
            ),
        ),
    ),
    Section(
        "attention-to-columns",
        "Attention to columns",
        (
            Recipe(
                "attention",
                "Which columns each expert looks at",
                figures.attention,
                captions.why.attention,
                data.why.attention,
            ),
        ),
    ),
)
PROBE = (
    Section(
        "figures",
        "Figures",
        (
            Recipe(
                "own-domain",
                "Each expert alone on its own domain",
                figures.own_domain,
                captions.model.own_domain,
                data.model.own_domain,
            ),
            Recipe(
                "domains", "How the data are shared out", figures.domains, captions.model.domains, data.model.domains
            ),
            Recipe(
                "expert-domain-matrix",
                "Every expert on every domain",
                figures.expert_domain_matrix,
                captions.model.expert_domain_matrix,
                data.model.expert_domain_matrix,
            ),
            Recipe(
                "loss-matrix",
                "How sure every expert is on every domain",
                figures.loss_matrix,
                captions.model.loss_matrix,
                data.model.loss_matrix,
            ),
            Recipe(
                "composition",
                "Who is the expert for what",
                figures.composition,
                captions.model.composition,
                data.model.composition,
            ),
            Recipe("errors", "Why answers are wrong", figures.errors, captions.model.errors, data.model.errors),
            Recipe(
                "narrow-vision",
                "What the experts learn from",
                figures.narrow_vision,
                captions.model.narrow_vision,
                data.model.narrow_vision,
            ),
            Recipe(
                "similarity",
                "How alike the experts are",
                figures.similarity,
                captions.model.similarity,
                data.model.similarity,
            ),
        ),
    ),
)
SWEPT = {
    "score": "Test score",
    "own_domain": "Experts on their own domains",
    "similarity": "Similarity of the experts",
    "narrow_vision": "Narrow vision",
}


def _swept(measure: str, along: str) -> Recipe:
    """A measure of a sweep along α, or along the number of experts."""
    draw, describe, name = {
        "alpha": (figures.alpha_by_experts, captions.sweep.against_alpha, "α"),
        "experts": (figures.experts_by_alpha, captions.sweep.against_experts, "the number of experts"),
    }[along]
    return Recipe(
        f"{measure.replace('_', '-')}-against-{along}",
        f"{SWEPT[measure]} against {name}",
        partial(draw, measure=measure),
        partial(describe, measure=measure),
        partial(data.sweep.swept, measure=measure, along=along),
    )


SWEEP = (
    Section("along-alpha", "Against the strength of distillation", tuple(_swept(name, "alpha") for name in SWEPT)),
    Section("along-experts", "Against the number of experts", tuple(_swept(name, "experts") for name in SWEPT)),
)
SECTIONS = {"compare": COMPARE, "probe": PROBE, "sweep": SWEEP}
