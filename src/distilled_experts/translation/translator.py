"""A trained model with its tokenizer: translates, and is saved and loaded as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from distilled_experts.errors import ModelFolderError
from distilled_experts.probing.torch_models import evaluating
from distilled_experts.transformers import load_swapped
from distilled_experts.transformers.model_folders import SAFE, check_model_folder
from distilled_experts.translation.batches import encode, padded
from distilled_experts.translation.tokenizer import PAD

__all__ = ["Translator"]

_BATCH = 100
# A translation has so many times the tokens of the longest source beside it at most, and some more.
_STRETCH, _SLACK = 1.5, 10
_LOCAL = {"local_files_only": True, "trust_remote_code": False}


@dataclass(frozen=True)
class Translator:
    """A model that translates, and the tokenizer that belongs to it.

    Attributes
    ----------
    model : PreTrainedModel
    tokenizer : PreTrainedTokenizerFast

    Examples
    --------
    >>> from distilled_experts.translation import ModelSettings, build_model, train_tokenizer
    >>> tokenizer = train_tokenizer([("a dog", "ein hund")] * 2, size=300)
    >>> model = build_model(ModelSettings(width=16, hidden=8), len(tokenizer), seed=0)
    >>> translations = Translator(model, tokenizer).translate(["A dog.", "Dogs"], beams=1)
    >>> len(translations)
    2
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast

    @torch.no_grad()
    def translate(self, sentences: Sequence[str], *, beams: int = 5) -> list[str]:
        """Translate by beam search, those of about one length together.

        Parameters
        ----------
        sentences : sequence of str
            What is longer than the model allows is cut.
        beams : int
            Hypotheses that are followed; one: greedy.
        """
        longest = self.model.config.max_position_embeddings - 1
        sources = [tokens if len(tokens) <= longest else [*tokens[: longest - 1], tokens[-1]]
                   for tokens in encode(self.tokenizer, sentences)]  # fmt: skip
        order = sorted(range(len(sources)), key=lambda i: len(sources[i]))
        found = [""] * len(sources)
        with evaluating(self.model):
            for start in range(0, len(order), _BATCH):
                rows = order[start : start + _BATCH]
                for i, translation in zip(rows, self._batch([sources[i] for i in rows], beams, longest), strict=True):
                    found[i] = translation
        return found

    def _batch(self, sources: list[list[int]], beams: int, longest: int) -> list[str]:
        inputs = padded(sources).to(self.model.device)
        generate: Any = self.model.generate
        written = generate(
            input_ids=inputs,
            attention_mask=(inputs != PAD).long(),
            num_beams=beams,
            do_sample=False,
            early_stopping=beams > 1,
            max_new_tokens=min(longest, int(_STRETCH * inputs.shape[1]) + _SLACK),
        )
        decoded: list[str] = self.tokenizer.batch_decode(written, skip_special_tokens=True)
        return decoded

    def save(self, folder: str | Path) -> None:
        """Write model and tokenizer (``tokenizer.json``) into a folder."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Translator:
        """Load what `save` wrote; no code is run from the folder.

        Raises
        ------
        ModelFolderError
            When the folder holds something else.
        """
        try:
            check_model_folder(folder)
            # From this folder alone: there is no revision to pin.
            tokenizer: Any = AutoTokenizer.from_pretrained(folder, **_LOCAL)  # nosec B615
            try:
                model = load_swapped(folder, **_LOCAL)
            except ModelFolderError:
                model = AutoModelForSeq2SeqLM.from_pretrained(folder, **SAFE | _LOCAL)  # nosec B615
        except (OSError, ValueError) as error:
            raise ModelFolderError(f"{folder}: no translator can be loaded from it: {error}") from error
        return cls(model, tokenizer)
