"""One mixture of a language model, probed batch by batch.

Legend: N predicted tokens, T tokens of a mixture, E experts, D width of the model, B sequences, S positions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distilled_experts.errors import DataError
from distilled_experts.probing.torch_models import arrays_of
from distilled_experts.transformers.distillation import Distillation
from distilled_experts.transformers.feed_forwards import are_feed_forwards
from distilled_experts.transformers.forcing import forced_expert, recorded_routing
from distilled_experts.transformers.mixtures import Mixture, TokenRouting
from distilled_experts.transformers.token_batches import TokenBatch
from distilled_experts.transformers.token_gradients import distillation_strength, gradient_norms
from distilled_experts.transformers.tokens import is_encoder_decoder

# So many tokens tell how similar the experts are, fewer where all that is said about them is more than so many numbers.
_COMPARED_TOKENS = 2048
_COMPARED_NUMBERS = 2**25


class BatchAnswers(NamedTuple):
    """Arrays of one batch: those of `ProbedTokens`; tokens (M) that the mixture sees, and gradient norms (M, E)."""

    tokens: NDArray[Any]
    experts: NDArray[Any]
    mixture: NDArray[Any]
    expert_losses: NDArray[Any]
    mixture_losses: NDArray[Any]
    domains: NDArray[Any]
    sequences: NDArray[Any]
    seen: NDArray[Any]
    seen_domains: NDArray[Any]
    task_norms: NDArray[Any] | None
    whole_norms: NDArray[Any] | None


class Seen(NamedTuple):
    """Tokens (M) that a mixture sees: those that predict, in encoders those of the source.

    Attributes
    ----------
    rows : Tensor (M)
        Their places in the mixture.
    tokens : Tensor (M)
        What is predicted there, or what is read.
    domains : Tensor (M)
    """

    rows: Tensor
    tokens: Tensor
    domains: Tensor


class LayerProbe:
    """One mixture of a model that is probed batch by batch; `said` (T, E, D) is kept of the first tokens."""

    def __init__(self, model: nn.Module, mixture: Mixture, *, narrow_vision: bool) -> None:
        self.model = model
        self.mixture = mixture
        # Tokens of a source, none of which is predicted.
        self.reads_source = is_encoder_decoder(model) and mixture.side == "encoder"
        self.narrow_vision = narrow_vision and are_feed_forwards(mixture)
        self.distillation = Distillation.of(model)
        self.said: list[NDArray[Any]] = []

    @property
    def alpha(self) -> float | None:
        """Strength of distillation in this mixture."""
        return distillation_strength(self.mixture, self.distillation)

    def batch(self, batch: TokenBatch) -> BatchAnswers | None:
        """Probe one batch; None where nothing is predicted."""
        whole = batch
        batch, domains, seen, (mixture, mixture_losses) = self._as_it_is(batch)
        if not len(batch.labels):
            return None
        experts, expert_losses = self._alone(batch, seen.rows)
        task_norms, whole_norms = self._norms(whole, seen.rows)
        return BatchAnswers(
            tokens=arrays_of(batch.labels),
            experts=arrays_of(experts),
            mixture=arrays_of(mixture),
            expert_losses=arrays_of(expert_losses),
            mixture_losses=arrays_of(mixture_losses),
            domains=arrays_of(domains),
            sequences=arrays_of(batch.sequences),
            seen=arrays_of(seen.tokens),
            seen_domains=arrays_of(seen.domains),
            task_norms=task_norms,
            whole_norms=whole_norms,
        )

    @torch.no_grad()
    def _as_it_is(self, batch: TokenBatch) -> tuple[TokenBatch, Tensor, Seen, tuple[Tensor, Tensor]]:
        """The batch without tokens that no expert served, domains (N), what is seen, and the mixture's answers."""
        with recorded_routing(self.mixture) as calls:
            logits = self._logits(batch)
        if len(calls) != 1:
            raise DataError(f"layer: it is run {len(calls)} times for a batch; probing needs layers that are run once")
        weights = self._weights(calls[0], batch)
        by_position = self._means(weights, batch) if self.reads_source else weights
        batch = batch.only(by_position[batch.positions].sum(-1) > 0)
        domains = by_position[batch.positions].argmax(-1)
        seen = _source(weights, batch) if self.reads_source else Seen(batch.positions, batch.labels, domains)
        return batch, domains, seen, batch.answers(logits)

    def _logits(self, batch: TokenBatch) -> Tensor:
        logits: Tensor = self.model(**batch.inputs).logits
        return logits

    def _weights(self, routing: TokenRouting, batch: TokenBatch) -> Tensor:
        """Weights of the experts on each token of the mixture (T, E), zero on padding."""
        dense = routing.dense_weights(self.mixture.n_experts)
        n_sequences, length = batch.inputs["input_ids"].shape if self.reads_source else batch.shape
        if len(dense) != n_sequences * length:
            raise DataError(f"layer: it routes {len(dense)} tokens of a batch of {n_sequences * length}")
        mask = batch.tokens.weight(self.mixture.side, len(dense))
        return dense if mask is None else dense * mask.unsqueeze(-1)

    def _means(self, weights: Tensor, batch: TokenBatch) -> Tensor:
        """Mean weights (B · S, E) over the source of each position that predicts."""
        n_sequences, length = batch.shape
        means = weights.reshape(n_sequences, -1, self.mixture.n_experts).mean(1)
        return means.repeat_interleave(length, 0)

    @torch.no_grad()
    def _alone(self, batch: TokenBatch, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Predicted tokens (N, E) and losses (N, E) of every expert alone."""
        answers, said = [], []
        for expert in range(self.mixture.n_experts):
            with forced_expert(self.mixture, expert) as outputs:
                answers.append(batch.answers(self._logits(batch)))
            said.append(outputs[0][self._compared(rows, outputs[0].shape[-1])])
        self.said.append(arrays_of(torch.stack(said, 1)))
        predicted, losses = zip(*answers, strict=True)
        return torch.stack(predicted, 1), torch.stack(losses, 1)

    def _compared(self, rows: Tensor, width: int) -> Tensor:
        """Tokens of the mixture that tell how similar the experts are."""
        most = min(_COMPARED_TOKENS, _COMPARED_NUMBERS // (self.mixture.n_experts * width))
        return rows[: max(0, most - sum(map(len, self.said)))]

    def _norms(self, batch: TokenBatch, rows: Tensor) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
        if not self.narrow_vision:
            return None, None

        def loss() -> Tensor:
            return batch.answers(self._logits(batch))[1].sum()

        norms = gradient_norms(self.mixture, loss, batch.tokens, self.distillation)
        task, whole = (None if table is None else arrays_of(table[rows.cpu()]) for table in norms)
        return task, whole


def _source(weights: Tensor, batch: TokenBatch) -> Seen:
    """The tokens of the source that some expert served."""
    rows = (weights.sum(-1) > 0).nonzero()[:, 0]
    return Seen(rows, batch.inputs["input_ids"].flatten()[rows], weights[rows].argmax(-1))
