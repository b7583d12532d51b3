# Two commands do everything on a fresh machine with Python 3.11+ and make:
#   make demo   sets up, publishes and downloads real weights, leaves a hub running
#   make test   sets up, lints, and runs every test

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed-$(shell cksum < pyproject.toml | cut -d' ' -f1)
# Tests sync often: on a memory disk the same suite takes a fraction of the time. One lane stays
# on a real disk.
FAST_TMP := $(shell test -w /dev/shm && echo /dev/shm || echo $${TMPDIR:-/tmp})
JOBS   ?= 2
# uv brings certificates of its own; behind a company's proxy the system's are the right ones.
export UV_SYSTEM_CERTS ?= 1

.PHONY: setup demo stop-demo test lint fast crash clients slow format bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group dev --editable .
	touch $@

demo: setup
	$(BIN)/python -m demo

stop-demo:
	$(BIN)/python -m demo --stop

test: lint fast clients crash slow

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fast: setup
	TMPDIR=$(FAST_TMP) $(BIN)/pytest -n $(JOBS) -m "not slow and not crash and not clients"

clients: setup
	$(BIN)/python tests/clients/envs.py
	TMPDIR=$(FAST_TMP) $(BIN)/pytest -n $(JOBS) -m "clients and not slow"

# One at a time, on the real disk: it measures that a killed hub is ready within five seconds.
crash: setup
	$(BIN)/pytest -m "crash and not slow"

slow: setup
	TMPDIR=$(FAST_TMP) $(BIN)/pytest -m slow

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python bench/transfer.py

clean:
	-test -x $(BIN)/python && $(BIN)/python -m demo --stop
	rm -rf $(VENV) .venvs demo-data
