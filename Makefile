# Everything runs in an environment of the project's own, made from its own files when it is not there.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
# One thread for each of the test workers: they share the cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2
COMPARE ?= digits

.DEFAULT_GOAL := help
.PHONY: help compare test slow lint docs check bench clean

help:
	@echo "make compare   dense network, mixture and distilled mixture on $(COMPARE); COMPARE='FILE --target COLUMN' for yours"
	@echo "make test      the tests that take seconds"
	@echo "make check     all of it: linters, types, import contracts, tests (slow ones too), documentation"
	@echo "make docs      the documentation, into docs/_build/html"
	@echo "make bench     the benchmarks"

# PyTorch comes first, pinned: pip then takes a CPU build where one lies at hand.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-development: $(VENV)/.installed
	$(PIP) -e '.[test,docs]'
	@touch $@

compare: $(VENV)/.installed
	$(BIN)/mode compare $(COMPARE)

test: $(VENV)/.installed-development
	$(PYTEST)

# pytest ends with 5 where no test is marked: nothing to run is no failure here.
slow: $(VENV)/.installed-development
	$(PYTEST) -m slow || test $$? -eq 5

lint: $(VENV)/.installed-development
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml src

docs: $(VENV)/.installed-development
	rm -rf docs/generated
	$(BIN)/python -m sphinx -q -E -W --keep-going -b html docs docs/_build/html

check: lint docs test slow

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/layers.py --short
	$(BIN)/python benchmarks/stacked.py

clean:
	rm -rf docs/_build docs/generated build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
