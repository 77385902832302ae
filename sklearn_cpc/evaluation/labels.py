"""Class labels, checked before anything is counted, trained or drawn."""

import pandas as pd
from sklearn.utils.validation import column_or_1d


def check_labels(y, name):
    """Return the class of each row as a 1-D array, or raise ValueError if some rows have none."""
    y = column_or_1d(y)
    n_missing = int(pd.isna(y).sum())
    if n_missing:
        raise ValueError(f"{name} holds no class (NaN or None) for {n_missing} of {len(y)} rows; leave them out.")
    return y
