"""Where the time of a training step goes: shares of the operations, by PyTorch's profiler.

OMP_NUM_THREADS=1 python benchmarks/layer_profile.py
"""

from __future__ import annotations

import torch
from layer_cases import Dense, Sparse, training_step
from torch.profiler import ProfilerActivity, profile

STEPS = 10
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::_grouped_mm")
SHOWN = 6


def shares(case: Sparse | Dense) -> list[tuple[str, float]]:
    """Products first, then the other operations, the dearest before the others."""
    step, fresh = training_step(case.layer(), of_input=isinstance(case, Sparse)), case.fresh()
    step(fresh())
    inputs = [fresh() for _ in range(STEPS)]
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for x in inputs:
            step(x)
    times = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    total = sum(times.values())
    found = [("products", sum(times.pop(name, 0) for name in PRODUCTS) / total)]
    found += sorted(((name, time / total) for name, time in times.items()), key=lambda pair: -pair[1])[:SHOWN]
    return [*found, ("others", 1 - sum(share for _, share in found))]


def main() -> None:
    cases: dict[str, Sparse | Dense] = {
        f"sparse, {str(dtype)[6:]}, {experts} experts": Sparse(dtype, experts=experts)
        for dtype in (torch.float32, torch.bfloat16)
        for experts in (8, 64)
    }
    cases |= {f"dense, batch {batch}, 8 experts": Dense(batch) for batch in (256, 4096)}
    for words, case in cases.items():
        print(f"{words}: " + ", ".join(f"{name.removeprefix('aten::')} {share:.1%}" for name, share in shares(case)))


if __name__ == "__main__":
    main()
