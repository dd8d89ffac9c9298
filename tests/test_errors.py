"""Exceptions: one line each, caught as the standard ones, unharmed by a trip between processes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from distilled_experts import errors


@pytest.mark.parametrize(
    ("kind", "standard"),
    [
        (errors.DataError, ValueError),
        (errors.UnknownDataError, LookupError),
        (errors.UnknownDataError, errors.DataError),
        (errors.RunFolderError, RuntimeError),
        (errors.ModelFolderError, ValueError),
        (errors.TrainingError, RuntimeError),
        (errors.WriteError, OSError),
        (errors.MissingDependencyError, ImportError),
    ],
)
def test_an_error_is_also_the_standard_one_and_survives_pickling(kind: type[Exception], standard: type) -> None:
    error = kind("column 'age':\r\n\n   infinite\u2028numbers")
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, standard)
    assert isinstance(again, errors.DistilledExpertsError)
    assert type(again) is kind
    assert str(again) == str(error) == "column 'age': infinite numbers"


@pytest.mark.parametrize("value", [None, "a\nb", "x" * 5000, np.zeros((9, 9)), {"key": ["x"] * 99}, 10**400])
def test_an_invalid_parameter_is_named_on_one_line(value: object) -> None:
    error = errors.InvalidParameterError("alpha", value, "numbers ≥ 0")
    assert isinstance(error, ValueError)
    assert str(error).startswith("alpha: ")
    assert str(error).endswith(" is not allowed; allowed: numbers ≥ 0")
    assert len(str(error).splitlines()) == 1
    assert len(str(error)) < 300


def test_an_invalid_parameter_keeps_its_parts_through_pickling() -> None:
    error = errors.InvalidParameterError("gate", "soft", ("dense", "sparse"))
    again = pickle.loads(pickle.dumps(error))
    assert (again.parameter, again.value, again.allowed) == ("gate", "soft", "dense, sparse")
    assert str(again) == str(error) == "gate: 'soft' is not allowed; allowed: dense, sparse"


def test_every_error_is_exported_and_documented() -> None:
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), errors.DistilledExpertsError)
        assert getattr(errors, name).__doc__
