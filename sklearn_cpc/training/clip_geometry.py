"""Clip geometry: how recordings are cut into clips, and which steps of a clip hold sound."""

import functools
from typing import NamedTuple

import numpy as np
import torch

from .device import free_memory, move

LONG_CLIP = 20  # clips' worth of sound that is embedded in one piece, if the network takes any length
RESIDENT_SHARE = 0.25  # of the free memory of a GPU that recordings may take
BLOCK = 2**24  # samples that are copied to a GPU in one piece


class ClipShape(NamedTuple):
    """How clips are laid out for a network.

    If the encoder takes clips of any number of steps, batches are cut to the longest of their clips, so that
    the network gets no more padding than it needs.
    """

    n_samples: int  # of a full clip; shorter recordings are padded with zeros at the end
    n_steps: int  # of a full clip
    samples_per_step: int | None = None  # of an encoder that takes any number of steps
    lookahead: int = 0  # steps after its own that an embedding depends on

    @classmethod
    def for_network(cls, network):
        """Shape for a CPCNetwork: any length if its encoder has ``samples_per_step``, full clips if not."""
        n_steps = network.n_context + network.n_future
        samples_per_step = getattr(network.encoder, "samples_per_step", None)
        if samples_per_step is None:
            return cls(network.n_samples, n_steps)
        # A clip of a fraction of a step more would let steps and samples drift apart.
        lookahead = getattr(network.encoder, "lookahead", 0)
        return cls(n_steps * samples_per_step, n_steps, samples_per_step, lookahead)

    def for_embedding(self, network, layers):
        """Shape in which a network embeds recordings: longer clips, if these layers take any length."""
        recurrent = getattr(network.autoregressor, "takes_any_length", False)
        if self.samples_per_step is None or "context" in layers or ("c" in layers and not recurrent):
            return self
        n_steps = LONG_CLIP * self.n_steps
        return self._replace(n_samples=n_steps * self.samples_per_step, n_steps=n_steps)

    def count_full(self, samples):
        """Count the full clips that fit into a recording; a short recording counts as one."""
        return max(1, len(samples) // self.n_samples)

    def count_valid(self, n_samples):
        """Count the steps that are at least half filled when the first ``n_samples`` of clips hold sound."""
        filled = np.floor(np.asarray(n_samples) * self.n_steps / self.n_samples + 0.5).astype(np.int64)
        return np.clip(filled, 1, self.n_steps)

    def count_needed(self, n_valid):
        """Count the samples that decide the embeddings of the first ``n_valid`` steps."""
        if self.samples_per_step is None:
            return self.n_samples
        # At least two steps, or there is nothing to predict.
        return min(self.n_samples, max(2, n_valid + self.lookahead) * self.samples_per_step)

    def lay_out(self, length, n_clips=None, *, overlap=True):
        """Lay clips over a recording of ``length`` samples, on the grid of its steps.

        ``n_clips`` are spread evenly, a single one in the middle. None: clips end to end, the last moved back to
        be full. Without ``overlap``, the last one stays in its place, and there are as many as fit at most.

        Returns the first step of each clip, how many of its steps an earlier clip holds too, and its valid steps.
        """
        n_total = max(1, int(length * self.n_steps / self.n_samples + 0.5))  # of at least half a step of sound
        last = max(0, n_total - self.n_steps)
        if n_clips is None:
            first = np.arange(0, n_total, self.n_steps)
            first = np.minimum(first, last) if overlap else first
        else:
            n_clips = n_clips if overlap else min(n_clips, max(1, n_total // self.n_steps))
            spread = np.linspace(0, last, n_clips) if n_clips > 1 else np.array([last // 2])
            first = np.unique(spread.round().astype(int))
        n_shared = np.maximum(0, np.append(0, first[:-1] + self.n_steps - first[1:]))
        return first, n_shared, np.minimum(n_total - first, self.n_steps)


class ClipCutter:
    """Cuts clips from recordings, of shape (n_samples,), which it first moves to a GPU if they fit."""

    def __init__(self, recordings, shape, dtype, device):
        self.recordings, self.shape, self.dtype, self.device = recordings, shape, np.dtype(dtype), device
        self.lengths = np.array([len(samples) for samples in recordings], int)
        self.begins = self.lengths.cumsum() - self.lengths  # of the recordings in one tensor of all

    @functools.cached_property
    def resident(self):
        """That tensor on a GPU, with a clip of zeros at the end; None if it is too large or there is no GPU."""
        n_samples = int(self.lengths.sum()) + self.shape.n_samples
        if n_samples * self.dtype.itemsize > RESIDENT_SHARE * free_memory(self.device):
            return None
        resident = torch.zeros(n_samples, dtype=getattr(torch, self.dtype.name), device=self.device)
        for samples, begin in zip(self.recordings, self.begins, strict=True):
            for start in range(0, len(samples), BLOCK):
                block = np.array(samples[start : start + BLOCK], self.dtype)
                resident[begin + start :][: len(block)] = move(torch.from_numpy(block), self.device)
        return resident

    def cut(self, rows, starts, own=slice(None)):
        """Cut clips, each of the recording with a number and from one of its samples on, with zeros at the end.

        Returns the ``own`` of these clips, a slice or numbers, of shape (n_own, n_samples), or shorter if that is
        enough for the longest of all; and how many steps of each clip hold sound, (batch,).
        """
        n_sound = np.minimum(self.lengths[rows] - starts, self.shape.n_samples)
        n_valid = self.shape.count_valid(n_sound)
        n_samples = self.shape.count_needed(n_valid.max())
        rows, starts, n_sound, n_valid = rows[own], starts[own], n_sound[own], torch.from_numpy(n_valid)
        if self.resident is None:
            clips = np.zeros((len(rows), n_samples), self.dtype)
            for row, start, clip in zip(rows, starts, clips, strict=True):
                piece = self.recordings[row][start : start + n_samples]
                clip[: len(piece)] = piece
            return torch.from_numpy(clips), n_valid
        first = move(torch.from_numpy(self.begins[rows] + starts), self.device)
        end = move(torch.from_numpy(n_sound[:, None]), self.device)
        clips = self.resident.unfold(0, n_samples, 1).index_select(0, first)
        return clips.masked_fill_(torch.arange(n_samples, device=self.device) >= end, 0), n_valid
