# The commands of this project. `make` alone prints them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name) 2>/dev/null)))
BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
INPUT ?=
PROMPT ?=
MODEL ?=
OUT ?= out
NAME ?= inflate
# tests wait for programs a quarter of the time: three processes for two cores, six at most
TESTERS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); n=$$((n + n / 2)); echo $$((n > 6 ? 6 : n)))

help: ## print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.13 found. Install one, or set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else "Python %d.%d found, 3.11 to 3.13 needed: set PYTHON=/path/to/python3.11" % v)'
	$(PYTHON) -m venv .venv

.venv/.runs: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing Pipeline3D into .venv (once; a minute or two) ..."
	$(PIP_INSTALL) --editable .
	@$(BIN)/python -m compileall -q pipeline3d resources
	@touch $@

.venv/.tests: .venv/.runs
	$(PIP_INSTALL) --editable '.[test]'
	@touch $@

.venv/.lints: .venv/.tests
	$(PIP_INSTALL) --editable '.[test,lint]'
	@touch $@

# Every process of ours that starts would compile our modules anew where the environment forbids to keep them.
demo up doctor: export PYTHONDONTWRITEBYTECODE :=
demo: .venv/.runs ## start what a request needs, turn a photo into a GLB, stop; INPUT=photo.jpg, PROMPT="a mug", MODEL=...
	@$(BIN)/pipeline3d demo $(if $(INPUT),--input "$(INPUT)") $(if $(PROMPT),--prompt "$(PROMPT)") \
		$(if $(MODEL),--model "$(MODEL)") --out "$(OUT)"

up: .venv/.runs ## start everything and stay; Ctrl-C stops
	@exec $(BIN)/pipeline3d up

doctor: .venv/.runs ## check every service and say what to do
	@$(BIN)/pipeline3d doctor

# One thread in each process: more of numpy or torch wait for each other at full speed. Hundreds of
# processes of ours are started, so compiled modules are kept even where the environment says otherwise.
test: export OMP_NUM_THREADS := 1
test: export OPENBLAS_NUM_THREADS := 1
test: export PYTHONDONTWRITEBYTECODE :=
# what rembg would compile for a minute runs as it is: its inputs are small here
test: export NUMBA_DISABLE_JIT := 1
test: .venv/.tests ## run the tests against real servers
	-@$(BIN)/python -m pipeline3d_tests.browser_package
	$(BIN)/python -m pytest -n $(TESTERS) --dist loadfile --no-loadscope-reorder

lint: .venv/.lints ## style, types, import rules; changes nothing
	$(BIN)/pre-commit run --all-files

fix: .venv/.lints ## what lint can mend by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.tests ## run a benchmark: NAME=inflate
	$(BIN)/python -m benchmarks.$(NAME)

gallery: .venv/.runs ## make the README's pictures anew
	$(BIN)/python docs/gallery.py

lock: $(BIN)/python ## renew constraints.txt from the ranges in pyproject.toml
	$(BIN)/python .ci/lock.py

.PHONY: help demo up doctor test lint fix bench gallery lock
