"""Every effect is compared with a closed form or a slow reference, and all keep some promises."""

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from sklearn_cpc import Augmentation

RATE = 8000
ALONE = [
    {"gain": 6.0},
    {"equalization": 6.0},
    {"noise": (5, 20)},
    {"mixing": (5, 20)},
    {"reverb": 0.3},
    {"pitch": 2.0},
    {"time_mask": 0.5},
    {"band_mask": 0.5},
]
TOGETHER = {name: value for parameters in ALONE for name, value in parameters.items()}
EACH_AND_ALL = pytest.mark.parametrize("parameters", [*ALONE, TOGETHER], ids=lambda p: "+".join(p))


def sounds(batch=4, n_samples=4000, dtype=torch.float64):
    """White noise of different levels, not drawn from the generator that the effects use."""
    random = np.random.default_rng(0)
    levels = random.uniform(0.01, 0.3, (batch, 1))
    return torch.from_numpy(levels * random.standard_normal((batch, n_samples))).to(dtype)


def sines(frequency, batch=4, n_samples=8000):
    return torch.sin(2 * torch.pi * frequency / RATE * torch.arange(n_samples).double()).repeat(batch, 1)


def impulses(at, batch=4, n_samples=4000):
    clips = torch.zeros(batch, n_samples, dtype=torch.float64)
    clips[:, at] = 1
    return clips


def draw(augment, *inputs, seed=0):
    torch.manual_seed(seed)
    return augment(*inputs)


def decibels(ratio):
    return 20 * np.log10(np.asarray(ratio))


def rms(clips):
    return clips.square().mean(1).sqrt()


def mel_share(hertz):
    """Place of a frequency on the mel scale, from 0 to 1."""
    return librosa.hz_to_mel(hertz, htk=True) / librosa.hz_to_mel(RATE / 2, htk=True)


def assert_covers(values, low, high):
    """Values stay within a range and reach the tenths at both of its ends."""
    assert low <= min(values) < low + 0.1 * (high - low)
    assert high - 0.1 * (high - low) < max(values) <= high


# All effects


def test_all_effects_are_off_by_default():
    augment = Augmentation()(RATE)
    clips = sounds()
    assert augment.training
    assert augment(clips) is clips


@EACH_AND_ALL
def test_only_effects_that_are_switched_on_run(parameters):
    augment = Augmentation(**parameters)(RATE)
    n_filters = len({"equalization", "band_mask"} & set(parameters))
    assert len(augment.effects) == len(parameters) - max(0, n_filters - 1)  # both in one filter
    clips = sounds()
    augmented = draw(augment, clips)
    assert augmented.shape == clips.shape
    assert (augmented != clips).any(dim=1).all()


def test_effects_apply_in_the_order_of_a_recording():
    order = [{"pitch"}, {"reverb"}, {"equalization", "band_mask"}, {"gain"}, {"mixing"}, {"noise"}, {"time_mask"}]
    clips = sounds()
    one_by_one = clips
    torch.manual_seed(0)
    for names in order:
        one_by_one = Augmentation(**{name: TOGETHER[name] for name in names})(RATE)(one_by_one)
    assert torch.equal(draw(Augmentation(**TOGETHER)(RATE), clips), one_by_one)


@EACH_AND_ALL
def test_every_clip_gets_its_own_draw(parameters):
    clips = sounds(batch=1).repeat(6, 1)
    augmented = draw(Augmentation(**parameters)(RATE), clips)
    for i in range(6):
        for j in range(i):
            assert not torch.equal(augmented[i], augmented[j])


@EACH_AND_ALL
def test_draws_repeat_with_the_same_seed_only(parameters):
    augment, clips = Augmentation(**parameters)(RATE), sounds()
    first = draw(augment, clips)
    assert torch.equal(first, draw(augment, clips))
    assert not torch.equal(first, draw(augment, clips, seed=1))
    assert not torch.equal(first, augment(clips))  # the next call


@EACH_AND_ALL
def test_input_clips_are_not_modified(parameters):
    clips = sounds()
    before = clips.clone()
    draw(Augmentation(**parameters)(RATE), clips)
    assert torch.equal(clips, before)


@EACH_AND_ALL
def test_augmentation_has_no_gradient_and_no_weights(parameters):
    augment = Augmentation(**parameters)(RATE)
    assert not augment(sounds().requires_grad_()).requires_grad
    assert not list(augment.parameters())
    assert not augment.state_dict()


