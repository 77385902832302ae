"""Standardised features for a network, without a copy of all of them in float64."""

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.utils import gen_batches
from sklearn.utils.validation import check_is_fitted, validate_data

CHUNK = 1024  # rows, which fit in the processor's cache
DTYPES = [np.float64, np.float32]


def scale(estimator, X):
    """Validate features for a fitted estimator and standardise them, in their own precision."""
    check_is_fitted(estimator, "network_")
    return estimator.scaler_.transform(validate_data(estimator, X, dtype=DTYPES, reset=False))


def standardize(estimator, X, *, reset, **check):
    """Validate features and standardise them for a network, chunk by chunk.

    Returns a float32 Tensor of the shape of X, and y if ``check`` has it for scikit-learn's ``validate_data``.
    Fits ``scaler_`` of the estimator anew if ``reset``.
    """
    checked = validate_data(estimator, X, **check, dtype=DTYPES, reset=reset)
    X, *y = checked if check else (checked,)
    if reset:
        estimator.scaler_ = StandardScaler()
        for chunk in gen_batches(len(X), CHUNK):
            estimator.scaler_.partial_fit(X[chunk])
    rows = np.empty(X.shape, np.float32)
    for chunk in gen_batches(len(X), CHUNK):
        rows[chunk] = estimator.scaler_.transform(X[chunk])
    return (torch.from_numpy(rows), *y) if check else torch.from_numpy(rows)
