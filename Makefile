# Each target sets up what it needs in a virtual environment and runs it.
# The newest Python that runs and can make an environment (a version manager's shim may do neither):
# from 3.12 on there is a newer JAX, whose larger networks are faster on CPUs.
PYTHON ?= $(shell for python in python3.13 python3.12 python3; do \
  $$python -c 'import venv, ensurepip' >/dev/null 2>&1 && echo $$python && break; done)
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: quickstart test test-all test-by-hand test-tpu lint bench

quickstart: $(VENV)/.quickstart
	$(BIN)/isomax-jax quickstart

test: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --dist worksteal

# Slow tests too, all that is fuzzed, and programs as users compile them.
test-all: $(VENV)/.test
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 FUZZ=1 $(BIN)/python -m pytest -n auto --dist worksteal -m "not by_hand"

test-by-hand: $(VENV)/.test
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(BIN)/python -m pytest -m by_hand -rs

# Compiles for TPUs that are not there; the compiler is 140 MB and for Linux on x86-64 alone.
test-tpu: $(VENV)/.test $(VENV)/.tpu-aot
	$(BIN)/python -m pytest -m "not by_hand" tests/tpu

lint: $(VENV)/.lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright -p pyproject.toml --pythonpath $(BIN)/python

bench: $(VENV)/.bench
	$(BIN)/python -m experiments.benchmarks.training --quick
	$(BIN)/python -m experiments.benchmarks.heads
	$(BIN)/python -m experiments.benchmarks.scoring
	$(BIN)/python -m experiments.benchmarks.metrics
	$(BIN)/python -m experiments.benchmarks.input
	$(BIN)/python -m experiments.benchmarks.detectors
	$(BIN)/python -m experiments.benchmarks.mahalanobis
	$(BIN)/python -m experiments.benchmarks.knn

# A stamp for each set of extras, out of date once the metadata change.
$(VENV)/.%: setup.cfg pyproject.toml
	@test -x $(BIN)/python || test -n "$(PYTHON)" || { echo "no Python here can make an environment: \
	name one that has venv and ensurepip, as in make PYTHON=/usr/bin/python3" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	touch $@
