"""Independent, slow computation of a language model's task loss plus mutual distillation, and tiny models for it.

Each expert is asked about every token; the loss is that of `reference`, token by token; gradients are autograd's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from functools import wraps
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import MixtralConfig, MixtralForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

from distilled_experts import reference

Batch = dict[str, Tensor]
Gradients = dict[str, Tensor]

VOCABULARY, N_ROWS, LENGTH = 23, 8, 7
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "num_experts_per_tok": 2,
    "attention_dropout": 0.0,
}
FAMILIES = ("mixtral", "qwen3_moe")


def tiny(family: str = "mixtral", *, dtype: torch.dtype = torch.float64, **changes: Any) -> nn.Module:
    """Language model with three mixtures of four experts, always with the same weights, in training."""
    if family == "mixtral":
        model = MixtralForCausalLM(MixtralConfig(**{**SIZES, "num_local_experts": 4, **changes}))
    else:
        sizes = {**SIZES, "num_experts": 4, "moe_intermediate_size": 12, "head_dim": 4, "norm_topk_prob": True}
        model = Qwen3MoeForCausalLM(Qwen3MoeConfig(**{**sizes, **changes}))
    return prepared(model, dtype)


def prepared(model: nn.Module, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Give a model weights that do not depend on global random state, and experts that differ."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    if dtype == torch.float64 and model.get_experts_implementation():
        # PyTorch's grouped product knows no float64.
        model.set_experts_implementation("eager")
    return model.to(dtype).train()


def batch(kind: str = "ragged", n_rows: int = N_ROWS) -> Batch:
    """Make a batch of one kind: full, ragged, prompt (its labels masked) or packed (two sequences in a row)."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, VOCABULARY, (n_rows, LENGTH), generator=generator)
    made = {"input_ids": tokens, "labels": tokens.clone()}
    if kind == "packed":
        made["position_ids"] = torch.cat([torch.arange(4), torch.arange(LENGTH - 4)]).expand(n_rows, -1)
        made["labels"][:, 4] = -100
    if kind in ("ragged", "prompt"):
        lengths = 2 + torch.arange(n_rows) * 5 % (LENGTH - 1)
        padding = torch.arange(LENGTH) >= lengths.unsqueeze(1)
        made["attention_mask"] = (~padding).long()
        made["input_ids"] = tokens.masked_fill(padding, 0)
        made["labels"].masked_fill_(padding, -100)
    if kind == "prompt":
        made["labels"].masked_fill_(torch.arange(LENGTH) < (torch.arange(n_rows) % 2 + 1).unsqueeze(1), -100)
    return made


def rows(whole: Batch, start: int, stop: int) -> Batch:
    """Take some rows of a batch, as long as they are."""
    return {name: values[start:stop] for name, values in whole.items()}


def split(whole: Batch, n_parts: int) -> list[Batch]:
    """Cut a batch into micro-batches, each as long as its longest sequence."""
    parts = []
    for chunks in zip(*(value.chunk(n_parts) for value in whole.values()), strict=True):
        part = dict(zip(whole, chunks, strict=True))
        if "attention_mask" in part:
            longest = int(part["attention_mask"].sum(-1).max())
            part = {name: value[:, :longest] for name, value in part.items()}
        parts.append(part)
    return parts


def count(part: Batch) -> int:
    """Count the predicted labels."""
    return int((part["labels"][:, 1:] != -100).sum())


@contextmanager
def kept_double() -> Iterator[None]:
    """Calculate in float64 what models calculate in float32 whatever comes in: norms, gates and losses."""

    def keeping(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        @wraps(function)
        def kept(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            if tensor.dtype != torch.float64:
                return function(tensor, *args, **kwargs)
            args = tuple(torch.float64 if value is torch.float32 else value for value in args)
            kwargs = {name: torch.float64 if value is torch.float32 else value for name, value in kwargs.items()}
            return tensor if function is to_float else function(tensor, *args, **kwargs)

        return kept

    to_float = Tensor.float
    with ExitStack() as patches:
        for owner, name in ((Tensor, "float"), (Tensor, "to"), (Tensor, "softmax"), (torch, "softmax"), (F, "softmax")):
            patches.enter_context(mock.patch.object(owner, name, keeping(getattr(owner, name))))
        yield


def expected(model: nn.Module, parts: Sequence[Batch], divisors: Sequence[float], **options: Any) -> Gradients:
    """Gradients of ``Σ (Σ cross-entropy + α Σ distillation) / divisor`` over the parts, on a copy of the model."""
    copy = deepcopy(model)
    copy.zero_grad()
    for part, divisor in zip(parts, divisors, strict=True):
        (oracle_loss(copy, part, **options) / divisor).backward()
    return gradients(copy)


def oracle_loss(
    model: nn.Module,
    part: Batch,
    *,
    alpha: float,
    layers: Sequence[int] = (0,),
    distance: str = "mse",
    teacher: str = "mean",
    weighting: str = "uniform",
    every_expert: bool = False,
) -> Tensor:
    """Sum of cross-entropy over the labels, plus α times the sum of distillation over the tokens."""
    experts = [module for module in model.modules() if hasattr(module, "is_concatenated")]
    with spoken([experts[i] for i in layers], every_expert) as words:
        logits = model(**{name: value for name, value in part.items() if name != "labels"}).logits[:, :-1]
    loss = F.cross_entropy(logits.flatten(0, 1), part["labels"][:, 1:].flatten(), reduction="sum")
    mask = part.get("attention_mask", torch.ones_like(part["labels"])).flatten()
    for said, weights in words:
        mean = reference.mutual_distillation(
            said, weights, mask, distance=distance, teacher=teacher, weighting=weighting
        )
        loss = loss + alpha * mean * mask.sum()
    return loss


@contextmanager
def spoken(experts: Sequence[nn.Module], every_expert: bool = False) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Collect what experts say about each token, and their weights: the active ones (T, k, D), or all (T, E, D)."""
    words: list[tuple[Tensor, Tensor]] = []

    def listen(module: nn.Module, args: tuple[Tensor, ...], mixed: Tensor) -> None:
        hidden, indices, weights = args
        said = []
        for i in range(module.num_experts):
            chosen, one = torch.full_like(indices[:, :1], i), torch.ones_like(weights[:, :1])
            said.append(type(module).forward(module, hidden, chosen, one))
        all_said = torch.stack(said, 1)
        if every_expert:
            words.append((all_said, weights.new_zeros(all_said.shape[:2]).scatter(1, indices, weights)))
        else:
            chosen = indices.unsqueeze(-1).expand(*indices.shape, all_said.shape[-1])
            words.append((all_said.gather(1, chosen), weights))

    handles = [module.register_forward_hook(listen) for module in experts]
    try:
        yield words
    finally:
        for handle in handles:
            handle.remove()


def gradients(model: nn.Module) -> Gradients:
    """Copy all gradients."""
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(found: Gradients, wanted: Gradients, tolerance: float = 1e-10, name: str = "") -> None:
    """Compare gradients relative to the largest entry of each, and see that there are any; `name` tells whose."""
    assert found.keys() == wanted.keys()
    largest = max(float(value.abs().max()) for value in wanted.values())
    assert largest > 1e-3
    for part, value in wanted.items():
        # Some gradients are zero but for rounding, such as that of a key's bias.
        size = max(float(value.abs().max()), 1e-6 * largest)
        error = float((found[part] - value).abs().max()) / size
        assert error < tolerance, f"{name}{part}: relative error {error:.1e}"
