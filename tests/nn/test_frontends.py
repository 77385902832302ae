"""The front ends compute the same as librosa and scipy."""

import threading

import librosa
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from sklearn_cpc.nn.frontends import (
    SAMPLES_PER_BLOCK,
    BandCentring,
    BandStandardizer,
    LogMel,
    Scale,
)

SETTINGS = [  # sample_rate, n_fft, hop_length, n_mels, n_samples
    (22050, 2048, 46, 64, 9000),
    (22050, 2048, 512, 128, 22050),
    (16000, 400, 160, 40, 12345),
    (8000, 512, 97, 23, 8001),
    (44100, 1025, 333, 32, 5000),
    (8000, 1024, 300, 20, 1024),
    (8000, 512, 4, 17, 6001),  # more frames than are computed at once
    (8000, 512, 100, 5, 300),  # a clip shorter than a frame
    (8000, 512, 100, 20, 1),
]


def noise(n, rng):
    return 0.1 * rng.standard_normal(n)


def tone(n, rng):
    return 0.9 * np.sin(0.3 * np.arange(n))


def sweep_in_noise(n, rng):
    return 0.5 * np.sin(1e-4 * np.arange(n) ** 2) + 1e-4 * rng.standard_normal(n)


def silence(n, rng):
    return np.zeros(n)


def sound_then_silence(n, rng):
    return np.where(np.arange(n) < n // 3, rng.standard_normal(n), 0)


def click(n, rng):
    return np.eye(1, n, n // 2)[0]


# librosa warns of clips shorter than a frame.
short_clips = pytest.mark.filterwarnings("ignore:n_fft=:UserWarning")
SOUNDS = [noise, tone, sweep_in_noise, silence, sound_then_silence, click]


def librosa_log_mel(samples, sample_rate, n_fft, hop_length, n_mels):
    power = librosa.feature.melspectrogram(
        y=samples, sr=sample_rate, n_fft=n_fft, hop_length=hop_length, n_mels=n_mels
    )
    return librosa.power_to_db(power, top_db=None)


@short_clips
@pytest.mark.parametrize("sound", SOUNDS)
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_log_mel_equals_librosa_in_float64(setting, sound):
    *parameters, n_samples = setting
    samples = sound(n_samples, np.random.default_rng(0))
    decibels = LogMel(*parameters).double()(torch.from_numpy(samples)[None])
    assert decibels.dtype == torch.float64
    np.testing.assert_allclose(decibels[0].numpy(), librosa_log_mel(samples, *parameters), rtol=0, atol=1e-6)


@short_clips
@pytest.mark.parametrize("sound", SOUNDS)
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_log_mel_equals_librosa_in_float32(setting, sound):
    *parameters, n_samples = setting
    samples = sound(n_samples, np.random.default_rng(0)).astype(np.float32)
    decibels = LogMel(*parameters)(torch.from_numpy(samples)[None])[0].numpy()
    expected = librosa_log_mel(samples, *parameters)
    assert decibels.dtype == np.float32
    assert decibels.shape == expected.shape
    # Far below a tone there is only rounding noise, in librosa and here.
    audible = expected > expected.max(0) - (50 if sound in (tone, sweep_in_noise) else np.inf)
    np.testing.assert_allclose(decibels[audible], expected[audible], rtol=0, atol=1e-4)


@pytest.mark.parametrize("smoothing", [2, 3, 5])
def test_band_smoothing_averages_the_power_of_neighbouring_bands(smoothing):
    samples = noise(9000, np.random.default_rng(0)).astype(np.float32)
    decibels = LogMel(16000, 512, 160, 40, smoothing)(torch.from_numpy(samples)[None])[0]
    power = librosa.db_to_power(librosa_log_mel(samples, 16000, 512, 160, 40))
    expected = librosa.power_to_db(uniform_filter1d(power, smoothing, axis=0, mode="nearest"), top_db=None)
    np.testing.assert_allclose(decibels, expected, rtol=0, atol=1e-4)


@short_clips
@pytest.mark.parametrize("batch_size", [1, 3, 17])
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_log_mel_of_a_batch_equals_that_of_each_clip(setting, batch_size):
    *parameters, n_samples = setting
    clips = torch.from_numpy(noise((batch_size, n_samples), np.random.default_rng(0)).astype(np.float32))
    log_mel = LogMel(*parameters)
    expected = torch.cat([log_mel(clip[None]) for clip in clips])
    torch.testing.assert_close(log_mel(clips), expected, rtol=0, atol=2e-5)


def test_frames_after_the_end_of_a_loud_sound_are_silent():
    n_fft, hop, end = 512, 4, 2000
    clips = torch.from_numpy(noise((2, 6000), np.random.default_rng(0)).astype(np.float32))
    clips[:, :end] *= 1000
    clips[:, end:] = 0
    decibels = LogMel(8000, n_fft, hop, 20)(clips)
    assert decibels.shape[2] > SAMPLES_PER_BLOCK // n_fft  # silent frames with loud ones in a block, and without
    silent = torch.arange(decibels.shape[2]) * hop - n_fft // 2 >= end
    np.testing.assert_allclose(decibels[:, :, silent], -100, rtol=0, atol=1e-4)
    assert (decibels[:, :, ~silent].amax(1) > -99).all()


def test_log_mel_has_a_gradient():
    random = np.random.default_rng(0)
    log_mel = LogMel(8000, 32, 10, 4).double()
    clips = torch.from_numpy(noise((2, 100), random)).requires_grad_()
    with torch.inference_mode():
        expected = log_mel(clips)
    assert torch.equal(log_mel(clips), expected)
    assert torch.autograd.gradcheck(log_mel, clips)


def test_log_mel_is_computed_in_float32_under_autocast():
    clips = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 4000)).astype(np.float32))
    log_mel = LogMel(8000, 512, 100, 20)
    with torch.autocast("cpu", torch.bfloat16):
        decibels = log_mel(clips)
    assert decibels.dtype == torch.float32
    assert torch.equal(decibels, log_mel(clips))


