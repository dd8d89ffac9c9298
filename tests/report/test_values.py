from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilled_experts.report import formats, values


def test_missing_and_infinite_numbers_are_left_out_of_means() -> None:
    assert values.mean([1.0, None, math.nan, math.inf, 3.0]) == 2.0
    assert values.mean([None, math.nan]) is None
    assert values.mean(None) is None


def test_standard_error_needs_two_numbers() -> None:
    assert values.standard_error([0.5]) is None
    assert values.standard_error([0.5, None]) is None
    assert values.standard_error([1.0, 2.0, 3.0]) == pytest.approx(1 / math.sqrt(3))


def test_experts_are_ranked_before_averaging() -> None:
    # The second seed is the first with its two experts exchanged: the average must be the first seed itself.
    probing = {
        "shares": [[0.7, 0.3], [0.3, 0.7]],
        "matrix": [[[0.9, 0.2], [0.4, 0.8]], [[0.8, 0.4], [0.2, 0.9]]],
    }
    assert values.ranked_shares(probing) == [[0.7, 0.7], [0.3, 0.3]]
    assert values.ranked_matrix(probing) == [[0.9, 0.2], [0.4, 0.8]]


def test_null_cells_are_skipped_and_stay_null_where_no_seed_knows_them() -> None:
    probing = {
        "shares": [[0.6, 0.4], [0.6, 0.4]],
        "matrix": [[[0.9, None], [None, 0.5]], [[0.7, 0.2], [None, 0.5]]],
    }
    assert values.ranked_matrix(probing) == [[pytest.approx(0.8), 0.2], [None, 0.5]]
    assert values.off_diagonal(values.ranked_matrix(probing)) == [0.2]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_ranking_is_a_permutation_in_falling_order(shares: list[float]) -> None:
    order = values.by_share(shares)
    assert sorted(order) == list(range(len(shares)))
    assert [shares[i] for i in order] == sorted(shares, reverse=True)


@pytest.mark.parametrize(
    ("value", "places", "fixed", "signed"),
    [
        (0.97126, 4, "0.9713", "+0.9713"),
        (-0.00004, 4, "0.0000", "0.0000"),
        (-12.5, 1, "−12.5", "−12.5"),
        (1234567, 0, "1,234,567", "+1,234,567"),
        (None, 4, "–", "–"),
        (math.nan, 4, "–", "–"),
    ],
)
def test_numbers_are_written_for_people(value: float | None, places: int, fixed: str, signed: str) -> None:
    assert formats.fixed(value, places) == fixed
    assert formats.signed(value, places) == signed


def test_an_error_that_is_mere_rounding_asks_for_no_more_decimals() -> None:
    assert formats.decimals([0.95, 0.97], [1e-17, 0.0]) == 4
    assert formats.decimals([54.32], [0.0123]) == 3
    assert formats.decimals([], []) == 4


def test_names_lose_what_could_harm_a_terminal_or_a_file() -> None:
    assert formats.clean("a\x1b[31mb\x00c\ud800") == "a\N{REPLACEMENT CHARACTER}[31mb" + (
        "\N{REPLACEMENT CHARACTER}c\N{REPLACEMENT CHARACTER}"
    )
    assert formats.clean("two\nlines\tof text") == "two lines of text"
    assert formats.clean("größe – 温度") == "größe – 温度"
