"""Convert X to clips of recordings; X may hold paths, clips or numbers in any container."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import lru_cache
from numbers import Real
from typing import NamedTuple

import numpy as np
import pandas as pd
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


# Names of columns in annotation tables, without case, unit, spaces and punctuation; the first one found is used.
COLUMNS = {
    "path": "path file filename filepath audiopath audiofile notatedpath beginpath beginfile endpath endfile",
    "onset": "onset start starttime onsettime begin begintime tstart tmin mint clipstart from",
    "end": "end endtime offset offsettime stop stoptime tend tmax maxt clipend to",
    "duration": "duration length dur deltatime clipduration",
    "onset in file": "fileoffset",  # Raven counts its other times from the first file of a list
}
UNIT = re.compile(r"[\W_]+(s|secs?|seconds?)[\W_]*$")
TIME_WORD = re.compile(
    r"\w*(start|begin|onset|offset|duration)\w*|(end|stop)(ing|time|s|ms|sample|frame)*|time\w*"
    r"|dur|lengths?|(milli)?sec(ond)?s?|t(min|max)"
)
TOLERANCE = 0.01  # seconds by which columns that mean the same may differ, since tables are rounded


def as_clips(X):
    """Convert X to a list of :class:`Clip`, or return None if X holds numbers.

    X is a sequence, array, Series or table of paths, clips (tuples of path, onset, duration; columns that
    ``COLUMNS`` names) or numbers. Raises a TypeError or ValueError if X is a single path, can be read only once,
    is empty, mixes recordings with something else, or has invalid times.
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
    """Whether a row of X is a path, begins with one, or has named fields of which one may be a path."""
    if isinstance(row, Mapping) or hasattr(row, "_fields"):
        return any(isinstance(value, (str, bytes, os.PathLike)) for value in _named_values(row)[1])
    if isinstance(row, (list, tuple)) and row:
        row = row[0]
    return isinstance(row, (str, bytes, os.PathLike))


def _named_values(row):
    """Return the names and values of a mapping or named tuple."""
    return (list(row), list(row.values())) if isinstance(row, Mapping) else (row._fields, tuple(row))


def _as_rows(X):
    """Return the rows of X as a list, or None if X cannot hold recordings."""
    for method in ("collect", "compute"):  # of lazy frames
        if hasattr(X, method):
            raise TypeError(f"X is a {type(X).__name__} that has not been computed; pass X.{method}().")
    if hasattr(X, "to_pylist"):  # pyarrow
        X = X.to_pylist() if not hasattr(X, "column_names") else pd.DataFrame(X.to_pydict())
    elif hasattr(X, "to_dicts"):  # polars
        X = pd.DataFrame(X.to_dicts(), columns=X.columns)
    elif isinstance(X, np.ndarray) and X.dtype.names:
        X = pd.DataFrame({name: X[name].tolist() for name in X.dtype.names})
    elif isinstance(X, pd.MultiIndex):
        X = X.to_frame(index=False)
    elif isinstance(X, pd.Series) and len(X) and not holds_path(X.iloc[0]) and holds_path(X.index[0]):
        X = X.to_frame()
    if isinstance(X, pd.DataFrame):
        return _as_frame_rows(X)
    if hasattr(X, "to_numpy"):
        X = X.to_numpy()
    if isinstance(X, np.ndarray):
        return X.tolist() if X.dtype.kind in "OUST" and X.ndim in (1, 2) else None
    if isinstance(X, Mapping) and not hasattr(X, "shape"):  # sparse matrices may be mappings
        raise TypeError("X is a mapping; pass pandas.DataFrame(X) if it holds the columns of a table.")
    if isinstance(X, Iterable) and not isinstance(X, Sequence) and not hasattr(X, "shape"):
        advice = "sorted(X), since a set has no order" if isinstance(X, Set) else "list(X)"
        raise TypeError(
            f"X is a {type(X).__name__}, and must be a list of paths, clips or samples; pass {advice}."
        )
    return list(X) if isinstance(X, Sequence) and not isinstance(X, range) else None


def _as_frame_rows(X):
    """Return the rows of a DataFrame as a list, or None if it cannot hold recordings."""
    columns = [(str(name), X.iloc[:, i].tolist()) for i, name in enumerate(X.columns)]
    for level, name in enumerate(X.index.names):
        if name is not None and any(map(match_columns((str(name),)).get, COLUMNS)):
            columns.insert(level, (str(name), X.index.get_level_values(level).tolist()))
    names = tuple(name for name, _ in columns)
    matches = match_columns(names)
    if matches["path"]:
        return _clips_from_columns(names, [values for _, values in columns])
    index_holds_paths = len(X) and holds_path(X.index[0])
    if (
        (matches["onset"] and (matches["end"] or matches["duration"]))
        or (index_holds_paths and (len(names) == 1 or X.index.nlevels > 1))
        or (len(names) > 1 and any(holds_path(values[0]) for _, values in columns if values))
    ):
        advice = "; if its index holds the paths, name the index 'path'" if index_holds_paths else ""
        raise TypeError(
            f"X has no column 'path' but {list(names)}; rename the column of recordings to 'path'{advice}."
        )
    return columns[0][1] if len(names) == 1 else None


