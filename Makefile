# make run   create the environment, install, open the app
# make test  everything CI checks: style, types, import rules, tests
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
WORKERS ?= 2

.PHONY: run test check e2e bench clean

run: $(VENV)/.installed
	@$(BIN)/minimind-tui $(ARGS)

test: check
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

e2e: $(VENV)/.installed-dev
	$(BIN)/python -m pytest tests/e2e $(ARGS)

bench: $(VENV)/.installed
	$(BIN)/minimind bench $(ARGS)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "minimind-tui needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make run PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "$(PYTHON) cannot make a virtual environment: install its venv module (Debian: apt install python3-venv)" >&2; exit 2; }

# torch comes first and pinned: left to itself pip would fetch the newest CUDA build, several GB.
$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing (the first time takes a minute or two; PyTorch is the large part) …"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
