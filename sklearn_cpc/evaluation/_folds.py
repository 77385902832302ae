"""Folds that keep together what belongs together."""

import warnings
from numbers import Integral

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, check_cv
from sklearn.utils import check_consistent_length

from ..audio.clips import as_clips


def make_folds(X, y, groups, cv):
    """Return index pairs of training and test rows, after a look at whether they leak.

    Parameters
    ----------
    X, y, groups, cv
        See :func:`compare_representations`.

    Raises
    ------
    ValueError
        If ``cv`` splits groups over folds.

    Warns
    -----
    UserWarning
        If it splits files over folds.
    """
    check_consistent_length(X, y, groups)
    clips = as_clips(X)
    files = None if clips is None else np.array([str(clip.path) for clip in clips])
    if cv is None or isinstance(cv, Integral):
        several = files is not None and len(set(files)) < len(files)
        groups = files if groups is None and several else groups
        k = _n_folds(y, groups) if cv is None else cv
        cv = StratifiedKFold(k, shuffle=True, random_state=0) if groups is None else StratifiedGroupKFold(k)
    folds = list(check_cv(cv, y, classifier=True).split(np.zeros(len(y)), y, groups))
    if groups is not None and _n_split(groups, folds):
        raise ValueError(
            f"cv={cv!r} splits {_n_split(groups, folds)} group(s) over the training and the test part of a fold; "
            "use GroupKFold, StratifiedGroupKFold or LeaveOneGroupOut, or cv=None."
        )
    if files is not None and _n_split(files, folds):
        warnings.warn(
            f"{_n_split(files, folds)} file(s) have clips in both the training and the test part of a fold, which "
            "makes features look better than they are; pass groups, one value per file, or cv=None.",
            stacklevel=4,
        )
    return folds


def _n_folds(y, groups):
    """Five, or as few as a class has rows or groups, so that every part can hold all classes; at least two."""
    groups = np.arange(len(y)) if groups is None else np.asarray(groups)
    fewest = min(len(np.unique(groups[np.asarray(y) == label])) for label in np.unique(y))
    return max(2, min(5, fewest))


def _n_split(groups, folds):
    """Count the groups that are on both sides of some fold."""
    groups = np.asarray(groups)
    return len({group for train, test in folds for group in set(groups[train]) & set(groups[test])})
