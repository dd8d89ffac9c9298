"""
A language model in a loop of your own
======================================

Training loops that were written for a mixture of experts need no change: the gradient of distillation comes with the
loss of the model, on its scale, whatever the loop does to that loss. Where a loop makes a loss of its own from the
logits, distillation is added to it.
"""

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

from distilled_experts.transformers import attach, detach

# %%
# Data and model
# --------------
# Sequences in which each token is the sum of the two before it, modulo the size of the vocabulary, and a small Qwen3
# with two mixtures.

LENGTH, VOCABULARY, ACCUMULATED = 24, 11, 4
generator = torch.Generator().manual_seed(0)


def walks(n_walks: int) -> torch.Tensor:
    tokens = [torch.randint(VOCABULARY, (n_walks,), generator=generator) for _ in range(2)]
    while len(tokens) < LENGTH:
        tokens.append((tokens[-1] + tokens[-2]) % VOCABULARY)
    return torch.stack(tokens, 1)


torch.manual_seed(0)
config = Qwen3MoeConfig(
    vocab_size=VOCABULARY,
    hidden_size=64,
    moe_intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=4,
    num_experts=8,
    num_experts_per_tok=2,
    norm_topk_prob=True,
)
model = attach(Qwen3MoeForCausalLM(config).train(), alpha=0.01)
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

# %%
# The model's own loss
# --------------------
# Four small batches are accumulated for each step. The loop divides the loss by four, and so the gradient of
# distillation is divided, too.

losses = []
for _ in range(30):
    for _ in range(ACCUMULATED):
        tokens = walks(16)
        outputs = model(tokens, labels=tokens)
        (outputs.loss / ACCUMULATED).backward()
    optimizer.step()
    optimizer.zero_grad()
    losses.append(outputs.loss.item())
print(f"loss {outputs.loss:.3f}, distillation {outputs.distillation_loss:.4f}")

# %%
# A loss from the logits
# ----------------------
# Without labels the model returns no loss that could carry distillation: add it.

smoothed = []
for _ in range(30):
    tokens = walks(64)
    outputs = model(tokens)
    loss = F.cross_entropy(outputs.logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), label_smoothing=0.1)
    (loss + outputs.distillation_loss).backward()
    optimizer.step()
    optimizer.zero_grad()
    smoothed.append(loss.item())
print(f"smoothed loss {loss:.3f}, distillation {outputs.distillation_loss:.4f}")

ax = plt.subplots(figsize=(5.5, 3.4), layout="constrained")[1]
ax.plot(range(30), losses, label="the model's loss")
ax.plot(range(30, 60), smoothed, label="a loss from the logits, smoothed")
ax.set_xlabel("step")
ax.set_ylabel("loss of the task")
ax.set_ylim(0)
ax.legend()
plt.show()

# %%
# After training ``detach`` gives the model as it was, for export and serving.

print(type(detach(model).eval()).__name__)
