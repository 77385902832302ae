"""Windows: tables of stretches that cover recordings from beginning to end, and the labels of these."""

import os
from collections import Counter, defaultdict
from numbers import Real

import joblib
import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from .._constraints import ON_ERROR, check_parameters
from .._extras import import_extra
from .._files import locate
from .._warnings import warn
from ..audio.clips import as_clips, as_paths
from ..audio.reading import UnreadableAudioError, measure, printable
from ..audio.store import map_in_threads

pd = import_extra("pandas", "archive")

SHORTEST = 1e-3  # seconds: a shorter rest at the end of a recording is no window
SECONDS = Interval(Real, SHORTEST, None, closed="left")
TOLERANCE = 1e-9  # seconds, for the rounding of overlaps


@check_parameters(
    duration=[SECONDS], hop=[SECONDS, None], partial=[StrOptions({"keep", "shift", "drop"})], on_error=[ON_ERROR]
)
def cut_windows(paths, duration, hop=None, *, partial="keep", on_error="raise", n_jobs=None):
    """Cut recordings into windows that cover every second once. Only headers are read.

    Parameters
    ----------
    paths : sequence of str or path-like
        The recordings. One that occurs twice counts once.
    duration : float
        Length of a window in seconds, at least 0.001.
    hop : float, default=None
        Seconds from one onset to the next. None: ``duration``, so windows neither overlap nor leave gaps.
    partial : {"keep", "shift", "drop"}, default="keep"
        What happens to a last window that extends beyond the end: "keep" makes it shorter, "shift" moves it back,
        over a part of the window before it, "drop" leaves it out. A recording shorter than a window gives one
        window of its own length, or none with "drop".
    on_error : {"raise", "nan"}, default="raise"
        Raise one error that lists all unusable recordings, or warn and give each a row with a duration of NaN.
    n_jobs : int, default=None
        Threads that read headers.

    Returns
    -------
    DataFrame
        ``path``, ``onset`` and ``duration`` in seconds, to pass to any function that takes recordings. What is
        left at the end of a recording is no window if it is shorter than 0.001 s.

    Raises
    ------
    UnreadableAudioError, TypeError, ValueError
        If recordings cannot be used, if paths or parameters are invalid, or if "drop" leaves no window.

    Examples
    --------
    >>> from sklearn_cpc.archive import cut_windows
    >>> windows = cut_windows(["dawn.wav", "dusk.wav"], duration=5.0)  # doctest: +SKIP
    """
    paths = list(dict.fromkeys(as_paths(paths)))
    lengths = list(map_in_threads(measure, paths, joblib.effective_n_jobs(n_jobs)))
    reasons = {path: length for path, length in zip(paths, lengths, strict=True) if isinstance(length, str)}
    if reasons and on_error == "raise":
        advice = "repair them, leave them out, or set on_error='nan' to keep a row of each"
        raise UnreadableAudioError(reasons, len(paths), advice)
    if reasons:
        warn(str(UnreadableAudioError(reasons, len(paths), "each has one row, with a duration of NaN")))
    windows = [_lay_out(length, duration, hop or duration, partial) for length in lengths]
    path = np.repeat(np.array(paths, object), [len(onsets) for onsets, _ in windows])
    if not len(path):
        raise ValueError(f"no recording lasts duration={duration} s; use a shorter one, or partial='keep'.")
    onset, duration = map(np.concatenate, zip(*windows, strict=True))
    return pd.DataFrame({"path": path, "onset": onset, "duration": duration})


def clip_columns(table):
    """Return the paths, onsets and durations of clips, as a list and two float arrays; NaN: to the end."""
    clips = as_clips(table)
    if clips is None:
        raise TypeError("the table has no column of paths of recordings; name it 'path'.")
    paths, onsets, durations = zip(*clips, strict=True)
    return list(paths), np.array(onsets, float), np.array(durations, float)


