"""From samples to the experts that they are sent to, and back.

Legend: N samples, k active experts, D width of a sample, S = N·k rows sorted by expert.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Dispatch:
    """The order in which samples visit experts: sorted by expert, by sample within one; nothing is dropped.

    Attributes
    ----------
    samples : Tensor (S) of int64
        The sample that each row is a copy of.
    places : Tensor (S) of int64
        The row of each pair of sample and choice.
    counts : list of int
        Rows of each expert; reading them off is the one wait for the device.
    k : int
        Rows of each sample.

    Examples
    --------
    >>> dispatch = Dispatch.from_indices(torch.tensor([[1, 0], [1, 2]]), 3)
    >>> dispatch.gather(torch.tensor([[10.0], [20.0]])).flatten(), dispatch.counts
    (tensor([10., 10., 20., 20.]), [1, 2, 1])
    """

    samples: Tensor
    places: Tensor
    counts: list[int]
    k: int

    @classmethod
    def from_indices(cls, indices_Nk: Tensor, n_experts: int) -> Dispatch:
        """Sort the choices (N, k) of a gate by expert."""
        k = indices_Nk.shape[-1]
        chosen_S = indices_Nk.flatten()
        order_S = chosen_S.argsort(stable=True)
        places_S = torch.empty_like(order_S)
        places_S[order_S] = torch.arange(len(order_S), device=order_S.device)
        counts = torch.bincount(chosen_S, minlength=n_experts).tolist()
        return cls(order_S // k, places_S, counts, k)

    def gather(self, x_ND: Tensor) -> Tensor:
        """Copy each sample to the rows of its experts: (N, D) → (S, D)."""
        return x_ND.index_select(0, self.samples)

    def restore(self, rows_SD: Tensor) -> Tensor:
        """Bring rows back to the order of samples and choices: (S, D) → (N, k, D)."""
        n_samples = len(self.places) // self.k
        return rows_SD.index_select(0, self.places).reshape(n_samples, self.k, rows_SD.shape[-1])
