"""Threads sleep soon while they wait, and settings of the user are respected."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SETTINGS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
FILE = Path(__file__).parents[1] / "sklearn_cpc" / "_openmp.py"
BEGIN = f"import runpy; runpy.run_path({str(FILE)!r})"  # the beginning of importing the package
TORCH = Path(find_spec("torch").origin).parent / "lib"
# Torch's copy of the library reads its settings when torch loads it. To load it alone takes no seconds.
LOAD = next((f"import ctypes; ctypes.CDLL({str(path)!r})" for path in TORCH.glob("libgomp*")), "import torch")
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
    reported, printed = settings_after("import sklearn_cpc")
    assert "GOMP_SPINCOUNT = '1000'" in reported
    assert printed.endswith(": []\n")


@needs_gnu
def test_settings_of_the_user_are_respected():
    reported, printed = settings_after(f"{BEGIN}; {LOAD}", GOMP_SPINCOUNT="77")
    assert "GOMP_SPINCOUNT = '77'" in reported
    assert "'1000'" not in reported
    assert "GOMP_SPINCOUNT" in printed
    assert "'1000'" not in settings_after(f"{BEGIN}; {LOAD}", OMP_WAIT_POLICY="passive")[0]


@needs_gnu
def test_a_torch_that_is_there_already_is_left_alone():
    reported, _ = settings_after(f"import torch; {BEGIN}")
    assert "'1000'" not in reported
