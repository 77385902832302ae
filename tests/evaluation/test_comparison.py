"""compare_representations: scores checked against an explicit loop, and folds that do not leak."""

import numpy as np
import pandas as pd
import pytest
from corpus import rising_tones, small_cpc
from hypothesis import given
from hypothesis import strategies as st
from joblib import parallel_config
from scipy import sparse, stats
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold, cross_val_score
from sklearn.neighbors import NeighborhoodComponentsAnalysis
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_cpc import Clip, MFCCTransformer, sample_clips
from sklearn_cpc.audio.clips import as_clips
from sklearn_cpc.evaluation import compare_representations, compare_scores

MFCC = MFCCTransformer(n_mfcc=5, sample_rate=8000, n_fft=256, hop_length=128, n_mels=20)


def standard_probe():
    """The probe that the functions use by default."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=1000))


@pytest.fixture(scope="module")
def blobs():
    random = np.random.default_rng(0)
    y = np.repeat(["cat", "dog", "owl"], 20)
    X = random.standard_normal((60, 12))
    X[:, 0] += 2 * (y == "dog")
    X[:, 1] += 2 * (y == "owl")
    return X, y, np.tile(np.arange(5), 12)


class Recorder(TransformerMixin, BaseEstimator):
    """Returns numeric rows unchanged, and records what it is fitted on."""

    fits = []  # survives clone

    def fit(self, X, y=None):
        self.fits.append((np.asarray(X), None if y is None else np.asarray(y)))
        return self

    def transform(self, X):
        return np.asarray(X)


class Listener(Recorder):
    """Records what it is fitted on as it is, and returns the same number for every row."""

    def fit(self, X, y=None):
        self.fits.append((X, y))
        return self

    def transform(self, X):
        return np.zeros((X.shape[0] if hasattr(X, "shape") else len(X), 1))


@pytest.fixture
def fits():
    Recorder.fits.clear()
    return Recorder.fits


def fold_scores(table, name):
    return table.filter(regex="^fold[0-9]").loc[name].to_numpy(float)


# The scores


def test_scores_are_those_of_cross_val_score(blobs):
    X, y, groups = blobs
    table = compare_representations({"pca": PCA(3, random_state=0)}, X, y, groups=groups, cv=LeaveOneGroupOut())
    expected = cross_val_score(
        make_pipeline(PCA(3, random_state=0), standard_probe()), X, y, groups=groups, cv=LeaveOneGroupOut()
    )
    np.testing.assert_array_equal(table.filter(regex="^fold[0-9]").loc["pca"].to_numpy(float), expected)
    assert table.loc["pca", "mean"] == pytest.approx(expected.mean())
    assert table.loc["pca", "std"] == pytest.approx(expected.std(ddof=1))


def test_pipeline_ending_in_a_classifier_is_scored_unchanged(blobs):
    X, y, _ = blobs
    chain = make_pipeline(StandardScaler(), PCA(2, random_state=0), LogisticRegression(C=10))
    cv = StratifiedKFold(3)
    table = compare_representations({"chain": chain}, X, y, cv=cv, probe=DummyClassifier())
    assert table.loc["chain", "mean"] == pytest.approx(cross_val_score(chain, X, y, cv=cv).mean())


@pytest.mark.parametrize("classifier", [LogisticRegression(), make_pipeline(LogisticRegression())])
def test_classifier_alone_is_scored_on_the_rows(blobs, classifier):
    X, y, _ = blobs
    table = compare_representations(classifier, X, y, cv=StratifiedKFold(3))
    assert table.loc["representation", "mean"] == pytest.approx(
        cross_val_score(LogisticRegression(), X, y, cv=StratifiedKFold(3)).mean()
    )


def test_other_scorings_are_used(blobs):
    X, y, _ = blobs
    table = compare_representations({"raw": "passthrough"}, X, y, cv=StratifiedKFold(3), scoring="neg_log_loss")
    expected = cross_val_score(standard_probe(), X, y, cv=StratifiedKFold(3), scoring="neg_log_loss")
    assert table.loc["raw", "mean"] == pytest.approx(expected.mean())


def test_chance_is_the_share_of_the_most_frequent_class(blobs):
    X, y, _ = blobs
    keep = np.r_[:20, 20:30, 40:50]  # 20 cats, 10 dogs, 10 owls
    assert compare_representations(PCA(2), X[keep], y[keep]).loc["chance", "mean"] == pytest.approx(0.5)


# Differences


def test_differences_are_paired_with_the_reference(blobs):
    X, y, _ = blobs
    table = compare_representations({"raw": "passthrough", "pca": PCA(1), "two": PCA(2)}, X, y, reference="pca")
    differences = fold_scores(table, "two") - fold_scores(table, "pca")
    half = stats.t.ppf(0.975, 4) * np.sqrt((1 / 5 + 12 / 48) * differences.var(ddof=1))
    assert table.loc["two", "difference"] == pytest.approx(differences.mean())
    assert table.loc["two", "difference_low"] == pytest.approx(differences.mean() - half)
    assert table.loc["two", "difference_high"] == pytest.approx(differences.mean() + half)
    assert table.loc["pca", ["difference", "difference_low", "difference_high"]].isna().all()
    assert (table["reference"] == "pca").all()


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30), st.floats(0.05, 1), st.floats(0.5, 0.99))
def test_interval_is_wider_than_for_independent_scores(differences, ratio, confidence):
    scores = {"a": [0.0] * len(differences), "b": differences}
    corrected, usual = (
        compare_scores(scores, "a", test_ratio=test_ratio, confidence=confidence)
        .drop(columns="reference")
        .loc["b"]
        for test_ratio in (ratio, 0)
    )
    naive = stats.sem(differences) * stats.t.ppf((1 + confidence) / 2, len(differences) - 1)
    assert corrected["difference"] == pytest.approx(np.mean(differences))
    assert corrected["difference_high"] - corrected["difference"] >= naive * (1 - 1e-9) - 1e-12
    assert usual["difference_high"] - usual["difference"] == pytest.approx(naive)
    assert usual["difference"] - usual["difference_low"] == pytest.approx(naive)


def test_compare_scores_gives_the_same_table(blobs):
    X, y, _ = blobs
    table = compare_representations({"raw": "passthrough", "pca": PCA(1)}, X, y, reference="raw")
    scores = {name: fold_scores(table, name) for name in table.index}
    again = compare_scores(scores, "raw", test_ratio=12 / 48)
    pd.testing.assert_frame_equal(again, table[again.columns])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        compare_scores({"a": [1.0], "b": [1.0, 2.0]})
    with pytest.raises(ValueError, match="scores is empty"):
        compare_scores({})


def test_one_fold_has_no_interval(blobs):
    X, y, _ = blobs
    fold = [(np.arange(0, 60, 2), np.arange(1, 60, 2))]
    table = compare_representations({"raw": "passthrough", "pca": PCA(1)}, X, y, cv=fold)
    assert np.isfinite(table.loc["pca", "difference"])
    assert np.isnan(table.loc["pca", "difference_low"])
    assert np.isnan(table.loc["pca", "std"])


# Baselines


def test_baselines_are_chance_mfcc_and_the_untrained_twin(corpus):
    table = compare_representations({"cpc": small_cpc()}, corpus.paths, corpus.y, groups=corpus.groups)
    assert table.index.tolist() == ["chance", "mfcc", "cpc (untrained)", "cpc"]
    assert table.loc["cpc", "reference"] == "mfcc"
    difference = fold_scores(table, "cpc") - fold_scores(table, "cpc (untrained)")
    assert table.loc["cpc", "gain"] == pytest.approx(difference.mean())
    assert table["gain"].notna().tolist() == [False, False, False, True]


def test_untrained_twin_differs_only_in_training():
    X, y = rising_tones(24), np.tile(["a", "b"], 12)
    chain = make_pipeline(small_cpc(callbacks=[]), PCA(2, random_state=0))
    cv = StratifiedKFold(3)
    table = compare_representations({"chain": chain}, X, y, cv=cv)
    twin = clone(chain).set_params(cpctransformer__max_epochs=0)
    expected = cross_val_score(make_pipeline(twin, standard_probe()), X, y, cv=cv)
    np.testing.assert_array_equal(table.filter(regex="^fold[0-9]").loc["chain (untrained)"], expected)


def test_mfcc_baseline_uses_the_rate_of_the_network():
    X, y = rising_tones(12), np.tile(["a", "b"], 6)
    assert "mfcc" in compare_representations({"cpc": small_cpc(max_epochs=0)}, X, y, cv=2).index


def test_untrained_network_has_no_twin(corpus):
    table = compare_representations({"cpc": small_cpc(max_epochs=0)}, corpus.paths, corpus.y, cv=2)
    assert table.index.tolist() == ["chance", "mfcc", "cpc"]


def test_baselines_can_be_omitted_or_replaced(corpus, blobs):
    X, y, _ = blobs
    assert compare_representations(PCA(2), X, y, baselines=False).index.tolist() == ["representation"]
    own = {"mfcc": MFCC, "cpc": small_cpc()}
    table = compare_representations(own, corpus.paths, corpus.y, cv=2)
    assert table.index.tolist() == ["chance", "mfcc", "cpc (untrained)", "cpc"]
    expected = cross_val_score(
        make_pipeline(MFCC, standard_probe()),
        corpus.paths,
        corpus.y,
        cv=StratifiedKFold(2, shuffle=True, random_state=0),
    )
    np.testing.assert_array_equal(table.filter(regex="^fold[0-9]").loc["mfcc"], expected)


# Seeds


def test_every_seed_is_trained_on_a_clone(corpus):
    cpc = small_cpc(random_state=7)
    args = ({"cpc": cpc}, corpus.paths, corpus.y)
    both = compare_representations(*args, cv=2, n_seeds=2, random_state=3, baselines=False)
    assert both.filter(regex="^fold[0-9]").columns.tolist() == [
        "fold0_seed0",
        "fold1_seed0",
        "fold0_seed1",
        "fold1_seed1",
    ]
    second = compare_representations(*args, cv=2, random_state=4, baselines=False)
    np.testing.assert_array_equal(fold_scores(both, "cpc")[-2:], fold_scores(second, "cpc"))
    assert cpc.random_state == 7
    assert not hasattr(cpc, "network_")


def test_parallel_scores_equal_serial_scores(corpus):
    args = ({"cpc": small_cpc()}, corpus.paths, corpus.y)
    alone = compare_representations(*args, cv=2)
    with parallel_config("threading"):  # processes take seconds to start
        together = compare_representations(*args, cv=2, n_jobs=2)
    pd.testing.assert_frame_equal(alone.drop(columns="fit_seconds"), together.drop(columns="fit_seconds"))


# Folds


def test_default_folds_do_not_split_groups(blobs, fits):
    X, y, groups = blobs
    rows = np.column_stack([np.arange(60), X])
    compare_representations({"rows": Recorder()}, rows, y, groups=groups, baselines=False)
    for seen, _ in fits:
        assert len(set(groups[seen[:, 0].astype(int)])) == 4


def test_few_groups_give_fewer_folds(blobs):
    X, y, _ = blobs
    table = compare_representations(PCA(2), X, y, groups=np.tile(["a", "b"], 30))
    assert table.filter(regex="^fold[0-9]").shape[1] == 2


def test_default_folds_do_not_split_files(corpus):
    clips, rows = sample_clips(corpus.paths, n_per_file=2, duration=0.4, random_state=0)
    table = compare_representations({"mfcc": MFCC}, clips, corpus.y[rows])
    assert np.isfinite(table.loc["mfcc", "mean"])


def test_folds_that_split_files_give_a_warning(corpus):
    clips, rows = sample_clips(corpus.paths, n_per_file=2, duration=0.4, random_state=0)
    with pytest.warns(UserWarning, match=r"12 file\(s\) have clips in both") as caught:
        compare_representations(
            {"mfcc": MFCC}, clips, corpus.y[rows], cv=[(np.arange(0, 24, 2), np.arange(1, 24, 2))]
        )
    assert caught[0].filename == __file__


def test_folds_that_split_groups_are_refused(blobs):
    X, y, groups = blobs
    with pytest.raises(ValueError, match=r"splits 5 group\(s\) over .* use GroupKFold"):
        compare_representations(PCA(2), X, y, groups=groups, cv=[(np.arange(40), np.arange(40, 60))])


# What is fitted on what


def test_features_are_fitted_on_training_rows_and_classes(blobs, fits):
    X, y, _ = blobs
    table = compare_representations({"rows": Recorder()}, X, y, cv=StratifiedKFold(3), baselines=False)
    for (seen, labels), (train, _) in zip(fits, StratifiedKFold(3).split(X, y), strict=True):
        np.testing.assert_array_equal(seen, X[train])
        np.testing.assert_array_equal(labels, y[train])
    assert (table["fitted_on"] == "training folds").all()


def test_unlabelled_rows_are_added_without_classes(blobs, fits):
    X, y, _ = blobs
    compare_representations({"rows": Recorder()}, X, y, unlabelled=X[:7] + 100, cv=2, baselines=False)
    assert [(len(seen), labels) for seen, labels in fits] == [(37, None), (37, None)]
    np.testing.assert_array_equal(fits[0][0][-7:], X[:7] + 100)


def test_transductive_features_are_fitted_once_on_all_rows(blobs, fits):
    X, y, _ = blobs
    table = compare_representations({"rows": Recorder()}, X, y, transductive=True, baselines=False)
    ((seen, labels),) = fits
    np.testing.assert_array_equal(seen, X)
    assert labels is None
    assert (table["fitted_on"] == "all recordings").all()


def test_transductive_scores_are_those_of_probes_on_fixed_features(blobs):
    X, y, _ = blobs
    cv = StratifiedKFold(4)
    table = compare_representations(
        {"pca": PCA(3, random_state=0)}, X, y, cv=cv, transductive=True, baselines=False
    )
    expected = cross_val_score(standard_probe(), PCA(3, random_state=0).fit_transform(X), y, cv=cv)
    np.testing.assert_array_equal(fold_scores(table, "pca"), expected)


@pytest.mark.parametrize("as_type", [list, np.array, pd.Series])
def test_unlabelled_recordings_may_have_any_type(corpus, as_type):
    X, more = as_type(corpus.paths[:8]), as_type(corpus.paths[8:])
    table = compare_representations({"mfcc": MFCC}, X, corpus.y[:8], unlabelled=more, cv=2)
    assert len(table) == 2


FORMS = {
    "list": list,
    "array": np.array,
    "Series": pd.Series,
    "clips": lambda paths: [Clip(path) for path in paths],
    "tuples": lambda paths: [(path, 0.0, None) for path in paths],
    "table": lambda paths: pd.DataFrame({"file": paths, "onset": 0.0, "duration": 0.2}),
    "table of paths": lambda paths: pd.DataFrame({"path": paths}),
}


@pytest.mark.parametrize("more_form", FORMS)
@pytest.mark.parametrize("form", FORMS)
def test_unlabelled_recordings_may_have_another_form_than_x(corpus, fits, form, more_form):
    X, more = FORMS[form](corpus.paths[:8]), FORMS[more_form](corpus.paths[8:])
    compare_representations({"rows": Listener()}, X, corpus.y[:8], unlabelled=more, cv=2, baselines=False)
    for seen, labels in fits:
        clips = as_clips(seen)
        assert labels is None
        assert [clip.path for clip in clips[4:]] == list(corpus.paths[8:])
        assert {clip.path for clip in clips[:4]} < set(corpus.paths[:8])
        durations = [0.2 if kind == "table" else None for kind in (form, more_form)]
        assert [clip.duration for clip in clips] == 4 * durations[:1] + (len(clips) - 4) * durations[1:]


def test_unlabelled_tables_are_joined_by_the_names_of_their_columns(blobs, fits):
    X, y, _ = blobs
    names = [f"f{number}" for number in range(X.shape[1])]
    table, more = pd.DataFrame(X, columns=names), pd.DataFrame(X[:7] + 100, columns=names)
    compare_representations({"rows": Listener()}, table, y, unlabelled=more[names[::-1]], cv=2, baselines=False)
    assert list(fits[0][0].columns) == names
    np.testing.assert_array_equal(fits[0][0][-7:], X[:7] + 100)


def test_unlabelled_sparse_rows_are_joined(blobs, fits):
    X, y, _ = blobs
    rows = sparse.csr_array(X)
    compare_representations({"rows": Listener()}, rows, y, unlabelled=rows[:7], cv=2, baselines=False)
    np.testing.assert_array_equal(fits[0][0].toarray()[-7:], X[:7])


def unjoinable(X, paths):
    table = pd.DataFrame(X).add_prefix("f")
    return {
        "recordings and numbers": (paths, X[: len(paths)]),
        "numbers and recordings": (X, paths),
        "a table and an array": (table, X),
        "an array and a table": (X, table),
        "other columns": (table, table.add_prefix("g")),
        "fewer columns": (table, table.iloc[:, 1:]),
        "another width": (X, X[:, 1:]),
        "sparse and dense": (sparse.csr_array(X), X),
        "sparse of another width": (sparse.csr_array(X), sparse.csr_array(X[:, 1:])),
    }


@pytest.mark.parametrize("case", unjoinable(np.zeros((2, 2)), ["a", "b"]))
def test_unlabelled_rows_that_cannot_be_joined_are_refused(blobs, corpus, fits, case):
    rows, more = unjoinable(blobs[0], corpus.paths)[case]
    y = np.arange(rows.shape[0] if hasattr(rows, "shape") else len(rows)) % 2
    with pytest.raises(ValueError, match="cannot be joined with X; give both"):
        compare_representations({"rows": Listener()}, rows, y, unlabelled=more, cv=2, baselines=False)
    assert fits == []


SUPERVISED = {
    "a selection": SelectKBest(k=2),
    "an analysis before others": make_pipeline(LinearDiscriminantAnalysis(), PCA(1)),
    "before a classifier": make_pipeline(SelectKBest(k=2), LogisticRegression()),
    "in a union": FeatureUnion([("pca", PCA(1)), ("best", SelectKBest(k=1))]),
    "neighbours": NeighborhoodComponentsAnalysis(2),
}


@pytest.mark.parametrize("case", SUPERVISED)
@pytest.mark.parametrize("options", ["transductive", "unlabelled"])
def test_transformers_that_need_labels_are_refused_where_they_must_not_see_them(blobs, case, options):
    X, y, _ = blobs
    options = {"transductive": True} if options == "transductive" else {"unlabelled": X + 1}
    with pytest.raises(ValueError, match=r"(?s)needs labels, but .* put what needs them into probe"):
        compare_representations({"pca": PCA(2), "best": SUPERVISED[case]}, X, y, **options)


def test_transformers_that_need_labels_see_those_of_training_rows(blobs):
    X, y, _ = blobs
    compare_representations({"best": SelectKBest(k=2)}, X, y, cv=2)
    probe = make_pipeline(SelectKBest(k=2), LogisticRegression())
    compare_representations({"raw": "passthrough"}, X, y, cv=2, transductive=True, probe=probe)


def test_test_recordings_passed_as_unlabelled_are_refused(corpus):
    with pytest.raises(ValueError, match=r"12 file\(s\) of unlabelled are also in X"):
        compare_representations({"mfcc": MFCC}, corpus.paths, corpus.y, unlabelled=corpus.paths)
    compare_representations({"mfcc": MFCC}, corpus.paths, corpus.y, unlabelled=corpus.paths, transductive=True)


def test_recordings_are_decoded_once(corpus, tmp_path):
    compare_representations({"mfcc": MFCC}, corpus.paths, corpus.y, cv=2, memory=tmp_path, baselines=False)
    assert any(tmp_path.rglob("*"))


# Errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"representations": {}}, "representations is empty"),
        ({"reference": "mfc"}, r"reference='mfc' is none of the representations, \['chance', 'pca'\]"),
        ({"y": ["a"]}, "inconsistent numbers of samples"),
        ({"n_seeds": 0}, "n_seeds.* Got 0"),
        ({"confidence": 95}, "confidence.* Got 95"),
    ],
)
def test_invalid_arguments_are_named(blobs, changes, message):
    X, y, _ = blobs
    with pytest.raises(ValueError, match=message):
        compare_representations(**{"representations": {"pca": PCA(2)}, "X": X, "y": y, **changes})
