"""Timing: rivals that take turns in one process."""

import time


def best(rounds, in_a_row=1, **rivals):
    """Shortest time of each function, in seconds.

    They take turns, so that what else the machine does hits all of them, and the first round is to warm up. What
    is short is called several times in a row: threads of the one before go on waiting for work for a while.
    """
    times = {name: [] for name in rivals}
    for _ in range(rounds + 1):
        for name, function in rivals.items():
            for _ in range(in_a_row):
                start = time.perf_counter()
                function()
                times[name].append(time.perf_counter() - start)
    return {name: min(values[in_a_row:]) for name, values in times.items()}
