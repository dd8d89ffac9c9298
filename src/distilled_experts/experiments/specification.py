"""The resolved specification of a comparison: every choice that its result depends on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from distilled_experts.checks import check_device, check_number, check_share, check_whole
from distilled_experts.errors import InvalidParameterError
from distilled_experts.experiments.comparison import Comparison
from distilled_experts.functional.options import check_distillation
from distilled_experts.tabular.parameters import (
    ALPHA_WORDS,
    DEFAULT_ALPHAS,
    check_alpha,
    check_distance,
)
from distilled_experts.tabular.training import TrainingSettings

__all__ = ["Specification", "parse_alpha"]

_CONTRASTS = (0.01, 100.0)


@dataclass(frozen=True)
class Specification(Comparison):
    """What is compared on a table, and how.

    With `explain` there is a parallel study too, and what each expert attends to; and little and much distillation
    are trained, to show their domains beside those of MoE, even where no seed can choose them (Xie et al., AAAI 2024,
    figure 3).
    """

    hidden: int = 64
    test_size: float = 0.3
    validation_size: float = 0.2
    device: str = "cpu"
    explain: bool = False
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        training = self.training
        check_whole("hidden", self.hidden)
        for name in ("epochs", "patience", "batch_size"):
            check_whole(name, getattr(training, name))
        check_distillation(training.distance, training.teacher, "uniform", 1.0)
        check_distance(training.distance, self.task)
        check_number("lr", training.learning_rate, above=0)
        check_share("test_size", self.test_size)
        check_share("validation_size", self.validation_size)
        check_device(self.device)
        if self.explain and not self.distils:
            raise InvalidParameterError("explain", True, "False where one expert is alone, for nothing is distilled")

    @property
    def alphas(self) -> tuple[float, ...]:
        """Every α that is trained: 0 first, then the grid, and what it is contrasted with."""
        return tuple(sorted({*super().alphas, *(_CONTRASTS if self.explain else ())}))


def parse_alpha(value: object) -> tuple[float, ...]:
    """The grid that a user means by "auto", a number, a comma-separated list or any iterable of numbers.

    Examples
    --------
    >>> parse_alpha("auto")
    (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
    >>> parse_alpha("0,0.1"), parse_alpha(0.03)
    ((0.0, 0.1), (0.03,))
    """
    if value == "auto":
        return DEFAULT_ALPHAS
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, Iterable) else (value,)
    numbers = sorted({check_alpha(part) for part in parts})
    if not numbers:
        raise InvalidParameterError("alpha", value, ALPHA_WORDS)
    return tuple(numbers)
