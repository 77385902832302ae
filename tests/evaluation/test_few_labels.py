"""label_efficiency: scores checked against an explicit loop, and labels that only the classifier sees."""

import numpy as np
import pandas as pd
import pytest
from corpus import rising_tones, small_cpc
from joblib import parallel_config
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_cpc import MFCCTransformer
from sklearn_cpc.evaluation import label_efficiency


@pytest.fixture(scope="module")
def blobs():
    """45 rows of three classes in five groups; the first column numbers the rows."""
    random = np.random.default_rng(0)
    y = np.repeat(["cat", "dog", "owl"], 15)
    X = np.column_stack([np.arange(45), random.standard_normal((45, 5))])
    X[:, 1] += 2 * (y == "dog")
    X[:, 2] += 2 * (y == "owl")
    return X, y, np.tile(np.arange(5), 9)


class Recorder(TransformerMixin, BaseEstimator):
    """Returns rows unchanged, and records what it is fitted on."""

    fits = []  # survives clone

    def fit(self, X, y=None):
        self.fits.append((np.asarray(X)[:, 0].astype(int), y))
        self.fitted_ = True
        return self

    def transform(self, X):
        return np.asarray(X)


class RecordingNeighbour(ClassifierMixin, BaseEstimator):
    """Predicts the class of the nearest row, and records which rows it is fitted on."""

    fits = []

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.fits.append(X[:, 0].astype(int))
        self.model_ = KNeighborsClassifier(1).fit(X[:, 1:], y)
        return self

    def predict(self, X):
        return self.model_.predict(X[:, 1:])


@pytest.fixture(autouse=True)
def forget_fits():
    Recorder.fits.clear()
    RecordingNeighbour.fits.clear()


CHAIN = make_pipeline(Recorder(), RecordingNeighbour())
FOLDS = StratifiedKFold(3)


def fold_scores(table, *row):
    return table.filter(regex="^fold[0-9]").loc[row].to_numpy(float)


# The scores


def test_scores_equal_those_of_an_explicit_loop(blobs):
    X, y, _ = blobs
    table = label_efficiency({"chain": CHAIN}, X, y, cv=FOLDS, n_labels=(1, 4), n_draws=3, baselines=False)
    fits = iter(RecordingNeighbour.fits)
    expected = {1: [], 4: []}
    for _, test in FOLDS.split(X, y):
        scores = {1: [], 4: []}
        for _ in range(2 * 3):  # in any order of sizes and draws
            rows = next(fits)
            scores[len(rows) // 3].append(
                KNeighborsClassifier(1).fit(X[rows, 1:], y[rows]).score(X[test, 1:], y[test])
            )
        for size, values in scores.items():
            assert len(values) == 3
            expected[size].append(np.mean(values))
    for size, values in expected.items():
        np.testing.assert_allclose(fold_scores(table, "chain", size), values)
        assert table.loc[("chain", size), "mean"] == pytest.approx(np.mean(values))
        assert table.loc[("chain", size), "std"] == pytest.approx(np.std(values, ddof=1))


def test_all_labels_give_the_scores_of_cross_validation(blobs):
    X, y, groups = blobs
    cv = LeaveOneGroupOut()
    table = label_efficiency({"pca": PCA(2, random_state=0)}, X, y, groups=groups, cv=cv, n_labels=(None,))
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=1000))
    expected = cross_val_score(make_pipeline(PCA(2, random_state=0), probe), X, y, groups=groups, cv=cv)
    np.testing.assert_array_equal(fold_scores(table, "pca", "all"), expected)


def test_default_probe_is_standardised_on_all_training_rows(blobs):
    X, y, _ = blobs
    chain = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=1000))
    table = label_efficiency(
        {"raw": "passthrough", "chain": chain}, X, y, cv=FOLDS, n_labels=(2,), n_draws=2, baselines=False
    )
    np.testing.assert_array_equal(fold_scores(table, "raw", 2), fold_scores(table, "chain", 2))


def test_other_probes_and_scorings_are_used(blobs):
    X, y, _ = blobs
    table = label_efficiency(
        PCA(2),
        X,
        y,
        cv=FOLDS,
        n_labels=[None],
        probe=KNeighborsClassifier(3),
        scoring="balanced_accuracy",
        baselines=False,
    )
    expected = cross_val_score(
        make_pipeline(PCA(2), KNeighborsClassifier(3)), X, y, cv=FOLDS, scoring="balanced_accuracy"
    )
    assert table.loc[("representation", "all"), "mean"] == pytest.approx(expected.mean())
    assert set(table["scoring"]) == {"balanced_accuracy"}


