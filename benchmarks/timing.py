"""Timing: rivals that take turns in one process."""

import time


def best(rounds, **rivals):
    """Shortest time of each function, in seconds.

    They take turns, so that what else the machine does hits all of them, and the first round is to warm up.
    """
    times = {name: [] for name in rivals}
    for _ in range(rounds + 1):
        for name, function in rivals.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: min(values[1:]) for name, values in times.items()}
