"""Distances between what an expert says and what its teacher says.

Shapes: D is the width of an output; ``*`` stands for any leading axes, which broadcast.
"""

from __future__ import annotations

import torch
from torch import Tensor

_TINY = 1e-24


def squared_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference over D: (*, D), (*, D) → (*)."""
    return (student - teacher).square().mean(-1)


def cosine_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """One minus the cosine, as half the squared distance of unit vectors: exact where they almost agree."""
    return (unit_vectors(student) - unit_vectors(teacher)).square().sum(-1) / 2


def kl_divergence(log_student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher ‖ student) over D, from the student's log-probabilities and the teacher's probabilities."""
    # A probability that underflowed to zero adds nothing: 0 · log(tiny) = 0.
    log_teacher = teacher.clamp_min(torch.finfo(teacher.dtype).tiny).log()
    return (teacher * (log_teacher - log_student)).sum(-1)


def mean_square(mean: Tensor, rows: Tensor | float) -> Tensor:
    """Mean over samples of ``‖ē‖²/D``, one where it is zero: the relative distance's unit, (*, N, D) → (*)."""
    size = (mean.square().mean(-1) * rows).sum(-1)
    return torch.where(size == 0, 1, size)


def unit_vectors(vector: Tensor) -> Tensor:
    """Divide by the norm over D; a zero vector stays zero, with finite gradients of any order."""
    return vector * (vector.square().sum(-1, keepdim=True) + _TINY).rsqrt()