def test_front_ends_have_no_weights():
    for front_end in (LogMel(8000, 512, 100, 20), BandStandardizer(2.0), BandCentring(0.5, 50.0), Scale()):
        assert not list(front_end.parameters())
        assert not front_end.state_dict()


# Standardising bands


def spectrogram(batch=2, n_mels=5, n_frames=60, seed=0):
    """Bands of different level and range, in float64."""
    random = np.random.default_rng(seed)
    levels, ranges = random.uniform(-60, 0, (batch, n_mels, 1)), random.uniform(1, 10, (batch, n_mels, 1))
    return torch.from_numpy(levels + ranges * random.standard_normal((batch, n_mels, n_frames)))


def test_standardised_bands_have_zero_mean_and_unit_variance():
    bands = BandStandardizer()(spectrogram())
    np.testing.assert_allclose(bands.mean(2), 0, atol=1e-12)
    np.testing.assert_allclose(bands.var(2, correction=0), 1)


def test_silent_frames_become_zero_and_do_not_count():
    decibels = spectrogram()
    decibels[0, :, 40:] = -100
    decibels[1, :, ::3] = -100.00001  # librosa's silence, rounded
    decibels[1, 2] = -100  # a band without sound, in frames with
    bands = BandStandardizer()(decibels)
    assert torch.equal(bands[0, :, 40:], torch.zeros(5, 20, dtype=torch.float64))
    assert torch.equal(bands[1, :, ::3], torch.zeros(5, 20, dtype=torch.float64))
    np.testing.assert_allclose(bands[0, :, :40], BandStandardizer()(decibels[:1, :, :40])[0])
    sounding = np.arange(60) % 3 > 0
    np.testing.assert_allclose(bands[1, [0, 1, 3, 4]][:, sounding].mean(1), 0, atol=1e-12)
    np.testing.assert_allclose(bands[1, [0, 1, 3, 4]][:, sounding].var(1, correction=0), 1)
    assert (bands[1, 2] == 0).all()


def test_padding_does_not_change_the_frames_of_sound():
    decibels = spectrogram()
    padded = torch.cat([decibels, torch.full((2, 5, 30), -100.0)], dim=2)
    np.testing.assert_allclose(BandStandardizer()(padded)[:, :, :60], BandStandardizer()(decibels))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("level", [-80.0, -33.3, 0.0, 41.7])
def test_standardised_constant_bands_stay_small(level, dtype):
    standardize = BandStandardizer(time_smoothing=2.0).to(dtype)
    bands = standardize(torch.full((1, 3, 100), level, dtype=dtype))
    assert bands.isfinite().all()
    assert bands.abs().max() < 0.05


def test_digital_silence_becomes_zero():
    decibels = LogMel(8000, 512, 100, 20)(torch.zeros(1, 3000))
    assert (decibels <= -99.9).all()
    assert (BandStandardizer(time_smoothing=2.0)(decibels) == 0).all()


@pytest.mark.parametrize("smoothing", [0.3, 0.5, 1.0, 2.0, 3.7])
@pytest.mark.parametrize("n_frames", [1, 2, 7, 60])
def test_time_smoothing_equals_the_gaussian_filter_of_scipy(n_frames, smoothing):
    decibels = spectrogram(n_frames=n_frames)
    plain = BandStandardizer()(decibels)
    smooth = BandStandardizer(smoothing).double()(decibels)
    expected = gaussian_filter1d(plain, smoothing, mode="nearest", truncate=4)
    np.testing.assert_allclose(smooth, expected, atol=1e-6)


# Centring bands


def test_scale_maps_silence_to_minus_one_and_full_scale_to_one():
    assert Scale()(torch.tensor([-100.0, -50.0, 0.0])).tolist() == [-1, 0, 1]


