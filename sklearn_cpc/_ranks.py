"""Ranks: the processes that train one network together, each on its own clips of every batch."""

import atexit
import contextlib
import os
import threading
import warnings
from multiprocessing import parent_process
from typing import Any

import torch
from torch import distributed
from torch.nn.functional import pad

MAX_GATHERED = 2**17  # numbers of all ranks that each of them gets, and adds up itself
this_thread = threading.local()


@contextlib.contextmanager
def set_in_thread(name, value):
    """Set an attribute of ``this_thread`` inside the block."""
    before = getattr(this_thread, name, None)
    setattr(this_thread, name, value)
    try:
        yield
    finally:
        setattr(this_thread, name, before)


def own_ranks():
    """Return the :class:`Ranks` that share the training in this thread, or None if it is not shared."""
    return getattr(this_thread, "ranks", None)


def run_once(function):
    """Call a function in one process of a training; all of them return its result, or raise its error."""
    ranks = own_ranks()
    return ranks.run(function, only_first=True)[0] if ranks else function()


@contextlib.contextmanager
def join_ranks(device):
    """Share the training in the block with the processes that a launcher started. Only the first of them warns."""
    if not distributed.is_initialized():
        if "WORLD_SIZE" not in os.environ or parent_process() is not None:
            raise ValueError(
                "distributed=True needs several processes that run the same script; start them with "
                "'python -m torch.distributed.run --nproc-per-node 2 script.py', and fit in none of their worker "
                "processes (n_jobs=None in a grid search). Or set distributed=False."
            )
        distributed.init_process_group()
        atexit.register(lambda: distributed.is_initialized() and distributed.destroy_process_group())
    if device.type == "cuda" and device.index is None:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    ranks = Ranks(distributed.new_group())
    try:
        with set_in_thread("ranks", ranks), warnings.catch_warnings():
            if ranks.rank:
                warnings.simplefilter("ignore")
            yield
    finally:  # closes the connections: ranks that wait for this one fail at once
        group, ranks.group = ranks.group, None
        distributed.destroy_process_group(group)


class Ranks:
    """The ranks of a training. All must call the same methods in the same order."""

    n_clips = first = last = 0  # clips of the batch; this rank has those from the first to before the last
    cut: Any = None  # maps numbers of clips of the batch to these clips
    clips = n_valid = None  # this rank's clips as they were cut, and the valid steps of all

    def __init__(self, group):
        self.group, self.rank, self.n_ranks = group, distributed.get_rank(), distributed.get_world_size()

    def share(self, n_clips, cut):
        """Cut this rank's clips of the next batch. ``cut`` maps some of the clips to them and all valid steps."""
        if n_clips < self.n_ranks:
            needs = f"distributed=True on {self.n_ranks} processes needs as many clips in every batch"
            raise ValueError(f"{needs}, got {n_clips}; use a larger batch_size or fewer processes.")
        self.n_clips = n_clips
        self.first, self.last = (n_clips * rank // self.n_ranks for rank in (self.rank, self.rank + 1))
        self.cut, (self.clips, self.n_valid) = cut, cut(slice(self.first, self.last))
        return self.clips, self.n_valid[self.first : self.last]

    def sum(self, *tensors):
        """Add tensors up over the ranks, and their gradients, in one message each."""
        sums = _Sum.apply(torch.cat([tensor.flatten() for tensor in tensors]), self)
        parts = sums.split([tensor.numel() for tensor in tensors])
        return [part.view(tensor.shape).to(tensor.dtype) for part, tensor in zip(parts, tensors, strict=True)]

    def gather(self, *tensors):
        """Return tensors with a row per clip of the batch, from each rank's with a row per own clip."""
        ends = self.first, self.n_clips - self.last
        return self.sum(*(pad(rows, [0, 0] * (rows.ndim - 1) + [*ends]) for rows in tensors))

    def take(self, clips, numbers):
        """Return clips of the batch, from each rank's. On a CPU, clips that are still as cut need no message."""
        if clips is self.clips and not numbers.is_cuda:  # a GPU would have to tell the numbers
            return self.cut(numbers.numpy())[0]
        return self.gather(clips)[0][numbers]

    def pick(self, z, clip, step, counts):
        """Return z of steps of clips of the batch, (n, dim), from each rank's, and the sum of counts."""
        row = clip - self.first
        is_own = (row >= 0) & (clip < self.last)
        return self.sum(torch.where(is_own[:, None], z[row.clamp(0, len(z) - 1), step], 0), counts)

    def run(self, function, *, only_first=False):
        """Call a function on every rank, and return all their results. If it fails on one, all raise."""
        result = error = message = None
        try:
            result = None if only_first and self.rank else function()
        except Exception as raised:
            error, message = raised, f"{type(raised).__name__}: {raised}"
        outcomes: list[Any] = [None] * self.n_ranks
        self.call(distributed.all_gather_object, outcomes, (result, message, function.__qualname__))
        if error is not None:
            raise error
        for rank, (_, message, called) in enumerate(outcomes):
            if message is not None:
                raise RuntimeError(f"rank {rank} failed, so all stop. Its error: {message}")
            if called != function.__qualname__:
                raise RuntimeError("a callback ended the training on some ranks alone; let all decide alike.")
        return [result if rank == self.rank else outcome[0] for rank, outcome in enumerate(outcomes)]

    def call(self, collective, *args):
        """Call a function of torch in which ranks meet."""
        try:
            collective(*args, group=self.group)
        except RuntimeError as error:
            lost = f"rank {self.rank} lost the others; one of them stopped, and may say why, or hangs ({error})."
            raise RuntimeError(lost) from error.with_traceback(None)  # which keeps the group open


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, ranks):
        ctx.ranks = ranks
        ctx.mark_dirty(values)
        if values.device.type == "cpu" and ranks.n_ranks * values.numel() <= MAX_GATHERED:  # gloo is faster so
            parts = [torch.empty_like(values) for _ in range(ranks.n_ranks)]
            ranks.call(distributed.all_gather, parts, values)
            return torch.sum(torch.stack(parts), 0, out=values)
        ranks.call(distributed.all_reduce, values)
        return values

    @staticmethod
    def backward(ctx, gradient):
        return ctx.ranks.sum(gradient)[0], None
