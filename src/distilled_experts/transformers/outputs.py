"""What a model returns: its loss goes through the pass, and the losses of its layers are put beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from distilled_experts.errors import TrainingError
from distilled_experts.transformers.forward_pass import ForwardPass


def report(outputs: Any, forward_pass: ForwardPass, losses: Mapping[int, Tensor]) -> Any:
    """Complete the outputs of a model in training.

    Parameters
    ----------
    outputs : ModelOutput, dict or tuple
        As the model returns them; a tuple begins with the loss.
    forward_pass : ForwardPass
    losses : mapping of int to Tensor ()
        Loss of each mixture, before it is multiplied with α.

    Returns
    -------
    ModelOutput, dict or tuple
        With ``distillation_loss`` and ``distillation_losses``, or what the pass is named, where these can be set.

    Raises
    ------
    TrainingError
        The outputs have no place for a loss that the caller would have to add.
    """
    loss = outputs[0] if isinstance(outputs, tuple) else outputs.get("loss")
    total = forward_pass.total()
    if isinstance(loss, Tensor) and loss.dim() == 0:
        if forward_pass.losses and loss.requires_grad:
            outputs = _with_loss(outputs, forward_pass.leave(loss))
    elif isinstance(outputs, tuple):
        raise TrainingError(f"{forward_pass.name}: a tuple without a loss; call the model with return_dict=True")
    else:
        results = [value for value in outputs.values() if isinstance(value, Tensor) and value.requires_grad]
        if results:
            total = forward_pass.leave(total, *results)
    if not isinstance(outputs, tuple):
        _set(outputs, f"{forward_pass.name}_loss", total)
        _set(outputs, f"{forward_pass.name}_losses", dict(losses))
    return outputs


def _with_loss(outputs: Any, loss: Tensor) -> Any:
    if isinstance(outputs, tuple):
        return (loss, *outputs[1:])
    outputs["loss"] = loss
    return outputs


def _set(outputs: Any, name: str, value: object) -> None:
    if type(outputs) is dict:
        outputs[name] = value
    else:
        # As an attribute alone: code that rebuilds a ModelOutput from its items knows its fields only.
        setattr(outputs, name, value)
