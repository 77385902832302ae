"""Features are standardised as by scikit-learn, piece by piece."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from sklearn_cpc.training.scaling import N_SCALED, fit_scaler, standardized


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_rows", [1, 2, N_SCALED, N_SCALED + 1, 3 * N_SCALED - 7])
def test_rows_are_standardised_as_by_scikit_learn(n_rows, dtype):
    X = np.random.default_rng(0).normal([1000, 0, -3, 0.1], [1, 1e-3, 20, 0], (n_rows, 4)).astype(dtype)
    expected, scaler = StandardScaler().fit(X), fit_scaler(X)
    for name in ("mean_", "var_", "scale_", "n_samples_seen_", "n_features_in_"):
        np.testing.assert_allclose(getattr(scaler, name), getattr(expected, name), rtol=1e-7, atol=1e-20)
    rows = standardized(X, scaler)
    assert rows.dtype == torch.float32
    np.testing.assert_allclose(rows, expected.transform(X), rtol=1e-5, atol=1e-4)
