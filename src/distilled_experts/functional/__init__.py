"""Pure functions: gates, combination, mutual distillation, balance and opposite losses.

All take any leading axes and keep them: expert outputs are (*, N, k, D), gate weights (*, N, k), and a loss
is (*).
"""

from distilled_experts.functional.balance import importance, load_balance, z_loss
from distilled_experts.functional.combine import combine
from distilled_experts.functional.distillation import mutual_distillation
from distilled_experts.functional.gating import dense_gate, sparse_gate, sparse_gate_mask
from distilled_experts.functional.opposite import gate_variance, orthogonality
from distilled_experts.functional.options import Distance, Teacher, Weighting, check_distillation
from distilled_experts.functional.schedules import Schedule, schedule_factor

__all__ = [
    "combine",
    "mutual_distillation",
    "dense_gate",
    "sparse_gate",
    "sparse_gate_mask",
    "load_balance",
    "z_loss",
    "importance",
    "orthogonality",
    "gate_variance",
    "check_distillation",
    "Distance",
    "Teacher",
    "Weighting",
    "schedule_factor",
    "Schedule",
]
