"""The mel scale and its bands are librosa's."""

import librosa
import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_cpc._mel import hz_to_mel, mel_frequencies, mel_power, mel_weights, to_decibels

SETTINGS = [
    (22050, 2048, 512, 128),
    (16000, 512, 160, 40),
    (1000, 255, 100, 12),
    (44100, 1024, 7, 1),
    (8000, 4096, 5000, 90),
]


@pytest.mark.parametrize("hertz", [1, 999.0, 1000, 1001.5, 11025, 48000])
def test_scale_is_that_of_librosa(hertz):
    assert hz_to_mel(hertz) == pytest.approx(librosa.hz_to_mel(hertz))
    assert_allclose(mel_frequencies(30, hertz), librosa.mel_frequencies(30, fmax=hertz), atol=1e-9)


@pytest.mark.parametrize(("rate", "n_fft", "hop_length", "n_mels"), SETTINGS)
def test_weights_are_those_of_librosa(rate, n_fft, hop_length, n_mels):
    weights, expected = mel_weights(rate, n_fft, n_mels), librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=n_mels)
    assert weights.dtype == expected.dtype
    assert_allclose(weights, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
@pytest.mark.parametrize("n_samples", [5000, 70_001])
@pytest.mark.parametrize(("rate", "n_fft", "hop_length", "n_mels"), SETTINGS)
def test_spectrogram_is_that_of_librosa(rate, n_fft, hop_length, n_mels, n_samples, pad_mode):
    samples = np.random.default_rng(0).standard_normal(n_samples)
    how = {"n_fft": n_fft, "hop_length": hop_length, "n_mels": n_mels, "pad_mode": pad_mode}
    expected = librosa.feature.melspectrogram(y=samples, sr=rate, **how)
    power = mel_power(samples, mel_weights(rate, n_fft, n_mels), n_fft, hop_length, pad_mode)
    assert_allclose(power, expected, rtol=1e-5)


def test_decibels_are_those_of_librosa():
    power = np.array([0, 1e-12, 1e-10, 1e-3, 1, 500])
    assert_allclose(to_decibels(power), librosa.power_to_db(power, top_db=None))


def test_empty_bands_are_named():
    expected = (
        r"^\d+ of n_mels=128 mel bands are empty: at n_fft=64 and 8000 Hz .* use fewer bands or a larger n_fft"
    )
    with pytest.warns(UserWarning, match=expected):
        weights = mel_weights(8000, 64, 128)
    with pytest.warns(UserWarning, match="Empty filters"):
        assert_allclose(weights, librosa.filters.mel(sr=8000, n_fft=64, n_mels=128), rtol=1e-6)
