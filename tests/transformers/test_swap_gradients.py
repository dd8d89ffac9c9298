"""Swapped models in training: gradients of distillation and balance, whatever the loop does."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from moe_oracle import assert_same, gradients, kept_double
from torch import Tensor, nn
from transformers import PreTrainedModel, Trainer, TrainingArguments

from distilled_experts import reference
from distilled_experts.errors import InvalidParameterError, TrainingError
from distilled_experts.transformers import attach, detach, load_swapped, swap
from distilled_experts.transformers.swap_mixture import FeedForwardMixture

ALPHA, BALANCE = 0.3, 0.2
IDS = torch.randint(1, 20, (8, 6), generator=torch.Generator().manual_seed(0))
MASK = (torch.arange(6) < torch.tensor([6, 4, 6, 5, 6, 3, 6, 6]).unsqueeze(-1)).long()


@pytest.fixture(autouse=True)
def double_and_own_random_state() -> Iterator[None]:
    with kept_double(), torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        yield


def gpt2() -> PreTrainedModel:
    config = transformers.GPT2Config(
        n_embd=16, n_layer=2, n_head=2, vocab_size=20, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
    )
    return transformers.GPT2LMHeadModel(config).double().train()


def t5() -> PreTrainedModel:
    config = transformers.T5Config(
        d_model=16, d_ff=24, d_kv=8, num_heads=2, num_layers=2, vocab_size=20, dropout_rate=0.0,
        feed_forward_proj="gated-gelu", decoder_start_token_id=0,
    )  # fmt: skip
    return transformers.T5ForConditionalGeneration(config).double().train()


MODELS = {"gpt2": gpt2, "t5": t5}


def swapped(name: str, **options: Any) -> PreTrainedModel:
    return swap(MODELS[name](), n_experts=4, perturbation=0.5, balance=BALANCE, **options)


def batch() -> dict[str, Tensor]:
    return {"input_ids": IDS, "attention_mask": MASK, "labels": IDS.masked_fill(MASK == 0, -100)}


def n_labels(model: PreTrainedModel, labels: Tensor) -> int:
    return int((labels if model.config.is_encoder_decoder else labels[:, 1:]).ne(-100).sum())


def slow_gradients(model: PreTrainedModel, alpha: float, balance: float) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Gradients of the whole batch by plain autograd, from mixtures that are loops over tokens."""
    model = copy.deepcopy(model)
    for module in model.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    sides = []
    for name, mixture in [(n, m) for n, m in model.named_modules() if isinstance(m, FeedForwardMixture)]:
        record: dict[str, Any] = {"side": "encoder" if name.startswith("encoder") else "decoder"}
        sides.append(record)
        mixture.forward = slow_mixture(mixture, record)
    labels = batch()["labels"]
    loss = model(**batch()).loss
    count = n_labels(model, labels)
    distillation, balances = [], []
    for record in sides:
        counted = (
            labels != -100 if record["side"] == "decoder" and model.config.is_encoder_decoder else MASK != 0
        ).flatten()
        outputs = record["outputs"][counted]
        mean = reference.mutual_distillation(outputs, distance="relative")
        distillation.append(mean * counted.sum() / count)
        balances.append(reference.load_balance(record["probabilities"][counted], record["mask"][counted]))
    losses = {"distillation": alpha * sum(distillation), "balance": balance * sum(balances) / len(balances)}
    (loss + sum(losses.values())).backward()
    return gradients(model), {name: float(value.detach()) for name, value in losses.items()}


def slow_mixture(mixture: FeedForwardMixture, record: dict[str, Any]) -> Any:
    experts = mixture.experts

    def one(expert: int, token: Tensor) -> Tensor:
        (up, up_bias), (down, down_bias) = [
            (weight[expert], None if bias is None else bias[expert]) for weight, bias in experts.maps()
        ]
        hidden = nn.functional.linear(token, up, up_bias)
        if experts.has_gate:
            gate, linear = hidden.chunk(2, -1)
            return nn.functional.linear(experts.activation(gate) * linear, down, down_bias)
        return nn.functional.linear(experts.activation(hidden), down, down_bias)

    def forward(x: Tensor) -> Tensor:
        tokens = x.reshape(-1, x.shape[-1])
        scores = tokens @ mixture.router.weight.T
        chosen = scores.topk(mixture.router.top_k).indices
        weights = scores.gather(-1, chosen).softmax(-1)
        said = torch.stack(
            [torch.stack([one(int(e), token) for e in row]) for token, row in zip(tokens, chosen, strict=True)]
        )
        mask = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, chosen, True)
        record.update(outputs=said, probabilities=scores.softmax(-1), mask=mask)
        return (weights.unsqueeze(-1) * said).sum(1).reshape(x.shape)

    return forward


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("alpha", "balance"), [(ALPHA, BALANCE), (0.0, BALANCE), (ALPHA, 0.0), (0.0, 0.0)])
def test_gradients_are_those_of_the_sum_of_all_losses(name: str, alpha: float, balance: float) -> None:
    model = swap(MODELS[name](), n_experts=4, perturbation=0.5, balance=balance, alpha=alpha)
    expected, values = slow_gradients(model, alpha, balance)
    outputs = model(**batch())
    outputs.loss.backward()
    assert_same(gradients(model), expected)
    assert float(outputs.distillation_loss) == pytest.approx(values["distillation"], rel=1e-10)
    if balance:
        assert float(outputs.balance_loss) == pytest.approx(values["balance"], rel=1e-10)
        assert len(outputs.balance_losses) == sum(isinstance(module, FeedForwardMixture) for module in model.modules())


