"""
From a dense model to a mixture
===============================

A dense language model gets mixtures of experts in the place of its feed-forwards. Each expert begins as a copy of what
was there, so nothing that was learned is lost, and fine-tuning goes on from it. A tiny Llama learns additions, becomes
a mixture, and then learns subtractions, too.
"""

import tempfile

import matplotlib.pyplot as plt
import torch
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)

from distilled_experts.transformers import load_swapped, swap

# %%
# Data
# ----
# Pairs of prompt and completion, such as ``12+3=`` and ``15.``. Only completions are predicted: labels of prompts and
# of padding are -100.

CHARACTERS = "_.0123456789+-="  # "_" is padding, "." the end
PAD, END = 0, 1


def pairs(operations: str, n: int, seed: int) -> list[tuple[str, str]]:
    draw = torch.randint(0, 20, (n, 2), generator=torch.Generator().manual_seed(seed)).tolist()
    made = []
    for i, (a, b) in enumerate(draw):
        operation = operations[i % len(operations)]
        result = a + b if operation == "+" else abs(a - b)
        made.append((f"{max(a, b)}{operation}{min(a, b)}=", f"{result}."))
    return made


def collate(rows: list[tuple[str, str]]) -> dict[str, Tensor]:
    texts = [[CHARACTERS.index(character) for character in prompt + completion] for prompt, completion in rows]
    length = max(map(len, texts))
    tokens = torch.tensor([text + [PAD] * (length - len(text)) for text in texts])
    prompts = torch.tensor([[len(prompt)] for prompt, _ in rows])
    labels = tokens.masked_fill((torch.arange(length) < prompts) | (tokens == PAD), -100)
    return {"input_ids": tokens, "attention_mask": (tokens != PAD).long(), "labels": labels}


# %%
# Training and score
# ------------------


def train(model: PreTrainedModel, rows: list[tuple[str, str]], steps: int) -> None:
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
            use_cpu=True,
        )
        trainer = Trainer(model, arguments, train_dataset=rows, data_collator=collate)
        trainer.remove_callback(PrinterCallback)
        trainer.train()


@torch.no_grad()
def right(model: PreTrainedModel, operation: str) -> float:
    """Share of the tasks whose completion is right when every character is the likeliest one."""
    batch = collate(pairs(operation, 500, seed=2))
    predicted = model.eval()(batch["input_ids"], attention_mask=batch["attention_mask"]).logits.argmax(-1)[:, :-1]
    labels = batch["labels"][:, 1:]
    return float(((predicted == labels) | (labels == -100)).all(-1).float().mean())


# %%
# The dense model
# ---------------

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
shares = {"dense": [right(model, operation) for operation in "+-"]}

# %%
# The mixture
# -----------
# Four experts in each layer, of which two see a token. They answer as the dense model did, up to a little noise that
# sets them apart.

swap(model, n_experts=4, top_k=2, alpha=0.01)
print("now mixtures:", *model.config.mixtures["feed_forwards"])
shares["as a mixture,\nnot yet trained"] = [right(model, operation) for operation in "+-"]

# %%
# Fine-tuning, saving, loading
# ----------------------------

train(model, pairs("+-", 8000, seed=3), steps=300)
with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    loaded = load_swapped(folder)
shares["fine-tuned,\nsaved and loaded"] = [right(loaded, operation) for operation in "+-"]

# %%
# How often each is right
# -----------------------

ax = plt.subplots(figsize=(5.5, 3.4), layout="constrained")[1]
for i, operation in enumerate(("additions", "subtractions")):
    heights = [share[i] for share in shares.values()]
    bars = ax.bar([place + 0.4 * i for place in range(len(shares))], heights, 0.36, label=operation)
    ax.bar_label(bars, fmt="%.2f")
ax.set_xticks([place + 0.2 for place in range(len(shares))], labels=shares)
ax.set_ylabel("share of right answers")
ax.set_ylim(0, 1.25)
ax.legend(ncols=2, loc="upper center")
plt.show()
