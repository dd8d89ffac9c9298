"""Mutual distillation of a model's mixtures, within the forward passes of the model.

Legend: T tokens, C compared experts, D width of the model.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from distilled_experts.errors import TrainingError
from distilled_experts.functional import Schedule, combine, schedule_factor
from distilled_experts.layers.scope import extra_experts
from distilled_experts.transformers.forward_pass import ForwardPass
from distilled_experts.transformers.mixtures import Mixture, TokenRouting, counted_tokens
from distilled_experts.transformers.monitor import MixtureMonitor
from distilled_experts.transformers.passes import ModelPasses

_NOTHING_TO_DISTIL = (
    "one active expert has nobody to learn from, the distillation loss is zero; use scope='active+1' or 'all'"
)


class Distillation:
    """Mutual distillation of some mixtures of a model: all that `attach` adds to it.

    Parameters
    ----------
    model : Module
        The one that is called in training.
    mixtures : mapping of int to Mixture
        Those that distil, by their number in the model.
    alphas : mapping of int to float
        Strength α of each.
    scope : str
        As in `attach`.
    alpha_schedule : str
        As in `attach`.
    options : mapping
        Keyword arguments of `functional.combine`.

    Attributes
    ----------
    progress : float or None
        Share of the training that is done, for schedules other than ``"constant"``.
    monitors : dict of int to MixtureMonitor
        What watches the mixtures, by their numbers; empty where nothing does.
    """

    def __init__(
        self,
        model: nn.Module,
        mixtures: Mapping[int, Mixture],
        alphas: Mapping[int, float],
        *,
        scope: str,
        alpha_schedule: Schedule,
        options: Mapping[str, Any],
    ) -> None:
        self.mixtures = dict(mixtures)
        self.alphas = dict(alphas)
        self.scope = scope
        self.alpha_schedule: Schedule = alpha_schedule
        self.options = dict(options)
        self.progress: float | None = None
        self.monitors: dict[int, MixtureMonitor] = {}
        layers = {i: mixture.layer for i, mixture in self.mixtures.items()}
        self.passes = ModelPasses(model, "distillation", layers, self.strengths)
        self._handles: list[RemovableHandle] = []

    @classmethod
    def of(cls, model: nn.Module) -> Distillation | None:
        """Find what `attach` added to a model or to one that it contains."""
        for module in model.modules():
            for hook in module._forward_hooks.values():
                for argument in getattr(hook, "args", ()):
                    if isinstance(argument, cls):
                        return argument
        return None

    def connect(self) -> None:
        """Put the hooks in place."""
        self._handles += self.passes.connect()
        for mixture in self.mixtures.values():
            self._handles += mixture.connect(self)

    def disconnect(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def strengths(self) -> dict[nn.Module, float]:
        """Strength α of each mixture now; those with zero do not distil."""
        factor = self.schedule_factor()
        strengths = {self.mixtures[i].layer: alpha * factor for i, alpha in self.alphas.items()}
        return {layer: strength for layer, strength in strengths.items() if strength}

    def schedule_factor(self) -> float:
        """Factor of all strengths now."""
        if self.alpha_schedule == "constant":
            return 1.0
        if self.progress is None:
            raise TrainingError(
                f"alpha_schedule={self.alpha_schedule!r} has to know how far the training is: "
                "give the Trainer a DistillationCallback, or call set_progress(model, share)"
            )
        return schedule_factor(self.alpha_schedule, self.progress)

    def pass_of(self, mixture: Mixture) -> ForwardPass | None:
        """Open pass in which a mixture distils; None where it does not."""
        return self.passes.of(mixture.layer)

    def compared(self, mixture: Mixture, routing: TokenRouting) -> TokenRouting:
        """Active experts of each token, and those that are to be compared with them."""
        if self.scope != "active":
            extra = extra_experts(self.scope, mixture.n_experts, routing.indices.shape[-1])
            routing = routing.with_others(mixture.n_experts, extra)
        if routing.indices.shape[-1] == 1:
            warnings.warn(_NOTHING_TO_DISTIL, stacklevel=2)
        return routing

    def mix(self, mixture: Mixture, said_TCD: Tensor, routing: TokenRouting) -> tuple[Tensor, Tensor]:
        """Mixture (T, D) and distillation loss () of what the compared experts said."""
        forward_pass = self.pass_of(mixture)
        assert forward_pass is not None
        counted = counted_tokens(mixture, routing, forward_pass.tokens)
        output_TD, loss = combine(said_TCD, routing.weights, routing.kept, sample_weight=counted, **self.options)
        assert loss is not None
        loss = forward_pass.tokens.per_label(loss, counted, len(said_TCD))
        if self.monitors:
            number = next(i for i, one in self.mixtures.items() if one is mixture)
            self.monitors[number].observe(forward_pass.tokens, loss, counted, routing, said_TCD)
        return output_TD, loss
