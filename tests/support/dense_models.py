"""Small dense models of many families, to be swapped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel

from distilled_experts.transformers import FeedForwardForm
from distilled_experts.transformers.swap_mixture import FeedForwardMixture

TOKENS = torch.arange(14).reshape(2, 7) % 9 + 1
BERT = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2, "vocab_size": 20,
    "max_position_embeddings": 32,
}  # fmt: skip
BART = {
    "d_model": 16, "encoder_ffn_dim": 24, "decoder_ffn_dim": 20, "encoder_layers": 2, "decoder_layers": 2,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 20, "max_position_embeddings": 32,
    "decoder_start_token_id": 0, "pad_token_id": 0, "dropout": 0.2, "activation_dropout": 0.1,
}  # fmt: skip
T5 = {
    "d_model": 16, "d_ff": 24, "d_kv": 8, "num_heads": 2, "num_layers": 2, "vocab_size": 20, "dropout_rate": 0.2,
    "decoder_start_token_id": 0,
}  # fmt: skip
VIT = BERT | {"image_size": 8, "patch_size": 4}
OPT = {"word_embed_proj_dim": 16, "ffn_dim": 24}
DISTILBERT = {"dim": 16, "hidden_dim": 24, "n_layers": 2, "n_heads": 2, "vocab_size": 20}
CONVNEXT = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16], "layer_scale_init_value": 1.0}
SWIN = {"embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "image_size": 16, "patch_size": 2, "window_size": 2}


class Family(NamedTuple):
    """A kind of model: class, configuration, side of an image that it takes, number of its feed-forwards."""

    model: str
    config: str
    options: dict[str, Any]
    image: int | None = None
    feed_forwards: int = 3


FAMILIES = {
    "t5": Family("T5ForConditionalGeneration", "T5Config", T5, None, 4),
    "t5_gated": Family("T5ForConditionalGeneration", "T5Config", T5 | {"feed_forward_proj": "gated-gelu"}, None, 4),
    "bart": Family("BartForConditionalGeneration", "BartConfig", BART, None, 4),
    "marian": Family("MarianMTModel", "MarianConfig", BART | {"activation_function": "swish"}, None, 4),
    "gpt2": Family("GPT2LMHeadModel", "GPT2Config", {"n_embd": 16, "n_layer": 3, "n_head": 2, "vocab_size": 20}),
    "llama": Family("LlamaForCausalLM", "LlamaConfig", BERT | {"num_key_value_heads": 2}),
    "opt": Family("OPTForCausalLM", "OPTConfig", BERT | OPT),
    "gpt_neox": Family("GPTNeoXForCausalLM", "GPTNeoXConfig", BERT),
    "bert": Family("BertForMaskedLM", "BertConfig", BERT),
    "distilbert": Family("DistilBertForMaskedLM", "DistilBertConfig", DISTILBERT, None, 2),
    "vit": Family("ViTForImageClassification", "ViTConfig", VIT, 8),
    "clip": Family("CLIPVisionModel", "CLIPVisionConfig", VIT | {"projection_dim": 8}, 8),
    "swin": Family("SwinForImageClassification", "SwinConfig", SWIN, 16, 2),
    "convnext": Family("ConvNextForImageClassification", "ConvNextConfig", CONVNEXT, 32, 4),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@contextmanager
def own_random_state() -> Iterator[None]:
    """Transformers draws the dense weights from PyTorch's global state."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        yield


def dense(name: str, dtype: torch.dtype = torch.float64, **options: Any) -> PreTrainedModel:
    family = FAMILIES[name]
    config = getattr(transformers, family.config)(**(family.options | options))
    model: PreTrainedModel = getattr(transformers, family.model)(config).to(dtype).eval()
    return model


def inputs_of(model: PreTrainedModel, name: str) -> dict[str, Tensor]:
    side = FAMILIES[name].image
    if side is not None:
        return {"pixel_values": torch.randn(2, 3, side, side, generator=seeded(1), dtype=model.dtype)}
    if model.config.is_encoder_decoder:
        return {"input_ids": TOKENS, "decoder_input_ids": TOKENS.flip(-1)}
    return {"input_ids": TOKENS}


@torch.no_grad()
def answer(model: PreTrainedModel, name: str) -> Tensor:
    outputs = model(**inputs_of(model, name))
    return outputs["logits" if "logits" in outputs else "last_hidden_state"]


def mixtures_of(model: nn.Module) -> list[FeedForwardMixture]:
    return [module for module in model.modules() if isinstance(module, FeedForwardMixture)]


def close(left: Tensor, right: Tensor, tolerance: float) -> bool:
    return bool((left - right).abs().max() <= tolerance * right.abs().max())


class Odd(transformers.GPT2LMHeadModel):
    """Feed-forwards whose pieces have names of their own, one of which does something more."""

    def __init__(self, config: transformers.GPT2Config) -> None:
        super().__init__(config)
        self.odd = OddFeedForward()


class OddFeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.function = nn.Linear(16, 8), nn.Linear(8, 16), nn.ReLU()
        self.factor = 1.0

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.second(self.function(self.first(x)))


ODD = FeedForwardForm(up="first", activation="function", down="second", whole=True)