@EACH_AND_ALL
def test_evaluation_mode_returns_clips_and_draws_nothing(parameters):
    augment, clips = Augmentation(**parameters)(RATE).eval(), sounds()
    state = torch.get_rng_state()
    assert augment(clips) is clips
    assert torch.equal(torch.get_rng_state(), state)


@EACH_AND_ALL
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_silence_stays_silent(parameters, dtype):
    augmented = draw(Augmentation(**parameters)(RATE), torch.zeros(3, 1000, dtype=dtype))
    assert torch.equal(augmented, torch.zeros(3, 1000, dtype=dtype))


@EACH_AND_ALL
def test_float32_clips_stay_float32_under_autocast(parameters):
    augment, clips = Augmentation(**parameters)(RATE), sounds(dtype=torch.float32)
    expected = draw(augment, clips)
    assert expected.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(draw(augment, clips), expected)


@settings(max_examples=60, deadline=None)
@given(
    n_samples=st.integers(1, 40),
    batch=st.integers(1, 4),
    sample_rate=st.sampled_from([1, 7, 100, 44100]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    peak=st.sampled_from([1e-30, 1e-3, 1.0, 32768.0]),
    seed=st.integers(0, 1000),
)
def test_results_are_finite_for_clips_of_any_size(n_samples, batch, sample_rate, dtype, peak, seed):
    clips = peak * sounds(batch, n_samples, dtype)
    augmented = draw(Augmentation(**TOGETHER)(sample_rate), clips, seed=seed)
    assert augmented.shape == clips.shape
    assert augmented.dtype == dtype
    assert augmented.isfinite().all()


@EACH_AND_ALL
def test_no_effect_reads_a_number_which_would_wait_for_a_gpu(parameters):
    with FakeTensorMode():  # of tensors without numbers, so that reading one raises
        clips = torch.empty(4, 4000)
        with pytest.raises(DataDependentOutputException):
            clips.sum().item()
        assert Augmentation(**parameters)(RATE)(clips).shape == clips.shape


def test_recipe_can_be_cloned_and_set_like_an_estimator():
    recipe = Augmentation(**TOGETHER)
    assert recipe.get_params() == TOGETHER
    assert clone(recipe).get_params() == TOGETHER
    assert recipe.set_params(gain=3.0, noise=None).get_params() == {**TOGETHER, "gain": 3.0, "noise": None}
    assert repr(Augmentation(gain=3.0)) == "Augmentation(gain=3.0)"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"gain": -1}, r"'gain' parameter of Augmentation must be a float in the range \[0.0, 100.0\)\. Got -1"),
        ({"equalization": float("nan")}, "'equalization' parameter .* Got nan"),
        ({"reverb": 300}, "'reverb' parameter .* Got 300"),
        ({"pitch": "high"}, "'pitch' parameter .* Got 'high'"),
        ({"pitch": float("inf")}, "'pitch' parameter .* Got inf"),
        ({"gain": None}, "'gain' parameter .* Got None"),
        ({"time_mask": 1.0}, r"'time_mask' parameter .* in the range \[0.0, 1.0\)\. Got 1.0"),
        ({"band_mask": -0.1}, "'band_mask' parameter .* Got -0.1"),
        ({"noise": 5}, r"'noise' parameter .* a tuple of 2 entries, .* \[-100.0, 100.0\] or None\. Got 5"),
        ({"noise": (5,)}, r"'noise' parameter .* Got \(5,\)"),
        ({"noise": (20, 5)}, r"noise=\(20, 5\) must be \(lowest, highest\) in dB, in this order"),
        ({"noise": (5, float("nan"))}, r"'noise' parameter .* Got \(5, nan\)"),
        ({"mixing": [20, 5]}, r"mixing=\[20, 5\] must be \(lowest, highest\) in dB, in this order"),
        ({"mixing": "ab"}, "'mixing' parameter .* Got 'ab'"),
        ({"mixing": (5, None)}, r"'mixing' parameter .* Got \(5, None\)"),
        ({"mixing": (5, 1000)}, r"'mixing' parameter .* Got \(5, 1000\)"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**parameters)(RATE)


# Gain


def test_gain_is_constant_in_a_clip_and_uniform_in_decibels():
    clips = sounds(batch=300, n_samples=50)
    ratio = draw(Augmentation(gain=6.0)(RATE), clips) / clips
    np.testing.assert_allclose(ratio, ratio[:, :1].expand_as(ratio))
    levels = decibels(ratio[:, 0])
    assert_covers(levels, -6, 6)
    assert abs(np.mean(levels)) < 0.6  # 3 standard errors


