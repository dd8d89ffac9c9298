"""Narrow vision of tokens: gradients in closed form against those that come through one row of a mixture at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import moe_families
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from moe_families import inputs_of, tiny_family
from moe_models import MODELS
from moe_oracle import batch, kept_double, tiny
from moe_speakers import listening, speak
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from distilled_experts.functional import mutual_distillation
from distilled_experts.transformers import attach, probe_tokens
from distilled_experts.transformers.feed_forwards import are_feed_forwards, feed_forwards
from distilled_experts.transformers.finding import find_mixtures
from distilled_experts.transformers.mixtures import Mixture

pytestmark = pytest.mark.filterwarnings("ignore")  # configurations warn of many things

ALPHA = 0.7
FAMILIES = (
    "aria", "deepseek_v3", "gpt_oss", "granitemoe", "muse_spark", "step3p7",
    "dbrx", "jetmoe", "llama4", "switch_transformers",
)  # fmt: skip
TOP_1 = ("SwitchTransformersForConditionalGeneration",)


def with_dropout() -> nn.Module:
    """NLLB, which in evaluation makes what experts say smaller by the dropout of training."""
    model = tiny_family("nllb_moe")
    for mixture in find_mixtures(model):
        mixture.layer.moe_token_dropout = 0.25
    return model


BUILDS = MODELS | {"nllb_moe": with_dropout} | {family: partial(tiny_family, family) for family in FAMILIES}
QUICK = ("mixtral", "swapped", "gpt_oss", "llama4", "jetmoe")


def of_time(name: str) -> list[pytest.MarkDecorator]:
    return [] if name in QUICK else [pytest.mark.slow]


def one_row(mixture: Mixture, only: int, counted: Tensor, every_expert: bool, alike: list[Tensor]) -> RemovableHandle:
    """Let gradients into the experts through one row alone; `alike` gets the sum of distillation over all rows."""

    def open_row(layer: nn.Module, args: tuple[Tensor, ...], output: Any) -> Any:
        args = (args[0].detach(), *args[1:])
        here = torch.arange(len(counted)) == only
        said, active = speak(layer, *args)
        compared = active.any(-1, True).expand_as(active) if every_expert else active
        served = counted & active.any(-1)
        said = torch.where(here.reshape(-1, 1, 1), said, said.detach())
        alike.append(mutual_distillation(said, sample_weight=served.double(), mask=compared) * served.sum())
        again = type(layer).forward(layer, *args)
        rows = again[0] if isinstance(again, tuple) else again
        flat = rows.reshape(len(counted), -1)
        mixed = torch.where(here.unsqueeze(-1), flat, flat.detach()).reshape(rows.shape)
        return (mixed, *output[1:]) if isinstance(output, tuple) else mixed

    return mixture.layer.register_forward_hook(open_row)


def weights_of(layer: Any) -> list[list[Tensor]]:
    """Parameters of each expert, or stacks of those of all."""
    if isinstance(layer, nn.ModuleDict):
        return [list(layer[f"expert_{i}"].parameters()) for i in range(layer.num_experts)]
    if type(layer).__name__ == "JetMoeMoE":
        return [[layer.input_linear.weight, layer.output_linear.weight]]
    return [[values for values in getattr(layer, "experts", layer).parameters() if values.dim() > 1]]


def squares(gradients: list[Tensor], n_experts: int, stacked: bool) -> Tensor:
    """Square norm for each expert, of a stack (E, ...) or (E · H, D), or of one expert's own."""
    rows = n_experts if stacked else 1
    return sum((gradient.reshape(rows, -1).square().sum(1) for gradient in gradients), torch.zeros(rows))


def task_loss(model: nn.Module, part: dict[str, Tensor]) -> Tensor:
    """Sum over the predicted tokens."""
    if model.config.is_encoder_decoder:
        return F.cross_entropy(model(**part).logits.flatten(0, 1), part["labels"].flatten(), reduction="sum")
    logits = model(part["input_ids"], attention_mask=part["attention_mask"]).logits[:, :-1]
    return F.cross_entropy(logits.flatten(0, 1), part["labels"][:, 1:].flatten(), reduction="sum")


def rows_one_by_one(
    model: nn.Module, mixture: Mixture, part: dict[str, Tensor], counted: Tensor, every_expert: bool, alpha: float
) -> Tensor:
    """Norms (T, E): the gradient of the batch's loss through one row of the mixture at a time, experts apart."""
    weights, n_experts, norms = weights_of(mixture.layer), mixture.n_experts, []
    for only in range(len(counted)):
        alike: list[Tensor] = []
        handle = one_row(mixture, only, counted, every_expert, alike)
        loss = task_loss(model, part) + alpha * alike[0]
        handle.remove()
        flat = [values for group in weights for values in group]
        found = iter(torch.autograd.grad(loss, flat, allow_unused=True, materialize_grads=True))
        groups = [[next(found) for _ in group] for group in weights]
        norms.append(torch.cat([squares(group, n_experts, len(weights) == 1) for group in groups]).sqrt())
    return torch.stack(norms).detach()


