"""ConfusionDisplay: shares of all rows, their marginals, and a legible figure."""

from functools import partial
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_cpc import LinearProbe
from sklearn_cpc.displays import ConfusionDisplay

LABELS = st.sampled_from([list("abcd"), [3, 1, 2, 7], [False, True], ["only"]])


@st.composite
def predictions(draw):
    """True classes, predicted classes and weights of some rows."""
    labels, n = draw(LABELS), draw(st.integers(1, 30))
    rows = st.lists(st.sampled_from(labels), min_size=n, max_size=n)
    weight = st.lists(st.floats(0.01, 10), min_size=n, max_size=n)
    return draw(rows), draw(rows), draw(st.none() | weight)


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=predictions())
def test_shares_sum_to_one_and_marginals_are_frequencies(rows):
    y_true, y_pred, weight = rows
    display = ConfusionDisplay.from_predictions(y_true, y_pred, sample_weight=weight, ax=plt.figure().subplots())
    plt.close("all")
    labels = display.display_labels
    assert display.confusion_matrix.sum() == pytest.approx(1)
    assert display.accuracy == pytest.approx(accuracy_score(y_true, y_pred, sample_weight=weight))
    is_true, is_predicted = (np.array([np.equal(y, label) for label in labels]) for y in (y_true, y_pred))
    share = partial(np.average, weights=weight, axis=-1)
    np.testing.assert_allclose(display.true_shares, share(is_true), atol=1e-12)
    np.testing.assert_allclose(display.predicted_shares, share(is_predicted), atol=1e-12)
    np.testing.assert_allclose(
        display.confusion_matrix, [share(row & is_predicted) for row in is_true], atol=1e-12
    )


def test_labels_set_the_order_and_may_include_absent_classes():
    display = ConfusionDisplay.from_predictions(list("aab"), list("aba"), labels=list("cba"))
    np.testing.assert_allclose(display.confusion_matrix * 3, [[0, 0, 0], [0, 0, 1], [0, 1, 1]])
    assert [tick.get_text() for tick in display.ax_.get_xticklabels()] == ["c", "b", "a"]


def test_pandas_series_are_accepted():
    y = pd.Series(list("aab"), index=[5, 6, 7])
    display = ConfusionDisplay.from_predictions(y, y.to_numpy()[::-1], sample_weight=pd.Series([1, 1, 2]))
    np.testing.assert_allclose(display.confusion_matrix, [[0.25, 0.25], [0.5, 0]])


def test_from_estimator_uses_its_predictions():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    pipeline = make_pipeline(StandardScaler(), LinearProbe(lr=0.01, random_state=0)).fit(X, names)
    display = ConfusionDisplay.from_estimator(pipeline, X, names)
    assert display.accuracy == pytest.approx(pipeline.score(X, names))
    assert display.accuracy == pytest.approx(display.confusion_matrix.trace())
    assert f"{display.accuracy:.3f}" in display.ax_.get_title()
    np.testing.assert_allclose(display.true_shares, 1 / 3)


# Drawing


def confusion_of(n_classes, n_rows=2000, **how):
    random = np.random.default_rng(0)
    names = np.array([f"class number {i:02d}" for i in range(n_classes)])
    y = random.integers(n_classes, size=n_rows)
    wrong = (y + random.integers(0, 3, n_rows)) % n_classes
    return ConfusionDisplay.from_predictions(names[y], names[np.where(y % 2, y, wrong)], labels=names, **how)


def test_bars_show_the_marginals():
    display = confusion_of(5)
    _, top, right = display.axes_
    np.testing.assert_allclose([bar.get_height() for bar in top.patches], display.predicted_shares)
    np.testing.assert_allclose([bar.get_width() for bar in right.patches], display.true_shares)


def test_bars_align_with_their_rows_and_columns(draw):
    display = confusion_of(6)
    draw(display)
    matrix, top, right = (ax.get_window_extent() for ax in display.axes_)
    assert (top.x0, top.x1) == pytest.approx((matrix.x0, matrix.x1))
    assert (right.y0, right.y1) == pytest.approx((matrix.y0, matrix.y1))
    assert top.y0 > matrix.y1
    assert right.x0 > matrix.x1
    assert display.axes_[1].get_xlim() == display.ax_.get_xlim()
    assert display.axes_[2].get_ylim() == display.ax_.get_ylim()


