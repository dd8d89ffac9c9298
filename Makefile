# Everything runs in an environment of the project's own, made from its own files when it is not there.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
INSTALL = $(1)/bin/python -m pip --disable-pip-version-check install --quiet
PIP := $(call INSTALL,$(VENV)) -c constraints.txt
# One thread for each of the test workers: they share the cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2
COMPARE ?= digits
# What `make docs` writes.
SITE := docs/_build docs/benchmarks docs/examples docs/generated docs/reproduction
# Warnings that come up in a line of an example; a figure that is shown where there is no display is none of these.
STRICT := -W error:::__main__ -W "ignore:FigureCanvasAgg is non-interactive"

.DEFAULT_GOAL := help
.PHONY: help compare test slow lint docs check wheel lowest bench clean

help:
	@echo "make compare   dense network, mixture and distilled mixture on $(COMPARE); COMPARE='FILE --target COLUMN' for yours"
	@echo "make test      the tests that take seconds"
	@echo "make check     all of it: linters, types, import contracts, tests (slow ones too), documentation"
	@echo "make docs      the documentation, into docs/_build/html"
	@echo "make wheel     builds wheel and sdist; the wheel compares digits in a clean environment, from a folder of its own"
	@echo "make lowest    the fast tests, with the lowest versions that pyproject.toml allows"
	@echo "make bench     the benchmarks"

# PyTorch comes first, pinned: pip then takes a CPU build where one lies at hand.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-development: $(VENV)/.installed
	$(PIP) -e '.[test,tools,docs]'
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
	rm -rf $(SITE)
	$(BIN)/python $(STRICT) -m sphinx -q -E -W --keep-going -b html docs docs/_build/html

check: lint docs test slow

wheel: $(VENV)/.installed-development
	rm -rf dist
	$(BIN)/python -m build --quiet
	$(PYTHON) -m venv --clear build/wheel
	$(call INSTALL,build/wheel) torch==2.13.0
	$(call INSTALL,build/wheel) -c constraints.txt dist/*.whl
	cd build/wheel && bin/mode compare digits --seeds 1 --epochs 5 --out run

# What old packages say of each other is nobody's fault here: warnings are no errors.
lowest:
	$(PYTHON) -m venv --clear build/lowest
	$(call INSTALL,build/lowest) torch==2.13.0
	build/lowest/bin/python .ci/lowest.py > build/lowest/constraints.txt
	$(call INSTALL,build/lowest) -c build/lowest/constraints.txt '.[test]'
	OMP_NUM_THREADS=1 build/lowest/bin/python -m pytest -n 2 -o filterwarnings=default

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/layers.py --short
	$(BIN)/python benchmarks/stacked.py

clean:
	rm -rf $(SITE) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
