"""Many small mixtures of experts as one network: a stack of groups times members.

Shape suffixes: S groups, each with rows of its own · A members of a group, which share its rows · E experts ·
H hidden units · D features · C outputs (classes or targets) · B rows. Rows come last in memory, so that the hidden
layer of all members and experts of a group is one matrix product, and the output layer follows without a transposition.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from distilled_experts.functional import combine, dense_gate, sparse_gate_mask
from distilled_experts.tabular.encoding import PiecewiseLinear

__all__ = ["FIRST_WEIGHTS", "StackedMixture", "StackedOutput"]

FIRST_WEIGHTS = ("hidden_weight", "gate_weight")
"""Names of the weights that meet the features."""


class StackedOutput(NamedTuple):
    """What a stack computes for a batch: the experts one by one, and how the gate weighs them."""

    experts: Tensor  # (S, A, B, E, C), unweighted
    weights: Tensor  # (S, A, B, E), sum to one over the experts
    active: Tensor | None  # (S, A, B, E) bool: the experts that a sparse gate activates; None: all of them

    def mixture(self) -> Tensor:
        """Weighted mean of the experts, ``(S, A, B, C)``."""
        return combine(self.experts, self.weights, self.active, distillation=False)[0]


class _SharedInputExperts(torch.autograd.Function):
    """Two-layer ReLU experts over rows that all members of a group share, with a scale for each feature or none."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        """Outputs of all experts, ``(S, A, E, C, B)``."""
        x_SBD, w1_SAEHD, b1_SAEH, w2_SAECH, b2_SAEC, scale_SAD = inputs
        S, A, E, H, D = w1_SAEHD.shape
        C, B = w2_SAECH.shape[3], x_SBD.shape[1]
        scaled = _scaled(w1_SAEHD, scale_SAD).reshape(S, -1, D)
        hidden = torch.baddbmm(b1_SAEH.reshape(S, -1, 1), scaled, x_SBD.mT).relu_()
        out = torch.baddbmm(b2_SAEC.reshape(-1, C, 1), w2_SAECH.reshape(-1, C, H), hidden.view(-1, H, B))
        ctx.save_for_backward(x_SBD, hidden, w1_SAEHD, w2_SAECH, scale_SAD)
        return out.view(S, A, E, C, B)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of rows, weights, biases and scales."""
        (grad_SAECB,) = gradients
        x_SBD, hidden, w1_SAEHD, w2_SAECH, scale_SAD = ctx.saved_tensors
        S, A, E, C, H = w2_SAECH.shape
        B = x_SBD.shape[1]
        grad_out = grad_SAECB.reshape(-1, C, B)
        grad_w2 = torch.bmm(grad_out, hidden.view(-1, H, B).mT)
        grad_hidden = torch.bmm(w2_SAECH.reshape(-1, C, H).mT, grad_out).view(S, -1, B)
        # ReLU's derivative, written over the gradient itself: the hidden layer is the largest array of a step.
        torch.ops.aten.threshold_backward.grad_input(grad_hidden, hidden, 0, grad_input=grad_hidden)
        grad_w1 = torch.bmm(grad_hidden, x_SBD).view(w1_SAEHD.shape)
        grad_x = grad_scale = None
        if ctx.needs_input_grad[0]:
            grad_x = torch.bmm(grad_hidden.mT, _scaled(w1_SAEHD, scale_SAD).reshape(S, -1, w1_SAEHD.shape[-1]))
        if scale_SAD is not None:
            grad_scale = _sums_of_products(grad_w1, w1_SAEHD)
            grad_w1.mul_(_along(scale_SAD, grad_w1))
        return (
            grad_x,
            grad_w1,
            grad_hidden.sum(-1).view(S, A, E, H),
            grad_w2.view(S, A, E, C, H),
            grad_out.sum(-1).view(S, A, E, C),
            grad_scale,
        )


def _along(scale_SAD: Tensor, weight: Tensor) -> Tensor:
    """Scales in the shape that meets weights ``(S, A, …, D)``."""
    S, A, D = scale_SAD.shape
    return scale_SAD.view(S, A, *(1 for _ in weight.shape[3:]), D)


def _scaled(weight: Tensor, scale_SAD: Tensor | None) -> Tensor:
    """Weights ``(S, A, …, D)`` times the scales of their features."""
    return weight if scale_SAD is None else weight * _along(scale_SAD, weight)


