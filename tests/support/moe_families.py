"""Tiny models of the families of Transformers that have mixtures of experts, from one table."""

from __future__ import annotations

import inspect
from typing import Any

import torch
import transformers
from moe_oracle import LENGTH, VOCABULARY, batch, prepared
from torch import nn
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig

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
    # Linear attention and state spaces.
    "linear_head_dim": 8,
    "linear_num_heads": 2,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "mamba_num_heads": 2,
    "mamba_head_dim": 8,
    "ssm_state_size": 8,
    "n_groups": 1,
    "chunk_size": 8,
    # Towers for images and sounds, which no test enters.
    "depth": 1,
    "num_heads": 2,
    "out_hidden_size": 16,
    "num_position_embeddings": 16,
    "position_embedding_size": 16,
    "deepstack_visual_indexes": [0],
    "image_size": 16,
    "patch_size": 4,
    "downsample_channels": [4, 16],
    "output_channels": 4,
    "mlp_dim": 16,
    "projector_hidden_size": 16,
    "projection_intermediate_size": 16,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "d_model": 16,
    "output_dim": 16,
    "downsample_hidden_size": 4,
}
THREE_AXES = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}

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
    "beam": ("BeamForCausalLM", {"mlp_layer_types": ["dense", "sparse"]}),
    "deepseek_ocr2": (
        "DeepseekOcr2ForConditionalGeneration",
        {"text_config": {"mlp_layer_types": ["dense", "sparse"]}},
    ),
    "diffusion_gemma": (
        "DiffusionGemmaForBlockDiffusion",
        {"text_config": {"top_k_experts": 2}, "canvas_length": LENGTH},
    ),
    "ernie4_5_vl_moe": (
        "Ernie4_5_VLMoeForConditionalGeneration",
        {"text_config": {"moe_intermediate_size": [16, 16], "rope_parameters": THREE_AXES}},
    ),
    "flint": ("FlintForCausalLM", {"mlp_only_layers": [0]}),
    "glm4v_moe": (
        "Glm4vMoeForConditionalGeneration",
        {"text_config": {"rope_parameters": THREE_AXES | {"partial_rotary_factor": 1.0}}},
    ),
    "glm5_next": (
        "Glm5NextForConditionalGeneration",
        {
            "text_config": {
                "index_kpool": 2,
                "qk_rope_head_dim": 0,
                "head_dim": 0,
                "mlp_layer_types": ["dense", "sparse"],
                "layer_types": ["full_attention", "full_attention"],
            }
        },
    ),
    "kimi_linear": ("KimiLinearForCausalLM", {"layer_types": ["full_attention", "full_attention"]}),
    "mimo_v2_flash": ("MiMoV2FlashForCausalLM", {"num_key_value_heads": 1, "head_dim": 16}),
    "mistral_large4": ("MistralLarge4ForConditionalGeneration", {}),
    "muse_spark": (
        "MuseSparkForConditionalGeneration",
        {
            "text_config": {"moe_hidden_size": 16},
            "audio_config": {"num_hidden_layers": 1, "patch_sizes": [4], "hidden_sizes": [16], "depths": [1]},
        },
    ),
    "openai_privacy_filter": ("OpenAIPrivacyFilterForTokenClassification", {}),
    "qwen3_omni_moe": ("Qwen3OmniMoeThinkerForConditionalGeneration", {"vision_start_token_id": 5}),
    "qwen3_vl_moe": ("Qwen3VLMoeForConditionalGeneration", {}),
    "unlimited_ocr": ("UnlimitedOcrForConditionalGeneration", {}),
    "zaya": ("ZayaForCausalLM", {"num_experts_per_tok": 1, "router_hidden_size": 16}),
    "step3p7": (
        "Step3p7ForConditionalGeneration",
        {"text_config": {"mlp_layer_types": ["dense", "sparse"], "sliding_window": 4, "share_expert_dim": 16}},
    ),
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


def small(config_class: type[PreTrainedConfig], needed: dict[str, Any]) -> PreTrainedConfig:
    """Configure a model, and the models within it, with the small sizes that its configuration knows."""
    known = {*getattr(config_class, "attribute_map", {}), *inspect.signature(config_class.__init__).parameters}
    for base in config_class.__mro__:
        known |= set(getattr(base, "__annotations__", {}))
    values = {key: value for key, value in SMALL.items() if key in known} | needed
    for name, part in config_class.sub_configs_defaults.items():
        part_class = CONFIG_MAPPING[part.model_type] if part.config_class is AutoConfig else part.config_class
        values[name] = small(part_class, needed.get(name, {}))
    return config_class(**values)


def tiny_family(family: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Build the model of a family, always with the same weights, in training."""
    name, needed = FAMILIES[family]
    model_class = getattr(transformers, name)
    return prepared(model_class(small(model_class.config_class, needed)), dtype)


def inputs_of(family: str) -> dict[str, Any]:
    """Make what the model of a family is trained with."""
    inputs = batch("ragged", n_rows=4)
    if family == "diffusion_gemma":  # it has no loss of its own, and denoises what the decoder is given
        inputs["decoder_input_ids"] = inputs.pop("labels") % VOCABULARY
        return inputs
    if family == "ernie4_5_vl_moe":  # every third token belongs to an image
        places = torch.arange(inputs["labels"].numel()).reshape_as(inputs["labels"])
        inputs["moe_mm_token_type_ids"] = (places % 3 == 2).int()
    return inputs if family in ("nllb_moe", "switch_transformers") else inputs | {"use_cache": False}


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
