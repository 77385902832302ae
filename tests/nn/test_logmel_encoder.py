"""LogMelEncoder accepts clips of any number of steps and knows how far ahead its embeddings depend on samples."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from sklearn_cpc import LogMelEncoder
from sklearn_cpc.nn.frontends import BandCentring, LogMel, Scale
from sklearn_cpc.nn.logmel_encoder import FrameConv

# Without centring, which uses the entire clip, each step depends on its own stretch of time only.
SMALL = LogMelEncoder(
    n_filters=6, z_dim=5, n_mels=8, sample_rate=4000, window_duration=0.016, band_smoothing=1, centring=None
)
CENTRED = clone(SMALL).set_params(centring=1.0)
HOP, N_FFT = 20, 64
N_STEPS, N_SAMPLES = 10, 10 * 2 * HOP


@pytest.fixture(autouse=True)
def _rng():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def changed(**changes):
    return clone(SMALL).set_params(**changes)


def build(recipe=SMALL, n_samples=N_SAMPLES, n_steps=N_STEPS):
    return recipe(n_samples, n_steps).eval()


# Any number of steps


@pytest.mark.parametrize(
    ("n_samples", "n_steps", "hop"),
    [(2000, 50, 20), (2039, 50, 20), (1999, 50, 19), (64000, 300, 106), (399, 100, 1)],
)
def test_clip_has_the_requested_steps_in_entire_hops(n_samples, n_steps, hop):
    encoder = build(SMALL, n_samples, n_steps)
    assert encoder.samples_per_step == 2 * hop
    assert n_steps * 2 * hop <= n_samples
    assert encoder(torch.randn(2, n_steps * 2 * hop)).shape == (2, n_steps, 5)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), min_size=1, max_size=3),
    st.integers(1, 7),
    st.integers(1, 30),
    st.data(),
)
def test_clips_of_any_length_give_one_embedding_per_complete_step(layers, n_steps, hop, data):
    strides = tuple(stride for stride, _ in layers)
    recipe = changed(strides=strides, kernel_sizes=tuple(stride + more for stride, more in layers))
    stride = int(torch.tensor(strides).prod())
    rest = data.draw(st.integers(0, n_steps * stride - 1))
    encoder = build(recipe, n_steps * stride * hop + rest, n_steps)
    assert encoder.samples_per_step == stride * hop
    for n in range(1, n_steps + 1):
        for more in (0, encoder.samples_per_step - 1):
            assert encoder(torch.randn(1, n * encoder.samples_per_step + more)).shape == (1, n, 5)


def test_longer_clips_begin_with_the_embeddings_of_shorter_ones():
    encoder, clips = build(), torch.randn(2, N_SAMPLES)
    z = encoder(clips)
    assert z.shape == (2, N_STEPS, 5)
    for n in range(1, N_STEPS + 1):
        part = encoder(clips[:, : (n + encoder.lookahead) * encoder.samples_per_step])
        torch.testing.assert_close(part[:, :n], z[:, :n], rtol=1e-4, atol=1e-5)


# Which samples a step depends on

REACHES = {  # recipe, samples per step
    "defaults": (SMALL, 40),
    "strides later": (changed(kernel_sizes=(3, 4, 1), strides=(1, 2, 1)), 40),
    "one convolution of one frame": (changed(kernel_sizes=(1,), strides=(1,)), 20),
    "a long transform": (changed(window_duration=0.064), 40),
    "a short transform": (changed(window_duration=0.004), 40),
    "wide kernels": (changed(kernel_sizes=(9, 6, 1), strides=(1, 2, 1)), 40),
    "strides first": (changed(kernel_sizes=(4, 5), strides=(2, 1)), 40),
    "many strides": (changed(kernel_sizes=(2, 4, 3), strides=(2, 2, 1), window_duration=0.008), 80),
}
reaches = pytest.mark.parametrize("name", REACHES)


def reach_of(encoder, n_samples, step):
    """Samples that decide an embedding, by its gradient: the first and the last."""
    clips = torch.randn(1, n_samples, dtype=torch.float64, requires_grad=True)
    encoder.double()(clips)[0, step].square().sum().backward()
    heard = torch.nonzero(clips.grad[0])[:, 0]
    return heard.min().item(), heard.max().item()


@reaches
def test_embeddings_do_not_depend_on_samples_beyond_the_lookahead(name):
    recipe, samples_per_step = REACHES[name]
    encoder, clips = build(recipe, 30 * samples_per_step, 30), torch.randn(1, 30 * samples_per_step)
    z = encoder(clips)
    for step in (0, 7, 12):
        end = (step + 1 + encoder.lookahead) * samples_per_step
        other = clips.clone()
        other[:, end:] += torch.randn(1, clips.shape[1] - end)
        assert torch.equal(encoder(other)[:, : step + 1], z[:, : step + 1])
        assert (encoder(other)[:, step + 1 + encoder.lookahead :] != z[:, step + 1 + encoder.lookahead :]).any()


@reaches
def test_embeddings_depend_on_samples_within_the_lookahead(name):
    recipe, samples_per_step = REACHES[name]
    encoder, step = build(recipe, 30 * samples_per_step, 30), 12
    first, last = reach_of(encoder, 30 * samples_per_step, step)
    assert first < step * samples_per_step
    assert encoder.samples_per_step == samples_per_step
    hop = samples_per_step // encoder.stride
    # The bound counts from the end of the step, the last frame of which lies a hop before.
    bound = (step + 1 + encoder.lookahead) * samples_per_step
    assert bound - samples_per_step - hop <= last + 1 <= bound


@pytest.mark.parametrize(("kernel_size", "frames"), [(1, (12, 12)), (2, (11, 12)), (3, (11, 13)), (4, (10, 13))])
def test_steps_reach_as_far_back_as_ahead_or_one_frame_further(kernel_size, frames):
    encoder = build(changed(kernel_sizes=(kernel_size,), strides=(1,)), 30 * HOP, 30)
    # Each frame is half a transform to both sides of its hop; Hann's window begins with a zero.
    first, last = frames[0] * HOP - N_FFT // 2 + 1, frames[1] * HOP + N_FFT // 2 - 1
    assert reach_of(encoder, 30 * HOP, 12) == (first, last)


# The spectrogram


def test_default_frames_of_two_second_clips_are_10_ms_apart():
    encoder = LogMelEncoder()(32000, 100)
    log_mel = encoder.spectrogram
    assert log_mel.hop_length / 16000 == 0.010
    assert log_mel.n_fft / 16000 == 0.032
    assert encoder.samples_per_step / 16000 == 0.020
    assert encoder.eval()(torch.zeros(1, 32000)).shape == (1, 100, 256)


@pytest.mark.parametrize("rate", [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000])
def test_no_mel_band_is_empty_at_usual_sample_rates(rate):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder = LogMelEncoder(n_filters=2, z_dim=2, sample_rate=rate)(2 * rate, 100)
    log_mel = encoder.spectrogram
    assert (log_mel.mel.sum(1) > 0).all()
    assert 0.032 <= log_mel.n_fft / rate < 0.064
    assert log_mel.n_fft & (log_mel.n_fft - 1) == 0  # a power of two


def test_bands_are_means_over_each_step():
    clips = torch.randn(3, N_SAMPLES + 17)
    for recipe, scale in ((SMALL, Scale()), (CENTRED, BandCentring(1.0, 50.0))):
        encoder = build(recipe)
        assert encoder.n_mels == 8
        decibels = LogMel(4000, N_FFT, HOP, 8)(clips)[:, :, : 2 * N_STEPS]
        z, layers = encoder.with_mel(clips)
        for name, bands in {"mel": decibels, "centred": scale(decibels)}.items():
            expected = [bands[:, :, 2 * step : 2 * step + 2].mean(2) for step in range(N_STEPS)]
            torch.testing.assert_close(layers[name], torch.stack(expected, dim=1))
        assert torch.equal(z, encoder(clips))


def test_centring_removes_the_gain_of_a_clip():
    clips = torch.randn(2, N_SAMPLES)
    for recipe, same in [(SMALL, False), (CENTRED, True)]:
        encoder = build(recipe)
        difference = (encoder(clips) - encoder(7 * clips)).abs().max()
        assert (difference < 1e-4) == same


def test_padding_does_not_affect_centring():
    encoder, clips = build(CENTRED), torch.randn(2, N_SAMPLES)
    little, much = (encoder(torch.nn.functional.pad(clips, (0, n))) for n in (N_SAMPLES, 9 * N_SAMPLES))
    assert little.shape[1] < much.shape[1]
    torch.testing.assert_close(much[:, :N_STEPS], little[:, :N_STEPS], rtol=1e-4, atol=1e-5)


# Convolutions


@pytest.mark.parametrize(("kernel_size", "stride"), [(1, 1), (3, 1), (2, 2), (4, 2), (5, 2), (7, 3), (6, 5)])
def test_convolutions_divide_the_number_of_frames_by_their_stride(kernel_size, stride):
    convolution = FrameConv(4, 3, kernel_size, stride, dropout=0.0)
    for n in (1, 2, 5):
        assert convolution(torch.randn(2, 4, n * stride)).shape == (2, 3, n)


def test_each_frame_is_normalised_separately():
    # Normalising over time or the batch would reveal the future.
    convolution = FrameConv(4, 3, 1, 1, dropout=0.0)
    frames = torch.randn(2, 4, 6)
    other = frames.clone()
    other[1, :, 3] *= 100
    same = torch.isclose(convolution(frames), convolution(other)).all(dim=1)
    assert same.tolist() == [[True] * 6, [True] * 3 + [False] + [True] * 2]


# Bad parameters


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"n_filters": 0}, ValueError),
        ({"n_filters": 2.5}, TypeError),
        ({"z_dim": -1}, ValueError),
        ({"z_dim": None}, TypeError),
        ({"n_mels": 0}, ValueError),
        ({"sample_rate": 16000.0}, TypeError),
        ({"sample_rate": 0}, ValueError),
        ({"dropout": 1.0}, ValueError),
        ({"dropout": "no"}, TypeError),
        ({"window_duration": 0}, ValueError),
        ({"window_duration": None}, TypeError),
        ({"window_duration": 1e-4}, ValueError),
        ({"band_smoothing": 0}, ValueError),
        ({"band_smoothing": 1.5}, TypeError),
        ({"band_smoothing": 2000}, ValueError),
        ({"n_mels": 2000}, ValueError),
        ({"window_duration": float("inf")}, ValueError),
        ({"dynamic_range": float("nan")}, ValueError),
        ({"n_filters": (256,)}, ValueError),
        ({"centring": 1.1}, ValueError),
        ({"centring": -0.1}, ValueError),
        ({"centring": "whole"}, TypeError),
        ({"dynamic_range": 0}, ValueError),
        ({"dynamic_range": "loud"}, TypeError),
        ({"kernel_sizes": 3}, ValueError),
        ({"kernel_sizes": (3, 4)}, ValueError),
        ({"kernel_sizes": (3, 4, 0)}, ValueError),
        ({"strides": ()}, ValueError),
        ({"strides": (1, 2, 1.0)}, TypeError),
    ],
    ids=str,
)
def test_invalid_parameters_are_named(change, error):
    with pytest.raises(error, match=next(iter(change))):
        LogMelEncoder(**change)(32000, 100)


def test_windows_of_too_few_or_too_many_samples_are_refused():
    for duration, n_samples in ((1e-4, "1.6"), (4.1, "65600")):
        message = f"window_duration={duration} s is {n_samples} samples at sample_rate=16000; it must be between 2"
        with pytest.raises(ValueError, match=message):
            LogMelEncoder(window_duration=duration)(32000, 100)
    assert LogMelEncoder(window_duration=4.096)(32000, 100).spectrogram.n_fft == 2**16
    with pytest.warns(UserWarning, match="1 of n_mels=1 mel bands are empty"):
        assert build(changed(window_duration=2 / 4000, n_mels=1), N_SAMPLES).spectrogram.n_fft == 2


def test_kernels_that_would_skip_frames_are_refused():
    with pytest.raises(ValueError, match=r"kernel_sizes=\(3, 1, 1\) must be at least strides=\(1, 2, 1\)"):
        LogMelEncoder(kernel_sizes=(3, 1, 1), strides=(1, 2, 1))(32000, 100)


def test_clips_with_fewer_samples_than_frames_are_refused():
    with pytest.raises(ValueError, match="clips have 199 samples but 100 steps of 2 frames need at least 200"):
        LogMelEncoder()(199, 100)
    assert build(SMALL, 200, 100).samples_per_step == 2
