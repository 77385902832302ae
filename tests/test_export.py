"""ONNX models compute what the estimator computes, with a runtime that has no torch."""

import json

import numpy as np
import pytest
import torch
from corpus import small_cpc
from numpy.testing import assert_allclose
from persistence.models import conv2d, logmel, probe, reducer
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklearn_cpc import (
    AttentionContext,
    CausalAttentionContext,
    CPCTransformer,
    GRUContext,
    export_onnx,
    make_cpc,
)

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the optional package onnxruntime")
pytest.importorskip("onnxscript", reason="needs the optional package onnxscript")

NAMES = ["small-corpus", "speech", "report-conv1d-gru", "report-conv1d-attention", "report-conv2d-gru"]
POOLING = ("context", "c_mean", "c_thirds", "z_thirds", "z_std", "mel_max", "centred_mean")


def noise(n_rows, n_samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, (n_rows, n_samples)).astype(np.float32)


def export(estimator, folder, **options):
    """Export an estimator; returns a function from samples to the model's result, and its metadata."""
    path = str(folder / "model.onnx")
    export_onnx(estimator, path, **options)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4  # refusals are tested
    session = onnxruntime.InferenceSession(path, settings)
    metadata = {name: json.loads(value) for name, value in session.get_modelmeta().custom_metadata_map.items()}
    return lambda samples: session.run(None, {"samples": samples})[0], metadata


def fit(cpc, n_samples):
    """Fit on noise. The estimator takes recordings of all lengths, as if fitted on files."""
    cpc.fit(noise(8, n_samples))
    del cpc.n_features_in_
    return cpc


