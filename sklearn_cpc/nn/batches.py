"""Batches: rows of tensors, and clips cut from recordings, ready for a network."""

import numpy as np
import torch
from torch.utils.data import IterableDataset

from ..audio.store import cut, even_starts, n_sounding


class TensorBatches(IterableDataset):
    """Shuffled batches of tensors that lie in memory: one slice per batch, no work per row.

    Parameters
    ----------
    inputs : Tensor of shape (n_rows, ...)
    targets : Tensor of shape (n_rows, ...)
    batch_size : int
        Rows per batch at most; see :func:`even_batches`.
    """

    def __init__(self, inputs, targets, batch_size):
        self.inputs, self.targets, self.batch_size = inputs, targets, batch_size

    def __iter__(self):
        for rows in even_batches(torch.randperm(len(self.inputs)), self.batch_size):
            yield self.inputs[rows], self.targets[rows]


class ClipBatches(IterableDataset):
    """Batches of clips, drawn anew from the recordings in every epoch.

    A recording gives as many clips as fit into it, at least one, one after the other from a random
    offset: an epoch hears about all of every recording once, and no clip overlaps another.

    Parameters
    ----------
    recordings : list of float ndarray of shape (n_samples,)
    clip : int
        Samples of a clip; shorter recordings are padded with zeros at the end.
    n_steps : int
        Steps of a clip.
    batch_size : int
        Clips per batch at most; see :func:`even_batches`.
    random : RandomState
    """

    def __init__(self, recordings, clip, n_steps, batch_size, random):
        self.recordings, self.clip, self.n_steps = recordings, clip, n_steps
        self.batch_size, self.random = batch_size, random

    def __iter__(self):
        rows, starts = self._draw()
        for chosen in even_batches(torch.from_numpy(self.random.permutation(len(rows))), self.batch_size):
            pieces = [(self.recordings[rows[i]], starts[i]) for i in chosen]
            clips, n_valid = stack_clips(pieces, self.clip, self.n_steps, np.float32)
            yield {"clips": clips, "n_valid": n_valid}, n_valid

    def _draw(self):
        rows, starts = [], []
        for row, samples in enumerate(self.recordings):
            n_clips = max(1, len(samples) // self.clip)
            offset = self.random.randint(max(0, len(samples) - n_clips * self.clip) + 1)
            rows += [row] * n_clips
            starts += [offset + i * self.clip for i in range(n_clips)]
        return rows, starts


def clips_in_order(recordings, clip, n_steps, n_clips, batch_size, dtype):
    """Cut every recording into evenly spread clips and yield them in batches.

    Parameters
    ----------
    recordings : list of ndarray of shape (n_samples,)
    clip, n_steps : int
        Samples and steps of a clip.
    n_clips : int or None
        Clips per recording; None: as many as cover it.
    batch_size : int
    dtype : numpy dtype

    Yields
    ------
    clips : Tensor of shape (batch, clip)
    n_valid : int Tensor of shape (batch,)
        Steps of each clip that hold sound.
    rows, starts : int ndarray of shape (batch,)
        Recording of each clip, and its first sample.
    """
    plan = [
        (row, start)
        for row, samples in enumerate(recordings)
        for start in even_starts(len(samples), clip, n_clips)
    ]
    for first in range(0, len(plan), batch_size):
        rows, starts = np.array(plan[first : first + batch_size]).T
        pieces = [(recordings[row], start) for row, start in zip(rows, starts, strict=True)]
        yield *stack_clips(pieces, clip, n_steps, dtype), rows, starts


def stack_clips(pieces, clip, n_steps, dtype):
    """Copy clips into one tensor.

    Returns the clips, (batch, clip), and how many steps of each hold sound, (batch,).
    """
    clips = np.empty((len(pieces), clip), dtype)
    lengths = [cut(samples, start, clip, out) for (samples, start), out in zip(pieces, clips, strict=True)]
    return torch.from_numpy(clips), torch.from_numpy(n_sounding(lengths, clip, n_steps))


def even_batches(rows, batch_size):
    """Split rows into the fewest batches of at most ``batch_size``, as equal as can be: no runt at the end."""
    return torch.tensor_split(rows, -(-len(rows) // batch_size))
