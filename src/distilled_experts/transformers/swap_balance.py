"""Load balance of the mixtures of a swapped model, with the gradient that is due whatever the training loop does.

Legend: T tokens, E experts, k active.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from torch import Tensor
from transformers import PreTrainedModel

from distilled_experts.functional import load_balance
from distilled_experts.layers import Gate, Routing
from distilled_experts.transformers.mixtures import side_of
from distilled_experts.transformers.passes import ModelPasses, uncompiled
from distilled_experts.transformers.swap_mixture import FeedForwardMixture
from distilled_experts.transformers.tokens import Side


def connect_balance(model: PreTrainedModel) -> None:
    """Put the hooks in place that add the balance loss of a swapped model, where its configuration asks for one."""
    named = [(name, module) for name, module in model.named_modules() if isinstance(module, FeedForwardMixture)]
    strength = model.config.mixtures["balance"] / len(named)
    if strength == 0:
        return
    routers = {i: mixture.router for i, (_, mixture) in enumerate(named)}
    passes = ModelPasses(model, "balance", routers, partial(dict, dict.fromkeys(routers.values(), strength)))
    passes.connect()
    for name, mixture in named:
        mixture.router.register_forward_hook(partial(_balance, passes, side_of(name)))


@uncompiled
def _balance(
    passes: ModelPasses, side: Side, router: Gate, args: tuple[Tensor, ...], routing: Routing
) -> Routing | None:
    forward_pass = passes.of(router)
    if forward_pass is None:
        return None
    counted = forward_pass.tokens.weight(side, len(routing.scores))
    loss = forward_pass.tokens.part(load_balance(routing.scores.softmax(-1), routing.mask(), counted))
    # A copy, because the softmax needs the weights as they are for its own gradient.
    return replace(routing, weights=forward_pass.add(router, routing.weights.clone(), loss))
