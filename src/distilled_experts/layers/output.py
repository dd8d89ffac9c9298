"""What a mixture returns: records, never hidden state.

Legend: ``*`` the leading axes of the layer's input, E experts, k active, D width of an output.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from distilled_experts.functional import importance, load_balance, z_loss


@dataclass(frozen=True)
class Routing:
    """The decision of a gate.

    Attributes
    ----------
    scores : Tensor (*, E)
        Before the softmax, with noise where there was some.
    weights : Tensor (*, k)
        Of the active experts; of all experts (*, E) where `indices` is None.
    indices : Tensor (*, k) of int64, or None
        The active experts, in order of falling score. None for a dense gate.

    Examples
    --------
    >>> routing = Routing(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0]]), torch.tensor([[1]]))
    >>> routing.dense_weights()
    tensor([[0., 1.]])
    """

    scores: Tensor
    weights: Tensor
    indices: Tensor | None = None

    def dense_weights(self) -> Tensor:
        """Weights of all experts (*, E), zero for those that are not active."""
        if self.indices is None:
            return self.weights
        return torch.zeros_like(self.scores, dtype=self.weights.dtype).scatter(-1, self.indices, self.weights)

    def mask(self) -> Tensor:
        """Whether an expert is active, (*, E) of bool."""
        if self.indices is None:
            return torch.ones_like(self.scores, dtype=torch.bool)
        return torch.zeros_like(self.scores, dtype=torch.bool).scatter(-1, self.indices, True)

    def reshaped(self, *lead: int) -> Routing:
        """Give the same record with other leading axes."""
        indices = None if self.indices is None else self.indices.reshape(*lead, self.indices.shape[-1])
        scores = self.scores.reshape(*lead, self.scores.shape[-1])
        return Routing(scores, self.weights.reshape(*lead, self.weights.shape[-1]), indices)


@dataclass(frozen=True)
class MoEOutput:
    """The output of a mixture with all that its training needs.

    Attributes
    ----------
    output : Tensor (*, D)
        The mixture, shared experts included.
    distillation_loss : Tensor () or None
        Mutual distillation of the compared experts, to be weighted with α. None without distillation and in
        evaluation.
    routing : Routing
        Scores, weights and indices of the gate.
    expert_outputs : Tensor (*, k, D) or None
        Unweighted outputs of the active experts, in the order of ``routing.indices``, for a dense gate of
        all. Only on request.
    sample_weight : Tensor (*) or None
        As it was given to the layer.
    """

    output: Tensor
    distillation_loss: Tensor | None
    routing: Routing
    expert_outputs: Tensor | None = None
    sample_weight: Tensor | None = None

    @property
    def balance_loss(self) -> Tensor:
        """Loss () that keeps all experts in use; computed when asked for.

        Switch Transformer's for a sparse gate; the squared coefficient of variation of the gate's weights for
        a dense one, whose load is uniform by construction.
        """
        routing, sample_weight = self._rows()
        if routing.indices is None:
            return importance(routing.weights, sample_weight)
        return load_balance(routing.scores.softmax(-1), routing.mask(), sample_weight)

    @property
    def z_loss(self) -> Tensor:
        """Loss () that keeps the gate's scores small; computed when asked for."""
        routing, sample_weight = self._rows()
        return z_loss(routing.scores, sample_weight)

    def reshaped(self, *lead: int) -> MoEOutput:
        """Give the same record with other leading axes."""
        outputs = self.expert_outputs
        return replace(
            self,
            output=self.output.reshape(*lead, self.output.shape[-1]),
            routing=self.routing.reshaped(*lead),
            expert_outputs=None if outputs is None else outputs.reshape(*lead, *outputs.shape[-2:]),
            sample_weight=None if self.sample_weight is None else self.sample_weight.reshape(lead),
        )

    def _rows(self) -> tuple[Routing, Tensor | None]:
        # The leading axes of an input are all samples of one batch, not models of their own.
        sample_weight = None if self.sample_weight is None else self.sample_weight.reshape(-1)
        return self.routing.reshaped(self.routing.scores[..., 0].numel()), sample_weight
