"""Read X: decode every file once per sample rate and cut the clips from it."""

import collections
import functools
import math
import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import joblib
import numpy as np
from sklearn.utils.validation import validate_data

from .._processes import progress
from .._warnings import warn
from .cache import DirectoryCache, JoblibCache, ScratchCache
from .clips import Clip, as_clips
from .files import RemoteError, opened
from .reading import Levels, UnreadableAudioError, environment_number, format_reasons, inspect_file, printable
from .samples import as_samples, name_types, scale_to_full_scale
from .seeking import count_seekable_samples

CHUNK_BYTES = 1 << 26  # of decoded sound; one chunk is in use while the next is decoded
MIN_KEPT_ENERGY = 0.01  # in resampling; all recordings of ordinary corpora keep more, even at 4410 Hz
MAX_LOST_RECORDINGS = 0.25  # share of recordings that may keep less without a warning
MAX_PEAK = 10.0  # largest sample of a recording in float, where full scale is 1, without a warning
MAX_PEAK_RATIO = 100.0  # to the median peak of the recordings, without a warning
MIN_POWER = 1e-10  # full scale is 1; what is quieter counts as this
MIN_TRIMMED_SHARE = 0.1  # of all samples that trimming may leave without a warning


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
        if top_db is None:
            return samples
        trimmed = [trim_silence(x, self.sample_rate, top_db) for x in samples]
        if sum(map(len, trimmed)) < MIN_TRIMMED_SHARE * sum(map(len, samples)):
            warn(
                f"trim={top_db} removes more than {1 - MIN_TRIMMED_SHARE:.0%} of the sound as silence; raise trim "
                "if the recordings are quiet next to their loudest moments (clicks, for example)."
            )
        return trimmed

    def chunks(self):
        """Yield these recordings, as :meth:`AudioSource.chunks` yields those of X."""
        yield self


