"""Convert X to clips of recordings; X may hold paths, clips or numbers in any container."""

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions

from .._constraints import POSITIVE, check_parameters, integers
from .._extras import from_pandas
from .reading import UnreadableAudioError, measure, printable
from .tables import as_seconds, is_path, match_columns, read_columns, read_frame, read_table


class Clip(NamedTuple):
    """A cut of a recording.

    Parameters
    ----------
    path : str or path-like
        The recording.
    onset : float, default=0.0
        Where the clip begins, in seconds.
    duration : float, default=None
        Length of the clip in seconds; None: to the end of the recording. Beyond the end, a clip is padded.

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

    X is a sequence, array, Series or table of paths, clips (tuples of path, onset, duration; columns that
    ``tables.COLUMNS`` names) or numbers. Raises a TypeError or ValueError if it cannot be used.
    """
    if isinstance(X, np.ndarray) and X.ndim == 0:
        X = X.item()
    if is_path(X):
        raise TypeError(f"X is a single path, {os.fspath(X)!r}; put it in a list: [{os.fspath(X)!r}].")
    rows = _as_rows(X)
    if rows is not None and not len(rows):
        raise ValueError("X is empty (n_samples=0); pass at least one recording.")
    if rows is None or not any(map(_is_recording, rows)):
        return None
    return [_as_clip(row, index) for index, row in enumerate(rows)]


def as_paths(X):
    """Return the paths of recordings as a list of str; raises a TypeError if X holds anything else."""
    clips = as_clips(X)
    if clips is None or any(clip != Clip(clip.path) for clip in clips):
        raise TypeError("paths must be a sequence of paths of recordings.")
    return [clip.path for clip in clips]


def holds_path(row):
    """Whether a row of X is a path, begins with one, or has named fields of which one may be a path."""
    fields = _as_mapping(row)
    if fields is not None:
        return any(map(is_path, fields.values()))
    if isinstance(row, (list, tuple)) and row:
        row = row[0]
    return is_path(row)


def _is_recording(row):
    """Whether a row of X is meant as a recording, even if the path in it is no path."""
    return holds_path(row) or isinstance(row, Mapping) or "path" in getattr(row, "_fields", ())


def _as_mapping(row):
    """Return a mapping, named tuple or row of a table as a mapping, and anything else as None."""
    if hasattr(row, "_asdict"):
        return row._asdict()
    return row if isinstance(row, Mapping) else row.to_dict() if isinstance(row, from_pandas("Series")) else None


def _as_rows(X):
    """Return the rows of X as a list, or None if X cannot hold recordings."""
    for method in ("collect", "compute"):  # of lazy frames
        if hasattr(X, method):
            raise TypeError(f"X is a {type(X).__name__} that has not been computed; pass X.{method}().")
    if hasattr(X, "to_pylist"):  # pyarrow
        if hasattr(X, "column_names"):
            return read_table(list(X.to_pydict().items()))
        X = X.to_pylist()
    elif hasattr(X, "to_dicts"):  # polars
        dicts = X.to_dicts()
        return read_table([(name, [fields[name] for fields in dicts]) for name in X.columns])
    elif isinstance(X, np.ndarray) and X.dtype.names:
        return read_table([(name, X[name].tolist()) for name in X.dtype.names])
    elif isinstance(X, from_pandas("MultiIndex")):
        X = X.to_frame(index=False)
    elif isinstance(X, from_pandas("Series")) and len(X):
        if is_path(X.iloc[0]) and any(name is not None for name in X.index.names):
            X = X.to_frame("path")
        elif not holds_path(X.iloc[0]) and holds_path(X.index[0]):
            X = X.to_frame()
    if isinstance(X, from_pandas("DataFrame")):
        return read_frame(X)
    if hasattr(X, "to_numpy"):
        X = X.to_numpy()
    if isinstance(X, np.ndarray):
        return X.tolist() if X.dtype.kind in "OUST" and X.ndim in (1, 2) else None
    if isinstance(X, Mapping) and not hasattr(X, "shape"):  # sparse matrices may be mappings
        raise TypeError("X is a mapping; pass pandas.DataFrame(X) if it holds the columns of a table.")
    if isinstance(X, Iterable) and not isinstance(X, Sequence) and not hasattr(X, "shape"):
        advice = "pass sorted(X), since a set has no order" if isinstance(X, Set) else "pass list(X)"
        advice = "write it to a file and pass [path]" if hasattr(X, "read") else advice
        raise TypeError(f"X is a {type(X).__name__}, and must be a list of paths, clips or samples; {advice}.")
    return list(X) if isinstance(X, Sequence) and not isinstance(X, range) else None


def _as_clip(row, index):
    """Convert one row of X to a Clip with a str path and valid times."""
    if not _is_recording(row):
        raise TypeError(
            f"X mixes recordings with something else: element {index} is {row!r} of type {type(row).__name__}; "
            "every element must be a path or a Clip(path, onset, duration)."
        )
    if not isinstance(row, Clip) and (fields := _as_mapping(row)) is not None:
        names = tuple(map(str, fields))
        if not match_columns(names)["path"]:
            raise TypeError(f"element {index} of X has no field 'path' but {list(names)}; rename it, or use Clip.")
        (row,) = read_columns(names, [[value] for value in fields.values()], first_row=index)
    entries = list(row) if isinstance(row, (list, tuple)) else [row]
    if len(entries) > len(Clip._fields):
        raise ValueError(f"element {index} of X has {len(entries)} entries; a clip is (path, onset, duration).")
    path, onset, duration = Clip(*entries)
    if not is_path(path):
        raise TypeError(f"element {index} of X has the path {path!r}; it must be a path of a recording.")
    path = str(os.fsdecode(path))
    name = f"element {index} of X, {printable(path)}"
    if onset is None:
        raise TypeError(f"{name}: onset=None must be a number of seconds.")
    onset, duration = as_seconds(onset, f"{name}: onset"), as_seconds(duration, f"{name}: duration")
    if not 0 <= onset < np.inf:
        raise ValueError(f"{name}: onset={onset} s must be 0 or more, and finite.")
    if not (0 < duration < np.inf or np.isnan(duration)):
        raise ValueError(f"{name}: duration={duration} s must be above 0, and finite.")
    return Clip(path, onset, None if np.isnan(duration) else duration)


@check_parameters(
    n_per_file=[integers(1, 1_000_000)],
    duration=[POSITIVE],
    method=[StrOptions({"even", "random"})],
    random_state=["random_state"],
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
        "even" spreads the clips over the recording (a single clip is its middle), "random" draws their onsets.
    random_state : int, RandomState instance or None, default=None
        For ``method="random"``.

    Returns
    -------
    clips : list of Clip
        ``n_per_file`` for each recording, in its order.
    index : int ndarray of shape (n_clips,)
        Recording of each clip: ``y[index]`` and ``groups[index]`` match ``clips``. ``index`` can serve as groups.

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
    """
    recordings = as_paths(paths)
    random = check_random_state(random_state)
    lengths = {path: measure(path) for path in dict.fromkeys(recordings)}
    if reasons := {path: length for path, length in lengths.items() if isinstance(length, str)}:
        raise UnreadableAudioError(reasons, len(lengths))
    clips = []
    for path in recordings:
        last_onset = max(0.0, lengths[path] - duration)
        if method == "random":
            onsets = random.uniform(0, last_onset, n_per_file)
        else:
            onsets = np.linspace(0, last_onset, n_per_file) if n_per_file > 1 else [last_onset / 2]
        clips += [Clip(path, float(onset), float(duration)) for onset in onsets]
    return clips, np.repeat(np.arange(len(recordings)), n_per_file)
