"""What lies between the two maps of an expert, written into memory that is already there.

Legend: ``*`` other axes, H hidden units, W width of what the first map gives (2H where a gate comes with it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Activation = Literal["relu", "gelu", "swiglu"]

_aten = torch.ops.aten


class Forms(NamedTuple):
    """An activation, three ways.

    Attributes
    ----------
    apply : callable
        (*, W) and the axis of W → (*, H), for autograd.
    write : callable
        Before the activation (*, W), into (*, H); then the axis of W.
    write_backward : callable
        Before the activation (*, W) and gradient (*, H), which it may overwrite, into the activation (*, H) and the
        gradient of what came before it (*, W); then the axis of W.
    n_ups : int
        W / H.
    in_place : bool
        Whether the activation may take the place of its input: the way back knows either from the other. Then the two
        gradients may share their memory, too.
    """

    apply: Callable[[Tensor, int], Tensor]
    write: Callable[[Tensor, Tensor, int], object]
    write_backward: Callable[[Tensor, Tensor, Tensor, Tensor, int], None]
    n_ups: int = 1
    in_place: bool = False


def _swiglu(before: Tensor, dim: int) -> Tensor:
    gate, up = before.chunk(2, dim)
    return F.silu(gate) * up


def _write_swiglu(before: Tensor, out: Tensor, dim: int) -> None:
    gate, up = before.chunk(2, dim)
    _aten.silu.out(gate, out=out)
    out.mul_(up)


def _write_swiglu_backward(before: Tensor, gradient: Tensor, out: Tensor, of_before: Tensor, dim: int) -> None:
    (gate, up), (of_gate, of_up) = before.chunk(2, dim), of_before.chunk(2, dim)
    _aten.silu.out(gate, out=out)
    torch.mul(gradient, out, out=of_up)
    out.mul_(up)
    gradient.mul_(up)
    _aten.silu_backward.grad_input(gradient, gate, grad_input=of_gate)


def _write_relu_backward(before: Tensor, gradient: Tensor, out: Tensor, of_before: Tensor, _: int) -> None:
    if out is not before:
        torch.clamp_min(before, 0, out=out)
    _aten.threshold_backward.grad_input(gradient, before, 0, grad_input=of_before)


def _write_gelu_backward(before: Tensor, gradient: Tensor, out: Tensor, of_before: Tensor, _: int) -> None:
    _aten.gelu.out(before, out=out)
    _aten.gelu_backward.grad_input(gradient, before, grad_input=of_before)


ACTIVATIONS: dict[str, Forms] = {
    "relu": Forms(
        lambda before, _: before.relu(),
        lambda before, out, _: torch.clamp_min(before, 0, out=out),
        _write_relu_backward,
        in_place=True,
    ),
    "gelu": Forms(
        lambda before, _: F.gelu(before),
        lambda before, out, _: _aten.gelu.out(before, out=out),
        _write_gelu_backward,
    ),
    "swiglu": Forms(_swiglu, _write_swiglu, _write_swiglu_backward, n_ups=2),
}
