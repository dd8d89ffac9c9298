"""Expert probing of language models: forced routing against replaced routers."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from moe_families import tiny_family
from moe_models import MODELS
from moe_oracle import VOCABULARY, batch, tiny
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

from distilled_experts.errors import DataError, InvalidParameterError
from distilled_experts.layers import Routing
from distilled_experts.probing import ProbeRecord
from distilled_experts.report import probe_text, report_html, repr_html
from distilled_experts.transformers import attach, probe_tokens, swap
from distilled_experts.transformers.finding import find_mixtures
from distilled_experts.transformers.forcing import recorded_routing


class OneExpert(nn.Module):
    """In the place of a router: one expert for all tokens, with the sum of the weights of those that it chose."""

    def __init__(self, router: nn.Module, expert: int) -> None:
        super().__init__()
        self.router = router
        self.expert = expert

    def forward(self, x: Tensor) -> Any:
        routed = self.router(x)
        ours = isinstance(routed, Routing)
        scores, weights, indices = (routed.scores, routed.weights, routed.indices) if ours else routed
        alone = scores, weights.sum(-1, keepdim=True), torch.full_like(indices[:, :1], self.expert)
        return Routing(*alone) if ours else alone


def with_router(model: nn.Module, layer: int, expert: int) -> nn.Module:
    """A copy of the model in which one mixture has another router."""
    copy = deepcopy(model).eval()
    parent = copy.get_submodule(find_mixtures(copy)[layer].name.rpartition(".")[0])
    name = "gate" if hasattr(parent, "gate") else "router"
    setattr(parent, name, OneExpert(getattr(parent, name), expert))
    return copy


def predicted(model: nn.Module, part: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Labels, predicted tokens and losses, sequence by sequence and token by token."""
    labels, said, losses = [], [], []
    with torch.no_grad():
        logits = model(**{name: value for name, value in part.items() if name != "labels"}).logits
    for row, wanted in zip(logits, part["labels"], strict=True):
        for scores, label in zip(row, wanted[1:], strict=False):
            if label != -100:
                labels.append(label)
                said.append(scores.argmax())
                losses.append(-scores.log_softmax(-1)[label])
    return torch.stack(labels), torch.stack(said), torch.stack(losses)


@pytest.mark.parametrize("kind", ["ragged", "prompt"])
@pytest.mark.parametrize("layer", [0, 2])
@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
def test_every_measure_is_that_of_models_with_replaced_routers(build, layer, kind):
    model, part = build(), batch(kind)
    record = probe_tokens(model, [part], layer=layer)
    domains = record.domains
    labels, mixture, loss = predicted(deepcopy(model).eval(), part)
    assert record.score == pytest.approx(float((mixture == labels).double().mean()))
    assert record.perplexity == pytest.approx(math.exp(loss.mean()))
    alone = [predicted(with_router(model, layer, expert), part)[1:] for expert in range(4)]
    right = torch.stack([said == labels for said, _ in alone], 1).numpy()
    losses = torch.stack([loss for _, loss in alone], 1).numpy()
    for domain in range(4):
        members = domains == domain
        assert record.shares[domain] == pytest.approx(members.mean())
        if members.any():
            np.testing.assert_allclose(record.matrix[:, domain], right[members].mean(0))
            np.testing.assert_allclose(record.perplexity_matrix[:, domain], np.exp(losses[members].mean(0)), rtol=1e-6)
    own = losses[np.arange(len(domains)), domains].mean()
    assert record.own_domain_perplexity == pytest.approx(math.exp(own), rel=1e-6)
    assert record.oracle == pytest.approx(right.any(1).mean())
    assert sum(record.errors.values()) == pytest.approx(1 - record.score)
    agreement = [[float((a[0] == b[0]).double().mean()) for b in alone] for a in alone]
    np.testing.assert_allclose(record.similarity.agreement, agreement)


def test_domains_are_those_of_the_router():
    model, part = tiny().eval(), batch("ragged")
    hidden: list[Tensor] = []
    block = model.model.layers[1].mlp
    block.gate.register_forward_hook(lambda _, args, out: hidden.append(out[0]))
    model(part["input_ids"], attention_mask=part["attention_mask"])
    logits = hidden[0].reshape(*part["input_ids"].shape, 4)[:, :-1]
    expected = logits.argmax(-1)[part["labels"][:, 1:] != -100]
    np.testing.assert_array_equal(probe_tokens(model, [part], layer=1).domains, expected)


