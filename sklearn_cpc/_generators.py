"""Random numbers: a training draws from a generator of its own, since all threads share torch's."""

import contextlib
import functools
import threading

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ._ranks import own_ranks

_this_thread = threading.local()


def own_generator():
    """Return the generator of the training in this thread, or None, which stands for torch's own."""
    return getattr(_this_thread, "generator", None)


@contextlib.contextmanager
def use_generator(generator):
    """Set what :func:`own_generator` returns in this thread inside the block."""
    before, _this_thread.generator = own_generator(), generator
    try:
        yield
    finally:
        _this_thread.generator = before


def fill(rows, draw, *args, **options):
    """Fill rows that belong to clips with random numbers, by a method of tensors that does so in place.

    Where ranks share the batch, each draws for all clips of it and keeps what belongs to its own.
    """
    ranks, options["generator"] = own_ranks(), own_generator()
    n_own = ranks.last - ranks.first if ranks else 0
    if not n_own or not rows.ndim or len(rows) % n_own:
        return draw(rows, *args, **options)
    per_clip = len(rows) // n_own
    shape, layout = (per_clip * ranks.n_clips, *rows.shape[1:]), range(rows.ndim)
    layout = sorted(layout, key=rows.stride, reverse=True)  # numbers are drawn in the order of the memory
    drawn = draw(torch.empty_permuted(shape, layout, dtype=rows.dtype, device=rows.device), *args, **options)
    return rows.copy_(drawn[per_clip * ranks.first : per_clip * ranks.last])


def redirect_draws():
    """Return a block in which torch, too, draws by :func:`fill`. It slows down every operation."""
    return _Redirection() if own_generator() or own_ranks() else contextlib.nullcontext()


class _Redirection(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if not _takes_generator(func):
            return func(*args, **kwargs)
        if func._schema.name.endswith("_"):
            return fill(args[0], func, *args[1:], **kwargs)
        return func(*args, **{**kwargs, "generator": own_generator()})


@functools.cache
def _takes_generator(operation):
    return any(argument.name == "generator" for argument in operation._schema.arguments)


class Dropout(nn.Dropout):
    """Torch's dropout, with the numbers of :func:`own_generator`."""

    def forward(self, x):
        """Map any shape to the same shape."""
        if not self.training or not self.p:
            return x
        shape = (*x.shape[:2], 1, 1) if isinstance(self, Dropout2d) else x.shape
        factors = fill(x.new_empty(shape), torch.Tensor.bernoulli_, 1 - self.p).div_(1 - self.p)
        return x.mul_(factors) if self.inplace else x * factors


class Dropout2d(Dropout):
    """Dropout of whole channels of images, (batch, channels, height, width)."""
