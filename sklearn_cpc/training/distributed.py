"""Distributed training: processes that a launcher started join, agree on what they train, and average gradients."""

import atexit
import contextlib
import os
import threading
import warnings
from multiprocessing import parent_process

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import distributed

from .._ranks import Ranks, own_ranks, run_once, use_ranks
from .checkpoint import list_changes, training_settings

N_COMPARED = 1024  # samples of each recording, to see whether ranks have the same
NOT_COMPARED = {"callbacks", "random_state"}  # may differ in what does not matter; the random numbers are shared
_in_use = threading.Lock()  # ranks meet in one training at a time


@contextlib.contextmanager
def join_ranks(wanted, device):
    """Let the training in the block be shared with the same one in the other processes that a launcher started.

    The first rank alone warns and shows progress. Leaving the block closes the connections.
    """
    if not wanted:
        yield
        return
    if not _in_use.acquire(blocking=False):
        raise RuntimeError("distributed=True trains one network at a time, but another thread is training one.")
    try:
        _connect()
        if device.type == "cuda" and device.index is None:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        ranks = Ranks(distributed.new_group())
        with contextlib.closing(ranks), use_ranks(ranks), warnings.catch_warnings():
            if ranks.rank:
                warnings.simplefilter("ignore")
            yield
    finally:
        _in_use.release()


def _connect():
    if distributed.is_initialized():
        return
    if "WORLD_SIZE" not in os.environ:
        raise ValueError(
            "distributed=True needs several processes that run the same script; start them with "
            "'python -m torch.distributed.run --nproc-per-node 2 script.py', or set distributed=False."
        )
    if parent_process() is not None:
        raise ValueError(
            "distributed=True in a worker process, which has no connection to the others; use n_jobs=None, in a "
            "grid search for example, or distributed=False."
        )
    distributed.init_process_group()
    atexit.register(_disconnect)


def _disconnect():
    if distributed.is_initialized():
        distributed.destroy_process_group()


def share_random(random):
    """Return random numbers that go on alike on all ranks: those of the first."""
    ranks = own_ranks()
    state = run_once(random.get_state)
    if ranks and ranks.rank:
        random = np.random.RandomState()
        random.set_state(state)
    return random


def plan_alike(estimator, plan):
    """Return the :class:`Task` that a function plans for an estimator; raise unless that of all ranks is the same."""
    ranks = own_ranks()
    if not ranks:
        return plan()
    task = ranks.run(plan, everywhere=True)
    parts = []
    for samples in task.batches.recordings:
        middle = len(samples) // 2
        parts.append(np.append(samples[middle : middle + N_COMPARED], len(samples)))
    settings = training_settings(estimator, task.network, parts)
    first = run_once(lambda: settings)

    def compare():
        if changes := list_changes(first, settings, NOT_COMPARED):
            raise ValueError(
                f"rank {ranks.rank} trains with other settings or recordings than rank 0 ({changes}); all "
                "processes need the same parameters and the same X, in the same order."
            )

    ranks.run(compare, everywhere=True)
    return task


class AddGradients(Callback):
    """Let all ranks take the same steps. Must be the first of the callbacks: others see what is the same on all."""

    def __init__(self, ranks):
        self.ranks = ranks

    def on_grad_computed(self, net, named_parameters, **_):
        """Add up the gradients: each rank has those of its part of the loss."""
        gradients = [weights.grad for _, weights in named_parameters if weights.grad is not None]
        replace(gradients, self.ranks.sum)

    def on_batch_end(self, net, **_):
        """Let the batch weigh as many clips as all ranks have of it."""
        net.history.record_batch("train_batch_size", self.ranks.n_clips)

    @torch.no_grad()
    def on_epoch_end(self, net, **_):
        """Replace the network's state by the first rank's: layers that average over their own clips have another."""
        state = [values for values in net.module_.state_dict().values() if values.is_floating_point()]
        replace(state, self.ranks.broadcast)


def replace(tensors, function):
    """Replace the numbers in tensors by a function of all of them in a row: one message rather than many."""
    numbers = function(torch.cat([values.flatten() for values in tensors]))
    for values, part in zip(tensors, numbers.split([values.numel() for values in tensors]), strict=True):
        values.copy_(part.view(values.shape))
