"""Recordings in memory: every file decoded once per rate, and the clips cut from them."""

import functools
import os
import warnings
from dataclasses import dataclass

import joblib
import librosa
import numpy as np
from sklearn.utils.validation import check_memory, validate_data

from .._progress import progress
from .cache import Cache, OnDisk
from .clips import clips_of
from .reading import UnreadableAudioError, lines_of, look_at, read_audio

ON_ERROR = ("raise", "nan")


@dataclass
class Recordings:
    """What X came to: one stretch of samples per row.

    Attributes
    ----------
    samples : list of float ndarray of shape (n_samples,), OnDisk or None
        Samples of each row at the rate asked for; None where the recording could not be read.
    rate : int
        Rate in Hz.
    dtype : dtype
        float64 if X was a float64 array, else float32.
    """

    samples: list
    rate: int
    dtype: np.dtype

    @property
    def readable(self):
        """Rows whose recording could be read, int array."""
        return np.flatnonzero([samples is not None for samples in self.samples])

    def usable(self, top_db=None):
        """Return the samples of the readable rows, without the silence that :func:`trimmed` cuts off."""
        samples = [self.samples[row] for row in self.readable]
        return samples if top_db is None else [trimmed(stretch, self.rate, top_db) for stretch in samples]


def read_recordings(estimator, X, sample_rate, *, reset):
    """Read all rows of X at one rate, by the estimator's memory, n_jobs, on_error and verbose.

    Parameters
    ----------
    estimator : estimator
        Its ``n_features_in_`` is set (``reset=True``) or checked when X is an array.
    X : recordings or array-like of shape (n_clips, n_samples)
        See :func:`~sklearn_cpc.audio.clips.clips_of`. Arrays are taken to be at ``sample_rate``.
    sample_rate : int
        In Hz.
    reset : bool
        Whether the estimator is being fitted.

    Returns
    -------
    Recordings

    Raises
    ------
    UnreadableAudioError
        If recordings cannot be used and ``on_error="raise"``, or none is left to fit. All are listed.
    """
    if estimator.on_error not in ON_ERROR:
        raise ValueError(f"on_error={estimator.on_error!r} is unknown; use 'raise' or 'nan'.")
    clips = clips_of(X)
    if clips is None:
        array = validate_data(estimator, X, dtype=[np.float64, np.float32], reset=reset)
        return Recordings(list(array), sample_rate, array.dtype)
    for name in ("n_features_in_", "feature_names_in_") if reset else ():
        vars(estimator).pop(name, None)  # of an earlier fit on an array
    reader = estimator.memory, estimator.n_jobs, estimator.verbose
    files, reasons = read_files([clip.path for clip in clips], sample_rate, *reader)
    samples = []
    for clip in clips:
        whole = files.get(clip.path)
        start = round(clip.onset * sample_rate)
        if whole is not None and start >= len(whole):
            end = len(whole) / sample_rate
            reasons.setdefault(clip.path, f"ends at {end:.3f} s, but a clip begins at {clip.onset} s.")
            whole = None
        stop = None if clip.duration is None else start + max(1, round(clip.duration * sample_rate))
        samples.append(None if whole is None else whole[start:stop])
    if reasons:
        n_total = len({clip.path for clip in clips})
        nothing_to_fit = reset and all(stretch is None for stretch in samples)
        report(reasons, n_total, estimator.on_error, nothing_to_fit)
    return Recordings(samples, sample_rate, np.dtype(np.float32))


def report(reasons, n_total, on_error, nothing_to_fit):
    """Raise for unusable recordings, or warn and go on."""
    if nothing_to_fit:
        raise UnreadableAudioError(reasons, n_total)
    if on_error == "raise":
        advice = "repair them, leave them out, or set on_error='nan' to keep their rows as NaN"
        raise UnreadableAudioError(reasons, n_total, advice)
    message = "\n".join(lines_of(reasons))
    warnings.warn(f"{len(reasons)} recordings cannot be used; their rows are NaN:\n{message}", stacklevel=5)


