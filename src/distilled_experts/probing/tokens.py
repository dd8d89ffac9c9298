"""From what the experts of a language model predict to a record.

Scores of a whole vocabulary would not fit into memory: of each prediction there are only the token that it names, and
its loss. All measures are quotients of sums over tokens, so sums by sequence are enough for resampling sequences.

Shape suffixes: N predicted tokens · E experts · G sequences · R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distilled_experts.errors import DataError
from distilled_experts.probing.bootstrap import Measures, Statistic
from distilled_experts.probing.record import ProbeRecord, Vision, measured_fields
from distilled_experts.probing.routing import ERRORS, answer_types
from distilled_experts.probing.similarity import answer_agreement, similarity_of
from distilled_experts.probing.subsets import Subsets

__all__ = ["ProbedTokens", "probe_predictions", "token_statistic"]

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]


@dataclass(frozen=True)
class ProbedTokens:
    """What a language model and each of its experts predict, of tokens that are known.

    Parameters
    ----------
    tokens : array, shape (N,)
        The tokens that are to be predicted, as numbers of the vocabulary.
    experts, mixture : array, shape (N, E) and (N,)
        The token that each expert alone, and the model as it is, holds for the most probable.
    expert_losses, mixture_losses : array, shape (N, E) and (N,)
        Negative logarithm of the probability of the right token, in nats.
    domains : array, shape (N,)
        Dominating expert of every token.
    sequences : array, shape (N,)
        Number of each token's sequence, from 0. Tokens of one sequence are drawn together.
    subsets : Subsets
        Classes of the tokens, or of the M tokens of a source that the experts see instead.
    cka : array, shape (E, E)
        Linear CKA of what the experts say, as from `linear_cka`.
    vision : Vision, optional
    layer : str, optional
        The mixture that was probed.
    layers : tuple of str
        All mixtures of the model.
    seen_domains : array, shape (M,), optional
        Dominating expert of every token of a source. Default: `domains`, where the classes are of predicted tokens.
    """

    tokens: Integers
    experts: Integers
    mixture: Integers
    expert_losses: Floats
    mixture_losses: Floats
    domains: NDArray[np.int64]
    sequences: Integers
    subsets: Subsets
    cka: NDArray[np.float64]
    vision: Vision | None = None
    layer: str | None = None
    layers: tuple[str, ...] = ()
    seen_domains: NDArray[np.int64] | None = None


def probe_predictions(probed: ProbedTokens) -> ProbeRecord:
    """The measures of `probe` for predicted tokens; intervals by resampling sequences.

    Raises
    ------
    DataError
        There are no tokens.

    Examples
    --------
    >>> from distilled_experts.probing import class_subsets
    >>> tokens, certain = np.array([3, 5]), np.array([[0.0, 2.0], [2.0, 0.0]])  # each expert knows one of two tokens
    >>> experts, domains = np.array([[3, 5], [3, 5]]), np.array([0, 1])
    >>> probed = ProbedTokens(tokens, experts, tokens, certain, np.zeros(2), domains, np.array([0, 1]),
    ...                       class_subsets(domains, ["three", "five"]), np.eye(2))
    >>> record = probe_predictions(probed)
    >>> record.own_domain, record.own_domain_perplexity, record.perplexity_matrix.round(2)
    (1.0, 1.0, array([[1.  , 7.39],
           [7.39, 1.  ]]))
    """
    if not len(probed.tokens):
        raise DataError("batches: no tokens that are predicted and known")
    statistic, n_sequences = token_statistic(probed), int(probed.sequences.max()) + 1
    seen = probed.domains if probed.seen_domains is None else probed.seen_domains
    return ProbeRecord(
        task="language",
        domains=probed.domains,
        **measured_fields(statistic, n_sequences),
        similarity=similarity_of(probed.cka, answer_agreement(probed.experts)),
        subsets=probed.subsets.names,
        subset_kind=probed.subsets.kind,
        composition=probed.subsets.composition(seen, probed.experts.shape[-1]),
        narrow_vision=probed.vision,
        layer=probed.layer,
        layers=probed.layers,
        answers=_answers(probed),
    )


def token_statistic(probed: ProbedTokens) -> Statistic:
    """All measures as a function of counts ``(R, G)``: how often each sequence was drawn.

    Examples
    --------
    >>> from distilled_experts.probing import class_subsets
    >>> tokens = np.array([1, 1, 0])
    >>> losses, answers = np.zeros((3, 1)), np.zeros((3, 1), int)  # one expert, which always says 0
    >>> probed = ProbedTokens(tokens, answers, answers[:, 0], losses, losses[:, 0], np.zeros(3, int),
    ...                       np.array([0, 1, 1]), class_subsets(tokens, "ab"), np.ones((1, 1)))
    >>> token_statistic(probed)(np.array([[1.0, 1.0], [0.0, 2.0]]))["score"].round(2)
    array([0.33, 0.5 ])
    """
    sums = _sums_by_sequence(probed)

    def statistic(counts_RG: NDArray[np.float64]) -> Measures:
        drawn = {name: np.tensordot(counts_RG, columns, 1) for name, columns in sums.items()}
        n, members = drawn["n"], drawn["members"]
        own = {name: np.trace(drawn[name], axis1=-2, axis2=-1) for name in ("hits", "losses")}
        with np.errstate(invalid="ignore"):  # an empty domain has no score
            return {
                "shares": members / n[:, None],
                "matrix": drawn["hits"] / members[:, None],
                "own_domain": own["hits"] / n,
                "routing_accuracy": own["hits"] / drawn["some"],
                "score": drawn["mixture_hits"] / n,
                "oracle": drawn["some"] / n,
                **{name: drawn[name] / n for name in ERRORS},
                "log_loss": drawn["mixture_losses"] / n,
                "own_domain_log_loss": own["losses"] / n,
                "log_loss_matrix": drawn["losses"] / members[:, None],
            }

    return statistic


def _sums_by_sequence(probed: ProbedTokens) -> dict[str, NDArray[np.float64]]:
    """Sums over the tokens of each sequence: (G), (G, E) of domains, or (G, E, E) of experts on domains."""
    right_NE, right_N = probed.experts == probed.tokens[:, None], probed.mixture == probed.tokens
    answers_N = _answers(probed)
    columns = {
        "n": np.ones(len(right_N)),
        "some": right_NE.any(-1),
        "mixture_hits": right_N,
        "mixture_losses": probed.mixture_losses,
        **{name: answers_N == i for i, name in enumerate(ERRORS, 1)},
    }
    n_sequences, n_experts = int(probed.sequences.max()) + 1, right_NE.shape[-1]
    place_N = probed.sequences * n_experts + probed.domains

    def summed(places: Integers, column: NDArray[Any], *shape: int) -> NDArray[np.float64]:
        return np.asarray(np.bincount(places, column, np.prod(shape)), dtype=np.float64).reshape(shape)

    def by_domain(column: NDArray[Any]) -> NDArray[np.float64]:
        return summed(place_N, column, n_sequences, n_experts)

    return {
        **{name: summed(probed.sequences, column, n_sequences) for name, column in columns.items()},
        "members": by_domain(columns["n"]),
        "hits": np.stack([by_domain(column) for column in right_NE.T], axis=1),
        "losses": np.stack([by_domain(column) for column in probed.expert_losses.T], axis=1),
    }


def _answers(probed: ProbedTokens) -> NDArray[np.int64]:
    return answer_types(probed.experts == probed.tokens[:, None], probed.mixture == probed.tokens, probed.domains)