@pytest.mark.parametrize("n_classes", [2, 10])
def test_numbers_at_bars_overlap_nothing(n_classes, draw):
    display = confusion_of(n_classes, colorbar=True)
    draw(display)
    _, top, right = display.axes_
    colour_bar = next(ax for ax in display.figure_.findobj(plt.Axes) if ax.get_ylabel() == "share of all rows")
    for text in right.texts:
        assert text.get_window_extent().x1 < colour_bar.get_window_extent().x0
    for text in top.texts:
        assert text.get_window_extent().y1 < display.ax_.title.get_window_extent().y0 + 2


@pytest.mark.parametrize("n_classes", [1, 2, 10, 20, 40])
def test_no_text_is_cut_off_and_no_names_overlap(n_classes, draw):
    display = confusion_of(n_classes)
    draw(display)
    page = display.figure_.bbox
    for text in display.figure_.findobj(plt.Text):
        if text.get_text() and text.get_visible():
            box = text.get_window_extent()
            assert box.x0 >= page.x0 - 1, text
            assert box.x1 <= page.x1 + 1, text
            assert box.y0 >= page.y0 - 1, text
            assert box.y1 <= page.y1 + 1, text
    heights = [tick.get_window_extent() for tick in display.ax_.get_yticklabels()]
    assert all(above.y0 >= below.y1 - 1 for above, below in pairwise(heights))


def test_written_shares_fit_and_contrast_with_their_cells():
    display = confusion_of(20)
    written = {index: text for index, text in np.ndenumerate(display.text_) if text is not None}
    assert set(written) == set(zip(*np.nonzero(display.confusion_matrix.round(3)), strict=True))
    for index, text in written.items():
        assert float(text.get_text()) == pytest.approx(display.confusion_matrix[index], abs=6e-4)
        ground = display.im_.to_rgba(display.confusion_matrix[index])[:3]
        assert np.abs(np.subtract(ground, to_rgb(text.get_color()))).max() > 0.4
        assert text.get_fontsize() >= 5


def test_colour_bar_replaces_shares_too_small_to_read():
    display = confusion_of(60)
    assert display.text_ is None
    assert "share of all rows" in [ax.get_ylabel() for ax in display.figure_.findobj(plt.Axes)]


def test_values_and_bars_can_be_switched_off():
    display = confusion_of(3, include_values=False, marginals=False, colorbar=False)
    assert display.text_ is None
    assert list(display.axes_) == [display.ax_]
    display.plot(values_format=".1f", xticks_rotation=30)
    assert display.text_[0, 0].get_text() == f"{display.confusion_matrix[0, 0]:.1f}"
    assert display.ax_.get_xticklabels()[0].get_rotation() == 30


# Errors

REFUSED = {
    "inconsistent numbers of samples": {"y_pred": list("ab")},
    "y_true is empty": {"y_true": [], "y_pred": []},
    r"lacks \['b'\], which occur": {"labels": ["a"]},
    "names a class twice": {"labels": list("aab")},
    "display_labels has 1 names, but there are 2 classes": {"display_labels": ["A"]},
    r"inconsistent numbers of samples: \[3, 3, 2\]": {"sample_weight": [1, 1]},
    "sample_weight must hold finite": {"sample_weight": [0, 0, 0]},
    "sample_weight must hold": {"sample_weight": [1, -1, 1]},
    "Mix": {"y_pred": [1, 2, 3]},
    r"y_true holds no class \(NaN or None\) for 1 of 3 rows": {
        "y_true": [1.0, np.nan, 2.0],
        "y_pred": [1.0, 1.0, 2.0],
    },
}


@pytest.mark.parametrize(("message", "given"), REFUSED.items())
def test_invalid_predictions_are_refused(message, given):
    with pytest.raises(ValueError, match=message):
        ConfusionDisplay.from_predictions(**{"y_true": list("aab"), "y_pred": list("aba"), **given})
    assert plt.get_fignums() == []


def test_from_estimator_needs_a_fitted_classifier():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(NotFittedError):
        ConfusionDisplay.from_estimator(LogisticRegression(), X, y)
    with pytest.raises(
        ValueError, match="estimator is a LinearRegression, but a confusion matrix needs a classifier"
    ):
        ConfusionDisplay.from_estimator(LinearRegression().fit(X, y), X, y)
