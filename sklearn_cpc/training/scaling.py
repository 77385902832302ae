"""Standardised features for a network, without copies of all of them."""

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.utils import gen_batches

N_SCALED = 1024  # rows at a time, a piece that fits in the cache


def fit_scaler(X):
    """Fit a StandardScaler piece by piece: of all rows at once it makes copies in float64."""
    scaler = StandardScaler()
    for piece in gen_batches(len(X), N_SCALED):
        scaler.partial_fit(X[piece])
    return scaler


def standardized(X, scaler):
    """Rows as a network takes them: a float32 tensor, scaled piece by piece."""
    rows = np.empty(X.shape, np.float32)
    for piece in gen_batches(len(X), N_SCALED):
        rows[piece] = scaler.transform(X[piece])
    return torch.from_numpy(rows)
