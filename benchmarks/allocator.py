"""The allocator: what it takes that memory goes back to the system between steps."""

import json
import os
import resource
import statistics
import subprocess
import sys
import time

import torch
from training import CONFIGURATIONS, step_of

from sklearn_cpc import make_cpc
from sklearn_cpc.nn.device import resolve_precision

KEEPING = {"MALLOC_TRIM_THRESHOLD_": "2147483647", "MALLOC_MMAP_THRESHOLD_": "1073741824"}  # bytes
STEPS = 8


def bench_allocator(rounds):
    """A step of training as it is, and where glibc keeps memory for the next one.

    Every step takes and frees the same large arrays. In between, the C library of Linux gives some of them back to
    the system, which then hands out every page of 4 kB anew, or not: it depends on what lies where. With

        MALLOC_TRIM_THRESHOLD_=2147483647 MALLOC_MMAP_THRESHOLD_=1073741824 python train.py

    it keeps them. Medians of processes that take turns, of 8 steps each.
    """
    for name in CONFIGURATIONS:
        runs = {"as it is": [], "kept": []}
        for _ in range(rounds):
            for how, environ in zip(runs, ({}, KEEPING), strict=True):
                runs[how].append(in_a_process(name, environ))
        seconds, pages = ({how: medians(runs[how])[i] for how in runs} for i in range(2))
        yield {
            "configuration": name,
            "step (s)": seconds["as it is"],
            "with memory kept (s)": seconds["kept"],
            "as it is / kept": seconds["as it is"] / seconds["kept"],
            "pages handed out in a step": pages["as it is"],
            "with memory kept": pages["kept"],
        }


def medians(runs):
    """Medians of the columns of a table."""
    return [float(statistics.median(column)) for column in zip(*runs, strict=True)]


def in_a_process(name, environ):
    """Seconds of a step and pages that the system hands out in it, in a process with these variables."""
    command = [sys.executable, __file__, name]
    process = subprocess.run(command, env=os.environ | environ, capture_output=True, text=True, check=True)
    return json.loads(process.stdout)


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
    print(json.dumps(take_steps(sys.argv[1])))
