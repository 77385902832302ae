"""Read X: decode every file once per sample rate and cut the clips from it."""

import collections
import functools
import math
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import joblib
import librosa
import numpy as np
from sklearn.utils.validation import validate_data

from .._processes import progress
from .._warnings import warn
from .cache import DirectoryCache, JoblibCache, ScratchCache
from .clips import as_clips
from .reading import UnreadableAudioError, environment_number, format_reasons, inspect_file, printable, read_audio

CHUNK_BYTES = 1 << 26  # of decoded sound; one chunk is in use while the next is decoded


@dataclass
class Recordings:
    """The samples of some rows of X."""

    samples: list  # per row: ndarray of shape (n_samples,) or StoredSamples; None if it cannot be used
    rows: np.ndarray  # int indices of the rows in X
    sample_rate: int  # in Hz
    dtype: np.dtype  # float64 if X is a float64 array, else float32
    names: list[str]  # of each row, for messages: its path, or "row 3" if X is an array

    @property
    def n_rows(self):
        """Number of rows."""
        return len(self.samples)

    @property
    def readable(self):
        """Indices (of ``samples``, ``rows`` and ``names``) of the rows that can be used, int array."""
        return np.flatnonzero([samples is not None for samples in self.samples])

    def trimmed(self, top_db=None):
        """Return the samples of the readable rows, with ``top_db`` without silence at both ends."""
        samples = [self.samples[i] for i in self.readable]
        return samples if top_db is None else [trim_silence(x, self.sample_rate, top_db) for x in samples]

    def chunks(self):
        """Yield these recordings, as :meth:`AudioSource.chunks` yields those of X."""
        yield self


class AudioSource:
    """The recordings in X, to be read all together or in chunks.

    The parameters memory, n_jobs, on_error and verbose of the estimator are used. X has any form that
    :func:`~sklearn_cpc.audio.clips.as_clips` takes; an array must have shape (n_clips, n_samples) and be at
    ``sample_rate`` already. For an array, ``n_features_in_`` is set (``reset=True``, in fits) or checked.
    """

    def __init__(self, estimator, X, sample_rate, *, reset):
        self.estimator, self.sample_rate, self.reset = estimator, int(sample_rate), reset
        self.clips = as_clips(X)  # None if X is an array
        self.dtype = np.dtype(np.float32)  # float64 if X is a float64 array
        if self.clips is None:
            dtype = samples_dtype(X)
            numbers = validate_data(estimator, X, dtype=[np.float64, np.float32], reset=reset)
            self._array = scale_to_full_scale(numbers, dtype)
            self.dtype = self._array.dtype
        elif reset:
            for name in ("n_features_in_", "feature_names_in_"):  # of an earlier fit on an array
                vars(estimator).pop(name, None)
        self.n_rows = len(self._array if self.clips is None else self.clips)
        self._n_readable = 0  # rows
        self._reasons: dict[str, str] = {}  # why recordings cannot be used, by path
        self._storage_errors: list[Exception] = []  # why decoded recordings could not be stored

    def read(self):
        """Return all rows as :class:`Recordings`; what exceeds ``SKLEARN_CPC_RAM_GB`` (default 1) is on disk.

        Raises an UnreadableAudioError if recordings cannot be used and ``on_error="raise"``, or if none is left
        to fit.
        """
        if self.clips is None:
            rows, names = np.arange(self.n_rows), [f"row {row}" for row in range(self.n_rows)]
            return Recordings(list(self._array), rows, self.sample_rate, self.dtype, names)
        ram_bytes = 1e9 * environment_number("SKLEARN_CPC_RAM_GB", 1.0)
        (recordings,) = self._read_chunks(math.inf, ram_bytes)
        self._report()
        return recordings

    def chunks(self):
        """Yield :class:`Recordings` of some rows at a time, in bounded memory.

        All clips of a file are in one chunk. The next chunk is read while the last is in use. Raises the errors
        of :meth:`read`, but at the end; discard chunks already yielded.
        """
        if self.clips is None:
            yield self.read()
            return
        with ThreadPoolExecutor(1) as pool:
            chunks = self._read_chunks(CHUNK_BYTES, CHUNK_BYTES)
            upcoming = pool.submit(next, chunks, None)
            while (chunk := upcoming.result()) is not None:
                upcoming = pool.submit(next, chunks, None)
                yield chunk
        self._report()

    def _read_chunks(self, chunk_bytes, ram_bytes):
        """Yield chunks of at least ``chunk_bytes`` of decoded sound, with up to ``ram_bytes`` in RAM."""
        rows = collections.defaultdict(list)
        for row, clip in enumerate(self.clips):
            rows[clip.path].append(row)
        memory, scratch = self.estimator.memory, ScratchCache(ram_bytes)
        cache: ScratchCache | DirectoryCache | JoblibCache = scratch
        if memory is not None:
            cache = DirectoryCache(memory) if isinstance(memory, (str, os.PathLike)) else JoblibCache(memory)
        read_file = functools.partial(self._read_file, cache)
        files = map_in_threads(read_file, rows, joblib.effective_n_jobs(self.estimator.n_jobs))
        chunk, n_bytes = {}, 0
        for path, samples, reason in progress(files, len(rows), "decoding", self.estimator.verbose):
            if reason is not None:
                self._reasons[path] = reason
            chunk.update({row: self._cut(self.clips[row], samples) for row in rows[path]})
            self._n_readable += sum(chunk[row] is not None for row in rows[path])
            n_bytes += 0 if samples is None else np.dtype(np.float32).itemsize * len(samples)
            if self._reasons and self.estimator.on_error == "raise":
                chunk.clear()  # read the rest only to list all unusable recordings
            elif n_bytes >= chunk_bytes:
                yield self._recordings(chunk)
                chunk, n_bytes, scratch.n_bytes = {}, 0, 0
        if chunk or chunk_bytes == math.inf:
            yield self._recordings(chunk)

    def _read_file(self, cache, path):
        """Return a path, the samples of the file or None, and the reason if there are none."""
        try:
            status, _ = inspect_file(path)
            try:
                return path, cache.read(path, status, self.sample_rate), None
            except cache.errors as error:
                samples = read_audio(path, self.sample_rate)  # raises if the recording is the cause
                self._storage_errors.append(error)
                return path, samples, None
        except ValueError as error:
            return path, None, str(error)
        except MemoryError:
            return path, None, "does not fit into memory; cut it into pieces."

    def _recordings(self, samples_by_row):
        rows = sorted(samples_by_row)
        samples, names = [samples_by_row[row] for row in rows], [printable(self.clips[row].path) for row in rows]
        return Recordings(samples, np.array(rows, dtype=int), self.sample_rate, self.dtype, names)

    def _cut(self, clip, samples):
        """Cut a clip from the samples of its file; None if there are none, or if they end before the clip."""
        if samples is None:
            return None
        start = round(clip.onset * self.sample_rate)
        if start >= len(samples):
            end = len(samples) / self.sample_rate
            self._reasons.setdefault(clip.path, f"ends at {end:.3f} s, but a clip begins at {clip.onset} s.")
            return None
        stop = None if clip.duration is None else start + max(1, round(clip.duration * self.sample_rate))
        return samples[start:stop]

    def _report(self):
        """Warn about recordings that could not be stored, and raise or warn about unusable ones."""
        n_total = len({clip.path for clip in self.clips})
        memory, on_error = self.estimator.memory, self.estimator.on_error
        if self._storage_errors:
            where = f"the temporary folder {tempfile.gettempdir()!r}" if memory is None else f"memory={memory!r}"
            warn(
                f"{len(self._storage_errors)} of {n_total} decoded recordings cannot be stored in {where} and "
                f"stay in RAM ({self._storage_errors[0]}); free some space, or choose another memory directory."
            )
        if not self._reasons:
            return
        if self.reset and not self._n_readable:
            raise UnreadableAudioError(self._reasons, n_total)
        if on_error == "raise":
            advice = "repair them, leave them out, or set on_error='nan' to keep their rows as NaN"
            raise UnreadableAudioError(self._reasons, n_total, advice)
        lines = "\n".join(format_reasons(self._reasons))
        warn(f"{len(self._reasons)} recordings cannot be used; their rows are NaN:\n{lines}")


