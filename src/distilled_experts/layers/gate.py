"""The gate: which experts are active for a sample, and with which weights.

Legend: N samples, E experts, k active.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilled_experts.checks import check_number, check_whole
from distilled_experts.functional import dense_gate, sparse_gate
from distilled_experts.layers.initialisation import uniform_parameter
from distilled_experts.layers.output import Routing


class Gate(nn.Module):
    r"""Linear gate, dense or top-k, with the optional noise of Shazeer et al. (2017).

    Parameters
    ----------
    d_in : int
        Width of a sample.
    n_experts : int
        The number of experts E.
    top_k : int, optional
        The number of active experts. None: all, the dense gate.
    renormalise : bool
        For top-k: softmax over the selected scores (True), or over all scores, of which k are kept (False).
    noise : float
        In training :math:`\text{noise} \cdot \mathrm{softplus}(x W_\text{noise})\,\varepsilon` with
        :math:`\varepsilon \sim N(0, 1)` is added to the scores; 1 is the paper's. Never in evaluation.
    bias : bool
        Whether scores have a bias, zero at first.
    generator : torch.Generator, optional
        For initial values and noise. None: PyTorch's own, as in all its modules.
    device, dtype
        Of the parameters.

    Attributes
    ----------
    weight : Parameter (E, d_in)
    bias : Parameter (E) or None
    noise_weight : Parameter (E, d_in) or None

    References
    ----------
    Shazeer et al., Outrageously Large Neural Networks, ICLR 2017, equations 3 to 5.

    Examples
    --------
    >>> gate = Gate(4, 3, top_k=2, generator=torch.Generator().manual_seed(0))
    >>> gate(torch.zeros(1, 4)).weights.detach()
    tensor([[0.5000, 0.5000]])
    """

    def __init__(
        self,
        d_in: int,
        n_experts: int,
        *,
        top_k: int | None = None,
        renormalise: bool = True,
        noise: float = 0.0,
        bias: bool = True,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_whole("n_experts", n_experts)
        if top_k is not None:
            check_whole("top_k", top_k, 1, n_experts)
        check_number("noise", noise, least=0)
        self.top_k = top_k
        self.renormalise = renormalise
        self.noise = noise
        self.generator = generator
        shape = (n_experts, d_in)
        self.weight = uniform_parameter(*shape, fan_in=d_in, generator=generator, device=device, dtype=dtype)
        self.bias = nn.Parameter(torch.zeros(n_experts, device=device, dtype=dtype)) if bias else None
        self.noise_weight = nn.Parameter(torch.zeros(shape, device=device, dtype=dtype)) if noise else None

    def forward(self, x_ND: Tensor) -> Routing:
        """Route each sample: (N, d_in) → scores (N, E), weights and indices (N, k)."""
        scores_NE = F.linear(x_ND, self.weight, self.bias)
        if self.training and self.noise_weight is not None:
            spread_NE = F.softplus(F.linear(x_ND, self.noise_weight))
            scores_NE = scores_NE + self.noise * spread_NE * self._normal(spread_NE)
        if self.top_k is None:
            return Routing(scores_NE, dense_gate(scores_NE))
        weights_Nk, indices_Nk = sparse_gate(scores_NE, self.top_k, renormalise=self.renormalise)
        return Routing(scores_NE, weights_Nk, indices_Nk)

    def _normal(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.generator, device=like.device, dtype=like.dtype)

    def extra_repr(self) -> str:
        """Describe the gate in the module's representation."""
        n_experts, d_in = self.weight.shape
        return f"{d_in}, {n_experts}, top_k={self.top_k}, renormalise={self.renormalise}, noise={self.noise}"
