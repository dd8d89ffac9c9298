"""The first values of dense feed-forwards, where a model is to be compared with its mixtures."""

from __future__ import annotations

from torch import nn

__all__ = ["draw_feed_forwards"]


def draw_feed_forwards(module: nn.Module) -> None:
    """Draw the weights of feed-forwards named fc1 and fc2 as `swap` draws experts: the smaller, the more inputs.

    With the one deviation that a configuration has for all weights, the wide feed-forward of a dense network that is as
    large as a mixture drowns what it is added to, and learns worse for that alone.

    Examples
    --------
    >>> wide = nn.ModuleDict({"fc1": nn.Linear(4, 400), "fc2": nn.Linear(400, 4)})
    >>> nn.init.normal_(wide["fc2"].weight).abs().max() > 1
    tensor(True)
    >>> draw_feed_forwards(wide)
    >>> wide["fc2"].weight.abs().max() < 0.05
    tensor(True)
    """
    for name, piece in module.named_modules():
        if name.split(".")[-1] in ("fc1", "fc2") and isinstance(piece, nn.Linear):
            piece.reset_parameters()
