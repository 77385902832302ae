# Every target sets up a virtual environment in .venv on first use.
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python

.PHONY: demo test bench lint format clean

demo: $(VENV)/.installed  ## Train on a synthetic corpus; write a table and figures to results/quickstart
	$(RUN) examples/quickstart.py

test: $(VENV)/.installed  ## Run all tests, including doctests
	$(RUN) -m pytest

bench: $(VENV)/.installed  ## Measure speed and memory; write benchmarks/results/latest.json and docs/speed.md
	$(RUN) benchmarks/run.py --page docs/speed.md

lint: $(VENV)/.installed  ## Check style and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(VENV)/.installed  ## Format the code
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

clean:
	rm -rf $(VENV) results build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
