"""Ranks: the processes that train one network together, each on its own clips of every batch."""

import contextlib
import threading

import torch
from torch import distributed
from torch.nn.functional import pad

_this_thread = threading.local()


def own_ranks():
    """Return the :class:`Ranks` that the training in this thread is shared by, or None if it is not shared."""
    return getattr(_this_thread, "ranks", None)


@contextlib.contextmanager
def use_ranks(ranks):
    """Set what :func:`own_ranks` returns in this thread inside the block."""
    _this_thread.ranks = ranks
    try:
        yield
    finally:
        _this_thread.ranks = None


def run_once(function):
    """Call a function in one process of a training, and return its result, or raise its error, in all of them."""
    ranks = own_ranks()
    return ranks.run(function) if ranks else function()


class Ranks:
    """The ranks of a training, of which this process is one. All must call the same methods in the same order."""

    n_clips = first = last = 0  # clips of the batch, and which of them are this rank's

    def __init__(self, group):
        self._group = group
        self.rank, self.n_ranks = distributed.get_rank(group), distributed.get_world_size(group)

    def share(self, n_clips):
        """Share the clips of the next batch; returns the slice of this rank's."""
        self.n_clips = n_clips
        self.first, self.last = (n_clips * rank // self.n_ranks for rank in (self.rank, self.rank + 1))
        return slice(self.first, self.last)

    def sum(self, values, *, own_gradient=False):
        """Add a tensor up over the ranks, and its gradient too, unless each rank differentiates its own part."""
        return _Sum.apply(values, self, own_gradient)

    def gather(self, rows):
        """Return a row per clip of the batch, from the rows of each rank's clips."""
        return self.sum(pad(rows, [0, 0] * (rows.ndim - 1) + [self.first, self.n_clips - self.last]))

    def pick(self, steps, clip, step):
        """Return steps (n, dim) of clips of the batch, from the steps (n_own, n_steps, dim) of each rank's clips."""
        row = clip - self.first
        is_own = (row >= 0) & (clip < self.last)
        return self.sum(torch.where(is_own[:, None], steps[row.clamp(0, len(steps) - 1), step], 0))

    def broadcast(self, values):
        """Replace a tensor by that of rank 0, in place."""
        self._call(distributed.broadcast, values, 0)
        return values

    def run(self, function, *, everywhere=False):
        """Call a function on rank 0, and return its result, or on every rank. If it fails on one, all raise."""
        result = error = None
        try:
            result = function() if everywhere or self.rank == 0 else None
        except Exception as raised:
            error = raised
        message = None if error is None else f"{type(error).__name__}: {error}"
        outcomes = [None] * self.n_ranks
        self._call(distributed.all_gather_object, outcomes, (None if everywhere else result, message))
        if error is not None:
            raise error
        for rank, (_, message) in enumerate(outcomes):
            if message is not None:
                raise RuntimeError(f"rank {rank} failed, so all stop. Its error: {message}")
        return result if everywhere else outcomes[0][0]

    def close(self):
        """Close the connections, so that ranks that wait for this one fail rather than wait for long."""
        group, self._group = self._group, None
        distributed.destroy_process_group(group)

    def _call(self, collective, *args):
        try:
            collective(*args, group=self._group)
        except RuntimeError as error:
            raise RuntimeError(
                f"rank {self.rank} lost the others: one of them has stopped or does not answer. If it failed, its "
                f"own message says why ({error})."
            ) from error


class _Sum(torch.autograd.Function):
    """The sum over ranks, and over their gradients unless ``own_gradient``."""

    @staticmethod
    def forward(ctx, values, ranks, own_gradient):
        ctx.ranks, ctx.own_gradient = ranks, own_gradient  # not their group: it would keep the connections open
        total = values.clone(memory_format=torch.contiguous_format)
        ranks._call(distributed.all_reduce, total)
        return total

    @staticmethod
    def backward(ctx, gradient):
        return gradient if ctx.own_gradient else _Sum.apply(gradient, ctx.ranks, False), None, None
