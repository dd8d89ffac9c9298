"""Dense feed-forwards in the models of Transformers: where they are, and of which pieces they consist."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from operator import attrgetter
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from distilled_experts.errors import InvalidParameterError

Activation = Callable[[Tensor], Tensor]
Linear = nn.Linear | Conv1D
_LINEAR = (nn.Linear, Conv1D)


@dataclass(frozen=True, kw_only=True)
class FeedForwardForm:
    """The names under which a module holds the pieces of a feed-forward ``down(dropout(activation(up(x))))``.

    With a gate: ``down(dropout(activation(gate(x)) · up(x)))``. Names are attributes of the module, dotted where they
    lie deeper.

    Parameters
    ----------
    up, down : str
        The linear maps to the hidden units and back.
    activation : str
        A module or function.
    gate : str, optional
        The second linear map on the way up.
    dropout : str, optional
        A dropout module, or the probability itself; it may be absent.
    whole : bool
        Whether the module is this feed-forward and nothing else; then the mixture takes its place. Otherwise the
        mixture takes the place of `down`, and the pieces before it become identities. A gated form must be whole.
    unless : tuple of str
        Attributes whose presence says that the module computes something else.

    Examples
    --------
    >>> from torch import nn
    >>> block = nn.ModuleDict({"first": nn.Linear(4, 8), "act": nn.ReLU(), "second": nn.Linear(8, 4)})
    >>> FeedForwardForm(up="first", activation="act", down="second").matches(block)
    True
    """

    up: str
    down: str
    activation: str
    gate: str | None = None
    dropout: str | None = None
    whole: bool = False
    unless: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.gate is not None and not self.whole:
            raise InvalidParameterError("whole", self.whole, "True for a form with a gate")

    def matches(self, module: nn.Module) -> bool:
        """Tell whether the module holds all pieces, with linear maps that fit together."""
        up, gate, down = (_piece(module, name) for name in (self.up, self.gate or self.up, self.down))
        if not (isinstance(up, _LINEAR) and isinstance(gate, _LINEAR) and isinstance(down, _LINEAR)):
            return False
        if _piece(module, self.activation) is None or any(_piece(module, name) is not None for name in self.unless):
            return False
        return linear_weight(up).shape == linear_weight(gate).shape == linear_weight(down).shape[::-1]

    def pieces(self, module: nn.Module) -> Pieces:
        """Take the pieces out of a module that matches."""
        up, down, activation = attrgetter(self.up, self.down, self.activation)(module)
        gate = None if self.gate is None else attrgetter(self.gate)(module)
        dropout = None if self.dropout is None else _piece(module, self.dropout)
        return Pieces([up] if gate is None else [gate, up], down, activation, _probability(dropout))

    def bypass(self, module: nn.Module) -> None:
        """Make identities of all pieces before `down`."""
        for name in (self.up, self.activation):
            _assign(module, name, nn.Identity())
        if self.dropout is not None and (dropout := _piece(module, self.dropout)) is not None:
            _assign(module, self.dropout, nn.Identity() if isinstance(dropout, nn.Module) else 0.0)

    def to_dict(self) -> dict[str, object]:
        """Give what a configuration in JSON can hold."""
        return asdict(self)


class Pieces(NamedTuple):
    """The pieces of a feed-forward; `ups` is one map, or a gate and then a map."""

    ups: list[Linear]
    down: Linear
    activation: Activation
    dropout: float

    def __call__(self, x: Tensor) -> Tensor:
        """Compute the feed-forward as it is in evaluation."""
        hidden = self.activation(self.ups[0](x))
        output: Tensor = self.down(hidden if len(self.ups) == 1 else hidden * self.ups[1](x))
        return output


class DenseFeedForward(NamedTuple):
    """A feed-forward in a model: the name of the module that holds it, and its form."""

    name: str
    form: FeedForwardForm

    @property
    def place(self) -> str:
        """Name of the module that gives way to the mixture."""
        return self.name if self.form.whole else f"{self.name}.{self.form.down}"


FORMS = (
    # T5, gated and plain
    FeedForwardForm(gate="wi_0", up="wi_1", activation="act", dropout="dropout", down="wo", whole=True),
    FeedForwardForm(up="wi", activation="act", dropout="dropout", down="wo", whole=True),
    # Llama, Mistral, Qwen, Gemma
    FeedForwardForm(gate="gate_proj", up="up_proj", activation="act_fn", down="down_proj", whole=True),
    # GPT-2; its dropout follows the feed-forward, as in BERT and DistilBERT
    FeedForwardForm(up="c_fc", activation="act", down="c_proj"),
    # GPT-NeoX, Falcon; GPT-J, CodeGen
    FeedForwardForm(up="dense_h_to_4h", activation="act", down="dense_4h_to_h"),
    FeedForwardForm(up="fc_in", activation="act", down="fc_out"),
    # BART, Marian, Pegasus, Whisper, OPT, in their layers; ViT, CLIP, SigLIP, Phi, in modules of their own. Some have a
    # norm between the pieces.
    FeedForwardForm(
        up="fc1", activation="activation_fn", dropout="activation_dropout", down="fc2", unless=("ffn_layernorm",)
    ),
    # BERT, RoBERTa, ELECTRA, Swin; DistilBERT
    FeedForwardForm(up="intermediate.dense", activation="intermediate.intermediate_act_fn", down="output.dense"),
    FeedForwardForm(up="lin1", activation="activation", down="lin2"),
    # ConvNeXt, whose second version has a norm between the pieces
    FeedForwardForm(up="pwconv1", activation="act", down="pwconv2", unless=("grn",)),
)


def find_feed_forwards(model: nn.Module, form: FeedForwardForm | None = None) -> list[DenseFeedForward]:
    """Find the dense feed-forwards of a model in the order of its modules, those inside experts left out.

    Examples
    --------
    >>> from transformers import BertConfig, BertModel
    >>> config = BertConfig(hidden_size=8, intermediate_size=16, num_attention_heads=2, num_hidden_layers=2)
    >>> [found.place for found in find_feed_forwards(BertModel(config))]
    ['encoder.layer.0.output.dense', 'encoder.layer.1.output.dense']
    """
    return list(_find(model, FORMS if form is None else (form,)))


def _find(model: nn.Module, forms: tuple[FeedForwardForm, ...]) -> Iterator[DenseFeedForward]:
    for name, module in model.named_modules():
        if "expert" in name:
            continue
        form = next((form for form in forms if form.matches(module)), None)
        if form is not None and (not form.whole or _is_whole(module, form)):
            yield DenseFeedForward(name, form)


def _is_whole(module: nn.Module, form: FeedForwardForm) -> bool:
    """Tell whether a module computes its form and nothing else, as far as its weights and one input can tell."""
    pieces = form.pieces(module)
    weights = [weight for piece in (*pieces.ups, pieces.down) for weight in piece.parameters()]
    if len(weights) != sum(1 for _ in module.parameters()):
        return False
    if weights[0].is_meta:
        return True
    width = len(linear_weight(pieces.down))
    x = torch.linspace(-1, 1, width, device=weights[0].device, dtype=weights[0].dtype).expand(1, 1, -1)
    training = module.training
    with torch.no_grad():
        same = torch.equal(module.eval()(x), pieces(x))
    module.train(training)
    return same


def linear_weight(piece: Linear) -> Tensor:
    """Weight (out, in) of a linear map; GPT-2 keeps it transposed."""
    return piece.weight.T if isinstance(piece, Conv1D) else piece.weight


def linear_bias(piece: Linear) -> Tensor | None:
    """Bias (out) of a linear map."""
    return piece.bias


def _piece(module: nn.Module, name: str) -> object:
    try:
        piece: object = attrgetter(name)(module)
    except AttributeError:
        return None
    return piece


def _assign(module: nn.Module, name: str, value: object) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, value)


def _probability(dropout: object) -> float:
    if isinstance(dropout, nn.Dropout):
        return dropout.p
    return float(dropout) if isinstance(dropout, int | float) else 0.0
