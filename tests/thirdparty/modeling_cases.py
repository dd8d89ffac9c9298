"""Models of this package for the tests that Transformers has for every model; runs inside the folder of those tests."""

from __future__ import annotations

import unittest
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
    T5ForConditionalGeneration,
)

from distilled_experts.transformers import attach, swapped_class

from .test_modeling_common import ModelTesterMixin, ids_tensor


def attached_class(dense: type[PreTrainedModel]) -> type[PreTrainedModel]:
    """Make a class whose models are attached from the start."""

    def initialise(self: PreTrainedModel, config: PreTrainedConfig, *inputs: Any, **options: Any) -> None:
        dense.__init__(self, config, *inputs, **options)
        attach(self, 0.01, layers="all")

    return type(dense.__name__, (dense,), {"__init__": initialise, "__module__": dense.__module__})


class Tester:
    """Sizes and inputs, under the names that the common tests ask for."""

    batch_size, seq_length, encoder_seq_length, decoder_seq_length = 3, 7, 7, 7
    hidden_size, num_hidden_layers, num_attention_heads, vocab_size = 32, 2, 4, 99
    is_training = True

    def __init__(self, config_class: type[PreTrainedConfig], options: dict[str, Any]) -> None:
        self.config_class = config_class
        self.options = options

    def get_config(self) -> PreTrainedConfig:
        return self.config_class(
            **self.options, vocab_size=self.vocab_size, pad_token_id=0, bos_token_id=1, eos_token_id=2
        )

    def prepare_config_and_inputs_for_common(self) -> tuple[PreTrainedConfig, dict[str, Tensor]]:
        config = self.get_config()
        tokens = ids_tensor([self.batch_size, self.seq_length], self.vocab_size).clamp(3)
        inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        if config.is_encoder_decoder:
            inputs |= {"decoder_input_ids": tokens.flip(-1), "decoder_attention_mask": torch.ones_like(tokens)}
        return config, inputs


class Case(ModelTesterMixin):
    """What all cases share."""

    all_generative_model_classes = ()
    pipeline_model_mapping: dict[str, type[nn.Module]] = {}  # noqa: RUF012
    config_class: type[PreTrainedConfig]
    options: dict[str, Any]

    def setUp(self) -> None:
        self.model_tester = Tester(self.config_class, self.options)

    def _prepare_for_class(
        self, inputs: dict[str, Tensor], model_class: type[PreTrainedModel], return_labels: bool = False
    ) -> dict[str, Tensor]:
        prepared = super()._prepare_for_class(inputs, model_class, return_labels)
        if return_labels:
            prepared["labels"] = prepared["input_ids"].clone()
        return prepared


class SwappedT5Test(Case, unittest.TestCase):
    all_model_classes = (swapped_class(T5ForConditionalGeneration),)
    config_class = all_model_classes[0].config_class
    is_encoder_decoder = True
    options = {  # noqa: RUF012
        "d_model": 32, "d_ff": 40, "d_kv": 8, "num_layers": 2, "num_heads": 4, "initializer_factor": 0.002,
        "relative_attention_num_buckets": 8, "decoder_start_token_id": 0,
        "mixtures": {
            "feed_forwards": ["encoder.block.0.layer.1.DenseReluDense", "decoder.block.1.layer.2.DenseReluDense"],
            "form": None, "n_experts": 4, "top_k": 2, "balance": 0.01,
        },
    }  # fmt: skip


SIZES = {
    "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "num_experts_per_tok": 2,
}  # fmt: skip


class AttachedMixtralTest(Case, unittest.TestCase):
    all_model_classes = (attached_class(MixtralForCausalLM),)
    config_class = MixtralConfig
    options = SIZES | {"num_local_experts": 4}


class AttachedQwen3MoeTest(Case, unittest.TestCase):
    all_model_classes = (attached_class(Qwen3MoeForCausalLM),)
    config_class = Qwen3MoeConfig
    options = SIZES | {"num_experts": 4, "moe_intermediate_size": 40, "head_dim": 8}
