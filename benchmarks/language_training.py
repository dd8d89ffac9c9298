"""Corpora, model and training of `language.py`: a small Mixtral on the Trainer, with and without distillation."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import MixtralConfig, MixtralForCausalLM, PrinterCallback, Trainer, TrainingArguments, set_seed

from distilled_experts.transformers import attach

LENGTH, BATCH, STEPS, LEARNING_RATE = 128, 16, 600, 2e-3
N_EXPERTS, TOP_K = 8, 2


class Corpus(NamedTuple):
    """Tokens (windows, LENGTH) to train on and to validate on, and the size of their vocabulary."""

    train: Tensor
    validation: Tensor
    vocabulary: int


def shakespeare(data_dir: Path) -> Corpus:
    """Characters; the last tenth validates."""
    text = (data_dir / "text" / "tinyshakespeare.txt").read_text(encoding="utf-8")
    number = {character: i for i, character in enumerate(sorted(set(text)))}
    tokens = torch.tensor([number[character] for character in text])
    border = len(tokens) * 9 // 10
    return Corpus(windows(tokens[:border]), windows(tokens[border:]), len(number))


def multi30k(data_dir: Path) -> Corpus:
    """English sentences, one a line, in 1000 byte pairs learned from those of the training."""
    train, validation = (
        english(data_dir / "text" / f"multi30k_{part}_en-de-fr-cs.tsv.gz") for part in ("train", "val")
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        train.splitlines(), trainers.BpeTrainer(vocab_size=1000, initial_alphabet=alphabet, show_progress=False)
    )
    tokens = [torch.tensor(tokenizer.encode(text).ids) for text in (train, validation)]
    return Corpus(*map(windows, tokens), tokenizer.get_vocab_size())


CORPORA = {"shakespeare": shakespeare, "multi30k": multi30k}


def english(path: Path) -> str:
    """First column of a file of tab-separated sentences."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return "\n".join(line.split("\t")[0] for line in lines)


def windows(tokens: Tensor) -> Tensor:
    """Cut into windows that do not overlap: (T) → (T // LENGTH, LENGTH)."""
    return tokens[: len(tokens) // LENGTH * LENGTH].reshape(-1, LENGTH)


def make_model(vocabulary: int, seed: int) -> MixtralForCausalLM:
    """Make a Mixtral of 3.4 million parameters, whose initial values depend on the seed alone."""
    set_seed(seed)
    config = MixtralConfig(
        vocab_size=vocabulary,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        num_local_experts=N_EXPERTS,
        num_experts_per_tok=TOP_K,
        max_position_embeddings=LENGTH,
        output_router_logits=True,
        router_aux_loss_coef=0.1,
    )
    return MixtralForCausalLM(config)


def train(corpus: Corpus, *, layers: str, alpha: float, seed: int, steps: int, device: str) -> MixtralForCausalLM:
    """Train one model; with the same seed all arms see the same initial values and the same batches."""
    model = make_model(corpus.vocabulary, seed)
    if alpha:
        attach(model, alpha, layers=layers)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=BATCH,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="cosine",
            warmup_steps=steps // 10,
            weight_decay=0.1,
            seed=seed,
            use_cpu=device == "cpu",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        rows = [{"input_ids": window, "labels": window} for window in corpus.train]
        trainer = Trainer(model, arguments, train_dataset=rows)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return model.eval()