def _lay_out(length, duration, hop, partial):
    """Return the onsets and durations of the windows of a recording; all in seconds."""
    if isinstance(length, str):
        return np.zeros(1), np.full(1, np.nan)
    last = min((length - duration - SHORTEST) / hop, (length - SHORTEST) / hop - 1)
    onsets = np.arange(1 + max(0, int(np.ceil(last)))) * hop
    if partial == "shift":
        onsets[-1] = max(0.0, min(onsets[-1], length - duration))
    durations = np.minimum(duration, length - onsets)
    is_used = (durations > duration - SHORTEST) | (partial != "drop")
    return onsets[is_used], durations[is_used]


@check_parameters(min_overlap=[Interval(Real, 0, 1, closed="right")], multilabel=["boolean"])
def label_windows(windows, annotations, *, min_overlap=0.5, multilabel=False, absent=None):
    """Give each window the label of the annotations that it overlaps with.

    Parameters
    ----------
    windows, annotations : DataFrame
        Tables with ``path``, ``onset`` and ``duration``; annotations also have a ``label``.
    min_overlap : float, default=0.5
        Share of the window or of the annotation, whichever is shorter, that must be in the other: above 0, up to
        1. Up to 0.5, every annotation labels a window, if windows leave no gaps.
    multilabel : bool, default=False
        Whether labels are tuples of all labels of a window, sorted. Otherwise the label that lasts longest in
        the window counts and, of two that last equally long, the first in sorted order.
    absent : object, default=None
        Label of windows without annotations, "background" for example; with ``multilabel``, it is ``()``.

    Returns
    -------
    DataFrame
        The windows with a column ``label``.

    Raises
    ------
    ValueError
        If annotations have no label, or none is of a recording among the windows. A warning tells if some are not.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_cpc.archive import label_windows
    >>> windows = pd.DataFrame({"path": "dawn.wav", "onset": [0.0, 5.0, 10.0], "duration": 5.0})
    >>> calls = pd.DataFrame({"path": ["dawn.wav"], "onset": [6.0], "duration": [1.5], "label": ["wren"]})
    >>> label_windows(windows, calls, absent="background")["label"].tolist()
    ['background', 'wren', 'background']
    """
    seconds: dict[int, Counter] = defaultdict(Counter)  # that labels last, by window
    paths, onsets, durations = clip_columns(windows)
    if len(annotations):
        ends = onsets + np.where(np.isnan(durations), np.inf, durations)
        rows_by_file = pd.Series(range(len(paths))).groupby(_find_files(paths)).indices
        for file, onset, end, label in _list_calls(annotations, rows_by_file):
            rows = rows_by_file[file]
            shared = np.minimum(ends[rows], end) - np.maximum(onsets[rows], onset)
            shorter = np.minimum(ends[rows] - onsets[rows], end - onset)
            for i in np.flatnonzero((shared > 0) & (shared >= min_overlap * shorter - TOLERANCE)):
                seconds[rows[i]][label] += shared[i]
    labels = [() if multilabel else absent] * len(paths)
    for window, lasting in seconds.items():
        longest = min(lasting, key=lambda label: (-round(lasting[label], 9), label))
        labels[window] = tuple(sorted(lasting)) if multilabel else longest
    return windows.assign(label=pd.Series(labels, index=windows.index, dtype=object))


def _find_files(paths):
    """Return the file that each path leads to."""
    files = {path: locate(path, os.path.realpath) for path in dict.fromkeys(paths)}
    return np.array([files[path] for path in paths], object)


def _list_calls(annotations, known):
    """Return file, onset, end and label of the annotations of known files; raise or warn if there are others."""
    paths, onsets, durations = clip_columns(annotations)
    if "label" not in annotations or annotations["label"].isna().any():
        advice = "drop them, or pass read_annotations the label_column"
        raise ValueError(f"annotations without a label cannot label windows; {advice}.")
    files = _find_files(paths)
    if unknown := {file: path for file, path in zip(files, paths, strict=True) if file not in known}:
        path = printable(next(iter(unknown.values())))
        message = f"annotations of {len(unknown)} recordings, such as {path}, are not of any window"
        if len(unknown) == len(set(files)):
            raise ValueError(f"{message}; pass recordings=windows['path'] to read_annotations.")
        warn(f"{message}, and label nothing.")
    ends = onsets + np.where(np.isnan(durations), np.inf, durations)
    return [call for call in zip(files, onsets, ends, annotations["label"], strict=True) if call[0] in known]
