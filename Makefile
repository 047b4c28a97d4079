# Needs Python 3.11+ and make; everything else is set up here, in .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo study test quick check format docs bench selftest clean

help: ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 18

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

setup: $(READY) ## make .venv with the pinned environment

demo: $(READY) ## the page of a finished study, and a sentence read token by token
	$(BIN)/emotion-circuits demo --open

study: $(READY) ## the baseline study of the three reference models, into ./results
	$(BIN)/emotion-circuits study

test: $(READY) ## the test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

quick: $(READY) ## the part of the suite that takes a minute or so
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --quick

check: $(READY) ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## let ruff format and fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY) ## the documentation as a site, into build/docs
	@$(BIN)/python -c 'import furo, myst_parser, sphinx' 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,docs]'
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs
	@echo build/docs/index.html

bench: $(READY) ## speed beside the ways people do it by hand, three tables
	$(BIN)/python benchmarks/extraction.py
	$(BIN)/python benchmarks/steering.py
	$(BIN)/python benchmarks/components.py

selftest: $(READY) ## does every method find what was planted, and nothing in noise?
	$(BIN)/emotion-circuits selftest

clean: ## remove the environment and caches (results stay)
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis
