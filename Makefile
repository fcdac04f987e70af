# make train: a first model on real images.   make test: the quick tests.   make help: the rest.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 2

.PHONY: help setup train test test-all lint bench
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 8

setup: .venv/installed  ## makes .venv and installs genmodels with its development tools, once

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "genmodels needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	touch $@

train: setup  ## trains a diffusion model on scikit-learn's 8x8 digits, ends with a table and pictures
	$(BIN)/genmodels train experiment=digits_ddpm

test: setup  ## runs the tests, without network, in minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

test-all: setup  ## runs the slow ones as well: every model with every dataset, kills, browsers
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m ""

lint: setup  ## style, types and the floors of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup  ## speed and memory of pieces of work, as ratios to the plainest code that does the same
	$(BIN)/python scripts/benchmark.py
