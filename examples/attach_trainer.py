"""
A language model with the Trainer
=================================

One call turns a mixture of experts of Transformers into one whose experts learn from each other, and one line tells
the Trainer. A small Mixtral learns to add: ``17+15=32``. Labels before the equals sign are masked.
"""

import tempfile

import matplotlib.pyplot as plt
import torch
from transformers import MixtralConfig, MixtralForCausalLM, PrinterCallback, Trainer, TrainingArguments, set_seed

from distilled_experts.transformers import DistillationCallback, attach

# %%
# Data
# ----

CHARACTERS = "_0123456789+="  # "_" is padding
LENGTH = 8


def encode(text: str) -> list[int]:
    return [CHARACTERS.index(character) for character in text.ljust(LENGTH, "_")]


def task(a: int, b: int) -> dict[str, list[int]]:
    text = f"{a}+{b}={a + b}"
    tokens, answer = encode(text), text.index("=") + 1
    labels = [token if answer <= i < len(text) else -100 for i, token in enumerate(tokens)]
    return {"input_ids": tokens, "labels": labels, "attention_mask": [int(token != 0) for token in tokens]}


sums = [task(a, b) for a, b in torch.randint(0, 20, (4000, 2), generator=torch.Generator().manual_seed(0)).tolist()]

# %%
# The model
# ---------
# Distillation in the first mixture alone, rising from zero to α. Mixtral has a load balance loss of its own.

set_seed(0)
config = MixtralConfig(
    vocab_size=len(CHARACTERS),
    hidden_size=64,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=4,
    num_local_experts=8,
    num_experts_per_tok=2,
    output_router_logits=True,
    router_aux_loss_coef=0.02,
)
model = attach(MixtralForCausalLM(config), alpha=0.01, layers="first", alpha_schedule="warmup")

# %%
# Training
# --------
# The callback adds to each entry of the log, for every mixture that distils: its distillation loss, how alike its
# experts are, and how evenly they are used. ``loss`` remains the loss of the task, so that runs can be compared.

with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        folder,
        max_steps=200,
        learning_rate=6e-3,
        per_device_train_batch_size=64,
        gradient_accumulation_steps=2,
        logging_steps=20,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        use_cpu=True,
    )
    trainer = Trainer(model, arguments, train_dataset=sums)
    trainer.remove_callback(PrinterCallback)
    DistillationCallback().add_to(trainer)
    trainer.train()

# %%
log = trainer.state.log_history[:-1]  # the last entry sums up
panels = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")[1]
for ax, name in zip(panels, ("loss", "mixture_0/distillation_loss"), strict=True):
    ax.plot([entry["step"] for entry in log], [entry[name] for entry in log], marker="o")
    ax.set_xlabel("step")
    ax.set_ylabel(name)
    ax.set_ylim(0)
plt.show()
print(f"similarity of the experts {log[-1]['mixture_0/similarity']:.2f}, use {log[-1]['mixture_0/utilisation']:.2f}")
