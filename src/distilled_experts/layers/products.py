"""The products of experts whose rows are sorted: expert by expert, or all in one call.

Legend: S rows sorted by expert, E experts, D width of a row, W width of what the first map gives, H hidden units, O
output width. A gradient that nobody needs is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from distilled_experts.layers.activations import Forms

# In half precision every new shape of a product is compiled. Numbers of rows are rounded up so that few occur, by this
# share of them at most.
_ROUNDED_SHARE = 32
# Of a wide product of few rows, MKL computes the transpose up to four times as fast.
_FEW_ROWS, _WIDE = range(2, 5), 256


class Maps(NamedTuple):
    """The two maps of all experts: (E, W, D), (E, W), (E, O, H), (E, O)."""

    up: Tensor
    up_bias: Tensor | None
    down: Tensor
    down_bias: Tensor | None

    def to(self, dtype: torch.dtype) -> Maps:
        """The same in another precision."""
        biases = (None if bias is None else bias.to(dtype) for bias in (self.up_bias, self.down_bias))
        return Maps(self.up.to(dtype), next(biases), self.down.to(dtype), next(biases))


class Needs(NamedTuple):
    """Which gradients are wanted: of the rows, of the maps."""

    rows: bool
    maps: bool


Gradients = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None, Tensor | None]


class _Span(NamedTuple):
    """Rows of an expert, `start` to `end`, and how far its products go: `stop` lies in rows of the experts after it.

    What a product writes there is written again when it is their turn.
    """

    expert: int
    start: int
    end: int
    stop: int

    @property
    def rows(self) -> slice:
        return slice(self.start, self.stop)

    @property
    def size(self) -> int:
        return self.stop - self.start

    @property
    def own(self) -> int:
        return self.end - self.start


def forward_one_by_one(
    rows_SD: Tensor, counts: Sequence[int], maps: Maps, forms: Forms, keep: bool
) -> tuple[Tensor, Tensor]:
    """Outputs (S, O), and what came before the activation: (S, W) if it is to be kept, else of no size."""
    spans = _spans(counts, rows_SD)
    most = max((span.size for span in spans), default=0)
    outputs = rows_SD.new_empty(len(rows_SD), maps.down.shape[1])
    before = rows_SD.new_empty(len(rows_SD) if keep else most, maps.up.shape[1])
    hidden = rows_SD.new_empty(0 if forms.in_place else most, maps.down.shape[2])
    for span in spans:
        up, up_bias, down, down_bias = of_expert(maps, span.expert)
        came = linear(rows_SD[span.rows], up, up_bias, before[span.rows] if keep else before[: span.size])
        went = came if forms.in_place else hidden[: span.size]
        forms.write(came, went, -1)
        linear(went, down, down_bias, outputs[span.rows])
    return outputs, before if keep else before.new_empty(0)


def backward_one_by_one(
    gradient_SO: Tensor,
    rows_SD: Tensor,
    before_SW: Tensor,
    counts: Sequence[int],
    maps: Maps,
    forms: Forms,
    needs: Needs,
) -> Gradients:
    """Gradients of the rows and of the maps; where `before_SW` was not kept, it is computed anew."""
    spans = _spans(counts, rows_SD)
    most = max((span.size for span in spans), default=0)
    hidden, of_hidden = (rows_SD.new_empty(most, maps.down.shape[2]) for _ in range(2))
    again, of_before = (rows_SD.new_empty(most, maps.up.shape[1]) for _ in range(2))
    of_rows = torch.empty_like(rows_SD) if needs.rows else None
    of_maps = empty_gradients(maps, counts) if needs.maps else None
    for span in spans:
        up, up_bias, down, _ = of_expert(maps, span.expert)
        rows, gradient = rows_SD[span.rows], gradient_SO[span.rows]
        came = before_SW[span.rows] if len(before_SW) else linear(rows, up, up_bias, again[: span.size])
        went, of_went, of_came = hidden[: span.size], of_hidden[: span.size], of_before[: span.size]
        torch.mm(gradient, down, out=of_went)
        forms.write_backward(came, of_went, went, of_came, -1)
        if of_rows is not None:
            torch.mm(of_came, up, out=of_rows[span.rows])
        if of_maps is not None:
            # Rows of other experts do not count.
            went[span.own :].zero_()
            of_came[span.own :].zero_()
            of_up, of_up_bias, of_down, of_down_bias = of_expert(of_maps, span.expert)
            torch.mm(of_came.t(), rows, out=of_up)
            torch.mm(gradient.t(), went, out=of_down)
            if of_up_bias is not None and of_down_bias is not None:
                torch.sum(of_came[: span.own], 0, out=of_up_bias)
                torch.sum(gradient[: span.own], 0, out=of_down_bias)
    return of_rows, *(of_maps or (None,) * 4)


def _spans(counts: Sequence[int], rows_SD: Tensor) -> list[_Span]:
    """Spans of the experts that have rows."""
    spans, start, n_rows = [], 0, len(rows_SD)
    compiled = rows_SD.element_size() < 4 and rows_SD.device.type == "cpu"
    for expert, count in enumerate(counts):
        step = 1 << max(0, (count // _ROUNDED_SHARE).bit_length() - 1) if compiled else 1
        if count:
            stop = min(start + -(-count // step) * step, n_rows)
            spans.append(_Span(expert, start, start + count, stop))
        start += count
    return spans


def of_expert(maps: Maps, expert: int | slice) -> Maps:
    """The maps of one expert, or of some that follow each other."""
    up_bias, down_bias = (None if bias is None else bias[expert] for bias in (maps.up_bias, maps.down_bias))
    return Maps(maps.up[expert], up_bias, maps.down[expert], down_bias)


def empty_gradients(maps: Maps, counts: Sequence[int] = ()) -> Maps:
    """Memory for the gradients of all maps; experts without rows have zeros."""
    up_bias, down_bias = (None if bias is None else torch.empty_like(bias) for bias in (maps.up_bias, maps.down_bias))
    gradients = Maps(torch.empty_like(maps.up), up_bias, torch.empty_like(maps.down), down_bias)
    for expert, count in enumerate(counts):
        for values in of_expert(gradients, expert) if count == 0 else ():
            if values is not None:
                values.zero_()
    return gradients


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> Tensor:
    """Write a linear map of rows."""
    if _faster_transposed(rows, weight):
        out.copy_(torch.mm(weight, rows.t()).t())
        return out if bias is None else out.add_(bias)
    if bias is None:
        return torch.mm(rows, weight.t(), out=out)
    return torch.addmm(bias, rows, weight.t(), out=out)


def _faster_transposed(rows: Tensor, weight: Tensor) -> bool:
    to, of = weight.shape
    wide = to >= 2 * of >= 2 * _WIDE
    return wide and rows.shape[0] in _FEW_ROWS and rows.dtype == torch.float32 and rows.device.type == "cpu"


def gradients_of(
    outputs: Tensor, inputs: Sequence[Tensor | None], wanted: Sequence[bool], upstream: Tensor
) -> list[Tensor | None]:
    """Gradients of those inputs that are wanted, by operations that have gradients themselves."""
    chosen = [values for values, is_wanted in zip(inputs, wanted, strict=True) if is_wanted and values is not None]
    found = iter(torch.autograd.grad(outputs, chosen, upstream, create_graph=True))
    return [next(found) if is_wanted else None for is_wanted in wanted]
