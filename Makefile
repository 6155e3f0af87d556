# make run     make .venv, install naja into it, run a first container
# make test    the tests; those that need root or a program that is missing say so and are skipped
# make help    all targets

# Debian's own Python starts faster than one built elsewhere: more of its modules are built in.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3.11 /usr/bin/python3.12 /usr/bin/python3.13) python3)
VENV := .venv
NAJA := $(VENV)/bin/naja
BIN := $(VENV)/bin
PREFIX ?= /usr/local
# What the command is made of: it has all modules in it, and goes without those that have changed since.
COMMAND := $(shell find runtime -name '*.py' -o -name '*.[ch]')
# Who is not root gets a container that needs no root.
ROOTLESS := $(if $(filter 0,$(shell id -u)),,--rootless)
ifdef ROOTLESS
# A user has this from logging in; su and containers leave it out.
export XDG_RUNTIME_DIR ?= $(CURDIR)/build/run
endif
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# With AGAIN=N, as in CI, up to N tests that fail beside others are run once more, alone.
PYTEST := $(if $(AGAIN),tests.again $(AGAIN),pytest)
# Writes the command; in which tier, see `make help`.
WRITE := $(BIN)/python -m naja.startup.launcher $(NAJA)
ifdef TIER
export NAJA_TIER := $(TIER)
endif
# Tests that tell most of a tier.
TELLING := $(addprefix tests/integration/test_,run.py exec.py lifecycle.py start.py seal.py descriptors.py births.py) \
    $(addprefix tests/unit/test_,early.py launcher.py imports.py)

.PHONY: help command install uninstall deb bare run test test-tiers test-fast unit lint format hooks packages bench bench-start conformance engines engines-next crictl containerd test-vm test-vm-engines faults clean

help:
	@echo "make run          a first container, from this machine's own files"
	@echo "make command      $(NAJA), without running anything"
	@echo "make install      a naja that stands alone, below PREFIX (/usr/local); DESTDIR is for packages"
	@echo "make uninstall    removes that"
	@echo "make deb          a Debian package in dist/, of Debian's Python and compiler"
	@echo "make bare         a first container, and the package, on a Debian with nothing but Python and make (OPTIONS=trixie)"
	@echo "make test         all tests (make unit: those that need no root)"
	@echo "make test-tiers   what tells most, with the command as without Python's headers (launcher) and without a compiler"
	@echo "                  (script); make test TIER=script: all tests with such a command"
	@echo "make test-fast    unit tests, and integration tests of what has changed, in a minute"
	@echo "make lint         ruff, mypy --strict, the order of the imports"
	@echo "make hooks        have git check each commit (pre-commit)"
	@echo "make bench        naja, runc and crun, side by side (OPTIONS=--help: pictures, JSON, hundreds of containers)"
	@echo "make bench-start  what each part of the fast start saves"
	@echo "make conformance  the validation programs of opencontainers/runtime-tools (OPTIONS=--compare: naja, crun, runc)"
	@echo "make engines      containerd, Docker, Swarm, Podman, buildah with naja, runc, crun"
	@echo "make engines-next the same with the engines of Debian 13, in a root made by debootstrap (OPTIONS=--brief: faster)"
	@echo "make crictl       crictl for the tests that use it; needs Go, takes minutes"
	@echo "make containerd   containerd 2.1, with which engines-next plays once more; needs Go, takes minutes"
	@echo "make test-vm      cgroup v2 and systemd, in a virtual machine (make test-vm-engines: Docker, Podman, ctr with systemd)"
	@echo "make faults       every system call fails, is delayed, or is the last; races (VERB=exec: of one command)"
	@echo "make clean        remove what these made"

# Made from the beginning where the last try did not come to its end: the Python in it is there before pip is. Debian
# keeps venv in a package of its own.
$(VENV)/.made:
	test -e $(VENV)/.packages || $(PYTHON) -m venv --clear $(VENV) || { \
	    test "$$(id -u)" = 0 && apt-get update && apt-get install --yes --no-install-recommends python3-venv && \
	    $(PYTHON) -m venv --clear $(VENV); } || { \
	    echo "$(VENV) cannot be made: is Python's venv installed (python3-venv)?" >&2; rm -rf $(VENV); exit 1; }
	touch $@

