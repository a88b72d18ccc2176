# audiosocket_agent: `make help` lists what there is.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
export PYTHONDONTWRITEBYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help setup run test demo cover evals bench bench-quick bench-full bench-hold bench-heard bench-ops bench-compare chaos soak hour check test-pbx fuzz release-check install lock docs clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.runtime ## Create .venv with .venv/bin/audiosocket-agent

run: setup ## Take calls on 9092 (metrics on 9100); without a key, by the embedded echo
	@$(BIN)/audiosocket-agent serve

demo: setup ## Service, simulator and one call on free ports; shows the call, leaves heard.wav
	@$(BIN)/python -m audiosocket_agent.lab.demo $(if $(PLAIN),--plain)

test: $(VENV)/.dev ## The whole suite that needs no root
	$(BIN)/pytest -m "not pbx" tests

PURE := tests/test_wire.py tests/test_errors.py tests/audio tests/call
cover: $(VENV)/.dev ## The pure layers, every branch of them by their own tests
	$(BIN)/pytest -q $(PURE) --cov=audiosocket_agent.wire --cov=audiosocket_agent.errors \
	  --cov=audiosocket_agent.audio --cov=audiosocket_agent.call --cov-branch \
	  --cov-report=term-missing:skip-covered --cov-fail-under=100

evals: $(VENV)/.dev ## Scripted calls of the shipped agents, or of AGENT=npcl; with Gemini by EVALS_LIVE=1
	@$(BIN)/python -m tests.evals $(AGENT)

CAPACITY = $(BIN)/python -m tests.bench.capacity
RUNS ?=
TIMES = $(if $(RUNS),--runs $(RUNS))
bench: $(VENV)/.dev ## What 1 to 250 calls cost and notice, beside the leanest bridge: 5 minutes, two cores
	$(CAPACITY) bench $(TIMES) --json $(if $(WRITE),tests/bench/bench.json,build/bench.json)

bench-quick: $(VENV)/.dev ## The same for 100 calls: a minute; WRITE=1 for the README
	$(CAPACITY) quick $(TIMES) --json $(if $(WRITE),tests/bench/quick.json,build/bench-quick.json)

bench-full: $(VENV)/.dev ## Every path and 300 calls: 18 minutes, and as much again for each of RUNS=3
	$(CAPACITY) full $(TIMES) --json build/bench-full.json

HOLD ?= 30
bench-hold: $(VENV)/.dev ## 100 calls held for HOLD=30 minutes: memory per call
	$(CAPACITY) hold --minutes $(HOLD) --json build/bench-hold.json

bench-heard: $(VENV)/.dev ## What a single caller notices, in milliseconds, and calls announced by the dialplan
	$(BIN)/python -m tests.bench.figures
	$(BIN)/python -m tests.bench.announce

bench-ops: $(VENV)/.dev ## What is done for each frame, one operation at a time (pytest-benchmark)
	$(BIN)/pytest tests/bench/ops --benchmark-enable --benchmark-max-time=0.5 \
	  --benchmark-disable-gc --benchmark-columns=min,median,iqr,rounds --benchmark-sort=fullname

REV ?= HEAD^
bench-compare: $(VENV)/.dev ## The same in instructions, beside those of REV=HEAD^; 10 % more is a failure
	@$(BIN)/python -m tests.bench.ops.compare "$(REV)"

check: $(VENV)/.dev ## ruff, mypy --strict, and the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_layers.py

test-pbx: $(VENV)/.dev ## Real Asterisk 22 with real callers (root, Debian)
	tests/pbx/rootfs.sh
	tests/deploy/packages.sh
	$(BIN)/pytest -m pbx tests

CALLS ?=
chaos: $(VENV)/.dev ## Every fault there is, CALLS=5 calls each, judged at the caller's ear; WRITE=1 for the README
	$(BIN)/python -m tests.chaos --calls $(or $(CALLS),5) $(if $(WRITE),--write) $(FAULT)

MINUTES ?= 5
soak: $(VENV)/.dev ## CALLS=20 calls at a time for MINUTES=5: slopes of memory, tasks and files
	$(BIN)/python -m tests.chaos.soak --minutes $(MINUTES) --calls $(or $(CALLS),20)

hour: $(VENV)/.dev ## Connections that end: six of 12 s, or HOUR=1 with the whole hour
	$(BIN)/python -m tests.chaos.hour $(if $(HOUR),--limit 600 --left 60)

SECONDS ?= 60
fuzz: $(VENV)/.fuzz ## Fuzz AudioSocket, AGI, AMI and HTTP for SECONDS=60 each
	@mkdir -p build/fuzz/wire build/fuzz/agi build/fuzz/ami build/fuzz/http
	$(FUZZ)_wire.py -max_len=4096 $(FUZZED)/wire tests/fuzz/corpus/wire
	$(FUZZ)_agi.py -max_len=4096 $(FUZZED)/agi tests/fuzz/corpus/agi
	$(FUZZ)_ami.py -max_len=32768 $(FUZZED)/ami tests/fuzz/corpus/ami
	$(FUZZ)_http.py -max_len=8192 $(FUZZED)/http tests/fuzz/corpus/http
FUZZ := $(BIN)/python tests/fuzz/fuzz
FUZZED = -max_total_time=$(SECONDS) -artifact_prefix=build/fuzz/ build/fuzz

release-check: $(VENV)/.dev build/release-tools/.done ## Audit, licences, SBOM, lock files, contents of wheel and sdist (OFFLINE=1)
	@$(BIN)/python -m tests.release

install: ## Install venv, unit, configuration and user under DESTDIR and PREFIX
	deploy/install.sh

docs: $(VENV)/.dev ## Write the generated tables of the README, and the unit of many instances
	$(BIN)/python -m tests.docs --write
	$(BIN)/python -m tests.deploy.template --write

lock: ## Renew the lock files (needs uv)
	uv pip compile pyproject.toml --extra postgres --group build $(LOCK) -o requirements.lock
	uv pip compile --group dev -c requirements.lock $(LOCK) -o tests/requirements.lock
	uv pip compile --group fuzz $(LOCK) -o tests/fuzz/requirements.lock
	uv pip compile --group release $(LOCK) -o tests/release.lock
LOCK := --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet

clean: ## Remove what was built
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage heard.wav

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/it"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo "no venv: on Debian, apt-get install python3-venv"; exit 1; }

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-build-isolation --no-deps -e .
	@touch $@

$(VENV)/.dev: tests/requirements.lock $(VENV)/.runtime
	$(PIP) install --require-hashes -r tests/requirements.lock
	@touch $@

$(VENV)/.fuzz: tests/fuzz/requirements.lock $(VENV)/.dev
	$(PIP) install --require-hashes -r tests/fuzz/requirements.lock
	@touch $@

build/release-tools/.done: tests/release.lock | $(VENV)/bin/python
	$(PYTHON) -m venv build/release-tools
	build/release-tools/bin/python -m pip --disable-pip-version-check -q install --require-hashes -r $<
	@touch $@
