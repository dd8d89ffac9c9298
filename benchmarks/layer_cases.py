"""The layers that `layers.py` times, and their floor: the same multiplications as bare products.

Legend: T tokens, E experts, k active, d width of the model, h hidden units.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from layer_timing import Step, peak_bytes
from torch import Tensor, nn

from distilled_experts.layers import MixtureOfExperts, MoEOutput

ALPHA = 0.01


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

    def floor(self, training: bool = True) -> Step[Tensor]:
        """One set of products for each expert that has rows, the rows divided evenly."""
        n_rows, d, h = self.tokens * self.top_k, self.width, self.hidden
        n = max(1, n_rows // self.experts)
        up, down, of_up, of_down = (
            torch.randn(self.experts, *shape).to(self.dtype) for shape in ((2 * h, d), (d, h), (2 * h, d), (d, h))
        )
        rows, wide, hidden, of_hidden, out = (torch.randn(n, size).to(self.dtype) for size in (d, 2 * h, h, h, d))
        visited = itertools.cycle(self.visited())

        def step(_: Tensor) -> None:
            for e in next(visited):
                torch.mm(rows, up[e].t(), out=wide)
                torch.mm(hidden, down[e].t(), out=out)
                if training:
                    torch.mm(out, down[e], out=of_hidden)
                    torch.mm(out.t(), hidden, out=of_down[e])
                    torch.mm(wide.t(), rows, out=of_up[e])
                    torch.mm(wide, up[e], out=rows)

        return step

    @torch.no_grad()
    def visited(self, steps: int = 1009) -> list[list[int]]:
        """The experts that have rows, step by step.

        Few tokens visit few experts, others in every step: how many of their weights are in the cache depends on which.
        They are those that the layer's own gate chooses for other tokens.
        """
        if self.tokens * self.top_k >= self.experts:
            return [list(range(self.experts))]
        tokens = torch.randn(steps, self.tokens, self.width, generator=seeded(2)).to(self.dtype)
        indices = self.layer().gate(tokens.flatten(0, 1)).indices
        return [sorted(set(chosen)) for chosen in indices.view(steps, -1).tolist()]

    def fresh(self) -> Callable[[], Tensor]:
        generator = seeded(1)
        return lambda: torch.randn(self.tokens, self.width, generator=generator).to(self.dtype)


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

    def floor(self) -> Step[Tensor]:
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


def training_step(layer: nn.Module, *, of_input: bool = True) -> Step[Tensor]:
    """Forward, backward from the same upstream gradient, distillation included where there is any."""
    parameters = list(layer.parameters())
    upstream: dict[torch.Size, Tensor] = {}

    def step(x: Tensor) -> None:
        for parameter in parameters:
            parameter.grad = None
        found = layer(x.detach().requires_grad_() if of_input else x)
        output, loss = parts_of(found)
        if output.shape not in upstream:
            # Losses give gradients in the layout of what they are given.
            upstream[output.shape] = torch.empty_like(output).normal_(generator=seeded(2))
        total = (output * upstream[output.shape]).sum()
        (total if loss is None else total + ALPHA * loss).backward()

    return step


def parts_of(found: object) -> tuple[Tensor, Tensor | None]:
    if isinstance(found, MoEOutput):
        return found.output, found.distillation_loss
    return found if isinstance(found, tuple) else (found, None)


def prediction_step(layer: nn.Module) -> Step[Tensor]:
    layer.eval()

    @torch.inference_mode()
    def step(x: Tensor) -> None:
        layer(x)

    return step


def memory_of(layer: nn.Module, case: Sparse) -> int:
    """Peak bytes of a training step."""
    return peak_bytes(training_step(layer), case.fresh()(), list(layer.parameters()))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
