"""Threads of torch: how many there are is a setting of each thread, and one of the process for new threads."""

import functools
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import torch

_settings = threading.Lock()  # held while that of the process is another one for a moment


def keep_thread_count():
    """Let this thread keep the number of threads that the process has now. It asks for it only once."""
    with _settings:
        return torch.get_num_threads()


def compute_in_threads(function, items, n_threads):
    """Return the results of a function for all items, computed by ``n_threads`` others.

    Torch's own threads split every small operation and wait for each other after it, which is slower. So is a
    future for each item.
    """
    if n_threads <= 1:
        return list(map(function, items))
    results, indices = [None] * len(items), iter(range(len(items)))

    def work():
        for i in indices:  # shared by all threads: each takes the next
            results[i] = function(items[i])

    for finished in [_workers(n_threads).submit(work) for _ in range(n_threads)]:
        finished.result()
    return results


@functools.cache
def _workers(n_threads):
    """Return threads that last as long as the process. All callers share them."""
    return ThreadPoolExecutor(n_threads, initializer=_compute_alone)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.cache_clear)  # a forked process has none of the threads


def _compute_alone():
    """Let torch compute in this thread alone. The others keep their number of threads."""
    with _settings:
        n_torch_threads = torch.get_num_threads()
        torch.set_num_threads(1)  # also for threads that start later, which a further thread sets back
        other = threading.Thread(target=torch.set_num_threads, args=(n_torch_threads,))
        other.start()
        other.join()
