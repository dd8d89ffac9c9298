"""Expert probing: what each expert of a mixture does alone, on its own domain and on those of the others."""

from distilled_experts.probing.bootstrap import (
    Interval,
    bootstrap_intervals,
    percentile_interval,
    probe_intervals,
    resampled_score,
)
from distilled_experts.probing.domains import domain_shares, dominating_experts
from distilled_experts.probing.exchange import contributions, exchange_intervals, exchange_scores
from distilled_experts.probing.experts import expert_scores, own_domain_score
from distilled_experts.probing.flow import ANSWER_TYPES, adjusted_rand, answer_flow, answer_types
from distilled_experts.probing.multiview import MultiView, make_multi_view, views_learned
from distilled_experts.probing.narrow_vision import (
    NarrowVision,
    gradient_shares,
    narrow_vision,
    narrow_vision_index,
    two_layer_gradient_norms,
)
from distilled_experts.probing.outputs import ExpertOutputs, probe_outputs
from distilled_experts.probing.routing import error_types, oracle_score, routing_accuracy, sample_right
from distilled_experts.probing.similarity import (
    ExpertSimilarity,
    expert_similarity,
    linear_cka,
    mean_off_diagonal,
    prediction_agreement,
)

__all__ = [
    "ANSWER_TYPES",
    "ExpertOutputs",
    "ExpertSimilarity",
    "Interval",
    "MultiView",
    "NarrowVision",
    "adjusted_rand",
    "answer_flow",
    "answer_types",
    "bootstrap_intervals",
    "contributions",
    "domain_shares",
    "dominating_experts",
    "error_types",
    "exchange_intervals",
    "exchange_scores",
    "expert_scores",
    "expert_similarity",
    "gradient_shares",
    "linear_cka",
    "make_multi_view",
    "mean_off_diagonal",
    "narrow_vision",
    "narrow_vision_index",
    "oracle_score",
    "own_domain_score",
    "percentile_interval",
    "prediction_agreement",
    "probe_intervals",
    "probe_outputs",
    "resampled_score",
    "routing_accuracy",
    "sample_right",
    "two_layer_gradient_norms",
    "views_learned",
]
