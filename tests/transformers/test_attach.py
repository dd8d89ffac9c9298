"""What `attach` does to a model, what it leaves alone, and that `detach` undoes it."""

from __future__ import annotations

import io
import pickle
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from moe_families import tiny_family
from moe_oracle import FAMILIES, assert_same, batch, gradients, prepared, tiny
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
)

from distilled_experts.errors import InvalidParameterError, TrainingError
from distilled_experts.transformers import attach, detach, set_progress

IMPLEMENTATIONS = ("eager", "grouped_mm")


def hooks_of(model: nn.Module) -> dict[str, tuple[int, int, frozenset[str]]]:
    return {
        name: (len(module._forward_pre_hooks), len(module._forward_hooks), frozenset(module.__dict__))
        for name, module in model.named_modules()
    }


def single(family: str = "mixtral", implementation: str = "grouped_mm") -> nn.Module:
    model = tiny(family, dtype=torch.float32)
    model.set_experts_implementation(implementation)
    return model


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_evaluation_has_the_same_bits(family: str, implementation: str) -> None:
    model, inputs = single(family, implementation).eval(), batch()
    wanted = model(**inputs)
    found = attach(model)(**inputs)
    assert torch.equal(found.logits, wanted.logits)
    assert torch.equal(found.loss, wanted.loss)
    assert not hasattr(found, "distillation_loss")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_training_has_the_same_logits(family: str, implementation: str) -> None:
    model, inputs = single(family, implementation), batch()
    wanted = model(**inputs).logits.detach()
    found = attach(model, layers="all")(**inputs).logits.detach()
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("options", [{"alpha": 0.0}, {"layers": {0: 0.0, 2: 0.0}}])
def test_without_strength_training_has_the_same_bits(implementation: str, options: dict[str, object]) -> None:
    plain, model = single(implementation=implementation), attach(single(implementation=implementation), **options)
    for one in (plain, model):
        optimizer = torch.optim.Adam(one.parameters(), lr=1e-3)
        for _ in range(3):
            one(**batch()).loss.backward()
            optimizer.step()
    for found, wanted in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(found, wanted)
    assert model(**batch()).distillation_loss == 0


def test_the_gradients_of_both_implementations_agree() -> None:
    found = []
    for implementation in IMPLEMENTATIONS:
        model = attach(single(implementation=implementation), 1.0, layers="all")
        model(**batch()).loss.backward()
        found.append(gradients(model))
    assert_same(*found, tolerance=1e-4)


def test_the_losses_are_reported() -> None:
    model = attach(tiny(), layers={1: 0.5, -1: 2.0}, distance="mse")
    outputs = model(**batch())
    assert list(outputs.distillation_losses) == [1, 2]
    total = 0.5 * outputs.distillation_losses[1] + 2 * outputs.distillation_losses[2]
    torch.testing.assert_close(outputs.distillation_loss, total)
    assert not outputs.distillation_loss.requires_grad
    assert outputs.loss == tiny()(**batch()).loss
    without_labels = {name: value for name, value in batch().items() if name != "labels"}
    assert model(**without_labels).distillation_loss.requires_grad


def test_distillation_brings_experts_closer_together() -> None:
    spread = []
    for alpha in (0.0, 3.0):
        model = attach(tiny(), alpha, distance="mse")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for _ in range(10):
            model(**batch()).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        detach(model)
        spread.append(float(attach(model, 1.0, distance="mse")(**batch()).distillation_loss))
    assert spread[1] < 0.5 * spread[0]


@pytest.mark.parametrize("layers", ["first", "all", [0, 2], {1: 0.3}])
def test_detach_restores_the_model(layers: object) -> None:
    model = tiny()
    model.activation_checkpointing_enable()
    before, state = hooks_of(model), deepcopy(model.state_dict())
    configuration = model.config.to_dict()
    attach(model, layers=layers)
    assert hooks_of(model) != before
    model(**batch(), use_cache=False).loss.backward()
    model.zero_grad()
    detach(model)
    assert hooks_of(model) == before
    assert model.config.to_dict() == configuration
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())
    with pytest.raises(InvalidParameterError, match="models that are attached"):
        detach(model)
    attach(model)


