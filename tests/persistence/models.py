"""Small fitted estimators of every kind, and all that they compute."""

import functools

import numpy as np
import pandas as pd
from corpus import RATE, rising_tones, small_cpc, small_encoder
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_cpc import (
    AttentionContext,
    Augmentation,
    AutoencoderReducer,
    CausalAttentionContext,
    Conv2dEncoder,
    CPCTransformer,
    GRUContext,
    InfoNCE,
    LinearProbe,
    LogMelEncoder,
    LSTMContext,
    MFCCTransformer,
    make_cpc,
)

CLIPS = rising_tones(12)
ROWS = np.random.default_rng(0).standard_normal((24, 6))
TABLE = pd.DataFrame(ROWS, columns=list("abcdef"))
Y = np.arange(24) % 3


def logmel(**changes):
    small = {"n_filters": 6, "z_dim": 5, "n_mels": 7, "sample_rate": RATE, "window_duration": 0.064}
    return LogMelEncoder(**{**small, **changes})


def conv2d(**changes):
    small = {"n_filters": (3,), "kernel_sizes": (3,), "strides": (2,), "dense_units": 4, "z_dim": 5}
    return Conv2dEncoder(**{**small, "n_mels": 8, "n_fft": 64, "sample_rate": RATE, **changes})


def reducer(**changes):
    small = {"encoder_units": (8,), "decoder_units": (7, 8), "max_epochs": 2, "random_state": 0}
    return AutoencoderReducer(**{"n_components": 3, **small, **changes})


def probe(**changes):
    return LinearProbe(**{"lr": 0.05, "max_epochs": 3, "random_state": 0, **changes})


def mfcc(**changes):
    return MFCCTransformer(**{"n_mfcc": 4, "sample_rate": RATE, "n_fft": 64, "n_mels": 8, **changes})


def small_corpus(**changes):
    """Build the recommended configuration, with fewer weights and shorter clips."""
    small = {"encoder": logmel(), "autoregressor": LSTMContext(c_dim=6), "clip_duration": 0.4}
    steps = {
        "n_context": 6,
        "n_future": 2,
        "max_epochs": 1,
        "random_state": 0,
        "device": "cpu",
        "objective__n_across": 3,
    }
    return make_cpc(**{**small, **steps, "batch_size": 4, **changes})


def report(name, encoder, **changes):
    small = {"clip_duration": 0.4, "n_context": 6, "n_future": 2, "max_epochs": 1, "batch_size": 4}
    return make_cpc(name, encoder=encoder, random_state=0, device="cpu", **{**small, **changes})


