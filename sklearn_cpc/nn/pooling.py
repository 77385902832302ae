"""Pooling: combine the steps of a recording into one vector, clip by clip and in bounded memory."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

N_THIRDS = 3
MAX_PENDING = 128  # batches whose values stay on a GPU before they are fetched: more than a chunk usually has


class Pooling(NamedTuple):
    """A way to pool: a statistic of the valid steps of a recording, computed from sums over its clips."""

    layer: str  # "context", "z", "c", "mel" or "centred"
    per_clip: Callable  # maps steps (batch, steps, dim), mask (batch, steps, 1), heard to tensors (batch, width)
    result: Callable  # maps arrays, summed by recording, to the statistic
    summands: Callable = lambda *values: values  # maps these tensors, as float64 arrays, to what is summed
    width: int = 1  # features per dimension
    add: np.ufunc = np.add
    start: float = 0.0


def maximum(steps, mask, _heard):
    """Take the maximum of the valid steps."""
    return (steps.masked_fill(mask == 0, -torch.inf).amax(1),)


def deviations(steps, mask, _heard):
    """Return the squared deviations within clips, the means and the valid steps."""
    count = mask.sum(1)
    mean = (steps * mask).sum(1) / count
    return ((steps - mean[:, None]).square() * mask).sum(1), mean, count


def standard_deviation(within, total, squares, count):
    """Combine deviations within and between clips."""
    # This formula rounds badly, so it is used only between clips. Within them, deviations are centred first.
    between = squares - total**2 / count
    return np.sqrt((within + between.clip(0)) / count)


def third_sums(steps, mask, heard):
    """Sum the steps in each third of the recording, and how much of each step lies in it."""
    before, total = heard[:, None, :].to(steps.dtype).split(1, dim=-1)  # (batch, 1, 1) each
    edge = torch.arange(N_THIRDS, device=steps.device) * total / N_THIRDS
    start = before + torch.arange(steps.shape[1], device=steps.device)[:, None]
    inside = torch.minimum(start + 1, edge + total / N_THIRDS) - torch.maximum(start, edge)
    weight = inside.clamp_min(0) * mask  # (batch, steps, thirds)
    total = (weight.transpose(1, 2) @ steps).flatten(1)  # one third after the other
    return total, weight.sum(1).repeat_interleave(steps.shape[2], dim=1)


STATISTICS = {
    "mean": partial(
        Pooling,
        per_clip=lambda steps, mask, _heard: ((steps * mask).sum(1), mask.sum(1)),
        result=np.divide,
    ),
    "std": partial(
        Pooling,
        per_clip=deviations,
        summands=lambda within, mean, count: (within, count * mean, count * mean**2, count),
        result=standard_deviation,
    ),
    "max": partial(Pooling, per_clip=maximum, result=np.positive, add=np.maximum, start=-np.inf),
    "thirds": partial(Pooling, per_clip=third_sums, result=np.divide, width=N_THIRDS),
}
POOLINGS: dict[str, Pooling] = {
    "context": STATISTICS["mean"]("context"),  # c_T, the report's features, averaged over the clips
    **{
        f"{layer}_{name}": statistic(layer)
        for layer in ("z", "c", "mel", "centred")
        for name, statistic in STATISTICS.items()
    },
}


class Pooler:
    """Gathers statistics of ``n_rows`` recordings from their clips, which may come in any order.

    Features are concatenated in the order of ``pooling``, keys of ``POOLINGS``. ``dims`` are the sizes of the
    embeddings, by layer.

    >>> pooler = Pooler(("z_mean", "z_max"), n_rows=1, dims={"z": 2})
    >>> steps = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]])  # the last one is padding
    >>> pooler.update([0], {"z": steps}, torch.tensor([2]), torch.tensor([0]), torch.tensor([[0, 2]]))
    >>> pooler.result()
    array([[2., 3., 3., 4.]])
    """

    def __init__(self, pooling, n_rows, dims):
        self.layers = {POOLINGS[name].layer for name in pooling}
        self.parts = []  # pairs of a pooling and its sums, arrays with one row per recording
        self.pending = []  # recordings and values of clips that are still to be added up, by batch
        for chosen in (POOLINGS[name] for name in pooling):
            no_clips = torch.zeros(0, 1, dims[chosen.layer]), torch.zeros(0, 1, 1), torch.zeros(0, 2)
            widths = [values.shape[1] for values in chosen.summands(*map(to_numpy, chosen.per_clip(*no_clips)))]
            self.parts.append((chosen, [np.full((n_rows, width), chosen.start) for width in widths]))

    def update(self, rows, layers, n_valid, n_shared, heard):
        """Add a batch of clips: the recording of each in ``rows``, and the result of CPCNetwork.layers.

        ``n_valid`` (batch,) counts the steps of each clip that hold sound, ``n_shared`` (batch,) those at its
        beginning that an earlier clip has added. ``heard`` (batch, 2) counts the steps of the recording before
        this clip begins, and all of them.
        """
        values = []
        for chosen, _ in self.parts:
            steps = layers[chosen.layer]
            step = torch.arange(steps.shape[1], device=steps.device)
            mask = step < n_valid[:, None]
            if chosen.layer != "context":  # of which every clip has its own
                mask &= step >= n_shared[:, None]
            values.append(chosen.per_clip(steps, mask[..., None].to(steps.dtype), heard))
        self.pending.append((rows, values))
        if len(self.pending) == MAX_PENDING:
            self._add_up()

    def _add_up(self):
        """Add up the values of all pending clips: together, since fetching them waits for a GPU."""
        rows, batches = zip(*self.pending, strict=True)
        for (chosen, sums), per_clip in zip(self.parts, zip(*batches, strict=True), strict=True):
            values = [to_numpy(torch.cat(parts)) for parts in zip(*per_clip, strict=True)]
            for total, summand in zip(sums, chosen.summands(*values), strict=True):
                chosen.add.at(total, np.concatenate(rows), summand)
        self.pending = []

    def result(self):
        """Return a float64 array of shape (n_rows, n_features)."""
        if self.pending:
            self._add_up()
        return np.concatenate([chosen.result(*sums) for chosen, sums in self.parts], axis=1)


def check_pooling(pooling, network, encoder, autoregressor):
    """Return ``pooling`` as a tuple; raise if the network, built from these parts, lacks a layer it needs."""
    names = (pooling,) if isinstance(pooling, str) else tuple(pooling)
    for name in names:
        layer = POOLINGS[name].layer
        if network.single_context and layer == "c":
            raise ValueError(
                f"pooling={name!r} needs a context at every step, but autoregressor={autoregressor!r} "
                "yields one per clip; use 'context' or statistics of z."
            )
        if layer not in network.dims:
            raise ValueError(
                f"pooling={name!r} needs an encoder with mel bands, but encoder={encoder!r} has none; use "
                "encoder='logmel' or statistics of z and c."
            )
    return names


def n_features(pooling, dims):
    """Count the features of poolings, with layers of these sizes."""
    return sum(POOLINGS[name].width * dims[POOLINGS[name].layer] for name in pooling)


def to_numpy(tensor):
    """Move a tensor to NumPy, as float64."""
    return tensor.cpu().numpy().astype(np.float64)
