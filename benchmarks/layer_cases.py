"""The layers that `layers.py` times, and their floor: the same multiplications as bare products.

Legend: T tokens, E experts, k active, d width of the model, h hidden units.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from distilled_experts.layers import MixtureOfExperts, MoEOutput

Step = Callable[[Tensor], object]
ALPHA = 0.01
# Other implementations of sparse mixtures that a user might take. Those that drop tokens do less than is asked for.
OTHER_PEERS = (
    "deepspeed",
    "fairscale",
    "megablocks",
    "mixture-of-experts",
    "scattermoe",
    "st-moe-pytorch",
    "torchtitan",
)


@dataclass(frozen=True)
class Sparse:
    """A sparse layer with SwiGLU experts of a language model."""

    dtype: torch.dtype = torch.float32
    tokens: int = 4096
    width: int = 512
    hidden: int = 1408
    experts: int = 8
    top_k: int = 2

    def layer(self, **options: object) -> MixtureOfExperts:
        return MixtureOfExperts(
            self.width,
            self.width,
            hidden=self.hidden,
            n_experts=self.experts,
            top_k=self.top_k,
            activation="swiglu",
            bias=False,
            generator=seeded(),
            dtype=self.dtype,
            **{"distance": "relative", **options},
        )

    def floor(self, training: bool = True) -> Step:
        """One set of products for each expert that has rows, the rows divided evenly."""
        n_rows, d, h = self.tokens * self.top_k, self.width, self.hidden
        busy = min(self.experts, n_rows)
        n = n_rows // busy
        up, down, of_up, of_down = (
            torch.randn(busy, *shape).to(self.dtype) for shape in ((2 * h, d), (d, h), (2 * h, d), (d, h))
        )
        rows, wide, hidden, of_hidden, out = (torch.randn(n, size).to(self.dtype) for size in (d, 2 * h, h, h, d))

        def step(_: Tensor) -> None:
            for e in range(busy):
                torch.mm(rows, up[e].t(), out=wide)
                torch.mm(hidden, down[e].t(), out=out)
                if training:
                    torch.mm(out, down[e], out=of_hidden)
                    torch.mm(out.t(), hidden, out=of_down[e])
                    torch.mm(wide.t(), rows, out=of_up[e])
                    torch.mm(wide, up[e], out=rows)

        return step

    def fresh(self) -> Callable[[], Tensor]:
        generator = seeded(1)
        return lambda: torch.randn(self.tokens, self.width, generator=generator).to(self.dtype)

    def peers(self) -> dict[str, nn.Module]:
        """Transformers' Mixtral block with the same weights, in both of its ways that scale."""
        return {f"transformers {way}": self.mixtral(way) for way in ("grouped_mm", "eager")}

    def mixtral(self, way: str) -> nn.Module:
        from transformers import MixtralConfig
        from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

        config = MixtralConfig(
            hidden_size=self.width,
            intermediate_size=self.hidden,
            num_local_experts=self.experts,
            num_experts_per_tok=self.top_k,
            experts_implementation=way,
        )
        block, ours = MixtralSparseMoeBlock(config).to(self.dtype), self.layer()
        with torch.no_grad():
            block.gate.weight.copy_(ours.gate.weight)
            block.experts.gate_up_proj.copy_(ours.experts.up)
            block.experts.down_proj.copy_(ours.experts.down)
        return block


@dataclass(frozen=True)
class Dense:
    """A dense layer with ReLU experts on a table."""

    batch: int = 256
    width: int = 64
    hidden: int = 128
    classes: int = 10
    experts: int = 8

    def layer(self, **options: object) -> MixtureOfExperts:
        return MixtureOfExperts(
            self.width, self.classes, hidden=self.hidden, n_experts=self.experts, generator=seeded(), **options
        )

    def floor(self) -> Step:
        E, h = self.experts, self.hidden
        up, down = torch.randn(E, h, self.width), torch.randn(E, self.classes, h)
        hidden, out = torch.randn(E, self.batch, h), torch.randn(E, self.batch, self.classes)
        of_up, of_down, of_hidden = torch.empty_like(up), torch.empty_like(down), torch.empty_like(hidden)

        def step(x: Tensor) -> None:
            for e in range(E):
                torch.mm(x, up[e].t(), out=of_hidden[e])
                torch.mm(hidden[e], down[e].t(), out=out[e])
                torch.mm(out[e], down[e], out=of_hidden[e])
                torch.mm(out[e].t(), hidden[e], out=of_down[e])
                torch.mm(hidden[e].t(), x, out=of_up[e])

        return step

    def fresh(self) -> Callable[[], Tensor]:
        generator = seeded(1)
        return lambda: torch.randn(self.batch, self.width, generator=generator)


class LinearLoop(nn.Module):
    """The textbook mixture: a list of two-layer experts and a softmax gate."""

    def __init__(self, case: Dense) -> None:
        super().__init__()
        self.gate = nn.Linear(case.width, case.experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(case.width, case.hidden), nn.ReLU(), nn.Linear(case.hidden, case.classes))
            for _ in range(case.experts)
        )

    def forward(self, x: Tensor) -> Tensor:
        outputs = torch.stack([expert(x) for expert in self.experts], 1)
        return (self.gate(x).softmax(-1).unsqueeze(-1) * outputs).sum(1)


class NaiveLoop(LinearLoop):
    """The same with distillation as one would write it down."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        outputs = torch.stack([expert(x) for expert in self.experts], 1)
        spread = (outputs - outputs.mean(1, keepdim=True)).square().mean()
        return (self.gate(x).softmax(-1).unsqueeze(-1) * outputs).sum(1), spread


def training_step(layer: nn.Module, *, of_input: bool = True) -> Step:
    """Forward, backward from the same upstream gradient, distillation included where there is any."""
    parameters = list(layer.parameters())
    upstream: dict[torch.Size, Tensor] = {}

    def step(x: Tensor) -> None:
        for parameter in parameters:
            parameter.grad = None
        found = layer(x.detach().requires_grad_() if of_input else x)
        output, loss = parts_of(found)
        if output.shape not in upstream:
            upstream[output.shape] = torch.randn(output.shape, generator=seeded(2)).to(output.dtype)
        total = (output * upstream[output.shape]).sum()
        (total if loss is None else total + ALPHA * loss).backward()

    return step


def in_transformers(layer: nn.Module) -> nn.Module:
    """A block of Transformers as a layer of tokens (T, d)."""

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = layer

        def forward(self, x: Tensor) -> Tensor:
            found = self.block(x.unsqueeze(0))
            return (found[0] if isinstance(found, tuple) else found).squeeze(0)

    return Flat()


def parts_of(found: object) -> tuple[Tensor, Tensor | None]:
    if isinstance(found, MoEOutput):
        return found.output, found.distillation_loss
    return found if isinstance(found, tuple) else (found, None)


def prediction_step(layer: nn.Module) -> Step:
    layer.eval()

    @torch.inference_mode()
    def step(x: Tensor) -> None:
        layer(x)

    return step


def missing_peers() -> list[str]:
    """Peers that are not installed here."""
    return [name for name in OTHER_PEERS if importlib.util.find_spec(name.replace("-", "_")) is None]


def version_of(package: str) -> str:
    return importlib.metadata.version(package)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
