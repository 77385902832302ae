"""Timing: competitors that take turns in one process."""

import time


def best(rounds, in_a_row=1, **rivals):
    """Return the shortest time of each function in seconds.

    The functions take turns, so that other load on the machine affects all of them. The first round is a warm-up.
    Call short functions several times in a row, because threads of the previous function keep waiting for work for
    a while.
    """
    times = {name: [] for name in rivals}
    for _ in range(rounds + 1):
        for name, function in rivals.items():
            for _ in range(in_a_row):
                start = time.perf_counter()
                function()
                times[name].append(time.perf_counter() - start)
    return {name: min(values[in_a_row:]) for name, values in times.items()}
