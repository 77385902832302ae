"""Cutting clips out of recordings, which stay on a GPU if they fit there."""

import numpy as np
import torch

from .device import free_memory, move

RESIDENT_SHARE = 0.25  # of the free memory of a GPU that recordings may take
BLOCK = 2**24  # samples that are copied to a GPU in one piece


class ClipCutter:
    """Cuts clips from recordings, of shape (n_samples,), which it first moves to a GPU if they fit."""

    def __init__(self, recordings, shape, dtype, device):
        self.recordings, self.shape, self.dtype, self.device = recordings, shape, np.dtype(dtype), device
        self.lengths = np.array([len(samples) for samples in recordings], int)
        self.begins = self.lengths.cumsum() - self.lengths  # of the recordings in one tensor of all
        # At its end is a clip of zeros, so that a clip may begin at any sample of any recording.
        n_samples = int(self.lengths.sum()) + shape.n_samples
        fits = n_samples * self.dtype.itemsize <= RESIDENT_SHARE * free_memory(device)
        self.resident = self._move(n_samples) if fits else None

    def _move(self, n_samples):
        resident = torch.zeros(n_samples, dtype=getattr(torch, self.dtype.name), device=self.device)
        for samples, begin in zip(self.recordings, self.begins, strict=True):
            for start in range(0, len(samples), BLOCK):
                block = np.array(samples[start : start + BLOCK], self.dtype)
                resident[begin + start :][: len(block)] = move(torch.from_numpy(block), self.device)
        return resident

    def cut(self, rows, starts, own=slice(None)):
        """Cut clips, each of the recording with a number and from one of its samples on, with zeros at the end.

        Returns them, of shape (batch, n_samples) or shorter, and how many steps of each hold sound. These are the
        slice ``own`` of the clips, with the length that the longest of all needs.
        """
        n_sound = np.minimum(self.lengths[rows] - starts, self.shape.n_samples)
        n_valid = self.shape.count_valid(n_sound)
        n_samples = self.shape.count_needed(n_valid.max())
        rows, starts, n_valid = rows[own], starts[own], torch.from_numpy(n_valid[own])
        if self.resident is None:
            clips = np.zeros((len(rows), n_samples), self.dtype)
            for row, start, clip in zip(rows, starts, clips, strict=True):
                piece = self.recordings[row][start : start + n_samples]
                clip[: len(piece)] = piece
            return torch.from_numpy(clips), n_valid
        first = move(torch.from_numpy(self.begins[rows] + starts), self.device)
        end = move(torch.from_numpy(n_sound[own, None]), self.device)
        clips = self.resident.unfold(0, n_samples, 1).index_select(0, first)
        return clips.masked_fill_(torch.arange(n_samples, device=self.device) >= end, 0), n_valid
