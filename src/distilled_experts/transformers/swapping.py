"""Dense feed-forwards become mixtures of experts."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal, TypeVar, get_args

import torch
from transformers import PreTrainedModel

from distilled_experts.checks import check_number, check_whole
from distilled_experts.errors import InvalidParameterError
from distilled_experts.transformers.attaching import attach
from distilled_experts.transformers.layer_numbers import LayerNumbers, layer_numbers
from distilled_experts.transformers.swap_balance import connect_balance
from distilled_experts.transformers.swap_classes import SwappedModel, become_swapped, insert_mixture
from distilled_experts.transformers.swap_forms import FORMS, DenseFeedForward, FeedForwardForm, find_feed_forwards

Init = Literal["upcycle", "fresh"]
Model = TypeVar("Model", bound=PreTrainedModel)


def swap(
    model: Model,
    *,
    layers: LayerNumbers = "all",
    n_experts: int = 8,
    top_k: int = 2,
    init: Init = "upcycle",
    perturbation: float = 0.01,
    pattern: str | None = None,
    form: FeedForwardForm | None = None,
    balance: float = 0.01,
    alpha: float | None = None,
    generator: torch.Generator | None = None,
) -> Model:
    """Replace dense feed-forwards of a model by mixtures of experts, in place.

    Parameters
    ----------
    model : PreTrainedModel
        A dense model of Transformers.
    layers : {"first", "all"}, int, or iterable of int
        Which feed-forwards, counted from zero in the order of the model's modules (−1 is the last): in an
        encoder-decoder first those of the encoder. With `pattern` those that match are counted.
    n_experts, top_k : int
        Experts of each mixture, and how many of them are active for a token.
    init : {"upcycle", "fresh"}
        ``"upcycle"``: experts start as copies of the feed-forward (Komatsuzaki et al., 2023). ``"fresh"``: they start
        with random values, as `torch.nn.Linear` does. The router starts with random values either way.
    perturbation : float
        For ``"upcycle"``: size of the Gaussian noise that is added to each expert's weights, as a share of the
        standard deviation of the weight matrix. Without it experts differ only through the router's choice of tokens;
        noise makes them differ from the start, also where all of them are active. At 0 the model computes what it did
        before, up to rounding.
    pattern : str, optional
        Shell wildcard for the names of the modules that hold the feed-forwards, such as ``"encoder.*"``. ``*`` also
        stands for dots.
    form : FeedForwardForm, optional
        Names of a feed-forward's pieces, where they are none of the known ones.
    balance : float
        Strength of the loss that keeps all experts in use, Switch Transformer's, as a mean over the new mixtures. Its
        gradient is added to that of the loss that the model returns, as that of mutual distillation is. In training
        the outputs have ``balance_loss`` and, by number of the mixture, ``balance_losses``. Where the model returns no
        loss, add ``balance_loss`` to your own. At 0 there is no such loss.
    alpha : float, optional
        Strength of mutual distillation in all new mixtures, as with ``attach(model, alpha, layers="all")``. None: no
        distillation; `attach` can be called later.
    generator : torch.Generator, optional
        For random values, on the device of the model. None: PyTorch's own.

    Returns
    -------
    PreTrainedModel
        The same object. Its class is derived from the one it had, and ``save_pretrained`` writes a configuration from
        which `load_swapped` builds it again.

    Raises
    ------
    InvalidParameterError
        No feed-forward is found or named, or a parameter has a value that is not allowed.

    References
    ----------
    Komatsuzaki et al., Sparse Upcycling: Training Mixture-of-Experts from Dense Checkpoints, ICLR 2023,
    arXiv 2212.05055.

    Examples
    --------
    >>> from transformers import GPT2Config, GPT2LMHeadModel
    >>> model = GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=3, n_head=2, vocab_size=11))
    >>> model = swap(model, layers=[0, 2], n_experts=4)
    >>> model.transformer.h[2].mlp.c_proj.experts
    FeedForwardExperts(
      8, hidden=32, n_experts=4
      (activation): NewGELUActivation()
      (dropout): Dropout(p=0.0, inplace=False)
    )
    """
    check_whole("n_experts", n_experts)
    check_whole("top_k", top_k, 1, n_experts)
    if init not in get_args(Init):
        raise InvalidParameterError("init", init, get_args(Init))
    for name, value in {"perturbation": perturbation, "balance": balance, "alpha": alpha or 0.0}.items():
        check_number(name, value, least=0)
    found = _feed_forwards(model, form, pattern)
    chosen = [found[i] for i in layer_numbers(layers, len(found))]
    become_swapped(
        model,
        {
            "feed_forwards": [one.name for one in chosen],
            "form": None if form is None else form.to_dict(),
            "n_experts": n_experts,
            "top_k": top_k,
            "balance": balance,
        },
    )
    for one in chosen:
        pieces = one.form.pieces(model.get_submodule(one.name))
        mixture = insert_mixture(model, one)
        mixture.reset_parameters(generator)
        if init == "upcycle":
            mixture.experts.copy_dense(pieces, perturbation, generator)
    connect_balance(model)
    if alpha is not None:
        attach(model, alpha, layers="all")
    return model


def _feed_forwards(model: PreTrainedModel, form: FeedForwardForm | None, pattern: str | None) -> list[DenseFeedForward]:
    _check_model(model)
    found = find_feed_forwards(model, form)
    if not found:
        known = ", ".join(f"{known.up}/{known.down}" for known in FORMS)
        allowed = f"models with feed-forwards of a known form ({known}), or a form that names the pieces"
        raise InvalidParameterError("model", type(model).__name__, allowed)
    matching = [one for one in found if pattern is None or fnmatchcase(one.name, pattern)]
    if not matching:
        names = ", ".join(one.name for one in found)
        raise InvalidParameterError("pattern", pattern, f"wildcards that match one of {names}")
    return matching


def _check_model(model: object) -> None:
    if not isinstance(model, PreTrainedModel):
        allowed = "models of Transformers"
    elif isinstance(model, SwappedModel):
        allowed = "dense models; this one was swapped before"
    elif any(parameter.is_meta for parameter in model.parameters()):
        allowed = "models with their weights in memory"
    else:
        return
    raise InvalidParameterError("model", type(model).__name__, allowed)
