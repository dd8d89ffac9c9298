"""Gradients in other people's training loops: accelerate, mixed precision, adapters, compilation."""

from __future__ import annotations

from collections.abc import Iterator

import peft
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from moe_oracle import assert_same, batch, count, expected, gradients, kept_double, split, tiny
from torch import nn

from distilled_experts.transformers import attach, detach

ALPHA = 0.7


@pytest.fixture
def double() -> Iterator[None]:
    with kept_double():
        yield


@pytest.fixture
def fresh_accelerate() -> Iterator[None]:
    yield
    AcceleratorState._reset_state(True)
    GradientState._reset_state()


@pytest.mark.usefixtures("double", "fresh_accelerate")
@pytest.mark.parametrize("kind", ["full", "prompt"])
def test_accelerate(kind: str) -> None:
    model, parts = tiny(), split(batch(kind), 4)
    wanted = expected(model, parts, [4 * count(part) for part in parts], alpha=ALPHA)
    accelerator = Accelerator(gradient_accumulation_steps=4, cpu=True)
    prepared, optimizer = accelerator.prepare(attach(model, ALPHA, distance="mse"), torch.optim.SGD(model.parameters()))
    for part in parts:
        with accelerator.accumulate(prepared):
            accelerator.backward(prepared(**part).loss)
    assert_same(gradients(model), wanted)
    assert optimizer.step_was_skipped is False


@pytest.mark.parametrize("implementation", ["eager", "grouped_mm"])
@pytest.mark.parametrize("use_reentrant", [None, True, False])
def test_bfloat16_autocast(implementation: str, use_reentrant: bool | None) -> None:
    whole, parts = batch("prompt"), []
    for alpha in (ALPHA, 0.0):
        model = tiny(dtype=torch.float32)
        model.set_experts_implementation(implementation)
        wanted = expected(model, [whole], [count(whole)], alpha=alpha)
        if use_reentrant is not None:
            model.activation_checkpointing_enable({"use_reentrant": use_reentrant})
        attach(model, alpha, distance="mse")
        for part in split(whole, 2):
            with torch.autocast("cpu", torch.bfloat16):
                loss = model(**part, num_items_in_batch=count(whole), use_cache=False).loss
            loss.backward()
        found = gradients(model)
        parts.append([torch.cat([values[name].flatten() for name in wanted]) for values in (found, wanted)])
    # What distillation adds: the share of the right gradient in it, and how much of it is something else.
    (found, wanted), (found_task, wanted_task) = parts
    added, right = found - found_task, wanted - wanted_task
    share = float(added @ right / right.square().sum())
    assert share == pytest.approx(1, abs=0.02)
    assert (added - share * right).norm() < 0.1 * right.norm()


@pytest.mark.parametrize("implementation", ["eager", "grouped_mm"])
def test_bfloat16_weights(implementation: str) -> None:
    # The grouped product wants rows of multiples of 16 bytes.
    model, whole = tiny(dtype=torch.bfloat16, intermediate_size=16), batch("prompt")
    model.set_experts_implementation(implementation)
    loss = model(**whole).loss.detach()
    outputs = attach(model, ALPHA)(**whole)
    torch.testing.assert_close(outputs.loss.detach(), loss, rtol=2e-2, atol=0)
    assert outputs.distillation_loss.dtype == torch.float32
    outputs.loss.backward()
    assert all(torch.isfinite(gradient).all() for gradient in gradients(model).values())


def with_adapters(model: nn.Module) -> nn.Module:
    """LoRA on the weights of all experts and on the attention, with values that are not zero."""
    config = peft.LoraConfig(
        r=2,
        lora_alpha=4,
        target_modules=["q_proj"],
        target_parameters=["experts.gate_up_proj", "experts.down_proj"],
        lora_dropout=0.0,
    )
    adapted = peft.get_peft_model(model, config)
    generator = torch.Generator().manual_seed(3)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.3
    return adapted


# PEFT calls a method of Transformers by its old name.
OLD_NAME = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")


@OLD_NAME
@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("n_parts", [1, 4])
@pytest.mark.parametrize("adapters_first", [True, False])
def test_adapters_on_experts(n_parts: int, adapters_first: bool) -> None:
    whole = batch("full")
    wanted = expected(with_adapters(tiny()), [whole], [count(whole)], alpha=ALPHA)
    assert any("experts" in name for name in wanted)
    if adapters_first:
        model = attach(with_adapters(tiny()), ALPHA, distance="mse")
    else:
        model = with_adapters(attach(tiny(), ALPHA, distance="mse"))
    for part in split(whole, n_parts):
        (model(**part).loss / n_parts).backward()
    assert_same(gradients(model), wanted)
    detach(model)
    assert not hasattr(model(**whole), "distillation_loss")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler warns about its own doings
@pytest.mark.parametrize("use_reentrant", [None, True, False])
def test_compiled_models(use_reentrant: bool | None) -> None:
    model = attach(tiny(dtype=torch.float32), ALPHA)
    if use_reentrant is not None:
        model.activation_checkpointing_enable({"use_reentrant": use_reentrant})
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager")
    for scale, kind in ((1.0, "ragged"), (0.25, "ragged"), (3.0, "prompt"), (1.0, "full")):
        found = []
        for one in (compiled, model):
            model.zero_grad()
            (scale * one(**batch(kind), use_cache=False).loss).backward()
            found.append(gradients(model))
        assert_same(*found, tolerance=1e-4)
