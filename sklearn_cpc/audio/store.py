"""Recordings in memory: every file decoded once per rate, and the clips cut from them."""

import collections
import functools
import math
import os
import tempfile
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import joblib
import librosa
import numpy as np
from sklearn.utils.validation import check_memory, validate_data

from .._processes import progress
from .cache import Cache, OnDisk, Scratch
from .clips import clips_of
from .reading import UnreadableAudioError, decode, limit_of, lines_of, look_at, read_audio

ON_ERROR = ("raise", "nan")
SAMPLE = 4  # bytes, of a float32
PART = 1 << 26  # bytes of decoded sound, which are used while the next are decoded
END = object()


@dataclass
class Recordings:
    """What rows of X came to: one stretch of samples per row.

    Attributes
    ----------
    samples : list of float ndarray of shape (n_samples,), OnDisk or None
        Samples of each row at the rate asked for; None where the recording could not be read.
    rows : int ndarray of shape (n_rows,)
        Which rows of X they are.
    rate : int
        Rate in Hz.
    dtype : dtype
        float64 if X was a float64 array, else float32.
    """

    samples: list
    rows: np.ndarray
    rate: int
    dtype: np.dtype

    @property
    def n_rows(self):
        """Count the rows."""
        return len(self.samples)

    @property
    def readable(self):
        """Indices of those whose recording could be read, int array."""
        return np.flatnonzero([samples is not None for samples in self.samples])

    def usable(self, top_db=None):
        """Return the samples of the readable rows, without the silence that :func:`trimmed` cuts off."""
        samples = [self.samples[row] for row in self.readable]
        return samples if top_db is None else [trimmed(stretch, self.rate, top_db) for stretch in samples]

    def parts(self):
        """Yield these recordings themselves, as :meth:`Source.parts` does those of X."""
        yield self


