"""The Trainer of Transformers on several processes: models for text, images and sentence pairs, sharded or not.

One process alone takes as many micro-batches for a step as there are processes. The last step's are smaller, and in the
first step one process of the language model sees a single token, so that most of its experts get none.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from accelerate.state import AcceleratorState, GradientState
from moe_oracle import Gradients, batch, gradients, kept_double, tiny
from processes import Case
from sentence_pairs import PAIRS
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import SGD
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.distributed import DistributedConfig

from distilled_experts.transformers import attach
from distilled_experts.translation import ModelSettings, PairBatches, build_model, train_tokenizer
from distilled_experts.vision import models as vision

ALPHA = 0.7
IMAGE = (8, 8, 1)

Rows = list[dict[str, Tensor]]


class Task(NamedTuple):
    """A model before it is attached, rows for so many processes, those of a micro-batch, and what is sharded."""

    model: Callable[[torch.dtype], nn.Module]
    rows: Callable[[int], Rows]
    size: int
    plan: dict[str, str] | None = None


def train(kind: str, way: str, dtype: torch.dtype, alone_for: int = 0) -> Gradients:
    """Losses of all steps, gradients of the first, and weights after the last."""
    world = alone_for or int(os.environ["WORLD_SIZE"])
    task = TASKS[kind]
    model = task.model(dtype)
    if way == "sharded" and not alone_for:
        model = sharded(model, world, task.plan)
    attach(model, ALPHA, distance="mse", layers="all")
    seen = FirstGradients()
    with tempfile.TemporaryDirectory() as folder:
        trainer = NotingTrainer(
            model,
            arguments(folder, task.size, max(alone_for, 1)),
            train_dataset=[{k: cast(v, dtype) for k, v in row.items()} for row in task.rows(world)],
            data_collator=(lambda items: items[0]) if kind == "translation" else None,
            callbacks=[seen],
            # Adam would make much of gradients that are zero but for rounding, such as that of a key's bias.
            optimizers=(SGD(model.parameters(), lr=0.1, momentum=0.9), None),
        )
        trainer.train()
    losses = torch.stack(trainer.losses).double().reshape(-1, max(alone_for, 1)).sum(1)
    if not alone_for:
        dist.all_reduce(losses)
        losses /= world
    weights = {f"weight of {name}": whole(p.detach()).clone() for name, p in model.named_parameters()}
    AcceleratorState._reset_state(True)
    GradientState._reset_state()
    return {"losses": losses, **seen.found, **weights}


def arguments(folder: str, size: int, accumulated: int) -> TrainingArguments:
    """Settings of a short training on processors."""
    return TrainingArguments(
        output_dir=folder,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        num_train_epochs=1,
        max_grad_norm=0,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=accumulated,
        train_sampling_strategy="sequential",
        lr_scheduler_type="constant",
        save_strategy="no",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        # Else rows of the first batch are repeated in the last.
        accelerator_config={"even_batches": False},
    )


def sharded(model: Any, world: int, plan: dict[str, str] | None) -> nn.Module:
    """FSDP2 as Transformers does it for ``from_pretrained(…, distributed_config=…)``."""
    if plan is not None:
        model.fsdp_plan = plan
    config, _, meshes = model.prepare_distribute_model(DistributedConfig(fsdp_size=world))
    distributed: nn.Module = model.maybe_distribute_model(model, config, meshes)
    return distributed


class NotingTrainer(Trainer):
    """Keeps the loss of every micro-batch; the log has them in single precision."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.losses: list[Tensor] = []

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        self.losses.append(super().training_step(*args, **kwargs))
        return self.losses[-1]


class FirstGradients(TrainerCallback):
    """Keeps the gradients of the first step, whole."""

    def __init__(self) -> None:
        self.found: Gradients = {}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: nn.Module, **kwargs: Any) -> None:
        self.found = self.found or {f"gradient of {name}": whole(g) for name, g in gradients(model).items()}


def whole(values: Tensor) -> Tensor:
    """A tensor as one process has it."""
    return values.full_tensor() if isinstance(values, DTensor) else values


def cast(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers in a precision; what counts stays as it is."""
    return values.to(dtype) if values.is_floating_point() else values


def sentences(world: int) -> Rows:
    """Of the first process's neighbour the first two rows are one token over and over."""
    made = batch("prompt", 4 * world - 1)
    made["input_ids"][2:4] = torch.where(made["attention_mask"][2:4] != 0, 5, 0)
    return [{name: values[i] for name, values in made.items()} for i in range(4 * world - 1)]


def images(world: int) -> Rows:
    """Noise in three classes."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(4 * world - 1, IMAGE[2], *IMAGE[:2], generator=generator)
    return [{"pixel_values": x, "labels": torch.tensor(i % 3)} for i, x in enumerate(pixels)]


def pairs(world: int) -> Rows:
    """Two batches of sentence pairs for each process, of different sizes."""
    tokenizer = train_tokenizer(PAIRS, size=320)
    return list(PairBatches(tokenizer, PAIRS, tokens=75, seed=0))[: 2 * world]


def image_model(dtype: torch.dtype) -> nn.Module:
    """Vision transformer with two mixtures."""
    settings = vision.ModelSettings("vit", IMAGE, 3, hidden=8, top_k=2, balance=0.0)
    return vision.build_model(settings, seed=0).to(dtype).train()


def translation_model(dtype: torch.dtype) -> nn.Module:
    """Marian with mixtures in the place of its feed-forwards."""
    settings = ModelSettings(width=16, hidden=8, layers=1, heads=2, dropout=0.0, balance=0.0)
    return build_model(settings, 320, seed=0).to(dtype).train()


LAYERS = "free_full_weight"
TASKS = {
    "language": Task(lambda dtype: tiny(dtype=dtype), sentences, 2),
    "vision": Task(image_model, images, 2, {"vit.layers.*": LAYERS}),
    "translation": Task(
        translation_model, pairs, 1, {"model.encoder.layers.*": LAYERS, "model.decoder.layers.*": LAYERS}
    ),
}
WAYS = ("replicated", "sharded")
FOUR = {("vision", "replicated"): (2, 4), ("language", "sharded"): (2, 4)}


def alone(kind: str, dtype: torch.dtype, world: int) -> list[Gradients]:
    """What one process finds."""
    with kept_double():
        return [train(kind, "replicated", dtype, alone_for=world)] * world


CASES = {
    f"{kind}, {way}": Case(
        partial(train, kind, way, torch.float64),
        partial(alone, kind, torch.float64),
        worlds=FOUR.get((kind, way), (2,)),
    )
    for kind in TASKS
    for way in WAYS
}
CASES["language, replicated, single precision"] = Case(
    partial(train, "language", "replicated", torch.float32), partial(alone, "language", torch.float32), 1e-5, (2,)
)