class AudioSource:
    """The recordings in X, to be read all together or in chunks.

    The estimator's memory, n_jobs, on_error and verbose are used. X has any form that ``as_clips`` takes. An array
    has shape (n_clips, n_samples) and is at ``sample_rate``; its ``n_features_in_`` is set (``reset``) or checked.
    """

    def __init__(self, estimator, X, sample_rate, *, reset):
        self.estimator, self.sample_rate, self.reset = estimator, int(sample_rate), reset
        self.clips = as_clips(X)  # None if X is an array
        self.dtype = np.dtype(np.float32)  # float64 if X is a float64 array
        if self.clips is None:
            X = as_samples(X)
            types = name_types(X)
            numbers = validate_data(estimator, X, dtype=[np.float64, np.float32], reset=reset)
            self._array = scale_to_full_scale(numbers, types)
            self.dtype = self._array.dtype
            self._names = [f"row {row}" for row in range(len(self._array))]
            warn_if_loud(np.abs(self._array).max(axis=1), self._names)
        elif reset:
            for name in ("n_features_in_", "feature_names_in_"):  # of an earlier fit on an array
                vars(estimator).pop(name, None)
        self.n_rows = len(self._array if self.clips is None else self.clips)
        self._n_readable = 0  # rows
        self._reasons: dict[str, str] = {}  # why recordings cannot be used, by path
        self._levels: dict[str, Levels] = {}  # by path; empty if it was decoded earlier
        self._storage_errors: list[Exception] = []  # why decoded recordings could not be stored

    def read(self):
        """Return all rows as :class:`Recordings`; what exceeds ``SKLEARN_CPC_RAM_GB`` (default 1) is on disk.

        Raises an UnreadableAudioError if recordings cannot be used and ``on_error="raise"``, or if none can.
        """
        if self.clips is None:
            return Recordings(list(self._array), np.arange(self.n_rows), self.sample_rate, self.dtype, self._names)
        ram_bytes = 1e9 * environment_number("SKLEARN_CPC_RAM_GB", 1.0)
        (recordings,) = self._read_chunks(math.inf, ram_bytes)
        self._report()
        return recordings

    def chunks(self):
        """Yield :class:`Recordings` of some rows at a time, in bounded memory; the next is read meanwhile.

        All clips of a file are in one chunk. The errors of :meth:`read` come at the end; discard all chunks then.
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
        read_file = functools.partial(self._read_file, cache, scratch, rows)
        files = map_in_threads(read_file, rows, joblib.effective_n_jobs(self.estimator.n_jobs))
        chunk, n_bytes = {}, 0
        for path, samples, n_samples, reason in progress(files, len(rows), "decoding", self.estimator.verbose):
            if reason is not None:
                self._reasons[path] = reason
            chunk.update(dict.fromkeys(rows[path]) | samples)
            self._n_readable += len(samples)
            n_bytes += np.dtype(np.float32).itemsize * n_samples
            if self._reasons and self.estimator.on_error == "raise":
                chunk.clear()  # read the rest only to list all unusable recordings
            elif n_bytes >= chunk_bytes:
                yield self._recordings(chunk)
                chunk, n_bytes, scratch.n_bytes = {}, 0, 0
        if chunk or chunk_bytes == math.inf:
            yield self._recordings(chunk)

    def _read_file(self, cache, scratch, rows, path):
        """Return a path, the samples of its clips by row, how many were decoded, and why clips cannot be used."""
        clips = {row: self.clips[row] for row in rows[path]}
        try:
            with opened(path) as file:
                if file is path:
                    inspect_file(path)
                n_samples = samples = None
                if isinstance(cache, ScratchCache) and Clip(path) not in clips.values():
                    n_samples = count_seekable_samples(file, self.sample_rate)
                if n_samples is None:
                    samples = self._read_samples(cache, scratch, file)
                    n_samples = len(samples)
                spans = {row: self._find_span(clip, n_samples) for row, clip in clips.items()}
                late = dict.fromkeys(clips[row].onset for row, (start, _) in spans.items() if start >= n_samples)
                spans = {row: span for row, span in spans.items() if span[0] < n_samples}
                n_used = sum(stop - start for start, stop in spans.values())
                if samples is None and n_used > n_samples / 2:
                    samples = self._read_samples(cache, scratch, file)
                elif samples is None:
                    samples = self._read_samples(cache, scratch, file, list(spans.values())) if spans else []
                    stops = np.cumsum([stop - start for start, stop in spans.values()]).tolist()
                    spans = dict(zip(spans, zip([0, *stops], stops, strict=False), strict=True))
        except ValueError as error:
            bytearray(1 << 24)  # raises a MemoryError if memory is short, which decoders do not always report
            return path, {}, 0, str(error)
        reason = None
        if late:
            onsets = ", ".join(map(str, late)) + " s"
            begins = "a clip begins" if len(late) == 1 else f"{len(late)} clips begin"
            reason = f"ends at {n_samples / self.sample_rate:.3f} s, but {begins} at {onsets}."
        return path, {row: samples[start:stop] for row, (start, stop) in spans.items()}, len(samples), reason

    def _read_samples(self, cache, scratch, path, *spans):
        """Return the samples of a file, or of spans of it one after the other."""
        levels = Levels()
        try:
            samples = cache.read(path, self.sample_rate, levels, *spans)
        except cache.errors as error:
            if cache is scratch or isinstance(error, RemoteError):
                raise
            samples = scratch.read(path, self.sample_rate, levels)  # raises if the recording is the cause
            self._storage_errors.append(error)
        self._levels[getattr(path, "url", path)] = levels
        return samples

    def _find_span(self, clip, n_samples):
        """Return the first sample of a clip and its end in a recording of so many samples."""
        start = round(min(clip.onset * self.sample_rate, n_samples))
        if clip.duration is None:
            return start, n_samples
        length = max(1, round(min(clip.duration * self.sample_rate, n_samples)))
        return start, min(n_samples, start + length)

    def _recordings(self, samples_by_row):
        rows = sorted(samples_by_row)
        samples, names = [samples_by_row[row] for row in rows], [printable(self.clips[row].path) for row in rows]
        return Recordings(samples, np.array(rows, dtype=int), self.sample_rate, self.dtype, names)

    def _report(self):
        """Warn about recordings that could not be stored, and raise or warn about unusable ones."""
        n_total = len({clip.path for clip in self.clips})
        memory, on_error = self.estimator.memory, self.estimator.on_error
        if errors := self._storage_errors:
            warn(
                f"{len(errors)} of {n_total} decoded recordings cannot be stored in memory={memory!r} and will be "
                f"decoded again ({errors[0]}); free some space, or choose another directory."
            )
        all_levels = self._levels.values()
        warn_if_loud([levels.peak for levels in all_levels], list(map(printable, self._levels)))
        if silent := [printable(path) for path, levels in self._levels.items() if levels.peak == 0]:
            names = list_first(silent)
            warn(f"{len(silent)} of {n_total} recordings are digital silence once mixed to mono: {names}.")
        lost = [one.file_rate for one in all_levels if one.file_rate and one.kept_energy < MIN_KEPT_ENERGY]
        if len(lost) > MAX_LOST_RECORDINGS * n_total:
            name = "sample_rate" if "sample_rate" in self.estimator.get_params() else "encoder__sample_rate"
            warn(
                f"{len(lost)} of {n_total} recordings lose more than {1 - MIN_KEPT_ENERGY:.0%} of their energy at "
                f"{self.sample_rate} Hz, because their sound is above {self.sample_rate / 2:g} Hz; set "
                f"{name}={max(lost)}, the rate of the files, or one that covers the sound."
            )
        if not self._reasons:
            return
        if self.reset and not self._n_readable:
            raise UnreadableAudioError(self._reasons, n_total)
        if on_error == "raise":
            advice = "repair them, leave them out, or set on_error='nan' to keep their rows as NaN"
            raise UnreadableAudioError(self._reasons, n_total, advice)
        if callable(on_error):
            on_error(self._reasons)
            return
        lines = "\n".join(format_reasons(self._reasons))
        warn(f"{len(self._reasons)} recordings cannot be used; their rows are NaN:\n{lines}")


def warn_if_loud(peaks, names):
    """Warn about recordings that are far beyond full scale while most are not."""
    typical_peak = np.median(peaks) if len(peaks) else 0.0
    loud = np.flatnonzero(np.asarray(peaks) > max(MAX_PEAK, MAX_PEAK_RATIO * typical_peak))
    if len(loud):
        some = list_first([f"{names[i]} ({peaks[i]:.3g})" for i in loud])
        warn(
            f"{len(loud)} of {len(names)} recordings have samples far beyond full scale, which is 1, and outweigh "
            f"all others: {some}; divide them by the full scale of their integers, 32768 for example."
        )


def list_first(names, n_shown=10):
    """Return the first few names, separated by commas."""
    return ", ".join(names[:n_shown]) + (" and others" if len(names) > n_shown else "")


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
    power = np.maximum(power, MIN_POWER)
    is_loud = power > power.max() * 10 ** (-top_db / 10)
    start, stop = hop * is_loud.argmax(), hop * (len(is_loud) - is_loud[::-1].argmax())
    return samples[start:stop] if is_loud.any() else samples
