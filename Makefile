# Every target sets up a virtual environment in .venv on first use.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
WORKERS ?= auto
RUN = $(VENV)/bin/python
# PyPI's torch for Linux brings gigabytes of CUDA. TORCH_INDEX=https://pypi.org/simple takes it all the same.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
FOLDS ?= 3

.PHONY: demo docs test test-cluster test-floors test-newest wheel-check bench lint format clean

demo: $(VENV)/.installed  ## Train on a synthetic corpus; write a table and figures to results/quickstart. FOLDS=5 is all folds
	$(RUN) examples/quickstart.py --epochs 12 --folds $(FOLDS)

# Networks of tests are small: processes with one thread each are faster than threads. WORKERS=0 is for debuggers.
# Workers take the files in the order of tests/conftest.py, the slowest first.
test: $(VENV)/.installed  ## Run all tests, including doctests, or only TESTS="files", in WORKERS processes
	OMP_NUM_THREADS=1 $(RUN) -m pytest --numprocesses=$(WORKERS) --maxprocesses=4 --dist=loadfile --no-loadscope-reorder \
		$(TESTS)

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

wheel-check: $(VENV)/.installed  ## Build the distributions, install the wheel in an empty environment, and use it
	rm -rf dist $(VENV)-wheel
	$(RUN) -m build
	$(RUN) -m twine check --strict dist/*
	$(MAKE) $(VENV)-wheel/.torch VENV=$(VENV)-wheel
	$(VENV)-wheel/bin/python -m pip install --quiet --constraint $(CONSTRAINTS) dist/*.whl
	OMP_NUM_THREADS=1 $(VENV)-wheel/bin/python tests/use_installed.py

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
	rm -rf $(VENV) $(VENV)-wheel .venv-floors .venv-newest results build dist *.egg-info
	rm -rf docs/_build docs/api docs/gallery docs/sg_execution_times.rst
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Torch for CPUs: a file that pip is set up to find (find-links), or else that of TORCH_INDEX.
$(VENV)/.torch: $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --no-deps --constraint $(CONSTRAINTS) --no-index torch 2>/dev/null \
	|| $(RUN) -m pip install --quiet --no-deps --constraint $(CONSTRAINTS) --retries 1 --timeout 10 --index-url $(TORCH_INDEX) torch \
	|| echo "No torch from $(TORCH_INDEX). The next step takes PyPI's, on Linux with CUDA (gigabytes)."
	touch $@

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS) $(VENV)/.torch
	$(RUN) -m pip install --quiet --constraint $(CONSTRAINTS) --editable ".[dev]"
	touch $@
