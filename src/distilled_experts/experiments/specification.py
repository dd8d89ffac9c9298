"""The resolved specification of a comparison: every choice that its result depends on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from distilled_experts.errors import InvalidParameterError
from distilled_experts.functional.options import check_distillation
from distilled_experts.tabular.parameters import (
    ALPHA_WORDS,
    DEFAULT_ALPHAS,
    check_alpha,
    check_device,
    check_distance,
    check_gate,
    check_range,
    check_whole,
)
from distilled_experts.tabular.training import TrainingSettings

__all__ = ["Specification", "parse_alpha"]


@dataclass(frozen=True)
class Specification:
    """What is compared, and how.

    `alpha` is the grid that the α of each seed is chosen from, on its validation rows. Plain MoE (α = 0) is trained
    in any case. `top_k` is None for a dense gate. With `explain` there is a parallel study too, and what each expert
    attends to.
    """

    data: str
    task: str
    metric: str
    gate: str = "dense"
    experts: int = 4
    top_k: int | None = None
    hidden: int = 64
    alpha: tuple[float, ...] = DEFAULT_ALPHAS
    seeds: int = 10
    test_size: float = 0.3
    validation_size: float = 0.2
    device: str = "cpu"
    explain: bool = False
    fingerprint: str = ""
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        training = self.training
        for name in ("experts", "hidden", "seeds"):
            check_whole(name, getattr(self, name))
        for name in ("epochs", "patience", "batch_size"):
            check_whole(name, getattr(training, name))
        check_gate(self.gate, self.top_k, self.experts)
        check_distillation(training.distance, training.teacher, "uniform", 1.0)
        check_distance(training.distance, self.task)
        check_range("lr", training.learning_rate, above=0)
        check_range("test_size", self.test_size, above=0, below=1)
        check_range("validation_size", self.validation_size, above=0, below=1)
        for value in self.alpha:
            check_alpha(value)
        check_device(self.device)
        if self.explain and not self.distils:
            raise InvalidParameterError("explain", True, "False where one expert is alone, for nothing is distilled")

    @property
    def alphas(self) -> tuple[float, ...]:
        """Every α that is trained: 0 first, then the grid."""
        return (0.0, *(a for a in self.alpha if a > 0)) if self.distils else (0.0,)

    @property
    def distils(self) -> bool:
        """False where there is nothing to distil: a single expert, or a single activated one."""
        return self.experts > 1 and self.top_k != 1

    def to_dict(self) -> dict[str, object]:
        """Plain values for a record."""
        return asdict(self) | {"alpha": list(self.alpha)}


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
