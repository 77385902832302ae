"""Memory that is kept: inside the block what is freed stays, after it everything goes back."""

import ctypes
import platform
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from sklearn_cpc.training import loop as training
from sklearn_cpc.training.allocator import AFTERWARDS, WHILE_KEPT, keep_freed_memory
from sklearn_cpc.training.batches import TensorBatches

VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


class Library:
    """A C library that notes what it is told."""

    def __init__(self):
        self.sizes, self.calls = [], []

    def mallopt(self, parameter, size):
        self.sizes.append((parameter, size))

    def malloc_trim(self, pad):
        self.calls.append(pad)


@pytest.fixture
def library(monkeypatch):
    """One that stands in for glibc."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    library = Library()
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    return library


def test_memory_is_kept_inside_block_and_returned_after_it(library):
    with keep_freed_memory():
        assert library.sizes == list(WHILE_KEPT.items())
        assert not library.calls
    assert library.sizes[2:] == list(AFTERWARDS.items())
    assert library.calls == [0]


def test_error_ends_the_block(library):
    with pytest.raises(KeyboardInterrupt), keep_freed_memory():
        raise KeyboardInterrupt
    assert library.sizes[2:] == list(AFTERWARDS.items())
    assert library.calls == [0]


def test_outer_of_nested_blocks_returns_memory(library):
    with keep_freed_memory():
        for _ in range(2):
            with keep_freed_memory():
                pass
        assert set(library.sizes) == set(WHILE_KEPT.items())
        assert not library.calls
    assert library.sizes[-2:] == list(AFTERWARDS.items())
    assert library.calls == [0]


def test_last_block_of_two_threads_returns_memory(library):
    first, second = keep_freed_memory(), keep_freed_memory()
    with ThreadPoolExecutor(1) as other:
        first.__enter__()
        other.submit(second.__enter__).result()
        first.__exit__(None, None, None)
        assert set(library.sizes) == set(WHILE_KEPT.items())
        assert not library.calls
        other.submit(second.__exit__, None, None, None).result()
    assert library.sizes[-2:] == list(AFTERWARDS.items())
    assert library.calls == [0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MALLOC_TRIM_THRESHOLD_", "131072"),
        ("MALLOC_MMAP_THRESHOLD_", "131072"),
        ("GLIBC_TUNABLES", "glibc.malloc.check=1:glibc.malloc.mmap_threshold=4096"),
        ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=4096"),
    ],
)
def test_user_settings_are_respected(library, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with keep_freed_memory():
        pass
    assert not library.sizes + library.calls


def test_unrelated_tunables_are_ignored(library, monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=1")
    with keep_freed_memory():
        assert library.sizes


def test_other_c_libraries_are_left_alone(library, monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    with keep_freed_memory():
        pass
    assert not library.sizes + library.calls


PAGES = f"""
import os, resource

for name in {VARIABLES}:
    os.environ.pop(name, None)
from sklearn_cpc.training.allocator import keep_freed_memory

def pages_of_an_array(megabytes=200):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(megabytes * 2**20, dtype=torch.int8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(pages_of_an_array())
with keep_freed_memory():
    pages_of_an_array(201)
    print(pages_of_an_array())
print(pages_of_an_array())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries decide by themselves")
def test_large_array_reuses_memory_of_previous_one(run_anew, tmp_path):
    # In a process of its own: where the heap of this one has once been full, glibc maps large arrays anyhow. The
    # one before is larger, because where something lies behind it, its gap is too small for one of its own size.
    ended = run_anew(PAGES, tmp_path)
    assert ended.returncode == 0, ended.stderr
    before, inside, afterwards = map(int, ended.stdout.split())
    assert inside < before / 10
    assert inside < afterwards / 10


def test_training_keeps_memory(library):
    class Criterion(nn.Module):
        metrics = ()

        def forward(self, outputs, targets):
            seen.append(list(library.sizes))
            return (outputs - targets).square().mean(), {}

    seen = []
    batches = TensorBatches(torch.zeros(4, 3), torch.zeros(4, 1), 4)
    training.train(nn.Linear(3, 1), batches, Criterion(), max_epochs=1, lr=0.1)
    assert seen == [list(WHILE_KEPT.items())]
    assert library.sizes[2:] == list(AFTERWARDS.items())