def certain() -> tuple[nn.Module, dict[str, Tensor]]:
    """Tokens 0 to 7, each in the place of its own; the domain of token t is expert t % 4, which alone says t + 1."""
    model = tiny(hidden_size=8, vocab_size=8, num_hidden_layers=1, num_experts_per_tok=1)
    block = model.model.layers[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for norm in (block.post_attention_layernorm, model.model.norm):
            norm.weight.fill_(1)
        model.model.embed_tokens.weight.copy_(torch.eye(8))
        model.lm_head.weight.copy_(8 * torch.eye(8))
        for token in range(8):
            block.mlp.gate.weight[token % 4, token] = 10
            # silu(10) · 10 of hidden unit t, which only token t moves.
            block.mlp.experts.gate_up_proj[token % 4, [token, 12 + token], token] = 10
            block.mlp.experts.down_proj[token % 4, (token + 1) % 8, token] = 10
    tokens = (torch.arange(6).unsqueeze(1) + torch.arange(5)) % 8
    return model, {"input_ids": tokens}


def test_experts_that_are_right_on_their_own_domain_alone():
    model, part = certain()
    record = probe_tokens(model, [part, part])
    np.testing.assert_array_equal(record.matrix, np.eye(4))
    np.testing.assert_array_equal(record.domains, part["input_ids"][:, :-1].repeat(2, 1).flatten() % 4)
    assert (record.own_domain, record.routing_accuracy, record.oracle, record.score) == (1, 1, 1, 1)
    assert record.perplexity == pytest.approx(1, abs=1e-3)
    assert record.own_domain_perplexity == pytest.approx(1, abs=1e-3)
    assert (record.perplexity_matrix[~np.eye(4, dtype=bool)] > 5).all()
    own = record.to_dict()["own_domain_perplexity"]
    assert own["low"] <= record.own_domain_perplexity == own["value"] <= own["high"]
    # Each token's successor belongs to one expert alone.
    named = probe_tokens(model, [part], subsets=[f"of {(token - 1) % 4}" for token in range(8)])
    assert named.subsets == ("of 0", "of 1", "of 2", "of 3")
    assert (named.composition > 0).tolist() == np.eye(4, dtype=bool).tolist()


def test_batches_do_not_matter_and_padding_does_not_count():
    model, whole = tiny(), batch("ragged")
    together = probe_tokens(model, [whole]).to_dict()
    apart = probe_tokens(model, [{name: value[i : i + 3] for name, value in whole.items()} for i in (0, 3, 6)])
    for name in ("matrix", "perplexity_matrix", "perplexity", "own_domain"):
        np.testing.assert_allclose(
            np.array(apart.to_dict()[name]["value"], float), np.array(together[name]["value"], float), rtol=1e-9
        )
        np.testing.assert_allclose(
            np.array(apart.to_dict()[name]["low"], float), np.array(together[name]["low"], float), rtol=1e-9
        )
    unlabelled = probe_tokens(model, [{name: whole[name] for name in ("input_ids", "attention_mask")}])
    assert unlabelled.to_dict()["perplexity_matrix"] == together["perplexity_matrix"]


def test_padding_on_the_left_is_no_sample():
    tokens = batch("full")["input_ids"][:2, :4]
    mask = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]])
    record = probe_tokens(tiny(), [{"input_ids": tokens, "attention_mask": mask}])
    assert len(record.domains) == 3 + 1


def source_domains(model: nn.Module, part: dict[str, Tensor]) -> list[int]:
    """Of each sequence, the expert of the first mixture with the largest sum of weights over its own tokens."""
    with torch.no_grad(), recorded_routing(find_mixtures(model)[0]) as calls:
        model(**part)
    (routing,), domains, length = calls, [], part["input_ids"].shape[1]
    for row, real in enumerate(part["attention_mask"].tolist()):
        sums = torch.zeros(4, dtype=torch.float64)
        for t in (row * length + place for place in range(length) if real[place]):
            sums[routing.indices[t]] += routing.weights[t] * routing.kept[t]
        domains.append(int(sums.argmax()))
    return domains


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layer", [0, -1])
def test_encoder_decoders(layer):
    model, part = tiny_family("switch_transformers"), batch("ragged", n_rows=6)
    if layer == 0:
        for module in model.modules():
            if hasattr(module, "expert_capacity"):
                module.expert_capacity = 64  # room for padding, too
    record = probe_tokens(model, [part], layer=layer)
    assert record.layers[0].startswith("encoder")
    if layer == 0:  # one domain for all tokens of a sequence
        lengths = (part["labels"] != -100).sum(1).tolist()
        assert len(record.domains) == sum(lengths)
        np.testing.assert_array_equal(record.domains, np.repeat(source_domains(model.eval(), part), lengths))
        # What is learnt comes from the tokens of the source.
        assert record.composition.sum() == record.narrow_vision.task.sizes.sum() == part["attention_mask"].sum()
    else:
        assert len(record.domains) <= (part["labels"] != -100).sum()
        assert record.composition.sum() == record.narrow_vision.task.sizes.sum() == len(record.domains)


