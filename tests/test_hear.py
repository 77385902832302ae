"""The common API of HEAR 2021. Its own validator needs TensorFlow, so these tests check what it checks."""

import numpy as np
import pytest
import torch
from corpus import small_cpc
from numpy.testing import assert_allclose
from persistence.models import logmel
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_cpc import hear, save


def noise(n_sounds, n_samples):
    return torch.rand((n_sounds, n_samples), generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module", params=["logmel", "conv1d"])
def saved(request, tmp_path_factory):
    """A fitted estimator, and the model that is loaded from its file."""
    changes = (
        {"encoder": logmel(), "pooling": ("z_mean", "c_max"), "trim": 40} if request.param == "logmel" else {}
    )
    cpc = small_cpc(**changes).fit(noise(8, 400).numpy())
    path = tmp_path_factory.mktemp("hear") / "model.safetensors"
    cpc.save(path)
    return cpc, hear.load_model(str(path))


def test_model_has_the_attributes(saved):
    cpc, model = saved
    assert isinstance(model, torch.nn.Module)
    assert model.sample_rate == 1000
    assert model.scene_embedding_size == len(cpc.get_feature_names_out())
    assert type(model.timestamp_embedding_size) is int
    assert model.to("cpu").eval() is model


def test_scene_embeddings_are_those_of_transform(saved):
    cpc, model = saved
    audio = noise(5, 400)
    embeddings = hear.get_scene_embeddings(audio, model)
    assert (embeddings.dtype, embeddings.device) == (torch.float32, audio.device)
    assert_allclose(embeddings, cpc.transform(audio.numpy()), atol=1e-6)


@pytest.mark.parametrize("n_samples", [130, 2000, 3740])
def test_sounds_of_any_length_are_taken(saved, n_samples):
    _, model = saved
    audio = noise(3, n_samples)
    assert hear.get_scene_embeddings(audio, model).shape == (3, model.scene_embedding_size)
    embeddings, timestamps = hear.get_timestamp_embeddings(audio, model)
    assert embeddings.shape == (*timestamps.shape, model.timestamp_embedding_size)
    assert embeddings.dtype == torch.float32
    assert embeddings.isfinite().all()
    # Steps of 50 ms: timestamps are their centres.
    assert_allclose(timestamps, np.tile(25 + 50 * np.arange(round(n_samples / 50 + 1e-9)), (3, 1)), atol=1e-3)


def test_timestamp_embeddings_are_those_of_transform_frames(saved):
    cpc, model = saved
    audio = noise(2, 400)
    audio[:, :200] = 0  # silence is kept
    embeddings, _ = hear.get_timestamp_embeddings(audio, model)
    assert_allclose(embeddings, [row.embeddings for row in cpc.transform_frames(audio.numpy())], atol=1e-6)


def test_integers_are_scaled_by_their_type(saved):
    _, model = saved
    audio = (noise(2, 400) * 32768).short()
    assert_allclose(
        hear.get_scene_embeddings(audio, model), hear.get_scene_embeddings(audio / 32768, model), atol=1e-6
    )
    assert_allclose(
        hear.get_timestamp_embeddings(audio, model)[0],
        hear.get_timestamp_embeddings(audio / 32768, model)[0],
        atol=1e-6,
    )


def test_pipeline_is_loaded_as_its_first_step_and_others_are_refused(tmp_path):
    audio = noise(8, 400)
    pipe = make_pipeline(small_cpc(), StandardScaler()).fit(audio.numpy())
    save(pipe, tmp_path / "pipe")
    scenes = hear.get_scene_embeddings(audio, hear.load_model(tmp_path / "pipe"))
    assert_allclose(scenes, pipe[0].transform(audio.numpy()), atol=1e-6)
    save(StandardScaler().fit(audio), tmp_path / "scaler")
    with pytest.raises(TypeError, match="scaler holds a StandardScaler, and no CPCTransformer"):
        hear.load_model(tmp_path / "scaler")