# While pip is at work $(VENV) counts as not made: what it leaves when it is killed it cannot mend.
pip = cd $(VENV) && rm -f .made && { test ! -e .packages || mv .packages .before; } && cd .. && \
    { $(PIP) --editable $(1); status=$$?; cd $(VENV) && test $$status -lt 128 && touch .made && \
    { test ! -e .before || mv .before .packages; }; exit $$status; }

comma := ,

# pip's script for naja is replaced by one that starts faster: see runtime/startup/launcher.py.
$(VENV)/.packages: pyproject.toml | $(VENV)/.made
	$(call pip,'.[systemd]')
	touch $@

$(VENV)/.test-packages: pyproject.toml | $(VENV)/.made
	$(call pip,'.[test$(comma)lint]')
	touch $@ $(VENV)/.packages

$(VENV)/.command: $(VENV)/.packages $(COMMAND)
	$(WRITE)
	touch $@

$(VENV)/.tools: $(VENV)/.test-packages $(VENV)/.command
	touch $@

command: $(VENV)/.command

install: $(VENV)/.packages
	$(BIN)/python -B -m installation.tree --prefix "$(PREFIX)" --destdir "$(DESTDIR)"

uninstall: $(VENV)/.packages
	$(BIN)/python -B -m installation.tree --remove --prefix "$(PREFIX)" --destdir "$(DESTDIR)"

deb: $(VENV)/.packages
	$(BIN)/python -B -m installation.debian $(OPTIONS)

run: command
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
	$(if $(TIER),$(WRITE))
	$(BIN)/python -m tests.all $(OPTIONS); status=$$?; $(if $(TIER),NAJA_TIER= $(WRITE);) exit $$status

test-tiers: $(VENV)/.tools packages
	status=0; for tier in launcher script; do \
	    echo "as a $$tier:"; export NAJA_TIER=$$tier; \
	    $(WRITE) && $(BIN)/python -m $(PYTEST) -q -n 2 --dist loadfile $(TELLING) || status=1; done; \
	    NAJA_TIER= $(WRITE); exit $$status

test-fast: $(VENV)/.tools packages
	$(BIN)/python -m tests.fast

unit: $(VENV)/.tools
	$(BIN)/python -m pytest tests/unit

lint: $(VENV)/.tools
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	MYPYPATH=hooks $(BIN)/mypy hooks/bridge.py hooks/cni.py hooks/lxcfs.py

hooks: $(VENV)/.tools
	$(BIN)/pre-commit install

format: $(VENV)/.tools
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/.tools packages
	$(BIN)/python -m conformance.bench $(OPTIONS)

bench-start: $(VENV)/.tools packages
	$(BIN)/python -m conformance.bench_start

conformance: $(VENV)/.tools packages
	$(BIN)/python conformance/runtime_tools.py $(OPTIONS)

engines: $(VENV)/.tools packages
	$(BIN)/python -m conformance.engines $(OPTIONS)
	NAJA_KILLS=100 $(BIN)/python -m pytest tests/engines/test_shim.py -k random

engines-next: $(VENV)/.tools
	$(BIN)/python -m conformance.engines_next $(OPTIONS)

bare: $(VENV)/.packages
	$(BIN)/python -m conformance.bare $(OPTIONS)

crictl: build/crictl

build/crictl: | $(VENV)/.tools
	$(BIN)/python -m conformance.crictl $@

containerd: build/containerd/containerd

build/containerd/containerd: | $(VENV)/.tools
	$(BIN)/python -m conformance.containerd $(@D)

test-vm: $(VENV)/.tools packages
	$(BIN)/python tests/vm/run.py

test-vm-engines: $(VENV)/.tools packages
	$(BIN)/python tests/vm/run.py --variant systemd -- $(BIN)/python -m $(PYTEST) tests/vm/test_vm_engines.py

# An hour on two quiet cores. OPTIONS are those of tests/faults/__main__.py.
faults: $(VENV)/.tools packages
	$(BIN)/python -m tests.faults $(addprefix --verb ,$(VERB)) $(OPTIONS)

clean:
	rm -rf $(VENV) build dist demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
