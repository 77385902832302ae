"""The allocator: keep freed memory between steps, instead of handing it back to the system."""

import contextlib
import ctypes
import os
import platform
import re
import threading

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt, see malloc.h
# Bytes. While memory is kept, nothing is handed back. Afterwards the thresholds are where glibc's own rule
# ends in a process that has freed large arrays. What they were before cannot be queried.
WHILE_KEPT = {TRIM_THRESHOLD: 2**31 - 1, MMAP_THRESHOLD: 2**30}
AFTERWARDS = {TRIM_THRESHOLD: 2**26, MMAP_THRESHOLD: 2**25}
_active: list[None] = []  # one entry per block in progress, in all threads: the thresholds are the process's
_lock = threading.Lock()


@contextlib.contextmanager
def keep_freed_memory():
    """Let the C library of Linux keep the memory that is freed inside the block.

    Steps of training allocate and free the same large arrays, whose pages the system would have to clear each
    time, which takes a tenth of the time. Free memory goes back when the last block ends. Does nothing with other
    C libraries, or if the environment sets the thresholds; those that the process itself has set are lost.
    """
    names = "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"
    tunables = re.search(r"malloc\.(trim|mmap)_threshold", os.environ.get("GLIBC_TUNABLES", ""))
    if platform.libc_ver()[0] != "glibc" or tunables or any(name in os.environ for name in names):
        yield
        return
    libc = ctypes.CDLL(None)
    with _lock:
        _active.append(None)
        for parameter, n_bytes in WHILE_KEPT.items():
            libc.mallopt(parameter, n_bytes)
    try:
        yield
    finally:
        with _lock:
            _active.pop()
            if not _active:
                for parameter, n_bytes in AFTERWARDS.items():
                    libc.mallopt(parameter, n_bytes)
                libc.malloc_trim(0)
