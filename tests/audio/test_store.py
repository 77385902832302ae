"""The store: reading X, caching decoded files and cutting clips."""

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
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils._param_validation import InvalidParameterError
from sounds import RATE, noise, read_files, write

from sklearn_cpc import Clip, CPCTransformer, MFCCTransformer
from sklearn_cpc.audio import cache, store
from sklearn_cpc.audio.cache import StoredSamples
from sklearn_cpc.audio.reading import UnreadableAudioError, decode, read_audio
from sklearn_cpc.audio.store import AudioSource, trim_silence


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Six recordings of 1000 to 1500 samples. Do not modify."""
    folder = tmp_path_factory.mktemp("recordings")
    return [write(folder / f"{i}.wav", noise(1000 + 100 * i, seed=i)) for i in range(6)]


@pytest.fixture
def bad(tmp_path):
    """Paths of files that cannot be used, each for a different reason."""
    (tmp_path / "text.wav").write_text("text")
    (tmp_path / "empty.wav").touch()
    cut = write(tmp_path / "cut.wav", noise(1000))
    os.truncate(cut, 1000)
    nan = write(tmp_path / "nan.wav", np.full(100, np.nan), subtype="FLOAT")
    names = [tmp_path / name for name in ("none.wav", "text.wav", "empty.wav")]
    return [*map(str, names), str(tmp_path), cut, nan]


@pytest.fixture
def decoded(monkeypatch):
    """Paths and rates that have been decoded, in order."""
    calls = []

    def record(path, sample_rate, **options):
        calls.append((path, sample_rate))
        return decode(path, sample_rate, **options)

    monkeypatch.setattr(cache, "decode", record)
    return calls


@pytest.fixture(scope="module")
def on_disk(paths, tmp_path_factory):
    """The first recording, of 1000 samples, on disk and as an array."""
    folder = tmp_path_factory.mktemp("memory")
    return read_files(paths[:1], RATE, memory=folder)[0][paths[0]], read_audio(paths[0], RATE)


def read(X, rate=RATE, reset=True, estimator=None, **parameters):
    return AudioSource(estimator or MFCCTransformer(**parameters), X, rate, reset=reset).read()


def assert_same(samples, expected):
    assert len(samples) == len(expected)
    for one, other in zip(samples, expected, strict=True):
        assert_array_equal(one, other)


# Rows


def test_samples_are_in_the_order_of_the_paths(paths):
    recordings = read(paths, 4410)
    assert_same(recordings.samples, [read_audio(path, 4410) for path in paths])
    assert recordings.sample_rate == 4410
    assert recordings.dtype == np.float32
    assert_array_equal(recordings.readable, range(6))


@pytest.mark.parametrize("rate", [RATE, 4410])
def test_clip_is_cut_at_its_onset_and_duration(paths, rate):
    X = [Clip(paths[0], 0.05, 0.025), Clip(paths[0], 0.05), Clip(paths[0]), Clip(paths[0], duration=0.025)]
    whole = read_audio(paths[0], rate)
    onset, end = round(0.05 * rate), round(0.05 * rate) + round(0.025 * rate)
    expected = [whole[onset:end], whole[onset:], whole, whole[: round(0.025 * rate)]]
    assert_same(read(X, rate).samples, expected)


def test_clips_of_equal_duration_have_equal_length(paths):
    X = [Clip(paths[0], onset, 0.01) for onset in np.linspace(0, 0.1, 37)]
    assert {len(samples) for samples in read(X, 4410).samples} == {44}


def test_clips_are_cut_at_the_end_and_have_at_least_one_sample(paths):
    X = [Clip(paths[0], 0.1, 4.0), Clip(paths[0], 999 / RATE), Clip(paths[0], 0.0, 1e-9)]
    assert [len(samples) for samples in read(X).samples] == [200, 1, 1]


def test_clip_beyond_the_end_is_reported_with_both_times(paths):
    with pytest.raises(UnreadableAudioError) as caught:
        read([paths[0], Clip(paths[0], 0.125, 1.0), Clip(paths[1], 7.0)])
    assert caught.value.reasons == {
        paths[0]: "ends at 0.125 s, but a clip begins at 0.125 s.",
        paths[1]: "ends at 0.138 s, but a clip begins at 7.0 s.",
    }


def test_other_clips_of_the_same_file_remain_usable(paths):
    with pytest.warns(UserWarning, match="1 recordings cannot be used"):
        recordings = read([paths[0], Clip(paths[0], 9.0)], on_error="nan")
    assert_array_equal(recordings.readable, [0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_are_used_unchanged(dtype, decoded):
    X = noise(50, 3).T.astype(dtype)
    estimator = MFCCTransformer()
    recordings = read(X, estimator=estimator)
    assert_same(recordings.samples, X)
    assert recordings.dtype == dtype
    assert estimator.n_features_in_ == 50
    with pytest.raises(ValueError, match="50 features"):
        read(X[:, 1:], reset=False, estimator=estimator)
    assert decoded == []


FULL_SCALES = {"int8": 2**7, "int16": 2**15, ">i2": 2**15, "int32": 2**31, "uint8": 2**7, "uint16": 2**15}
CONTAINERS = {
    "array": np.asarray,
    "frame": pd.DataFrame,
    "nullable frame": lambda X: pd.DataFrame(X.astype(X.dtype.newbyteorder("="))).convert_dtypes(),
    "list": list,
    "Series of arrays": lambda X: pd.Series(list(X)),
    "frame of arrays": lambda X: pd.DataFrame({"samples": list(X)}),
    "tensor": lambda X: torch.tensor(X.astype(X.dtype.newbyteorder("="))),
    "list of tensors": lambda X: list(torch.tensor(X.astype(X.dtype.newbyteorder("=")))),
}


@pytest.mark.parametrize("dtype", FULL_SCALES)
@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_integers_are_scaled_by_the_full_scale_of_their_type(dtype, container):
    floats = np.round(noise(50, 3).T * 2**7) / 2**7  # exact in 8 bits
    floats[0, 0] = -1
    centre = FULL_SCALES[dtype] if dtype.startswith("u") else 0
    X = (floats * FULL_SCALES[dtype] + centre).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(read(container(X)).samples, floats)


INT16 = np.round(noise(50, 3).T * 2**15).astype(np.int16)
INT16[0, 0] = -(2**15)


@pytest.mark.parametrize("dtype", ["int64", "uint32", "uint64", object])
@pytest.mark.parametrize("container", [np.asarray, np.ndarray.tolist, pd.DataFrame, list])
def test_integers_whose_type_does_not_say_their_full_scale_are_refused(dtype, container):
    X = np.abs(INT16.astype(int)).astype(dtype)
    with pytest.raises(ValueError, match=r"X holds .*int.* as large as 32768, whose full scale is unknown"):
        read(container(X))


MIXED = {
    "frame of int16 and int32": pd.DataFrame(INT16).astype({3: "int32"}),
    "frame of int16 and floats": pd.DataFrame(INT16).astype({3: "float64"}),
    "frame of floats and Int16": pd.DataFrame(INT16).astype({3: "Int16", 4: "float32"}),
    "rows of int16 and floats": [INT16[0], noise(50).ravel()],
    "rows of int16 and int8": [INT16[0], INT16[1].astype("int8")],
}


@pytest.mark.parametrize("X", MIXED.values(), ids=MIXED)
def test_integers_mixed_with_other_types_are_refused(X):
    with pytest.raises(ValueError, match=r"X holds .* and .* numbers as large as .*, whose full scale is unknown"):
        read(X)


@pytest.mark.parametrize("dtype", ["int64", object])
def test_small_integers_of_an_unknown_full_scale_are_plain_numbers(dtype):
    X = np.array([[0, 1, -1, 2], [2, 1, 0, 0]], dtype)
    assert_same(read(X).samples, X.astype(float))


@pytest.mark.parametrize("shift", [0, 8])
def test_int32_that_holds_fewer_bits_is_reported(shift):
    with pytest.warns(UserWarning, match=r"X holds int32 numbers, .* silent; pass X.*'int16'.* X / 2\*\*23"):
        read(INT16.astype("int32") * 2**shift)


@pytest.mark.parametrize("dtype", [bool, "M8[s]", "m8[s]"])
@pytest.mark.parametrize("container", [np.asarray, pd.DataFrame, list])
def test_values_that_are_no_samples_are_refused(dtype, container):
    with pytest.raises(TypeError, match=r"X holds (bool|datetime64|timedelta64) values; samples are floats"):
        read(container(np.ones((3, 50), dtype)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("container", [lambda X: X, list])
def test_tensors_of_any_precision_are_used(dtype, container):
    X = torch.tensor(noise(50, 3).T).to(dtype).requires_grad_()
    assert_same(read(container(X)).samples, X.detach().double().numpy())


@pytest.mark.parametrize(
    "X",
    [
        [(np.zeros(9), 8000)],
        [None],
        [np.zeros((9, 2))],
        [np.zeros(9), None],
        [io.BytesIO(b"RIFF")],
        list(pd.DataFrame({"path": ["a.wav"], "onset": [0.0]}).iterrows()),
        pd.Series([(np.zeros(9), 8000)]),
        [object()],
    ],
)
def test_elements_that_are_no_recordings_are_named(X):
    with pytest.raises(TypeError, match=r"element [01] of X is .* of type \w+; every element must be a path,"):
        read(X)


def test_open_files_are_refused(paths):
    with open(paths[0], "rb") as file:
        with pytest.raises(TypeError, match=r"X is a BufferedReader, .*write it to a file and pass"):
            read(file)
        with pytest.raises(TypeError, match=r"element 0 of X is .* of type BufferedReader; every element must"):
            read([file])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (None, "X is None; pass paths"),
        (pd.DataFrame(), "without columns"),
        (pd.DataFrame(index=[1]), "without"),
    ],
)
def test_nothing_is_refused(X, message):
    with pytest.raises((TypeError, ValueError), match=message):
        read(X)


def test_clips_of_any_finite_length_are_cut_at_the_end(paths):
    (samples,) = read([Clip(paths[0], 0.1, 1.7e308)]).samples
    assert len(samples) == 200
    with pytest.raises(UnreadableAudioError, match=r"a clip begins at 1.7e\+308 s"):
        read([Clip(paths[0], 1.7e308, 1.0)])


@pytest.mark.parametrize("container", [list, tuple, pd.Series])
def test_rows_of_different_lengths_are_refused(container):
    with pytest.raises(ValueError, match="rows of different lengths, 5 to 9 samples; cut or pad them"):
        read(container([np.zeros(5), np.zeros(9)]))


def test_fit_on_recordings_resets_n_features_in(paths):
    estimator = MFCCTransformer()
    read(noise(50, 3).T, estimator=estimator)
    read(paths, estimator=estimator)
    assert not hasattr(estimator, "n_features_in_")


@pytest.mark.parametrize("X", [[["1.0"], [None]], np.zeros((2, 3, 4)), [], 3.0, None])
def test_X_of_neither_recordings_nor_numbers_is_an_error(X):
    with pytest.raises((ValueError, TypeError)):
        read(X)


def test_names_are_printable_paths_or_row_numbers(paths, tmp_path, small_chunks):
    odd = write(tmp_path / "two\nlines.wav")
    X = [paths[1], odd, Clip(paths[0], 0.01), paths[1]]
    source = AudioSource(MFCCTransformer(), X, RATE, reset=True)
    expected = [paths[1], repr(odd), paths[0], paths[1]]
    assert source.read().names == expected
    assert [clip.path for clip in source.clips] == [paths[1], odd, paths[0], paths[1]]
    for chunk in read_in_chunks(X):
        assert chunk.names == [expected[row] for row in chunk.rows]
    source = AudioSource(MFCCTransformer(), noise(50, 3).T, RATE, reset=True)
    assert source.clips is None
    assert source.read().names == ["row 0", "row 1", "row 2"]


def test_all_clips_beyond_the_end_are_named(paths):
    onsets = [float(onset) for onset in range(7, 37)]
    with pytest.raises(UnreadableAudioError) as caught:
        read([Clip(paths[0], 0.0, 0.05), *(Clip(paths[0], onset) for onset in onsets)])
    listed = ", ".join(map(str, onsets))
    assert caught.value.reasons == {paths[0]: f"ends at 0.125 s, but 30 clips begin at {listed} s."}


# Seeking

FORMATS = [("wav", "PCM_16"), ("wav", "FLOAT"), ("flac", "PCM_16"), ("aiff", "PCM_24"), ("w64", "PCM_16")]
FORMATS += [("caf", "PCM_16"), ("au", "ULAW"), ("rf64", "PCM_16")]


@pytest.mark.parametrize(("extension", "subtype"), FORMATS)
@pytest.mark.parametrize(("file_rate", "rate"), [(8000, 8000), (44100, 4410), (11025, 16000), (48000, 22050)])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_clips_read_by_seeking_equal_cuts_of_the_decoded_file(
    tmp_path, decoded, extension, subtype, file_rate, rate, n_channels
):
    path = write(tmp_path / f"a.{extension}", noise(20 * file_rate, n_channels), file_rate, subtype=subtype)
    onsets = [0.0, 0.013, 3.3333, 11.0, 19.9, 19.99]
    X = [Clip(path, onset, 0.25) for onset in onsets] + [Clip(path, 19.95)]
    samples = read(X, rate).samples
    assert decoded == []
    file = read_audio(path, rate)
    for clip, one in zip(X, samples, strict=True):
        start = round(clip.onset * rate)
        expected = file[start : None if clip.duration is None else start + round(clip.duration * rate)]
        assert len(one) == len(expected)
        assert_allclose(one, expected, rtol=0, atol=0 if rate == file_rate else 1e-6)


@pytest.mark.parametrize(
    "X",
    [
        lambda path: [path, Clip(path, 1.0, 0.1)],
        lambda path: [Clip(path, onset / 10, 0.1) for onset in range(15)],
    ],
    ids=["with the entire file", "most of the file"],
)
def test_file_that_is_mostly_used_is_decoded_once(tmp_path, decoded, X):
    path = write(tmp_path / "a.wav", noise(2 * RATE))
    read(X(path))
    assert decoded == [(path, RATE)]


@pytest.mark.parametrize("n_samples", [115_280, 115_279, 114_640])
def test_last_sample_of_clips_equals_that_of_the_decoded_file(tmp_path, n_samples):
    path = write(tmp_path / "a.wav", noise(n_samples), 48000)
    whole = read_audio(path, 44100)
    clips = [Clip(path, (len(whole) - n) / 44100) for n in (1, 10, 5000)]
    for clip in clips:
        (samples,) = AudioSource(MFCCTransformer(), [clip], 44100, reset=False).read().samples
        assert_allclose(samples, whole[-len(samples) :], rtol=0, atol=1e-6)


@pytest.mark.parametrize("extension", ["mp3", "ogg"])
def test_formats_that_seek_inexactly_are_decoded_from_the_beginning(tmp_path, decoded, extension):
    path = write(tmp_path / f"a.{extension}", noise(4 * RATE))
    read([Clip(path, 2.0, 0.1)])
    assert decoded == [(path, RATE)]


def test_file_is_decoded_from_the_beginning_if_resampling_would_drift(tmp_path, decoded):
    path = write(tmp_path / "a.wav", noise(20 * RATE))
    (samples,) = read([Clip(path, 15.0, 0.1)], 7919).samples
    assert decoded == [(path, 7919)]
    assert_array_equal(samples, read_audio(path, 7919)[15 * 7919 :][: len(samples)])


def test_file_is_decoded_once_with_memory_even_if_only_a_clip_is_used(tmp_path, decoded):
    path = write(tmp_path / "a.wav", noise(4 * RATE))
    read([Clip(path, 2.0, 0.1)], memory=tmp_path / "memory")
    assert decoded == [(path, RATE)]


@pytest.mark.parametrize("extension", ["wav", "flac"])
def test_truncated_file_is_reported_though_its_clip_is_complete(tmp_path, extension):
    path = write(tmp_path / f"a.{extension}", noise(20 * RATE))
    os.truncate(path, os.path.getsize(path) // 2)
    with pytest.raises(UnreadableAudioError, match="is damaged or cut short"):
        read([Clip(path, 1.0, 0.1)])


def test_clip_of_nan_is_reported(tmp_path):
    samples = noise(4 * RATE)
    samples[2 * RATE :] = np.nan
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    with pytest.raises(UnreadableAudioError, match="NaN"):
        read([Clip(path, 3.0, 0.1)])


def test_temporary_files_hold_the_clips_only(tmp_path, temporary, monkeypatch):
    monkeypatch.setenv("SKLEARN_CPC_RAM_GB", "1e-9")
    path = write(tmp_path / "a.wav", noise(20 * RATE))
    samples = read([Clip(path, 2.0, 0.5), Clip(path, 9.0, 0.25)]).samples
    file = read_audio(path, RATE)
    assert_same(samples, [file[16000:20000], file[72000:74000]])
    (scratch,) = temporary.rglob("*.f32")
    assert scratch.stat().st_size == 4 * 6000 + 4


# Sound that resampling or trimming discards


def high_tone(pitch, rate, offset=0.0):
    return 0.3 * np.sin(2 * np.pi * pitch * np.arange(rate) / rate) + offset


@pytest.mark.parametrize("offset", [0.0, 0.2])
@pytest.mark.parametrize("how", ["files", "clips", "memory"])
def test_lost_sound_is_reported_with_the_rate_to_set(tmp_path, offset, how):
    paths = [write(tmp_path / f"{i}.wav", high_tone(40_000 + i, 256_000, offset), 256_000) for i in range(3)]
    X = [Clip(path, 0.2, 0.3) for path in paths] if how == "clips" else paths
    with pytest.warns(
        UserWarning, match=r"3 of 3 recordings lose more than 99% .* set sample_rate=256000"
    ) as caught:
        read(X, 16_000, memory=tmp_path / "memory" if how == "memory" else None)
    assert len(caught) == 1


def test_lost_sound_is_reported_with_the_parameter_of_the_encoder(tmp_path):
    path = write(tmp_path / "a.wav", high_tone(40_000, 256_000), 256_000)
    with pytest.warns(UserWarning, match="set encoder__sample_rate=256000"):
        read([path], 16_000, estimator=CPCTransformer())


@pytest.mark.parametrize(
    "samples", [noise(RATE), high_tone(900, RATE), np.zeros(RATE)], ids=["noise", "tone", "0"]
)
def test_sound_that_is_kept_gives_no_warning(tmp_path, samples):
    path = write(tmp_path / "a.wav", samples)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".* digital silence")
        read([path], 2000)


def test_trimming_of_nearly_all_sound_is_reported(tmp_path):
    samples = 1e-3 * noise(10 * RATE)
    samples[RATE : RATE + 100] = 0.9
    recordings = read([write(tmp_path / "click.wav", samples), write(tmp_path / "click2.wav", samples)])
    with pytest.warns(UserWarning, match="trim=40 removes more than 90% of the sound as silence"):
        recordings.trimmed(40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recordings.trimmed(80)


# Files that cannot be used


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_all_unusable_files_are_listed_together(paths, bad, n_jobs):
    with pytest.raises(UnreadableAudioError) as caught:
        read([bad[0], *paths, *bad, Clip(bad[1], 1.0)], n_jobs=n_jobs)
    assert list(caught.value.reasons) == bad
    message = str(caught.value)
    assert f"{len(bad)} of {len(bad) + len(paths)} recordings cannot be used" in message
    assert "set on_error='nan' to keep their rows as NaN" in message
    for path, reason in zip(bad, ("does not", "not audio", "empty", "directory", "cut", "NaN"), strict=True):
        assert reason in caught.value.reasons[path]
        assert f"\n  {path}: " in message


def test_on_error_nan_keeps_rows_and_lists_unusable_files(paths, bad):
    with pytest.warns(UserWarning, match=f"{len(bad)} recordings cannot be used; their rows are NaN") as caught:
        recordings = read([*bad, *paths, bad[0]], on_error="nan")
    assert [samples is None for samples in recordings.samples] == [True] * 6 + [False] * 6 + [True]
    assert_array_equal(recordings.readable, range(6, 12))
    assert all(f"\n  {path}: " in str(caught[0].message) for path in bad)
    assert len(caught) == 1


def test_callable_on_error_gets_the_reasons_in_place_of_a_warning(paths, bad):
    reasons = {}
    recordings = read([*paths, *bad], on_error=reasons.update)
    assert_array_equal(recordings.readable, range(6))
    assert list(reasons) == [*bad]


@pytest.mark.parametrize("on_error", ["raise", "nan"])
def test_no_usable_file_is_an_error_for_any_on_error(bad, on_error):
    with pytest.raises(UnreadableAudioError, match="6 of 6 recordings cannot be used"):
        read(bad, on_error=on_error)


def test_good_files_give_no_warning(paths):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(paths, on_error="nan")


@pytest.mark.parametrize(("name", "value"), [("on_error", "skip"), ("n_jobs", 1.5), ("verbose", -1)])
def test_invalid_parameter_is_reported_before_anything_is_read(paths, decoded, name, value):
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of MFCCTransformer must be"):
        MFCCTransformer(**{name: value}).fit(paths)
    assert decoded == []


# Decoding once


def test_file_with_many_clips_is_decoded_once(paths, decoded):
    read([*paths, *paths, *(Clip(path, i / 100, 0.01) for path in paths for i in range(10))])
    assert decoded == [(path, RATE) for path in paths]


@pytest.mark.parametrize("n_jobs", [2, -1])
def test_number_of_threads_does_not_change_the_result(paths, n_jobs):
    samples, reasons = read_files([*paths, "none.wav"], 4410, n_jobs=n_jobs)
    expected, expected_reasons = read_files([*paths, "none.wav"], 4410)
    assert list(samples) == list(expected) == paths
    assert_same(samples.values(), expected.values())
    assert reasons == expected_reasons == {"none.wav": "does not exist."}


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading", "sequential"])
def test_threads_are_used_with_any_joblib_backend(paths, decoded, backend):
    with joblib.parallel_config(backend=backend, n_jobs=2):
        samples, _ = read_files(paths, RATE)
    assert list(samples) == paths
    assert len(decoded) == len(paths)


def test_memory_directory_keeps_samples_between_calls(paths, decoded, tmp_path):
    first, _ = read_files(paths, 4410, memory=str(tmp_path))
    assert len(decoded) == len(paths)
    second, _ = read_files(paths, 4410, memory=tmp_path, n_jobs=2)
    assert len(decoded) == len(paths)
    for path in paths:
        expected = read_audio(path, 4410)
        for samples in (first[path], second[path]):
            assert isinstance(samples, StoredSamples)
            assert len(samples) == len(expected)
            assert np.asarray(samples).dtype == np.float32
            assert_array_equal(samples, expected)


def test_cached_files_do_not_stay_open(paths, tmp_path):
    before = len(os.listdir("/dev/fd"))
    samples, _ = read_files(paths, RATE, memory=tmp_path)
    arrays = [np.asarray(samples[path]) for path in paths]
    assert len(arrays) == len(paths)
    assert len(os.listdir("/dev/fd")) <= before


@given(
    start=st.integers(-20, 1100), stop=st.integers(-20, 1100), then=st.integers(0, 1100), end=st.integers(0, 1100)
)
def test_stored_samples_are_sliced_like_arrays(on_disk, start, stop, then, end):
    samples, expected = on_disk
    assert_array_equal(np.array(samples[start:stop]), expected[start:stop])
    assert_array_equal(samples[start:stop][then:end], expected[start:stop][then:end])
    assert len(samples[start:stop]) == len(expected[start:stop])


def test_stored_samples_convert_to_arrays(on_disk):
    samples, expected = on_disk
    assert np.asarray(samples, dtype=np.float64).dtype == np.float64
    np.asarray(samples)[:] = 0
    assert_array_equal(samples, expected)
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(samples, copy=False)
    assert_array_equal(pickle.loads(pickle.dumps(samples[10:20])), expected[10:20])


def test_clips_are_the_same_with_and_without_memory(paths, tmp_path):
    X = [Clip(path, 0.01 * i, 0.05) for i, path in enumerate(paths)] + paths
    assert_same(read(X, 4410, memory=tmp_path).samples, read(X, 4410).samples)


def test_joblib_memory_keeps_samples_between_calls(paths, decoded, tmp_path, monkeypatch):
    memory = joblib.Memory(tmp_path, verbose=0)
    for _ in range(2):
        read_files(paths, RATE, memory=memory)
    assert decoded == []  # joblib caches a function that does not use cache.decode
    monkeypatch.setattr(cache, "read_audio", None)
    assert_same(read_files(paths, RATE, memory=memory)[0].values(), [read_audio(path, RATE) for path in paths])


def test_without_memory_files_are_decoded_in_every_call(paths, decoded):
    for _ in range(2):
        read_files(paths, RATE)
    assert len(decoded) == 2 * len(paths)


@pytest.mark.parametrize("memory", [3, True])
def test_invalid_memory_is_reported(paths, memory):
    with pytest.raises(InvalidParameterError, match="The 'memory' parameter of MFCCTransformer must be"):
        MFCCTransformer(memory=memory).fit(paths)


def test_each_sample_rate_is_cached_separately(paths, decoded, tmp_path):
    for rate in (4410, 2000, 4410, np.int64(2000)):
        read_files(paths[:1], rate, memory=tmp_path)
    assert [rate for _, rate in decoded] == [4410, 2000]


@pytest.mark.parametrize("what", ["size", "time"])
def test_changed_file_is_decoded_again(decoded, tmp_path, what):
    path, memory = write(tmp_path / "a.wav", noise(1000)), tmp_path / "memory"
    before = os.stat(path)
    read_files([path], RATE, memory=memory)
    write(path, noise(1000 if what == "time" else 1001, seed=1))
    later = 1 if what == "time" else 0
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + later))
    samples, _ = read_files([path], RATE, memory=memory)
    assert len(decoded) == 2
    assert_array_equal(samples[path], read_audio(path, RATE))


def test_relative_and_absolute_paths_share_one_entry(decoded, tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav")
    monkeypatch.chdir(tmp_path)
    for name in (path, "a.wav", os.path.join(".", "a.wav"), np.str_(path)):
        read_files([str(name)], RATE, memory=tmp_path / "memory")
    assert len(decoded) == 1


def test_bad_files_are_not_cached(decoded, tmp_path):
    path = tmp_path / "a.wav"
    path.write_text("text")
    _, reasons = read_files([str(path)], RATE, memory=tmp_path / "memory")
    assert list(reasons) == [str(path)]
    write(path)
    samples, _ = read_files([str(path)], RATE, memory=tmp_path / "memory")
    assert len(samples[str(path)]) == RATE


def test_removed_file_is_reported_though_it_is_cached(tmp_path):
    path = write(tmp_path / "a.wav")
    read_files([path], RATE, memory=tmp_path / "memory")
    os.remove(path)
    assert read_files([path], RATE, memory=tmp_path / "memory") == ({}, {path: "does not exist."})


def test_threads_can_fill_one_directory_at_once(paths, tmp_path):
    results = joblib.Parallel(n_jobs=8, backend="threading")(
        joblib.delayed(read_files)(paths, 4410, memory=tmp_path) for _ in range(16)
    )
    expected = [read_audio(path, 4410) for path in paths]
    for samples, reasons in results:
        assert_same(samples.values(), expected)
        assert reasons == {}


@pytest.mark.parametrize(("verbose", "shows"), [(0, False), (1, True), (2, True)])
@pytest.mark.parametrize("n_jobs", [None, 2])
def test_progress_bar_is_shown_if_verbose(paths, capsys, verbose, shows, n_jobs):
    read_files(paths, RATE, verbose=verbose, n_jobs=n_jobs)
    out, err = capsys.readouterr()
    assert out == ""
    assert "decoding" in err if shows else err == ""


def test_named_pipe_among_the_files_does_not_block(paths, tmp_path):
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
    """An empty folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_scratch_files_last_as_long_as_their_samples(paths, temporary, monkeypatch, n_jobs):
    monkeypatch.setenv("SKLEARN_CPC_RAM_GB", str(4 * 3200 / 1e9))  # the first three have 1000 to 1200 samples
    samples = read(paths, n_jobs=n_jobs).samples
    assert_same(samples, [read_audio(path, RATE) for path in paths])
    in_ram = sum(len(one) for one in samples if isinstance(one, np.ndarray))
    assert 0 < in_ram <= 3200
    (folder,) = (path for path in temporary.iterdir() if path.is_dir())
    assert len(list(folder.rglob("*.f32"))) == sum(isinstance(one, StoredSamples) for one in samples) > 0
    last = next(one for one in samples if isinstance(one, StoredSamples))[:10]
    del samples
    assert len(np.asarray(last)) == 10
    del last
    assert list(temporary.iterdir()) == []


