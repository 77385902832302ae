"""Named configurations are ordinary estimators, and the report's are the report's."""

import numpy as np
import pytest
from corpus import write_corpus
from sklearn.base import clone

from sklearn_cpc import CPCTransformer, make_cpc
from sklearn_cpc.configurations import CONFIGURATIONS

REPORT = {
    "report-conv1d-gru": ("conv1d", "gru"),
    "report-conv1d-attention": ("conv1d", "attention"),
    "report-conv2d-gru": ("conv2d", "gru"),
}


@pytest.mark.parametrize("name", REPORT)
def test_report_models_are_the_defaults_with_other_parts(name):
    assert make_cpc(name).get_params() == CPCTransformer(*REPORT[name]).get_params()


def test_nested_parameters_can_be_given():
    cpc = make_cpc(lr=0.5, encoder__n_mels=7, autoregressor__c_dim=9)
    assert (cpc.lr, cpc.encoder.n_mels, cpc.autoregressor.c_dim) == (0.5, 7, 9)


def test_every_call_returns_a_new_estimator():
    first, second = make_cpc(), make_cpc()
    assert repr(first) == repr(second) == repr(clone(first)) == repr(CONFIGURATIONS["small-corpus"])
    first.set_params(encoder__n_mels=7)
    assert second.encoder.n_mels == CONFIGURATIONS["small-corpus"].encoder.n_mels == 64


def test_unknown_name_raises_and_lists_known_names():
    with pytest.raises(ValueError, match=r"'configuration' parameter of make_cpc must be a str among .*'speech'"):
        make_cpc("tiny")
    with pytest.raises(ValueError, match="Invalid parameter 'n_mels'"):
        make_cpc(n_mels=7)


@pytest.mark.parametrize(("name", "n_features"), [("small-corpus", 3 * 64 + 2 * 16), ("speech", 2 * 64 + 2 * 16)])
def test_recommended_ones_learn_from_short_and_long_recordings(name, n_features, tmp_path):
    paths = [
        path
        for duration in (0.3, 1.0, 2.5)
        for path in write_corpus(_made(tmp_path / str(duration)), n_files=4, duration=duration).paths
    ]
    small = {"encoder__n_filters": 16, "encoder__z_dim": 16, "autoregressor__c_dim": 16}
    cpc = make_cpc(name, **small, max_epochs=8, random_state=0)
    features = cpc.fit_transform(paths)
    assert features.shape == (12, n_features)
    assert np.isfinite(features).all()
    assert cpc.history_[-1]["train_loss"] < cpc.history_[0]["train_loss"]


def _made(folder):
    folder.mkdir()
    return folder