def test_models_with_one_configuration_do_not_disturb_each_other() -> None:
    config = tiny().config
    first, second = prepared(MixtralForCausalLM(config)), prepared(MixtralForCausalLM(config))
    attach(first)
    assert not hasattr(second(**batch()), "distillation_loss")


def test_a_copy_is_attached_too_and_independent() -> None:
    model = attach(tiny(), 1.0)
    for copy in (deepcopy(model), pickle.loads(pickle.dumps(model))):
        detach(model)
        copy(**batch()).loss.backward()
        model(**batch()).loss.backward()
        with pytest.raises(AssertionError, match="relative error"):
            assert_same(gradients(copy), gradients(model))
        attach(model, 1.0)


def test_saving_and_loading_know_nothing_of_it(tmp_path: Path) -> None:
    model = tiny(dtype=torch.float32)
    model.save_pretrained(tmp_path / "plain")
    attach(model).save_pretrained(tmp_path / "attached")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "attached" / name).read_bytes()
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "attached")
    assert not hasattr(loaded.train()(**batch()), "distillation_loss")
    torch.save(model.state_dict(), io.BytesIO())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shards_are_saved_and_loaded_as_without_it(tmp_path: Path, dtype: torch.dtype) -> None:
    sizes = {"dtype": dtype, "intermediate_size": 16}  # the grouped product wants rows of multiples of 16 bytes
    for name, model in (("plain", tiny(**sizes)), ("attached", attach(tiny(**sizes)))):
        model.save_pretrained(tmp_path / name, max_shard_size="5KB")
    files = {path.name: path.read_bytes() for path in (tmp_path / "plain").iterdir()}
    assert sum(name.endswith(".safetensors") for name in files) > 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "attached").iterdir()} == files
    loaded = attach(AutoModelForCausalLM.from_pretrained(tmp_path / "attached", dtype="auto"))
    assert loaded.dtype == dtype
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "plain", dtype="auto")
    assert torch.equal(loaded(**batch()).logits, plain(**batch()).logits)
    assert loaded.train()(**batch()).distillation_loss > 0


def test_generation_is_the_same() -> None:
    model = single().eval()
    prompt = {"input_ids": batch()["input_ids"][:1, :3], "attention_mask": torch.ones(1, 3, dtype=torch.long)}
    options = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    wanted = model.generate(**prompt, **options)
    assert torch.equal(attach(model).generate(**prompt, **options), wanted)
    assert torch.equal(model.train().generate(**prompt, **options), wanted)


def test_shared_experts_take_no_part() -> None:
    sizes = {"vocab_size": 23, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "num_experts": 4}
    config = Qwen2MoeConfig(
        **sizes,
        num_key_value_heads=2,
        moe_intermediate_size=12,
        shared_expert_intermediate_size=12,
        num_experts_per_tok=2,
    )
    model = prepared(Qwen2MoeForCausalLM(config))
    model(**batch()).loss.backward()
    wanted = gradients(model)
    model.zero_grad()
    attach(model, 1.0)(**batch()).loss.backward()
    found = gradients(model)
    block = "model.layers.0.mlp"
    assert torch.equal(
        found[f"{block}.shared_expert.down_proj.weight"], wanted[f"{block}.shared_expert.down_proj.weight"]
    )
    assert not torch.equal(found[f"{block}.experts.down_proj"], wanted[f"{block}.experts.down_proj"])


def test_an_exception_closes_the_pass() -> None:
    model = attach(tiny())
    model.activation_checkpointing_enable()
    before = hooks_of(model)
    checkpoint = model.model.layers[0]._gradient_checkpointing_func
    failing = model.model.layers[1].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model(**batch(), use_cache=False)
    failing.remove()
    assert hooks_of(model) == before
    assert model.model.layers[0]._gradient_checkpointing_func is checkpoint
    with pytest.raises(TrainingError, match="outside a forward pass of MixtralForCausalLM"):
        model.model(batch()["input_ids"])
    model(**batch(), use_cache=False).loss.backward()


def test_a_pass_without_gradients_does_nothing() -> None:
    model = attach(tiny())
    with torch.no_grad():
        assert not hasattr(model(**batch()), "distillation_loss")


