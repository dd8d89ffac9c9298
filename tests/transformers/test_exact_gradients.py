"""Gradients of task and distillation are those of one big batch, whatever the training loop does."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from moe_oracle import (
    FAMILIES,
    LENGTH,
    SIZES,
    VOCABULARY,
    assert_same,
    batch,
    count,
    expected,
    gradients,
    kept_double,
    oracle_loss,
    prepared,
    split,
    tiny,
)
from transformers import MixtralConfig, MixtralForSequenceClassification

from distilled_experts.transformers import attach, detach

ALPHA = 0.7
KINDS = ("full", "ragged", "prompt", "packed")


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    with kept_double():
        yield


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_parts", [1, 4, 8])
def test_accumulation_with_a_global_count(family: str, kind: str, n_parts: int) -> None:
    model, whole = tiny(family), batch(kind)
    wanted = expected(model, [whole], [count(whole)], alpha=ALPHA, layers=(0, 2))
    attach(model, ALPHA, layers=[0, 2], distance="mse")
    for part in split(whole, n_parts):
        model(**part, num_items_in_batch=count(whole)).loss.backward()
    assert_same(gradients(model), wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_accumulation_without_a_global_count_has_the_scale_of_the_task_loss(kind: str) -> None:
    model, parts = tiny(), split(batch(kind), 4)
    wanted = expected(model, parts, [4 * count(part) for part in parts], alpha=ALPHA)
    attach(model, ALPHA, distance="mse")
    for part in parts:
        (model(**part).loss / 4).backward()
    assert_same(gradients(model), wanted)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("scope", ["active", "all"])
def test_checkpointing(family: str, use_reentrant: bool, scope: str) -> None:
    model, whole = tiny(family), batch()
    wanted = expected(model, [whole], [count(whole)], alpha=ALPHA, layers=(0, 1), every_expert=scope == "all")
    attach(model, ALPHA, layers=(0, 1), distance="mse", scope=scope)
    model.activation_checkpointing_enable({"use_reentrant": use_reentrant})
    for part in split(whole, 2):
        model(**part, num_items_in_batch=count(whole), use_cache=False).loss.backward()
    assert_same(gradients(model), wanted)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_two_passes_before_one_backward(use_reentrant: bool) -> None:
    model, parts = tiny(), split(batch("prompt"), 2)
    wanted = expected(model, parts, [count(parts[0]), count(parts[1]) / 3], alpha=ALPHA)
    attach(model, ALPHA, distance="mse")
    model.activation_checkpointing_enable({"use_reentrant": use_reentrant})
    first, second = (model(**part, use_cache=False).loss for part in parts)
    (first + 3 * second).backward()
    assert_same(gradients(model), wanted)


@pytest.mark.parametrize("distance", ["mse", "relative", "cosine"])
@pytest.mark.parametrize("teacher", ["mean", "gate", "peers", "leave_one_out"])
@pytest.mark.parametrize("weighting", ["uniform", "gate"])
@pytest.mark.parametrize("scope", ["active", "all"])
def test_distances_teachers_weightings(distance: str, teacher: str, weighting: str, scope: str) -> None:
    model, whole = tiny(), batch()
    options = {"alpha": ALPHA, "distance": distance, "teacher": teacher, "weighting": weighting}
    wanted = expected(model, [whole], [count(whole)], every_expert=scope == "all", **options)
    attach(model, scope=scope, **options)
    model(**whole).loss.backward()
    assert_same(gradients(model), wanted)


def test_accumulation_with_the_cosine_distance() -> None:
    model, whole = tiny(), batch()
    wanted = expected(model, [whole], [count(whole)], alpha=ALPHA, distance="cosine")
    attach(model, ALPHA, distance="cosine")
    for part in split(whole, 4):
        model(**part, num_items_in_batch=count(whole)).loss.backward()
    assert_same(gradients(model), wanted)


def test_each_pass_measures_the_relative_distance_with_its_own_unit() -> None:
    model, whole = tiny(), batch()
    parts = split(whole, 4)
    wanted = expected(model, parts, [count(whole)] * 4, alpha=ALPHA, distance="relative")
    attach(model, ALPHA)
    for part in parts:
        model(**part, num_items_in_batch=count(whole)).loss.backward()
    assert_same(gradients(model), wanted)


@pytest.mark.parametrize(("n_rows", "most"), [(80, 0.03), (320, 0.01)])
def test_units_of_single_passes_hardly_differ(n_rows: int, most: float) -> None:
    """At about 128 and 512 tokens in each of four passes, next to one pass of all."""
    model, whole, added = tiny(), batch("full", n_rows), []
    for n_parts in (1, 4):
        found = []
        for alpha in (0.0, ALPHA):
            attach(model, alpha)
            for part in split(whole, n_parts):
                model(**part, num_items_in_batch=count(whole)).loss.backward()
            found.append(torch.cat([gradient.flatten() for gradient in gradients(model).values()]))
            detach(model).zero_grad()
        added.append(found[1] - found[0])
    assert 0 < (added[1] - added[0]).norm() < most * added[0].norm()


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_of_the_users_own(kind: str) -> None:
    model, whole = tiny(), batch(kind)
    labels = whole.pop("labels")
    n_tokens = int(whole["attention_mask"].sum()) if "attention_mask" in whole else labels.numel()
    wanted = expected(model, [{**whole, "labels": labels}], [1], alpha=ALPHA / n_tokens)
    attach(model, ALPHA, distance="mse")
    outputs = model(**whole)
    loss = F.cross_entropy(outputs.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum")
    (loss + outputs.distillation_loss).backward()
    assert_same(gradients(model), wanted)


@pytest.mark.parametrize("use_reentrant", [None, True, False])
def test_a_distillation_loss_that_is_left_out_is_an_error(use_reentrant: bool | None) -> None:
    model, whole = attach(tiny(), ALPHA), batch()
    if use_reentrant is not None:
        model.activation_checkpointing_enable({"use_reentrant": use_reentrant})
    with pytest.raises(RuntimeError, match=r"add outputs\.distillation_loss to your own loss"):
        model(**whole, use_cache=False).logits.sum().backward()


def test_gradient_scaler() -> None:
    model, whole = tiny(), batch()
    wanted = expected(model, [whole], [count(whole)], alpha=ALPHA)
    attach(model, ALPHA, distance="mse")
    scaler = torch.amp.GradScaler("cpu", init_scale=1000.0)
    scaler.scale(model(**whole).loss).backward()
    # unscale_ has no float64.
    found = {name: gradient / scaler.get_scale() for name, gradient in gradients(model).items()}
    assert_same(found, wanted)


def test_the_gradient_of_the_gradient() -> None:
    model, whole = tiny(attn_implementation="eager"), batch("full")
    copy = deepcopy(model)
    attach(model, ALPHA, distance="mse")
    for one, loss in ((model, model(**whole).loss), (copy, oracle_loss(copy, whole, alpha=ALPHA) / count(whole))):
        weight = one.model.layers[0].mlp.experts.down_proj
        (gradient,) = torch.autograd.grad(loss, weight, create_graph=True)
        gradient.square().sum().backward()
    assert_same(gradients(model), gradients(copy))


def test_one_label_a_sequence_does_not_count_its_tokens() -> None:
    sizes = {**SIZES, "num_local_experts": 4, "num_labels": 3, "pad_token_id": 0}
    model = prepared(MixtralForSequenceClassification(MixtralConfig(**sizes)))
    tokens = torch.randint(1, VOCABULARY, (4, LENGTH), generator=torch.Generator().manual_seed(0))
    attach(model, ALPHA, distance="mse")
    outputs = model(tokens, labels=torch.tensor([0, 1, 2, 0]))
    mean = outputs.distillation_losses[0]
    parts = [model(tokens[i : i + 2], labels=torch.tensor([0, 1]), num_items_in_batch=4) for i in (0, 2)]
    torch.testing.assert_close(sum(part.distillation_losses[0] for part in parts), mean)
    # Without labels it is the mean over the tokens, too.
    torch.testing.assert_close(model(tokens).distillation_losses[0], mean)
