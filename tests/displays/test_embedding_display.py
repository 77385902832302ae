"""EmbeddingDisplay: one projection of train and test, with every point drawn once."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from corpus import rising_tones, small_cpc
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_cpc import LinearProbe, MFCCTransformer
from sklearn_cpc.displays import EmbeddingDisplay

RANDOM = np.random.default_rng(0)
TRAIN, TEST = RANDOM.standard_normal((40, 6)) * 5 + 3, RANDOM.standard_normal((30, 6)) * 5 + 3
Y_TRAIN, Y_TEST = np.array(list("abcd") * 10), np.array(list("abc") * 10)


class Spy(BaseEstimator):
    """Keeps the first two features, and records its input."""

    seen: list = []  # shared by clones

    def fit_transform(self, X, y=None):
        Spy.seen.append(X)
        return X[:, :2]


def by_spy(*args, **how):
    Spy.seen.clear()
    return EmbeddingDisplay.from_embeddings(*args, projection=Spy(), **how)


def offsets(panel):
    """Points of a panel except the grey ones."""
    drawn = [
        np.asarray(group.get_offsets()) for group in panel.collections if group.get_label() in ("train", "test")
    ]
    return np.concatenate(drawn)


def test_train_and_test_are_projected_together():
    display = by_spy(TRAIN, Y_TRAIN, TEST, Y_TEST)
    (seen,) = Spy.seen
    np.testing.assert_allclose(seen, StandardScaler().fit_transform(np.concatenate([TRAIN, TEST])))
    np.testing.assert_array_equal(display.points, seen[:, :2])
    assert display.split.tolist() == ["train"] * 40 + ["test"] * 30
    assert display.labels.tolist() == [*Y_TRAIN, *Y_TEST]
    assert display.rows.tolist() == [*range(40), *range(30)]


def test_max_points_samples_each_split_at_random():
    display = by_spy(TRAIN, Y_TRAIN, TEST, Y_TEST, max_points=35, random_state=0)
    train = display.split == "train"
    assert (train.sum(), (~train).sum()) == (35, 30)
    assert len(set(display.rows[train])) == 35
    assert display.labels[train].tolist() == Y_TRAIN[display.rows[train]].tolist()
    rows = [by_spy(TRAIN, max_points=5, random_state=seed).rows.tolist() for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]
    assert len(by_spy(TRAIN, max_points=None).points) == 40


def test_same_seed_gives_same_points():
    first, second = (
        EmbeddingDisplay.from_embeddings(TRAIN, Y_TRAIN, TEST, Y_TEST, max_points=20, random_state=3)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.points, second.points)
    assert first.points.shape == (40, 2)
    assert first.ax_.get_xlabel() == "t-SNE 1"


def test_rows_with_nan_are_left_out_with_a_warning():
    broken = TRAIN.copy()
    broken[[3, 5], 2] = np.nan, np.inf
    with pytest.warns(UserWarning, match="2 of 40 rows of train are left out") as caught:
        display = by_spy(broken, Y_TRAIN, TEST, Y_TEST)
    assert caught[0].filename == __file__
    assert len(display.points) == 68
    assert not {3, 5} & set(display.rows[display.split == "train"])
    assert display.labels[:4].tolist() == ["a", "b", "c", "a"]


def test_wide_data_and_few_points_are_projected():
    for n, n_features in ((1, 80), (2, 80), (3, 1), (5, 1), (5, 200), (60, 100)):
        rows = RANDOM.standard_normal((n, n_features)).astype(np.float32)
        points = EmbeddingDisplay.from_embeddings(rows, random_state=0).points
        assert points.shape == (n, 2)
        assert np.isfinite(points).all()
        plt.close("all")


def test_equal_embeddings_share_one_point():
    assert not EmbeddingDisplay.from_embeddings(np.ones((9, 60))).points.any()


# Drawing


def test_by_class_draws_every_point_once(draw):
    display = by_spy(TRAIN, Y_TRAIN, TEST, Y_TEST)
    groups = display.ax_.collections
    assert sorted(len(group.get_offsets()) for group in groups) == [0, 10, 10, 10, 10, 10, 10, 10]
    filled = sum(len(group.get_offsets()) for group in groups if len(group.get_facecolors()))
    assert filled == 40
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["a", "b", "c", "d", "train (filled)", "test (hollow)"]
    draw(display)


def test_by_split_draws_a_panel_for_each_class(draw):
    display = by_spy(TRAIN, Y_TRAIN, TEST, Y_TEST, by="split")
    assert [panel.get_title() for panel in display.axes_] == list("abcd")
    for label, panel in zip("abcd", display.axes_, strict=True):
        drawn = sorted(map(tuple, offsets(panel)))
        assert drawn == sorted(map(tuple, display.points[display.labels == label]))
        assert sum(len(group.get_offsets()) for group in panel.collections) == 70
    limits = {(panel.get_xlim(), panel.get_ylim()) for panel in display.axes_}
    draw(display)
    assert len(limits) == 1


def test_unknown_classes_give_one_panel():
    for by in ("class", "split"):
        display = by_spy(TRAIN, None, TEST, by=by)
        assert len(display.axes_) == 1
        assert sum(len(group.get_offsets()) for group in display.axes_[0].collections) == 70
    assert [text.get_text() for text in display.axes_[0].get_legend().get_texts()] == ["train", "test"]


@pytest.mark.filterwarnings("ignore:The number of unique classes:UserWarning")  # of scikit-learn 1.7
@pytest.mark.parametrize("by", ["class", "split"])
def test_twenty_classes_fit_into_the_figure(by, draw):
    names = np.array([f"class number {i}" for i in range(20)])
    display = by_spy(np.tile(TRAIN, (2, 1)), np.tile(names, 4), TEST, names[np.arange(30) % 20], by=by)
    draw(display)
    page = display.figure_.bbox
    texts = [text for text in display.figure_.findobj(plt.Text) if text.get_text() and text.get_visible()]
    for text in texts:
        box = text.get_window_extent()
        assert box.x0 >= page.x0
        assert box.x1 <= page.x1
        assert box.y1 <= page.y1
    titles = [panel.title.get_window_extent() for panel in display.axes_ if panel.get_title()]
    for i, one in enumerate(titles):
        assert not any(one.overlaps(other) for other in titles[:i])
    styles = (
        {
            (group.get_paths()[0].vertices.tobytes(), tuple(group.get_edgecolors()[0]))
            for group in display.axes_[0].collections
            if len(group.get_edgecolors())
        }
        if by == "class"
        else range(20)
    )
    assert len(styles) >= 20


@pytest.mark.parametrize(
    "labels", [[0, 1] * 20, [True, False] * 20, pd.Series(list("xy") * 20, index=range(5, 45))]
)
def test_classes_may_be_numbers_booleans_or_strings(labels):
    display = by_spy(TRAIN, labels, by="split")
    assert [panel.get_title() for panel in display.axes_] == sorted(map(str, set(labels)))


# Estimators


def test_from_estimator_uses_a_transformer():
    clips = rising_tones(8)
    cpc = small_cpc().fit(clips)
    display = EmbeddingDisplay.from_estimator(
        cpc, clips[:5], [0, 1, 0, 1, 0], clips[5:], [0, 1, 1], projection=PCA(2)
    )
    expected = PCA(2).fit_transform(StandardScaler().fit_transform(cpc.transform(clips)))
    np.testing.assert_allclose(np.abs(display.points), np.abs(expected), rtol=1e-3, atol=1e-4)
    assert display.ax_.get_xlabel() == "PCA 1"


def test_steps_before_a_classifier_embed():
    pipeline = make_pipeline(StandardScaler(), PCA(3), LogisticRegression()).fit(TRAIN, Y_TRAIN)
    Spy.seen.clear()
    EmbeddingDisplay.from_estimator(pipeline, TRAIN, Y_TRAIN, projection=Spy())
    np.testing.assert_allclose(Spy.seen[0], StandardScaler().fit_transform(pipeline[:-1].transform(TRAIN)))


def test_unusable_recordings_are_left_out(corpus):
    mfcc = MFCCTransformer(4, sample_rate=1000, n_fft=64, n_mels=8, on_error="nan").fit(corpus.paths)
    with (
        pytest.warns(UserWarning, match="1 recordings cannot be used"),
        pytest.warns(UserWarning, match="1 of 6 rows of train are left out"),
    ):
        display = EmbeddingDisplay.from_estimator(mfcc, [*corpus.paths[:5], "missing.wav"], projection=PCA(2))
    assert len(display.points) == 5


# Errors


@pytest.mark.parametrize(
    ("message", "args", "how"),
    [
        ("train has 6 features, but test has 5", (TRAIN, None, TEST[:, :5]), {}),
        ("y_train has 3 entries, but train has 40 rows", (TRAIN, list("abc")), {}),
        ("classes are given for train only", (TRAIN, Y_TRAIN, TEST), {}),
        ("classes are given for test only", (TRAIN, None, TEST, Y_TEST), {}),
        ("Mix of label input types", (TRAIN, Y_TRAIN, TEST, np.arange(30) % 3), {}),
        ("y_train holds no class", (TRAIN, [np.nan] * 40), {}),
        ("0 sample", (TRAIN[:0],), {}),
        ("'max_points' parameter of .* Got 0", (TRAIN,), {"max_points": 0}),
        ("by='genre' is unknown; use 'class' or 'split'", (TRAIN,), {"by": "genre", "projection": PCA(2)}),
        (
            r"projection=PCA.* gave an array of shape \(40, 3\), not two columns",
            (TRAIN,),
            {"projection": PCA(3)},
        ),
    ],
)
def test_invalid_embeddings_are_refused(message, args, how):
    with pytest.raises(ValueError, match=message):
        EmbeddingDisplay.from_embeddings(*args, **how)
    assert plt.get_fignums() == []


def test_only_nan_rows_are_refused():
    with (
        pytest.warns(UserWarning, match="3 of 3 rows"),
        pytest.raises(ValueError, match="every row of the embeddings holds NaN"),
    ):
        EmbeddingDisplay.from_embeddings(np.full((3, 2), np.nan))


def test_from_estimator_needs_a_fitted_transformer():
    with pytest.raises(NotFittedError):
        EmbeddingDisplay.from_estimator(small_cpc(), rising_tones(4))
    probe = LinearProbe(max_epochs=1).fit(TRAIN, Y_TRAIN)
    for estimator in (probe, make_pipeline(probe)):
        with pytest.raises(TypeError, match="has no transform, so it does not embed"):
            EmbeddingDisplay.from_estimator(estimator, TRAIN)
