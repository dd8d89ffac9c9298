"""Encoder-decoders for translation, trained from scratch: with sparse mixtures, and dense ones of equal size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from transformers import (
    MarianConfig,
    MarianMTModel,
    NllbMoeConfig,
    NllbMoeForConditionalGeneration,
    PreTrainedModel,
)

from distilled_experts.errors import InvalidParameterError
from distilled_experts.functional import Distance, Teacher
from distilled_experts.transformers import attach, swap
from distilled_experts.transformers.initialisation import draw_feed_forwards
from distilled_experts.transformers.layer_numbers import LayerNumbers
from distilled_experts.transformers.random_state import seeded
from distilled_experts.transformers.sizes import matching_width, n_parameters
from distilled_experts.translation.tokenizer import BEGIN, END, PAD

__all__ = ["MODELS", "ModelSettings", "build_model", "dense_settings"]

ModelName = Literal["marian", "nllb-moe"]

# Widths of hidden layers are whole multiples, for which products are fast.
_MULTIPLE = 8
# Tokens of a vocabulary, where only sizes of models are compared.
_SMALLEST = 3


@dataclass(frozen=True)
class ModelSettings:
    """What a model is made of.

    Attributes
    ----------
    model : {"marian", "nllb-moe"}
        Marian (Junczys-Dowmunt et al., 2018), whose feed-forwards become mixtures; or NLLB's own mixtures, of which two
        experts are active.
    width, layers, heads : int
        Of the encoder and of the decoder.
    hidden : int
        Hidden units of each expert.
    n_experts : int
        One: a dense network.
    top_k : int or None
        None: all experts are active.
    longest : int
        Tokens of a sentence at most.
    dropout : float
    distance, teacher : str
        As in `functional.mutual_distillation`.
    distilled : {"first", "all"}, int or iterable of int
        Mixtures that distil, as in `transformers.attach`; those of the encoder come first.
    balance : float
        Strength of the loss that keeps all experts in use.
    """

    model: ModelName = "marian"
    width: int = 128
    layers: int = 2
    heads: int = 4
    hidden: int = 256
    n_experts: int = 4
    top_k: int | None = 2
    longest: int = 128
    dropout: float = 0.1
    distance: Distance = "relative"
    teacher: Teacher = "mean"
    distilled: LayerNumbers = "first"
    balance: float = 0.01

    def __post_init__(self) -> None:
        if self.model not in get_args(ModelName):
            raise InvalidParameterError("model", self.model, get_args(ModelName))
        if self.width % self.heads:
            raise InvalidParameterError("heads", self.heads, f"divisors of the width {self.width}")
        if self.model == "nllb-moe" and self.n_experts > 1 and self.top_k != 2:
            raise InvalidParameterError("top_k", self.top_k, "2 for nllb-moe")


def build_model(settings: ModelSettings, vocabulary: int, *, seed: int, alpha: float = 0.0) -> PreTrainedModel:
    """Make a model whose initial values depend on the seed alone.

    All but feed-forwards and routers starts with the same values whatever `hidden` and `n_experts` are.

    Parameters
    ----------
    settings : ModelSettings
    vocabulary : int
        Tokens of both languages.
    seed : int
    alpha : float
        Strength of mutual distillation.

    Examples
    --------
    >>> model = build_model(ModelSettings(width=16, hidden=8), 300, seed=0, alpha=0.1)
    >>> model.config.model_type, n_parameters(model)
    ('mode_marian', 20512)
    """
    make = MODELS[settings.model]
    with seeded(seed):
        common = make(replace(settings, n_experts=1, hidden=1), vocabulary).state_dict()
        model = make(settings, vocabulary)
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    same = {name: value for name, value in common.items() if value.shape == shapes.get(name)}
    model.load_state_dict(same, strict=False)
    with seeded(seed):
        draw_feed_forwards(model)
    if settings.n_experts > 1 and alpha:
        attach(model, alpha, layers=settings.distilled, distance=settings.distance, teacher=settings.teacher)
    return model


def dense_settings(settings: ModelSettings) -> ModelSettings:
    """The dense network with as many parameters as a model with mixtures, as near as multiples of 8 hidden units allow.

    Examples
    --------
    >>> mixture = ModelSettings(width=16, hidden=8)
    >>> [n_parameters(build_model(one, 300, seed=0)) for one in (mixture, dense_settings(mixture))]
    [20512, 20064]
    """
    alone = replace(settings, n_experts=1)
    wanted = n_parameters(build_model(settings, _SMALLEST, seed=0))

    def build(hidden: int) -> PreTrainedModel:
        return build_model(replace(alone, hidden=hidden), _SMALLEST, seed=0)

    return replace(alone, hidden=matching_width(build, wanted, _MULTIPLE))


def _marian(s: ModelSettings, vocabulary: int) -> PreTrainedModel:
    config = MarianConfig(**_shape(s, vocabulary), forced_eos_token_id=END, activation_function="relu")
    model = MarianMTModel(config)
    if s.n_experts == 1:
        return model
    top_k = s.n_experts if s.top_k is None else s.top_k
    return swap(model, n_experts=s.n_experts, top_k=top_k, init="fresh", balance=s.balance)


def _nllb_moe(s: ModelSettings, vocabulary: int) -> PreTrainedModel:
    sparse_step = 0 if s.n_experts == 1 else 1
    config = NllbMoeConfig(
        **_shape(s, vocabulary),
        num_experts=s.n_experts,
        encoder_sparse_step=sparse_step,
        decoder_sparse_step=sparse_step,
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
        moe_token_dropout=s.dropout,
        router_aux_loss_coef=s.balance,
        output_router_logits=s.n_experts > 1,
    )
    return NllbMoeForConditionalGeneration(config)


def _shape(s: ModelSettings, vocabulary: int) -> dict[str, Any]:
    sides = {"layers": s.layers, "attention_heads": s.heads, "ffn_dim": s.hidden}
    return {
        **{f"{side}_{name}": value for name, value in sides.items() for side in ("encoder", "decoder")},
        "vocab_size": vocabulary,
        "d_model": s.width,
        # The decoder's first token comes on top.
        "max_position_embeddings": s.longest + 1,
        "dropout": s.dropout,
        # With the customary 0.02 so narrow a model hardly sees tokens beside positions, and learns late where to look.
        "init_std": s.width**-0.5,
        "scale_embedding": True,
        "pad_token_id": PAD,
        "bos_token_id": BEGIN,
        "eos_token_id": END,
        "decoder_start_token_id": BEGIN,
    }


MODELS: dict[str, Callable[[ModelSettings, int], PreTrainedModel]] = {"marian": _marian, "nllb-moe": _nllb_moe}
"""Makers of models by name."""
