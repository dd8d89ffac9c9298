"""Byte pairs that both languages share, learned from the pairs that are trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from distilled_experts.translation.corpus import Pair

__all__ = ["PAD", "BEGIN", "END", "train_tokenizer"]

PAD, BEGIN, END = 0, 1, 2
"""Numbers of the special tokens."""

_SPECIAL = ("<pad>", "<s>", "</s>")


def train_tokenizer(pairs: Iterable[Pair], *, size: int = 2500, lower: bool = True) -> PreTrainedTokenizerFast:
    """Learn one vocabulary for both sides.

    Parameters
    ----------
    pairs : iterable of (str, str)
    size : int
        Tokens at most, the 256 bytes and three special tokens included: no text is unknown.
    lower : bool
        Whether text loses its capital letters.

    Returns
    -------
    PreTrainedTokenizerFast
        Every sentence ends with ``</s>``. ``save_pretrained`` writes it beside a model, and `AutoTokenizer` loads it.

    References
    ----------
    Sennrich, Haddow and Birch, Neural Machine Translation of Rare Words with Subword Units, ACL 2016.

    Examples
    --------
    >>> tokenizer = train_tokenizer([("A dog runs.", "Ein Hund läuft.")] * 2, size=300)
    >>> tokenizer.decode(tokenizer("Ein Hund läuft 🐕.")["input_ids"], skip_special_tokens=True)
    'ein hund läuft 🐕.'
    """
    tokenizer = Tokenizer(models.BPE())
    steps: Sequence[normalizers.Normalizer] = [normalizers.NFC(), *([normalizers.Lowercase()] if lower else [])]
    tokenizer.normalizer = normalizers.Sequence(list(steps))
    # The first word is the same token as elsewhere.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((sentence for pair in pairs for sentence in pair), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {_SPECIAL[END]}", special_tokens=[(_SPECIAL[END], END)]
    )
    pad, begin, end = _SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        bos_token=begin,
        eos_token=end,
        clean_up_tokenization_spaces=False,
    )