def test_a_tuple_begins_with_the_loss() -> None:
    model, inputs = attach(tiny(), 1.0), batch()
    model(**inputs).loss.backward()
    wanted = gradients(model)
    model.zero_grad()
    model(**inputs, return_dict=False)[0].backward()
    assert_same(gradients(model), wanted, 1e-15)
    del inputs["labels"]
    with pytest.raises(TrainingError, match="return_dict=True"):
        model(**inputs, return_dict=False)


def test_frozen_experts_are_left_alone() -> None:
    model = attach(tiny(), 1.0)
    model.requires_grad_(False)
    assert not model(**batch()).loss.requires_grad
    model.lm_head.requires_grad_(True)
    model(**batch()).loss.backward()
    assert list(gradients(model)) == ["lm_head.weight"]


@pytest.mark.parametrize("schedule", ["warmup", "cosine", "anneal"])
def test_schedules(schedule: str) -> None:
    model = attach(tiny(), 2.0, alpha_schedule=schedule, distance="mse")
    with pytest.raises(TrainingError, match=r"set_progress\(model, share\)"):
        model(**batch())
    set_progress(model, 0.05)
    outputs = model(**batch())
    factor = {"warmup": 0.5, "cosine": 0.9938442, "anneal": 0.95}[schedule]
    torch.testing.assert_close(outputs.distillation_loss, 2 * factor * outputs.distillation_losses[0])


@pytest.mark.parametrize(("scope", "same_as"), [("active+2", "all"), ("active+1", None)])
def test_more_experts_can_be_compared(scope: str, same_as: str | None) -> None:
    inputs, losses = batch(), {}
    for name in ("active", scope, "all"):
        model = attach(tiny(), scope=name, distance="mse")
        outputs = model(**inputs)
        assert (outputs.logits - tiny()(**inputs).logits).abs().max() < 1e-12
        losses[name] = float(outputs.distillation_loss)
    assert losses["active"] != losses[scope]
    assert (losses[scope] == pytest.approx(losses["all"])) == (same_as == "all")


def test_one_active_expert_has_nobody_to_learn_from() -> None:
    model = attach(tiny(num_experts_per_tok=1))
    with pytest.warns(UserWarning, match=r"scope='active\+1' or 'all'"):
        assert model(**batch()).distillation_loss == 0
    detach(model)
    assert attach(model, scope="all")(**batch()).distillation_loss > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -1.0}, "alpha: -1.0 is not allowed; allowed: numbers ≥ 0"),
        ({"alpha": float("nan")}, "alpha: nan is not allowed"),
        ({"layers": {0: "much"}}, "alpha: 'much' is not allowed"),
        ({"layers": "last"}, "layers: 'last' is not allowed; allowed: first, all, numbers from -3 to 2"),
        ({"layers": [3]}, r"layers: \[3\] is not allowed"),
        ({"layers": []}, r"layers: \[\] is not allowed"),
        ({"distance": "kl"}, "distance: 'kl' is not allowed; allowed: mse, relative, cosine"),
        ({"teacher": "best"}, "teacher: 'best' is not allowed"),
        ({"scope": "some"}, "scope: 'some' is not allowed"),
        ({"scope": "active+4"}, "at most 3"),
        ({"alpha_schedule": "step"}, "alpha_schedule: 'step' is not allowed"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    model = tiny()
    before = hooks_of(model)
    with pytest.raises(InvalidParameterError, match=message) as raised:
        attach(model, **options)
    assert "\n" not in str(raised.value)
    assert hooks_of(model) == before


def test_bad_models() -> None:
    dense = GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=11))
    with pytest.raises(InvalidParameterError, match="it has no mixture of experts"):
        attach(dense)
    model = attach(tiny())
    with pytest.raises(InvalidParameterError, match="detach this one first"):
        attach(model)
    with pytest.raises(InvalidParameterError, match="masks \\(batch, length\\)"):
        model(batch()["input_ids"], attention_mask=torch.ones(8, 1, 7, 7))
    with pytest.raises(InvalidParameterError, match="progress: 2 is not allowed"):
        set_progress(model, 2)
    spread = tiny_family("llama4")
    next(module for module in spread.modules() if type(module).__name__ == "Llama4TextMoe")._is_expert_parallel = True
    with pytest.raises(InvalidParameterError, match="not spread over processes"):
        attach(spread)
    assert MixtralConfig.model_type == "mixtral"