def test_nothing_is_written_within_the_ram_budget(paths, temporary):
    assert all(isinstance(one, np.ndarray) for one in read(paths).samples)
    assert list(temporary.iterdir()) == []


def test_bad_recordings_leave_no_scratch_files(bad, temporary, monkeypatch):
    monkeypatch.setenv("SKLEARN_CPC_RAM_GB", "1e-9")
    with pytest.raises(UnreadableAudioError) as caught:
        read(bad)
    assert list(caught.value.reasons) == bad
    del caught
    gc.collect()  # frees the traceback
    assert list(temporary.iterdir()) == []


# Loud recordings


def scaled(folder, factors):
    """Recordings in float, multiplied by factors."""
    sounds = [factor * noise(2000, seed=i)[:, 0] for i, factor in enumerate(factors)]
    return [write(folder / f"{i}.wav", sound, subtype="FLOAT") for i, sound in enumerate(sounds)], np.array(sounds)


@pytest.mark.filterwarnings("ignore:.* digital silence")
@pytest.mark.parametrize("as_array", [False, True])
@pytest.mark.parametrize("factors", [[1, 1, 32768, 1, 1], [1e-3, 1, 32768, 1e-4, 1e-2]])
def test_recording_at_integer_scale_among_others_is_named(tmp_path, factors, as_array):
    paths, array = scaled(tmp_path, factors)
    with pytest.warns(UserWarning, match=r"1 of 5 recordings have samples far beyond full scale") as caught:
        read(array if as_array else paths)
    assert ("row 2 (" if as_array else "2.wav (") in str(caught[0].message)
    with pytest.warns(UserWarning, match="1 of 5 recordings"):
        MFCCTransformer(sample_rate=RATE).fit_transform(array if as_array else paths)


