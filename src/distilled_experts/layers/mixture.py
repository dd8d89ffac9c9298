"""The mixture: gate, dispatch, experts, combine.

Legend: N samples, E experts, k active, C compared, D output width.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from distilled_experts.checks import check_whole
from distilled_experts.errors import InvalidParameterError
from distilled_experts.functional import Distance, Teacher, Weighting, check_distillation, combine
from distilled_experts.functional.options import refuse_kl
from distilled_experts.layers.activations import Activation
from distilled_experts.layers.dispatch import Dispatch
from distilled_experts.layers.experts import Experts, StackedExperts
from distilled_experts.layers.gate import Gate
from distilled_experts.layers.output import MoEOutput, Routing
from distilled_experts.layers.scope import extra_experts

Outputs = Literal["hidden", "logits"]


class MixtureOfExperts(nn.Module):
    r"""Mixture of experts whose experts learn from each other (MoDE).

    With a dense gate every expert sees every sample; with `top_k` each sample visits k experts, none is
    dropped. The layer returns a record; its ``distillation_loss``, weighted with α, is added to the loss of
    the task.

    Parameters
    ----------
    d_in, d_out : int
        Width of a sample, width of the output.
    hidden : int
        Hidden units of each expert.
    n_experts : int
        The number of experts E.
    top_k : int, optional
        The number of active experts. None: the dense gate.
    activation : {"relu", "gelu", "swiglu"}
        Of the experts.
    distillation : bool
        False: a plain mixture, whose output has the same bits.
    distance, teacher, weighting, detach_teacher, temperature, pair_scale
        As in `functional.mutual_distillation`.
    outputs : {"hidden", "logits"}
        What the experts' outputs are; ``distance="kl"`` is for logits only.
    scope : str
        Which experts are compared in training: ``"active"``, those that the gate selects; ``"all"``, so that
        all of them run; ``"active+m"`` with a whole number m, those and m random others. In evaluation only
        the active experts run. Where experts run that are not active, rounding may differ from that of
        ``"active"``.
    renormalise, noise
        Of the gate, as in `Gate`.
    n_shared : int
        The number of further experts that see every sample without a gate. Their sum is added to the output,
        and they take no part in distillation.
    bias : bool
        Whether gate and experts have biases.
    recompute
        Trade time for memory, as in `Experts`.
    generator : torch.Generator, optional
        For initial values, noise and the others of ``"active+m"``. None: PyTorch's own, as in all its
        modules.
    device, dtype
        Of the parameters.

    Raises
    ------
    InvalidParameterError
        A parameter has a value that is not allowed.

    Warns
    -----
    UserWarning
        There is nothing to distil: only one expert is compared.

    References
    ----------
    Xie et al., MoDE: A Mixture-of-Experts Model with Mutual Distillation among the Experts, AAAI 2024,
    arXiv 2402.00893.

    Examples
    --------
    >>> layer = MixtureOfExperts(8, 3, hidden=16, n_experts=4, top_k=2)
    >>> out = layer(torch.randn(5, 8, generator=torch.Generator().manual_seed(0)))
    >>> out.output.shape, out.routing.indices.shape
    (torch.Size([5, 3]), torch.Size([5, 2]))
    >>> loss = out.output.square().mean() + 0.01 * out.distillation_loss + 0.01 * out.balance_loss
    >>> loss.backward()
    """

    def __init__(
        self,
        d_in: int,
        d_out: int,
        *,
        hidden: int,
        n_experts: int,
        top_k: int | None = None,
        activation: Activation = "relu",
        distillation: bool = True,
        distance: Distance = "mse",
        teacher: Teacher = "mean",
        weighting: Weighting = "uniform",
        detach_teacher: bool = False,
        temperature: float = 1.0,
        pair_scale: bool = False,
        outputs: Outputs = "hidden",
        scope: str = "active",
        renormalise: bool = True,
        noise: float = 0.0,
        n_shared: int = 0,
        bias: bool = True,
        recompute: bool = False,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_whole("n_shared", n_shared, 0)
        check_distillation(distance, teacher, weighting, temperature)
        _check_outputs(outputs, distance)
        self.distillation = distillation
        self.distance: Distance = distance
        self.teacher: Teacher = teacher
        self.weighting: Weighting = weighting
        self.detach_teacher = detach_teacher
        self.temperature = temperature
        self.pair_scale = pair_scale
        self.scope = scope
        self.generator = generator
        place: dict[str, Any] = {"bias": bias, "generator": generator, "device": device, "dtype": dtype}
        form: dict[str, Any] = {"hidden": hidden, "activation": activation, "recompute": recompute, **place}
        self.gate: nn.Module = Gate(d_in, n_experts, top_k=top_k, renormalise=renormalise, noise=noise, **place)
        self.experts: StackedExperts = Experts(d_in, d_out, n_experts=n_experts, **form)
        self.shared = Experts(d_in, d_out, n_experts=n_shared, **form) if n_shared else None
        self.n_experts = n_experts
        self.n_extra = extra_experts(scope, n_experts, top_k)
        if distillation and (top_k or n_experts) + self.n_extra == 1:
            _warn_of_nothing_to_distil(n_experts)

    def forward(
        self,
        x: Tensor,
        *,
        sample_weight: Tensor | None = None,
        routing: Routing | None = None,
        return_expert_outputs: bool = False,
    ) -> MoEOutput:
        """Mix the experts for each sample.

        Parameters
        ----------
        x : Tensor (*, d_in)
            All leading axes count samples.
        sample_weight : Tensor (*), optional
            Weights of the samples in the losses, zero for padding. The output does not depend on them.
        routing : Routing, optional
            Used instead of the gate, for example to force an expert.
        return_expert_outputs : bool
            Keep the unweighted outputs of the active experts in the record.

        Returns
        -------
        MoEOutput
            With the leading axes of x.
        """
        x_ND = x.reshape(-1, x.shape[-1])
        rows = None if sample_weight is None else sample_weight.reshape(-1)
        routing = self.gate(x_ND) if routing is None else routing.reshaped(len(x_ND))
        distillation = self.distillation and self.training
        weights_NC, indices_NC = self._compared(routing) if distillation else (routing.weights, routing.indices)
        experts_NCD = self._run(x_ND, indices_NC)
        output_ND, loss = combine(
            experts_NCD,
            weights_NC,
            distillation=distillation,
            sample_weight=rows,
            distance=self.distance,
            teacher=self.teacher,
            weighting=self.weighting,
            detach_teacher=self.detach_teacher,
            temperature=self.temperature,
            pair_scale=self.pair_scale,
        )
        if self.shared is not None:
            output_ND = output_ND + self.shared(x_ND).sum(-2)
        kept = _active(experts_NCD, indices_NC, routing.indices) if return_expert_outputs else None
        out = MoEOutput(output_ND, loss, routing, kept, rows)
        return out if x.dim() == 2 else out.reshaped(*x.shape[:-1])

    def _compared(self, routing: Routing) -> tuple[Tensor, Tensor | None]:
        """Weights and indices (N, C) of the compared experts; inactive ones have a weight of zero."""
        if routing.indices is None:
            return routing.weights, None
        if self.scope == "all":
            return routing.dense_weights(), None
        if self.n_extra == 0:
            return routing.weights, routing.indices
        lots_NE = torch.rand(routing.scores.shape, generator=self.generator, device=routing.scores.device)
        others_Nm = lots_NE.scatter(-1, routing.indices, -1).topk(self.n_extra).indices
        zeros_Nm = torch.zeros_like(others_Nm, dtype=routing.weights.dtype)
        return torch.cat([routing.weights, zeros_Nm], -1), torch.cat([routing.indices, others_Nm], -1)

    def _run(self, x_ND: Tensor, indices_NC: Tensor | None) -> Tensor:
        """Unweighted outputs (N, C, D) of the experts with these indices, of all of them without indices."""
        if indices_NC is None:
            dense: Tensor = self.experts(x_ND)
            return dense
        dispatch = Dispatch.from_indices(indices_NC, self.n_experts)
        return dispatch.restore(self.experts.run_sorted(dispatch.gather(x_ND), dispatch.counts))

    def extra_repr(self) -> str:
        """Describe the distillation in the module's representation."""
        if not self.distillation:
            return "distillation=False"
        options = f"distance={self.distance}, teacher={self.teacher}, weighting={self.weighting}"
        return f"{options}, scope={self.scope}"


def _active(experts_NCD: Tensor, ran: Tensor | None, active_Nk: Tensor | None) -> Tensor:
    """Of the outputs of all experts that ran, those of the active ones, (N, k, D)."""
    if active_Nk is None:
        return experts_NCD
    if ran is None:
        return experts_NCD.gather(-2, active_Nk.unsqueeze(-1).expand(*active_Nk.shape, experts_NCD.shape[-1]))
    return experts_NCD[:, : active_Nk.shape[-1]]


def _check_outputs(outputs: str, distance: str) -> None:
    if outputs not in get_args(Outputs):
        raise InvalidParameterError("outputs", outputs, get_args(Outputs))
    if outputs != "logits":
        refuse_kl(distance, "kl with outputs='logits' alone, for it compares probabilities")


def _warn_of_nothing_to_distil(n_experts: int) -> None:
    if n_experts == 1:
        text = "n_experts=1: there is nothing to distil, the loss will be zero; use two or more experts"
    else:
        text = (
            "top_k=1 with scope='active': there is nothing to distil, the loss will be zero; "
            "use top_k=2 or more, scope='all', or scope='active+1'"
        )
    warnings.warn(text, stacklevel=3)
