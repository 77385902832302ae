"""Memory that is kept between steps, instead of handed back to the system and asked for again."""

import contextlib
import ctypes
import os
import platform

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameters of mallopt, see malloc.h
# What to set them to, in bytes: so that nothing is handed back, and where glibc's own rule ends in a process that
# has freed large arrays. What they were cannot be asked.
KEPT = {TRIM_THRESHOLD: 2**31 - 1, MMAP_THRESHOLD: 2**30}
USUAL = {TRIM_THRESHOLD: 2**26, MMAP_THRESHOLD: 2**25}
_blocks: list[None] = []  # that have begun and not ended; of the whole process, as the thresholds are


@contextlib.contextmanager
def memory_kept():
    """Let the C library of Linux keep what is freed inside the block, for what is allocated there later.

    Steps of training take and free the same large arrays. Handed back in between, every page of 4 kB has to be
    asked for and cleared again, which takes a tenth of the time. What is free at the end is handed back; of blocks
    inside each other, or in several threads, by the last that ends.

    Does nothing with other C libraries, nor where the environment says how memory is to be kept. What a process
    has set by a call of its own is lost. In threads other than the first, less is kept.
    """
    if platform.libc_ver()[0] != "glibc" or said_by_user():
        yield
        return
    libc = ctypes.CDLL(None)
    _blocks.append(None)
    try:
        for parameter, size in KEPT.items():
            libc.mallopt(parameter, size)
        yield
    finally:
        _blocks.pop()
        if not _blocks:
            for parameter, size in USUAL.items():
                libc.mallopt(parameter, size)
            libc.malloc_trim(0)


def said_by_user():
    """Whether the environment sets either threshold of glibc."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return any(
        f"MALLOC_{name.upper()}_THRESHOLD_" in os.environ or f"glibc.malloc.{name}_threshold" in tunables
        for name in ("trim", "mmap")
    )