class Source:
    """The recordings that X names, to be read at one rate: all of them, or one part after the other.

    Parameters
    ----------
    estimator : estimator
        Its memory, n_jobs, on_error and verbose say how; its ``n_features_in_`` is set (``reset=True``) or
        checked when X is an array.
    X : recordings or array-like of shape (n_clips, n_samples)
        See :func:`~sklearn_cpc.audio.clips.clips_of`. Arrays are taken to be at ``sample_rate``.
    sample_rate : int
        In Hz.
    reset : bool
        Whether the estimator is being fitted.

    Raises
    ------
    ValueError, TypeError
        If X or a parameter cannot be used.
    """

    def __init__(self, estimator, X, sample_rate, *, reset):
        if estimator.on_error not in ON_ERROR:
            raise ValueError(f"on_error={estimator.on_error!r} is unknown; use 'raise' or 'nan'.")
        self.on_error, self.rate, self.reset = estimator.on_error, sample_rate, reset
        self.reader = estimator.memory, estimator.n_jobs, estimator.verbose
        self.clips, self.array = clips_of(X), None
        self.dtype = np.dtype(np.float32)
        if self.clips is None:
            self.array = validate_data(estimator, X, dtype=[np.float64, np.float32], reset=reset)
            self.dtype = self.array.dtype
        else:
            for name in ("n_features_in_", "feature_names_in_") if reset else ():
                vars(estimator).pop(name, None)  # of an earlier fit on an array
        self.n_rows = len(self.clips if self.array is None else self.array)
        self.n_readable = 0  # rows read
        self.reasons: dict[str, str] = {}  # why recordings cannot be used, by path
        self.failures: list[Exception] = []  # why decoded recordings could not be kept where they were to be

    def read(self):
        """Read all rows; what exceeds ``SKLEARN_CPC_RAM_GB`` (1, if it is not set) is kept on disk.

        Returns
        -------
        Recordings

        Raises
        ------
        UnreadableAudioError
            If recordings cannot be used and ``on_error="raise"``, or none is left to fit. All are listed.
        """
        if self.array is not None:
            return Recordings(list(self.array), np.arange(self.n_rows), self.rate, self.dtype)
        everything = list(self._parts(math.inf, 1e9 * limit_of("SKLEARN_CPC_RAM_GB", 1.0)))
        self._report(stacklevel=5)
        return everything[0]

    def parts(self):
        """Read some rows at a time, in bounded memory, the next ones while the last are in use.

        Yields
        ------
        Recordings
            All clips of a file come together.

        Raises
        ------
        UnreadableAudioError
            As :meth:`read`; what has been yielded is in vain.
        """
        if self.array is not None:
            yield self.read()
            return
        yield from one_ahead(self._parts(PART, PART))
        self._report(stacklevel=6)

    def _parts(self, n_bytes, budget):
        """Read parts of so many bytes, and keep up to a budget of each in RAM."""
        rows_of = collections.defaultdict(list)
        for row, clip in enumerate(self.clips):
            rows_of[clip.path].append(row)
        scratch, part, held = Scratch(budget), {}, 0
        for path, samples, reason in read_files(rows_of, self.rate, *self.reader, scratch, self.failures):
            if reason is not None:
                self.reasons[path] = reason
            part.update({row: self._stretch(self.clips[row], samples) for row in rows_of[path]})
            self.n_readable += sum(part[row] is not None for row in rows_of[path])
            held += 0 if samples is None else SAMPLE * len(samples)
            if self.reasons and self.on_error == "raise":
                part.clear()  # nothing will come of it; the rest is read to list all that cannot be used
            elif held >= n_bytes:
                yield self._recordings(part)
                part, held = {}, 0
                scratch.renew()
        if part or n_bytes == math.inf:
            yield self._recordings(part)

    def _recordings(self, part):
        rows = np.array(sorted(part), dtype=int)
        return Recordings([part[row] for row in rows], rows, self.rate, self.dtype)

    def _stretch(self, clip, whole):
        """Cut a clip out of its recording; None if there is none, or it ends before."""
        if whole is None:
            return None
        start = round(clip.onset * self.rate)
        if start >= len(whole):
            end = len(whole) / self.rate
            self.reasons.setdefault(clip.path, f"ends at {end:.3f} s, but a clip begins at {clip.onset} s.")
            return None
        stop = None if clip.duration is None else start + max(1, round(clip.duration * self.rate))
        return whole[start:stop]

    def _report(self, stacklevel):
        """Raise for unusable recordings, or warn, who called the estimator, and go on."""
        n_total = len({clip.path for clip in self.clips})
        warn_of(self.failures, n_total, self.reader[0], stacklevel + 1)
        if not self.reasons:
            return
        if self.reset and not self.n_readable:
            raise UnreadableAudioError(self.reasons, n_total)
        if self.on_error == "raise":
            advice = "repair them, leave them out, or set on_error='nan' to keep their rows as NaN"
            raise UnreadableAudioError(self.reasons, n_total, advice)
        message = "\n".join(lines_of(self.reasons))
        rows = f"{len(self.reasons)} recordings cannot be used; their rows are NaN:\n{message}"
        warnings.warn(rows, stacklevel=stacklevel)


def warn_of(failures, n_total, memory, stacklevel=2):
    """Warn of decoded recordings that are not where they were to be kept."""
    if failures:
        where = f"memory={memory!r}" if memory is not None else f"the temporary folder {tempfile.gettempdir()!r}"
        warnings.warn(
            f"{len(failures)} of {n_total} decoded recordings cannot be kept in {where} and stay in RAM "
            f"({failures[0]}); make room there, or choose another directory as memory.",
            stacklevel=stacklevel,
        )


