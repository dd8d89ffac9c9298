"""Tiny models with four experts in each of three mixtures, from which expert probing is tested."""

from __future__ import annotations

from collections.abc import Callable

import torch
from moe_oracle import VOCABULARY, tiny
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from distilled_experts.transformers import swap


def swapped() -> nn.Module:
    """GPT-2 with three mixtures, its weights always the same."""
    generator = torch.Generator().manual_seed(0)
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=8, n_layer=3, n_head=2, n_positions=16)
    model = swap(GPT2LMHeadModel(config), n_experts=4, init="fresh", generator=generator).double()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return model


def unnormalised() -> nn.Module:
    """A model in which the weights of the active experts do not add up to one."""
    return tiny("qwen3_moe", norm_topk_prob=False)


MODELS: dict[str, Callable[[], nn.Module]] = {"mixtral": tiny, "unnormalised": unnormalised, "swapped": swapped}
