"""RecordingDisplay: sound and embeddings on one time axis."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from corpus import RATE, rising_tones, small_cpc
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_cpc import Clip
from sklearn_cpc.displays import RecordingDisplay
from sklearn_cpc.displays.recording import sort_dimensions

CLIPS = rising_tones(8)


@pytest.fixture(scope="module")
def cpc(corpus):
    return small_cpc().fit(corpus.paths)


def frames(n_steps=10, dim=6, step=0.1):
    return (np.arange(n_steps) + 0.5) * step, np.random.default_rng(0).standard_normal((n_steps, dim))


def test_recording_is_drawn_with_its_embeddings(cpc, corpus, draw):
    path = corpus.paths[0]
    display = RecordingDisplay.from_estimator(cpc, path)
    assert list(display.axes_) == ["waveform", "mel", "z", "c"]
    assert len(display.samples) == RATE
    for layer in ("z", "c"):
        expected = cpc.transform_frames([path], layer)[0]
        np.testing.assert_array_equal(display.layers[layer][0], expected.times)
        np.testing.assert_array_equal(display.layers[layer][1], expected.embeddings)
    assert display.axes_["waveform"].get_title() == path.rsplit("/", 1)[-1]
    draw(display)


def test_all_panels_share_one_time_axis(cpc, corpus, draw):
    display = RecordingDisplay.from_estimator(cpc, corpus.paths[0])
    draw(display)
    assert {panel.get_xlim() for panel in display.axes_.values()} == {(0.0, 1.0)}
    positions = {(panel.get_position().x0, panel.get_position().x1) for panel in display.axes_.values()}
    assert len(positions) == 1
    assert [panel.get_xlabel() for panel in display.axes_.values()] == ["", "", "", "time (s)"]


def test_images_cover_their_steps():
    display = RecordingDisplay.from_frames(np.zeros(1000), 1000, {"z": frames()})
    assert display.images_["z"].get_extent() == pytest.approx([0, 1, 0, 6])
    assert display.images_["z"].get_array().shape == (6, 10)


def test_clip_is_drawn_at_its_position_in_the_file(cpc, corpus):
    display = RecordingDisplay.from_estimator(cpc, Clip(corpus.paths[0], 0.25, 0.5))
    assert display.axes_["z"].get_xlim() == pytest.approx((0.25, 0.75))
    assert len(display.samples) == RATE / 2
    assert display.images_["z"].get_extent()[0] == pytest.approx(0.25)


def test_samples_are_drawn_unchanged(draw):
    display = RecordingDisplay.from_estimator(small_cpc().fit(CLIPS), CLIPS[0], name="a rising tone")
    np.testing.assert_array_equal(display.axes_["waveform"].get_lines()[0].get_ydata(), CLIPS[0])
    assert display.axes_["waveform"].get_title() == "a rising tone"
    draw(display)


def test_one_context_per_clip_has_no_panel():
    attentive = small_cpc(autoregressor="attention").fit(CLIPS)
    assert list(RecordingDisplay.from_estimator(attentive, CLIPS[0]).axes_) == ["waveform", "mel", "z"]


def test_network_in_a_pipeline_is_used(cpc, corpus):
    pipeline = make_pipeline(cpc, StandardScaler()).fit(corpus.paths)
    assert "c" in RecordingDisplay.from_estimator(pipeline, corpus.paths[1]).axes_


@pytest.mark.parametrize(
    "samples",
    [np.zeros(2000), np.zeros(1), np.array([0.5]), np.full(2000, 1e-6), np.linspace(-1, 1, 37)],
    ids=["silence", "one silent sample", "one sample", "constant", "short"],
)
@pytest.mark.parametrize("rate", [1000, 96000])
def test_silent_and_short_recordings_are_drawn(samples, rate, draw):
    display = RecordingDisplay.from_frames(samples, rate, {"z": (np.zeros(1), np.ones((1, 4)))})
    draw(display)
    assert np.isfinite(display.images_["mel"].get_array()).all()
    assert not display.images_["z"].get_array().any()  # nothing changes


def test_silence_is_dark_and_soft_sound_is_bright():
    silence, sound = (
        RecordingDisplay.from_frames(samples, 8000).images_["mel"]
        for samples in (np.zeros(8000), 1e-3 * np.sin(np.arange(8000.0)))
    )
    assert silence.get_array().max() <= silence.get_clim()[0]
    assert sound.get_array().max() == pytest.approx(sound.get_clim()[1])


def test_tone_is_drawn_at_its_frequency():
    rate, pitch = 16000, 2000
    display = RecordingDisplay.from_frames(np.sin(2 * np.pi * pitch * np.arange(rate) / rate), rate)
    panel = display.axes_["mel"]
    ticks = dict(zip([text.get_text() for text in panel.get_yticklabels()], panel.get_yticks(), strict=True))
    loudest = display.images_["mel"].get_array()[:, 20].argmax()
    assert loudest + 0.5 == pytest.approx(ticks["2 k"], abs=1)


def test_outline_of_a_long_recording_keeps_its_peaks(draw):
    samples = np.zeros(100_000)
    samples[[777, 55_555]] = 1, -1
    display = RecordingDisplay.from_frames(samples, 1000)
    outline = display.axes_["waveform"].collections[0].get_paths()[0].vertices[:, 1]
    assert (outline.min(), outline.max()) == (-1, 1)
    draw(display)


# Sorting


def test_dimensions_are_standardised_and_sorted():
    loudness = np.sin(np.arange(50))
    rising = np.arange(6) % 2 == 0
    embeddings = np.where(rising, 1, -1) * loudness[:, None] * np.arange(1, 7) + 5
    values = sort_dimensions(embeddings, loudness)
    np.testing.assert_allclose(values.std(axis=0), 1)
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-12)
    assert (np.corrcoef(values.T, loudness)[-1, :-1] > 0).tolist() == [False] * 3 + [True] * 3


def test_constant_dimensions_are_zero_and_nan_stays():
    embeddings = np.array([[1.0, 5.0], [2.0, 5.0], [np.nan, np.nan], [4.0, 5.0]])
    values = sort_dimensions(embeddings, np.arange(4.0))
    assert np.isnan(values[2]).all()
    assert not values[[0, 1, 3], 0].any()
    assert not sort_dimensions(embeddings[2:3], np.ones(1)).any()


def test_frames_with_nan_are_drawn(draw):
    times, embeddings = frames()
    embeddings[3] = np.nan
    draw(RecordingDisplay.from_frames(np.zeros(1000), 1000, {"z": (times, embeddings)}))


# Errors


@pytest.mark.parametrize(
    ("message", "samples", "layers"),
    [
        (r"samples have shape \(0,\)", [], {}),
        (r"samples have shape \(2, 3\)", np.zeros((2, 3)), {}),
        ("contains NaN", [0.0, np.nan], {}),
        (
            r"frames\['z'\] has times of shape \(10,\) and embeddings of shape \(9, 6\)",
            np.zeros(9),
            {"z": (frames()[0], frames(9)[1])},
        ),
        ("with at least one step", np.zeros(9), {"z": (np.empty(0), np.empty((0, 3)))}),
        (
            r"has steps of 0.1 to 0.5 s, not of equal length",
            np.zeros(9),
            {"z": ([0.1, 0.2, 0.7], np.zeros((3, 2)))},
        ),
    ],
)
def test_invalid_samples_and_frames_are_refused(message, samples, layers):
    with pytest.raises(ValueError, match=message):
        RecordingDisplay.from_frames(samples, 1000, layers)
    assert plt.get_fignums() == []


def test_from_estimator_needs_a_fitted_cpc(corpus):
    with pytest.raises(NotFittedError):
        RecordingDisplay.from_estimator(small_cpc(), corpus.paths[0])
    with pytest.raises(TypeError, match="StandardScaler has no transform_frames"):
        RecordingDisplay.from_estimator(StandardScaler().fit([[0.0]]), corpus.paths[0])


@pytest.mark.parametrize("on_error", ["raise", "nan"])
def test_unreadable_recording_is_named(on_error, corpus):
    cpc = small_cpc(on_error=on_error).fit(corpus.paths)
    with pytest.raises(ValueError, match=r"missing\.wav: does not exist"):
        RecordingDisplay.from_estimator(cpc, "missing.wav")
    assert cpc.on_error == on_error
