"""What estimators that train networks have in common."""

import re

import numpy as np
import pytest
import torch
from corpus import rising_tones, small_cpc
from sklearn.base import clone
from skorch.callbacks import EarlyStopping
from torch import nn

from sklearn_cpc import AutoencoderReducer, CPCTransformer, GRUContext, InfoNCE, LinearProbe, LogMelEncoder

ROWS = np.random.default_rng(0).standard_normal((24, 6))


@pytest.mark.parametrize(
    "change",
    [
        {"max_epochs": -1},
        {"max_epochs": 1.5},
        {"batch_size": 0},
        {"batch_size": "8"},
        {"lr": 0},
        {"lr": None},
        {"lr": np.nan},
        {"lr": np.inf},
        {"device": 3},
        {"callbacks": EarlyStopping("train_loss")},
        {"callbacks": ["early"]},
        {"warm_start": "yes"},
        {"verbose": "loud"},
        {"random_state": "seed"},
    ],
    ids=lambda change: re.sub(" at 0x[0-9a-f]+", "", str(change)),  # the same in all processes
)
@pytest.mark.parametrize("estimator", [AutoencoderReducer(2), LinearProbe()], ids=lambda e: type(e).__name__)
def test_a_bad_training_parameter_is_named(estimator, change):
    name = next(iter(change))
    with pytest.raises((ValueError, TypeError), match=name):
        type(estimator)(**change).fit(ROWS, np.arange(24) % 2)


@pytest.mark.parametrize("monitor", ["valid_loss", "valid_loss_best", "valid_score"])
def test_a_callback_that_monitors_what_is_not_recorded_is_named(monitor):
    with pytest.raises(ValueError, match=f"EarlyStopping monitors '{monitor}'"):
        LinearProbe(callbacks=[("stop", EarlyStopping(monitor))]).fit(ROWS, np.arange(24) % 2)


def test_weights_that_no_longer_fit_are_refused():
    reducer = AutoencoderReducer(2, encoder_units=(4,), decoder_units=(4,), max_epochs=1, warm_start=True).fit(
        ROWS
    )
    network, history = reducer.network_, reducer.history_
    with pytest.raises(ValueError, match=r"whose weights do not fit .* fit with warm_start=False"):
        reducer.set_params(n_components=3).fit(ROWS)
    assert reducer.network_ is network
    assert reducer.history_ is history


def test_a_nested_parameter_turns_a_name_into_its_recipe():
    cpc = CPCTransformer("logmel").set_params(
        encoder__n_mels=40, autoregressor__c_dim=8, objective__negatives="mixed"
    )
    assert isinstance(cpc.encoder, LogMelEncoder)
    assert cpc.encoder.n_mels == 40
    assert isinstance(cpc.autoregressor, GRUContext)
    assert cpc.objective == cpc.objective
    assert cpc.objective.get_params() == InfoNCE("mixed").get_params()


def test_a_name_and_its_nested_parameters_may_be_set_together():
    cpc = CPCTransformer().set_params(encoder__n_mels=40, encoder="logmel")
    assert cpc.encoder.n_mels == 40


@pytest.mark.parametrize("name", ["conv3d", nn.Identity()])
def test_nested_parameters_of_what_is_no_recipe_are_refused(name):
    with pytest.raises((ValueError, AttributeError)):
        CPCTransformer(name).set_params(encoder__n_mels=40)


def test_epochs_add_up_over_fits_that_continue():
    cpc = small_cpc(max_epochs=2, warm_start=True).fit(rising_tones(8))
    cpc.fit(rising_tones(8)).partial_fit(rising_tones(8))
    assert [row["epoch"] for row in cpc.history_] == [1, 2, 3, 4, 5]
    assert cpc.n_iter_ == 5


SETTINGS = [torch.no_grad, torch.inference_mode, lambda: torch.device("meta"), lambda: torch.autocast("cpu")]


@pytest.mark.parametrize("setting", SETTINGS, ids=["no gradients", "inference mode", "meta", "autocast"])
@pytest.mark.parametrize(
    ("estimator", "method"),
    [(AutoencoderReducer(2, random_state=0), "transform"), (LinearProbe(random_state=0), "predict_proba")],
)
def test_settings_of_torch_change_no_result(estimator, method, setting):
    y = np.arange(24) % 2
    expected = getattr(clone(estimator).fit(ROWS, y), method)(ROWS)
    with setting():
        found = getattr(clone(estimator).fit(ROWS, y), method)(ROWS)
    np.testing.assert_array_equal(found, expected)
