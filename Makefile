# `make run` and `make test` do all their own set-up: a virtual environment in .venv with pinned packages.
# PYTHON names the interpreter that builds it (3.11 or newer).
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PINS   := requirements/constraints.txt
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
CORES  := $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)
# Tests wait for processes and sockets for a good part of their time, so there are three workers for two cores; and no
# more than eight, because each has a PostgreSQL of its own, and those tests that must follow one another take as long.
WORKERS ?= $(shell n=$$((($(CORES) * 3 + 1) / 2)); echo $$((n < 8 ? n : 8)))

.DEFAULT_GOAL := help
.PHONY: help run test lint format bench load docs pins clean

help:  ## Show what make can do
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.run  ## Start the flag server on SQLite, with nothing to configure
	@$(BIN)/fader serve

test: $(VENV)/.dev  ## Run all tests
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

lint: $(VENV)/.dev  ## Check style, types, import directions and generated pages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python docs/reference_pages.py --check

format: $(VENV)/.dev  ## Rewrite the code in the project's style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.dev  ## Measure evaluation and propagation, as ratios in one run
	@$(BIN)/python -m loadtests

load: $(VENV)/.dev  ## Measure crowds of clients, in two minutes
	@$(BIN)/python -m loadtests crowds --quick

docs: $(VENV)/.dev  ## Write the reference pages from the code
	@$(BIN)/python docs/reference_pages.py

pins: $(VENV)/.dev  ## Resolve the pinned versions anew
	@$(PIP) install uv
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras --group dev --group uwsgi \
	    --no-header --no-annotate --no-emit-index-url pyproject.toml -o $(PINS)

clean:  ## Remove everything that make has made
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else \
	    f"Fader needs Python 3.11 or newer, and {sys.executable} is {v[0]}.{v[1]}. Name another: make PYTHON=python3.12 …")'
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade -c $(PINS) pip

$(VENV)/.run: pyproject.toml $(PINS) | $(BIN)/python
	@echo "Installing Fader into $(VENV) …"
	@$(PIP) install -c $(PINS) -e '.[all]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(PINS) | $(BIN)/python
	@echo "Installing Fader and its development tools into $(VENV) …"
	@$(PIP) install -c $(PINS) -e '.[all]' --group dev
	@$(PIP) install -c $(PINS) --group uwsgi >/dev/null 2>&1 || echo "uWSGI did not build here (it needs a C compiler): its tests will be skipped."
	@touch $@ $(VENV)/.run