@pytest.mark.filterwarnings("ignore:.* digital silence")
@pytest.mark.parametrize("as_array", [False, True])
@pytest.mark.parametrize(
    "factors", [[32768] * 4, [1, 2, 0.01, 4], [1e-6, 1e-6, 1e-6, 4], [1e5, 1e6, 1e4, 1e5], [32768]]
)
def test_recordings_of_similar_levels_do_not_warn(tmp_path, factors, as_array):
    paths, array = scaled(tmp_path, factors)
    read(array if as_array else paths)


def test_recordings_of_digital_silence_are_named(tmp_path):
    antiphase = noise(RATE) * [[1.0, -1.0]]
    silent = [write(tmp_path / "a.wav", np.zeros(RATE)), write(tmp_path / "b.wav", antiphase, subtype="FLOAT")]
    loud = [write(tmp_path / "c.wav"), write(tmp_path / "d.wav", np.eye(RATE)[0] / 2**15)]
    with pytest.warns(UserWarning, match="^2 of 4 recordings are digital silence once mixed to mono: ") as caught:
        AudioSource(MFCCTransformer(), silent + loud, RATE, reset=False).read()
    assert len(caught) == 1
    assert all(path in str(caught[0].message) for path in silent)
    for _ in range(2):  # the second time from the cache, where levels are not known
        AudioSource(MFCCTransformer(memory=str(tmp_path / "memory")), loud, RATE, reset=False).read()


