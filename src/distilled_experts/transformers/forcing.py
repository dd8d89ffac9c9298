"""Look into the routing of one mixture of a model, or take it over, for the length of a ``with`` block.

Legend: T tokens, E experts, D width of the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor
from torch.utils.hooks import RemovableHandle

from distilled_experts.checks import check_whole
from distilled_experts.transformers.mixtures import Mixture, TokenRouting


@contextmanager
def recorded_routing(mixture: Mixture) -> Iterator[list[TokenRouting]]:
    """Who works on the tokens of each call of a mixture, as the calls come.

    Examples
    --------
    >>> from transformers import MixtralConfig, MixtralForCausalLM
    >>> from distilled_experts.transformers.finding import find_mixtures
    >>> config = MixtralConfig(vocab_size=11, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
    ...                        num_attention_heads=2, num_key_value_heads=2, num_local_experts=4)
    >>> model = MixtralForCausalLM(config).eval()
    >>> with recorded_routing(find_mixtures(model)[0]) as calls:
    ...     _ = model(torch.arange(5).unsqueeze(0))
    >>> [routing.indices.shape for routing in calls]
    [torch.Size([5, 2])]
    """
    calls: list[TokenRouting] = []
    with _removed(mixture.watch(calls.append)):
        yield calls


@contextmanager
def forced_expert(mixture: Mixture, expert: int) -> Iterator[list[Tensor]]:
    """Send every token of a mixture to one expert alone, all else in the model unchanged.

    The expert gets the whole weight that the router gives to the active experts: one in most families. Shared experts
    are added as ever, and tokens for which there was no room stay without an expert.

    Parameters
    ----------
    mixture : Mixture
        Of a model in evaluation.
    expert : int
        From 0 to E − 1.

    Yields
    ------
    list of Tensor (T, D)
        What the expert says in each call, before it is multiplied with its weight; with Llama 4, which multiplies
        before the experts run, after it.

    Raises
    ------
    InvalidParameterError
        The mixture has no such expert.

    Examples
    --------
    >>> from transformers import MixtralConfig, MixtralForCausalLM
    >>> from distilled_experts.transformers.finding import find_mixtures
    >>> config = MixtralConfig(vocab_size=11, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
    ...                        num_attention_heads=2, num_key_value_heads=2, num_local_experts=4)
    >>> model = MixtralForCausalLM(config).eval()
    >>> with forced_expert(find_mixtures(model)[0], 3) as said:
    ...     _ = model(torch.arange(5).unsqueeze(0))
    >>> [output.shape for output in said]
    [torch.Size([5, 8])]
    """
    check_whole("expert", expert, 0, mixture.n_experts - 1)
    said: list[Tensor] = []
    with _removed(mixture.force(expert, said.append)):
        yield said


@contextmanager
def _removed(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
