"""Dense feed-forwards become mixtures: what the model computes, which are chosen, how it is saved."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSeq2SeqLM, PreTrainedModel

from distilled_experts.errors import DistilledExpertsError, InvalidParameterError, ModelFolderError
from distilled_experts.transformers import FeedForwardForm, load_swapped, swap, swapped_class
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


@pytest.fixture(autouse=True)
def own_random_state() -> Iterator[None]:
    # Transformers draws the dense weights from PyTorch's global state.
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


# --- what the model computes ---


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("name", FAMILIES)
def test_copies_compute_what_the_feed_forward_computed(name: str, dtype: torch.dtype, tolerance: float) -> None:
    model = dense(name, dtype)
    before = answer(model, name)
    swap(model, n_experts=4, perturbation=0)
    assert len(mixtures_of(model)) == FAMILIES[name].feed_forwards
    assert close(answer(model, name), before, tolerance)


@pytest.mark.parametrize("implementation", ["eager", "grouped_mm", "batched_mm"])
@pytest.mark.parametrize("name", ["t5", "t5_gated", "bart"])
def test_implementations_agree(name: str, implementation: str) -> None:
    model = swap(dense(name, torch.float32), n_experts=4, init="fresh")
    expected = answer(copy.deepcopy(model).double(), name)
    model.set_experts_implementation(implementation)
    assert close(answer(model, name), expected, 1e-5)


def test_widths_without_a_grouped_product() -> None:
    model = dense("t5", torch.float32, d_ff=25)
    before = answer(model, "t5")
    assert close(answer(swap(model, n_experts=4, perturbation=0), "t5"), before, 1e-6)
    assert model.config._experts_implementation == "grouped_mm"


@pytest.mark.parametrize("name", FAMILIES)
def test_noise_tells_the_copies_apart_and_moves_the_model_little(name: str) -> None:
    model = dense(name)
    before = answer(model, name)
    swap(model, n_experts=3, generator=seeded())
    for mixture in mixtures_of(model):
        for weight, _ in mixture.experts.maps():
            apart = (weight[0] - weight[1]).std() / weight.std()
            assert 0.01 < apart < 0.02  # √2 · 0.01
    assert 0 < (answer(model, name) - before).norm() / before.norm() < 0.02


def test_fresh_experts_are_drawn_as_linear_maps_are() -> None:
    model = swap(dense("bert"), n_experts=4, init="fresh", generator=seeded(3))
    again = swap(dense("bert"), n_experts=4, init="fresh", generator=seeded(3))
    for mixture, same in zip(mixtures_of(model), mixtures_of(again), strict=True):
        for (weight, bias), (weight_again, _) in zip(mixture.experts.maps(), same.experts.maps(), strict=True):
            bound = weight.shape[-1] ** -0.5
            for values in (weight, bias):
                assert 0.8 * bound < values.abs().max() <= bound
            assert torch.equal(weight, weight_again)
            assert not torch.equal(weight[0], weight[1])


def test_router_and_experts_agree_with_a_loop_over_tokens() -> None:
    model = swap(dense("llama"), n_experts=5, top_k=3, init="fresh")
    mixture = mixtures_of(model)[0]
    x = torch.randn(2, 4, 16, generator=seeded(), dtype=torch.float64)
    rows = []
    for token in x.reshape(-1, 16):
        scores = mixture.router.weight @ token
        chosen = scores.topk(3).indices
        gate, up = mixture.experts.gate_up_proj[chosen].unflatten(1, (2, -1)).unbind(1)
        hidden = nn.functional.silu(gate @ token) * (up @ token)
        said = torch.einsum("kdh,kh->kd", mixture.experts.down_proj[chosen], hidden)
        rows.append(scores[chosen].softmax(-1) @ said)
    assert close(mixture(x), torch.stack(rows).reshape(2, 4, 16), 1e-12)


def test_dropout_stays_where_it_was() -> None:
    bart = swap(dense("bart"), n_experts=2)
    layer = bart.model.encoder.layers[0]
    assert layer.fc2.experts.dropout.p == 0.1
    assert (layer.activation_dropout, layer.dropout) == (0.0, 0.2)
    t5 = swap(dense("t5"), n_experts=2)
    assert t5.encoder.block[0].layer[1].DenseReluDense.experts.dropout.p == 0.2
    gpt2 = swap(dense("gpt2", resid_pdrop=0.3), n_experts=2)
    assert gpt2.transformer.h[0].mlp.dropout.p == 0.3
    assert gpt2.transformer.h[0].mlp.c_proj.experts.dropout.p == 0.0


@pytest.mark.parametrize("name", ["bart", "t5_gated"])
def test_dropout_between_the_maps_is_that_of_the_dense_model(name: str) -> None:
    # One expert, so that both draw the same numbers in the same order.
    model = dense(name)
    swapped = swap(copy.deepcopy(model), n_experts=1, top_k=1, perturbation=0)
    answers = []
    for one in (model, swapped):
        torch.random.default_generator.manual_seed(7)
        answers.append(answer(one.train(), name))
    assert close(answers[1], answers[0], 1e-12)
    assert not close(answers[0], answer(model.eval(), name), 1e-3)


@pytest.mark.parametrize("name", ["t5", "gpt2"])
def test_generation(name: str) -> None:
    model = dense(name)
    before = model.generate(TOKENS, max_new_tokens=5, do_sample=False)
    after = swap(model, n_experts=3, perturbation=0).generate(TOKENS, max_new_tokens=5, do_sample=False)
    assert torch.equal(before, after)


def test_a_swapped_model_can_be_copied() -> None:
    model = swap(dense("gpt2"), n_experts=3)
    assert torch.equal(answer(copy.deepcopy(model), "gpt2"), answer(model, "gpt2"))


def test_the_dense_configuration_stays_dense() -> None:
    config = transformers.GPT2Config(**FAMILIES["gpt2"].options)
    first, second = (transformers.GPT2LMHeadModel(config) for _ in range(2))
    swap(first, n_experts=2)
    assert second.config.model_type == "gpt2"
    assert first.config is first.transformer.config is first.transformer.h[0].mlp.c_proj.experts.config
    assert first.config.model_type == "mode_gpt2"


# --- which feed-forwards ---


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"layers": "first"}, ["encoder.block.0.layer.1.DenseReluDense"]),
        ({"layers": [0, -1]}, ["encoder.block.0.layer.1.DenseReluDense", "decoder.block.1.layer.2.DenseReluDense"]),
        ({"layers": 1, "pattern": "decoder.*"}, ["decoder.block.1.layer.2.DenseReluDense"]),
    ],
)
def test_layers_and_pattern_choose(options: dict[str, Any], names: list[str]) -> None:
    model = swap(dense("t5"), n_experts=2, **options)
    assert [name for name, module in model.named_modules() if isinstance(module, FeedForwardMixture)] == names
    assert model.config.mixtures["feed_forwards"] == names


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


def test_a_form_names_the_pieces() -> None:
    model = Odd(transformers.GPT2Config(**FAMILIES["gpt2"].options))
    x = torch.randn(3, 16, generator=seeded())
    before = model.odd(x)
    swap(model, n_experts=2, form=ODD, perturbation=0, balance=0)
    assert model.config.mixtures["feed_forwards"] == ["odd"]
    assert close(model.odd(x), before, 1e-6)


def test_a_module_that_does_more_than_its_form_is_left_alone() -> None:
    model = Odd(transformers.GPT2Config(**FAMILIES["gpt2"].options))
    model.odd.factor = 0.5
    with pytest.raises(InvalidParameterError, match="feed-forwards of a known form"):
        swap(model, form=ODD)


def test_norms_between_the_pieces_are_not_overlooked() -> None:
    config = transformers.ConvNextV2Config(depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16])
    with pytest.raises(InvalidParameterError, match="feed-forwards of a known form"):
        swap(transformers.ConvNextV2ForImageClassification(config))


# --- saving ---


@pytest.mark.parametrize("name", ["t5_gated", "bart", "gpt2", "bert", "vit", "convnext"])
def test_saved_and_loaded(name: str, tmp_path: Path) -> None:
    model = swap(dense(name), layers=[0, -1], n_experts=3)
    model.save_pretrained(tmp_path)
    loaded, report = load_swapped(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert type(loaded) is type(model)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    weights = loaded.state_dict()
    assert all(torch.equal(weights[key], value) for key, value in model.state_dict().items())
    assert close(answer(loaded.eval(), name), answer(model, name), 1e-12)


def test_a_model_from_a_file_with_other_names_is_saved_with_its_own(tmp_path: Path) -> None:
    model = dense("vit")
    model.save_pretrained(
        tmp_path / "old", state_dict={f"old.{key}": value for key, value in model.state_dict().items()}
    )
    model = transformers.ViTForImageClassification.from_pretrained(tmp_path / "old", key_mapping={r"^old\.": ""})
    swap(model, n_experts=2).save_pretrained(tmp_path / "swapped")
    _, report = load_swapped(tmp_path / "swapped", output_loading_info=True)
    assert not any(report.values())


def test_a_class_and_a_form_of_ones_own_are_saved(tmp_path: Path) -> None:
    model = swap(Odd(transformers.GPT2Config(**FAMILIES["gpt2"].options)), n_experts=2, form=ODD)
    model.save_pretrained(tmp_path)
    assert isinstance(swapped_class(Odd).from_pretrained(tmp_path).odd, FeedForwardMixture)
    with pytest.raises(ModelFolderError, match=r"Odd is no class of Transformers; use swapped_class\(Odd\)"):
        load_swapped(tmp_path)


def test_values_that_a_file_lacks_are_drawn(tmp_path: Path) -> None:
    model = swap(dense("gpt2"), n_experts=3)
    state = {key: value for key, value in model.state_dict().items() if "h.1." not in key}
    model.save_pretrained(tmp_path, state_dict=state)
    loaded, report = load_swapped(tmp_path, output_loading_info=True)
    mixture = loaded.transformer.h[1].mlp.c_proj
    assert any("up_proj" in key for key in report["missing_keys"])
    assert mixture.experts.up_proj.abs().max() <= 0.25
    assert mixture.experts.up_proj.std() > 0.1


def test_automatic_classes_know_a_kind_of_model_after_it_was_swapped(tmp_path: Path) -> None:
    swap(dense("t5"), n_experts=2).save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).mixtures["n_experts"] == 2
    assert len(mixtures_of(AutoModelForSeq2SeqLM.from_pretrained(tmp_path))) == 4


@pytest.mark.slow
def test_a_new_process_registers_nothing_before_it_loads(tmp_path: Path) -> None:
    swap(dense("gpt2"), n_experts=2).save_pretrained(tmp_path)
    program = f"""