@pytest.mark.parametrize("reentrant", [None, True, False])
@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("name", MODELS)
def test_accumulation_and_checkpointing_change_nothing(name: str, parts: int, reentrant: bool | None) -> None:
    # Every part has a balance of its own, so what is compared with are the same parts without checkpoints and without a
    # global count, weighted by hand. T5 takes no global count.
    model = attach(swapped(name), ALPHA, layers="all", distance="mse")
    plain = copy.deepcopy(model)
    if reentrant is not None:
        model.activation_checkpointing_enable({"use_reentrant": reentrant})
    total = n_labels(model, batch()["labels"])
    for i in range(parts):
        part = {key: value.chunk(parts)[i] for key, value in batch().items()}
        weight = n_labels(model, part["labels"]) / total
        if name == "t5":
            (model(**part).loss * weight).backward()
        else:
            model(**part, num_items_in_batch=total).loss.backward()
        (plain(**part).loss * weight).backward()
    assert_same(gradients(model), gradients(plain))


def test_two_losses_leave_checkpointed_layers_as_they_found_them() -> None:
    model = swapped("gpt2", alpha=ALPHA)
    model.activation_checkpointing_enable()
    layer = model.transformer.h[0]
    before = layer._gradient_checkpointing_func
    model(**batch())
    assert layer._gradient_checkpointing_func is before


def test_the_trainer_accumulates_exactly(tmp_path: Path) -> None:
    model = attach(swapped("gpt2"), ALPHA, layers="all", distance="mse")
    plain = copy.deepcopy(model)
    rows = [{key: value[i] for key, value in batch().items()} for i in range(8)]
    seen: list[dict[str, Tensor]] = []

    class Watch(transformers.TrainerCallback):
        def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
            seen.append(gradients(kwargs["model"]))

    arguments = TrainingArguments(
        str(tmp_path), per_device_train_batch_size=2, gradient_accumulation_steps=4, max_steps=1, max_grad_norm=0,
        train_sampling_strategy="sequential", report_to="none", disable_tqdm=True, use_cpu=True, save_strategy="no",
        dataloader_pin_memory=False,
    )  # fmt: skip
    Trainer(model, arguments, train_dataset=rows, callbacks=[Watch()]).train()
    # For this model the Trainer counts the first label of each sequence too.
    total = int(batch()["labels"].ne(-100).sum())
    for i in range(4):
        part = {key: value[2 * i : 2 * i + 2] for key, value in batch().items()}
        (plain(**part).loss * n_labels(plain, part["labels"]) / total).backward()
    assert_same(seen[0], gradients(plain))


def test_a_loss_of_ones_own_takes_what_the_outputs_offer() -> None:
    model = swapped("gpt2", alpha=ALPHA)
    expected, _ = slow_gradients(model, 0.0, 0.0)
    inputs = batch()
    labels = inputs.pop("labels")
    outputs = model(**inputs)
    own = nn.functional.cross_entropy(outputs.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    (own + 0 * (outputs.distillation_loss + outputs.balance_loss)).backward()
    assert_same(gradients(model), expected)


def test_a_balance_loss_is_not_lost_in_silence() -> None:
    model = swapped("gpt2")
    with pytest.raises(TrainingError, match=r"balance: the backward pass does not contain .* add outputs.balance_loss"):
        model(IDS).logits.sum().backward()
    with pytest.raises(TrainingError, match="balance: a mixture is trained outside a forward pass of GPT2LMHeadModel"):
        model.transformer(IDS)


def test_no_loss_in_evaluation_and_none_where_it_is_switched_off() -> None:
    model = swapped("gpt2")
    assert not hasattr(model.eval()(**batch()), "balance_loss")
    off = swap(gpt2(), n_experts=4, balance=0)
    assert not hasattr(off(**batch()), "balance_loss")


def test_balance_is_remembered(tmp_path: Path) -> None:
    model = swapped("gpt2")
    model.save_pretrained(tmp_path)
    loaded = load_swapped(tmp_path, dtype=torch.float64).train()
    for one in (model, loaded):
        one(**batch()).loss.backward()
    assert_same(gradients(loaded), gradients(model))
    assert float(model(**batch()).balance_loss.detach()) == pytest.approx(BALANCE, rel=0.5)


def test_training_spreads_the_load() -> None:
    model = swap(gpt2(), n_experts=4, balance=1.0)
    with torch.no_grad():
        for block in model.transformer.h:
            block.ln_2.bias += 1
            block.mlp.c_proj.router.weight[0] += 0.1
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        outputs = model(**batch())
        outputs.loss.backward()
        optimizer.step()
        losses.append(float(outputs.balance_loss.detach()))
    assert losses[0] > 1.2
    assert losses[-1] < 1.1


def test_detached_it_is_a_plain_mixture() -> None:
    model = detach(swapped("gpt2", alpha=ALPHA))
    expected, _ = slow_gradients(model, 0.0, BALANCE)
    model(**batch()).loss.backward()
    assert_same(gradients(model), expected)


def test_a_strength_that_is_not_allowed() -> None:
    with pytest.raises(InvalidParameterError, match="balance: -1 is not allowed; allowed: numbers ≥ 0"):
        swap(gpt2(), balance=-1)
