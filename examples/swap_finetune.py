"""Fine-tune a dense language model as a mixture whose experts learn from each other.

    python examples/swap_finetune.py

A tiny Llama learns additions. Then its feed-forwards become mixtures of four experts, copies of what they were, and the
mixture is fine-tuned on subtractions too, from pairs of prompt and completion: only completions are predicted. Half a
minute on two cores.
"""

from __future__ import annotations

import tempfile

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Trainer, TrainingArguments, set_seed

from distilled_experts.transformers import load_swapped, swap

CHARACTERS = "_.0123456789+-="  # "_" is padding, "." the end
PAD, END = 0, 1


def pairs(operations: str, n: int, seed: int) -> list[dict[str, str]]:
    """Tasks such as {"prompt": "12+3=", "completion": "15."}."""
    draw = torch.randint(0, 20, (n, 2), generator=torch.Generator().manual_seed(seed)).tolist()
    made = []
    for i, (a, b) in enumerate(draw):
        operation = operations[i % len(operations)]
        result = a + b if operation == "+" else abs(a - b)
        made.append({"prompt": f"{max(a, b)}{operation}{min(a, b)}=", "completion": f"{result}."})
    return made


def encode(text: str) -> list[int]:
    return [CHARACTERS.index(character) for character in text]


def collate(rows: list[dict[str, str]]) -> dict[str, Tensor]:
    """Pad a batch; labels of prompts and padding are -100, so that they are not predicted."""
    texts = [encode(row["prompt"] + row["completion"]) for row in rows]
    length = max(map(len, texts))
    tokens = torch.tensor([text + [PAD] * (length - len(text)) for text in texts])
    prompt = torch.tensor([[len(row["prompt"])] for row in rows])
    labels = tokens.masked_fill((torch.arange(length) < prompt) | (tokens == PAD), -100)
    return {"input_ids": tokens, "attention_mask": (tokens != PAD).long(), "labels": labels}


def train(model: PreTrainedModel, rows: list[dict[str, str]], steps: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            max_steps=steps,
            per_device_train_batch_size=64,
            learning_rate=6e-3,
            lr_scheduler_type="cosine",
            warmup_steps=20,
            remove_unused_columns=False,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        Trainer(model, arguments, train_dataset=rows, data_collator=collate).train()


@torch.no_grad()
def share_right(model: PreTrainedModel, rows: list[dict[str, str]]) -> float:
    """Share of the tasks whose completion is right when every character is the likeliest one."""
    batch = collate(rows)
    predicted = model.eval()(batch["input_ids"], attention_mask=batch["attention_mask"]).logits.argmax(-1)[:, :-1]
    labels = batch["labels"][:, 1:]
    return float(((predicted == labels) | (labels == -100)).all(-1).float().mean())


def main() -> None:
    set_seed(0)
    config = LlamaConfig(
        vocab_size=len(CHARACTERS),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=16,
        pad_token_id=PAD,
        eos_token_id=END,
    )
    model = LlamaForCausalLM(config)
    train(model, pairs("+", 8000, seed=1), steps=200)
    tests = {operation: pairs(operation, 500, seed=2) for operation in "+-"}
    print(f"dense, +: {share_right(model, tests['+']):.2f}")

    swap(model, n_experts=4, top_k=2, alpha=0.1)
    print(f"as a mixture, not trained yet, +: {share_right(model, tests['+']):.2f}")
    train(model, pairs("+-", 8000, seed=3), steps=200)

    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        loaded = load_swapped(folder)
    for operation, rows in tests.items():
        print(f"fine-tuned, {operation}: {share_right(loaded, rows):.2f}")


if __name__ == "__main__":
    main()
