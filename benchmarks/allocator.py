"""Freed memory: what it costs to return it to the system between steps."""

import contextlib
import json
import resource
import statistics
import subprocess
import sys
import time

import torch
from training import CONFIGURATIONS, make_step

from sklearn_cpc import make_cpc
from sklearn_cpc.training.allocator import keep_freed_memory
from sklearn_cpc.training.device import resolve_precision

MODES = {"returned": contextlib.nullcontext, "kept": keep_freed_memory}
STEPS = 8


def bench_allocator(rounds):
    """A training step that keeps freed memory, as `fit` and `transform` do, against one that returns it.

    Every step allocates and frees the same large arrays. In between, the C library of Linux returns some of them
    to the system, which must clear every 4 kB page again before the next step gets it. `fit` and `transform`
    prevent this while they run, and return the free memory at the end. They change nothing if the environment sets
    `MALLOC_TRIM_THRESHOLD_`, `MALLOC_MMAP_THRESHOLD_`, or the same in `GLIBC_TUNABLES`. Processes with and without
    this take turns; the table shows medians over processes of 8 steps each.
    """
    for name in CONFIGURATIONS:
        runs = {mode: [] for mode in MODES}
        for _ in range(rounds):
            for mode in MODES:
                runs[mode].append(run_in_subprocess(name, mode))
        seconds, pages = ({mode: medians(runs[mode])[i] for mode in runs} for i in range(2))
        yield {
            "configuration": name,
            "step, memory returned (s)": seconds["returned"],
            "step, memory kept (s)": seconds["kept"],
            "returned / kept": seconds["returned"] / seconds["kept"],
            "page faults per step, memory returned": pages["returned"],
            "page faults per step, memory kept": pages["kept"],
        }


def medians(runs):
    """Medians of the columns of a table."""
    return [float(statistics.median(column)) for column in zip(*runs, strict=True)]


def run_in_subprocess(name, mode):
    """Return the seconds and the page faults of a step, measured in a new process."""
    command = [sys.executable, __file__, name, mode, str(STEPS)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def time_steps(name, n_steps):
    """Run some steps; return the seconds and the page faults of one step."""
    step, *_ = make_step(make_cpc(name), resolve_precision("auto", torch.device("cpu")))
    times = []
    for number in range(3 + n_steps):
        if number == 3:  # the first steps warm up
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times[3:]), (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / n_steps


if __name__ == "__main__":
    with MODES[sys.argv[2]]():
        print(json.dumps(time_steps(sys.argv[1], int(sys.argv[3]))))