def _sums_of_products(one_SAEHD: Tensor, other_SAEHD: Tensor) -> Tensor:
    """Sums over experts and hidden units, ``(S, A, D)``; model by model, so that the products stay in the cache."""
    S, A, E, H, D = one_SAEHD.shape
    sums, products = one_SAEHD.new_empty(S * A, D), one_SAEHD.new_empty(E * H, D)
    for one, other, total in zip(one_SAEHD.view(-1, E * H, D), other_SAEHD.reshape(-1, E * H, D), sums, strict=True):
        torch.mul(one, other, out=products)
        torch.sum(products, 0, out=total)
    return sums.view(S, A, D)


class StackedMixture(nn.Module):
    """A stack of ``S × A`` mixtures of two-layer experts, trained and evaluated as one.

    Members of a group start from the same weights; every group draws its own from its seed, so a group's models are
    the same in a stack of any size.

    Parameters
    ----------
    seeds : sequence of int, length S
        One seed a group, for the initial weights.
    n_members : int
        A, models per group.
    n_features, n_outputs : int
        D and C.
    n_experts : int
        E. With one expert there is no gate: a plain network.
    hidden : int
        H, hidden units of each expert.
    top_k : int, optional
        Experts that a sparse gate activates per row; None: a dense gate.
    fan_in : sequence of int, length S, optional
        Features that a group really has where its rows are padded with zero columns; it scales the initial weights.
    encoding : PiecewiseLinear, optional
        What all models append to their rows; its features come on top of `n_features`.
    scaled : bool
        Whether every model has a scale for each feature, one at first, for all of its experts and its gate.
    dtype : torch.dtype

    Notes
    -----
    Initial weights and biases are uniform in ±1/√fan-in, as `torch.nn.Linear` draws them.

    Examples
    --------
    >>> import torch
    >>> stack = StackedMixture([0, 1], 3, 5, 2, n_experts=4, hidden=8, top_k=2)
    >>> out = stack(torch.randn(2, 7, 5))
    >>> out.experts.shape, out.weights.shape, out.mixture().shape
    (torch.Size([2, 3, 7, 4, 2]), torch.Size([2, 3, 7, 4]), torch.Size([2, 3, 7, 2]))
    """

    hidden_weight: nn.Parameter
    hidden_bias: nn.Parameter
    output_weight: nn.Parameter
    output_bias: nn.Parameter
    gate_weight: nn.Parameter
    gate_bias: nn.Parameter
    feature_scale: nn.Parameter | None

    def __init__(
        self,
        seeds: Sequence[int],
        n_members: int,
        n_features: int,
        n_outputs: int,
        *,
        n_experts: int,
        hidden: int,
        top_k: int | None = None,
        fan_in: Sequence[int] | None = None,
        encoding: PiecewiseLinear | None = None,
        scaled: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.encoding = encoding
        n_features += 0 if encoding is None else encoding.n_pieces
        self.top_k = None if top_k is None or top_k >= n_experts else top_k
        fans = [n_features] * len(seeds) if fan_in is None else list(fan_in)
        E, H, D, C = n_experts, hidden, n_features, n_outputs
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]

        def draw(shape: tuple[int, ...], group_fans: Sequence[int]) -> nn.Parameter:
            """One tensor of a group's weights from its generator, repeated for the members."""
            groups = [
                (torch.rand(shape, generator=g, dtype=dtype) * 2 - 1) / math.sqrt(max(fan, 1))
                for g, fan in zip(generators, group_fans, strict=True)
            ]
            return nn.Parameter(torch.stack(groups).unsqueeze(1).repeat(1, n_members, *(1 for _ in shape)))

        for name, shape in _model_shapes(E, H, D, C).items():
            setattr(self, name, draw(shape, [H] * len(seeds) if name.startswith("output") else fans))
        ones = torch.ones(len(seeds), n_members, D, dtype=dtype)
        self.register_parameter("feature_scale", nn.Parameter(ones) if scaled else None)

    @classmethod
    def from_weights(
        cls, weights: Mapping[str, Tensor], *, top_k: int | None = None, encoding: PiecewiseLinear | None = None
    ) -> StackedMixture:
        """A stack with these weights, named as its parameters are.

        Raises
        ------
        ValueError
            When names or shapes do not fit together.
        """
        S, A, E, H, D = weights["hidden_weight"].shape
        C, dtype = weights["output_bias"].shape[-1], weights["hidden_weight"].dtype
        shapes = {name: tuple(w.shape) for name, w in weights.items()}
        # Before memory is taken: few small tensors could ask for a very large one.
        scaled = "feature_scale" in weights
        expected = _model_shapes(E, H, D, C) | ({"feature_scale": (D,)} if scaled else {})
        if shapes != {name: (S, A, *shape) for name, shape in expected.items()}:
            raise ValueError(f"weights: shapes {shapes} do not fit together")
        features = D - (0 if encoding is None else encoding.n_pieces)
        if encoding is not None and bool((encoding.source >= features).any()):
            raise ValueError(f"encoding: pieces of other features than the {features} that there are")
        options: dict[str, Any] = {"top_k": top_k, "encoding": encoding, "scaled": scaled, "dtype": dtype}
        stack = cls([0] * S, A, features, C, n_experts=E, hidden=H, **options)
        with torch.no_grad():
            for name, p in stack.named_parameters():
                p.copy_(weights[name])
        return stack

    @property
    def stack_shape(self) -> tuple[int, int]:
        """``(S, A)``."""
        return (self.hidden_weight.shape[0], self.hidden_weight.shape[1])

    @property
    def n_experts(self) -> int:
        """``E``."""
        return self.hidden_weight.shape[2]

    def parameters_per_model(self) -> int:
        """Number of weights and biases of one model of the stack."""
        S, A = self.stack_shape
        return sum(p.numel() for p in self.parameters()) // (S * A)

    def select(self, groups: slice = slice(None), members: slice = slice(None)) -> StackedMixture:
        """A smaller stack on the same memory, for evaluation: these groups and these of their members."""
        return self._with({name: p.detach()[groups, members] for name, p in self.named_parameters()})

    def merged(self) -> StackedMixture:
        """A copy without scales: the first layer's weights, and the gate's, have taken them up."""
        weights = {
            name: (_scaled(p, self.feature_scale) if name in FIRST_WEIGHTS else p).detach().clone()
            for name, p in self.named_parameters()
            if name != "feature_scale"
        }
        return self._with(weights)

    def encode(self, x: Tensor) -> Tensor:
        """Rows ``(*, D)`` as the first layer sees them."""
        return x if self.encoding is None else self.encoding(x)

    def forward(self, x_SBD: Tensor) -> StackedOutput:
        """Experts and gate weights for rows ``(S, B, D)``."""
        x_SBD = self.encode(x_SBD)
        apply: Callable[..., Tensor] = _SharedInputExperts.apply
        weights = (self.hidden_weight, self.hidden_bias, self.output_weight, self.output_bias)
        experts = apply(x_SBD, *weights, self.feature_scale).permute(0, 1, 4, 2, 3)
        if self.n_experts == 1:
            return StackedOutput(experts, experts.new_ones(experts.shape[:4]), None)
        S, A, E, D = self.gate_weight.shape
        gate_weight = _scaled(self.gate_weight, self.feature_scale)
        scores = torch.baddbmm(self.gate_bias.view(S, -1, 1), gate_weight.view(S, -1, D), x_SBD.mT)
        scores_SABE = scores.view(S, A, E, -1).mT
        if self.top_k is None:
            return StackedOutput(experts, dense_gate(scores_SABE), None)
        return StackedOutput(experts, *sparse_gate_mask(scores_SABE, self.top_k))

    def _with(self, weights: Mapping[str, Tensor]) -> StackedMixture:
        """A stack with other weights, for evaluation."""
        part = copy.copy(self)
        given = {name: nn.Parameter(w, requires_grad=False) for name, w in weights.items()}
        part._parameters = {"feature_scale": None, **given}
        return part


def _model_shapes(E: int, H: int, D: int, C: int) -> dict[str, tuple[int, ...]]:
    """Shapes of one model's parameters, in the order in which they are drawn."""
    shapes: dict[str, tuple[int, ...]] = {"hidden_weight": (E, H, D), "hidden_bias": (E, H)}
    shapes |= {"output_weight": (E, C, H), "output_bias": (E, C)}
    return shapes | ({"gate_weight": (E, D), "gate_bias": (E,)} if E > 1 else {})


def matching_width(n_parameters: int, n_features: int, n_outputs: int) -> int:
    """Hidden units of the one two-layer network whose size comes nearest to `n_parameters`.

    Examples
    --------
    >>> matching_width(1_000, n_features=10, n_outputs=3)
    71
    """
    return max(1, round((n_parameters - n_outputs) / (n_features + 1 + n_outputs)))
