"""Initial values, drawn as `torch.nn.Linear` draws them, from a generator where one is given."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def uniform_parameter(
    *shape: int,
    fan_in: int,
    generator: torch.Generator | None,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> nn.Parameter:
    """Draw from the uniform distribution between ``±1/√fan_in``."""
    values: Tensor = torch.empty(*shape, device=device, dtype=dtype)
    bound = 1 / math.sqrt(fan_in)
    with torch.no_grad():
        return nn.Parameter(values.uniform_(-bound, bound, generator=generator))
