"""Expert probing for the mixtures of language models: every predicted token is a sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from distilled_experts.errors import DataError, InvalidParameterError
from distilled_experts.probing import (
    ProbedTokens,
    ProbeRecord,
    Subsets,
    Vision,
    choose_layer,
    class_subsets,
    frequency_subsets,
    linear_cka,
    probe_predictions,
)
from distilled_experts.probing.torch_models import evaluating
from distilled_experts.transformers.finding import find_mixtures
from distilled_experts.transformers.layer_probe import BatchAnswers, LayerProbe
from distilled_experts.transformers.token_batches import token_batch

Classes = Sequence[str] | Callable[[int], str]


def probe_tokens(
    model: nn.Module,
    batches: Iterable[Mapping[str, Any]],
    *,
    layer: str | int | None = None,
    subsets: Classes | None = None,
    narrow_vision: bool = True,
) -> ProbeRecord:
    r"""Measure what each expert of one mixture of a language model does, alone and together.

    Samples are the predicted tokens. A token's domain is that of the expert to which the router of this mixture gives
    the largest weight at the position that predicts it; in the encoder of an encoder-decoder, the largest mean weight
    over the tokens of its source. "Alone" is an expert that gets all tokens of this mixture, with the whole weight that
    the router gives to the active ones; all else in the model is as ever. Each batch goes through the model once for
    each expert, once as it is, and once for the gradients.

    Domains and scores are for held-out text; narrow vision is defined on training text.

    Parameters
    ----------
    model : PreTrainedModel or PeftModel
        A causal, masked or encoder-decoder language model that has mixtures, be it attached, swapped or neither.
    batches : iterable of mappings to tensors
        As for the model in training: ``input_ids`` (B, S), and where there are any ``attention_mask``, ``labels`` and
        others. Labels of −100 and padding are no samples. A causal model without labels predicts its input.
    layer : str or int, optional
        Name or position of one mixture (−1 is the last); default: the first.
    subsets : sequence of str, or callable, optional
        Class of every number of the vocabulary: names, or a function from the number to a name. Default: five bands
        of the samples by how frequent the tokens are.
    narrow_vision : bool
        Whether to measure what the experts learn from, which needs a backward pass as far as the mixture.

    Returns
    -------
    ProbeRecord
        Of the task ``"language"``: accuracy of the most probable token, and perplexities beside it. Intervals are by
        resampling sequences. Predictions of experts agree where they name the same token; CKA is that of what they
        say, on the first tokens. Narrow vision counts each token's own part in the gradient of its batch, as
        `transformers.token_gradients.gradient_norms` says: on attached models also of the whole loss, with α before
        any schedule. In the encoder of an encoder-decoder, classes, composition and narrow vision are those of the
        source's tokens, of which none is predicted. Narrow vision is None where the experts' weights cannot be read.

    Raises
    ------
    InvalidParameterError
        The model has no mixtures, or none of this name; a token has no class.
    DataError
        Batches have another form, or no predicted tokens.

    Notes
    -----
    Of each prediction there are only the named token and its loss in memory, ``(N, E)``. Tokens that no expert had
    room for are left out.

    Examples
    --------
    >>> from transformers import MixtralConfig, MixtralForCausalLM
    >>> config = MixtralConfig(vocab_size=11, hidden_size=8, intermediate_size=8, num_hidden_layers=2,
    ...                        num_attention_heads=2, num_key_value_heads=2, num_local_experts=4)
    >>> tokens = torch.arange(22).reshape(2, 11) % 11
    >>> record = probe_tokens(MixtralForCausalLM(config), [{"input_ids": tokens}], layer=-1)
    >>> record.layer, len(record.domains), record.perplexity_matrix.shape
    ('model.layers.1.mlp.experts', 20, (4, 4))
    """
    mixtures = find_mixtures(model)
    names = tuple(mixture.name for mixture in mixtures)
    mixture = mixtures[choose_layer(layer, names)]
    mixture.check("active")
    probe = LayerProbe(model, mixture, narrow_vision=narrow_vision)
    with evaluating(model):
        parts = [part for batch in batches if (part := probe.batch(token_batch(model, batch))) is not None]
    if not parts:
        raise DataError("batches: no tokens that are predicted and known")
    arrays = _together(parts)
    classes = _classes(arrays.pop("seen"), subsets)
    vision = Vision.of(arrays.pop("task_norms"), arrays.pop("whole_norms"), classes, probe.alpha)
    cka = linear_cka(np.concatenate(probe.said))
    return probe_predictions(
        ProbedTokens(**arrays, subsets=classes, cka=cka, vision=vision, layer=mixture.name, layers=names)
    )


def _together(parts: Sequence[BatchAnswers]) -> dict[str, Any]:
    """Arrays of all batches by name; sequences with predicted tokens are numbered from 0."""
    n_before, numbered = 0, []
    for part in parts:
        distinct, sequences = np.unique(part.sequences, return_inverse=True)
        numbered.append(part._replace(sequences=n_before + sequences))
        n_before += len(distinct)
    columns = {name: [getattr(part, name) for part in numbered] for name in BatchAnswers._fields}
    return {name: None if column[0] is None else np.concatenate(column) for name, column in columns.items()}


def _classes(tokens: NDArray[Any], subsets: Classes | None) -> Subsets:
    """Class of every predicted token."""
    if subsets is None:
        return frequency_subsets(tokens)
    distinct, places = np.unique(tokens, return_inverse=True)
    if not callable(subsets) and distinct[-1] >= len(subsets):
        allowed = f"a name for each number of the vocabulary; token {distinct[-1]} has none"
        raise InvalidParameterError("subsets", f"{len(subsets)} names", allowed)
    named = [str(subsets(int(token)) if callable(subsets) else subsets[token]) for token in distinct]
    names, codes = np.unique(named, return_inverse=True)
    return class_subsets(codes[places], names)
