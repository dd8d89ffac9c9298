"""A small Mixtral on the Trainer of Transformers, with and without distillation, and what its experts know.

All arms of a seed have the same initial values, batches and steps; α = 0 is plain MoE. Legend: T tokens, E experts.
"""

from __future__ import annotations

import math
import tempfile
import time
from typing import Any, Literal

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor
from transformers import MixtralConfig, MixtralForCausalLM, PrinterCallback, Trainer, TrainingArguments

from distilled_experts.experiments.records import environment
from distilled_experts.probing import ProbeRecord
from distilled_experts.reproduction.making.corpora import LENGTH, Corpus, load_corpus
from distilled_experts.transformers import attach, probe_tokens
from distilled_experts.transformers.finding import find_mixtures
from distilled_experts.transformers.forcing import recorded_routing
from distilled_experts.transformers.mixtures import Mixture
from distilled_experts.transformers.random_state import seeded
from distilled_experts.transformers.sizes import n_parameters

__all__ = ["language_model"]

Layers = Literal["none", "first", "all"]

_BATCH, _PROBED_BATCH, _LEARNING_RATE = 16, 32, 2e-3


def language_model(
    *,
    corpus: str,
    layers: Layers,
    alpha: float,
    seed: int,
    steps: int = 600,
    windows: int = 64,
    data_dir: str | None = None,
) -> dict[str, Any]:
    """Train and probe one model, whose experts distil in no layer, in the first or in all.

    So many windows of the validation are probed, and half as many of the training for narrow vision.
    """
    texts = load_corpus(corpus, data_dir)
    start = time.perf_counter()
    with seeded(seed):
        model = _trained(texts, layers, alpha, seed, steps)
    trained = time.perf_counter()
    return {
        "corpus": corpus,
        "layers": layers,
        "alpha": alpha,
        "seed": seed,
        "steps": steps,
        "parameters": n_parameters(model),
        "validation_loss": _token_losses(model, texts.validation).double().mean().item(),
        "mixtures": [
            _probed(model, mixture, texts.validation[:windows], texts.train[: windows // 2])
            for mixture in find_mixtures(model)
        ],
        "seconds": {"training": trained - start, "probing": time.perf_counter() - trained},
        "environment": environment() | {"transformers": transformers.__version__},
    }


def _trained(corpus: Corpus, layers: Layers, alpha: float, seed: int, steps: int) -> MixtralForCausalLM:
    model = _make_model(corpus.vocabulary)
    if layers != "none":
        attach(model, alpha, layers=layers)
    with tempfile.TemporaryDirectory() as folder:
        rows: Any = [{"input_ids": window, "labels": window} for window in corpus.train]
        trainer = Trainer(model, _arguments(folder, seed, steps), train_dataset=rows)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    model.eval()
    return model


def _arguments(folder: str, seed: int, steps: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=_BATCH,
        learning_rate=_LEARNING_RATE,
        lr_scheduler_type="cosine",
        warmup_steps=steps // 10,
        weight_decay=0.1,
        seed=seed,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def _make_model(vocabulary: int) -> MixtralForCausalLM:
    """Make a Mixtral of 3.4 million parameters."""
    config = MixtralConfig(
        vocab_size=vocabulary,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        num_local_experts=8,
        num_experts_per_tok=2,
        max_position_embeddings=LENGTH,
        output_router_logits=True,
        router_aux_loss_coef=0.1,
    )
    return MixtralForCausalLM(config)


@torch.no_grad()
def _token_losses(model: MixtralForCausalLM, windows: Tensor) -> Tensor:
    """Cross entropy of every prediction, (windows, length − 1)."""
    losses = []
    for batch in windows.to(model.device).split(_PROBED_BATCH):
        logits = model(batch, output_router_logits=False).logits[:, :-1]
        losses.append(F.cross_entropy(logits.transpose(1, 2), batch[:, 1:], reduction="none").cpu())
    return torch.cat(losses)


def _probed(model: MixtralForCausalLM, mixture: Mixture, held_out: Tensor, trained: Tensor) -> dict[str, Any]:
    """Load, domains and experts of a mixture on held-out windows, narrow vision on windows of the training."""
    load = _active_shares(model, mixture, held_out)
    record = probe_tokens(model, _batches(held_out), layer=mixture.name, narrow_vision=False)
    vision = probe_tokens(model, _batches(trained), layer=mixture.name).narrow_vision
    assert vision is not None
    return {
        "mixture": mixture.name,
        "load": load.tolist(),
        "load_entropy": float(-(load * load.clamp_min(1e-12).log()).sum() / math.log(mixture.n_experts)),
        "domain_shares": record.shares.tolist(),
        "perplexity": record.to_dict()["perplexity_matrix"]["value"],
        "own_domain_perplexity": record.own_domain_perplexity,
        "others_domain_perplexity": _others_domain_perplexity(record),
        "cka": float(record.similarity.mean_cka),
        "agreement": float(record.similarity.mean_agreement),
        "narrow_vision": float((vision.whole or vision.task).index),
        "narrow_vision_of_task": float(vision.task.index),
    }


def _others_domain_perplexity(record: ProbeRecord) -> float:
    """What experts make of the domains of the others: mean log perplexity, each domain counted by its share."""
    losses, shares = torch.tensor(record.perplexity_matrix).log(), torch.tensor(record.shares)
    others = losses.nan_to_num(0).sum(0) - losses.diagonal().nan_to_num(0)
    return float((shares * others / (len(shares) - 1)).sum().exp())


@torch.no_grad()
def _active_shares(model: MixtralForCausalLM, mixture: Mixture, windows: Tensor) -> Tensor:
    """Share of each expert, (E), in the T · k pairs of a token and an active expert."""
    with recorded_routing(mixture) as calls:
        _token_losses(model, windows)
    active = torch.cat([routing.indices.flatten() for routing in calls])
    return torch.bincount(active, minlength=mixture.n_experts) / len(active)


def _batches(windows: Tensor) -> list[dict[str, Tensor]]:
    """As `probe_tokens` takes them."""
    return [{"input_ids": batch} for batch in windows.split(_PROBED_BATCH)]
