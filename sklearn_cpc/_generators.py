"""Random numbers: a training draws from a generator of its own, since all threads share torch's."""

from . import _openmp  # isort: skip  # noqa: F401  # before anything imports torch
import contextlib
import functools
import threading

from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

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


def redirect_draws():
    """Return a block in which torch, too, draws from :func:`own_generator`. It slows down every operation."""
    return _Redirection() if own_generator() else contextlib.nullcontext()


class _Redirection(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if _takes_generator(func):
            kwargs = {**(kwargs or {}), "generator": own_generator()}
        return func(*args, **(kwargs or {}))


@functools.cache
def _takes_generator(operation):
    return any(argument.name == "generator" for argument in operation._schema.arguments)


class Dropout(nn.Dropout):
    """Torch's dropout, with the numbers of :func:`own_generator`."""

    def forward(self, x):
        """Map any shape to the same shape."""
        return _drop(self, x, x.shape)


class Dropout2d(nn.Dropout2d):
    """Torch's dropout of whole channels, with the numbers of :func:`own_generator`."""

    def forward(self, x):
        """Map (batch, channels, height, width) to the same shape."""
        return _drop(self, x, (*x.shape[:2], 1, 1))


def _drop(layer, x, shape):
    """Zero at random, and scale, what shares an entry of this shape."""
    if not layer.training or not layer.p:
        return x
    factors = x.new_empty(shape).bernoulli_(1 - layer.p, generator=own_generator()).div_(1 - layer.p)
    return x.mul_(factors) if layer.inplace else x * factors
