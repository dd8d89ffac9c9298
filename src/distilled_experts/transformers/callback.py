"""Distillation in the Trainer's log, and its strength by the Trainer's step."""

from __future__ import annotations

import warnings
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from distilled_experts.checks import check_share
from distilled_experts.transformers.attaching import attached
from distilled_experts.transformers.monitor import MixtureMonitor


class DistillationCallback(TrainerCallback):
    """Tells distillation how far the training is, and logs how the mixtures fare.

    Each training log gets ``distillation_loss``, the sum over the mixtures with their strengths α, and for each
    mixture i that distils ``mixture_i/distillation_loss``, ``mixture_i/utilisation``, ``mixture_i/dead_experts`` and
    ``mixture_i/similarity``, as in `MixtureMonitor.summary`, over the steps since the last log, in this process.

    Parameters
    ----------
    threshold : float
        A warning tells once of each mixture whose similarity lies above it: its experts have become alike, and a
        smaller α may help. Between 0 and 1.

    Raises
    ------
    InvalidParameterError
        The threshold lies elsewhere; on training, the model is not attached.

    Examples
    --------
    Among the ``callbacks`` of a Trainer it comes after the trackers, which then miss what it adds. Put in front, all
    see it: ``DistillationCallback().add_to(trainer)``.
    """

    def __init__(self, threshold: float = 0.95) -> None:
        check_share("threshold", threshold)
        self.threshold = threshold
        self._warned: set[int] = set()

    def add_to(self, trainer: Trainer) -> DistillationCallback:
        """Put this callback before all others of a Trainer."""
        trainer.callback_handler.callbacks.insert(0, self)
        return self

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin to watch."""
        distillation = attached(kwargs["model"])
        distillation.monitors = {i: MixtureMonitor(mixture.n_experts) for i, mixture in distillation.mixtures.items()}

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Tell how far the training is."""
        attached(kwargs["model"]).progress = state.global_step / max(state.max_steps, 1)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Add the figures to a training log, and begin anew."""
        logs = kwargs["logs"]
        # Evaluation logs, too, and may come after `detach`.
        if "loss" not in logs:
            return
        distillation = attached(kwargs["model"])
        summaries = {i: monitor.summary() for i, monitor in distillation.monitors.items() if monitor.seen}
        figures = {f"mixture_{i}/{name}": value for i, summary in summaries.items() for name, value in summary.items()}
        total = sum(distillation.alphas[i] * summary["distillation_loss"] for i, summary in summaries.items())
        figures["distillation_loss"] = total * distillation.schedule_factor()
        logs |= figures
        state.log_history[-1] |= figures
        self._warn({i: summary["similarity"] for i, summary in summaries.items()})
        self.on_train_begin(args, state, control, **kwargs)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Watch no longer."""
        attached(kwargs["model"]).monitors = {}

    def _warn(self, similarity: dict[int, float]) -> None:
        for i, value in similarity.items():
            if value > self.threshold and i not in self._warned:
                self._warned.add(i)
                text = f"mixture {i}: the experts have become alike, similarity {value:.3f}; a smaller α may help"
                warnings.warn(text, stacklevel=2)
