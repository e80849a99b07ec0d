# Needs Python >= 3.11, make and a package index; everything else is installed into .venv.

# The first interpreter that really runs and is new enough (a version manager's shim may do neither).
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: help install demo test check bench lock clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

install: $(STAMP) ## .venv with the package, its commands and what demo and tests need

$(STAMP): requirements/all.lock pyproject.toml setup.py
	@test -n "$(PYTHON)" || \
	  { echo "Python >= 3.11 is needed; run: make PYTHON=/path/to/python3.11 install" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a minute or two at first)"
	$(PIP) install --require-hashes -r requirements/all.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

demo: install ## a scaled campaign among ordinary customers against a gateway (KEEP=1: leave it running)
	$(BIN)/hydragate demo $(if $(KEEP),--keep)

check: install ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy gateway tests
	$(BIN)/pytest tests/test_architecture.py

# Whole files go to the workers, so that what a file starts is started once. What each one starts
# asks for a core and some hundred megabytes: four at most.
TESTS ?= --numprocesses auto --maxprocesses 4 --dist loadfile

test: install check ## everything (PYTEST="tests/stores -x": what to run instead, in one process)
	$(BIN)/pytest $(or $(PYTEST),$(TESTS))

bench: install ## the benchmarks in loadtests/
	$(BIN)/python -m hydragate.loadtests.bench

lock: install ## refresh requirements/*.lock
	$(BIN)/python -m pip -q install uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header -q pyproject.toml -o requirements/runtime.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-emit-package pip -q --all-extras -c requirements/runtime.lock pyproject.toml -o requirements/all.lock

clean: ## remove what make made
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
