# Two commands matter: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?= -m "not slow"
# Several files of tests at a time, one process for each core; beyond four the processes that tests start crowd each other.
TOGETHER ?= -n auto --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench package clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(VENV)/.installed ## the whole platform with the demonstration data; Ctrl-C stops all of it
	@exec $(BIN)/teledossier demo

test: $(VENV)/.installed-test ## the tests but the slow ones (PYTEST_ARGS=: all; REQUIRE_PEERS=1: fail instead of skipping)
	$(BIN)/python -m pytest $(TOGETHER) $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-test ## benchmarks, by hand
	$(BIN)/python -m bench

package: $(VENV)/.installed ## the guide as a FHIR package file, in dist/
	$(BIN)/python -m profiles.packages.making.archive dist

clean: ## remove the environment, caches and the demonstration's data
	rm -rf $(VENV) var build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
