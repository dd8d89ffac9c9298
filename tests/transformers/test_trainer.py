"""The Trainer's own ways of counting and scaling: gradients stay those of one big batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moe_oracle import Batch, Gradients, assert_same, batch, count, expected, gradients, kept_double, rows, tiny
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_pt_utils import LabelSmoother

from distilled_experts.errors import InvalidParameterError
from distilled_experts.transformers import DistillationCallback, DistillationTrainerMixin, attach, detach

ALPHA = 0.7


class DistillationTrainer(DistillationTrainerMixin, Trainer):
    pass


class CatchGradients(TrainerCallback):
    """Keeps the gradients of the first step."""

    def __init__(self) -> None:
        self.caught: Gradients = {}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: nn.Module, **kwargs: Any) -> None:
        self.caught = self.caught or gradients(model)


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    with kept_double():
        yield


def rows_of(whole: Batch) -> list[dict[str, Tensor]]:
    return [{name: values[i] for name, values in whole.items()} for i in range(len(whole["labels"]))]


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Gradients]:
    """Train one step with the Trainer; return its gradients."""

    def run(model: nn.Module, whole: Batch, n_parts: int, kind: type[Trainer] = Trainer, **options: Any) -> Gradients:
        catch = CatchGradients()
        loss = options.pop("compute_loss_func", None)
        arguments = TrainingArguments(
            output_dir=str(tmp_path),
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            max_steps=1,
            max_grad_norm=0,
            train_sampling_strategy="sequential",
            per_device_train_batch_size=len(whole["labels"]) // n_parts,
            gradient_accumulation_steps=n_parts,
            optim="sgd",
            dataloader_pin_memory=False,
            **options,
        )
        trainer = kind(model, arguments, train_dataset=rows_of(whole), callbacks=[catch], compute_loss_func=loss)
        trainer.train()
        return catch.caught

    return run


@pytest.mark.parametrize("n_parts", [1, 4])
@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("use_reentrant", [None, True, False])
def test_with_a_count(train: Callable[..., Gradients], n_parts: int, average: bool, use_reentrant: bool | None) -> None:
    model, whole = tiny(), batch("prompt")
    wanted = expected(model, [whole], [count(whole)], alpha=ALPHA)
    attach(model, ALPHA, distance="mse")
    options: dict[str, Any] = {"average_tokens_across_devices": average}
    if use_reentrant is not None:
        options |= {
            "activation_checkpointing": True,
            "activation_checkpointing_kwargs": {"use_reentrant": use_reentrant},
        }
    assert_same(train(model, whole, n_parts, **options), wanted)


def test_a_model_that_is_not_given_the_count(train: Callable[..., Gradients]) -> None:
    model, whole = tiny(), batch("prompt")
    model.accepts_loss_kwargs = False
    parts = [rows(whole, i, i + 2) for i in range(0, 8, 2)]
    wanted = expected(model, parts, [4 * count(part) for part in parts], alpha=ALPHA)
    attach(model, ALPHA, distance="mse")
    assert_same(train(model, whole, 4), wanted)


def smoothed(outputs: Any, labels: Tensor, num_items_in_batch: int | None = None) -> Tensor:
    """What the Trainer's label smoothing gives for a causal language model."""
    return LabelSmoother(0.1)(outputs, labels, shift_labels=True, num_items_in_batch=num_items_in_batch)


@pytest.mark.parametrize("accepts", [True, False])
@pytest.mark.parametrize("way", ["label_smoothing_factor", "compute_loss_func"])
def test_losses_that_the_trainer_calculates(train: Callable[..., Gradients], way: str, accepts: bool) -> None:
    model, whole = tiny(), batch("prompt")
    model.accepts_loss_kwargs = accepts
    parts = [rows(whole, i, i + 2) for i in range(0, 8, 2)]
    knows_the_whole = accepts or way == "compute_loss_func"
    divisors = [count(whole) if knows_the_whole else 4 * count(part) for part in parts]
    wanted = expected(model, parts, divisors, alpha=ALPHA)
    plain = expected(model, parts, divisors, alpha=0)
    for part, divisor in zip(parts, divisors, strict=True):
        inputs = {name: value for name, value in part.items() if name != "labels"}
        smoothed(model(**inputs), part["labels"], divisor).backward()
    wanted = {name: task + wanted[name] - plain[name] for name, task in gradients(model).items()}
    model.zero_grad()
    attach(model, ALPHA, distance="mse")
    option = {"label_smoothing_factor": 0.1} if way == "label_smoothing_factor" else {"compute_loss_func": smoothed}
    assert_same(train(model, whole, 4, DistillationTrainer, **option), wanted)


