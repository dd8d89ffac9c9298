"""Expert probing: what each expert of a mixture does alone, on its own domain and on those of the others."""

from distilled_experts.probing.domains import domain_shares, dominating_experts
from distilled_experts.probing.experts import expert_scores, own_domain_score
from distilled_experts.probing.outputs import ExpertOutputs, probe_outputs
from distilled_experts.probing.routing import error_types, oracle_score, routing_accuracy

__all__ = [
    "ExpertOutputs",
    "domain_shares",
    "dominating_experts",
    "error_types",
    "expert_scores",
    "oracle_score",
    "own_domain_score",
    "probe_outputs",
    "routing_accuracy",
]