# Equalization


def frequency_responses(augment, batch):
    """Responses of filters at 1001 points evenly spaced on the mel scale, and these points."""
    impulse = 2**13
    spectrum = torch.fft.rfft(draw(augment, impulses(impulse, batch, 2 * impulse))).abs()
    shares = np.linspace(0, 1, 1001)
    hertz = librosa.mel_to_hz(shares * librosa.hz_to_mel(RATE / 2, htk=True), htk=True)
    bins = np.rint(hertz / RATE * 2 * impulse).astype(int)
    return spectrum[:, bins], mel_share(bins * RATE / (2 * impulse))


def test_equalization_interpolates_normal_levels_at_five_points():
    response, shares = frequency_responses(Augmentation(equalization=6.0)(RATE), 3)
    torch.manual_seed(0)
    levels = 6 * torch.randn(3, 5, dtype=torch.float64)
    expected = [np.interp(shares, np.linspace(0, 1, 5), row) for row in levels]
    np.testing.assert_allclose(decibels(response), expected, atol=1e-3)


def test_equalization_changes_the_level_but_not_the_phase_of_a_sine():
    frequency, middle = 1000, slice(3000, 5000)
    clips = sines(frequency)
    augmented = draw(Augmentation(equalization=6.0)(RATE), clips)[:, middle]
    ratio = augmented @ clips[0, middle] / clips[0, middle].square().sum()
    torch.manual_seed(0)
    levels = 6 * torch.randn(4, 5, dtype=torch.float64)
    expected = [np.interp(mel_share(frequency), np.linspace(0, 1, 5), row) for row in levels]
    np.testing.assert_allclose(decibels(ratio), expected, atol=0.05)
    residue = augmented - ratio[:, None] * clips[:, middle]
    assert (rms(residue) < 1e-3 * ratio).all()


@pytest.mark.parametrize("parameters", [{"equalization": 6.0}, {"band_mask": 0.5}])
def test_filters_have_zero_phase(parameters):
    augmented = draw(Augmentation(**parameters)(RATE), impulses(2000, n_samples=4001))
    np.testing.assert_allclose(augmented, augmented.flip(1), atol=1e-12)


def test_ringing_of_filters_does_not_wrap_around():
    augment = Augmentation(equalization=6.0)(RATE)
    assert draw(augment, impulses(3999))[:, :2000].abs().max() < 1e-4
    assert draw(augment, impulses(0))[:, 2000:].abs().max() < 1e-4


# Band mask


def test_band_mask_removes_one_band_of_uniform_width_in_mel():
    response, _ = frequency_responses(Augmentation(band_mask=0.3)(RATE), 500)
    removed = response < 0.5
    away_from_edges = torch.nn.functional.max_pool1d(removed.diff(dim=1).float(), 9, 1, padding=4) == 0
    ringing = (response - response.round())[:, 1:][away_from_edges]  # its ends are cut off with those of the clip
    assert ringing.abs().max() < 0.05
    edges = removed.int().diff(dim=1)
    assert (edges < 0).sum(1).max() == 1
    assert (edges > 0).sum(1).max() == 1
    widths = removed.double().mean(1)
    assert_covers(widths.tolist(), 0, 0.3)
    assert abs(widths.mean() - 0.15) < 0.012  # 3 standard errors
    assert removed[:, :20].any()
    assert removed[:, -20:].any()


def test_band_mask_leaves_frequencies_outside_its_band():
    clips = sounds(batch=30, n_samples=16000)
    augmented = draw(Augmentation(band_mask=0.4)(RATE), clips)
    torch.manual_seed(0)
    width = 0.4 * torch.rand(30, 1, dtype=torch.float64)
    start = torch.rand(30, 1, dtype=torch.float64) * (1 - width)
    place = torch.from_numpy(mel_share(np.fft.rfftfreq(16000, 1 / RATE)))
    before, after = (torch.fft.rfft(x * torch.hann_window(16000)).abs().square() for x in (clips, augmented))
    margin = 0.005
    inside = (place > start + margin) & (place < start + width - margin)
    outside = (place < start - margin) | (place > start + width + margin)
    wide = inside.any(1)
    assert wide.sum() > 20
    assert ((after * inside).sum(1) < 1e-3 * (before * inside).sum(1))[wide].all()
    ratio = (after * outside).sum(1) / (before * outside).sum(1)
    np.testing.assert_allclose(ratio, 1, atol=0.02)


