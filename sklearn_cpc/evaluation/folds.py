"""Folds for cross-validation that do not split groups or files."""

import os
from numbers import Integral

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, check_cv
from sklearn.utils import check_consistent_length

from .._warnings import warn
from ..audio.clips import as_clips


def make_folds(X, y, groups, cv):
    """Return a list of (training rows, test rows); see :func:`compare_representations` for the parameters.

    Raises ValueError if ``cv`` splits groups over training and test rows, and warns if it splits files.
    """
    check_consistent_length(X, y, groups)
    clips = as_clips(X)
    files = None if clips is None else np.array([os.path.realpath(clip.path) for clip in clips])
    if cv is None or isinstance(cv, Integral):
        several_clips_per_file = files is not None and len(set(files)) < len(files)
        groups = files if groups is None and several_clips_per_file else groups
        if cv is None:  # five folds, or fewer if a class has fewer rows or groups
            units = np.arange(len(y)) if groups is None else np.asarray(groups)
            fewest = min(len(np.unique(units[np.asarray(y) == label])) for label in np.unique(y))
            cv = max(2, min(5, fewest))
        cv = StratifiedKFold(cv, shuffle=True, random_state=0) if groups is None else StratifiedGroupKFold(cv)
    folds = list(check_cv(cv, y, classifier=True).split(np.zeros(len(y)), y, groups))
    n_split = _count_split_groups(groups, folds)
    if n_split:
        raise ValueError(
            f"cv={cv!r} splits {n_split} group(s) over the training and the test rows of a fold; use GroupKFold, "
            "StratifiedGroupKFold or LeaveOneGroupOut, or cv=None."
        )
    n_split = _count_split_groups(files, folds)
    if n_split:
        warn(
            f"{n_split} file(s) have clips in both the training and the test rows of a fold, which makes features "
            "look better than they are; pass groups, one value per file, or cv=None."
        )
    return folds


def _count_split_groups(groups, folds):
    """Count the groups with both training and test rows in some fold; None: there are no groups."""
    if groups is None:
        return 0
    groups = np.asarray(groups)
    return len({group for train, test in folds for group in set(groups[train]) & set(groups[test])})
