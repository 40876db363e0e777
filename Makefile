# `make setup` builds .venv; every other target sees to that by itself. `make` alone lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MOVIE := demo/movie.mp4
INDEX := demo/movie.idx
UV := uv==0.13.9
PIP_AUDIT := pip-audit==2.10.1
QUIET := $(if $(MAKE_TERMOUT),,--quiet) # pip shows its progress to people only
# Idle threads sleep instead of spinning: other programs, and other tests, run meanwhile.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help setup demo test long lint format bench fuzz lock audit clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-8s %s\n", $$1, $$2 }'

setup: $(STAMP) ## make .venv and install chunkv2l into it, with the versions in constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 10) else "chunkv2l needs Python 3.10 or newer, \
	and this is %d.%d: name another one with `make PYTHON=python3.12 ...`." % v[:2])'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing chunkv2l and what it needs into $(VENV): some minutes the first time."
	$(BIN)/python -m pip install $(QUIET) --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(MOVIE) ## make a short movie, build its index, ask it three questions
	$(BIN)/chunkv2l build $(MOVIE) -o $(INDEX) --force
	$(BIN)/chunkv2l ask $(INDEX) "When is a red motorcycle in a garage?"
	$(BIN)/chunkv2l ask $(INDEX) "When is a cat looking around?"
	$(BIN)/chunkv2l ask $(INDEX) "What is on the wooden table?"

$(MOVIE): evaluation/movies/demo_movie.py | $(STAMP)
	$(BIN)/python -m evaluation demo-movie -o $@

test: $(STAMP) ## run the tests (the quick ones: some minutes on two cores)
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist loadfile

long: $(STAMP) ## run the long tests: real sizes, programs started as people start them, trainings, the page in Chromium
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist loadfile -m '(long or browser) and not gpu'

lint: $(STAMP) ## ruff and mypy --strict
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(STAMP) ## let ruff put the code in order
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(STAMP) ## measure the adapter algebra and injection against PEFT's
	$(BIN)/python -m evaluation bench

fuzz: $(STAMP) ## a minute of random input for each reader of files
	$(BIN)/python -m pytest -m fuzz

lock: $(STAMP) ## write requirements.lock: what constraints.txt says, and what builds the package, with hashes
	$(BIN)/python -m pip install $(QUIET) --disable-pip-version-check '$(UV)'
	$(BIN)/uv pip compile pyproject.toml --group build --all-extras --universal --python-version 3.10 --generate-hashes \
	-c constraints.txt --no-config --no-annotate --custom-compile-command 'make lock' --quiet -o requirements.lock

audit: $(STAMP) ## look for known faults of what requirements.lock names; asks the package index, so it needs a network
	$(BIN)/python -m pip install $(QUIET) --disable-pip-version-check '$(UV)'
	$(BIN)/uv tool run --from '$(PIP_AUDIT)' pip-audit --strict --require-hashes --disable-pip -r requirements.lock

clean: ## remove .venv, the demo and what tools left behind
	rm -rf $(VENV) demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
