"""Other implementations of sparse mixtures, as layers of tokens (T, d)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import torch
from layer_cases import Sparse
from torch import Tensor, nn

# Those that drop tokens where an expert is asked for more than its capacity do less than is asked for.
DROPPING = ("mixture-of-experts", "st-moe-pytorch")
# Known, but without an adapter here.
OTHERS = ("deepspeed", "fairscale", "megablocks", "scattermoe", "torchtitan")


class Flat(nn.Module):
    """A block of sequences as a layer of tokens."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        found = self.block(x.unsqueeze(0))
        return (found[0] if isinstance(found, tuple) else found).squeeze(0)


def same_arithmetic(case: Sparse) -> dict[str, nn.Module]:
    """Transformers' Mixtral block with the weights of our layer, in both of its ways that scale."""
    return {f"transformers {way}": mixtral(case, way) for way in ("grouped_mm", "eager")}


def mixtral(case: Sparse, way: str) -> nn.Module:
    from transformers import MixtralConfig
    from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

    config = MixtralConfig(
        hidden_size=case.width,
        intermediate_size=case.hidden,
        num_local_experts=case.experts,
        num_experts_per_tok=case.top_k,
        experts_implementation=way,
    )
    block, ours = MixtralSparseMoeBlock(config).to(case.dtype), case.layer()
    with torch.no_grad():
        block.gate.weight.copy_(ours.gate.weight)
        block.experts.gate_up_proj.copy_(ours.experts.up)
        block.experts.down_proj.copy_(ours.experts.down)
    return Flat(block)


def dropping(case: Sparse) -> dict[str, nn.Module]:
    """Those that are installed, with as many multiplications as far as nothing is dropped; they know float32 alone."""
    if case.dtype != torch.float32:
        return {}
    makers: dict[str, Callable[[Sparse], nn.Module]] = {"mixture-of-experts": _plain, "st-moe-pytorch": _gated}
    return {f"{name} (drops)": Flat(make(case)) for name, make in makers.items() if installed(name)}


def _plain(case: Sparse) -> nn.Module:
    from mixture_of_experts import MoE

    # Two maps where ours has three.
    return MoE(dim=case.width, num_experts=case.experts, hidden_dim=case.hidden * 3 // 2)


def _gated(case: Sparse) -> nn.Module:
    from st_moe_pytorch import MoE

    # It divides by 3/2 what it multiplies with the width; the half keeps it from rounding down.
    factor = (case.hidden + 0.5) * 1.5 / case.width
    return MoE(dim=case.width, num_experts=case.experts, expert_hidden_mult=factor, gating_top_n=case.top_k)


def missing() -> list[str]:
    """Peers that are not installed here."""
    return [name for name in (*DROPPING, *OTHERS) if not installed(name)]


def installed(name: str) -> bool:
    return importlib.util.find_spec(name.replace("-", "_")) is not None
