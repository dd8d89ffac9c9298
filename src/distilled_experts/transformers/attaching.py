"""Mutual distillation for models of Transformers that have mixtures of experts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from torch import nn

from distilled_experts.checks import check_number
from distilled_experts.errors import InvalidParameterError
from distilled_experts.functional import Distance, Schedule, Teacher, Weighting, check_distillation, schedule_factor
from distilled_experts.functional.options import refuse_kl
from distilled_experts.transformers.distillation import Distillation
from distilled_experts.transformers.finding import find_mixtures
from distilled_experts.transformers.layer_numbers import LayerNumbers, layer_numbers

Model = TypeVar("Model", bound=nn.Module)


def attach(
    model: Model,
    alpha: float = 0.01,
    *,
    layers: LayerNumbers | Mapping[int, float] = "first",
    teacher: Teacher = "mean",
    distance: Distance = "relative",
    scope: str = "active",
    alpha_schedule: Schedule = "constant",
    weighting: Weighting = "uniform",
    detach_teacher: bool = False,
    pair_scale: bool = False,
) -> Model:
    r"""Let the experts of a model learn from each other whenever it is trained.

    Training goes on as before, with the Trainer, accelerate or a loop of your own: the gradient of
    :math:`\sum_l \alpha_l L_l` is added to that of the loss that the model returns, on the same scale, whatever the
    loop does to that loss. :math:`L_l` is the mutual distillation of mixture l, summed over all tokens that are no
    padding and divided by the number of predicted labels: ``num_items_in_batch`` where the Trainer gives it, else
    those of the batch. Without labels, and where one stands for a whole sequence or image, it is the mean over the
    tokens.

    In training, the outputs of the model have two more attributes. ``distillation_loss``: :math:`\sum_l \alpha_l L_l`.
    Where the model returns no loss, add it to your own; where it does, its gradient is taken care of, and the attribute
    is for information only. ``distillation_losses``: :math:`L_l` by number of the mixture. ``outputs.loss`` stays the
    loss of the task. In evaluation, which a loaded
    model is in until ``model.train()``, it does what it did.

    Parameters
    ----------
    model : PreTrainedModel or PeftModel
        The model that you call in training. Changed in place.
    alpha : float
        Strength α, at least zero. At zero, training is the same to the last bit as without.
    layers : {"first", "all"}, int, iterable of int, or mapping of int to float
        Which mixtures distil, counted from zero in the order of the model's modules (−1 is the last), or the strength
        of each of them, instead of `alpha`.
    teacher, distance, weighting, detach_teacher, pair_scale
        As in `functional.mutual_distillation`. The unit of ``distance="relative"`` is that of one forward pass.
        ``"kl"`` is for logits only, and not allowed here.
    scope : str
        Which experts are compared: ``"active"``, those that the router selects; ``"all"``, so that all of them run in
        training; ``"active+m"`` with a whole number m, those and m random others. Shared experts take no part.
    alpha_schedule : {"constant", "warmup", "cosine", "anneal"}
        How α changes over the training, as in `functional.schedule_factor`. All but the first need a
        `DistillationCallback` in the Trainer, or `set_progress` in a loop.

    Returns
    -------
    Module
        The model.

    Raises
    ------
    InvalidParameterError
        A parameter has a value that is not allowed; no mixture of the model can be opened, and which class stands in
        the way; the model is attached already.

    Notes
    -----
    The first mixture alone is the default after CoEKS (ICLR 2026), where distilling every layer, or upper ones, hurt.
    The gradient is exact under gradient accumulation, both kinds of checkpointing, gradient scalers and several
    processes, except that ``"relative"`` measures each forward pass with its own unit.

    References
    ----------
    Xie et al., MoDE: A Mixture-of-Experts Model with Mutual Distillation among the Experts, AAAI 2024, arXiv
    2402.00893.

    Examples
    --------
    >>> from transformers import MixtralConfig, MixtralForCausalLM
    >>> config = MixtralConfig(vocab_size=11, hidden_size=8, intermediate_size=8, num_hidden_layers=2,
    ...                        num_attention_heads=2, num_key_value_heads=2, num_local_experts=4)
    >>> model = attach(MixtralForCausalLM(config), alpha=0.01).train()
    >>> tokens = torch.arange(11).unsqueeze(0)
    >>> outputs = model(tokens, labels=tokens)
    >>> outputs.loss.backward()  # the gradient of outputs.loss + outputs.distillation_loss
    >>> outputs.distillation_losses.keys()
    dict_keys([0])
    >>> model = detach(model)
    """
    check_distillation(distance, teacher, weighting, temperature=1.0)
    refuse_kl(distance, "hidden states are no logits")
    schedule_factor(alpha_schedule, 0.0)
    if Distillation.of(model) is not None:
        raise InvalidParameterError(
            "model", type(model).__name__, "models that are not attached; detach this one first"
        )
    mixtures = dict(enumerate(find_mixtures(model)))
    alphas = _strengths(alpha, layers, len(mixtures))
    options = {
        "distance": distance,
        "teacher": teacher,
        "weighting": weighting,
        "detach_teacher": detach_teacher,
        "pair_scale": pair_scale,
    }
    chosen = {i: mixtures[i] for i in alphas}
    for mixture in chosen.values():
        mixture.check(scope)
    Distillation(model, chosen, alphas, scope=scope, alpha_schedule=alpha_schedule, options=options).connect()
    return model


def detach(model: Model) -> Model:
    """Undo `attach`: the model is what it was, with the weights that it has now.

    Parameters
    ----------
    model : Module
        The model that was given to `attach`, or one that contains it.

    Returns
    -------
    Module
        The model.

    Raises
    ------
    InvalidParameterError
        The model is not attached.

    Examples
    --------
    See `attach`.
    """
    attached(model).disconnect()
    return model


def set_progress(model: nn.Module, progress: float) -> None:
    """Say how far the training is, for an `alpha_schedule` in a training loop of your own.

    Parameters
    ----------
    model : Module
        Attached.
    progress : float
        Share of the training that is done, 0 to 1.

    Raises
    ------
    InvalidParameterError
        The model is not attached, or the share is not between 0 and 1.
    """
    check_number("progress", progress, least=0, most=1)
    attached(model).progress = progress


def attached(model: nn.Module) -> Distillation:
    """Give what `attach` added to a model, or raise an error."""
    distillation = Distillation.of(model)
    if distillation is None:
        raise InvalidParameterError("model", type(model).__name__, "models that are attached: call attach(model) first")
    return distillation


def _strengths(alpha: float, layers: LayerNumbers | Mapping[int, float], n_mixtures: int) -> dict[int, float]:
    """Strength of each mixture that distils, by its number."""
    given = layers if isinstance(layers, Mapping) else dict.fromkeys(layer_numbers(layers, n_mixtures), alpha)
    layer_numbers(given, n_mixtures)
    for strength in given.values():
        check_number("alpha", strength, least=0)
    return {i % n_mixtures: float(strength) for i, strength in given.items()}