def samples_dtype(X):
    """Return the type of the numbers in X; raises if they are booleans or rows of different lengths."""
    if isinstance(X, Sequence) or (getattr(X, "ndim", 2) == 1 and X.dtype.kind == "O"):
        lengths = {np.size(row) for row in X}
        if len(lengths) > 1:
            raise ValueError(
                f"X holds rows of different lengths, {min(lengths)} to {max(lengths)} samples; cut or pad them to "
                "one length, or write each to a sound file and pass the paths."
            )
    dtype = np.asarray(X).dtype
    if dtype.kind == "b":
        raise TypeError("X holds booleans; samples are floats (full scale is 1) or integers.")
    return dtype


def scale_to_full_scale(samples, dtype):
    """Scale samples, now floats, that were integers of a type to the range from -1 to 1."""
    if dtype.kind not in "iu":
        return samples
    full_scale = 2.0 ** (8 * dtype.itemsize - 1)
    samples = (samples - full_scale if dtype.kind == "u" else samples) / full_scale
    if dtype.itemsize > 2 and 0 < np.abs(samples).max() * full_scale < 2**15:
        warn(
            f"X holds {dtype.name} numbers, whose full scale is {full_scale:.0f}, but none exceeds 16 bits, so X "
            "is almost silent; convert X to the type of the recordings, X.astype('int16') for example."
        )
    return samples


def map_in_threads(function, items, n_threads):
    """Yield the results of a function in order, while threads compute a few more."""
    if n_threads == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        pending: collections.deque[Future] = collections.deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 2 * n_threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def trim_silence(samples, sample_rate, top_db):
    """Cut silence off both ends: frames of 40 ms that are more than ``top_db`` dB below the loudest one.

    Silent recordings stay as they are. The same as ``librosa.effects.trim``, but in bounded memory.
    """
    hop = max(1, round(0.02 * sample_rate))
    energies = [np.zeros(1)]  # of each hop
    for start in range(0, len(samples), 4096 * hop):
        squares = np.square(np.asarray(samples[start : start + 4096 * hop], np.float64))
        energies.append(np.add.reduceat(squares, np.arange(0, len(squares), hop)))
    energy = np.concatenate([*energies, np.zeros(1)])
    power = (energy[:-1] + energy[1:])[: 1 + len(samples) // hop] / (2 * hop)  # frames of two hops each
    is_loud = librosa.power_to_db(power, ref=np.max, top_db=None) > -top_db
    start, stop = hop * is_loud.argmax(), hop * (len(is_loud) - is_loud[::-1].argmax())
    return samples[start:stop] if is_loud.any() else samples