def long_term_spectrum(decibels):
    return 10 * np.log10(np.mean(10 ** (np.asarray(decibels) / 10), axis=-1, keepdims=True))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_centring_subtracts_a_share_of_the_shape_and_all_of_the_level(share):
    decibels = spectrogram()
    bands = BandCentring(share, 200)(decibels)
    spectrum = long_term_spectrum(decibels)
    level = spectrum.mean(axis=1, keepdims=True)
    expected = (decibels.numpy() - level - share * (spectrum - level)) / 20
    np.testing.assert_allclose(bands, expected, atol=1e-12)
    np.testing.assert_allclose(long_term_spectrum(20 * bands), (1 - share) * (spectrum - level), atol=1e-10)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_centring_leaves_the_other_share_of_a_constant_filter(share):
    decibels = spectrogram()
    response = torch.linspace(-9, 9, 5, dtype=torch.float64)[:, None]  # no change of the level
    centre = BandCentring(share, 200)
    difference = (centre(decibels + response) - centre(decibels)).numpy()
    np.testing.assert_allclose(
        difference, np.broadcast_to((1 - share) * response / 20, difference.shape), atol=1e-12
    )


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("dynamic_range", [20.0, 50.0])
def test_centring_removes_gain_at_any_dynamic_range(share, dynamic_range):
    decibels, centre = spectrogram(), BandCentring(share, dynamic_range)
    np.testing.assert_allclose(centre(decibels + 13), centre(decibels), atol=1e-12)


def test_silent_frames_do_not_count_in_the_long_term_spectrum():
    decibels = spectrogram()
    decibels[0, :, 40:] = -100
    decibels[1, :, ::3] = -100.00001  # librosa's silence, rounded
    centre = BandCentring(1.0, 60)
    bands = centre(decibels)
    np.testing.assert_allclose(bands[0, :, :40], centre(decibels[:1, :, :40])[0])
    sounding = np.arange(60) % 3 > 0
    np.testing.assert_allclose(long_term_spectrum(20 * bands[1][:, sounding]), 0, atol=1e-10)
    assert torch.equal(bands[0, :, 40:], bands[0, :, 40:41].expand(5, 20))


def test_levels_below_the_dynamic_range_are_raised():
    decibels = torch.tensor([[[-70.0, -90.0, -85.0], [-40.0, -20.0, -60.0]]])
    bands = BandCentring(0.0, 60)(torch.cat([decibels, decibels - 10]))
    steps = 20 * (bands - bands[:, :1, :1])  # the lowest level is -80 in one clip and -90 in the other
    np.testing.assert_allclose(steps, [[[0, -10, -10], [30, 50, 10]]] * 2, atol=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_centring_maps_silence_to_zero(share):
    assert (BandCentring(share, 50)(LogMel(8000, 512, 100, 20)(torch.zeros(2, 3000))) == 0).all()


def test_centring_of_extreme_levels_is_finite():
    decibels = torch.tensor([[[-100.0, 150.0], [-99.0, -100.0]]])
    assert BandCentring(0.5, 300)(decibels).isfinite().all()


# Smoothing over bands


def test_smoothed_bands_are_mean_powers_of_their_neighbours():
    clip = torch.randn(1, 4000, dtype=torch.float64)
    power = 10 ** (LogMel(8000, 512, 100, 20).double()(clip) / 10)
    smooth = 10 ** (LogMel(8000, 512, 100, 20, band_smoothing=3).double()(clip) / 10)
    torch.testing.assert_close(smooth[:, 1:-1], (power[:, :-2] + power[:, 1:-1] + power[:, 2:]) / 3)
    torch.testing.assert_close(smooth[:, 0], (2 * power[:, 0] + power[:, 1]) / 3)


def test_band_smoothing_blurs_harmonics_and_keeps_formants():
    time = torch.arange(16000) / 16000

    def vowel(pitch, formant):
        harmonics = torch.arange(1, int(7000 / pitch)) * pitch
        weights = torch.exp(-0.5 * ((harmonics - formant) / 300) ** 2) + 0.01
        return (weights[:, None] * torch.sin(2 * torch.pi * harmonics[:, None] * time)).sum(0)

    def distance(smoothing, one, other):
        bands = BandCentring(0.0, 50)(LogMel(16000, 512, 160, 64, smoothing)(torch.stack([one, other])))
        return (bands[0] - bands[1]).square().mean().sqrt()

    said, other_voice, other_vowel = vowel(130, 1500), vowel(190, 1500), vowel(130, 2300)
    share = [distance(n, said, other_voice) / distance(n, said, other_vowel) for n in (1, 5)]
    assert share[1] < 0.7 * share[0]


# Threads


@pytest.fixture
def threads():
    """Set how many threads torch uses."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("n_samples", [500, 300_000])
def test_any_number_of_threads_gives_the_same_result(threads, n_samples):
    module, samples = LogMel(22050, 2048, 46, 64), torch.randn(3, n_samples)
    threads(1)
    alone = module(samples)
    for n_threads in (2, 5):
        threads(n_threads)
        assert torch.equal(module(samples), alone)
        with torch.inference_mode():
            assert torch.equal(module(samples.clone()), alone)


def test_log_mel_restores_the_number_of_torch_threads(threads):
    threads(3)
    LogMel(22050, 2048, 46, 64)(torch.randn(3, 50_000))
    seen = [torch.get_num_threads()]
    thread = threading.Thread(target=lambda: (torch.randn(10**6).exp(), seen.append(torch.get_num_threads())))
    thread.start()
    thread.join()
    assert seen == [3, 3]
