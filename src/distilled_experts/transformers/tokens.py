"""Which tokens of a batch count, and what their sum is divided by.

Legend: B sequences of a batch, S tokens of a sequence.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from transformers.loss.loss_utils import LOSS_MAPPING, ForCausalLMLoss

from distilled_experts.errors import InvalidParameterError, TrainingError

Side = Literal["encoder", "decoder", "text", "vision"]

# PyTorch's and Transformers' mark of a position that predicts nothing.
IGNORED = -100


@dataclass(frozen=True)
class Tokens:
    """The tokens of one batch.

    Attributes
    ----------
    masks : dict of str to Tensor (B, S) of bool, or None
        Which tokens are no padding; None: all. For ``"encoder"`` and ``"decoder"``, where a model has only one of them
        for this one; in ERNIE, whose mixtures get tokens of one kind each, also for ``"text"`` and ``"vision"``.
    n_labels : Tensor (), int or None
        How many labels the task's loss is a mean over. None: the batch has no labels.
    n_own : Tensor (), int or None
        How many of them are in this batch.
    labelled : bool
        Whether labels belong to tokens, and not to whole sequences or images.
    """

    masks: Mapping[Side, Tensor | None]
    n_labels: Tensor | int | None
    n_own: Tensor | int | None = None
    labelled: bool = True

    def weight(self, side: Side, n_rows: int) -> Tensor | None:
        """Mask of a layer's rows, (B · S) of bool; None where all count.

        Raises
        ------
        TrainingError
            The layer has other rows than the batch has tokens.
        """
        mask = self.masks[side]
        if mask is None:
            return None
        if mask.numel() != n_rows:
            raise TrainingError(f"distillation: the {side}'s mask has {mask.numel()} tokens, a mixture got {n_rows}")
        return mask.flatten()

    def per_label(self, mean: Tensor, weight: Tensor | None, n_rows: int) -> Tensor:
        """From a mean over the tokens that count to their sum over the number of labels; the same without labels.

        Where one label stands for a whole sequence or image, the sum would grow with its length: there the mean counts
        as often as there are labels.
        """
        if self.n_labels is None:
            return mean
        if not self.labelled:
            return self.part(mean)
        # In this order counts never meet each other in low precision.
        return mean * (n_rows if weight is None else weight.sum()) / self.n_labels

    def part(self, mean: Tensor) -> Tensor:
        """From a mean over this batch to its part in the mean over all labels; the same without labels."""
        if self.n_labels is None or self.n_own is None:
            return mean
        return mean * self.n_own / self.n_labels


def tokens_of_batch(model: nn.Module, arguments: Mapping[str, Any]) -> Tokens:
    """Read masks and the number of labels off the arguments of a model's forward.

    Parameters
    ----------
    model : Module
        Of Transformers.
    arguments : mapping
        Name to value, those in ``**kwargs`` by their own names.

    Raises
    ------
    InvalidParameterError
        A mask has another form than (B, S).
    """
    own = _n_labels(model, arguments)
    labels = arguments.get("labels")
    labelled = labels is None or (labels.dim() > 1 and not labels.is_floating_point())
    counted = arguments.get("num_items_in_batch")
    n_labels = own if counted is None else counted
    if not is_encoder_decoder(model):
        mask = _mask(arguments, "attention_mask", "input_ids")
        return Tokens({"decoder": mask, "encoder": mask, **_by_kind(mask, arguments)}, n_labels, own, labelled)
    encoder = _mask(arguments, "attention_mask", "input_ids")
    decoder = _mask(arguments, "decoder_attention_mask", "decoder_input_ids")
    if decoder is None and labels is not None and labelled:
        decoder = labels != IGNORED
    return Tokens({"encoder": encoder, "decoder": decoder}, n_labels, own, labelled)


def _mask(arguments: Mapping[str, Any], name: str, tokens_name: str) -> Tensor | None:
    mask, tokens = arguments.get(name), arguments.get(tokens_name)
    if mask is None:
        return None
    if not (isinstance(mask, Tensor) and mask.dim() == 2):
        shape = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise InvalidParameterError(name, shape, "masks (batch, length), which tell what is padding")
    # A mask may begin with what lies in a cache.
    return (mask if tokens is None else mask[:, -tokens.shape[1] :]) != 0


def _by_kind(mask: Tensor | None, arguments: Mapping[str, Any]) -> dict[Side, Tensor | None]:
    """Masks of mixtures that get the tokens of text or those of images alone."""
    kinds: Tensor | None = arguments.get("moe_mm_token_type_ids")
    if mask is None or kinds is None or not kinds.any():
        return {"text": mask, "vision": mask}
    return {"text": mask[kinds == 0], "vision": mask[kinds != 0]}


def _n_labels(model: nn.Module, arguments: Mapping[str, Any]) -> Tensor | int | None:
    labels: Tensor | None = arguments.get("shift_labels")
    if labels is None:
        labels = arguments.get("labels")
        if labels is not None and labels.dim() > 1 and shifts_labels(model):
            labels = labels[..., 1:]
    if labels is None:
        return None
    return len(labels) if labels.is_floating_point() else (labels != IGNORED).sum().clamp_min(1)


def shifts_labels(model: nn.Module) -> bool:
    """Whether the first label of each sequence is no prediction, as for causal language models."""
    # As in Transformers, where a model whose loss has no name has this one.
    loss = LOSS_MAPPING.get(str(getattr(model, "loss_type", None)), ForCausalLMLoss)
    return loss is ForCausalLMLoss and not is_encoder_decoder(model)


def is_encoder_decoder(model: nn.Module) -> bool:
    """Whether a model reads one sequence and writes another."""
    named = bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
    # Diffusion models write as a whole what the decoder is given.
    return named or "decoder_input_ids" in inspect.signature(model.forward).parameters