# Chunks


@pytest.fixture
def small_chunks(monkeypatch):
    """Set the chunk size to 2500 samples."""
    monkeypatch.setattr(store, "CHUNK_BYTES", 4 * 2500)


def read_in_chunks(X, **parameters):
    return list(AudioSource(MFCCTransformer(**parameters), X, RATE, reset=False).chunks())


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_chunks_together_equal_a_single_read(paths, small_chunks, n_jobs):
    X = [*paths, *(Clip(path, i / 100, 0.01) for path in paths for i in range(10))]
    whole, chunks = read(X).samples, read_in_chunks(X, n_jobs=n_jobs)
    rows = np.concatenate([chunk.rows for chunk in chunks])
    assert_array_equal(np.sort(rows), range(len(X)))
    samples = [one for chunk in chunks for one in chunk.samples]
    assert_same([samples[i] for i in np.argsort(rows)], whole)
    assert len(chunks) == 3  # of files of 1000 + 1100 + 1200, 1300 + 1400 and 1500 samples


def test_file_with_scattered_clips_is_decoded_once(paths, small_chunks, decoded):
    read_in_chunks([Clip(path, i / 100, 0.01) for i in range(10) for path in paths])
    assert [path for path, _ in decoded] == paths


def test_at_most_two_chunks_are_decoded_ahead(paths, monkeypatch, decoded):
    monkeypatch.setattr(store, "CHUNK_BYTES", 1)
    for n_used, _ in enumerate(AudioSource(MFCCTransformer(), paths, RATE, reset=False).chunks(), start=1):
        assert len(decoded) <= n_used + 2


