"""Batches of sentence pairs of about one length.

Legend: N pairs, B of a batch, S tokens of the longest source, T of the longest target.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from distilled_experts.transformers.tokens import IGNORED
from distilled_experts.translation.corpus import Pair
from distilled_experts.translation.tokenizer import BEGIN, PAD

__all__ = ["PairBatches", "encode", "padded"]

# Sources of nearly equal length meet in a batch, but not always the same ones.
_JITTER = 2.0

Tokens = list[int]


def encode(tokenizer: PreTrainedTokenizerFast, sentences: Sequence[str]) -> list[Tokens]:
    """Tokens of every sentence, with that of its end."""
    encoded: list[Tokens] = tokenizer(list(sentences))["input_ids"] if sentences else []
    return encoded


def padded(rows: Sequence[Tokens], value: int = PAD) -> Tensor:
    """Sentences as one tensor.

    Examples
    --------
    >>> padded([[5, 2], [2]])
    tensor([[5, 2],
            [2, 0]])
    """
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)


class PairBatches(Dataset[dict[str, Tensor]]):
    """Batches of pairs whose targets have one length, or nearly so; each item is a whole batch.

    How many pairs the batches have is fixed, so that every epoch has as many steps. `set_epoch`, which the Trainer
    calls by way of accelerate, draws the pairs and the order of the batches anew, from the seed and the epoch alone.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerFast
    pairs : sequence of (str, str)
    tokens : int
        At most so many tokens of targets in a batch, padding included, unless a single one is longer.
    longest : int
        Pairs with a side of more tokens are left out.
    seed : int, optional
        None: always the same batches, the short pairs first.

    Attributes
    ----------
    n_left_out : int
        Pairs that were too long.

    Examples
    --------
    >>> from distilled_experts.translation.tokenizer import train_tokenizer
    >>> pairs = [("a dog", "ein hund"), ("a cat", "eine katze")]
    >>> batch = PairBatches(train_tokenizer(pairs, size=300), pairs, tokens=100)[0]
    >>> {name: tuple(tensor.shape) for name, tensor in batch.items()}
    {'input_ids': (2, 3), 'attention_mask': (2, 3), 'decoder_input_ids': (2, 3), 'labels': (2, 3)}
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        pairs: Sequence[Pair],
        *,
        tokens: int,
        longest: int = 128,
        seed: int | None = None,
    ) -> None:
        sides = [encode(tokenizer, [pair[side] for pair in pairs]) for side in (0, 1)]
        whole = [pair for pair in zip(*sides, strict=True) if max(map(len, pair)) <= longest]
        self.n_left_out = len(pairs) - len(whole)
        self.sources, self.targets = [source for source, _ in whole], [target for _, target in whole]
        self._lengths = np.array([[len(source), len(target)] for source, target in whole]).reshape(-1, 2)
        self._begins = _begins(np.sort(self._lengths[:, 1]), tokens)
        self._seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw the batches of an epoch."""
        sources, targets = self._lengths.T
        if self._seed is None:
            self._batches = self._cut(np.lexsort((sources, targets)))
            return
        random = np.random.default_rng((self._seed, epoch))
        batches = self._cut(np.lexsort((sources + random.uniform(0, _JITTER, len(sources)), targets)))
        self._batches = [batches[i] for i in random.permutation(len(batches))]

    def _cut(self, order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        # What lies before the first begin is empty.
        return np.split(order, self._begins)[1:]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        rows = self._batches[number]
        sources, targets = padded([self.sources[i] for i in rows]), padded([self.targets[i] for i in rows], IGNORED)
        shifted = torch.cat([torch.full_like(targets[:, :1], BEGIN), targets[:, :-1]], 1)
        return {
            "input_ids": sources,
            "attention_mask": (sources != PAD).long(),
            "decoder_input_ids": shifted.masked_fill(shifted == IGNORED, PAD),
            "labels": targets,
        }


def _begins(lengths: NDArray[np.int64], tokens: int) -> list[int]:
    """Where batches begin among sentences in the order of their lengths."""
    begins: list[int] = []
    for i, length in enumerate(lengths.tolist()):
        if not begins or (i - begins[-1] + 1) * length > tokens:
            begins.append(i)
    return begins
