"""Convert X to clips of recordings; X may hold paths, clips or numbers in any container."""

import os
from numbers import Real
from typing import NamedTuple

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions, validate_params

from .._constraints import POSITIVE, integers
from .reading import UnreadableAudioError, printable, read_duration


class Clip(NamedTuple):
    """A cut of a recording.

    Parameters
    ----------
    path : str or path-like
        The recording.
    onset : float, default=0.0
        Where the clip begins, in seconds.
    duration : float, default=None
        Length of the clip in seconds; None: to the end of the recording. A clip that extends beyond the end
        of the recording is padded.

    Examples
    --------
    >>> Clip("dawn.wav", onset=12.5, duration=4.0)
    Clip(path='dawn.wav', onset=12.5, duration=4.0)
    """

    path: str | os.PathLike
    onset: float = 0.0
    duration: float | None = None


def as_clips(X):
    """Convert X to a list of :class:`Clip`, or return None if X holds numbers.

    X is a list, tuple, array, Series or DataFrame of paths, clips (tuples of path, onset, duration; or columns of
    these names) or numbers. Raises a TypeError or ValueError if X is a single path, is empty, mixes recordings
    with something else, or has invalid times.
    """
    if isinstance(X, (str, bytes, os.PathLike)):
        raise TypeError(f"X is a single path, {os.fspath(X)!r}; put it in a list: [{os.fspath(X)!r}].")
    rows = _as_rows(X)
    if rows is not None and not len(rows):
        raise ValueError("X is empty (n_samples=0); pass at least one recording.")
    if rows is None or not any(map(holds_path, rows)):
        return None
    return [_as_clip(row, index) for index, row in enumerate(rows)]


def holds_path(row):
    """Whether a row of X is a path, or begins with one."""
    if isinstance(row, (list, tuple)) and row:
        row = row[0]
    return isinstance(row, (str, bytes, os.PathLike))


def _as_rows(X):
    """Return the rows of X as a list, or None if X cannot hold recordings."""
    if hasattr(X, "columns"):
        return _as_frame_rows(X)
    if hasattr(X, "to_numpy"):
        X = X.to_numpy()
    if isinstance(X, np.ndarray):
        return X.tolist() if X.dtype.kind in "OUST" and X.ndim in (1, 2) else None
    return X if isinstance(X, (list, tuple)) else None


def _as_frame_rows(X):
    """Return the rows of a DataFrame as a list, or None if it cannot hold recordings."""
    fields = [field for field in Clip._fields if field in list(X.columns)]
    if "path" in fields:
        rows = zip(*(X[field].to_numpy().tolist() for field in fields), strict=True)
        return [Clip(**dict(zip(fields, row, strict=True))) for row in rows]
    values = X.to_numpy()
    if len(X.columns) > 1 and any(map(holds_path, values[:1].ravel())):
        raise TypeError(
            f"X has no column 'path' but {list(X.columns)}; rename the column of recordings to 'path'."
        )
    return values.tolist() if len(X.columns) == 1 else None


def _as_clip(row, index):
    """Convert one row of X to a Clip with a str path and valid times."""
    if not holds_path(row):
        raise TypeError(
            f"X mixes recordings with something else: element {index} is {row!r} of type {type(row).__name__}; "
            "every element must be a path or a Clip(path, onset, duration)."
        )
    entries = list(row) if isinstance(row, (list, tuple)) else [row]
    if len(entries) > len(Clip._fields):
        raise ValueError(f"element {index} of X has {len(entries)} entries; a clip is (path, onset, duration).")
    path, onset, duration = Clip(*entries)
    path = str(os.fsdecode(path))
    name = f"element {index} of X, {printable(path)}"
    duration = np.nan if duration is None else duration  # NaN is how tables store None
    for field, seconds in (("onset", onset), ("duration", duration)):
        if isinstance(seconds, bool) or not isinstance(seconds, Real):
            raise TypeError(f"{name}: {field}={seconds!r} must be a number of seconds.")
    onset, duration = float(onset), float(duration)
    if not 0 <= onset < np.inf:
        raise ValueError(f"{name}: onset={onset} s must be 0 or more, and finite.")
    if not (0 < duration < np.inf or np.isnan(duration)):
        raise ValueError(f"{name}: duration={duration} s must be above 0, and finite.")
    return Clip(path, onset, None if np.isnan(duration) else duration)


@validate_params(
    {
        "n_per_file": [integers(1, 1_000_000)],
        "duration": [POSITIVE],
        "method": [StrOptions({"even", "random"})],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def sample_clips(paths, n_per_file, *, duration=4.0, method="even", random_state=None):
    """Cut several clips from every recording, for several embeddings per file.

    The report's ``num_em_samples_per_data`` (section 2.3): cuts of 4 seconds, each shifted a little, much
    like data augmentation. Only headers are read.

    Parameters
    ----------
    paths : sequence of str or path-like
        The recordings.
    n_per_file : int
        Clips per recording.
    duration : float, default=4.0
        Length of a clip in seconds (section 2.2.1). Clips of a shorter recording contain all of it.
    method : {"even", "random"}, default="even"
        "even" spreads the clips from the beginning to the end of the recording (a single clip is its
        middle), "random" draws their onsets.
    random_state : int, RandomState instance or None, default=None
        For ``method="random"``.

    Returns
    -------
    clips : list of Clip
        ``n_per_file`` for each recording, in its order.
    index : int ndarray of shape (n_clips,)
        Recording of each clip: ``y[index]`` and ``groups[index]`` match ``clips``. Pass ``index`` as groups
        to keep the clips of a recording in one fold.

    Raises
    ------
    ValueError
        If recordings cannot be read (all are listed) or a parameter is out of range.

    See Also
    --------
    CPCTransformer : Set its parameter ``n_clips`` to average over clips instead.

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
    recordings = as_clips(paths)
    if recordings is None or any(clip != Clip(clip.path) for clip in recordings):
        raise TypeError("paths must be a sequence of paths of recordings.")
    random = check_random_state(random_state)
    lengths, reasons = {}, {}
    for path in dict.fromkeys(clip.path for clip in recordings):
        try:
            lengths[path] = read_duration(path)
        except ValueError as error:
            reasons[path] = str(error)
    if reasons:
        raise UnreadableAudioError(reasons, len(lengths) + len(reasons))
    clips = []
    for path, _, _ in recordings:
        last_onset = max(0.0, lengths[path] - duration)
        if method == "random":
            onsets = random.uniform(0, last_onset, n_per_file)
        else:
            onsets = np.linspace(0, last_onset, n_per_file) if n_per_file > 1 else [last_onset / 2]
        clips += [Clip(path, float(onset), float(duration)) for onset in onsets]
    return clips, np.repeat(np.arange(len(recordings)), n_per_file)