def test_chunks_end_with_an_error_that_lists_all_bad_files(paths, bad, monkeypatch):
    monkeypatch.setattr(store, "CHUNK_BYTES", 1)
    with pytest.raises(UnreadableAudioError) as caught:
        read_in_chunks([*paths, *bad, *paths])
    assert list(caught.value.reasons) == bad
    used = []
    with pytest.raises(UnreadableAudioError):
        used.extend(AudioSource(MFCCTransformer(), [bad[0], *paths, bad[1]], RATE, reset=False).chunks())
    assert used == []  # a bad file comes first


def test_unusable_rows_are_none_in_every_chunk(paths, bad, small_chunks):
    X = [x for pair in zip(paths, bad, strict=True) for x in pair]
    with pytest.warns(UserWarning, match="6 recordings cannot be used; their rows are NaN"):
        chunks = read_in_chunks(X, on_error="nan")
    for chunk in chunks:
        assert [row % 2 == 0 for row in chunk.rows] == [samples is not None for samples in chunk.samples]


def test_closing_chunks_early_stops_decoding(paths, monkeypatch, decoded):
    monkeypatch.setattr(store, "CHUNK_BYTES", 1)
    chunks = AudioSource(MFCCTransformer(n_jobs=2), paths, RATE, reset=False).chunks()
    next(chunks)
    chunks.close()
    n_decoded = len(decoded)
    time.sleep(0.05)
    assert len(decoded) == n_decoded