def test_differences_are_those_at_the_same_number_of_labels(blobs):
    X, y, _ = blobs
    table = label_efficiency({"mfcc": PCA(1), "raw": PCA(3)}, X, y, cv=FOLDS, n_labels=(2, None), n_draws=2)
    for size in (2, "all"):
        difference = fold_scores(table, "raw", size) - fold_scores(table, "mfcc", size)
        assert table.loc[("raw", size), "difference"] == pytest.approx(difference.mean())


def test_rows_are_representations_from_few_to_all_labels(blobs):
    X, y, _ = blobs
    table = label_efficiency({"b": PCA(2), "a": PCA(1)}, X, y, cv=2, n_labels=(None, 3, 1, 3), n_draws=1)
    assert table.index.names == ["representation", "n_labels"]
    assert table.index.tolist() == [(name, size) for name in ("chance", "b", "a") for size in (1, 3, "all")]


# The labels


def test_draws_have_the_same_number_of_rows_of_every_class(blobs):
    X, y, _ = blobs
    table = label_efficiency(CHAIN, X, y, cv=FOLDS, n_labels=(1, 3, None), n_draws=4, baselines=False)
    assert len(RecordingNeighbour.fits) == 3 * (4 + 4 + 1)  # there is only one way to draw all rows
    counts = {tuple(np.unique(y[rows], return_counts=True)[1]) for rows in RecordingNeighbour.fits}
    assert counts == {(1, 1, 1), (3, 3, 3), (10, 10, 10)}
    assert table["n_used"].tolist() == [1, 3, 10]


def test_draws_differ_and_contain_the_smaller_ones(blobs):
    X, y, _ = blobs
    fold = next(FOLDS.split(X, y))
    label_efficiency(CHAIN, X, y, cv=[fold], n_labels=(2, 5), n_draws=3, baselines=False)
    small, large = ([set(rows) for rows in RecordingNeighbour.fits if len(rows) == n] for n in (6, 15))
    assert len({frozenset(rows) for rows in large}) == 3
    assert all(any(few <= many for many in large) for few in small)
    assert set().union(*large) <= set(fold[0])


def test_every_representation_gets_the_same_labels(blobs):
    X, y, _ = blobs
    label_efficiency({"a": CHAIN, "b": CHAIN}, X, y, cv=FOLDS, n_labels=(2,), n_draws=2, baselines=False)
    half = len(RecordingNeighbour.fits) // 2
    np.testing.assert_array_equal(RecordingNeighbour.fits[:half], RecordingNeighbour.fits[half:])


def test_classes_with_fewer_rows_use_all_of_them(blobs):
    X, y, _ = blobs
    keep = np.r_[:15, 15:30, 30:33]  # two thirds of 15, 15 and 3 rows are training rows
    table = label_efficiency(CHAIN, X[keep], y[keep], cv=FOLDS, n_labels=(2, 6, 50), n_draws=2, baselines=False)
    assert table["n_used"].tolist() == pytest.approx([2, (6 + 6 + 2) / 3, (10 + 10 + 2) / 3])
    assert sorted({len(rows) for rows in RecordingNeighbour.fits}) == [6, 14, 22]


def test_features_are_fitted_once_per_fold_without_labels(blobs):
    X, y, _ = blobs
    more = np.column_stack([np.arange(100, 107), np.zeros((7, 5))])
    label_efficiency(CHAIN, X, y, cv=FOLDS, unlabelled=more, n_labels=(1, 2, None), n_draws=3, baselines=False)
    assert len(Recorder.fits) == 3
    for (rows, labels), (train, _) in zip(Recorder.fits, FOLDS.split(X, y), strict=True):
        np.testing.assert_array_equal(rows, [*train, *range(100, 107)])
        assert labels is None


def test_features_that_need_labels_are_refused(blobs):
    X, y, _ = blobs
    with pytest.raises((TypeError, ValueError)):
        label_efficiency(make_pipeline(LinearDiscriminantAnalysis(), PCA(1)), X, y, cv=2, n_labels=(1,))


def test_supervised_classifier_sees_the_labelled_rows_alone(blobs):
    X, y, _ = blobs
    label_efficiency({"supervised": RecordingNeighbour()}, X, y, cv=FOLDS, n_labels=(2,), n_draws=1)
    assert [len(rows) for rows in RecordingNeighbour.fits] == [6, 6, 6]


# Folds, baselines and seeds


