"""Fitted estimators that stay fitted, and their output as polars."""

import numpy as np
import polars
import pytest
from corpus import RATE, rising_tones, small_cpc
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted

from sklearn_cpc import AutoencoderReducer, LinearProbe, MFCCTransformer

TONES, CLASSES = rising_tones(12), np.arange(12) % 2
ESTIMATORS = {
    "CPCTransformer": small_cpc,
    "AutoencoderReducer": lambda: AutoencoderReducer(2, max_epochs=1, random_state=0),
    "LinearProbe": lambda: LinearProbe(max_epochs=1, random_state=0),
    "MFCCTransformer": lambda: MFCCTransformer(4, sample_rate=RATE, n_fft=64, hop_length=32, n_mels=8),
}
TRANSFORMERS = [name for name in ESTIMATORS if name != "LinearProbe"]


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_know_whether_they_are_fitted(name):
    estimator = ESTIMATORS[name]()
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)
    check_is_fitted(estimator.fit(TONES, CLASSES))
    with pytest.raises(NotFittedError):
        check_is_fitted(clone(estimator))


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_frozen_features_are_fitted_once(name):
    fitted = ESTIMATORS[name]().fit(TONES)
    weights = vars(fitted).copy()
    pipeline = make_pipeline(FrozenEstimator(fitted), LinearProbe(max_epochs=1, random_state=0))
    GridSearchCV(pipeline, {"linearprobe__lr": [0.01, 0.1]}, cv=2).fit(TONES[:8], CLASSES[:8])
    again = clone(pipeline).fit(TONES[:6], CLASSES[:6])
    assert again[0].estimator is fitted
    assert vars(fitted) == weights
    assert_array_equal(again[:-1].transform(TONES), fitted.transform(TONES))


def test_a_frozen_probe_predicts_as_before():
    probe = LinearProbe(max_epochs=3, random_state=0).fit(TONES, CLASSES)
    frozen = FrozenEstimator(probe).fit(TONES[:4], 1 - CLASSES[:4])
    assert_array_equal(frozen.predict_proba(TONES), probe.predict_proba(TONES))
    assert_array_equal(frozen.classes_, [0, 1])


@pytest.mark.parametrize("name", TRANSFORMERS)
@pytest.mark.parametrize(
    "wrap",
    [lambda e: e, clone, FrozenEstimator, make_pipeline],
    ids=["fitted", "cloned", "frozen", "in a pipeline"],
)
def test_output_may_be_polars(name, wrap):
    fitted = ESTIMATORS[name]().fit(TONES)
    wrapped = wrap(fitted).set_output(transform="polars").fit(TONES)
    table = wrapped.transform(TONES)
    assert isinstance(table, polars.DataFrame)
    assert table.columns == list(fitted.get_feature_names_out())
    assert_array_equal(table.to_numpy(), fitted.set_output(transform="default").transform(TONES))
