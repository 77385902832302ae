"""overfitting_gaps: losses computed by hand, and features that memorise their training rows."""

import numpy as np
import pytest
from corpus import rising_tones, small_cpc
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_cpc.evaluation import overfitting_gaps


def standard_probe():
    """The probe that the functions use by default."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=1000))


class Memoriser(TransformerMixin, BaseEstimator):
    """Returns the classes of the rows it was fitted on, and noise for others."""

    def fit(self, X, y):
        self.known_ = {row.tobytes(): label for row, label in zip(X, y, strict=True)}
        return self

    def transform(self, X):
        return np.array([[3.0 * self.known_.get(row.tobytes(), np.sin(1e4 * row[0]))] for row in X])


def parts(n=60, shift=2.0):
    random = np.random.default_rng(0)
    for _ in range(3):
        y = np.arange(n) % 2
        X = random.standard_normal((n, 6))
        X[:, 0] += shift * y
        yield X, y


def test_losses_equal_those_of_probes_fitted_by_hand():
    (X_a, y_a), (X_b, y_b), (X_c, y_c) = sets = list(parts())
    row = overfitting_gaps(PCA(3, random_state=0), *sets).loc["trained"]
    pca = PCA(3, random_state=0).fit(X_a)
    of_a, of_b = (standard_probe().fit(pca.transform(X), y) for X, y in [(X_a, y_a), (X_b, y_b)])
    assert row["loss_a"] == pytest.approx(log_loss(y_a, of_a.predict_proba(pca.transform(X_a))))
    assert row["loss_b"] == pytest.approx(log_loss(y_b, of_b.predict_proba(pca.transform(X_b))))
    assert row["loss_c"] == pytest.approx(log_loss(y_c, of_b.predict_proba(pca.transform(X_c))))
    assert row["network_gap"] == pytest.approx(row["loss_b"] - row["loss_a"])
    assert row["probe_gap"] == pytest.approx(row["loss_c"] - row["loss_b"])
    assert row["cv_network_gap"] == pytest.approx(row["cv_loss_b"] - row["cv_loss_a"])
    assert row["accuracy_c"] == of_b.score(pca.transform(X_c), y_c)


def test_memorising_features_raise_the_network_gap():
    row = overfitting_gaps(Memoriser(), *parts(200, shift=0)).loc["trained"]
    assert row["network_gap"] > 0.3
    assert row["cv_network_gap"] > 0.3
    assert abs(row["probe_gap"]) < 0.1


def test_more_features_than_rows_raise_the_probe_gap():
    random = np.random.default_rng(0)
    sets = [(random.standard_normal((40, 400)), np.arange(40) % 2) for _ in range(3)]
    row = overfitting_gaps("passthrough", *sets).loc["trained"]
    assert row["probe_gap"] > 0.5
    assert abs(row["network_gap"]) < 0.1


def test_untrained_twin_gets_a_row_of_its_own():
    sets = [(rising_tones(12, seed), np.arange(12) % 2) for seed in range(3)]
    table = overfitting_gaps(small_cpc(), *sets, cv=2, n_seeds=2)
    assert table.index.tolist() == ["trained", "untrained"]
    assert np.isfinite(table.to_numpy()).all()
    assert overfitting_gaps(small_cpc(), *sets, cv=2, baselines=False).index.tolist() == ["trained"]
    mean = np.mean(
        [overfitting_gaps(small_cpc(), *sets, cv=2, random_state=i).loc["trained", "loss_c"] for i in (0, 1)]
    )
    assert table.loc["trained", "loss_c"] == pytest.approx(mean)


def test_corpora_with_different_classes_are_refused():
    a, b, (X, _) = parts()
    with pytest.raises(ValueError, match=r"must have the same classes, but they have .*'C': \['x'\]"):
        overfitting_gaps(PCA(2), a, b, (X, ["x"] * len(X)))
    with pytest.raises(TypeError, match=r"B must be a tuple \(X, y\) or"):
        overfitting_gaps(PCA(2), a, X, b)


def test_cross_validation_does_not_split_groups():
    random = np.random.default_rng(0)
    y = np.arange(60) % 2
    groups = np.arange(60) // 4 * 2 + y  # equal rows, two of a class
    X = random.standard_normal((60, 30))[groups]
    sets = [(X, y, groups), (X, y, groups), (X, y)]
    kept, split = (overfitting_gaps("passthrough", *parts).loc["trained"] for parts in (sets, [sets[2]] * 3))
    assert kept["cv_loss_a"] > split["cv_loss_a"] + 0.2
    assert kept["loss_a"] == split["loss_a"]
