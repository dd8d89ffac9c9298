"""Mutual distillation in training loops of your own: with the model's loss, and with a loss from its logits.

    python examples/attach_loop.py

Either way the gradient of distillation has the scale of the task's loss, whatever the loop does to it. Half a minute on
two cores.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

from distilled_experts.transformers import attach, detach

LENGTH, VOCABULARY, ACCUMULATED = 24, 11, 4


def walks(n_walks: int, generator: torch.Generator) -> torch.Tensor:
    """Sequences in which each token is the sum of the two before it, modulo the size of the vocabulary."""
    tokens = [torch.randint(VOCABULARY, (n_walks,), generator=generator) for _ in range(2)]
    while len(tokens) < LENGTH:
        tokens.append((tokens[-1] + tokens[-2]) % VOCABULARY)
    return torch.stack(tokens, 1)


def main() -> None:
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
    generator = torch.Generator().manual_seed(0)

    for step in range(30):
        for _ in range(ACCUMULATED):
            tokens = walks(16, generator)
            outputs = model(tokens, labels=tokens)
            (outputs.loss / ACCUMULATED).backward()  # distillation is divided as well
        optimizer.step()
        optimizer.zero_grad()
        if step % 10 == 9:
            print(f"step {step + 1}: loss {outputs.loss:.3f}, distillation {outputs.distillation_loss:.4f}")

    for _ in range(30):
        tokens = walks(64, generator)
        outputs = model(tokens)  # no labels, so no loss that could carry distillation: add it
        loss = F.cross_entropy(outputs.logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), label_smoothing=0.1)
        (loss + outputs.distillation_loss).backward()
        optimizer.step()
        optimizer.zero_grad()
    print(f"smoothed loss {loss:.3f}, distillation {outputs.distillation_loss:.4f}")

    detach(model).eval()  # the model as it was, for export and serving


if __name__ == "__main__":
    main()
