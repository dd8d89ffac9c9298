"""The products of experts whose rows are sorted, all experts in one call, with nothing that waits for the device.

Legend: S rows sorted by expert, E experts, D width of a row, W width of what the first map gives, H hidden units, O
output width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from distilled_experts.layers.activations import Forms
from distilled_experts.layers.products import Gradients, Maps, Needs

# Of the addresses of rows, in bytes.
_ALIGNMENT = 16


def can_be_grouped(rows_SD: Tensor, maps: Maps) -> bool:
    """Whether PyTorch has these products, and they pay: on a GPU, below double precision, rows of whole 16 bytes."""
    size = rows_SD.element_size()
    widths = (*maps.up.shape[1:], *maps.down.shape[1:])
    return rows_SD.is_cuda and size < 8 and all(width * size % _ALIGNMENT == 0 for width in widths)


def forward_grouped(rows_SD: Tensor, counts_E: Tensor, maps: Maps, forms: Forms, keep: bool) -> tuple[Tensor, Tensor]:
    """Outputs (S, O), and what came before the activation: (S, W) if it is to be kept, else of no size."""
    before = _up(rows_SD, counts_E, maps)
    outputs = _grouped(forms.apply(before, -1), maps.down.mT, counts_E)
    return _with_bias(outputs, maps.down_bias, counts_E), before if keep else before.new_empty(0)


def backward_grouped(
    gradient_SO: Tensor,
    rows_SD: Tensor,
    before_SW: Tensor,
    counts_E: Tensor,
    maps: Maps,
    forms: Forms,
    needs: Needs,
) -> Gradients:
    """Gradients of the rows and of the maps; where `before_SW` was not kept, it is computed anew."""
    before = before_SW if len(before_SW) else _up(rows_SD, counts_E, maps)
    of_hidden = _grouped(gradient_SO, maps.down, counts_E)
    hidden, of_before = torch.empty_like(of_hidden), torch.empty_like(before)
    forms.write_backward(before, of_hidden, hidden, of_before, -1)
    of_rows = _grouped(of_before, maps.up, counts_E) if needs.rows else None
    if not needs.maps:
        return of_rows, None, None, None, None
    return (
        of_rows,
        _grouped(of_before.t(), rows_SD, counts_E),
        _sums(of_before, maps.up_bias, counts_E),
        _grouped(gradient_SO.t(), hidden, counts_E),
        _sums(gradient_SO, maps.down_bias, counts_E),
    )


def _up(rows_SD: Tensor, counts_E: Tensor, maps: Maps) -> Tensor:
    return _with_bias(_grouped(rows_SD, maps.up.mT, counts_E), maps.up_bias, counts_E)


def _grouped(left: Tensor, right: Tensor, counts_E: Tensor) -> Tensor:
    product: Tensor = F.grouped_mm(left, right, offs=counts_E.cumsum(0, dtype=torch.int32))
    return product


def _with_bias(rows: Tensor, bias: Tensor | None, counts_E: Tensor) -> Tensor:
    return rows if bias is None else rows.add_(bias.repeat_interleave(counts_E, 0, output_size=len(rows)))


def _sums(rows: Tensor, bias: Tensor | None, counts_E: Tensor) -> Tensor | None:
    if bias is None:
        return None
    experts = torch.arange(len(bias), device=rows.device).repeat_interleave(counts_E, output_size=len(rows))
    return torch.zeros_like(bias, dtype=torch.float32).index_add_(0, experts, rows.float()).to(bias.dtype)