def test_the_plain_trainer_cannot_lose_the_distillation_loss(train: Callable[..., Gradients]) -> None:
    with pytest.raises(RuntimeError, match=r"DistillationTrainerMixin"):
        train(attach(tiny(), ALPHA), batch(), 1, label_smoothing_factor=0.1)


def test_the_mixin_changes_nothing_where_there_is_nothing_to_add(train: Callable[..., Gradients]) -> None:
    wanted = train(tiny(), batch(), 2, label_smoothing_factor=0.1)
    assert_same(train(tiny(), batch(), 2, DistillationTrainer, label_smoothing_factor=0.1), wanted, 1e-15)


@pytest.mark.parametrize("use_reentrant", [None, True, False])
def test_the_callback_logs(tmp_path: Path, use_reentrant: bool | None) -> None:
    model, whole, seen = (
        attach(tiny(), 2.0, layers=[0, 2], distance="mse", alpha_schedule="anneal"),
        batch("prompt"),
        [],
    )

    class Tracker(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any) -> None:
            seen.append(dict(logs))

    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        max_steps=2,
        logging_steps=1,
        learning_rate=0.0,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=4,
        dataloader_pin_memory=False,
        activation_checkpointing=use_reentrant is not None,
        activation_checkpointing_kwargs={"use_reentrant": use_reentrant},
    )
    trainer = Trainer(model, arguments, train_dataset=rows_of(whole), callbacks=[Tracker()])
    DistillationCallback(threshold=0.1).add_to(trainer)
    with pytest.warns(UserWarning, match="the experts have become alike"):
        trainer.train()
    losses = attach(tiny(), layers=[0, 2], distance="mse")(**whole).distillation_losses
    for step, factor in enumerate((1.0, 0.5)):
        logs = trainer.state.log_history[step]
        assert seen[step].items() <= logs.items()
        for i, loss in losses.items():
            assert logs[f"mixture_{i}/distillation_loss"] == pytest.approx(float(loss), rel=1e-6)
            assert 0 < logs[f"mixture_{i}/utilisation"] <= 1
            assert logs[f"mixture_{i}/dead_experts"] == 0
            assert 0 < logs[f"mixture_{i}/similarity"] < 1
        assert logs["distillation_loss"] == pytest.approx(2 * factor * float(sum(losses.values())), rel=1e-6)
    assert "distillation_loss" not in trainer.state.log_history[-1]


def test_the_callback_wants_an_attached_model(tmp_path: Path) -> None:
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none", max_steps=1)
    trainer = Trainer(tiny(), arguments, train_dataset=rows_of(batch()), callbacks=[DistillationCallback()])
    with pytest.raises(InvalidParameterError, match="call attach"):
        trainer.train()
    with pytest.raises(InvalidParameterError, match="threshold"):
        DistillationCallback(threshold=1.0)


def test_evaluation_goes_on_where_distillation_has_been_taken_off(tmp_path: Path) -> None:
    data = rows_of(batch())
    arguments = TrainingArguments(
        output_dir=str(tmp_path), use_cpu=True, report_to="none", disable_tqdm=True, max_steps=1
    )
    model = attach(tiny(), ALPHA)
    trainer = Trainer(model, arguments, train_dataset=data, eval_dataset=data, callbacks=[DistillationCallback()])
    trainer.train()
    detach(model)
    assert trainer.evaluate()["eval_loss"] > 0
