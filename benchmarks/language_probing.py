"""What the experts of a trained model know: `probe` gives the figures of all its mixtures.

Legend: T tokens, E experts, k active.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import MixtralForCausalLM

from distilled_experts.probing import ProbeRecord
from distilled_experts.transformers import probe_tokens
from distilled_experts.transformers.finding import find_mixtures
from distilled_experts.transformers.forcing import recorded_routing
from distilled_experts.transformers.mixtures import Mixture

BATCH = 32


@torch.no_grad()
def token_losses(model: MixtralForCausalLM, windows: Tensor) -> Tensor:
    """Cross entropy of every prediction, (windows, length − 1)."""
    losses = []
    for batch in windows.to(model.device).split(BATCH):
        logits = model(batch, output_router_logits=False).logits[:, :-1]
        losses.append(F.cross_entropy(logits.transpose(1, 2), batch[:, 1:], reduction="none").cpu())
    return torch.cat(losses)


def probe(model: MixtralForCausalLM, held_out: Tensor, trained: Tensor) -> list[dict[str, object]]:
    """For each mixture, load, domains and experts on held-out windows, narrow vision on windows of the training."""
    return [probe_mixture(model, mixture, held_out, trained) for mixture in find_mixtures(model)]


def probe_mixture(model: MixtralForCausalLM, mixture: Mixture, held_out: Tensor, trained: Tensor) -> dict[str, object]:
    load = active_shares(model, mixture, held_out)
    record = probe_tokens(model, batches(held_out), layer=mixture.name, narrow_vision=False)
    vision = probe_tokens(model, batches(trained), layer=mixture.name).narrow_vision
    return {
        "mixture": mixture.name,
        "load": load.tolist(),
        "load_entropy": float(-(load * load.clamp_min(1e-12).log()).sum() / math.log(mixture.n_experts)),
        "domain_shares": record.shares.tolist(),
        "perplexity": record.to_dict()["perplexity_matrix"]["value"],
        "own_domain_perplexity": record.own_domain_perplexity,
        "others_domain_perplexity": others_domain_perplexity(record),
        "cka": float(record.similarity.mean_cka),
        "agreement": float(record.similarity.mean_agreement),
        "narrow_vision": float((vision.whole or vision.task).index),
        "narrow_vision_of_task": float(vision.task.index),
    }


def others_domain_perplexity(record: ProbeRecord) -> float:
    """What experts make of the domains of the others: mean log perplexity, each domain counted by its share."""
    losses, shares = torch.tensor(record.perplexity_matrix).log(), torch.tensor(record.shares)
    others = losses.nan_to_num(0).sum(0) - losses.diagonal().nan_to_num(0)
    return float((shares * others / (len(shares) - 1)).sum().exp())


@torch.no_grad()
def active_shares(model: MixtralForCausalLM, mixture: Mixture, windows: Tensor) -> Tensor:
    """Share of each expert, (E), in the T · k pairs of a token and an active expert."""
    with recorded_routing(mixture) as calls:
        token_losses(model, windows)
    active = torch.cat([routing.indices.flatten() for routing in calls])
    return torch.bincount(active, minlength=mixture.n_experts) / len(active)


def batches(windows: Tensor) -> list[dict[str, Tensor]]:
    """As `probe_tokens` takes them."""
    return [{"input_ids": batch} for batch in windows.split(BATCH)]
