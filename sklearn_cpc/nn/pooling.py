"""Pooling: the steps of a recording's clips to one vector, clip after clip in bounded memory."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

N_THIRDS = 3


class Pooling(NamedTuple):
    """One way to pool: of which frames, with what statistic, and how many numbers per dimension."""

    layer: str  # "context", "z", "c", "mel" or "centred"
    statistic: Callable  # builds a Mean, Std, Max or Thirds
    width: int = 1


class Mean:
    """Mean over all valid steps."""

    def __init__(self, n_rows, dim):
        self.total, self.count = np.zeros((n_rows, dim)), np.zeros((n_rows, 1))

    def update(self, rows, frames, mask, _heard):
        """Add clips: their frames (batch, steps, dim), which of them are valid (batch, steps, 1)."""
        np.add.at(self.total, rows, to_numpy((frames * mask).sum(1)))
        np.add.at(self.count, rows, to_numpy(mask.sum(1)))

    def result(self):
        """Return an array of shape (n_rows, dim)."""
        return self.total / self.count


class Std:
    """Standard deviation over all valid steps."""

    def __init__(self, n_rows, dim):
        self.within, self.total = np.zeros((n_rows, dim)), np.zeros((n_rows, dim))
        self.squares, self.count = np.zeros((n_rows, dim)), np.zeros((n_rows, 1))

    def update(self, rows, frames, mask, _heard):
        """Add clips."""
        count = mask.sum(1)
        mean = (frames * mask).sum(1) / count
        within = ((frames - mean[:, None]).square() * mask).sum(1)
        mean, count = to_numpy(mean), to_numpy(count)
        np.add.at(self.within, rows, to_numpy(within))
        np.add.at(self.total, rows, count * mean)
        np.add.at(self.squares, rows, count * mean**2)
        np.add.at(self.count, rows, count)

    def result(self):
        """Return an array of shape (n_rows, dim)."""
        # Deviations within the clips are centred before they are squared; only those between the
        # clips, which are far fewer, are left to the formula that rounds badly.
        between = self.squares - self.total**2 / self.count
        return np.sqrt((self.within + between.clip(0)) / self.count)


class Max:
    """Maximum over all valid steps."""

    def __init__(self, n_rows, dim):
        self.best = np.full((n_rows, dim), -np.inf)

    def update(self, rows, frames, mask, _heard):
        """Add clips."""
        np.maximum.at(self.best, rows, to_numpy(frames.masked_fill(mask == 0, -torch.inf).amax(1)))

    def result(self):
        """Return an array of shape (n_rows, dim)."""
        return self.best


class Thirds:
    """Means over the first, second and last third of the recording: what comes when."""

    def __init__(self, n_rows, dim):
        self.total = np.zeros((n_rows, N_THIRDS, dim))
        self.weight = np.zeros((n_rows, N_THIRDS, 1))

    def update(self, rows, frames, mask, heard):
        """Add clips; ``heard`` (batch, 2) counts the steps of the recording before the clip, and in all."""
        # How much of each step lies in each third, (batch, steps, thirds): a step may lie across a border.
        before, total = heard[:, None, :].to(frames.dtype).split(1, dim=-1)  # (batch, 1, 1) each
        edge = torch.arange(N_THIRDS, device=frames.device) * total / N_THIRDS
        step = before + torch.arange(frames.shape[1], device=frames.device)[:, None]
        inside = torch.minimum(step + 1, edge + total / N_THIRDS) - torch.maximum(step, edge)
        weight = inside.clamp_min(0) * mask
        np.add.at(self.total, rows, to_numpy(weight.transpose(1, 2) @ frames))
        np.add.at(self.weight, rows, to_numpy(weight.sum(1)[..., None]))

    def result(self):
        """Return an array of shape (n_rows, 3 * dim), one third after the other."""
        return (self.total / self.weight).reshape(-1, N_THIRDS * self.total.shape[2])


POOLINGS: dict[str, Pooling] = {
    "context": Pooling("context", Mean),  # c_T, the report's features, averaged over the clips
    **{
        f"{layer}_{name}": Pooling(layer, statistic, width)
        for layer in ("z", "c", "mel", "centred")
        for name, statistic, width in [("mean", Mean, 1), ("std", Std, 1), ("max", Max, 1), ("thirds", Thirds, 3)]
    },
}


class Pooler:
    """Gathers the statistics of many recordings from their clips, which may come in any order.

    Parameters
    ----------
    pooling : sequence of str
        Keys of ``POOLINGS``; the features are concatenated in this order.
    n_rows : int
        Recordings.
    dims : dict of {str: int}
        Size of the embeddings, by layer.

    Examples
    --------
    >>> pooler = Pooler(("z_mean", "z_max"), n_rows=1, dims={"z": 2})
    >>> steps = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]])  # the last one is padding
    >>> pooler.update([0], {"z": steps}, n_valid=torch.tensor([2]), heard=torch.tensor([[0, 2]]))
    >>> pooler.result()
    array([[2., 3., 3., 4.]])
    """

    def __init__(self, pooling, n_rows, dims):
        chosen = [POOLINGS[name] for name in pooling]
        self.layers = {part.layer for part in chosen}
        self.parts = [(part.layer, part.statistic(n_rows, dims[part.layer])) for part in chosen]

    def update(self, rows, layers, n_valid, heard):
        """Add a batch of clips.

        Parameters
        ----------
        rows : int ndarray of shape (batch,)
            Recording of each clip.
        layers : dict of {str: Tensor of shape (batch, steps, dim)}
            Embeddings of every step, by layer; "context" has one step.
        n_valid : int Tensor of shape (batch,)
            Steps that hold sound.
        heard : int Tensor of shape (batch, 2)
            Valid steps of the recording in the clips before this one, and in all of them.
        """
        for layer, statistic in self.parts:
            frames = layers[layer]
            step = torch.arange(frames.shape[1], device=frames.device)
            mask = (step < n_valid[:, None])[..., None].to(frames.dtype)
            statistic.update(rows, frames, mask, heard)

    def result(self):
        """Return a float64 array of shape (n_rows, n_features)."""
        return np.concatenate([statistic.result() for _, statistic in self.parts], axis=1)


def check_pooling(pooling, network, encoder, autoregressor):
    """Return ``pooling`` as a tuple, or raise if it is none that the network, built of these parts, offers."""
    pooling = (pooling,) if isinstance(pooling, str) else pooling
    if not isinstance(pooling, (tuple, list)):
        raise TypeError(f"pooling={pooling!r} must be a str or a tuple of str, of {', '.join(POOLINGS)}.")
    for pool in pooling:
        assert pool in POOLINGS
        if network.single_context and POOLINGS[pool].layer == "c":
            raise ValueError(
                f"pooling={pool!r} needs a context at every step, but autoregressor={autoregressor!r} "
                "yields one per clip; use 'context' or statistics of z."
            )
        if POOLINGS[pool].layer not in network.dims:
            raise ValueError(
                f"pooling={pool!r} needs an encoder with mel bands, but encoder={encoder!r} has none; use "
                "encoder='logmel' or statistics of z and c."
            )
    if not pooling:
        raise ValueError(f"pooling={pooling!r} is empty; name at least one of {', '.join(POOLINGS)}.")
    return tuple(pooling)


def n_features(pooling, dims):
    """Count the features that poolings give, with embeddings of these sizes."""
    return sum(POOLINGS[name].width * dims[POOLINGS[name].layer] for name in pooling)


def to_numpy(tensor):
    """Move a tensor to NumPy, as float64."""
    return tensor.cpu().numpy().astype(np.float64)
