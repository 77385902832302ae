"""Contracts of `make_synthetic_corpus`."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from folders import assert_same_corpus, create_files, relative_paths
from scipy import signal
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state

from sklearn_cpc.datasets import load_audio_folder, make_synthetic_corpus
from sklearn_cpc.datasets.synthetic import SYNTHESISERS

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


def test_files_are_named_by_class_group_and_index(tmp_path):
    corpus = make_synthetic_corpus(tmp_path / "new" / "corpus", n_groups=2, random_state=0, **SHORT)
    assert relative_paths(corpus, tmp_path / "new" / "corpus") == [
        f"{name}/{file}" for name in CLASSES for file in ("1-0001.wav", "2-0002.wav")
    ]
    assert corpus.target_names == CLASSES
    assert corpus.target.tolist() == [name for name in CLASSES for _ in range(2)]
    assert corpus.groups.tolist() == ["1", "2"] * 8


@pytest.mark.parametrize(("duration", "sample_rate"), [(0.2, 8000), (0.25, 16000), (0.1, 22050), (1, 44100)])
def test_files_are_16_bit_mono_with_the_given_duration_and_rate(tmp_path, duration, sample_rate):
    corpus = make_synthetic_corpus(tmp_path, n_per_class=1, duration=duration, sample_rate=sample_rate)
    for path in corpus.paths:
        info = soundfile.info(path)
        assert (info.format, info.subtype, info.channels) == ("WAV", "PCM_16", 1)
        assert (info.frames, info.samplerate) == (round(duration * sample_rate), sample_rate)


def test_no_recording_is_silent_or_clipped(corpus):
    for path in corpus.paths:
        sound = read(path)
        assert 0.1 < np.abs(sound).max() < 1
        assert sound.std() > 1e-3


def test_all_recordings_differ(corpus):
    assert len(set(contents(corpus).values())) == len(corpus.paths)


@pytest.mark.parametrize(("n_per_class", "n_groups"), [(10, 5), (7, 3), (2, 4), (3, 1), (11, 11)])
def test_groups_are_balanced_and_files_read_back_the_same(tmp_path, n_per_class, n_groups):
    corpus = make_synthetic_corpus(
        tmp_path, n_per_class=n_per_class, n_groups=n_groups, duration=0.05, sample_rate=8000
    )
    for name in CLASSES:
        groups, counts = np.unique(corpus.groups[corpus.target == name], return_counts=True)
        assert len(groups) == min(n_groups, n_per_class)
        assert np.ptp(counts) <= 1
    assert_same_corpus(load_audio_folder(tmp_path, group_from=r"^(\d+)-"), corpus)


@pytest.mark.parametrize("seed", [lambda: 3, lambda: np.random.RandomState(3)], ids=["int", "RandomState"])
def test_same_seed_writes_the_same_files(tmp_path, seed):
    first = make_synthetic_corpus(tmp_path / "first", random_state=seed(), **SHORT)
    again = make_synthetic_corpus(tmp_path / "again", random_state=seed(), **SHORT)
    assert contents(first) == contents(again)


@pytest.mark.parametrize("seeds", [(0, 1), (None, None)])
def test_other_seeds_and_no_seed_write_other_files(tmp_path, seeds):
    first, second = (
        make_synthetic_corpus(tmp_path / str(i), random_state=seed, **SHORT) for i, seed in enumerate(seeds)
    )
    assert set(contents(first).values()).isdisjoint(contents(second).values())


def test_larger_corpus_contains_the_smaller_one_of_the_same_seed(tmp_path):
    small = make_synthetic_corpus(tmp_path / "small", random_state=0, **SHORT)
    large = make_synthetic_corpus(tmp_path / "large", random_state=0, **{**SHORT, "n_per_class": 4})
    assert contents(small).items() < contents(large).items()


@pytest.mark.parametrize("random_state", [None, 0])
def test_global_random_generator_is_not_used(tmp_path, random_state):
    before = check_random_state(None).get_state()
    make_synthetic_corpus(tmp_path, random_state=random_state, **SHORT)
    for was, now in zip(before, check_random_state(None).get_state(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_files_of_the_same_name_are_overwritten_and_others_kept(tmp_path):
    create_files(tmp_path, "dog/1-0001.wav", "dog/notes.txt")
    corpus = make_synthetic_corpus(tmp_path, random_state=0, **SHORT)
    assert len(read(tmp_path / "dog" / "1-0001.wav")) == 1600
    assert (tmp_path / "dog" / "notes.txt").exists()
    assert str(tmp_path / "dog" / "notes.txt") not in corpus.paths


def test_recording_can_be_one_sample_long(tmp_path):
    corpus = make_synthetic_corpus(tmp_path, n_per_class=1, duration=1e-6)
    assert [len(read(path)) for path in corpus.paths] == [1] * 8


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_per_class": 0},
        {"n_per_class": 2.5},
        {"n_groups": 0},
        {"duration": 0},
        {"duration": -1.0},
        {"duration": "5 s"},
        {"duration": float("nan")},
        {"duration": float("inf")},
        {"sample_rate": 4000},
        {"sample_rate": 22050.0},
        {"random_state": "seed"},
    ],
)
def test_invalid_parameter_is_named_and_nothing_is_written(tmp_path, parameters):
    (name,) = parameters
    with pytest.raises(ValueError, match=f"'{name}' parameter of make_synthetic_corpus must be"):
        make_synthetic_corpus(tmp_path / "corpus", **parameters)
    assert not (tmp_path / "corpus").exists()


def log_spectrogram(path):
    power = signal.spectrogram(read(path), nperseg=256)[2]  # (129, frames)
    return np.log(power[1:].reshape(32, 4, -1).mean(axis=1) + 1e-10)  # (bands, frames)


def test_averaged_spectra_distinguish_all_but_alarm_and_siren(corpus):
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


def test_clocks_tick_regularly_and_fires_do_not():
    def irregularity(name, seed):
        sound = SYNTHESISERS[name](np.random.default_rng(seed), 80000, 16000)
        loudness = np.abs(sound).reshape(-1, 160).max(axis=1)  # one value per 10 ms
        onsets, _ = signal.find_peaks(loudness, height=0.3 * loudness.max(), distance=3)
        return np.diff(onsets).std() / np.diff(onsets).mean()

    assert max(irregularity("clock", seed) for seed in range(8)) < 0.1
    assert min(irregularity("fire", seed) for seed in range(8)) > 0.3


def test_sites_sound_different(tmp_path):
    corpus = make_synthetic_corpus(
        tmp_path, n_per_class=9, n_groups=3, duration=2, sample_rate=8000, random_state=1
    )
    rain = [log_spectrogram(path) for path in np.array(corpus.paths)[corpus.target == "rain"]]
    means = np.array([bands.mean(axis=1) - bands.mean() for bands in rain])  # (files, bands)
    groups = corpus.groups[corpus.target == "rain"]
    centres = np.array([means[groups == group].mean(axis=0) for group in np.unique(groups)])
    within = means - centres[np.searchsorted(np.unique(groups), groups)]
    assert (centres - centres.mean(axis=0)).std() > 0.5 * within.std()
