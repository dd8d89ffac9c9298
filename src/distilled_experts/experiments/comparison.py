"""What every comparison says of itself, whatever is trained: data, mixture, grid of α, seeds."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from distilled_experts.checks import check_whole
from distilled_experts.tabular.parameters import DEFAULT_ALPHAS, check_alpha, check_gate

__all__ = ["Comparison"]


@dataclass(frozen=True)
class Comparison:
    """What is compared, on which data.

    `alpha` is the grid that the α of each seed is chosen from, on its validation samples. Plain MoE (α = 0) is trained
    in any case. `top_k` is None for a dense gate.
    """

    data: str
    task: str
    metric: str
    gate: str = "dense"
    experts: int = 4
    top_k: int | None = None
    alpha: tuple[float, ...] = DEFAULT_ALPHAS
    seeds: int = 10
    fingerprint: str = ""

    def __post_init__(self) -> None:
        for name in ("experts", "seeds"):
            check_whole(name, getattr(self, name))
        check_gate(self.gate, self.top_k, self.experts)
        for value in self.alpha:
            check_alpha(value)

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
