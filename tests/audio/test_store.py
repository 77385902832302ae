"""The store: every file decoded once, whatever asks for it and however often."""

import contextlib
import gc
import io
import os
import pickle
import tempfile
import threading
import time
import warnings

import joblib
import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sounds import RATE, noise, read_files, write

from sklearn_cpc import Clip, MFCCTransformer
from sklearn_cpc.audio import cache, store
from sklearn_cpc.audio.cache import OnDisk
from sklearn_cpc.audio.reading import UnreadableAudioError, decode, read_audio
from sklearn_cpc.audio.store import Source, trimmed


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Six recordings of 1000 to 1500 samples. Not to be changed."""
    folder = tmp_path_factory.mktemp("recordings")
    return [write(folder / f"{i}.wav", noise(1000 + 100 * i, seed=i)) for i in range(6)]


@pytest.fixture
def bad(tmp_path):
    """Paths of files that cannot be used, each for a reason of its own."""
    (tmp_path / "text.wav").write_text("text")
    (tmp_path / "empty.wav").touch()
    cut = write(tmp_path / "cut.wav", noise(1000))
    os.truncate(cut, 1000)
    nan = write(tmp_path / "nan.wav", np.full(100, np.nan), subtype="FLOAT")
    names = [tmp_path / name for name in ("none.wav", "text.wav", "empty.wav")]
    return [*map(str, names), str(tmp_path), cut, nan]


@pytest.fixture
def decoded(monkeypatch):
    """Paths and rates that were decoded, as they come."""
    calls = []

    def counting(path, sample_rate):
        calls.append((path, sample_rate))
        return decode(path, sample_rate)

    monkeypatch.setattr(store, "decode", counting)
    return calls


@pytest.fixture(scope="module")
def on_disk(paths, tmp_path_factory):
    """The first recording, of 1000 samples, on disk and as an array."""
    folder = tmp_path_factory.mktemp("memory")
    return read_files(paths[:1], RATE, memory=folder)[0][paths[0]], read_audio(paths[0], RATE)


def read(X, rate=RATE, reset=True, estimator=None, **parameters):
    return Source(estimator or MFCCTransformer(**parameters), X, rate, reset=reset).read()


def assert_same(samples, expected):
    assert len(samples) == len(expected)
    for one, other in zip(samples, expected, strict=True):
        assert_array_equal(one, other)


# Rows


def test_paths_come_as_their_samples_in_order(paths):
    recordings = read(paths, 4410)
    assert_same(recordings.samples, [read_audio(path, 4410) for path in paths])
    assert recordings.rate == 4410
    assert recordings.dtype == np.float32
    assert_array_equal(recordings.readable, range(6))


@pytest.mark.parametrize("rate", [RATE, 4410])
def test_a_clip_is_the_stretch_it_names(paths, rate):
    X = [Clip(paths[0], 0.05, 0.025), Clip(paths[0], 0.05), Clip(paths[0]), Clip(paths[0], duration=0.025)]
    whole = read_audio(paths[0], rate)
    onset, end = round(0.05 * rate), round(0.05 * rate) + round(0.025 * rate)
    expected = [whole[onset:end], whole[onset:], whole, whole[: round(0.025 * rate)]]
    assert_same(read(X, rate).samples, expected)


def test_clips_of_one_duration_have_one_length_wherever_they_begin(paths):
    X = [Clip(paths[0], onset, 0.01) for onset in np.linspace(0, 0.1, 37)]
    assert {len(samples) for samples in read(X, 4410).samples} == {44}


def test_a_clip_holds_what_is_there_and_at_least_a_sample(paths):
    X = [Clip(paths[0], 0.1, 4.0), Clip(paths[0], 999 / RATE), Clip(paths[0], 0.0, 1e-9)]
    assert [len(samples) for samples in read(X).samples] == [200, 1, 1]


def test_a_clip_that_begins_after_the_end_names_the_file_and_both_times(paths):
    with pytest.raises(UnreadableAudioError) as caught:
        read([paths[0], Clip(paths[0], 0.125, 1.0), Clip(paths[1], 7.0)])
    assert caught.value.reasons == {
        paths[0]: "ends at 0.125 s, but a clip begins at 0.125 s.",
        paths[1]: "ends at 0.138 s, but a clip begins at 7.0 s.",
    }


def test_other_clips_of_the_same_file_are_kept_with_nan(paths):
    with pytest.warns(UserWarning, match="1 recordings cannot be used"):
        recordings = read([paths[0], Clip(paths[0], 9.0)], on_error="nan")
    assert_array_equal(recordings.readable, [0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_are_taken_as_they_are(dtype, decoded):
    X = noise(50, 3).T.astype(dtype)
    estimator = MFCCTransformer()
    recordings = read(X, estimator=estimator)
    assert_same(recordings.samples, X)
    assert recordings.dtype == dtype
    assert estimator.n_features_in_ == 50
    with pytest.raises(ValueError, match="50 features"):
        read(X[:, 1:], reset=False, estimator=estimator)
    assert decoded == []


def test_a_fit_on_recordings_forgets_the_width_of_arrays(paths):
    estimator = MFCCTransformer()
    read(noise(50, 3).T, estimator=estimator)
    read(paths, estimator=estimator)
    assert not hasattr(estimator, "n_features_in_")


@pytest.mark.parametrize("X", [[["1.0"], [None]], np.zeros((2, 3, 4)), [], 3.0, None])
def test_what_is_neither_is_an_error(X):
    with pytest.raises((ValueError, TypeError)):
        read(X)


# Files that cannot be used


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_all_files_that_cannot_be_used_are_listed_together(paths, bad, n_jobs):
    with pytest.raises(UnreadableAudioError) as caught:
        read([bad[0], *paths, *bad, Clip(bad[1], 1.0)], n_jobs=n_jobs)
    assert list(caught.value.reasons) == bad
    message = str(caught.value)
    assert f"{len(bad)} of {len(bad) + len(paths)} recordings cannot be used" in message
    assert "set on_error='nan' to keep their rows as NaN" in message
    for path, reason in zip(bad, ("does not", "not audio", "empty", "directory", "cut", "NaN"), strict=True):
        assert reason in caught.value.reasons[path]
        assert f"\n  {path}: " in message


def test_with_nan_their_rows_stay_and_a_warning_lists_them(paths, bad):
    with pytest.warns(UserWarning, match=f"{len(bad)} recordings cannot be used; their rows are NaN") as caught:
        recordings = read([*bad, *paths, bad[0]], on_error="nan")
    assert [samples is None for samples in recordings.samples] == [True] * 6 + [False] * 6 + [True]
    assert_array_equal(recordings.readable, range(6, 12))
    assert all(f"\n  {path}: " in str(caught[0].message) for path in bad)
    assert len(caught) == 1


@pytest.mark.parametrize("on_error", ["raise", "nan"])
def test_nothing_usable_at_all_is_an_error_either_way(bad, on_error):
    with pytest.raises(UnreadableAudioError, match="6 of 6 recordings cannot be used"):
        read(bad, on_error=on_error)


def test_without_bad_files_nothing_is_said(paths):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(paths, on_error="nan")


def test_an_unknown_way_with_errors_is_named_before_anything_is_read(paths, decoded):
    with pytest.raises(ValueError, match="on_error='skip' is unknown; use 'raise' or 'nan'"):
        read(paths, on_error="skip")
    assert decoded == []


# Decoding once


def test_a_file_is_decoded_once_however_many_clips_name_it(paths, decoded):
    read([*paths, *paths, *(Clip(path, i / 100, 0.01) for path in paths for i in range(10))])
    assert decoded == [(path, RATE) for path in paths]


@pytest.mark.parametrize("n_jobs", [2, -1])
def test_threads_give_the_same_as_one(paths, n_jobs):
    samples, reasons = read_files([*paths, "none.wav"], 4410, n_jobs=n_jobs)
    expected, expected_reasons = read_files([*paths, "none.wav"], 4410)
    assert list(samples) == list(expected) == paths
    assert_same(samples.values(), expected.values())
    assert reasons == expected_reasons == {"none.wav": "does not exist."}


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading", "sequential"])
def test_threads_decode_whatever_backend_joblib_is_set_to(paths, decoded, backend):
    with joblib.parallel_config(backend=backend, n_jobs=2):
        samples, _ = read_files(paths, RATE)
    assert list(samples) == paths
    assert len(decoded) == len(paths)


def test_in_a_directory_files_are_kept_between_calls_and_read_when_needed(paths, decoded, tmp_path):
    first, _ = read_files(paths, 4410, memory=str(tmp_path))
    assert len(decoded) == len(paths)
    second, _ = read_files(paths, 4410, memory=tmp_path, n_jobs=2)
    assert len(decoded) == len(paths)
    for path in paths:
        expected = read_audio(path, 4410)
        for samples in (first[path], second[path]):
            assert isinstance(samples, OnDisk)
            assert len(samples) == len(expected)
            assert np.asarray(samples).dtype == np.float32
            assert_array_equal(samples, expected)


def test_no_file_in_a_directory_stays_open(paths, tmp_path):
    before = len(os.listdir("/dev/fd"))
    samples, _ = read_files(paths, RATE, memory=tmp_path)
    arrays = [np.asarray(samples[path]) for path in paths]
    assert len(arrays) == len(paths)
    assert len(os.listdir("/dev/fd")) <= before


@given(
    start=st.integers(-20, 1100), stop=st.integers(-20, 1100), then=st.integers(0, 1100), end=st.integers(0, 1100)
)
def test_samples_on_disk_are_sliced_like_arrays(on_disk, start, stop, then, end):
    samples, expected = on_disk
    assert_array_equal(np.array(samples[start:stop]), expected[start:stop])
    assert_array_equal(samples[start:stop][then:end], expected[start:stop][then:end])
    assert len(samples[start:stop]) == len(expected[start:stop])


def test_samples_on_disk_become_arrays_of_any_type_and_are_copied_on_demand(on_disk):
    samples, expected = on_disk
    assert np.asarray(samples, dtype=np.float64).dtype == np.float64
    np.asarray(samples)[:] = 0
    assert_array_equal(samples, expected)
    with pytest.raises(ValueError, match="by being copied"):
        np.asarray(samples, copy=False)
    assert_array_equal(pickle.loads(pickle.dumps(samples[10:20])), expected[10:20])


def test_clips_of_files_in_a_directory_are_those_of_files_in_memory(paths, tmp_path):
    X = [Clip(path, 0.01 * i, 0.05) for i, path in enumerate(paths)] + paths
    assert_same(read(X, 4410, memory=tmp_path).samples, read(X, 4410).samples)


def test_a_memory_of_joblib_does_as_well(paths, decoded, tmp_path, monkeypatch):
    memory = joblib.Memory(tmp_path, verbose=0)
    for _ in range(2):
        read_files(paths, RATE, memory=memory)
    assert decoded == []  # but by joblib's own function
    monkeypatch.setattr(store, "read_audio", None)
    assert_same(read_files(paths, RATE, memory=memory)[0].values(), [read_audio(path, RATE) for path in paths])


def test_without_memory_nothing_is_kept(paths, decoded):
    for _ in range(2):
        read_files(paths, RATE)
    assert len(decoded) == 2 * len(paths)


@pytest.mark.parametrize("memory", [3, True])
def test_a_memory_that_is_none_is_named(paths, memory):
    with pytest.raises(ValueError, match="'memory' should be None"):
        read_files(paths, RATE, memory=memory)


def test_another_rate_is_decoded_anew_and_kept_beside(paths, decoded, tmp_path):
    for rate in (4410, 2000, 4410, np.int64(2000)):
        read_files(paths[:1], rate, memory=tmp_path)
    assert [rate for _, rate in decoded] == [4410, 2000]


@pytest.mark.parametrize("what", ["size", "time"])
def test_a_changed_file_is_decoded_anew(decoded, tmp_path, what):
    path, memory = write(tmp_path / "a.wav", noise(1000)), tmp_path / "memory"
    before = os.stat(path)
    read_files([path], RATE, memory=memory)
    write(path, noise(1000 if what == "time" else 1001, seed=1))
    later = 1 if what == "time" else 0
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + later))
    samples, _ = read_files([path], RATE, memory=memory)
    assert len(decoded) == 2
    assert_array_equal(samples[path], read_audio(path, RATE))


def test_the_same_file_by_another_name_of_its_folder_is_known(decoded, tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav")
    monkeypatch.chdir(tmp_path)
    for name in (path, "a.wav", os.path.join(".", "a.wav"), np.str_(path)):
        read_files([str(name)], RATE, memory=tmp_path / "memory")
    assert len(decoded) == 1


def test_bad_files_are_tried_again(decoded, tmp_path):
    path = tmp_path / "a.wav"
    path.write_text("text")
    _, reasons = read_files([str(path)], RATE, memory=tmp_path / "memory")
    assert list(reasons) == [str(path)]
    write(path)
    samples, _ = read_files([str(path)], RATE, memory=tmp_path / "memory")
    assert len(samples[str(path)]) == RATE


def test_a_removed_file_is_missed_though_it_is_in_the_directory(tmp_path):
    path = write(tmp_path / "a.wav")
    read_files([path], RATE, memory=tmp_path / "memory")
    os.remove(path)
    assert read_files([path], RATE, memory=tmp_path / "memory") == ({}, {path: "does not exist."})


def test_threads_may_fill_one_directory_at_once(paths, tmp_path):
    results = joblib.Parallel(n_jobs=8, backend="threading")(
        joblib.delayed(read_files)(paths, 4410, memory=tmp_path) for _ in range(16)
    )
    expected = [read_audio(path, 4410) for path in paths]
    for samples, reasons in results:
        assert_same(samples.values(), expected)
        assert reasons == {}


def reading_in_a_worker(paths, memory):
    """Read verbosely; returns the samples, what was shown, and the warnings."""
    shown = io.StringIO()
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stderr(shown):
        warnings.simplefilter("always")
        samples, _ = read_files(paths, RATE, memory=memory, verbose=1)
    return [np.array(samples[path]) for path in paths], shown.getvalue(), [str(w.message) for w in caught]


def test_processes_may_fill_one_directory_at_once_and_show_no_bars(paths, tmp_path):
    results = joblib.Parallel(n_jobs=2, backend="loky")(
        joblib.delayed(reading_in_a_worker)(paths, tmp_path) for _ in range(6)
    )
    expected = [read_audio(path, RATE) for path in paths]
    for samples, shown, caught in results:
        assert_same(samples, expected)
        assert shown == ""
        assert caught == []


@pytest.mark.parametrize(("verbose", "shows"), [(0, False), (1, True), (2, True)])
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_bar_is_shown_when_asked_for(paths, capsys, verbose, shows, n_jobs):
    read_files(paths, RATE, verbose=verbose, n_jobs=n_jobs)
    out, err = capsys.readouterr()
    assert out == ""
    assert "decoding" in err if shows else err == ""


def test_a_named_pipe_among_the_files_is_listed_and_nothing_waits(paths, tmp_path):
    pipe = str(tmp_path / "pipe.wav")
    os.mkfifo(pipe)
    results = []
    waiting = threading.Thread(target=lambda: results.append(read_files([*paths, pipe], RATE)), daemon=True)
    waiting.start()
    waiting.join(timeout=10)
    assert results[0][1] == {pipe: "is not a regular file."}


# Budgets


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files, empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_what_exceeds_the_budget_of_ram_lies_on_disk_for_as_long_as_it_is_used(
    paths, temporary, monkeypatch, n_jobs
):
    monkeypatch.setenv("SKLEARN_CPC_RAM_GB", str(4 * 3200 / 1e9))  # the first three have 1000 to 1200 samples
    samples = read(paths, n_jobs=n_jobs).samples
    assert_same(samples, [read_audio(path, RATE) for path in paths])
    in_ram = sum(len(one) for one in samples if isinstance(one, np.ndarray))
    assert 0 < in_ram <= 3200
    (folder,) = temporary.iterdir()
    assert len(list(folder.rglob("*.f32"))) == sum(isinstance(one, OnDisk) for one in samples) > 0
    last = next(one for one in samples if isinstance(one, OnDisk))[:10]
    del samples
    assert len(np.asarray(last)) == 10
    del last
    assert list(temporary.iterdir()) == []


def test_within_the_budget_nothing_is_written(paths, temporary):
    assert all(isinstance(one, np.ndarray) for one in read(paths).samples)
    assert list(temporary.iterdir()) == []


def test_bad_recordings_leave_nothing_in_the_temporary_folder(bad, temporary, monkeypatch):
    monkeypatch.setenv("SKLEARN_CPC_RAM_GB", "1e-9")
    with pytest.raises(UnreadableAudioError) as caught:
        read(bad)
    assert list(caught.value.reasons) == bad
    del caught
    gc.collect()  # of the traceback
    assert list(temporary.iterdir()) == []


def test_a_full_disk_is_warned_of_and_the_recordings_stay_in_ram(paths, temporary, monkeypatch):
    def full(file, blocks):
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("SKLEARN_CPC_RAM_GB", "1e-9")
    monkeypatch.setattr(cache, "write", full)
    with pytest.warns(UserWarning, match=r"6 of 6 .* in the temporary folder .*temporary' .*No space left"):
        recordings = read(paths)
    assert_same(recordings.samples, [read_audio(path, RATE) for path in paths])


# Parts


@pytest.fixture
def small_parts(monkeypatch):
    """Make parts of 2500 samples."""
    monkeypatch.setattr(store, "PART", 4 * 2500)


def parts_of(X, **parameters):
    return list(Source(MFCCTransformer(**parameters), X, RATE, reset=False).parts())


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_parts_together_are_the_whole_and_hold_about_so_much(paths, small_parts, n_jobs):
    X = [*paths, *(Clip(path, i / 100, 0.01) for path in paths for i in range(10))]
    whole, parts = read(X).samples, parts_of(X, n_jobs=n_jobs)
    rows = np.concatenate([part.rows for part in parts])
    assert_array_equal(np.sort(rows), range(len(X)))
    samples = [one for part in parts for one in part.samples]
    assert_same([samples[i] for i in np.argsort(rows)], whole)
    assert len(parts) == 3  # of files of 1000 + 1100 + 1200, 1300 + 1400 and 1500 samples


def test_a_file_is_decoded_once_though_its_clips_are_scattered(paths, small_parts, decoded):
    parts_of([Clip(path, i / 100, 0.01) for i in range(10) for path in paths])
    assert [path for path, _ in decoded] == paths


def test_no_more_than_two_parts_are_decoded_ahead_of_their_use(paths, monkeypatch, decoded):
    monkeypatch.setattr(store, "PART", 1)
    for n_used, _ in enumerate(Source(MFCCTransformer(), paths, RATE, reset=False).parts(), start=1):
        assert len(decoded) <= n_used + 2


def test_all_bad_recordings_are_listed_though_parts_have_been_used(paths, bad, monkeypatch):
    monkeypatch.setattr(store, "PART", 1)
    with pytest.raises(UnreadableAudioError) as caught:
        parts_of([*paths, *bad, *paths])
    assert list(caught.value.reasons) == bad
    used = []
    with pytest.raises(UnreadableAudioError):
        used.extend(Source(MFCCTransformer(), [bad[0], *paths, bad[1]], RATE, reset=False).parts())
    assert used == []  # a bad one is known before


def test_what_is_bad_has_nan_in_whatever_part_it_comes(paths, bad, small_parts):
    X = [x for pair in zip(paths, bad, strict=True) for x in pair]
    with pytest.warns(UserWarning, match="6 recordings cannot be used; their rows are NaN"):
        parts = parts_of(X, on_error="nan")
    for part in parts:
        assert [row % 2 == 0 for row in part.rows] == [samples is not None for samples in part.samples]


def test_who_stops_in_the_middle_waits_for_no_more_than_what_is_under_way(paths, monkeypatch, decoded):
    monkeypatch.setattr(store, "PART", 1)
    parts = Source(MFCCTransformer(n_jobs=2), paths, RATE, reset=False).parts()
    next(parts)
    parts.close()
    n_decoded = len(decoded)
    time.sleep(0.05)
    assert len(decoded) == n_decoded


# Trimming

FRAME = RATE // 50  # 20 ms


@settings(deadline=None)
@given(st.integers(0, 9 * FRAME), st.integers(1, 5 * FRAME), st.integers(0, 9 * FRAME))
def test_only_silence_at_the_ends_is_trimmed_and_all_but_two_frames_of_it(before, length, after):
    sound = noise(length)[:, 0] + np.sign(noise(length)[:, 0])  # nowhere near zero
    samples = np.concatenate([np.zeros(before), sound, np.zeros(after)])
    kept = trimmed(samples, RATE, top_db=60)
    assert_array_equal(np.trim_zeros(kept), sound)
    start = np.flatnonzero(kept)[0]
    assert start <= 2 * FRAME
    assert len(kept) - start - length <= 2 * FRAME


@pytest.mark.parametrize(("top_db", "quiet_is_kept"), [(20, False), (40, True)])
def test_what_is_quiet_is_trimmed_relative_to_the_loudest(top_db, quiet_is_kept):
    loud, quiet = noise(20 * FRAME)[:, 0], noise(20 * FRAME, seed=1)[:, 0] * 10 ** (-30 / 20)
    for gain in (1, 1e-3):
        kept = trimmed(gain * np.concatenate([quiet, loud, quiet]), RATE, top_db)
        assert len(kept) == 60 * FRAME if quiet_is_kept else 20 * FRAME <= len(kept) <= 22 * FRAME


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 20_000), st.sampled_from([50, 100, 1000, RATE]), st.integers(1, 80), st.integers(0, 99))
def test_trimming_is_that_of_librosa(length, rate, top_db, seed):
    loudness = np.random.default_rng(seed).uniform(-5, 0, 1 + length // 500).repeat(500)[:length]
    samples = (10**loudness * noise(length, seed=seed)[:, 0]).astype(np.float32)
    hop = max(1, rate // 50)
    expected, _ = librosa.effects.trim(samples, top_db=top_db, frame_length=2 * hop, hop_length=hop)
    assert_array_equal(trimmed(samples, rate, top_db), expected)


def test_a_pause_is_no_end():
    samples = np.concatenate([noise(1000)[:, 0], np.zeros(5000), noise(1000)[:, 0]])
    assert len(trimmed(samples, RATE, 40)) == 7000


@pytest.mark.parametrize("length", [1, 2, FRAME - 1, FRAME, 2 * FRAME + 1, 5000])
@pytest.mark.parametrize("rate", [1, 40, RATE])
def test_silence_and_whole_sounds_of_any_length_stay_as_they_are(length, rate):
    for samples in (np.zeros(length, np.float32), np.ones(length, np.float32)):
        assert_array_equal(trimmed(samples, rate, 40), samples)


def test_what_is_on_disk_is_trimmed_there(on_disk):
    file, samples = on_disk
    assert isinstance(trimmed(file, RATE, 40), OnDisk)
    assert_array_equal(trimmed(file, RATE, 1), trimmed(samples, RATE, 1))


def test_usable_samples_are_those_of_the_readable_rows_trimmed_if_asked(paths, bad):
    with pytest.warns(UserWarning, match="cannot be used"):
        recordings = read([paths[0], bad[0], paths[1]], on_error="nan")
    assert_same(recordings.usable(), [read_audio(path, RATE) for path in paths[:2]])
    assert_same(recordings.usable(1), [trimmed(read_audio(path, RATE), RATE, 1) for path in paths[:2]])