def seen(model: nn.Module, mixture: Mixture, part: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Rows that are no padding; those among them that predict or are read, and are served; all tokens."""
    mask, labels = part["attention_mask"].bool().flatten(), part["labels"]
    with torch.no_grad(), listening([mixture], False) as heard:
        model(**part)
    served = heard[0][2].any(-1)
    if not model.config.is_encoder_decoder:
        following = F.pad(labels[:, 1:], (0, 1), value=-100).flatten()
        return mask, served & (following != -100), following
    counted, tokens = (mask, part["input_ids"]) if mixture.side == "encoder" else (labels.flatten() != -100, labels)
    return counted, served & counted, tokens.flatten()


@pytest.mark.parametrize("layer", [0, -1])
@pytest.mark.parametrize("build", [pytest.param(BUILDS[name], id=name, marks=of_time(name)) for name in BUILDS])
def test_narrow_vision_is_that_of_one_row_at_a_time(build: Callable[[], nn.Module], layer: int) -> None:
    part = {name: value[1:3] for name, value in batch("ragged").items()}
    with kept_double():
        model = build()
        mixture = find_mixtures(model)[layer]
        every_expert = type(model).__name__ in TOP_1
        attach(model, ALPHA, layers="all", distance="mse", scope="all" if every_expert else "active")
        vision = probe_tokens(model, [part], layer=layer, subsets=str).narrow_vision
        model.eval()
        counted, rows, tokens = seen(model, mixture, part)
        names = tokens[rows].numpy().astype(str)
        for found, alpha in ((vision.task, 0.0), (vision.whole, ALPHA)):
            norms = rows_one_by_one(model, mixture, part, counted, every_expert, alpha)[rows].numpy()
            for subset, shares in zip(np.unique(names), found.shares, strict=True):
                sums = norms[names == subset].sum(0)
                np.testing.assert_allclose(shares, sums / sums.sum(), rtol=1e-9, atol=1e-12)
    assert vision.alpha == ALPHA


@pytest.mark.parametrize("family", [pytest.param(family, marks=of_time(family)) for family in moe_families.FAMILIES])
def test_every_family_s_experts_are_read_as_they_are(family: str) -> None:
    model, inputs = tiny_family(family, torch.float32).eval(), inputs_of(family)
    found: list[tuple[Tensor, Tensor]] = []

    def listen(mixture: Mixture) -> Callable[..., None]:
        def hook(layer: nn.Module, args: tuple[Tensor, ...], output: Any) -> None:
            rows = args[0].reshape(-1, args[0].shape[-1])
            found.append((torch.stack([expert(rows) for expert in feed_forwards(mixture)], 1), speak(layer, *args)[0]))

        return hook

    for mixture in find_mixtures(model):
        assert are_feed_forwards(mixture)
        mixture.layer.register_forward_hook(listen(mixture))
    with torch.no_grad():
        model(**inputs)
    for read, said in found:
        torch.testing.assert_close(read[:, : said.shape[1]], said, rtol=1e-5, atol=1e-5)


def test_weights_that_cannot_be_read_are_no_feed_forwards() -> None:
    (mixture, *_) = find_mixtures(tiny())
    mixture.layer.down_proj = None
    assert not are_feed_forwards(mixture)


def test_adapters_belong_to_the_experts() -> None:
    model, part = tiny(), {"input_ids": batch("full")["input_ids"][:2]}
    config = LoraConfig(r=2, target_modules=[], target_parameters=["experts.gate_up_proj", "experts.down_proj"])
    adapted = get_peft_model(tiny(), config)
    for name, values in adapted.named_parameters():
        if "lora_B" in name:
            values.data = torch.randn(values.shape, generator=torch.Generator().manual_seed(3)).double()
    with kept_double():
        vision = probe_tokens(adapted, [part], narrow_vision=True).narrow_vision
        merged = probe_tokens(adapted.merge_and_unload(), [part]).narrow_vision
        plain = probe_tokens(model, [part]).narrow_vision
    np.testing.assert_allclose(vision.task.shares, merged.task.shares, rtol=1e-9)
    assert not np.allclose(vision.task.shares, plain.task.shares)


def test_of_the_last_mixture_a_tokens_gradient_is_that_of_its_own_loss() -> None:
    model = tiny()
    part = {"input_ids": batch("full")["input_ids"][:2]}
    with kept_double():
        vision = probe_tokens(model, [part], layer=-1, subsets=lambda token: "all").narrow_vision
        model.eval()
        experts = find_mixtures(model)[-1].layer
        labels = part["input_ids"][:, 1:].flatten()
        total = torch.zeros(4, dtype=torch.float64)
        for n, label in enumerate(labels):
            logits = model(part["input_ids"]).logits[:, :-1].flatten(0, 1)
            gradients = torch.autograd.grad(F.cross_entropy(logits[n], label), list(experts.parameters()))
            total += sum(gradient.flatten(1).square().sum(1) for gradient in gradients).sqrt()
    np.testing.assert_allclose(vision.task.shares[0], total / total.sum(), rtol=1e-9)
    assert vision.whole is None
