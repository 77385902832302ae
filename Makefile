# Every target sets up a virtual environment in .venv on first use.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
WORKERS ?= auto
RUN = $(VENV)/bin/python

.PHONY: demo docs test test-cluster test-floors test-newest bench lint format clean

demo: $(VENV)/.installed  ## Train on a synthetic corpus; write a table and figures to results/quickstart
	$(RUN) examples/quickstart.py --epochs 12

# Networks of tests are small: processes with one thread each are faster than threads. WORKERS=0 is for debuggers.
test: $(VENV)/.installed  ## Run all tests, including doctests, or only TESTS="files", in WORKERS processes
	OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses=$(WORKERS) --maxprocesses=4 --dist=loadfile $(TESTS)

test-cluster: $(VENV)/.installed  ## Run the tests on Dask and Ray, which this installs (100 MB)
	$(RUN) -m pip install --quiet --constraint $(CONSTRAINTS) --editable ".[distributed]"
	OMP_NUM_THREADS=1 $(RUN) -m pytest tests/test_cluster.py tests/test_docs.py -k "cluster or dask or ray"

docs: $(VENV)/.installed  ## Build the site, docs/_build/html/index.html, and check its links; installs 100 MB at first
	$(RUN) -m pip install --quiet --constraint $(CONSTRAINTS) --editable ".[docs]"
	OMP_NUM_THREADS=1 $(RUN) -m sphinx --fail-on-warning --keep-going docs docs/_build/html
	$(RUN) docs/check_links.py docs/_build/html

test-floors:  ## Run all tests with the oldest releases that pyproject.toml allows
	$(MAKE) test VENV=.venv-floors CONSTRAINTS=constraints-floors.txt

test-newest:  ## Run all tests with the newest releases of everything but torch
	$(MAKE) test VENV=.venv-newest CONSTRAINTS=constraints-newest.txt

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
	rm -rf $(VENV) .venv-floors .venv-newest results build dist *.egg-info
	rm -rf docs/_build docs/api docs/gallery docs/sg_execution_times.rst
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --constraint $(CONSTRAINTS) --editable ".[dev]"
	touch $@
