"""Shared fixtures. Also sets what scipy and Ray read from the environment when they are imported."""

import gc
import os
import signal
from pathlib import Path

os.environ["SCIPY_ARRAY_API"] = "1"
os.environ["RAY_TQDM_PATCH_PRINT"] = "0"  # or Ray replaces print, which then cannot be pickled, in later tests too

import pytest
from prepared import prepare

# The fixtures import what takes seconds, which the process that distributes tests to workers need not do.

SLOW_FILES = ["test_cluster", "test_docs", "training/test_distributed", "test_examples", "test_cpc", "test_faults"]
SLOW_FILES += ["test_benchmarks", "test_imports", "persistence/test_damage", "persistence/test_saving"]
SLOW_FILES += ["test_export", "audio/test_hostile", "test_hard_numbers", "test_evidence", "test_read_only"]
SLOW_FILES += ["test_common", "test_processes", "training/test_checkpoint", "training/test_loop", "test_notebook"]


def pytest_collection_modifyitems(items):
    """Begin with the slowest files, the slowest first: a worker that begins one last leaves the others idle."""
    order = {f"tests/{name}.py": number for number, name in enumerate(SLOW_FILES)}
    items.sort(key=lambda item: order.get(item.nodeid.partition("::")[0], len(order)))


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Collect no garbage during the imports, nor later among what they leave: that takes a sixth of the time."""
    gc.disable()
    try:
        collected = yield
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()
    return collected


@pytest.hookimpl(wrapper=True)
def pytest_collect_file():
    """Look for doctests in the package alone: to search all tests for some takes seconds."""
    collectors = yield
    return [collector for collector in collectors if type(collector) is pytest.Module]


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """One thread of torch: results repeat bit for bit, and tiny networks do not wait for each other."""
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture
def ctrl_c():
    """Let Ctrl-C raise, also where this process was started with it ignored, as in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Twelve recordings of one second at 8 kHz, of two classes, in three groups. Not to be changed."""
    from corpus import write_corpus

    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def run_anew():
    """Run code in a new process that has imported torch and scikit-learn, which takes seconds, and no more.

    This is a function of the code, the folder to run it in, and arguments. It returns exit code and output.
    """
    tests = Path(__file__).parent
    path = os.pathsep.join(map(str, (tests, tests.parent)))
    with prepare("import numpy, torch, sklearn.model_selection, sklearn.pipeline", PYTHONPATH=path) as run:
        yield run


@pytest.fixture
def narrow_networks(monkeypatch):
    """Give the recommended configurations narrow layers and two epochs, where a test checks that code runs."""
    from sklearn.base import clone

    from sklearn_cpc.configurations import CONFIGURATIONS

    narrow = {"encoder__n_filters": 16, "encoder__z_dim": 16, "autoregressor__c_dim": 16, "max_epochs": 2}
    for name in ("small-corpus", "speech"):
        monkeypatch.setitem(CONFIGURATIONS, name, clone(CONFIGURATIONS[name]).set_params(**narrow))
