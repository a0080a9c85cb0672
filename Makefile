# make run    sets everything up and starts the gateway with config.toml (sandbox) on 127.0.0.1:8080; CONFIG=FILE for another
# make test   sets everything up and passes all tests
# make check  lints and types
# make bench  prints the benchmark table

PYTHON ?= python3
CONFIG ?= config.toml
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
.PHONY: help run test check bench clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

$(VENV)/.made: scripts/venv.sh
	@PYTHON=$(PYTHON) bash scripts/venv.sh $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.made requirements.txt scripts/install.sh
	@bash scripts/install.sh $(VENV) requirements.txt "what the gateway needs"
	@bash scripts/command.sh $(VENV)
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.txt
	@bash scripts/install.sh $(VENV) requirements-dev.txt "what the tests need"
	@touch $@

var/tools/.chromium: scripts/chromium.sh
	@mkdir -p var/tools
	@bash scripts/chromium.sh
	@touch $@

var/tools/.postgresql: scripts/postgres.sh
	@mkdir -p var/tools
	@bash scripts/postgres.sh
	@touch $@

var/tools/.redis: scripts/redis.sh
	@mkdir -p var/tools
	@bash scripts/redis.sh
	@touch $@

run: $(VENV)/.runtime
	@$(BIN)/touchpoint serve --config $(CONFIG)

check: $(VENV)/.dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -c "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"

test: $(VENV)/.dev var/tools/.chromium var/tools/.postgresql var/tools/.redis
	$(BIN)/python -m pytest
	@bash scripts/on_stores.sh $(BIN)/python

bench: $(VENV)/.dev
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
