"""MFCCTransformer: librosa's coefficients in a scikit-learn transformer."""

import librosa
import numpy as np
import pandas as pd
import pytest
from corpus import FILE_RATE, write_corpus
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import InvalidParameterError

from sklearn_cpc import Clip, MFCCTransformer
from sklearn_cpc.audio.reading import UnreadableAudioError, read_audio

SMALL = {"sample_rate": FILE_RATE, "n_fft": 512, "hop_length": 256, "n_mels": 40}


def small_mfcc(**changes):
    return MFCCTransformer(**{**SMALL, **changes})


@pytest.fixture(scope="module")
def features(corpus):
    """Features of the corpus, of shape (12, 40). Do not modify."""
    return small_mfcc().fit_transform(corpus.paths)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"n_mfcc": 13},
        {"n_mfcc": 40},
        {"sample_rate": 4000},
        {"n_fft": 1024, "hop_length": 100},
        {"n_mels": 20, "n_mfcc": np.int64(5)},
    ],
)
def test_features_equal_librosa(corpus, parameters):
    mfcc = small_mfcc(**parameters)
    features = mfcc.fit_transform(corpus.paths[:3])
    used = mfcc.get_params()
    how = {name: used[name] for name in ("n_mfcc", "n_fft", "hop_length", "n_mels")}
    for path, row in zip(corpus.paths, features, strict=False):
        samples = read_audio(path, used["sample_rate"])
        coefficients = librosa.feature.mfcc(y=samples, sr=used["sample_rate"], **how)  # (n_mfcc, n_frames)
        assert_allclose(row, np.r_[coefficients.mean(axis=1), coefficients.std(axis=1)], rtol=1e-5)
    assert features.shape == (3, 2 * mfcc.n_mfcc)
    assert features.dtype == np.float32


def test_defaults_equal_librosa(corpus):
    samples = read_audio(corpus.paths[0], 22050)
    coefficients = librosa.feature.mfcc(y=samples, sr=22050)
    row = MFCCTransformer().fit_transform(corpus.paths[:1])[0]
    assert_allclose(row, np.r_[coefficients.mean(axis=1), coefficients.std(axis=1)], rtol=1e-5)


def test_fit_then_transform_equals_fit_transform(corpus, features):
    mfcc = small_mfcc()
    assert mfcc.fit(corpus.paths) is mfcc
    assert_array_equal(mfcc.transform(corpus.paths), features)
    assert_array_equal(mfcc.transform(corpus.paths[::-1]), features[::-1])


@pytest.mark.parametrize("container", [tuple, np.array, pd.Series, lambda paths: pd.DataFrame({"path": paths})])
def test_recordings_in_any_container(corpus, features, container):
    assert_array_equal(small_mfcc().fit_transform(container(corpus.paths)), features)


def test_clip_gives_the_features_of_its_samples(corpus):
    clips = [Clip(path, 0.25, 0.5) for path in corpus.paths[:3]]
    samples = np.stack([read_audio(path, FILE_RATE)[2000:6000] for path in corpus.paths[:3]])
    assert_array_equal(small_mfcc().fit_transform(clips), small_mfcc().fit_transform(samples))


def test_double_precision_is_kept():
    clips = np.random.default_rng(0).standard_normal((3, 4000))
    double = small_mfcc().fit_transform(clips)
    single = small_mfcc().fit_transform(clips.astype(np.float32))
    assert (double.dtype, single.dtype) == (np.float64, np.float32)
    assert_allclose(single, double, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("n_samples", [1, 2, 100, 511, 512, 513])
def test_recordings_shorter_than_a_frame_are_padded(n_samples):
    clips = np.random.default_rng(0).standard_normal((2, n_samples))
    features = small_mfcc().fit_transform(clips)
    assert np.isfinite(features).all()
    padded = np.pad(clips, ((0, 0), (0, max(0, 512 - n_samples))))
    assert_array_equal(features, small_mfcc().fit_transform(padded))


def test_silence_has_finite_constant_features():
    features = small_mfcc().fit_transform(np.zeros((2, 4000)))
    assert np.isfinite(features).all()
    assert_array_equal(features[:, 20:], np.zeros((2, 20)))


def test_unusable_recordings_give_rows_of_nan(corpus, features):
    X = [*corpus.paths[:2], "none.wav", *corpus.paths[2:4]]
    with pytest.raises(UnreadableAudioError, match=r"none.wav: does not exist"):
        small_mfcc().fit(X)
    mfcc = small_mfcc(on_error="nan")
    with pytest.warns(UserWarning, match=r"none.wav: does not exist"):
        rows = mfcc.fit_transform(X)
    assert_array_equal(np.delete(rows, 2, axis=0), features[:4])
    assert np.isnan(rows[2]).all()


def test_memory_avoids_decoding_again_in_transform(corpus, features, tmp_path, monkeypatch):
    mfcc = small_mfcc(memory=tmp_path, n_jobs=2).fit(corpus.paths)
    monkeypatch.setattr("sklearn_cpc.audio.cache.decode", None)
    assert_array_equal(mfcc.transform(corpus.paths), features)


def test_number_of_samples_per_clip_is_checked():
    mfcc = small_mfcc().fit(np.zeros((2, 600)))
    assert mfcc.n_features_in_ == 600
    with pytest.raises(ValueError, match="X has 601 features, but MFCCTransformer is expecting 600"):
        mfcc.transform(np.zeros((2, 601)))


def test_features_have_names_in_data_frames(corpus):
    mfcc = small_mfcc(n_mfcc=2).set_output(transform="pandas")
    frame = mfcc.fit_transform(pd.Series(corpus.paths, index=range(100, 112)))
    assert frame.columns.tolist() == [f"mfcctransformer{i}" for i in range(4)]
    assert frame.index.tolist() == list(range(100, 112))
    assert mfcc.get_feature_names_out().tolist() == frame.columns.tolist()


@pytest.mark.parametrize("name", ["n_mfcc", "sample_rate", "n_fft", "hop_length", "n_mels"])
def test_invalid_parameter_is_reported_before_anything_is_read(name):
    fitted = small_mfcc().fit(np.zeros((2, 600)))
    for value in (0, 1.5, 10**9, None):
        mfcc = fitted.set_params(**{name: value})
        for use in (mfcc.fit, mfcc.transform, mfcc.fit_transform):
            with pytest.raises(
                InvalidParameterError, match=f"'{name}' parameter of MFCCTransformer must be an int"
            ):
                use(["none.wav"])


def test_more_coefficients_than_mel_bands_are_refused():
    with pytest.raises(ValueError, match="n_mfcc=41 must not exceed n_mels=40"):
        small_mfcc(n_mfcc=41).fit(["none.wav"])


def test_use_before_fit_is_an_error(corpus):
    for use in (lambda: small_mfcc().transform(corpus.paths), small_mfcc().get_feature_names_out):
        with pytest.raises(NotFittedError):
            use()


def test_clone_is_unfitted_with_equal_parameters(corpus):
    mfcc = small_mfcc(n_mfcc=7).fit(corpus.paths)
    copy = clone(mfcc)
    assert copy.get_params() == mfcc.get_params()
    with pytest.raises(NotFittedError):
        copy.transform(corpus.paths)


def test_pipeline_separates_high_from_low_tones(tmp_path):
    corpus = write_corpus(tmp_path, n_files=12, duration=0.5)
    pipeline = make_pipeline(small_mfcc(), StandardScaler(), LogisticRegression())
    assert cross_val_score(pipeline, corpus.paths, corpus.y, cv=3).mean() == 1.0
