"""Tiny models of the families of Transformers that have mixtures of experts, from one table."""

from __future__ import annotations

import inspect
from typing import Any

import torch
import transformers
from moe_oracle import VOCABULARY, prepared
from torch import nn

# Each configuration takes the names that it knows.
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 16,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_k": 2,
    "moe_topk": 2,
    "n_shared_experts": 1,
    "num_shared_experts": 1,
    "moe_num_shared_experts": 1,
    "moe_layer_start_index": 0,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "num_dense_layers": 1,
    "decoder_sparse_step": 1,
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "index_n_heads": 2,
    "index_head_dim": 8,
    "index_topk": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "attention_dropout": 0.0,
    "dropout": 0.0,
    "dropout_rate": 0.0,
}

# Family: the class that is tested, and what its configuration needs beside.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "afmoe": ("AfmoeForCausalLM", {}),
    "aria": ("AriaTextForCausalLM", {}),
    "axk1": ("AXK1ForCausalLM", {}),
    "axk2": ("AXK2ForCausalLM", {}),
    "bailing_hybrid": ("BailingHybridForCausalLM", {}),
    "cohere2_moe": ("Cohere2MoeForCausalLM", {}),
    "deepseek_v2": ("DeepseekV2ForCausalLM", {}),
    "deepseek_v3": ("DeepseekV3ForCausalLM", {}),
    "deepseek_v32": ("DeepseekV32ForCausalLM", {}),
    "deepseek_v4": ("DeepseekV4ForCausalLM", {"mlp_layer_types": ["moe", "moe"]}),
    "dots1": ("Dots1ForCausalLM", {}),
    "dots3_note": ("Dots3NoteForCausalLM", {}),
    "ernie4_5_moe": ("Ernie4_5_MoeForCausalLM", {}),
    "exaone_moe": ("ExaoneMoeForCausalLM", {}),
    "flex_olmo": ("FlexOlmoForCausalLM", {}),
    "gemma4": (
        "Gemma4ForCausalLM",
        {
            "enable_moe_block": True,
            "top_k_experts": 2,
            "vocab_size_per_layer_input": VOCABULARY,
            "hidden_size_per_layer_input": 8,
            "global_head_dim": 8,
            "num_kv_shared_layers": 0,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
    "granitemoehybrid": (
        "GraniteMoeHybridForCausalLM",
        {"layer_types": ["attention", "attention"], "mamba_n_heads": 4, "mamba_d_head": 8},
    ),
    "lfm2_moe": ("Lfm2MoeForCausalLM", {"layer_types": ["full_attention", "full_attention"], "num_dense_layers": 0}),
    "mistral4": ("Mistral4ForCausalLM", {}),
    "glm4_moe": ("Glm4MoeForCausalLM", {}),
    "glm4_moe_lite": ("Glm4MoeLiteForCausalLM", {}),
    "glm_moe_dsa": ("GlmMoeDsaForCausalLM", {}),
    "gpt_oss": ("GptOssForCausalLM", {}),
    "granitemoe": ("GraniteMoeForCausalLM", {}),
    "granitemoe_swa": ("GraniteMoeSWAForCausalLM", {}),
    "granitemoeshared": ("GraniteMoeSharedForCausalLM", {}),
    "hunyuan_v1_moe": ("HunYuanMoEV1ForCausalLM", {}),
    "hy_v3": ("HYV3ForCausalLM", {}),
    "hy_v4": ("HYV4ForCausalLM", {}),
    "inkling": ("InklingForCausalLM", {}),
    "inkling2": ("Inkling2ForCausalLM", {}),
    "jamba": ("JambaForCausalLM", {}),
    "kolibri1": ("Kolibri1ForCausalLM", {}),
    "laguna": ("LagunaForCausalLM", {}),
    "mellum": ("MellumForCausalLM", {}),
    "minimax": ("MiniMaxForCausalLM", {}),
    "minimax_m2": ("MiniMaxM2ForCausalLM", {}),
    "minimax_m3_vl": ("MiniMaxM3VLForCausalLM", {}),
    "mixtral": ("MixtralForCausalLM", {}),
    "nemotron_h": ("NemotronHForCausalLM", {}),
    "olmoe": ("OlmoeForCausalLM", {}),
    "phimoe": ("PhimoeForCausalLM", {}),
    "qwen2_moe": ("Qwen2MoeForCausalLM", {}),
    "qwen3_5_moe": ("Qwen3_5MoeForCausalLM", {}),
    "qwen3_moe": ("Qwen3MoeForCausalLM", {}),
    "qwen3_next": ("Qwen3NextForCausalLM", {}),
    "qwen4_exp": ("Qwen4ExpForCausalLM", {}),
    "solar_open": ("SolarOpenForCausalLM", {}),
    "dbrx": (
        "DbrxForCausalLM",
        {
            "d_model": 16,
            "n_heads": 2,
            "n_layers": 2,
            "max_seq_len": 64,
            "attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8.0},
            "ffn_config": {"ffn_hidden_size": 16, "moe_num_experts": 4, "moe_top_k": 2, "ffn_act_fn": {"name": "silu"}},
        },
    ),
    "jetmoe": ("JetMoeForCausalLM", {"kv_channels": 8}),
    "llama4": ("Llama4ForCausalLM", {"moe_layers": [0, 1], "no_rope_layers": [0, 1], "attention_chunk_size": 32}),
    "nllb_moe": (
        "NllbMoeForConditionalGeneration",
        {
            "d_model": 16,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_ffn_dim": 16,
            "decoder_ffn_dim": 16,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_sparse_step": 2,
            "decoder_sparse_step": 2,
            "encoder_layerdrop": 0.0,
            "decoder_layerdrop": 0.0,
            "activation_dropout": 0.0,
            "moe_token_dropout": 0.0,
            "expert_capacity": 64,
            "decoder_start_token_id": 2,
        },
    ),
    "switch_transformers": (
        "SwitchTransformersForConditionalGeneration",
        {
            "d_model": 16,
            "d_kv": 8,
            "d_ff": 16,
            "num_layers": 2,
            "num_heads": 2,
            "num_sparse_encoder_layers": 1,
            "num_sparse_decoder_layers": 1,
            "router_jitter_noise": 0.0,
            "expert_capacity": 3,
            "decoder_start_token_id": 0,
        },
    ),
}


def tiny_family(family: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Build the model of a family, always with the same weights, in training."""
    name, needed = FAMILIES[family]
    model_class = getattr(transformers, name)
    config_class = model_class.config_class
    known = set(getattr(config_class, "attribute_map", {}))
    for base in config_class.__mro__:
        known |= set(getattr(base, "__annotations__", {}))
    known |= set(inspect.signature(config_class.__init__).parameters)
    config = config_class(**{**{key: value for key, value in SMALL.items() if key in known}, **needed})
    return prepared(model_class(config), dtype)


def has_balance_loss(family: str) -> bool:
    """Whether a family adds a load balance loss to its own when it is called with ``output_router_logits=True``."""
    return "aux_loss_coef" in inspect.getsource(getattr(transformers, FAMILIES[family][0]).forward)


def table() -> str:
    """Families, classes and balance losses as a table in Markdown."""
    lines = ["| family | tested as | load balance loss of its own |", "|---|---|---|"]
    for family, (name, _) in sorted(FAMILIES.items()):
        lines.append(f"| {family} | `{name}` | {'yes' if has_balance_loss(family) else '**none**'} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
