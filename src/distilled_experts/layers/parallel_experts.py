"""Experts on different processes: rows travel to their experts, and what these say travels back, each by itself.

Legend: N samples, S rows sorted by expert, R rows that have come here, P processes, e experts on each, E = P · e, D
width of a row, O output width, X = e · O.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function

from distilled_experts.errors import InvalidParameterError
from distilled_experts.layers.dispatch import permute
from distilled_experts.layers.experts import StackedExperts


class ParallelExperts(StackedExperts):
    r"""Experts of several processes as one: expert parallelism for `MixtureOfExperts`.

    Every process calls the layer with samples of its own, as many as it likes, none included. Each row goes to the
    process of its expert by one all-to-all, and its unweighted output comes back by another, so that mixture and
    distillation are computed where the sample is, and distillation costs no traffic of its own.

    The gradient of an expert is the sum over the processes whose rows it has seen. Where a wrapper averages the
    gradients of all other parameters, as `DistributedDataParallel` does, divide those of the experts by P.

    Parameters
    ----------
    experts : StackedExperts
        Those of this process, e = E/P on each: process p of the group has those from ``p · e`` on.
    group : ProcessGroup, optional
        Default: all processes.

    Raises
    ------
    InvalidParameterError
        No process group has been initialised.

    References
    ----------
    Lepikhin et al., GShard: Scaling Giant Models with Conditional Computation and Automatic Sharding, ICLR 2021.

    Examples
    --------
    In each of several processes, of which there is one here:

    >>> from distilled_experts.layers import Experts, MixtureOfExperts
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> layer = MixtureOfExperts(8, 3, hidden=16, n_experts=4, top_k=2)
    >>> layer.experts = ParallelExperts(Experts(8, 3, hidden=16, n_experts=4 // dist.get_world_size()))
    >>> layer(torch.zeros(5, 8)).output.shape
    torch.Size([5, 3])
    >>> dist.destroy_process_group()
    """

    def __init__(self, experts: StackedExperts, group: dist.ProcessGroup | None = None) -> None:
        super().__init__()
        if not dist.is_initialized():
            raise InvalidParameterError("group", group, "process groups after torch.distributed.init_process_group")
        self.experts = experts
        self.group = group

    def forward(self, x_ND: Tensor) -> Tensor:
        """Run every expert on every sample: (N, d_in) → (N, E, d_out)."""
        n_processes, n_samples = dist.get_world_size(self.group), len(x_ND)
        sent, come = self._agree(torch.full((n_processes, 1), n_samples, device=x_ND.device))[1:]
        said_ReO = self.experts(self._exchange(x_ND.repeat(n_processes, 1), come, sent))
        said_SX = self._exchange(said_ReO.flatten(1), sent, come)
        return said_SX.reshape(n_processes, n_samples, *said_ReO.shape[1:]).transpose(0, 1).flatten(1, 2)

    def run_sorted(self, rows_SD: Tensor, counts_E: Tensor) -> Tensor:
        """Run each expert on its own rows: (S, d_in), counts (E) of rows → (S, d_out)."""
        come_Pe, sent, come = self._agree(counts_E.reshape(dist.get_world_size(self.group), -1))
        order_R, places_R = _by_expert(come_Pe)
        rows_RD = permute(self._exchange(rows_SD, come, sent), order_R, places_R)
        said_RO = permute(self.experts.run_sorted(rows_RD, come_Pe.sum(0)), places_R, order_R)
        return self._exchange(said_RO, sent, come)

    def _agree(self, sent_Pe: Tensor) -> tuple[Tensor, list[int], list[int]]:
        """Rows that come from each process for each expert here; rows sent to, and coming from, each process."""
        come_Pe = torch.empty_like(sent_Pe)
        dist.all_to_all_single(come_Pe, sent_Pe, group=self.group)
        return come_Pe, *torch.stack([sent_Pe.sum(1), come_Pe.sum(1)]).tolist()

    def _exchange(self, rows: Tensor, come: Sequence[int], sent: Sequence[int]) -> Tensor:
        apply: Callable[..., Tensor] = _Exchange.apply
        return apply(rows, come, sent, self.group)

    def extra_repr(self) -> str:
        """Describe the place in the module's representation."""
        return f"process {dist.get_rank(self.group)} of {dist.get_world_size(self.group)}"


def _by_expert(come_Pe: Tensor) -> tuple[Tensor, Tensor]:
    """Order that sorts rows, which come process by process, by expert; and its inverse."""
    experts_Pe = torch.arange(come_Pe.shape[1], device=come_Pe.device).expand_as(come_Pe)
    order_R = experts_Pe.flatten().repeat_interleave(come_Pe.flatten()).argsort(stable=True)
    return order_R, order_R.argsort()


class _Exchange(Function):
    """Rows to other processes: this many come from each, this many are sent to each. Gradients travel back."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, come: Sequence[int], sent: Sequence[int], group: Any) -> Tensor:
        """All-to-all."""
        ctx.way_back = sent, come, group
        found = rows.new_empty(sum(come), rows.shape[1])
        dist.all_to_all_single(found, rows.contiguous(), list(come), list(sent), group=group)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """All-to-all the other way."""
        apply: Callable[..., Tensor] = _Exchange.apply
        return apply(gradients[0], *ctx.way_back), None, None, None
