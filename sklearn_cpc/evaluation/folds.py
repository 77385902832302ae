"""Folds for cross-validation that do not split groups or files, and the class labels of their rows."""

import os
from numbers import Integral

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, check_cv
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import column_or_1d

from .._extras import import_extra
from .._files import locate
from .._warnings import warn
from ..audio.clips import as_clips

pd = import_extra("pandas", "evaluation")


def make_folds(X, y, groups, cv, unlabelled=None):
    """Return a list of (training rows, test rows); see :func:`compare_representations` for parameters."""
    check_consistent_length(X, check_labels(y, "y"), groups)
    files, more_files = (
        None if clips is None else [locate(clip.path, os.path.realpath) for clip in clips]
        for clips in (as_clips(X), as_clips(unlabelled))
    )
    if both := set(files or ()) & set(more_files or ()):
        raise ValueError(
            f"{len(both)} file(s) of unlabelled are also in X, for example {min(both)!r}, so features would be "
            "trained on test recordings. Leave them out, or compare representations with transductive=True."
        )
    if cv is None or isinstance(cv, Integral):
        several_clips_per_file = files is not None and len(set(files)) < len(files)
        groups = files if groups is None and several_clips_per_file else groups
        if cv is None:  # five folds, or fewer if a class has fewer rows or groups
            units = np.arange(len(y)) if groups is None else np.asarray(groups)
            fewest = min(len(np.unique(units[np.asarray(y) == label])) for label in np.unique(y))
            cv = max(2, min(5, fewest))
        cv = StratifiedKFold(cv, shuffle=True, random_state=0) if groups is None else StratifiedGroupKFold(cv)
    folds = list(check_cv(cv, y, classifier=True).split(np.zeros(len(y)), y, groups))
    if n_split := _count_split_groups(groups, folds):
        raise ValueError(
            f"cv={cv!r} splits {n_split} group(s) over the training and the test rows of a fold; use GroupKFold, "
            "StratifiedGroupKFold or LeaveOneGroupOut, or cv=None."
        )
    if n_split := _count_split_groups(files, folds):
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


def check_labels(y, name):
    """Return the class of each row as a 1-D array, or raise ValueError if some rows have none."""
    y = column_or_1d(y)
    if n_missing := int(pd.isna(y).sum()):
        raise ValueError(f"{name} holds no class (NaN or None) for {n_missing} of {len(y)} rows; leave them out.")
    return y
