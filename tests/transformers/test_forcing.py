"""Routing that is taken over: what experts say alone, in every kind of mixture that Transformers has."""

from __future__ import annotations

import pytest
import torch
from moe_families import tiny_family
from moe_oracle import batch, tiny
from torch import Tensor

from distilled_experts.errors import InvalidParameterError
from distilled_experts.transformers.finding import find_mixtures
from distilled_experts.transformers.forcing import forced_expert, recorded_routing

FAMILIES = (
    "mixtral",
    "deepseek_v3",
    "gpt_oss",
    "granitemoe",
    "dbrx",
    "jetmoe",
    "llama4",
    "switch_transformers",
    "nllb_moe",
)


@pytest.mark.filterwarnings("ignore")  # configurations warn of many things
@pytest.mark.parametrize("family", FAMILIES)
def test_in_every_family_what_experts_say_alone_adds_up_to_the_mixture(family):
    model = tiny_family(family).eval()
    part = batch("full")
    inputs = {"input_ids": part["input_ids"]}
    if model.config.is_encoder_decoder:
        inputs["labels"] = part["labels"]
    mixture = find_mixtures(model)[-1]
    speaker = mixture.layer.experts if family == "llama4" else mixture.layer
    mixed: list[Tensor] = []
    entered: list[Tensor] = []
    handles = [
        speaker.register_forward_hook(lambda _, args, out: mixed.append(out)),
        mixture.layer.register_forward_pre_hook(lambda _, args: entered.append(args[0].flatten(0, -2))),
    ]
    with torch.no_grad(), recorded_routing(mixture) as calls:
        logits = model(**inputs).logits
    for handle in handles:
        handle.remove()
    (routing,), said, alone = calls, [], []
    for expert in range(mixture.n_experts):
        with torch.no_grad(), forced_expert(mixture, expert) as outputs:
            alone.append(model(**inputs).logits)
        said.append(outputs[0])
    weights = routing.weights if routing.kept is None else routing.weights * routing.kept
    said_TED = torch.stack(said, 1)
    if family == "llama4":  # weighted before the experts run
        expected = speaker((entered[0] * weights.sum(-1, keepdim=True)).repeat(mixture.n_experts, 1))
        torch.testing.assert_close(said_TED.transpose(0, 1).flatten(0, 1), expected)
    else:
        chosen = said_TED.gather(1, routing.indices.unsqueeze(-1).expand(*weights.shape, said_TED.shape[-1]))
        expected = (chosen * weights.unsqueeze(-1)).sum(1)
        output = mixed[0].reshape(expected.shape) - (mixture.layer.bias if family == "jetmoe" else 0)
        torch.testing.assert_close(output, expected.to(output.dtype), rtol=1e-5, atol=1e-6)
    assert all((one - logits).abs().max() > 1e-3 for one in alone[:2])
    torch.testing.assert_close(model(**inputs).logits, logits)


@pytest.mark.parametrize("expert", [-1, 4])
def test_there_is_no_such_expert(expert):
    with pytest.raises(InvalidParameterError, match="expert: "), forced_expert(find_mixtures(tiny())[0], expert):
        pass
