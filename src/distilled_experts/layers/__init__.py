"""Layers: gate, experts, dispatch and mixture, each of which can be replaced."""

from distilled_experts.layers.activations import Activation
from distilled_experts.layers.dispatch import Dispatch
from distilled_experts.layers.experts import Experts, StackedExperts
from distilled_experts.layers.forcing import forced_expert, forced_routing, recorded_calls
from distilled_experts.layers.gate import Gate
from distilled_experts.layers.mixture import MixtureOfExperts
from distilled_experts.layers.output import MoEOutput, Routing
from distilled_experts.layers.parallel_experts import ParallelExperts

__all__ = [
    "MixtureOfExperts",
    "MoEOutput",
    "Routing",
    "Gate",
    "Experts",
    "StackedExperts",
    "ParallelExperts",
    "Dispatch",
    "Activation",
    "forced_expert",
    "forced_routing",
    "recorded_calls",
]
