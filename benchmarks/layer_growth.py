"""How time and memory of a sparse layer grow with its sizes, and the figure of it."""

from __future__ import annotations

from layer_cases import Sparse, memory_of, training_step
from layer_timing import Found, quartiles, ratios


def growth(rounds: int) -> Found:
    """Seconds of a training step against that of the smallest; beside it the growth of the work."""
    rows = []
    base = Sparse(tokens=512, width=256, hidden=512, experts=8, top_k=2)
    axes = {
        "tokens": (1024, 2048, 4096, 8192, 16384),
        "experts": (16, 32, 64, 128, 256),
        "top_k": (4, 8),
        "width": (512, 1024, 2048),
    }
    for axis, values in axes.items():
        for value in values:
            case = Sparse(**{**vars(base), axis: value})
            rows.append({"axis": axis, "from": getattr(base, axis), "to": value, "ratios": grown(base, case, rounds)})
    return rows


def grown(small: Sparse, large: Sparse, rounds: int) -> dict[str, dict[str, float]]:
    """Time and memory of a training step, large / small."""
    layers = small.layer(), large.layer()
    steps = [training_step(layer) for layer in layers]
    inputs = small.fresh(), large.fresh()
    found = ratios(
        lambda pair: steps[0](pair[0]),
        {"time": lambda pair: steps[1](pair[1])},
        lambda: tuple(fresh() for fresh in inputs),
        max(3, rounds // 3),
    )
    memories = [memory_of(layer, case) for layer, case in zip(layers, (small, large), strict=True)]
    return {**found, "memory": quartiles([memories[1] / memories[0]])}
