"""Labels: classes of rows, checked before anything is counted or drawn."""

from sklearn.utils.validation import column_or_1d


def as_labels(y, name):
    """Return classes as a 1-D array.

    Raises
    ------
    ValueError
        If there are several columns, or classes are missing.
    """
    y = column_or_1d(y)
    n_missing = sum(map(_is_missing, y)) if y.dtype.kind in "fO" else 0
    if n_missing:
        raise ValueError(f"{name} holds no class (NaN or None) for {n_missing} of {len(y)} rows; leave them out.")
    return y


def _is_missing(label):
    try:
        return label is None or bool(label != label)
    except TypeError:  # pandas.NA is neither equal to itself nor not
        return True
