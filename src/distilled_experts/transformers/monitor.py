"""How mixtures fare while they are trained: losses, use of the experts, their similarity.

Legend: T tokens, E experts, C compared, D width of the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from distilled_experts.functional.distances import unit_vectors
from distilled_experts.transformers.mixtures import TokenRouting
from distilled_experts.transformers.tokens import Tokens

# So many tokens of each pass tell how similar the experts are.
_COMPARED_TOKENS = 256


@dataclass
class MixtureMonitor:
    """Sums over the passes of one mixture; they stay on its device until they are asked for.

    Parameters
    ----------
    n_experts : int
        E.

    Examples
    --------
    >>> monitor = MixtureMonitor(n_experts=3)
    >>> routing = TokenRouting(torch.tensor([[0, 1], [1, 0]]), torch.full((2, 2), 0.5))
    >>> tokens = Tokens({"encoder": None, "decoder": None}, None)
    >>> monitor.observe(tokens, torch.tensor(0.25), None, routing, torch.ones(2, 2, 4))
    >>> monitor.summary()
    {'distillation_loss': 0.25, 'utilisation': 0.631, 'dead_experts': 1, 'similarity': 1.0}
    """

    n_experts: int
    _loss: Tensor | float = 0.0
    _labels: Tensor | float = 0.0
    _load: Tensor | float = 0.0
    _similarity: list[Tensor] = field(default_factory=list)

    @property
    def seen(self) -> bool:
        """Whether there was a pass."""
        return bool(self._similarity)

    @torch.no_grad()
    def observe(
        self, tokens: Tokens, loss: Tensor, counted: Tensor | None, routing: TokenRouting, said_TCD: Tensor
    ) -> None:
        """Take in one pass: the loss of its mixture, which tokens count, who worked on them and what was said.

        A pass that a checkpoint computes twice counts twice, in all figures alike.
        """
        # The sum over the tokens: with the count of a whole step, a pass has only a part of the step's loss.
        self._loss = self._loss + loss * (1 if tokens.n_labels is None else tokens.n_labels)
        self._labels = self._labels + (1 if tokens.n_own is None else tokens.n_own)
        active_TC = routing.weights != 0
        if counted is not None:
            active_TC = active_TC & counted.unsqueeze(-1)
        load_E = torch.zeros(self.n_experts, device=said_TCD.device)
        self._load = self._load + load_E.scatter_add(0, routing.indices.flatten(), active_TC.flatten().to(load_E.dtype))
        self._similarity.append(_mean_cosine(said_TCD if counted is None else said_TCD[counted]))

    def summary(self) -> dict[str, float]:
        """Give the figures since the last reset.

        Returns
        -------
        dict
            ``distillation_loss``: as in `attach`, before it is multiplied with α · ``utilisation``: normalised entropy
            of the experts' load, 1 where all have the same · ``dead_experts``: how many no token was sent to ·
            ``similarity``: mean cosine of what two compared experts say about a token, NaN where no two are compared.
        """
        load = torch.as_tensor(self._load, dtype=torch.float64)
        share = load / load.sum().clamp_min(1)
        entropy = float(-(share * share.clamp_min(1e-30).log()).sum())
        return {
            "distillation_loss": float(self._loss / self._labels),
            "utilisation": round(entropy / math.log(self.n_experts), 3) if self.n_experts > 1 else 1.0,
            "dead_experts": int((load == 0).sum()),
            "similarity": round(float(torch.stack(self._similarity).nanmean()), 3),
        }


def _mean_cosine(said_TCD: Tensor) -> Tensor:
    """Mean over tokens and over pairs of compared experts."""
    units = unit_vectors(said_TCD[:_COMPARED_TOKENS].float())
    n_pairs = units.shape[-2] * (units.shape[-2] - 1)
    # The sum over all pairs, that of each with itself included, is the square of the sum.
    pairs_T = units.sum(-2).square().sum(-1) - units.square().sum((-2, -1))
    return (pairs_T / n_pairs if n_pairs else pairs_T * torch.nan).mean()
