"""AutoencoderReducer: the report's layers, and features reduced so that they can be restored."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback, EarlyStopping
from torch import nn

from sklearn_cpc import AutoencoderReducer


def small(**changes):
    parameters = {"n_components": 3, "encoder_units": (16,), "decoder_units": (16,), "dropout": 0.0}
    return AutoencoderReducer(
        **{**parameters, "lr": 0.01, "max_epochs": 3, "random_state": 0, "device": "cpu", **changes}
    )


@pytest.fixture(scope="module")
def rows():
    """Sixty-four rows of ten features that vary in three directions, of all scales. Not to be changed."""
    random = np.random.default_rng(0)
    return random.standard_normal((64, 3)) @ random.standard_normal((3, 10)) * np.logspace(-3, 3, 10) + 5


class Fails(Callback):
    def on_batch_end(self, net, **_):
        raise RuntimeError("stop")


def widths(network):
    return [(layer.in_features, layer.out_features) for layer in network if isinstance(layer, nn.Linear)]


def test_layers_are_those_of_table_4():
    reducer = AutoencoderReducer(max_epochs=0).fit(np.zeros((2, 512)))
    encoder, decoder = reducer.network_.encoder, reducer.network_.decoder
    assert widths(encoder) == [(512, 256), (256, 256), (256, 128), (128, 64), (64, 32)]
    assert widths(decoder) == [(32, 64), (64, 128), (128, 256), (256, 512)]
    assert [layer.p for layer in [*encoder, *decoder] if isinstance(layer, nn.Dropout)] == [0.1] * 7
    assert sum(isinstance(layer, nn.LeakyReLU) for layer in [*encoder, *decoder]) == 8
    assert isinstance(decoder[-1], nn.Linear)


def test_training_defaults_are_those_of_table_5():
    defaults = AutoencoderReducer().get_params()
    assert (defaults["max_epochs"], defaults["lr"], defaults["batch_size"]) == (10, 1e-4, 32)


def test_low_rank_rows_are_restored_better_than_by_their_mean(rows):
    reducer = small(max_epochs=200).fit(rows)
    assert reducer.score(rows) > 0.9
    assert reducer.score(rows) > small(max_epochs=0).fit(rows).score(rows) + 0.5
    assert reducer.history_[-1]["train_loss"] < 0.1 * reducer.history_[0]["train_loss"]


def test_the_score_is_the_share_of_standardised_variance_explained(rows):
    reducer = small(max_epochs=50).fit(rows)
    restored = reducer.inverse_transform(reducer.transform(rows))
    residual = ((rows - restored) / rows.std(axis=0)) ** 2
    assert reducer.score(rows) == pytest.approx(1 - residual.mean(), abs=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transform_and_inverse_keep_shapes_and_types(dtype, rows):
    reducer = small().fit(rows)
    reduced = reducer.transform(rows.astype(dtype))
    restored = reducer.inverse_transform(reduced)
    assert reduced.shape == (64, 3)
    assert restored.shape == rows.shape
    assert reduced.dtype == restored.dtype == dtype


def test_one_component_is_enough(rows):
    reducer = small(n_components=1, encoder_units=(), decoder_units=()).fit(rows)
    assert reducer.inverse_transform(reducer.transform(rows)).shape == rows.shape
    assert reducer.get_feature_names_out().tolist() == ["autoencoderreducer0"]


def test_reduced_frames_are_restored(rows):
    table = pd.DataFrame(rows, index=np.arange(64) + 100).add_prefix("feature")
    reducer = small().set_output(transform="pandas").fit(table)
    reduced = reducer.transform(table)
    assert reduced.columns.tolist() == [f"autoencoderreducer{i}" for i in range(3)]
    assert reduced.index.equals(table.index)
    assert_allclose(reducer.inverse_transform(reduced), reducer.inverse_transform(reduced.to_numpy()))


def test_reduced_rows_may_be_read_only_and_reversed(rows):
    reducer = small().fit(rows)
    reduced = reducer.transform(rows)
    reduced.flags.writeable = False
    assert_allclose(reducer.inverse_transform(reduced[::-1])[::-1], reducer.inverse_transform(reduced))


def test_inverse_transform_uses_fitted_number_of_components(rows):
    reducer = small().fit(rows).set_params(n_components=5)
    assert reducer.inverse_transform(reducer.transform(rows)).shape == rows.shape
    with pytest.raises(ValueError, match=r"X has shape \(64, 5\); it must be \(n_samples, n_components=3\)"):
        reducer.inverse_transform(rows[:, :5])


def test_rows_to_restore_must_be_finite_and_two_dimensional(rows):
    reducer = small().fit(rows)
    with pytest.raises(ValueError, match="NaN"):
        reducer.inverse_transform(np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
        reducer.inverse_transform(np.zeros(3))


def test_constant_features_are_handled(rows):
    rows = np.hstack([rows, np.full((64, 1), 7.0)])
    reducer = small().fit(rows)
    assert np.isfinite(reducer.transform(rows)).all()
    assert np.isfinite(reducer.score(rows))
    assert small().fit(np.ones((4, 3))).transform(np.ones((4, 3))).shape == (4, 3)


def test_one_row_can_be_reduced(rows):
    assert small().fit_transform(rows[:1]).shape == (1, 3)


def test_dropout_is_off_outside_training(rows):
    reducer = small(dropout=0.5).fit(rows)
    assert_array_equal(reducer.transform(rows), reducer.transform(rows))


def test_same_seed_gives_same_rows_without_touching_global_rng(rows):
    before = torch.random.get_rng_state()
    one, other = small(dropout=0.1).fit(rows), small(dropout=0.1).fit(rows)
    assert_array_equal(one.transform(rows), other.transform(rows))
    assert (one.transform(rows) != small(dropout=0.1, random_state=1).fit_transform(rows)).any()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_fit_starts_from_scratch(rows):
    reducer = small().fit(rows + 100).fit(rows[:, :7])
    once = small().fit(rows[:, :7])
    assert reducer.n_iter_ == len(reducer.history_) == 3
    assert reducer.n_features_in_ == 7
    assert_array_equal(reducer.transform(rows[:, :7]), once.transform(rows[:, :7]))


def test_partial_fit_keeps_the_first_standardisation(rows):
    reducer = small()
    for part in (rows[:32], rows[32:], rows):
        reducer.partial_fit(part)
    assert [row["epoch"] for row in reducer.history_] == [1, 2, 3]
    assert_array_equal(reducer.scaler_.mean_, rows[:32].mean(axis=0))


def test_warm_start_continues_training(rows):
    reducer = small(warm_start=True).fit(rows)
    loss = reducer.history_[-1]["train_loss"]
    reducer.fit(rows)
    assert [row["epoch"] for row in reducer.history_] == [1, 2, 3, 4, 5, 6]
    assert reducer.history_[-1]["train_loss"] < loss
    with pytest.raises(ValueError, match="cannot continue from the last fit"):
        reducer.set_params(n_components=2).fit(rows)


def test_failed_fit_leaves_estimator_unchanged(rows):
    reducer = small(callbacks=[Fails()])
    with pytest.raises(RuntimeError, match="stop"):
        reducer.fit(rows)
    with pytest.raises(NotFittedError):
        reducer.transform(rows)
    reducer = small().fit(rows)
    before = reducer.transform(rows)
    with pytest.raises(RuntimeError, match="stop"):
        reducer.set_params(callbacks=[Fails()]).fit(3 * rows[:, :4])
    assert_array_equal(reducer.transform(rows), before)


def test_early_stopping_stops(rows):
    stopper = EarlyStopping(monitor="train_loss", patience=2, threshold=1e6, threshold_mode="abs")
    assert small(max_epochs=50, callbacks=[stopper]).fit(rows).n_iter_ == 3


def test_it_is_quiet_unless_asked(rows, capfd):
    small().fit(rows)
    assert capfd.readouterr() == ("", "")
    small(verbose=1).fit(rows)
    assert "autoencoder" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"n_components": 0}, ValueError, "'n_components' parameter of "),
        ({"n_components": 2.0}, TypeError, "'n_components' parameter of "),
        ({"encoder_units": 8}, TypeError, "'encoder_units' parameter of "),
        ({"encoder_units": (8, 0)}, ValueError, "'encoder_units' parameter of "),
        ({"decoder_units": None}, TypeError, "'decoder_units' parameter of "),
        ({"dropout": 1}, ValueError, "'dropout' parameter of "),
        ({"max_epochs": -1}, ValueError, "'max_epochs' parameter of "),
        ({"batch_size": 0}, ValueError, "'batch_size' parameter of "),
        ({"lr": 0.0}, ValueError, "'lr' parameter of "),
        ({"device": "gpu"}, ValueError, "device='gpu' cannot be used here"),
        ({"callbacks": [EarlyStopping()]}, ValueError, "EarlyStopping monitors 'valid_loss'"),
    ],
    ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", str(value)),  # the same in all processes
)
def test_a_bad_parameter_is_named(parameters, error, message, rows):
    with pytest.raises(error, match=message):
        clone(small()).set_params(**parameters).fit(rows)


@pytest.mark.parametrize("method", ["transform", "inverse_transform", "score"])
def test_use_before_fit_is_refused(method, rows):
    with pytest.raises(NotFittedError, match="This AutoencoderReducer instance is not fitted yet"):
        getattr(small(), method)(rows)


def test_rows_of_unusable_recordings_are_refused(rows):
    with pytest.raises(ValueError, match="Input X contains NaN"):
        small().fit(np.vstack([rows, np.full(10, np.nan)]))
