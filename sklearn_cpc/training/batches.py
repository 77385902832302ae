"""Batches: rows of tensors, and clips cut from recordings, as a network takes them."""

import functools
import hashlib
import os
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import IterableDataset

from .._files import locate
from .._generators import own_generator
from .._ranks import own_ranks
from .._warnings import warn
from .clip_geometry import ClipCutter
from .device import move

CPU = torch.device("cpu")
LITTLE_SECONDS = 60.0  # of sound, in which training gained nothing that could be measured
N_SORTED = 16  # batches' worth of clips that are sorted by length together


class TensorBatches(IterableDataset):
    """Shuffled batches of inputs and targets in memory, (n_rows, ...): one slice per batch, no work per row."""

    def __init__(self, inputs, targets, batch_size):
        self.inputs, self.targets, self.batch_size = inputs, targets, batch_size
        self.n_batches = -(-len(inputs) // batch_size)  # of an epoch

    def __iter__(self):
        for rows in split_evenly(torch.randperm(len(self.inputs), generator=own_generator()), self.batch_size):
            yield self.inputs.index_select(0, rows), self.targets.index_select(0, rows)


class ClipBatches(IterableDataset):
    """Batches of clips, drawn anew from the recordings in every epoch.

    A recording, of shape (n_samples,), gives as many clips as fit into it, at least one, one after the other
    from a random offset: an epoch hears about all of every recording once, and no clip overlaps another.
    Clips of similar length share a batch. Ranks get their own clips of it. Names of recordings are for messages.
    """

    def __init__(self, recordings, shape, batch_size, random, names=(), device=CPU):
        self.recordings, self.shape, self.batch_size, self.random = recordings, shape, batch_size, random
        self.cutter = ClipCutter(recordings, shape, np.float32, device)
        self.names, self._rows = names, []  # _rows: recordings of the clips of each batch of this epoch
        self.n_batches = -(-sum(map(shape.count_full, recordings)) // batch_size)  # of an epoch

    def name_batch(self, number=-1):
        """Return the names of the recordings of a batch of this epoch."""
        return [self.names[row] for row in dict.fromkeys(self._rows[number])] if self.names else []

    def __iter__(self):
        rows, starts, lengths = self._draw()
        self._rows = []
        order = self._sort_by_length(self.random.permutation(len(rows)), lengths)
        batches = split_evenly(torch.from_numpy(order), self.batch_size)
        for number in self.random.permutation(len(batches)):
            batch = batches[number].numpy()
            self._rows.append(rows[batch].tolist())
            cut = functools.partial(self.cutter.cut, rows[batch], starts[batch])
            clips, n_valid = own_ranks().share(len(batch), cut) if own_ranks() else cut()
            yield {"clips": clips, "n_valid": n_valid}, n_valid

    def _draw(self):
        lengths, full = self.cutter.lengths, self.shape.n_samples
        n_clips = np.array([self.shape.count_full(samples) for samples in self.recordings])
        offsets = [self.random.randint(max(0, spare) + 1) for spare in lengths - n_clips * full]
        rows = np.repeat(np.arange(len(lengths)), n_clips)
        earlier = np.arange(len(rows)) - np.repeat(n_clips.cumsum() - n_clips, n_clips)  # clips of the recording
        return rows, np.take(offsets, rows) + earlier * full, np.minimum(lengths, full)[rows]

    def _sort_by_length(self, order, lengths):
        """Sort stretches of a random order by length: neighbours are alike, but not the same in every epoch."""
        stretches = np.array_split(order, -(-len(order) // (N_SORTED * self.batch_size)))
        return np.concatenate([stretch[np.argsort(lengths[stretch], kind="stable")] for stretch in stretches])


class Clips(NamedTuple):
    """A batch of clips cut from recordings in a known order, on the device of the network."""

    clips: torch.Tensor  # (batch, n_samples)
    n_valid: torch.Tensor  # (batch,): steps that hold sound
    rows: np.ndarray  # (batch,): recording of each clip
    n_shared: torch.Tensor  # (batch,): steps at the beginning that an earlier clip of the recording holds too
    heard: torch.Tensor  # (batch, 2): steps heard when this clip begins, and in all, each counted once


def clips_in_order(recordings, shape, n_clips, max_samples, dtype, device=CPU, *, overlap=True):
    """Cut every recording into clips (see :meth:`ClipShape.lay_out`) and yield :class:`Clips`, the longest first.

    A batch has at most ``max_samples``, unless one clip has more: larger batches take memory and are no faster.
    Recordings of which all is needed are moved to the ``device`` in one piece, if it is a GPU with room for them.
    """
    plan: list = []  # rows of (valid, recording, start, shared, heard when it begins, heard in all)
    for row, samples in enumerate(recordings):
        first, n_shared, n_valid = shape.lay_out(len(samples), n_clips, overlap=overlap)
        starts = np.round(first * (shape.n_samples / shape.n_steps)).astype(int)
        n_new = n_valid - n_shared
        begins = n_new.cumsum() - n_new - n_shared
        plan += zip(n_valid, [row] * len(first), starts, n_shared, begins, [n_new.sum()] * len(first), strict=True)
    plan.sort(key=lambda clip: -clip[0])
    done, cutter = 0, ClipCutter(recordings, shape, dtype, device if n_clips is None else CPU)
    while done < len(plan):
        longest = shape.count_needed(plan[done][0])
        batch = np.array(plan[done : done + max(1, max_samples // longest)])
        done += len(batch)
        n_valid, n_shared, heard = (torch.from_numpy(batch[:, columns]) for columns in (0, 3, slice(4, 6)))
        tensors = cutter.cut(batch[:, 1], batch[:, 2])[0], n_valid, n_shared, heard
        clips, n_valid, n_shared, heard = (move(tensor, device) for tensor in tensors)
        yield Clips(clips, n_valid, batch[:, 1], n_shared, heard)


def hold_out(estimator, identities, random, resume, groups=None):
    """Choose the recordings that validate, by a hash of their group, or of their path or samples without groups.

    The first fit draws a seed, and a limit below which the ``validation_fraction`` of the hashes lies. Fits that
    continue it keep both, so that no training recording is used for validation. Clips of a file stay together,
    however its path is written, and samples are the same in both precisions.

    Returns a bool array with an entry per recording.
    """
    if not estimator.validation_fraction:
        return np.zeros(len(identities), bool)
    continues, unit = resume and hasattr(estimator, "_split"), "recording(s)" if groups is None else "group(s)"
    seed, limit, kind = estimator._split if continues else (int(random.randint(2**31 - 1)), None, unit)
    if kind != unit:
        raise ValueError(f"the first fit held out {kind}; give groups to both calls, or to none.")
    hashes = [_hash(seed, _identify(identity)) for identity in identities]
    if groups is not None:
        group_by_hash = dict(zip(hashes, groups, strict=True))
        torn = [group_by_hash[one] != group for one, group in zip(hashes, groups, strict=True)]
        if any(torn):
            name = identities[torn.index(True)]
            raise ValueError(f"groups has several for clips of one recording, {name!r:.200}; give it one group.")
        hashes = [_hash(seed, os.fsencode(str(group))) for group in groups]
    if limit is None:
        different = sorted(set(hashes))
        n_held_out = max(1, round(estimator.validation_fraction * len(different)))
        if n_held_out >= len(different):
            raise ValueError(
                f"validation_fraction={estimator.validation_fraction:g} leaves nothing to train on of n_samples="
                f"{len(different)} {unit}; give more recordings or set it to 0."
            )
        limit = different[n_held_out]
        estimator._split = seed, limit, unit
    return np.array(hashes) < limit


def _identify(recording):
    """Return bytes that a recording is known by."""
    if isinstance(recording, str):
        return os.fsencode(locate(recording, os.path.realpath))
    return np.asarray(recording, np.float32).tobytes()


def _hash(seed, content):
    digest = hashlib.blake2b(str(seed).encode(), digest_size=7)
    digest.update(content)
    return int.from_bytes(digest.digest(), "little")


def check_trainable(recordings, shape, batch_size, negatives):
    """Raise if no clip of the corpus has a positive or a negative; warn if half of them are mostly padding."""
    if not recordings:
        raise ValueError("every recording of X is held out for validation since the first fit; give others.")
    n_clips = sum(map(shape.count_full, recordings))
    if negatives == "across" and min(n_clips, batch_size) < 2:
        raise ValueError(
            f"negatives='across' needs other clips in each batch, got n_samples={len(recordings)} of {n_clips} "
            f"clip(s) in all and batch_size={batch_size}; give at least 2 clips and a batch_size of at "
            "least 2, or use negatives='within'."
        )
    window = shape.n_samples / shape.n_steps
    longest = max(map(len, recordings))
    if round(longest / window) < 2:
        raise ValueError(
            f"the longest recording has n_features={longest} samples, less than two windows of {window:g}, so "
            "there is nothing to predict; use a shorter clip_duration or more steps."
        )
    typical = np.median([len(samples) for samples in recordings]) / shape.n_samples
    if shape.samples_per_step is None and typical < 1 / 2:
        warn(
            f"half of the recordings fill no more than {typical:.0%} of a clip, the rest is padding; a shorter "
            "clip_duration learns more from them, or encoder='logmel', which needs no padding."
        )


def warn_if_short(recordings, rate):
    """Warn if there is so little sound that a network may learn nothing of use from it."""
    seconds = sum(map(len, recordings)) / rate
    if seconds < LITTLE_SECONDS:
        warn(
            f"{seconds:.0f} s of sound is little to learn from; give more recordings, unlabelled ones too, and "
            "compare with the untrained network (max_epochs=0), for example by compare_representations."
        )


def split_evenly(rows, batch_size):
    """Split rows into the fewest batches of at most ``batch_size``, as equal as possible: no runt at the end."""
    return torch.tensor_split(rows, -(-len(rows) // batch_size))
