# make demo    the main job: train and generate on an executor in another process
# make test    lint, types and tests with coverage, through tox
#
# Both create what they need and can be repeated. To choose (another Python: `make clean` first):
#   make demo PYTHON=python3.12 TORCH=torch==2.9.1
#   make demo TORCH=/path/to/a/cpu-build-of-torch.whl

PYTHON ?= python3
TORCH  ?= torch==2.13.0
VENV   ?= .venv

BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip --disable-pip-version-check install -q
NATIVE  := $(wildcard native/*/*)
# A torch, a Python: a stamp of their own each, so that a change of either installs anew.
CHOICE  := $(shell printf '%s' '$(PYTHON) $(TORCH)' | cksum | cut -d' ' -f1)
BUILT   := $(VENV)/stamps/built-$(CHOICE)
TOX     := $(VENV)/stamps/tox

.DEFAULT_GOAL := help
.PHONY: help build demo test lint type bench conformance clean

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile
	@echo "also: make build | lint | type | bench | conformance | clean"

build: $(BUILT)

demo: $(BUILT)
	$(BIN)/genie demo

test: $(TOX)
	$(BIN)/tox run

lint type conformance: $(TOX)
	$(BIN)/tox run -e $@

bench: $(BUILT)
	$(BIN)/genie bench capture
	$(BIN)/genie bench models

clean:
	rm -rf $(VENV) .tox build genie_remote.egg-info genie_core/_native*.so

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	    || { echo "Genie needs Python 3.10 or newer: make PYTHON=/path/to/python3.x"; exit 1; }
	@command -v $${CXX:-c++} >/dev/null || command -v g++ >/dev/null \
	    || { echo "Genie compiles an extension: install a C++ compiler (g++ or clang++)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(BUILT): $(NATIVE) setup.py pyproject.toml | $(BIN)/python
	@mkdir -p $(@D)
	$(PIP) "setuptools>=65.5" wheel ninja numpy
	$(PIP) $(TORCH)
	$(PIP) --no-build-isolation -e ".[demo]"
	@rm -f $(VENV)/stamps/built-* && touch $@

$(TOX): | $(BIN)/python
	@mkdir -p $(@D)
	$(PIP) "tox>=4.20"
	@touch $@