MODELS = {
    "small-corpus": lambda: small_corpus().fit(CLIPS),
    "report-conv1d-gru": lambda: report(
        "report-conv1d-gru", small_encoder(), autoregressor=GRUContext(c_dim=6), pooling=["context", "z_std"]
    ).fit(CLIPS),
    "report-conv1d-attention": lambda: report(
        "report-conv1d-attention", small_encoder(), autoregressor=AttentionContext(1, dff=6, dense_units=(5, 4))
    ).fit(CLIPS),
    "report-conv2d-gru": lambda: report(
        "report-conv2d-gru", conv2d(), autoregressor=GRUContext(c_dim=6, n_layers=2), clip_duration=0.8
    ).fit(np.tile(CLIPS, 2).astype(np.float64)),
    "all options": lambda: CPCTransformer(
        logmel(centring=None, band_smoothing=1, kernel_sizes=[4, 3], strides=[2, 1], dropout=0.1),
        CausalAttentionContext(c_dim=8, n_heads=2, dff=6),
        clip_duration=0.4,
        trim=50.0,
        n_context=6,
        n_future=2,
        objective=InfoNCE(negatives="mixed", temperature=0.2, predict_from="all", projection=3),
        augmentation=Augmentation(gain=6, noise=(5, 20), band_mask=0.1),
        max_epochs=2,
        batch_size=np.int64(4),
        lr=np.float64(1e-3),
        validation_fraction=0.25,
        pooling=("z_thirds", "c_mean"),
        n_clips=2,
        on_error="nan",
        random_state=np.int64(3),
        device="cpu",
    ).fit(CLIPS),
    "untrained, by name": lambda: CPCTransformer(
        "logmel", "causal_attention", clip_duration=0.025, n_context=6, n_future=2, max_epochs=0
    ).fit(CLIPS),
    "reducer": lambda: reducer().set_output(transform="pandas").fit(TABLE),
    "reducer of float32": lambda: reducer(encoder_units=[8], decoder_units=()).fit(ROWS.astype(np.float32)),
    "probe of text": lambda: probe(class_weight="balanced").fit(ROWS, np.array(["dog", "a cat", "ö"])[Y]),
    "probe of int": lambda: probe(class_weight={-1: 1.0, 7: 2, 9: 0.5}).fit(TABLE, np.array([9, -1, 7])[Y]),
    "probe of bytes": lambda: probe().fit(ROWS, Y.astype(np.uint8)),
    "probe of bool": lambda: probe().fit(ROWS, Y > 1),
    "probe of float": lambda: probe().fit(ROWS, Y.astype(np.float32)),
    "probe of objects": lambda: probe().fit(ROWS, np.array(["x", "yy", "z"], dtype=object)[Y]),
    "mfcc": lambda: mfcc().fit(CLIPS),
    "scaler": lambda: StandardScaler(with_std=False).fit(ROWS),
    "logistic regression": lambda: LogisticRegression(C=0.1).fit(TABLE, Y),
    "pipeline": lambda: Pipeline([("cpc", small_cpc()), ("ae", reducer()), ("clf", probe())], verbose=False).fit(
        CLIPS, Y[:12] > 0
    ),
    "nested pipeline": lambda: make_pipeline(
        make_pipeline(mfcc(), "passthrough"), StandardScaler(), LogisticRegression(C=0.05, max_iter=1000)
    ).fit(CLIPS, np.array(["no", "yes"])[Y[:12] % 2]),
}


@functools.cache
def fitted(name):
    """Return the fitted model of that name. Not to be changed."""
    return MODELS[name]()


def input_of(estimator):
    """Return clips or rows, as the estimator was fitted on them."""
    if estimator.n_features_in_ == ROWS.shape[1]:
        return TABLE if hasattr(estimator, "feature_names_in_") else ROWS
    return np.tile(CLIPS, estimator.n_features_in_ // CLIPS.shape[1])


def results(estimator):
    """Compute all that the estimator can, on its input in both precisions."""
    X = input_of(estimator)
    found = {}
    for precision in (np.float32, np.float64):
        for method in ("transform", "predict", "predict_proba", "decision_function"):
            if hasattr(estimator, method):
                found[method, precision] = getattr(estimator, method)(X.astype(precision))
    if hasattr(estimator, "transform_frames"):
        found["frames"] = [frames.embeddings for frames in estimator.transform_frames(X)]
        found["score"] = estimator.score(X)
    if hasattr(estimator, "inverse_transform"):
        found["inverse"] = estimator.inverse_transform(np.asarray(estimator.transform(X)))
    if hasattr(estimator, "get_feature_names_out") and not hasattr(estimator, "predict"):
        found["names"] = estimator.get_feature_names_out()
    return found


def assert_same_results(one, other):
    """Compare all that two estimators compute, bit for bit."""
    before, after = results(one), results(other)
    assert before.keys() == after.keys()
    for key, result in before.items():
        assert type(after[key]) is type(result)
        if isinstance(result, pd.DataFrame):
            pd.testing.assert_frame_equal(after[key], result, check_exact=True)
        else:
            assert_array_equal(after[key], result, strict=not isinstance(result, (list, float)))


def parameters(estimator):
    """Return all parameters, with recipes and estimators as their classes."""
    values = estimator.get_params(deep=True)
    return {key: type(value) if isinstance(value, BaseEstimator) else value for key, value in values.items()}
