from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from distilled_experts.errors import InvalidParameterError
from distilled_experts.report import compare_text, sweep_text

Build = Callable[..., dict[str, Any]]


def test_the_terminal_answer_holds_every_number(compare_record: Build) -> None:
    record = compare_record()
    text = compare_text(record)
    for name, arm in (("dense", "dense"), ("MoE", "moe"), ("MoDE", "mode")):
        entry = record["arms"][arm]
        numbers = (
            f"{entry['mean']:.4f} ± {entry['se']:.4f}",
            f"{entry['train_mean']:.4f}",
            f"{entry['parameters']:,}",
        )
        line = next(line for line in text.splitlines() if re.match(rf"{name} .*±", line))
        assert all(number in line for number in numbers)
    gain = record["difference"]
    assert f"{gain['mean']:+.4f}, 95 % interval {gain['low']:+.4f} to {gain['high']:+.4f}, p = {gain['p']:.3f}" in text
    assert f"differences of {gain['detectable']:.4f} or more" in text
    assert "0.03 (5 seeds), 0.1 (5)" in text
    own = record["own_domain"]
    assert re.search(
        rf"accuracy on own domain +{own['moe']:.4f} +{own['mode']:.4f} +\+{own['mode'] - own['moe']:.4f}",
        text,
    )
    assert record["notes"][0] in text
    assert record["run"] in text


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("options", [{}, {"seeds": 1}, {"experts": 1}, {"scale": -54.2, "metric": "rmse"}])
def test_it_fits_the_terminal_and_holds_no_control_codes(
    compare_record: Build, options: dict[str, Any], width: int
) -> None:
    text = compare_text(compare_record(**options), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert not any(line != line.rstrip() for line in text.splitlines())


def test_one_seed_has_no_interval_and_one_expert_no_effect(compare_record: Build) -> None:
    text = compare_text(compare_record(seeds=1, experts=1))
    assert "one seed: no interval" in text
    assert "±" not in text
    assert "None" not in text
    assert "effect on the experts" not in text


def test_a_negated_loss_is_named_as_such(compare_record: Build) -> None:
    text = compare_text(compare_record(task="regression", metric="rmse", scale=-54.2))
    assert "negated RMSE" in text
    assert "R² on own domain" in text
    assert re.search(r"MoDE +−5\d\.\d{3} ± 0\.\d{3}", text)


def test_numbers_that_are_not_finite_are_dashes(compare_record: Build) -> None:
    record = compare_record()
    record["arms"]["dense"].update(mean=float("nan"), se=float("nan"))
    line = next(line for line in compare_text(record).splitlines() if line.startswith("dense"))
    assert "nan" not in line
    assert "–" in line


def test_arrays_in_a_record_are_read_like_lists(compare_record: Build) -> None:
    record = compare_record()
    usual = compare_text(record)
    record["alpha"] = np.array(record["alpha"])
    record["arms"]["moe"]["mean"] = np.float64(record["arms"]["moe"]["mean"])
    assert compare_text(record) == usual


def test_names_are_text_not_markup(compare_record: Build) -> None:
    text = compare_text(compare_record(data="[bold]x[/bold]\x1b[2J"))
    assert "[bold]x[/bold]\N{REPLACEMENT CHARACTER}[2J" in text


def test_a_sweep_lists_every_cell(sweep_record: Build) -> None:
    record = sweep_record()
    text = sweep_text(record)
    for cell in record["cells"]:
        expected = rf"^ +{cell['experts']} +{cell['alpha']:g} +{cell['mean']:.4f} ± {cell['se']:.4f} "
        assert re.search(expected, text, re.MULTILINE), expected
    assert "best cell  16 experts, α = 0.1:" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_sweep_of_one_seed_has_neither_errors_nor_p(sweep_record: Build) -> None:
    text = sweep_text(sweep_record(seeds=1, experts=(1,), grid=[0.0, 1.0]))
    assert "±" not in text
    assert "None" not in text


@pytest.mark.parametrize(
    ("change", "message"),
    [({"kind": "sweep"}, r"record\['kind'\]"), ({"format": 2}, r"record\['format'\]"), (None, "record")],
)
def test_what_is_no_such_record_is_refused(compare_record: Build, change: dict[str, Any] | None, message: str) -> None:
    record: Any = [] if change is None else {**compare_record(), **change}
    with pytest.raises(InvalidParameterError, match=message):
        compare_text(record)


def test_a_record_is_left_as_it_was(compare_record: Build) -> None:
    record = compare_record()
    before = copy.deepcopy(record)
    compare_text(record)
    assert record == before
