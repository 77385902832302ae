"""scikit-learn's whole contract, for every estimator, with no expected failure and no check skipped."""

import pytest
from sklearn.utils.estimator_checks import check_estimator

from sklearn_cpc import (
    AutoencoderReducer,
    Conv1dEncoder,
    CPCTransformer,
    GRUContext,
    LinearProbe,
    MFCCTransformer,
)

TINY = Conv1dEncoder(
    n_filters=4, kernel_sizes=(1,), strides=(1,), dense_units=4, z_dim=4, sample_rate=4, dropout=0
)

ESTIMATORS = {
    "CPCTransformer": (
        CPCTransformer(TINY, GRUContext(c_dim=8), clip_duration=1.0, n_context=3, n_future=1, max_epochs=2),
        47,
    ),
    "AutoencoderReducer": (AutoencoderReducer(2, encoder_units=(8,), decoder_units=(8,), max_epochs=2), 47),
    "MFCCTransformer": (MFCCTransformer(n_mfcc=4), 47),
    "LinearProbe": (LinearProbe(lr=0.05, max_epochs=30), 55),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_scikit_learn_check_passes(name):
    estimator, n_checks = ESTIMATORS[name]
    results = check_estimator(estimator, on_skip=None)
    assert {r["check_name"]: r["status"] for r in results if r["status"] != "passed"} == {}
    assert len(results) >= n_checks