def test_groups_stay_together(blobs):
    X, y, groups = blobs
    label_efficiency(CHAIN, X, y, groups=groups, n_labels=(1,), n_draws=1, baselines=False)
    assert [len(set(groups[rows])) for rows, _ in Recorder.fits] == [4] * 5
    with pytest.raises(ValueError, match=r"splits 5 group\(s\)"):
        label_efficiency(CHAIN, X, y, groups=groups, cv=list(FOLDS.split(X, y)))


def test_baselines_are_chance_mfcc_and_the_untrained_twin():
    X, y = rising_tones(12), np.tile(["a", "b"], 6)
    table = label_efficiency({"cpc": small_cpc()}, X, y, cv=2, n_labels=(2, None), n_draws=2)
    assert table.index.unique("representation").tolist() == ["chance", "mfcc", "cpc (untrained)", "cpc"]
    twin = label_efficiency(small_cpc(max_epochs=0), X, y, cv=2, n_labels=(2, None), n_draws=2, baselines=False)
    for size in (2, "all"):
        gain = fold_scores(table, "cpc", size) - fold_scores(table, "cpc (untrained)", size)
        assert table.loc[("cpc", size), "gain"] == pytest.approx(gain.mean())
        np.testing.assert_array_equal(
            fold_scores(table, "cpc (untrained)", size), fold_scores(twin, "representation", size)
        )


def test_recordings_may_be_paths_but_not_unlabelled_too(corpus):
    mfcc = MFCCTransformer(n_mfcc=5, sample_rate=8000, n_fft=256, hop_length=128, n_mels=20)
    table = label_efficiency({"mfcc": mfcc}, corpus.paths, corpus.y, cv=2, n_labels=(1,), n_draws=1)
    assert np.isfinite(table.loc[("mfcc", 1), "mean"])
    with pytest.raises(ValueError, match=r"12 file\(s\) of unlabelled are also in X"):
        label_efficiency({"mfcc": mfcc}, corpus.paths, corpus.y, unlabelled=corpus.paths)


def test_seeds_train_again_with_the_same_labels():
    X, y = rising_tones(12), np.tile(["a", "b"], 6)
    args, how = (small_cpc(random_state=7), X, y), {"cv": 2, "n_labels": (None,), "baselines": False}
    both = label_efficiency(*args, **how, n_seeds=2, random_state=3)
    assert both.filter(regex="^fold[0-9]").columns.tolist() == [
        f"fold{fold}_seed{seed}" for seed in (0, 1) for fold in (0, 1)
    ]
    second = label_efficiency(*args, **how, random_state=4)
    row = ("representation", "all")
    np.testing.assert_array_equal(fold_scores(both, *row)[2:], fold_scores(second, *row))


def test_labels_are_drawn_anew_for_another_random_state(blobs):
    X, y, _ = blobs
    args, how = (CHAIN, X, y), {"cv": FOLDS, "n_labels": (2,), "n_draws": 2, "baselines": False}
    first, again = (label_efficiency(*args, **how) for _ in range(2))
    pd.testing.assert_frame_equal(first, again)
    np.testing.assert_array_equal(RecordingNeighbour.fits[:6], RecordingNeighbour.fits[6:])
    label_efficiency(*args, **how, random_state=1)
    assert not np.array_equal(RecordingNeighbour.fits[:6], RecordingNeighbour.fits[12:])


def test_parallel_table_equals_the_serial_one(blobs):
    X, y, _ = blobs
    args, how = ({"pca": PCA(2), "raw": "passthrough"}, X, y), {"cv": 2, "n_labels": (1, None), "n_draws": 2}
    alone = label_efficiency(*args, **how)
    with parallel_config("threading"):  # processes take seconds to start
        together = label_efficiency(*args, **how, n_jobs=2)
    pd.testing.assert_frame_equal(alone, together)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_labels": ()}, "n_labels.* Got \\(\\)"),
        ({"n_labels": (0, 1)}, "n_labels.* Got \\(0, 1\\)"),
        ({"n_labels": (2.5,)}, "n_labels.* Got \\(2.5,\\)"),
        ({"n_labels": 5}, "n_labels.* Got 5"),
        ({"n_draws": 0}, "n_draws.* Got 0"),
        ({"estimators": {}}, "representations is empty"),
        ({"y": ["cat"]}, "inconsistent numbers of samples"),
        ({"y": [None, *["cat", "dog"] * 22]}, "y holds no class .* for 1 of 45 rows"),
    ],
)
def test_invalid_arguments_are_named(blobs, changes, message):
    X, y, _ = blobs
    with pytest.raises(ValueError, match=message):
        label_efficiency(**{"estimators": {"pca": PCA(2)}, "X": X, "y": y, **changes})