def read_files(paths, sample_rate, memory=None, n_jobs=None, verbose=0):
    """Decode every distinct file once.

    Parameters
    ----------
    paths : list of str
        May repeat.
    sample_rate : int
        In Hz.
    memory : str, path-like, joblib.Memory or None
        Where decoded files are kept between calls. Those of a directory stay on disk.
    n_jobs : int or None
        Threads that decode.
    verbose : int
        Whether to show a progress bar.

    Returns
    -------
    samples : dict of {str: float32 ndarray of shape (n_samples,) or OnDisk}
        By path; without the files that cannot be read.
    reasons : dict of {str: str}
        Why the others cannot, by path.
    """
    failures: list[Exception] = []
    read = reader_of(memory, failures)
    unique = list(dict.fromkeys(paths))
    sample_rate = int(sample_rate)  # NumPy's integers would be other keys of the cache
    pool = joblib.Parallel(n_jobs=n_jobs, require="sharedmem", return_as="generator")
    results = pool(joblib.delayed(_try_reading)(read, path, sample_rate) for path in unique)
    samples, reasons = {}, {}
    for path, (signal, reason) in zip(unique, progress(results, len(unique), "decoding", verbose), strict=True):
        if reason is None:
            samples[path] = signal
        else:
            reasons[path] = reason
    if failures:
        warnings.warn(
            f"{len(failures)} of {len(unique)} decoded recordings cannot be kept in memory={memory!r} and stay in "
            f"RAM ({failures[0]}); make room there, or choose another directory.",
            stacklevel=5,
        )
    return samples, reasons


def _try_reading(read, path, sample_rate):
    """Read one file; returns its samples and None, or None and the reason."""
    try:
        status, _ = look_at(path)
        return read(path, status, sample_rate), None
    except ValueError as error:
        return None, str(error)
    except MemoryError:
        return None, "does not fit into memory; cut it into pieces."


def reader_of(memory, failures):
    """Return a function of path, status and rate that decodes, and adds to failures what it cannot keep."""
    if memory is None:
        return lambda path, status, sample_rate: read_audio(path, sample_rate)
    if isinstance(memory, (str, os.PathLike)):
        return functools.partial(_read_kept, Cache(memory), failures)
    return functools.partial(_read_memorized, check_memory(memory).cache(_read_version), failures)


def _read_kept(cache, failures, path, status, sample_rate):
    """Read a file by way of a directory."""
    found = cache.find(path, status, sample_rate)
    if found is not None:
        return found
    samples = read_audio(path, sample_rate)
    try:
        return cache.keep(path, status, sample_rate, samples)
    except OSError as error:
        failures.append(error)
        return samples


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
    """Cut off the silence at both ends: frames of 20 ms that lie ``top_db`` dB below the loudest one.

    What is silent throughout stays as it is.
    """
    frame = max(1, round(0.02 * sample_rate))
    _, (start, stop) = librosa.effects.trim(
        np.asarray(samples), top_db=top_db, frame_length=2 * frame, hop_length=frame
    )
    return samples[start:stop] if stop > start else samples


def n_clips_to_cover(length, clip):
    """Clips needed to cover ``length`` samples with clips of ``clip`` samples, at least 1."""
    return max(1, -(-length // clip))


def even_starts(length, clip, n_clips=None):
    """Spread clips evenly from the beginning to the end, one clip in the middle; returns their starts.

    None: as many as cover all.
    """
    n_clips = n_clips_to_cover(length, clip) if n_clips is None else n_clips
    last = max(0, length - clip)
    return np.array([last // 2]) if n_clips == 1 else np.linspace(0, last, n_clips).round().astype(int)


def cut(samples, start, clip, out):
    """Copy the clip of ``clip`` samples that begins at ``start`` to ``out``, zeros after the end.

    Returns the number of samples copied.
    """
    piece = samples[start : start + clip]
    out[: len(piece)] = piece
    out[len(piece) :] = 0
    return len(piece)


def n_sounding(n_samples, clip, n_steps):
    """Count the steps of a clip that hold sound when its first ``n_samples`` do: those at least half filled."""
    filled = np.floor(np.asarray(n_samples) * n_steps / clip + 0.5).astype(np.int64)
    return np.clip(filled, 1, n_steps)