def test_masked_language_models():
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
    model = swap(BertForMaskedLM(BertConfig(vocab_size=VOCABULARY, **sizes)), n_experts=4).eval()
    part = batch("full")
    hidden = torch.arange(part["labels"].numel()).reshape(part["labels"].shape) % 3 > 0
    part["labels"] = part["labels"].masked_fill(hidden, -100)
    record = probe_tokens(model, [part])
    with recorded_routing(find_mixtures(model)[0]) as calls:
        loss = model(**part).loss
    assert record.perplexity == pytest.approx(float(loss.detach().exp()), rel=1e-5)
    domains = calls[0].indices[torch.arange(len(calls[0].weights)), calls[0].weights.argmax(-1)]
    np.testing.assert_array_equal(record.domains, domains[~hidden.flatten()])
    assert record.narrow_vision is not None


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing")  # PEFT asks for it by its old name
def test_adapters_and_low_precision():
    expected = probe_tokens(tiny(), [batch()]).perplexity
    adapted = get_peft_model(tiny(), LoraConfig(target_modules=["q_proj"], r=2))
    assert probe_tokens(adapted, [batch()]).perplexity == pytest.approx(expected)
    short = probe_tokens(attach(tiny(dtype=torch.bfloat16, hidden_size=16, intermediate_size=16)), [batch()])
    assert 0 < short.narrow_vision.whole.index < 1
    assert short.perplexity_matrix.dtype == np.float64


def test_probing_leaves_the_model_as_it_was():
    model = attach(tiny(), layers="all")
    hooks = [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules()]
    model.model.norm.eval()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    probe_tokens(model, [batch("ragged")])
    assert hooks == [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules()]
    assert (model.training, model.model.norm.training) == (True, False)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert torch.is_grad_enabled()


@pytest.fixture(scope="module")
def record() -> ProbeRecord:
    return probe_tokens(tiny(), [batch("ragged")])


def test_the_report_names_tokens_and_perplexity(record):
    page, text = report_html(record), probe_text(record, width=300)
    for words in (page, text):
        assert f"{len(record.domains)} tokens" in words
        assert "erplexity of the mixture" in words
        assert "share of the tokens" in words.lower()
        assert "samples" not in words.partition("<script")[0]
    assert "bootstrap over the sequences" in page
    assert "Perplexity there" in page
    assert "How sure every expert is on every domain" in page
    assert "perplexity on own domain" in repr_html(record).lower()
    assert "perplexity" in record._repr_html_()


@pytest.mark.parametrize(
    ("batches", "options", "error", "message"),
    [
        ([batch("full")], {"layer": 3}, InvalidParameterError, "layer: 3 is not allowed; allowed: model.layers.0"),
        ([batch("full")], {"layer": "mlp"}, InvalidParameterError, "layer: 'mlp'"),
        ([], {}, DataError, "batches: no tokens"),
        (batch("full"), {}, DataError, "batches: str; mappings to tensors are needed"),
        ([{"labels": torch.ones(1, 2)}], {}, DataError, "batches: dict; mappings"),
        ([{"input_ids": torch.ones(2, 1, dtype=torch.long)}], {}, DataError, "batches: no tokens"),
        ([batch("full")], {"subsets": ["a", "b"]}, InvalidParameterError, "subsets: '2 names' is not allowed"),
    ],
)
def test_bad_input(batches, options, error, message):
    with pytest.raises(error, match=message):
        probe_tokens(tiny(), batches, **options)


def test_models_without_mixtures_and_without_labels():
    with pytest.raises(InvalidParameterError, match="no mixture of experts"):
        probe_tokens(GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=5)), [batch("full")])