# Noise


@pytest.mark.parametrize(("lowest", "highest"), [(5, 20), (-3, 0), (10, 10)])
def test_noise_level_is_relative_to_the_sound_without_padding(lowest, highest):
    clips = sounds(batch=200, n_samples=2000)
    clips[:, 500:] = 0  # so the sound is a quarter of the clip
    noise = draw(Augmentation(noise=(lowest, highest))(RATE), clips) - clips
    ratio = decibels(rms(clips[:, :500]) / rms(noise))
    if lowest == highest:
        np.testing.assert_allclose(ratio, lowest, atol=0.1)
    else:
        assert_covers(ratio.clip(lowest, highest), lowest, highest)
        np.testing.assert_allclose(ratio, ratio.clip(lowest, highest), atol=0.1)


@pytest.mark.parametrize("before", [{"equalization": 6.0}, {"equalization": 6.0, "gain": 30.0}])
def test_noise_level_is_relative_to_the_filtered_clip(before):
    clips = sounds(batch=20, n_samples=16000, dtype=torch.float32)
    clips[:, 4000:] = 0
    filtered = draw(Augmentation(**before)(RATE), clips)
    assert (filtered[:, 4000:] != 0).any()  # padding no longer is exactly zero
    noise = draw(Augmentation(**before, noise=(10, 10))(RATE), clips) - filtered
    np.testing.assert_allclose(decibels(rms(filtered[:, :4000]) / rms(noise)), 10, atol=0.5)


def test_noise_falls_by_0_to_6_decibels_per_octave_above_50_hz():
    clips = sounds(batch=100, n_samples=16000)
    noise = draw(Augmentation(noise=(0, 0))(RATE), clips) - clips
    power = torch.fft.rfft(noise).abs().square() / rms(clips)[:, None] ** 2
    bands = [power[:, 2 * low : 4 * low].mean(1) for low in (60, 120, 240, 480, 960, 1920)]  # bins of 0.5 Hz
    levels = 10 * torch.stack(bands).log10()
    slopes = np.polyfit(np.arange(6), levels, 1)[0]
    assert_covers((-slopes).clip(0, 6), 0, 6)
    np.testing.assert_allclose(slopes, slopes.clip(-6, 0), atol=0.4)
    below = 10 * torch.log10(power[:, 2:50].mean(1) / power[:, 50:100].mean(1))
    assert abs(below.mean()) < 0.5  # flat there


def test_noise_is_gaussian():
    clips = sounds(batch=50)
    noise = draw(Augmentation(noise=(0, 0))(RATE), clips) - clips
    standard = noise / rms(noise)[:, None]
    assert abs(standard.pow(4).mean() - 3) < 0.15
    assert abs(standard.pow(3).mean()) < 0.1


# Mixing


def test_mixing_adds_another_clip_attenuated_within_the_range():
    batch = 5
    clips = torch.diag(torch.arange(1.0, batch + 1).double())  # each clip tells itself and its level
    seen = torch.zeros(batch, batch)
    levels = []
    for seed in range(60):
        added = draw(Augmentation(mixing=(5, 20))(RATE), clips, seed=seed) - clips
        assert ((added != 0).sum(1) == 1).all()  # one other clip
        assert (added.diagonal() == 0).all()  # never itself
        seen += added != 0
        levels += (-decibels(added.sum(1) / clips.diagonal()[added.argmax(1)])).tolist()
    assert ((seen > 0) == (torch.eye(batch) == 0)).all()  # any other clip
    assert_covers(levels, 5, 20)


def test_mixing_does_not_change_a_batch_of_one():
    clips = sounds(batch=1)
    assert torch.equal(draw(Augmentation(mixing=(0, 0))(RATE), clips), clips)


# Reverb


def test_reverb_is_the_direct_sound_and_a_decaying_tail():
    longest, at, batch = 0.5, 1000, 100
    echoes = draw(Augmentation(reverb=longest)(RATE), impulses(at, batch, at + 8000))
    np.testing.assert_allclose(echoes[:, :at], 0, atol=1e-12)  # causal
    np.testing.assert_allclose(echoes[:, at], 1)  # direct sound
    tail = echoes[:, at + 1 :].numpy()
    assert_covers(decibels(np.linalg.norm(tail, axis=1)), -20, -5)
    assert np.abs(np.corrcoef(tail)[np.triu_indices(batch, 1)]).mean() < 0.2  # every room is another
    torch.manual_seed(0)
    times = longest - longest * torch.rand(batch, dtype=torch.float64).numpy()
    assert_covers(times, 0, longest)
    for row, time in zip(tail, times, strict=True):
        if time > 0.05:  # shorter ones are too few samples to measure
            # Schroeder's backward integration: the energy that is still to come falls as the tail does.
            to_come = 10 * np.log10(np.cumsum(row[::-1] ** 2)[::-1] + 1e-30)
            dropped = np.argmax(to_come < to_come[0] - 30)
            assert dropped / RATE * 2 == pytest.approx(time, rel=0.2)
        assert np.abs(row[int(longest * RATE) + 1 :]).max() < 1e-12


