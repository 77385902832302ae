"""Labels of windows: the annotations that overlap with each."""

import os
from collections import Counter, defaultdict
from numbers import Real

import numpy as np
import pandas as pd
from sklearn.utils._param_validation import Interval

from .._constraints import check_parameters
from .._files import locate
from .._warnings import warn
from ..audio.reading import printable
from .windows import clip_columns

TOLERANCE = 1e-9  # seconds, for rounding


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
