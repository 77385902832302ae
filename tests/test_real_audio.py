"""Real recordings, where the environment variable SKLEARN_CPC_DATA names a folder of them."""

import os
from pathlib import Path

import librosa
import numpy as np
import pytest
from corpus import small_encoder
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.pipeline import make_pipeline
from sounds import read_files

from sklearn_cpc import Clip, CPCTransformer, GRUContext, LinearProbe, MFCCTransformer, sample_clips
from sklearn_cpc.audio.reading import read_audio, read_duration

pytestmark = [
    pytest.mark.skipif("SKLEARN_CPC_DATA" not in os.environ, reason="SKLEARN_CPC_DATA names no folder"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of what librosa.load imports
]

PATTERNS = {
    "esc10": "esc10/*/*.ogg",
    "music": "music/*.ogg",
    "formats": "formats/*.flac",
    "fsdd": "fsdd/recordings/*.wav",
}


def paths_of(corpus, every=1):
    """Every so many of the paths of a corpus, in order."""
    folder = Path(os.environ["SKLEARN_CPC_DATA"])
    paths = sorted(map(str, folder.glob(PATTERNS[corpus])))[::every]
    assert paths
    return paths


@pytest.mark.parametrize(("corpus", "every"), [("esc10", 1), ("music", 1), ("formats", 1), ("fsdd", 10)])
def test_no_intact_recording_is_refused(corpus, every):
    paths = paths_of(corpus, every)
    samples, reasons = read_files(paths, 8000, n_jobs=2)
    assert reasons == {}
    assert list(samples) == paths
    for path in paths:
        assert len(samples[path]) == int(np.ceil(round(read_duration(path) * 8000, 6)))
        assert np.isfinite(samples[path]).all()


@pytest.mark.parametrize(("corpus", "every"), [("esc10", 20), ("music", 2), ("formats", 1), ("fsdd", 100)])
@pytest.mark.parametrize("rate", [4410, 22050])
def test_samples_are_those_of_librosa(corpus, every, rate):
    paths = paths_of(corpus, every)
    samples, _ = read_files(paths, rate, n_jobs=2)
    for path in paths:
        assert_allclose(samples[path], librosa.load(path, sr=rate)[0], atol=1e-6)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize(("corpus", "every"), [("esc10", 40), ("music", 2), ("formats", 2), ("fsdd", 300)])
def test_truncated_recordings_are_reported_as_damaged(tmp_path, corpus, every, fraction):
    for path in paths_of(corpus, every):
        data = Path(path).read_bytes()
        data = data[: min(int(fraction * len(data)), len(data) - 100)]
        cut = tmp_path / Path(path).name
        cut.write_bytes(data)
        with pytest.raises(ValueError, match="damaged"):
            read_audio(cut, 8000)


def test_a_memory_gives_the_same_samples_again(tmp_path):
    paths = paths_of("esc10", 20)
    expected, _ = read_files(paths, 4410)
    for _ in range(2):
        samples, _ = read_files(paths, 4410, memory=tmp_path, n_jobs=2)
        for path in paths:
            assert_array_equal(samples[path], expected[path])


def small_pipeline(rate, clip_duration, memory=None):
    cpc = CPCTransformer(
        small_encoder(sample_rate=rate),
        GRUContext(c_dim=16),
        clip_duration=clip_duration,
        n_context=12,
        n_future=3,
        max_epochs=2,
        lr=1e-3,
        pooling=("z_mean", "z_std", "c_mean"),
        memory=memory,
        n_jobs=2,
        random_state=0,
    )
    return make_pipeline(cpc, LinearProbe(max_epochs=20, lr=1e-2, random_state=0))


def assert_learns(pipeline, X, y):
    """The pipeline fits, its loss falls, and everything it gives is finite."""
    pipeline.fit(X, y)
    cpc = pipeline[0]
    losses = [epoch["train_loss"] for epoch in cpc.history_]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    assert np.isfinite(cpc.transform(X)).all()
    probabilities = pipeline.predict_proba(X)
    assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert set(pipeline.predict(X)) <= set(y)
    assert pipeline.score(X, y) > 1 / len(set(y))


def test_environmental_sounds_pass_the_entire_pipeline(tmp_path):
    paths = paths_of("esc10", 10)
    y = [Path(path).parent.name for path in paths]
    assert_learns(small_pipeline(4410, 2.0, tmp_path), paths, y)


def test_short_spoken_digits_pass_the_entire_pipeline():
    paths = paths_of("fsdd", 15)
    y = [Path(path).name[0] for path in paths]
    clip_duration = 0.4
    assert min(map(read_duration, paths)) < clip_duration < max(map(read_duration, paths))
    assert_learns(small_pipeline(8000, clip_duration), paths, y)


def test_music_clips_pass_the_entire_pipeline(tmp_path):
    paths = paths_of("music")
    clips, index = sample_clips(paths, 4, duration=2.0, method="random", random_state=0)
    assert_learns(small_pipeline(4410, 2.0, tmp_path), clips, index)


def test_thousands_of_recordings_fit_into_a_memory(tmp_path):
    paths = paths_of("fsdd")
    samples, reasons = read_files(paths, 8000, memory=tmp_path, n_jobs=2)
    assert reasons == {}
    assert all(np.isfinite(samples[path]).all() for path in paths)


def test_frames_span_a_recording():
    path = paths_of("music")[-1]
    cpc = small_pipeline(4410, 2.0)[0].set_params(max_epochs=0).fit([path])
    times, embeddings = cpc.transform_frames([path])[0]
    step = 2.0 / 15
    assert (np.diff(times) > 0).all()
    assert abs(times[0] - step / 2) < 1e-9
    assert abs(times[-1] - read_duration(path)) <= step
    assert embeddings.shape == (len(times), 8)


def test_hand_crafted_features_are_finite_everywhere():
    paths = [path for corpus in PATTERNS for path in paths_of(corpus, 20)]
    X = [Clip(path, 0.0, 4.0) for path in paths]
    assert np.isfinite(MFCCTransformer(n_jobs=2).fit_transform(X)).all()
