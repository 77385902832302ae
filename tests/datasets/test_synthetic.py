"""Contracts of the synthetic corpus."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from folders import assert_same_corpus, put, relative
from scipy import signal
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state

from sklearn_cpc.datasets import load_audio_folder, make_synthetic_corpus
from sklearn_cpc.datasets._synthetic import SYNTHESISERS

CLASSES = ["alarm", "bird", "clock", "dog", "fire", "melody", "rain", "siren"]
SHORT = {"n_per_class": 2, "duration": 0.2, "sample_rate": 8000}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_synthetic_corpus(
        tmp_path_factory.mktemp("corpus"), n_per_class=10, duration=4, sample_rate=16000, random_state=1
    )


def read(path):
    return soundfile.read(path)[0]


def contents(corpus):
    return {"/".join(Path(path).parts[-2:]): Path(path).read_bytes() for path in corpus.paths}


def test_the_corpus_is_a_folder_per_class_of_wav_files_named_by_group_and_index(tmp_path):
    corpus = make_synthetic_corpus(tmp_path / "new" / "corpus", n_groups=2, random_state=0, **SHORT)
    assert relative(corpus, tmp_path / "new" / "corpus") == [
        f"{name}/{file}" for name in CLASSES for file in ("1-0001.wav", "2-0002.wav")
    ]
    assert corpus.target_names == CLASSES
    assert corpus.target.tolist() == [name for name in CLASSES for _ in range(2)]
    assert corpus.groups.tolist() == ["1", "2"] * 8


@pytest.mark.parametrize(("duration", "sample_rate"), [(0.2, 8000), (0.25, 16000), (0.1, 22050), (1, 44100)])
def test_files_are_16_bit_mono_of_the_duration_and_rate_asked_for(tmp_path, duration, sample_rate):
    corpus = make_synthetic_corpus(tmp_path, n_per_class=1, duration=duration, sample_rate=sample_rate)
    for path in corpus.paths:
        info = soundfile.info(path)
        assert (info.format, info.subtype, info.channels) == ("WAV", "PCM_16", 1)
        assert (info.frames, info.samplerate) == (round(duration * sample_rate), sample_rate)


def test_every_recording_is_heard_and_none_is_clipped(corpus):
    for path in corpus.paths:
        sound = read(path)
        assert 0.1 < np.abs(sound).max() < 1
        assert sound.std() > 1e-3


def test_all_recordings_differ(corpus):
    assert len(set(contents(corpus).values())) == len(corpus.paths)


@pytest.mark.parametrize(("n_per_class", "n_groups"), [(10, 5), (7, 3), (2, 4), (3, 1), (11, 11)])
def test_files_are_spread_evenly_over_groups_and_read_back_the_same(tmp_path, n_per_class, n_groups):
    corpus = make_synthetic_corpus(
        tmp_path, n_per_class=n_per_class, n_groups=n_groups, duration=0.05, sample_rate=8000
    )
    for name in CLASSES:
        groups, counts = np.unique(corpus.groups[corpus.target == name], return_counts=True)
        assert len(groups) == min(n_groups, n_per_class)
        assert np.ptp(counts) <= 1
    assert_same_corpus(load_audio_folder(tmp_path, group_from=r"^(\d+)-"), corpus)


@pytest.mark.parametrize("seed", [lambda: 3, lambda: np.random.RandomState(3)], ids=["int", "RandomState"])
def test_the_same_seed_writes_the_same_files(tmp_path, seed):
    first = make_synthetic_corpus(tmp_path / "first", random_state=seed(), **SHORT)
    again = make_synthetic_corpus(tmp_path / "again", random_state=seed(), **SHORT)
    assert contents(first) == contents(again)


@pytest.mark.parametrize("seeds", [(0, 1), (None, None)])
def test_other_seeds_and_no_seed_write_other_files(tmp_path, seeds):
    first, second = (
        make_synthetic_corpus(tmp_path / str(i), random_state=seed, **SHORT) for i, seed in enumerate(seeds)
    )
    assert set(contents(first).values()).isdisjoint(contents(second).values())


def test_a_larger_corpus_of_the_same_seed_contains_the_smaller_one(tmp_path):
    small = make_synthetic_corpus(tmp_path / "small", random_state=0, **SHORT)
    large = make_synthetic_corpus(tmp_path / "large", random_state=0, **{**SHORT, "n_per_class": 4})
    assert contents(small).items() < contents(large).items()


@pytest.mark.parametrize("random_state", [None, 0])
def test_the_global_generator_is_neither_read_nor_moved(tmp_path, random_state):
    before = check_random_state(None).get_state()
    make_synthetic_corpus(tmp_path, random_state=random_state, **SHORT)
    for was, now in zip(before, check_random_state(None).get_state(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_files_of_the_same_name_are_overwritten_and_others_left(tmp_path):
    put(tmp_path, "dog/1-0001.wav", "dog/notes.txt")
    corpus = make_synthetic_corpus(tmp_path, random_state=0, **SHORT)
    assert len(read(tmp_path / "dog" / "1-0001.wav")) == 1600
    assert (tmp_path / "dog" / "notes.txt").exists()
    assert str(tmp_path / "dog" / "notes.txt") not in corpus.paths


def test_a_recording_may_be_as_short_as_a_sample(tmp_path):
    corpus = make_synthetic_corpus(tmp_path, n_per_class=1, duration=1e-6)
    assert [len(read(path)) for path in corpus.paths] == [1] * 8


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"n_per_class": 0}, ValueError, "n_per_class == 0, must be >= 1"),
        ({"n_per_class": 2.5}, TypeError, "n_per_class must be an instance of"),
        ({"n_groups": 0}, ValueError, "n_groups == 0, must be >= 1"),
        ({"duration": 0}, ValueError, "duration == 0, must be > 0"),
        ({"duration": -1.0}, ValueError, "duration == -1.0, must be > 0"),
        ({"duration": "5 s"}, TypeError, "duration must be an instance of"),
        ({"sample_rate": 4000}, ValueError, "sample_rate == 4000, must be >= 8000"),
        ({"sample_rate": 22050.0}, TypeError, "sample_rate must be an instance of"),
        ({"random_state": "seed"}, ValueError, "'seed' cannot be used to seed"),
    ],
)
def test_a_parameter_out_of_range_is_named_and_nothing_is_written(tmp_path, parameters, error, message):
    with pytest.raises(error, match=message):
        make_synthetic_corpus(tmp_path / "corpus", **parameters)
    assert not (tmp_path / "corpus").exists()


def log_spectrogram(path):
    power = signal.spectrogram(read(path), nperseg=256)[2]  # (129, frames)
    return np.log(power[1:].reshape(32, 4, -1).mean(axis=1) + 1e-10)  # (bands, frames)


def test_averaged_spectra_tell_most_classes_at_a_new_site_but_not_those_that_differ_in_time(corpus):
    spectra = [log_spectrogram(path) for path in corpus.paths]
    features = [np.r_[bands.mean(axis=1), bands.std(axis=1)] for bands in spectra]
    classifier = make_pipeline(StandardScaler(), LogisticRegression())
    predicted = cross_val_predict(classifier, features, corpus.target, groups=corpus.groups, cv=LeaveOneGroupOut())
    right = predicted == corpus.target
    sweeps = np.isin(corpus.target, ["alarm", "siren"])
    assert right[~sweeps].mean() > 0.6
    assert right[sweeps].mean() < 0.8
    assert np.isin(predicted[sweeps], ["alarm", "siren"]).mean() > 0.8


@pytest.mark.parametrize(("name", "direction"), [("alarm", -1), ("siren", 1)])
def test_sirens_rise_and_alarms_fall(name, direction):
    for seed in range(5):
        sound = SYNTHESISERS[name](np.random.default_rng(seed), 32000, 16000)
        frequencies, _, power = signal.spectrogram(sound, 16000, nperseg=1024, noverlap=512)
        moves = np.diff(frequencies[power.argmax(axis=0)])
        assert (np.sign(moves) == direction).sum() > 3 * (np.sign(moves) == -direction).sum()


def test_clocks_tick_at_a_steady_pace_and_fires_do_not():
    def unevenness(name, seed):
        sound = SYNTHESISERS[name](np.random.default_rng(seed), 80000, 16000)
        loudness = np.abs(sound).reshape(-1, 160).max(axis=1)  # one value per 10 ms
        onsets, _ = signal.find_peaks(loudness, height=0.3 * loudness.max(), distance=3)
        return np.diff(onsets).std() / np.diff(onsets).mean()

    assert max(unevenness("clock", seed) for seed in range(8)) < 0.1
    assert min(unevenness("fire", seed) for seed in range(8)) > 0.3


def test_the_sites_of_a_corpus_sound_different(tmp_path):
    corpus = make_synthetic_corpus(
        tmp_path, n_per_class=9, n_groups=3, duration=2, sample_rate=8000, random_state=1
    )
    rain = [log_spectrogram(path) for path in np.array(corpus.paths)[corpus.target == "rain"]]
    means = np.array([bands.mean(axis=1) - bands.mean() for bands in rain])  # (files, bands)
    groups = corpus.groups[corpus.target == "rain"]
    centres = np.array([means[groups == group].mean(axis=0) for group in np.unique(groups)])
    within = means - centres[np.searchsorted(np.unique(groups), groups)]
    assert (centres - centres.mean(axis=0)).std() > 0.5 * within.std()
