"""Features are standardised as by scikit-learn, chunk by chunk."""

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator
from sklearn.preprocessing import StandardScaler

from sklearn_cpc.training.scaling import CHUNK, standardize


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_rows", [1, 2, CHUNK, CHUNK + 1, 3 * CHUNK - 7])
def test_rows_are_standardised_as_by_scikit_learn(n_rows, dtype):
    X = np.random.default_rng(0).normal([1000, 0, -3, 0.1], [1, 1e-3, 20, 0], (n_rows, 4)).astype(dtype)
    expected, estimator = StandardScaler().fit(X), BaseEstimator()
    rows = standardize(estimator, X, reset=True)
    for name in ("mean_", "var_", "scale_", "n_samples_seen_", "n_features_in_"):
        np.testing.assert_allclose(
            getattr(estimator.scaler_, name), getattr(expected, name), rtol=1e-7, atol=1e-20
        )
    assert rows.dtype == torch.float32
    np.testing.assert_allclose(rows, expected.transform(X), rtol=1e-5, atol=1e-4)


def test_later_rows_are_scaled_as_the_first():
    first, later = np.random.default_rng(0).standard_normal((2, 10, 3))
    estimator = BaseEstimator()
    standardize(estimator, first, reset=True)
    rows, y = standardize(estimator, later, y=np.arange(10), reset=False)
    np.testing.assert_allclose(rows, StandardScaler().fit(first).transform(later), rtol=1e-5, atol=1e-6)
    assert y.tolist() == list(range(10))
    with pytest.raises(ValueError, match="expecting 3 features"):
        standardize(estimator, later[:, :2], reset=False)
