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
# One more than the cores of a small machine: many tests wait for a server, a retry, a deadline.
JOBS   ?= 3
# uv brings certificates of its own; behind a company's proxy the system's are the right ones.
export UV_SYSTEM_CERTS ?= 1
# Hundreds of tests start a process: without compiled modules each start takes three times as long.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: setup demo stop-demo test lint fast s3 crash clients format bench clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --group dev --editable .
	touch $@

demo: setup
	$(BIN)/python -m demo

stop-demo:
	$(BIN)/python -m demo --stop

test: lint fast s3 clients crash

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fast: setup
	TMPDIR=$(FAST_TMP) $(BIN)/pytest -n $(JOBS) -m "not slow and not crash and not clients and not s3"

# The store's tests once more, with every blob in a bucket of a real S3 server (Ceph's radosgw,
# started and stopped by them; skipped, with the reason, where it is not installed).
s3: setup
	HEADWATER_TEST_STORE=s3 TMPDIR=$(FAST_TMP) $(BIN)/pytest -n $(JOBS) tests/store

# And what takes minutes for itself, on a core that the clients leave.
clients: setup
	$(BIN)/python tests/clients/envs.py
	TMPDIR=$(FAST_TMP) $(BIN)/pytest -n $(JOBS) -m "clients or slow"

# On the real disk: what it kills must find its bytes there.
crash: setup
	$(BIN)/pytest -n $(JOBS) -m "crash and not slow"

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python bench/transfer.py

clean:
	-test -x $(BIN)/python && $(BIN)/python -m demo --stop
	rm -rf $(VENV) .venvs demo-data
