"""Threads sleep soon while they wait, and settings of the user are respected."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sklearn_cpc

SETTINGS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
SHOW = "import os; print('left in the environment:', [name for name in os.environ if 'SPIN' in name])"
needs_gnu = pytest.mark.skipif(sys.platform != "linux", reason="needs the OpenMP library of GNU")


def settings_after(code, **environment):
    """Settings that the libraries of OpenMP in a new process report, and what the code prints."""
    own = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    command = [sys.executable, "-c", f"{code}; {SHOW}"]
    environment = {**own, "OMP_DISPLAY_ENV": "VERBOSE", **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stderr, done.stdout


@needs_gnu
def test_threads_sleep_soon_if_the_package_comes_before_torch():
    reported, printed = settings_after("from sklearn_cpc import Clip")
    assert "GOMP_SPINCOUNT = '1000'" in reported
    assert printed.endswith(": []\n")


@needs_gnu
def test_settings_of_the_user_are_respected():
    reported, printed = settings_after("from sklearn_cpc import Clip", GOMP_SPINCOUNT="77")
    assert "GOMP_SPINCOUNT = '77'" in reported
    assert "'1000'" not in reported
    assert "GOMP_SPINCOUNT" in printed
    assert "'1000'" not in settings_after("from sklearn_cpc import Clip", OMP_WAIT_POLICY="passive")[0]


@needs_gnu
def test_a_torch_that_is_there_already_is_left_alone():
    reported, _ = settings_after("import torch; from sklearn_cpc import Clip")
    assert "'1000'" not in reported


PACKAGE = Path(sklearn_cpc.__file__).parent


def imports(path):
    """Names of the modules that a file imports at its top, as they are written, in order."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ("_openmp" if alias.name == "_openmp" else node.module or "" for alias in node.names)


def imports_torch(path):
    return any(name.split(".")[0] in ("torch", "skorch") or name == "safetensors.torch" for name in imports(path))


@pytest.mark.parametrize("path", sorted(filter(imports_torch, PACKAGE.rglob("*.py"))), ids=lambda path: path.stem)
def test_whatever_imports_torch_has_its_settings_first(path):
    package = path.with_name("__init__.py")
    first = next(imports(path if path.parent == PACKAGE else package))
    assert first == "_openmp" or path.name == "_openmp.py"