from transformers import CONFIG_MAPPING
from distilled_experts.transformers import load_swapped, swap
assert "mode_gpt2" not in CONFIG_MAPPING
model = load_swapped({str(tmp_path)!r})
assert "mode_gpt2" in CONFIG_MAPPING
print(type(model).__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["GPT2LMHeadModel"]


def test_a_dense_model_is_not_loaded_as_a_swapped_one(tmp_path: Path) -> None:
    dense("gpt2").save_pretrained(tmp_path)
    with pytest.raises(ModelFolderError, match="'gpt2' was not swapped"):
        load_swapped(tmp_path)


# --- bad input ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_experts": 0}, "n_experts: 0 is not allowed; allowed: whole numbers ≥ 1"),
        ({"n_experts": 4, "top_k": 5}, "top_k: 5 is not allowed; allowed: whole numbers from 1 to 4"),
        ({"init": "copy"}, "init: 'copy' is not allowed; allowed: upcycle, fresh"),
        ({"perturbation": -0.1}, "perturbation: -0.1 is not allowed; allowed: numbers ≥ 0"),
        ({"perturbation": float("nan")}, "perturbation: nan is not allowed; allowed: numbers ≥ 0"),
        ({"alpha": -1.0}, "alpha: -1.0 is not allowed; allowed: numbers ≥ 0"),
        ({"layers": [0, 7]}, "layers: [0, 7] is not allowed; allowed: first, all, numbers from -3 to 2"),
        ({"layers": []}, "layers: [] is not allowed; allowed: first, all, numbers from -3 to 2"),
        ({"layers": "last"}, "layers: 'last' is not allowed; allowed: first, all, numbers from -3 to 2"),
        ({"layers": [0.5]}, "layers: [0.5] is not allowed; allowed: first, all, numbers from -3 to 2"),
        (
            {"pattern": "encoder.*"},
            "pattern: 'encoder.*' is not allowed; allowed: wildcards that match one of transformer.h.0.mlp, "
            "transformer.h.1.mlp, transformer.h.2.mlp",
        ),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    model = dense("gpt2")
    with pytest.raises(InvalidParameterError) as error:
        swap(model, **options)
    assert str(error.value) == message
    assert model.config.model_type == "gpt2"  # untouched


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda: swap(dense("gpt2"), n_experts=2), "dense models; this one was swapped before"),
        (lambda: nn.Linear(2, 2), "models of Transformers"),
        (lambda: dense("gpt2").to("meta"), "models with their weights in memory"),
        (lambda: dense("gpt2").transformer.wte, "models of Transformers"),
    ],
)
def test_models_that_cannot_be_swapped(spoil: Callable[[], Any], message: str) -> None:
    with pytest.raises(DistilledExpertsError, match=message):
        swap(spoil())


def test_a_gated_form_is_whole() -> None:
    with pytest.raises(InvalidParameterError, match="True for a form with a gate"):
        FeedForwardForm(up="a", gate="b", activation="c", down="d")
