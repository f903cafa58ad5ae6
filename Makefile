# Each target sets up what it needs in .venv, from nothing; the second time there is nothing left to set up.

PYTHON ?= python3
VENV ?= .venv
CONFIG ?=
ARGS ?=
SECONDS ?= 60

BIN := $(VENV)/bin
SOURCES := gateway translations tests fuzz $(if $(wildcard bench/*.py),bench)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: run test check bench fuzz clean help

help:  ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: $(VENV)/.run  ## run the gateway; CONFIG=gateway.toml for a configuration
	$(BIN)/ocpp-gateway serve $(if $(CONFIG),-c $(CONFIG))

test: $(VENV)/.test  ## run the tests; ARGS="-k soap" and the like go to pytest
	$(BIN)/python -m pytest -rs $(ARGS)

check: $(VENV)/.check  ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --explicit-package-bases $(SOURCES)
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/.test  ## measure speed and memory; ARGS go to the bench
	$(BIN)/python -m bench $(ARGS)

fuzz: $(VENV)/.fuzz  ## look for input that breaks the translators; SECONDS=600 to look for longer at each
	@rm -f build/fuzz/*-crash-* build/fuzz/*-oom-* build/fuzz/*-timeout-* build/fuzz/*-leak-*
	@for target in soap frames; do \
	  echo "fuzz: $$target, $(SECONDS) s"; \
	  $(BIN)/python -m fuzz.$$target -max_total_time=$(SECONDS) $(ARGS) || { \
	    for found in $$(find build/fuzz -maxdepth 1 -type f -name "$$target-*-*"); do echo "fuzz: $$found, in base64:"; base64 $$found; done; \
	    echo "fuzz: once more with $(BIN)/python -m fuzz.$$target FILE"; exit 1; }; \
	done

clean:  ## remove what the targets made; data of the gateway stays
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "expected Python 3.11 or newer, got $$($(PYTHON) --version 2>&1); say make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo "expected the module venv; on Debian it is in the package python3-venv"; exit 1; }

$(VENV)/.run: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[test]'
	@touch $@ $(VENV)/.run

$(VENV)/.fuzz: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[fuzz]'
	@touch $@ $(VENV)/.run

$(VENV)/.check: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[test,check]'
	@touch $@ $(VENV)/.test $(VENV)/.run
