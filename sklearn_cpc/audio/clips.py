"""Clips: what X may be, and cuts of recordings that stand in for it."""

import os
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_scalar

from .reading import UnreadableAudioError, duration_of, printable


class Clip(NamedTuple):
    """A stretch of a recording.

    Parameters
    ----------
    path : str or path-like
        The recording.
    onset : float, default=0.0
        Where the clip begins, in seconds.
    duration : float, default=None
        How long it lasts, in seconds; None: to the end of the recording. What reaches beyond the end of
        the recording is padding.

    Examples
    --------
    >>> Clip("dawn.wav", onset=12.5, duration=4.0)
    Clip(path='dawn.wav', onset=12.5, duration=4.0)
    """

    path: str | os.PathLike
    onset: float = 0.0
    duration: float | None = None


def clips_of(X):
    """Turn X into a list of :class:`Clip`, or None when X holds numbers instead of recordings.

    Parameters
    ----------
    X : list, tuple, ndarray, Series or DataFrame
        Paths, clips (tuples of path, onset, duration; a DataFrame with columns of these names), or numbers.

    Raises
    ------
    TypeError
        If X is one path instead of a list of them, or mixes recordings with something else.
    ValueError
        If X is empty or a clip's onset or duration is out of range.
    """
    if isinstance(X, (str, bytes, os.PathLike)):
        raise TypeError(f"X is a single path, {os.fspath(X)!r}; put it in a list: [{os.fspath(X)!r}].")
    rows = rows_of(X)
    if rows is not None and not len(rows):
        raise ValueError("X is empty (n_samples=0); pass at least one recording.")
    if rows is None or not any(map(names_audio, rows)):
        return None
    return [as_clip(row, index) for index, row in enumerate(rows)]


def names_of(X, rows):
    """Names of rows of X for messages: their files, or their numbers where X holds samples."""
    clips = clips_of(X)
    return [f"row {row}" if clips is None else printable(clips[row].path) for row in rows]


def rows_of(X):
    """Rows of X as a list, or None when X cannot hold recordings."""
    if hasattr(X, "columns"):
        return rows_of_frame(X)
    if hasattr(X, "to_numpy"):
        X = X.to_numpy()
    if isinstance(X, np.ndarray):
        return X.tolist() if X.dtype.kind in "OUST" and X.ndim in (1, 2) else None
    return X if isinstance(X, (list, tuple)) else None


def rows_of_frame(X):
    """Rows of a DataFrame as a list, or None when it cannot hold recordings."""
    names = [name for name in Clip._fields if name in list(X.columns)]
    if "path" in names:
        rows = zip(*(X[name].to_numpy().tolist() for name in names), strict=True)
        return [Clip(**dict(zip(names, row, strict=True))) for row in rows]
    values = X.to_numpy()
    if len(X.columns) > 1 and any(map(names_audio, values[:1].ravel())):
        raise TypeError(
            f"X has no column 'path' but {list(X.columns)}; rename the column of recordings to 'path'."
        )
    return values.tolist() if len(X.columns) == 1 else None


def names_audio(row):
    """Whether a row is a path, or begins with one."""
    if isinstance(row, (list, tuple)) and row:
        row = row[0]
    return isinstance(row, (str, bytes, os.PathLike))


def as_clip(row, index):
    """Turn one row of X into a Clip with a str path and checked times."""
    if not names_audio(row):
        raise TypeError(
            f"X mixes recordings with something else: element {index} is {row!r} of type {type(row).__name__}; "
            "every element must be a path or a Clip(path, onset, duration)."
        )
    parts = list(row) if isinstance(row, (list, tuple)) else [row]
    if len(parts) > len(Clip._fields):
        raise ValueError(f"element {index} of X has {len(parts)} entries; a clip is (path, onset, duration).")
    path, onset, duration = Clip(*parts)
    path = str(os.fsdecode(path))
    name = f"element {index} of X, {printable(path)}"
    onset = seconds("onset", onset, name)
    if not 0 <= onset < np.inf:
        raise ValueError(f"{name}: onset={onset} s must be 0 or more, and finite.")
    if duration is not None:
        duration = seconds("duration", duration, name)
        duration = None if np.isnan(duration) else duration  # how tables hold None
    if duration is not None and not 0 < duration < np.inf:
        raise ValueError(f"{name}: duration={duration} s must be above 0, and finite.")
    return Clip(path, onset, duration)


def seconds(what, value, name):
    """Return a time as float, or raise a TypeError that names the clip."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}: {what}={value!r} must be a number of seconds.")
    return float(value)


def sample_clips(paths, n_per_file, *, duration=4.0, method="even", random_state=None):
    """Cut several clips from every recording: many embeddings per file.

    The report's ``num_em_samples_per_data`` (section 2.3): gradually shifted cuts of 4 seconds, much
    like data augmentation. Only headers are read.

    Parameters
    ----------
    paths : sequence of str or path-like
        The recordings.
    n_per_file : int
        Clips per recording.
    duration : float, default=4.0
        Length of a clip in seconds (section 2.2.1). A shorter recording gives clips of all of it.
    method : {"even", "random"}, default="even"
        "even" spreads the clips from the beginning to the end of the recording (one clip: its middle),
        "random" draws where they begin.
    random_state : int, RandomState instance or None, default=None
        For ``method="random"``.

    Returns
    -------
    clips : list of Clip
        ``n_per_file`` for each recording, in its order.
    index : int ndarray of shape (n_clips,)
        Recording of each clip: ``y[index]`` and ``groups[index]`` go with ``clips``. Grouping by
        ``index`` keeps the clips of a recording in one fold.

    Raises
    ------
    ValueError
        If recordings cannot be read (all are listed) or a parameter is out of range.

    See Also
    --------
    CPCTransformer : Its parameter ``n_clips`` averages over clips instead.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, soundfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "noise.wav")
    ...     soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, 80000), 8000)
    ...     clips, index = sample_clips([path], 4)
    >>> [(clip.onset, clip.duration) for clip in clips]
    [(0.0, 4.0), (2.0, 4.0), (4.0, 4.0), (6.0, 4.0)]
    >>> index
    array([0, 0, 0, 0])
    """
    check_scalar(n_per_file, "n_per_file", Integral, min_val=1)
    check_scalar(duration, "duration", Real, min_val=0, include_boundaries="neither")
    if not np.isfinite(duration):
        raise ValueError(f"duration={duration} must be a finite number of seconds.")
    if method not in ("even", "random"):
        raise ValueError(f"method={method!r} is unknown; use 'even' or 'random'.")
    whole = clips_of(paths)
    if whole is None or any(clip != Clip(clip.path) for clip in whole):
        raise TypeError("paths must be a sequence of paths of recordings.")
    random = check_random_state(random_state)
    lengths = durations_of([clip.path for clip in whole])
    clips = []
    for clip, length in zip(whole, lengths, strict=True):
        last = max(0.0, length - duration)
        if method == "random":
            onsets = random.uniform(0, last, n_per_file)
        else:
            onsets = np.linspace(0, last, n_per_file) if n_per_file > 1 else [last / 2]
        clips += [Clip(clip.path, float(onset), float(duration)) for onset in onsets]
    return clips, np.repeat(np.arange(len(whole)), n_per_file)


def durations_of(paths):
    """Durations in seconds of all recordings, or one error that lists those without."""
    durations, reasons = {}, {}
    for path in dict.fromkeys(paths):
        try:
            durations[path] = duration_of(path)
        except ValueError as error:
            reasons[path] = str(error)
    if reasons:
        raise UnreadableAudioError(reasons, len(durations) + len(reasons))
    return [durations[path] for path in paths]
