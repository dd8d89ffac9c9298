"""What the experts of a trained model know, on held-out tokens: `probe` gives the figures of one mixture.

Legend: T tokens, E experts, k active, D width of the model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import MixtralForCausalLM

from distilled_experts.probing import expert_similarity
from distilled_experts.transformers.finding import find_mixtures
from distilled_experts.transformers.mixtures import Mixture

BATCH = 32
SIMILARITY_TOKENS = 2048


@torch.no_grad()
def token_losses(model: MixtralForCausalLM, windows: Tensor) -> Tensor:
    """Cross entropy of every prediction, (windows, length − 1)."""
    losses = []
    for batch in windows.to(model.device).split(BATCH):
        logits = model(batch, output_router_logits=False).logits[:, :-1]
        losses.append(F.cross_entropy(logits.transpose(1, 2), batch[:, 1:], reduction="none").cpu())
    return torch.cat(losses)


def probe(model: MixtralForCausalLM, windows: Tensor) -> list[dict[str, object]]:
    """For each mixture: shares of the load, perplexity of every expert on every domain, similarity.

    The domain of an expert are the tokens on which it has the largest weight. "Alone" is an expert to which the routing
    of all tokens is forced in its layer, all else unchanged.
    """
    return [probe_mixture(model, mixture, windows) for mixture in find_mixtures(model)]


def probe_mixture(model: MixtralForCausalLM, mixture: Mixture, windows: Tensor) -> dict[str, object]:
    with recorded(mixture) as calls:
        token_losses(model, windows)
    hidden_TD = torch.cat([hidden for hidden, _ in calls])
    indices_Tk = torch.cat([indices for _, indices in calls])
    n_experts = mixture.n_experts
    load = torch.bincount(indices_Tk.flatten(), minlength=n_experts) / indices_Tk.numel()
    # The last token of a window predicts nothing.
    domains = indices_Tk[:, 0].reshape(windows.shape)[:, :-1].cpu()
    matrix = np.full((n_experts, n_experts), math.nan)
    own = 0.0
    for expert in range(n_experts):
        with forced(mixture, expert):
            losses = token_losses(model, windows)
        for domain in domains.unique().tolist():
            matrix[expert, domain] = losses[domains == domain].mean().exp()
        own += losses[domains == expert].sum().item() / domains.numel()
    alike = expert_similarity(outputs_alone(mixture, hidden_TD[:SIMILARITY_TOKENS]), "regression")
    return {
        "mixture": mixture.name,
        "load": load.tolist(),
        "load_entropy": float(-(load * load.clamp_min(1e-12).log()).sum() / math.log(n_experts)),
        "domain_shares": (torch.bincount(domains.flatten(), minlength=n_experts) / domains.numel()).tolist(),
        "own_domain_perplexity": math.exp(own),
        "perplexity": [[None if math.isnan(value) else value for value in row] for row in matrix.tolist()],
        "cka": float(alike.mean_cka),
        "agreement": float(alike.mean_agreement),
    }


@contextmanager
def recorded(mixture: Mixture) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Collect tokens (T, D) and active experts (T, k), best first, of every call."""
    calls: list[tuple[Tensor, Tensor]] = []

    def record(_: object, args: tuple[Tensor, ...]) -> None:
        hidden, indices, weights = args
        calls.append((hidden, indices.gather(-1, weights.argsort(-1, descending=True))))

    handle = mixture.layer.register_forward_pre_hook(record)
    try:
        yield calls
    finally:
        handle.remove()


@contextmanager
def forced(mixture: Mixture, expert: int) -> Iterator[None]:
    """Send every token of a mixture to one expert."""

    def force(_: object, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden, indices, weights = args
        return hidden, torch.full_like(indices[:, :1], expert), torch.ones_like(weights[:, :1])

    handle = mixture.layer.register_forward_pre_hook(force)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def outputs_alone(mixture: Mixture, hidden_TD: Tensor) -> np.ndarray:
    """What every expert says about the same tokens, (T, E, D)."""
    said = []
    for expert in range(mixture.n_experts):
        indices = torch.full((len(hidden_TD), 1), expert, device=hidden_TD.device)
        said.append(mixture.layer(hidden_TD, indices, hidden_TD.new_ones(len(hidden_TD), 1)))
    return torch.stack(said, 1).cpu().numpy()
