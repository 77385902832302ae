"""Labels of windows: the annotations that overlap with each."""

import os
from numbers import Real

import numpy as np
import pandas as pd
from sklearn.utils._param_validation import Interval, validate_params

from .._warnings import warn
from ..audio.reading import printable
from .windows import clip_columns

TOLERANCE = 1e-9  # of shares, which are rounded


@validate_params(
    {"min_overlap": [Interval(Real, 0, 1, closed="right")], "multilabel": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def label_windows(windows, annotations, *, min_overlap=0.5, multilabel=False, absent=None):
    """Give each window the label of the annotations that it overlaps with.

    Parameters
    ----------
    windows : DataFrame
        Rows with ``path``, ``onset`` and ``duration``, such as those of :func:`cut_windows`.
    annotations : DataFrame
        Rows with ``path``, ``onset``, ``duration`` and ``label``, such as those of :func:`read_annotations`.
    min_overlap : float, default=0.5
        How much of the annotation or of the window must be in the other, whichever is shorter: above 0, up to 1.
        With 0.5 or less, every annotation labels a window, if windows leave no gaps.
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
        If annotations have no label, or none is of a recording among the windows.

    Warns
    -----
    UserWarning
        If some annotations are of recordings that are not among the windows.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_cpc.archive import label_windows
    >>> windows = pd.DataFrame({"path": "dawn.wav", "onset": [0.0, 5.0, 10.0], "duration": 5.0})
    >>> calls = pd.DataFrame({"path": ["dawn.wav"], "onset": [6.0], "duration": [1.5], "label": ["wren"]})
    >>> label_windows(windows, calls, absent="background")["label"].tolist()
    ['background', 'wren', 'background']
    """
    paths, onsets, durations = clip_columns(windows)
    ends = onsets + np.where(np.isnan(durations), np.inf, durations)
    labels = np.empty(len(paths), object)
    labels[:] = [() if multilabel else absent] * len(paths)
    if len(annotations):
        pairs = _find_pairs(paths, onsets, ends, annotations, min_overlap)
        pairs = pairs.groupby(["window", "label"], sort=True)["seconds"].sum().round(9).reset_index()
        if multilabel:
            labelled = pairs.groupby("window")["label"].agg(tuple)
        else:
            pairs = pairs.sort_values("seconds", ascending=False, kind="stable").drop_duplicates("window")
            labelled = pairs.set_index("window")["label"]
        labels[labelled.index] = labelled.to_numpy()
    if not isinstance(windows, pd.DataFrame):
        windows = pd.DataFrame({"path": paths, "onset": onsets, "duration": durations})
    return windows.assign(label=pd.Series(labels, index=windows.index, dtype=object))


def _find_pairs(paths, onsets, ends, annotations, min_overlap):
    """Return a table of the windows and labels that belong together, with the seconds that they share."""
    their_paths, their_onsets, their_durations = clip_columns(annotations)
    if "label" not in annotations or annotations["label"].isna().any():
        raise ValueError(
            "annotations without a label cannot label windows; fill in the column 'label', or drop these rows. "
            "If their tables have a column of labels, name it: read_annotations(..., label_column=...)."
        )
    their_ends = their_onsets + np.where(np.isnan(their_durations), np.inf, their_durations)
    labels = annotations["label"].to_numpy(object)
    windows_by_file, theirs_by_file = _group_by_file(paths), _group_by_file(their_paths)
    unknown = [their_paths[rows[0]] for file, rows in theirs_by_file.items() if file not in windows_by_file]
    if unknown:
        message = (
            f"{len(unknown)} of {len(theirs_by_file)} annotated recordings are not among those of the windows, "
            f"{printable(unknown[0])} for example"
        )
        if len(unknown) == len(theirs_by_file):
            raise ValueError(f"{message}; pass recordings=windows['path'] to read_annotations.")
        warn(f"{message}; their annotations label nothing.")
    found: list = [(np.empty(0, int), np.empty(0, object), np.empty(0))]  # windows, labels, seconds
    for file in theirs_by_file.keys() & windows_by_file.keys():
        rows, theirs = windows_by_file[file], theirs_by_file[file]
        rows = rows[np.argsort(onsets[rows], kind="stable")]
        starts, longest = onsets[rows], (ends[rows] - onsets[rows]).max()
        first = np.searchsorted(starts, their_onsets[theirs] - longest, "left")
        counts = np.searchsorted(starts, their_ends[theirs], "left") - first
        rows = rows[np.arange(counts.sum()) + np.repeat(first - np.cumsum(counts) + counts, counts)]
        theirs = np.repeat(theirs, counts)
        seconds = np.minimum(ends[rows], their_ends[theirs]) - np.maximum(onsets[rows], their_onsets[theirs])
        shorter = np.minimum(ends[rows] - onsets[rows], their_ends[theirs] - their_onsets[theirs])
        shares = np.divide(seconds, shorter, out=np.ones(len(rows)), where=np.isfinite(shorter))
        enough = (shares >= min_overlap - TOLERANCE) & (seconds > 0)
        found.append((rows[enough], labels[theirs[enough]], seconds[enough]))
    columns = map(np.concatenate, zip(*found, strict=True))
    return pd.DataFrame(dict(zip(("window", "label", "seconds"), columns, strict=True)))


def _group_by_file(paths):
    """Return the rows of each file, whatever paths lead to it."""
    files = {path: os.path.realpath(path) for path in dict.fromkeys(paths)}
    return pd.Series(range(len(paths))).groupby([files[path] for path in paths]).indices