def assert_same(model, cpc, *shapes):
    for seed, shape in enumerate(shapes):
        samples = noise(*shape, seed)
        assert_allclose(model(samples), cpc.transform(samples), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_named_configuration_computes_the_same(name, tmp_path):
    cpc = make_cpc(name, max_epochs=0, trim=None, random_state=0)
    rate = {"conv1d": 4410, "conv2d": 22050}.get(cpc.encoder, 16000)
    model, metadata = export(fit(cpc, round(rate * cpc.clip_duration)), tmp_path)
    longest = metadata["max_samples"]
    assert longest == rate * (20 if rate == 16000 else 4)
    assert_same(model, cpc, (2, rate), (1, longest), (3, rate // 3 + 1), (1, metadata["min_samples"]))


@pytest.mark.parametrize(
    ("autoregressor", "pooling"),
    [(GRUContext(c_dim=6, n_layers=2), POOLING), (CausalAttentionContext(c_dim=8, n_layers=1), POOLING[:2])],
    ids=["gru", "attention"],  # the other poolings do not see what the autoregressor computes
)
def test_every_pooling_and_autoregressor_computes_the_same(autoregressor, pooling, tmp_path):
    cpc = fit(small_cpc(encoder=logmel(z_dim=8), autoregressor=autoregressor, pooling=pooling), 400)
    model, metadata = export(cpc, tmp_path)
    # One clip each; the last step of a full clip sees no silence after it.
    assert metadata["max_samples"] == 400
    assert_same(model, cpc, (3, 400), (2, 399), (1, 371), (2, 60), (4, 26), (1, 25))


def test_half_filled_clips_of_the_other_encoder_compute_the_same(tmp_path):
    changes = {
        "autoregressor": AttentionContext(n_heads=1, dense_units=(4,)),
        "n_clips": 3,
        "pooling": ("context",),
    }
    cpc = fit(small_cpc(encoder=conv2d(), **changes), 400)
    model, _ = export(cpc, tmp_path)
    assert_same(model, cpc, (3, 400), (2, 225), (1, 224), (5, 130))


@pytest.mark.parametrize("layer", ["z", "c"])
def test_frames_are_those_of_transform_frames(layer, tmp_path):
    cpc = fit(small_cpc(encoder=logmel(), trim=40), 400)
    model, metadata = export(cpc, tmp_path, frames=layer)
    samples = noise(2, 3 * 400 + 30)
    expected = [row.embeddings for row in cpc.transform_frames(samples, layer)]
    assert_allclose(model(samples), expected, rtol=0, atol=1e-4)
    assert metadata["trim"] is None


@pytest.mark.parametrize(
    ("classifier", "n_classes"), [(LogisticRegression(C=10), 2), (LogisticRegression(C=10), 3), (probe(), 3)]
)
def test_pipeline_returns_probabilities(classifier, n_classes, tmp_path):
    samples, y = noise(12, 400), np.arange(12) % n_classes
    steps = [small_cpc(encoder=Own(), pooling="z_mean"), StandardScaler(), reducer(), classifier]
    pipe = make_pipeline(*steps).fit(samples, np.array(["owl", "robin", "wren"])[y])
    model, metadata = export(pipe, tmp_path)
    assert_allclose(model(samples), pipe.predict_proba(samples), rtol=0, atol=1e-4)
    assert metadata["classes"] == ["owl", "robin", "wren"][:n_classes]


def test_metadata_state_the_lengths_and_what_is_not_in_the_model(tmp_path):
    cpc = fit(small_cpc(trim=30), 400)
    with pytest.warns(UserWarning, match="trim=30 is not part"):
        model, metadata = export(cpc, tmp_path)
    assert (metadata["sample_rate"], metadata["trim"]) == (1000, 30)
    assert metadata["feature_names"] == cpc.get_feature_names_out().tolist()
    assert metadata["versions"]["torch"] == torch.__version__
    assert (metadata["min_samples"], metadata["max_samples"]) == (25, 400)
    with pytest.raises(Exception, match="out of data bounds"):
        model(noise(1, 500))
    assert np.isnan(model(noise(1, 24))).all()


class Own(nn.Module):
    """An encoder of the user's own: eight steps of 50 samples."""

    sample_rate = 1000

    def __init__(self, trick=lambda z: z):
        super().__init__()
        self.linear, self.trick = nn.Linear(50, 8), trick

    def forward(self, samples):
        return self.trick(self.linear(samples.unflatten(1, (8, 50))))


def test_own_module_computes_the_same(tmp_path):
    cpc = fit(small_cpc(encoder=Own()), 400)
    model, _ = export(cpc, tmp_path)
    assert_same(model, cpc, (3, 400), (1, 200))


@pytest.mark.parametrize(
    "trick",
    [
        lambda z: torch.from_numpy(z.numpy()),
        lambda z: z if z.sum() > 0 else -z,
        lambda z: z.reshape(len(z), 8, 8),
    ],
    ids=["numpy", "if", "len"],
)
def test_own_module_that_cannot_be_exported_is_refused(trick, tmp_path):
    cpc = CPCTransformer(Own(trick), clip_duration=0.4, n_context=6, n_future=2, max_epochs=0)
    with pytest.raises(ValueError, match=r"A module of your own can be exported if"):
        export_onnx(cpc.fit(noise(8, 400)), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_other_estimators_are_refused(tmp_path):
    pipe = make_pipeline(small_cpc(), PCA(2)).fit(noise(8, 400))
    with pytest.raises(TypeError, match="cannot export CPCTransformer and PCA; use"):
        export_onnx(pipe, tmp_path / "model.onnx")
    with pytest.raises(TypeError, match="StandardScaler"):
        export_onnx(StandardScaler(), tmp_path / "model.onnx")
    with pytest.raises(TypeError, match="cannot export NoneType; use"):
        export_onnx(make_pipeline("passthrough"), tmp_path / "model.onnx")
    with pytest.raises(TypeError, match="with frames='z'"):
        export_onnx(make_pipeline(small_cpc(), StandardScaler()), tmp_path / "model.onnx", frames="z")
    with pytest.raises(NotFittedError):
        export_onnx(small_cpc(), tmp_path / "model.onnx")
