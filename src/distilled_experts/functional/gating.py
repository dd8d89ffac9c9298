"""Gates: from scores to the weights of a mixture.

Shapes: N samples, E experts, k of them active for each sample; ``*`` stands for any leading axes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from distilled_experts.errors import InvalidParameterError

# Up to this number of experts, comparing every pair with whole-array operations is faster than selection.
_FEW_EXPERTS = 8
# Up to this number of winners, a search for each is faster than a full sort; of few scores only one winner.
_FEW_WINNERS, _FEW_SCORES = 4, 512
# Below this number of experts, the softmax over a last axis leaves most of a processor's vector unit empty.
_SHORT_AXIS = 16


def dense_gate(scores: Tensor, dim: int = -1) -> Tensor:
    """Softmax over all experts.

    Parameters
    ----------
    scores : Tensor (*, N, E)
        What the gate computed for each expert.
    dim : int
        The axis of the experts.

    Returns
    -------
    Tensor (*, N, E)
        Weights that sum to one over the experts.

    Examples
    --------
    >>> dense_gate(torch.zeros(1, 4))
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """
    return _softmax(scores) if dim in (-1, scores.dim() - 1) else scores.softmax(dim)


def sparse_gate(scores: Tensor, k: int, *, renormalise: bool = True) -> tuple[Tensor, Tensor]:
    """Select the k experts with the largest scores.

    Of equal scores the one with the lower index wins, on every device.

    Parameters
    ----------
    scores : Tensor (*, N, E)
        What the gate computed for each expert.
    k : int
        The number of active experts, 1 to E.
    renormalise : bool
        True: softmax over the k selected scores, so the weights sum to one. False: softmax over all experts,
        of which k are kept as they are.

    Returns
    -------
    weights : Tensor (*, N, k)
        In order of falling score.
    indices : Tensor (*, N, k) of int64
        The selected experts.

    Raises
    ------
    InvalidParameterError
        k is not between 1 and E.

    Examples
    --------
    >>> weights, indices = sparse_gate(torch.tensor([[0.0, 5.0, 5.0]]), 2)
    >>> weights, indices
    (tensor([[0.5000, 0.5000]]), tensor([[1, 2]]))
    """
    _check_k(k, scores.shape[-1])
    indices = _top_indices(scores.detach(), k)
    if renormalise:
        return _softmax(scores.gather(-1, indices)), indices
    return _softmax(scores).gather(-1, indices), indices


def sparse_gate_mask(scores: Tensor, k: int, *, renormalise: bool = True) -> tuple[Tensor, Tensor]:
    """Select as `sparse_gate`, in the shape of the dense gate: inactive experts have a zero weight.

    Fits where all experts are computed anyway, as in small stacked models.

    Parameters
    ----------
    scores : Tensor (*, N, E)
        What the gate computed for each expert.
    k : int
        The number of active experts, 1 to E.
    renormalise : bool
        As in `sparse_gate`.

    Returns
    -------
    weights : Tensor (*, N, E)
        Zero where the mask is False.
    mask : Tensor (*, N, E) of bool
        Which experts are active.

    Raises
    ------
    InvalidParameterError
        k is not between 1 and E.

    Examples
    --------
    >>> weights, mask = sparse_gate_mask(torch.tensor([[0.0, 5.0, 5.0]]), 2)
    >>> weights, mask
    (tensor([[0.0000, 0.5000, 0.5000]]), tensor([[False,  True,  True]]))
    """
    _check_k(k, scores.shape[-1])
    mask = _top_mask(scores.detach(), k)
    if renormalise:
        return _softmax(torch.where(mask, scores, -torch.inf)), mask
    return _softmax(scores) * mask, mask


def _softmax(scores: Tensor) -> Tensor:
    """Softmax over the experts, many samples at a time where they are few or outermost in memory."""
    if scores.dim() > 1 and (scores.shape[-1] < _SHORT_AXIS or scores.stride(-1) > scores.stride(-2)):
        return scores.transpose(-1, -2).softmax(-2).transpose(-1, -2)
    return scores.softmax(-1)


def _check_k(k: int, n_experts: int) -> None:
    if not 1 <= k <= n_experts:
        raise InvalidParameterError("k", k, f"whole numbers from 1 to {n_experts}, the number of experts")


def _top_indices(scores: Tensor, k: int) -> Tensor:
    # torch.topk leaves open which of two equal scores wins; max and a stable sort do not.
    if k > _FEW_WINNERS or (k > 1 and scores.numel() <= _FEW_SCORES):
        return torch.sort(scores, dim=-1, descending=True, stable=True).indices[..., :k]
    # Winners leave by minus infinity, so the others must lie above it.
    scores = scores.clamp_min(torch.finfo(scores.dtype).min)
    winners = []
    for _ in range(k):
        best = scores.max(-1, keepdim=True).indices
        winners.append(best)
        if len(winners) < k:
            scores = scores.scatter(-1, best, -torch.inf)
    return torch.cat(winners, -1)


def _top_mask(scores: Tensor, k: int) -> Tensor:
    if k == scores.shape[-1]:
        return torch.ones_like(scores, dtype=torch.bool)
    if scores.shape[-1] <= _FEW_EXPERTS:
        return _ranks(scores) < k
    mask = torch.zeros_like(scores, dtype=torch.bool)
    return mask.scatter_(-1, _top_indices(scores, k), True)


def _ranks(scores: Tensor) -> Tensor:
    """Count, for each expert, those that beat it, whole arrays at a time: fast with experts outermost."""
    outer = scores.transpose(-1, -2).contiguous()  # (*, E, N)
    n_experts = outer.shape[-2]
    start = torch.arange(n_experts, dtype=torch.int8, device=scores.device).unsqueeze(-1)
    ranks = start + torch.zeros_like(outer, dtype=torch.int8)
    for shift in range(1, n_experts):
        # At first every expert is taken to lose against those before it; where it beats one, the two trade a
        # place.
        beats = (outer[..., shift:, :] > outer[..., :-shift, :]).to(torch.int8)
        ranks[..., :-shift, :] += beats
        ranks[..., shift:, :] -= beats
    return ranks.transpose(-1, -2)