@lru_cache
def match_columns(names):
    """Return the indices of the columns of each meaning in ``COLUMNS``, and of others that look like times."""
    spaced = [re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower() for name in names]
    plain = [re.sub(r"[\W_]+", "", UNIT.sub("", name)) for name in spaced]
    matches = {
        meaning: [i for name in known.split() for i, other in enumerate(plain) if other == name]
        for meaning, known in COLUMNS.items()
    }
    known = {i for indices in matches.values() for i in indices}
    matches["unknown time"] = [
        i
        for i, name in enumerate(spaced)
        if i not in known and "freq" not in name and any(map(TIME_WORD.fullmatch, re.findall("[a-z]+", name)))
    ]
    return matches


def _clips_from_columns(names, columns):
    """Convert columns of paths and times to clips; columns that are neither are ignored."""
    matches = match_columns(names)
    used: dict[str, tuple] = {}  # name and values of the first column of each meaning, and what to compare
    has_all_times = matches["onset"] and (matches["end"] or matches["duration"])
    if matches["unknown time"] and not has_all_times:
        raise ValueError(
            f"X has a column {names[matches['unknown time'][0]]!r} that looks like a time and is not used; "
            "rename it to 'onset', 'end' or 'duration' if it holds these in seconds, or drop it."
        )
    for meaning in COLUMNS:
        for i in matches[meaning]:
            values = columns[i]
            if meaning == "path":
                comparable = [os.path.basename(os.fsdecode(v)) if holds_path(v) else None for v in values]
            else:
                values = comparable = [_seconds(v, f"row {row} of X: {names[i]}") for row, v in enumerate(values)]
            used.setdefault(meaning, (names[i], values, comparable))
            _check_agreement(used[meaning][0], used[meaning][2], names[i], comparable)
    times = {meaning: np.array(values, float) for meaning, (_, values, _) in used.items() if meaning != "path"}
    if "end" in times:
        if "onset" not in times:
            raise ValueError(
                f"X has a column {used['end'][0]!r} but none of onsets; rename the column that says where clips "
                "begin to 'onset', and the one that says where they end to 'end'."
            )
        durations = times["end"] - times["onset"]
        for row in np.flatnonzero(durations <= 0):
            raise ValueError(
                f"row {row} of X: {used['end'][0]}={times['end'][row]} must be greater than "
                f"{used['onset'][0]}={times['onset'][row]}."
            )
        if "duration" in times:
            _check_agreement(used["duration"][0], times["duration"], used["end"][0], durations)
            durations = np.where(np.isnan(durations), times["duration"], durations)
        times["duration"] = durations
    onsets = times.get("onset in file", times.get("onset", np.zeros(len(columns[0]))))
    durations = times.get("duration", np.full(len(columns[0]), np.nan))
    return list(map(Clip, used["path"][1], onsets.tolist(), durations.tolist()))


def _check_agreement(name, values, other_name, other_values):
    """Raise if two columns that mean the same differ."""
    for row, (one, other) in enumerate(zip(values, other_values, strict=True)):
        agree = one == other
        if isinstance(one, float) and isinstance(other, float):
            agree = abs(one - other) <= TOLERANCE or one != one or other != other  # NaN: not stated
        if not agree:
            raise ValueError(
                f"row {row} of X: the columns {name!r} and {other_name!r} do not agree; drop one of them."
            )


def _seconds(value, where):
    """Return a time as a float; None, as lists store a missing time, becomes NaN, as tables store it."""
    value = np.nan if value is None else value
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{where}={value!r} must be a number of seconds.")
    return float(value)


def _as_clip(row, index):
    """Convert one row of X to a Clip with a str path and valid times."""
    if not holds_path(row):
        raise TypeError(
            f"X mixes recordings with something else: element {index} is {row!r} of type {type(row).__name__}; "
            "every element must be a path or a Clip(path, onset, duration)."
        )
    if not isinstance(row, Clip) and (isinstance(row, Mapping) or hasattr(row, "_fields")):
        names, values = _named_values(row)
        if not match_columns(names := tuple(map(str, names)))["path"]:
            raise TypeError(f"element {index} of X has no field 'path' but {list(names)}; rename it, or use Clip.")
        (row,) = _clips_from_columns(names, [[value] for value in values])
    entries = list(row) if isinstance(row, (list, tuple)) else [row]
    if len(entries) > len(Clip._fields):
        raise ValueError(f"element {index} of X has {len(entries)} entries; a clip is (path, onset, duration).")
    path, onset, duration = Clip(*entries)
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"element {index} of X has the path {path!r}; it must be a path of a recording.")
    path = str(os.fsdecode(path))
    name = f"element {index} of X, {printable(path)}"
    if onset is None:
        raise TypeError(f"{name}: onset=None must be a number of seconds.")
    onset, duration = _seconds(onset, f"{name}: onset"), _seconds(duration, f"{name}: duration")
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