def one_ahead(items):
    """Yield what an iterator yields, while a thread gets the next item."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, END)
        while (item := coming.result()) is not END:
            coming = pool.submit(next, items, END)
            yield item


def mapped_ahead(function, items, n_threads):
    """Yield what a function makes of items, in order; threads are a few items ahead of what is asked for."""
    if n_threads == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        coming: collections.deque[Future] = collections.deque()
        for item in items:
            coming.append(pool.submit(function, item))
            if len(coming) > 2 * n_threads:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def read_files(paths, sample_rate, memory, n_jobs, verbose, scratch, failures):
    """Decode files, in order.

    Parameters
    ----------
    paths : collection of str
    sample_rate : int
        In Hz.
    memory : str, path-like, joblib.Memory or None
        Where decoded files are kept between calls. Those of a directory stay on disk.
    n_jobs : int or None
        Threads that decode.
    verbose : int
        Whether to show a progress bar.
    scratch : Scratch
        Where they are kept if there is no memory.
    failures : list
        Why decoded files could not be kept and stay in RAM is appended to it.

    Yields
    ------
    path : str
    samples : float32 ndarray of shape (n_samples,), OnDisk or None
    reason : str or None
        Why there are no samples.
    """
    read = reader_of(memory, scratch, failures)
    sample_rate = int(sample_rate)  # NumPy's integers would be other keys of the cache
    trying = functools.partial(_try_reading, read, sample_rate)
    results = mapped_ahead(trying, paths, joblib.effective_n_jobs(n_jobs))
    yield from progress(results, len(paths), "decoding", verbose)


def _try_reading(read, sample_rate, path):
    """Read one file; returns its path, its samples or None, and None or the reason."""
    try:
        status, _ = look_at(path)
        return path, read(path, status, sample_rate), None
    except ValueError as error:
        return path, None, str(error)
    except MemoryError:
        return path, None, "does not fit into memory; cut it into pieces."


def reader_of(memory, scratch, failures):
    """Return a function of path, status and rate that decodes, and adds to failures what it cannot keep."""
    if memory is None:
        return functools.partial(_read_kept, scratch, failures)
    if isinstance(memory, (str, os.PathLike)):
        return functools.partial(_read_found, Cache(memory), failures)
    return functools.partial(_read_memorized, check_memory(memory).cache(_read_version), failures)


def _read_kept(keeper, failures, path, status, sample_rate):
    """Read a file into a Scratch or Cache."""
    try:
        return keeper.keep(path, status, sample_rate, decode(path, sample_rate))
    except OSError as error:
        samples = read_audio(path, sample_rate)
        failures.append(error)
        return samples


def _read_found(cache, failures, path, status, sample_rate):
    """Read a file by way of a Cache."""
    found = cache.find(path, status, sample_rate)
    return _read_kept(cache, failures, path, status, sample_rate) if found is None else found


def _read_memorized(read, failures, path, status, sample_rate):
    """Read a file by way of a joblib.Memory."""
    try:
        samples = read(os.path.abspath(path), status.st_size, status.st_mtime_ns, sample_rate)
        if samples.dtype != np.float32 or samples.ndim != 1:
            raise TypeError(f"what is there is damaged: {samples!r}")
        return OnDisk.of_memmap(samples, sample_rate) if isinstance(samples, np.memmap) else samples
    except Exception as error:  # joblib's, when its directory is full or damaged
        samples = read_audio(path, sample_rate)  # which says so if it is the recording's
        failures.append(error)
        return samples


def _read_version(path, size, mtime_ns, sample_rate):
    """Read a file; size and time of change are there for the cache to notice a new version."""
    return read_audio(path, sample_rate)


def trimmed(samples, sample_rate, top_db):
    """Cut off the silence at both ends: frames of 40 ms that lie ``top_db`` dB below the loudest one.

    What is silent throughout stays as it is. The same as ``librosa.effects.trim``, but in bounded memory.
    """
    hop = max(1, round(0.02 * sample_rate))
    energy = np.concatenate([[0.0], *hop_energies(samples, hop), [0.0]])
    power = (energy[:-1] + energy[1:])[: 1 + len(samples) // hop]  # of two hops each, around its middle
    sounding = librosa.power_to_db(power / (2 * hop), ref=np.max, top_db=None) > -top_db
    start, stop = hop * sounding.argmax(), hop * (len(sounding) - sounding[::-1].argmax())
    return samples[start:stop] if sounding.any() else samples


def hop_energies(samples, hop, n_hops=4096):
    """Yield the sum of squares in every hop of samples, for some thousand hops at a time."""
    for first in range(0, len(samples), hop * n_hops):
        squares = np.square(np.asarray(samples[first : first + hop * n_hops], np.float64))
        yield np.add.reduceat(squares, np.arange(0, len(squares), hop))
