# Two commands: `make pretrain` and `make test`. Each makes what it needs, once.
#   VENV=path              use, or make, this environment
#   PYTHON=python3.12      the interpreter that a new environment is made with
#   SOLO_LEARN_PATH=path   a clone of vturrisi/solo-learn to use in place of the release on PyPI

VENV ?= .venv
PYTHON ?= python3
SOLO_LEARN_PATH ?=

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.solo_plugins-installed
DIGITS := --config-path scripts/pretrain/digits/ --config-name=rectified_lpjepa_digits.yaml
# What the tests would see: they are not run twice on the same files and release.
TREE = $(shell { git ls-files -co --exclude-standard -z | sort -z | xargs -0 sha1sum; echo $(SOLO_LEARN_PATH); } 2>/dev/null | sha1sum | cut -c1-16)
PASSED = $(VENV)/.passed-$(TREE)

export PYTHONPATH := $(if $(SOLO_LEARN_PATH),$(abspath $(SOLO_LEARN_PATH)):)$(PYTHONPATH)

.PHONY: install pretrain test retest torture notebook docs lint format coverage clean

install: $(INSTALLED)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# solo-learn's release pins packages of 2021 and is installed without them.
$(INSTALLED): $(BIN)/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dali,dev]'
	$(BIN)/python -m pip install --quiet --no-deps solo-learn==1.0.2
	touch $@

pretrain: $(INSTALLED)
	@$(BIN)/python main_pretrain.py $(DIGITS)

test: $(INSTALLED)
	@if [ -f $(PASSED) ]; then \
	  echo "The tests passed on these very files; 'make retest' runs them again."; \
	else $(MAKE) --no-print-directory retest; fi

# One thread each: side by side, the pools of torch only wait for each other.
retest: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8
	@touch $(PASSED)

# Kills at every write, random kills, full disks, 200,000 images, benchmarks at toy size: an hour.
torture: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 -m torture tests

# examples/rectified_lpjepa.ipynb from the .py beside it, run: two minutes
notebook: $(INSTALLED)
	$(BIN)/python .ci/notebook

# The site, in docs/_build/html
docs: $(INSTALLED)
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "The site: docs/_build/html/index.html"

lint: $(INSTALLED)
	$(BIN)/ruff check .
# a rule in preview: text files are UTF-8, whatever the locale says
	$(BIN)/ruff check -q --preview --select PLW1514 solo_plugins hydra_plugins main_*.py
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

coverage: $(INSTALLED)
	$(BIN)/python -m coverage erase
	OMP_NUM_THREADS=1 $(BIN)/python -m coverage run -m pytest -n auto --maxprocesses 8
	$(BIN)/python -m coverage combine -q
	$(BIN)/python -m coverage report

clean:
	rm -rf build dist docs/_build docs/method.ipynb *.egg-info .mypy_cache .pytest_cache .ruff_cache .coverage