# Trimming

FRAME = RATE // 50  # 20 ms


@settings(deadline=None)
@given(st.integers(0, 9 * FRAME), st.integers(1, 5 * FRAME), st.integers(0, 9 * FRAME))
def test_trimming_leaves_at_most_two_frames_of_silence(before, length, after):
    sound = noise(length)[:, 0] + np.sign(noise(length)[:, 0])  # nowhere near zero
    samples = np.concatenate([np.zeros(before), sound, np.zeros(after)])
    kept = trim_silence(samples, RATE, top_db=60)
    assert_array_equal(np.trim_zeros(kept), sound)
    start = np.flatnonzero(kept)[0]
    assert start <= 2 * FRAME
    assert len(kept) - start - length <= 2 * FRAME


@pytest.mark.parametrize(("top_db", "quiet_is_kept"), [(20, False), (40, True)])
def test_trimming_is_relative_to_the_loudest_frame(top_db, quiet_is_kept):
    loud, quiet = noise(20 * FRAME)[:, 0], noise(20 * FRAME, seed=1)[:, 0] * 10 ** (-30 / 20)
    for gain in (1, 1e-3):
        kept = trim_silence(gain * np.concatenate([quiet, loud, quiet]), RATE, top_db)
        assert len(kept) == 60 * FRAME if quiet_is_kept else 20 * FRAME <= len(kept) <= 22 * FRAME


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 20_000), st.sampled_from([50, 100, 1000, RATE]), st.integers(1, 80), st.integers(0, 99))
def test_trimming_equals_librosa(length, rate, top_db, seed):
    loudness = np.random.default_rng(seed).uniform(-5, 0, 1 + length // 500).repeat(500)[:length]
    samples = (10**loudness * noise(length, seed=seed)[:, 0]).astype(np.float32)
    hop = max(1, rate // 50)
    expected, _ = librosa.effects.trim(samples, top_db=top_db, frame_length=2 * hop, hop_length=hop)
    assert_array_equal(trim_silence(samples, rate, top_db), expected)


def test_pauses_are_not_trimmed():
    samples = np.concatenate([noise(1000)[:, 0], np.zeros(5000), noise(1000)[:, 0]])
    assert len(trim_silence(samples, RATE, 40)) == 7000


@pytest.mark.parametrize("length", [1, 2, FRAME - 1, FRAME, 2 * FRAME + 1, 5000])
@pytest.mark.parametrize("rate", [1, 40, RATE])
def test_pure_silence_and_constant_sound_are_not_trimmed(length, rate):
    for samples in (np.zeros(length, np.float32), np.ones(length, np.float32)):
        assert_array_equal(trim_silence(samples, rate, 40), samples)


def test_stored_samples_are_trimmed_on_disk(on_disk):
    file, samples = on_disk
    assert isinstance(trim_silence(file, RATE, 40), StoredSamples)
    assert_array_equal(trim_silence(file, RATE, 1), trim_silence(samples, RATE, 1))


def test_trimmed_returns_readable_rows(paths, bad):
    with pytest.warns(UserWarning, match="cannot be used"):
        recordings = read([paths[0], bad[0], paths[1]], on_error="nan")
    assert_same(recordings.trimmed(), [read_audio(path, RATE) for path in paths[:2]])
    assert_same(recordings.trimmed(1), [trim_silence(read_audio(path, RATE), RATE, 1) for path in paths[:2]])