def test_reverb_is_a_convolution():
    clips = sounds(n_samples=900)
    echoes = draw(Augmentation(reverb=0.3)(RATE), clips)
    responses = draw(Augmentation(reverb=0.3)(RATE), impulses(0, n_samples=900))
    for clip, echo, response in zip(clips, echoes, responses, strict=True):
        np.testing.assert_allclose(echo, np.convolve(clip, response)[:900], atol=1e-12)


# Pitch


def drawn_speeds(semitones, batch):
    torch.manual_seed(0)
    shift = (2 * torch.rand(batch, dtype=torch.float64) - 1) * semitones
    return 2 ** (shift.numpy() / 12)


def test_pitch_multiplies_the_frequency_of_a_sine():
    batch, middle, frequency = 100, slice(2000, 6000), 500
    augmented = draw(Augmentation(pitch=3.0)(RATE), sines(frequency, batch))[:, middle]
    spectrum = torch.fft.rfft(augmented * torch.hann_window(4000), 64000).abs()
    ratios = spectrum.argmax(1).numpy() * RATE / 64000 / frequency
    np.testing.assert_allclose(ratios, drawn_speeds(3.0, batch), atol=2e-3)
    assert_covers(12 * np.log2(ratios), -3, 3.01)
    np.testing.assert_allclose(rms(augmented), np.sqrt(0.5), rtol=0.02)


@pytest.mark.parametrize("n_samples", [1, 2, 7, 1000, 1001])
def test_pitch_interpolates_around_the_centre_with_zeros_outside(n_samples):
    clips = sounds(batch=20, n_samples=n_samples)
    augmented = draw(Augmentation(pitch=4.0)(RATE), clips)
    centre = (n_samples - 1) / 2
    for clip, result, speed in zip(clips, augmented, drawn_speeds(4.0, 20), strict=True):
        position = centre + speed * (np.arange(n_samples) - centre)
        expected = np.interp(position, np.arange(-1, n_samples + 1), [0, *clip, 0])
        np.testing.assert_allclose(result, expected, atol=1e-12)


def test_pitch_is_exact_late_in_a_long_clip():
    n_samples = 2**20
    clip = torch.from_numpy(np.random.default_rng(0).standard_normal(n_samples)).float()[None]
    torch.manual_seed(0)
    shift = 2 * (2 * torch.rand(1, 1) - 1)  # float32, as for such a clip
    position = (np.arange(n_samples) - (n_samples - 1) / 2) * 2 ** (shift.item() / 12) + (n_samples - 1) / 2
    expected = np.interp(position, np.arange(-1, n_samples + 1), np.pad(clip[0], 1))
    np.testing.assert_allclose(draw(Augmentation(pitch=2.0)(RATE), clip)[0], expected, atol=1e-4)


# Time mask


@pytest.mark.parametrize("n_samples", [3, 10, 1000])
def test_time_mask_silences_one_stretch_only(n_samples):
    clips = sounds(batch=1000, n_samples=n_samples)
    augmented = draw(Augmentation(time_mask=0.4)(RATE), clips)
    masked = augmented == 0
    assert torch.equal(augmented[~masked], clips[~masked])
    edges = torch.nn.functional.pad(masked.int(), (1, 1)).diff(dim=1)
    assert (edges > 0).sum(1).max() == 1
    share = masked.double().mean(1)
    assert share.max() <= 0.4
    if n_samples == 10:
        assert masked.any(0).all()  # anywhere, both ends included
    if n_samples == 1000:
        assert_covers(share.tolist(), 0, 0.4)
        assert abs(share.mean() - 0.2) < 0.011  # 3 standard errors


def test_time_mask_applies_after_all_other_effects():
    augmented = draw(Augmentation(**TOGETHER)(RATE), sounds(batch=50))
    assert (augmented == 0).double().mean() > 0.2  # 0.25 on average
