"""Train a small mixture-of-experts language model with the Trainer, its experts learning from each other.

    python examples/attach_trainer.py

The model learns to add: ``17+25=42``. Labels are masked before the equals sign. Half a minute on two cores.
"""

from __future__ import annotations

import torch
from transformers import MixtralConfig, MixtralForCausalLM, Trainer, TrainingArguments

from distilled_experts.transformers import DistillationCallback, attach

CHARACTERS = "_0123456789+="
LENGTH = 9


def encode(text: str) -> list[int]:
    return [CHARACTERS.index(character) for character in text.ljust(LENGTH, "_")]


def sums(n_sums: int) -> list[dict[str, list[int]]]:
    pairs = torch.randint(0, 100, (n_sums, 2), generator=torch.Generator().manual_seed(0)).tolist()
    made = []
    for a, b in pairs:
        text = f"{a}+{b}={a + b}"
        tokens, answer = encode(text), text.index("=") + 1
        labels = [token if answer <= i < len(text) else -100 for i, token in enumerate(tokens)]
        made.append({"input_ids": tokens, "labels": labels, "attention_mask": [int(token != 0) for token in tokens]})
    return made


def main() -> None:
    config = MixtralConfig(
        vocab_size=len(CHARACTERS),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        num_local_experts=8,
        num_experts_per_tok=2,
        output_router_logits=True,  # Mixtral has a load balance loss of its own
        router_aux_loss_coef=0.02,
    )
    model = attach(MixtralForCausalLM(config), alpha=0.01, layers="first", alpha_schedule="warmup")
    arguments = TrainingArguments(
        output_dir="sums",
        max_steps=100,
        learning_rate=3e-3,
        per_device_train_batch_size=32,
        gradient_accumulation_steps=2,
        logging_steps=25,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        use_cpu=True,
    )
    trainer = Trainer(model, arguments, train_dataset=sums(4000))
    DistillationCallback().add_to(trainer)
    trainer.train()


if __name__ == "__main__":
    main()
