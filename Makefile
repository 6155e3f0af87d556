# make run     make .venv, install naja into it, run a first container
# make test    the tests; those that need root or a program that is missing say so and are skipped
# make help    all targets

# Debian's own Python starts faster than one built elsewhere: more of its modules are built in.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3.11 /usr/bin/python3.12 /usr/bin/python3.13) python3)
VENV := .venv
NAJA := $(VENV)/bin/naja
BIN := $(VENV)/bin
# What the command is made of; the modules that it loads may change at any time.
COMMAND := runtime/startup/launcher.py runtime/startup/native/launcher.c runtime/startup/native/kernel.c runtime/startup/precompile.py runtime/startup/precompiled.py runtime/startup/strip.py
# Who is not root gets a container that needs no root.
ROOTLESS := $(if $(filter 0,$(shell id -u)),,--rootless)
ifdef ROOTLESS
# A user has this from logging in; su and containers leave it out.
export XDG_RUNTIME_DIR ?= $(CURDIR)/build/run
endif
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help install run test test-fast unit lint format hooks packages bench bench-start conformance engines crictl test-vm faults clean

help:
	@echo "make run          a first container, from this machine's own files"
	@echo "make install      $(NAJA), without running anything"
	@echo "make test         all tests (make unit: those that need no root)"
	@echo "make test-fast    unit tests, and integration tests of what has changed, in a minute"
	@echo "make lint         ruff, mypy --strict, the order of the imports"
	@echo "make hooks        have git check each commit (pre-commit)"
	@echo "make bench        naja, runc and crun, side by side"
	@echo "make bench-start  what each part of the fast start saves"
	@echo "make conformance  the validation programs of opencontainers/runtime-tools"
	@echo "make engines      containerd, Docker, Swarm, Podman, buildah with naja, runc, crun"
	@echo "make crictl       crictl for the tests that use it; needs Go, takes minutes"
	@echo "make test-vm      cgroup v2 and systemd, in a virtual machine"
	@echo "make faults       every system call fails, is delayed, or is the last; races (VERB=exec: of one command)"
	@echo "make clean        remove what these made"

# Debian keeps venv in a package of its own.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { \
	    test "$$(id -u)" = 0 && apt-get update && apt-get install --yes --no-install-recommends python3-venv && \
	    $(PYTHON) -m venv --clear $(VENV); }

# pip's script for naja is replaced by one that starts faster: see runtime/startup/launcher.py.
$(VENV)/.installed: pyproject.toml $(COMMAND) | $(BIN)/python
	$(PIP) --editable .
	$(BIN)/python -m naja.startup.launcher $(NAJA)
	touch $@

$(VENV)/.tools: pyproject.toml $(COMMAND) | $(BIN)/python
	$(PIP) --editable '.[test,lint]'
	$(BIN)/python -m naja.startup.launcher $(NAJA)
	touch $@ $(VENV)/.installed

install: $(VENV)/.installed

run: install
	@rm -rf demo
	@$(NAJA) delete --force demo
	$(NAJA) spec --host $(ROOTLESS) --bundle demo
	$(NAJA) run --bundle demo demo

# What the tests run in containers, and libseccomp; engines are for those who have them.
packages:
	@if test "$$(id -u)" = 0 && command -v apt-get > /dev/null && \
	    ! dpkg --status busybox-static libseccomp2 > /dev/null 2>&1; then \
	    apt-get update && apt-get install --yes --no-install-recommends busybox-static libseccomp2; fi

test: $(VENV)/.tools packages
	$(BIN)/python -m pytest

test-fast: $(VENV)/.tools packages
	$(BIN)/python -m tests.fast

unit: $(VENV)/.tools
	$(BIN)/python -m pytest tests/unit

lint: $(VENV)/.tools
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	MYPYPATH=hooks $(BIN)/mypy hooks/bridge.py hooks/lxcfs.py

hooks: $(VENV)/.tools
	$(BIN)/pre-commit install

format: $(VENV)/.tools
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/.tools packages
	$(BIN)/python -m conformance.bench

bench-start: $(VENV)/.tools packages
	$(BIN)/python -m conformance.bench_start

conformance: $(VENV)/.tools packages
	$(BIN)/python conformance/runtime_tools.py

engines: $(VENV)/.tools packages
	$(BIN)/python -m conformance.engines

crictl: build/crictl

build/crictl: | $(VENV)/.tools
	$(BIN)/python -m conformance.crictl $@

test-vm: $(VENV)/.tools packages
	$(BIN)/python tests/vm/run.py

# An hour on two quiet cores. OPTIONS are those of tests/faults/__main__.py.
faults: $(VENV)/.tools packages
	$(BIN)/python -m tests.faults $(addprefix --verb ,$(VERB)) $(OPTIONS)

clean:
	rm -rf $(VENV) build dist demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
