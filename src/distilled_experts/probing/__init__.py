"""Expert probing: what each expert of a mixture does alone, on its own domain and on those of the others."""

from distilled_experts.probing.attribution import Attention, Attentive, ExpertFunction, attention, expert_attention
from distilled_experts.probing.bootstrap import (
    Interval,
    bootstrap_intervals,
    percentile_interval,
    probe_intervals,
    probe_statistic,
    resampled_mean,
    resampled_score,
)
from distilled_experts.probing.domains import domain_shares, dominating_experts
from distilled_experts.probing.ensembles import Ensemble
from distilled_experts.probing.exchange import contributions, exchange_intervals, exchange_scores
from distilled_experts.probing.experts import expert_scores, own_domain_score
from distilled_experts.probing.flow import adjusted_rand, answer_flow
from distilled_experts.probing.losses import ExpertLosses, log_losses, loss_statistic
from distilled_experts.probing.measure import probe, probe_samples
from distilled_experts.probing.modules import MixtureModule
from distilled_experts.probing.multiview import MultiView, make_multi_view, views_learned
from distilled_experts.probing.narrow_vision import (
    NarrowVision,
    gradient_shares,
    narrow_vision,
    narrow_vision_index,
    two_layer_gradient_norms,
)
from distilled_experts.probing.outputs import ExpertOutputs, probe_outputs
from distilled_experts.probing.plain import plain_numbers
from distilled_experts.probing.protocol import Probeable, ProbedSamples, choose_layer, dominated_by
from distilled_experts.probing.record import ProbeRecord, Vision
from distilled_experts.probing.routing import (
    ANSWER_TYPES,
    answer_types,
    error_types,
    oracle_score,
    routing_accuracy,
    sample_right,
)
from distilled_experts.probing.similarity import (
    ExpertSimilarity,
    answer_agreement,
    expert_similarity,
    linear_cka,
    mean_off_diagonal,
    prediction_agreement,
    similarity_of,
)
from distilled_experts.probing.subsets import (
    Subsets,
    class_subsets,
    cluster_subsets,
    frequency_subsets,
    named_subsets,
    regression_subsets,
    target_subsets,
)
from distilled_experts.probing.tokens import ProbedTokens, probe_predictions

__all__ = [
    "ANSWER_TYPES",
    "Attention",
    "Attentive",
    "Ensemble",
    "ExpertFunction",
    "ExpertLosses",
    "ExpertOutputs",
    "ExpertSimilarity",
    "Interval",
    "MixtureModule",
    "MultiView",
    "NarrowVision",
    "ProbeRecord",
    "Probeable",
    "ProbedSamples",
    "ProbedTokens",
    "Subsets",
    "Vision",
    "adjusted_rand",
    "answer_agreement",
    "answer_flow",
    "answer_types",
    "attention",
    "bootstrap_intervals",
    "choose_layer",
    "class_subsets",
    "cluster_subsets",
    "contributions",
    "domain_shares",
    "dominated_by",
    "dominating_experts",
    "error_types",
    "exchange_intervals",
    "exchange_scores",
    "expert_scores",
    "expert_attention",
    "expert_similarity",
    "frequency_subsets",
    "gradient_shares",
    "linear_cka",
    "log_losses",
    "loss_statistic",
    "make_multi_view",
    "mean_off_diagonal",
    "named_subsets",
    "narrow_vision",
    "narrow_vision_index",
    "oracle_score",
    "own_domain_score",
    "percentile_interval",
    "plain_numbers",
    "prediction_agreement",
    "probe",
    "probe_intervals",
    "probe_outputs",
    "probe_predictions",
    "probe_samples",
    "probe_statistic",
    "regression_subsets",
    "resampled_mean",
    "resampled_score",
    "routing_accuracy",
    "sample_right",
    "similarity_of",
    "target_subsets",
    "two_layer_gradient_norms",
    "views_learned",
]
