# `make repro` and `make test` do all the set-up; inside an activated environment `dvc repro` and `pytest` do as well.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
PORT ?= 5001
# Tests of as many modules at a time; each takes a core and two gigabytes.
WORKERS ?= 2
PYTEST = $(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile

.PHONY: repository repro test slow-test lint ui serve clean

repro: repository $(INSTALLED)
	PATH="$(abspath $(BIN)):$$PATH" dvc repro
	@$(BIN)/tandem compare
	@echo
	@echo "Look at the runs: make ui"

test: $(INSTALLED)
	PATH="$(abspath $(BIN)):$$PATH" $(PYTEST)

slow-test: $(INSTALLED)
	PATH="$(abspath $(BIN)):$$PATH" $(PYTEST) --no-loadscope-reorder -m slow --durations=25

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

ui: $(INSTALLED)
	$(BIN)/tandem ui

serve: $(INSTALLED)
	$(BIN)/tandem serve --port $(PORT)

repository:
	@git rev-parse --git-dir > /dev/null || { echo "DVC works in a git repository: run git init first, and commit the files before experiments" >&2; exit 2; }

$(INSTALLED): requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

clean:
	rm -rf $(VENV)
