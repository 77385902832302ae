"""Memory that is kept: what it takes that memory goes back to the system between steps."""

import contextlib
import json
import resource
import statistics
import subprocess
import sys
import time

import torch
from training import CONFIGURATIONS, step_of

from sklearn_cpc import make_cpc
from sklearn_cpc.training.allocator import memory_kept
from sklearn_cpc.training.device import resolve_precision

WAYS = {"handed back": contextlib.nullcontext, "kept": memory_kept}
STEPS = 8


def bench_allocator(rounds):
    """A step of training where memory is kept for the next one, as in `fit` and `transform`, and where it is not.

    Every step takes and frees the same large arrays. In between, the C library of Linux gives some of them back to
    the system, which then clears and hands out every page of 4 kB anew. `fit` and `transform` tell it not to, for
    as long as they run; what is free then goes back. They leave it alone where the environment sets
    `MALLOC_TRIM_THRESHOLD_`, `MALLOC_MMAP_THRESHOLD_`, or the same in `GLIBC_TUNABLES`. Medians of processes that
    take turns, of 8 steps each.
    """
    for name in CONFIGURATIONS:
        runs = {how: [] for how in WAYS}
        for _ in range(rounds):
            for how in WAYS:
                runs[how].append(in_a_process(name, how))
        seconds, pages = ({how: medians(runs[how])[i] for how in runs} for i in range(2))
        yield {
            "configuration": name,
            "step, memory handed back (s)": seconds["handed back"],
            "kept (s)": seconds["kept"],
            "handed back / kept": seconds["handed back"] / seconds["kept"],
            "pages handed out in a step": pages["handed back"],
            "where memory is kept": pages["kept"],
        }


def medians(runs):
    """Medians of the columns of a table."""
    return [float(statistics.median(column)) for column in zip(*runs, strict=True)]


def in_a_process(name, how):
    """Seconds of a step and pages that the system hands out in it, in a process of its own."""
    command = [sys.executable, __file__, name, how]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def take_steps(name):
    """Take some steps; returns the seconds of one and the pages that were handed out in it."""
    step, *_ = step_of(make_cpc(name), resolve_precision("auto", torch.device("cpu")))
    times = []
    for number in range(3 + STEPS):
        if number == 3:  # the first ones warm up
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times[3:]), (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / STEPS


if __name__ == "__main__":
    with WAYS[sys.argv[2]]():
        print(json.dumps(take_steps(sys.argv[1])))
