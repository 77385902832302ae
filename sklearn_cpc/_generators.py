"""Random numbers: a training draws from a generator of its own, since all threads share torch's."""

import contextlib
import functools

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ._ranks import own_ranks, set_in_thread, this_thread


def own_generator():
    """Return the generator of the training in this thread, or None, which stands for torch's own."""
    return getattr(this_thread, "generator", None)


use_generator = functools.partial(set_in_thread, "generator")  # what own_generator returns inside the block


def fill(rows, draw, *args):
    """Fill rows of clips by a method of tensors that draws; ranks draw for all clips and keep their part."""
    ranks, generator = own_ranks(), own_generator()
    n_own = ranks.last - ranks.first if ranks else 0
    if not n_own or len(rows) % n_own:
        return draw(rows, *args, generator=generator)
    shape = (ranks.n_clips * len(rows) // n_own, *rows.shape[1:])
    layout = sorted(range(rows.ndim), key=rows.stride, reverse=True)  # drawn in the order of the memory
    every = torch.empty_permuted(shape, layout, dtype=rows.dtype, device=rows.device)
    drawn = draw(every, *args, generator=generator).unflatten(0, (ranks.n_clips, -1))
    return rows.copy_(drawn[ranks.first : ranks.last].flatten(0, 1))


def redirect_draws():
    """Return a block in which torch, too, draws by :func:`fill`. It slows down every operation."""
    return _Redirection() if own_generator() or own_ranks() else contextlib.nullcontext()


class _Redirection(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if _takes_generator(func) and func._schema.name.endswith("_"):
            return fill(args[0], func, *args[1:])
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
        if not self.training or not self.p:
            return x
        shape = (*x.shape[:2], 1, 1) if isinstance(self, Dropout2d) else x.shape
        factors = fill(x.new_empty(shape), torch.Tensor.bernoulli_, 1 - self.p).div_(1 - self.p)
        return x.mul_(factors) if self.inplace else x * factors


class Dropout2d(Dropout):
    """Dropout of whole channels of images, (batch, channels, height, width)."""
