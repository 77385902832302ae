"""Windows: they cover recordings as the parameters say, and no recording is lost."""

import re
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from corpus import small_cpc
from sounds import noise, write

from sklearn_cpc.archive import cut_windows
from sklearn_cpc.audio import reading
from sklearn_cpc.audio.reading import UnreadableAudioError

RATE = 1000


@pytest.fixture
def folder(tmp_path):
    """Three recordings: of 1.0, 2.5 and 0.3 seconds."""
    for name, seconds in (("a", 1.0), ("b", 2.5), ("c", 0.3)):
        write(tmp_path / f"{name}.wav", noise(round(seconds * RATE)), RATE)
    return tmp_path


def cut(folder, name, *args, **options):
    table = cut_windows([folder / f"{name}.wav"], *args, **options)
    assert list(table.columns) == ["path", "onset", "duration"]
    assert set(table["path"]) == {str(folder / f"{name}.wav")}
    return np.round(table[["onset", "duration"]].to_numpy(), 9).tolist()


def test_windows_cover_every_second_once(folder):
    assert cut(folder, "b", 1.0) == [[0, 1], [1, 1], [2, 0.5]]


def test_last_window_is_moved_back_on_request(folder):
    assert cut(folder, "b", 1.0, partial="shift") == [[0, 1], [1, 1], [1.5, 1]]


def test_last_window_is_dropped_on_request(folder):
    assert cut(folder, "b", 1.0, partial="drop") == [[0, 1], [1, 1]]


@pytest.mark.parametrize("partial", ["keep", "shift"])
def test_short_recording_gives_one_window_of_its_length(folder, partial):
    assert cut(folder, "c", 1.0, partial=partial) == [[0, 0.3]]


@pytest.mark.parametrize("partial", ["keep", "shift", "drop"])
def test_no_window_is_partial_if_all_fit(folder, partial):
    assert cut(folder, "a", 0.1, partial=partial) == [[round(0.1 * i, 9), 0.1] for i in range(10)]
    assert cut(folder, "a", 1.0, partial=partial) == [[0, 1]]


def test_overlapping_windows_stop_when_one_reaches_the_end(folder):
    assert cut(folder, "b", 1.0, 0.5) == [[0, 1], [0.5, 1], [1, 1], [1.5, 1]]
    assert cut(folder, "b", 1.0, 0.8) == [[0, 1], [0.8, 1], [1.6, 0.9]]


def test_long_hop_leaves_seconds_out(folder):
    assert cut(folder, "b", 0.5, 1.2) == [[0, 0.5], [1.2, 0.5], [2.4, 0.1]]
    assert cut(folder, "b", 0.5, 2.5) == [[0, 0.5]]


def test_windows_of_random_lengths_add_up(tmp_path):
    random = np.random.default_rng(0)
    for _ in range(50):
        n_samples, duration = int(random.integers(2, 4000)), random.uniform(0.01, 2)
        path = write(tmp_path / "x.wav", noise(n_samples), RATE)
        table = cut_windows([path], duration)
        ends = table["onset"] + table["duration"]
        assert np.allclose(ends[:-1], table["onset"][1:])
        assert abs(ends.iloc[-1] - n_samples / RATE) < 2e-3
        assert (table["duration"] > 1e-3 - 1e-9).all()


def test_order_is_that_of_recordings_and_repeats_count_once(folder):
    paths = [folder / "b.wav", str(folder / "a.wav"), str(folder / "b.wav")]
    table = cut_windows(paths, 2.0)
    assert [Path(path).name for path in table["path"]] == ["b.wav", "b.wav", "a.wav"]


def test_table_can_be_transformed_as_it_is(folder):
    table = cut_windows(sorted(folder.glob("*.wav")), 0.4)
    embeddings = small_cpc(max_epochs=0).fit(table).transform(table)
    assert len(embeddings) == len(table) == 11
    assert np.isfinite(embeddings).all()


def test_unusable_recordings_are_listed_together(folder):
    (folder / "empty.wav").write_bytes(b"")
    paths = [folder / "empty.wav", folder / "a.wav", folder / "missing.wav"]
    with pytest.raises(UnreadableAudioError, match="2 of 3 recordings cannot be used") as error:
        cut_windows(paths, 1.0)
    assert set(error.value.reasons) == {str(folder / "empty.wav"), str(folder / "missing.wav")}


def test_unusable_recordings_keep_a_row_on_request(folder):
    paths = [folder / "missing.wav", folder / "a.wav"]
    with pytest.warns(UserWarning, match=r"1 of 2 recordings cannot be used(.|\n)*missing.wav: does not exist"):
        table = cut_windows(paths, 0.5, on_error="nan")
    assert table["path"].tolist() == [str(paths[0]), str(paths[1]), str(paths[1])]
    assert table["duration"].isna().tolist() == [True, False, False]
    with pytest.raises(UnreadableAudioError, match=r"missing\.wav"):
        small_cpc().fit(table)


def test_headers_are_read_in_threads(folder, monkeypatch):
    both = threading.Barrier(2, timeout=10)

    def read(path):
        both.wait()
        return 1.0

    monkeypatch.setattr(reading, "read_duration", read)
    assert len(cut_windows([folder / "a.wav", folder / "b.wav"], 1.0, n_jobs=2)) == 2


def test_nothing_left_is_an_error(folder):
    with pytest.raises(ValueError, match=r"no recording lasts duration=9 s"):
        cut_windows([folder / "a.wav"], 9, partial="drop")


@pytest.mark.parametrize(
    ("paths", "options", "message"),
    [
        ("a.wav", {}, "X is a single path"),
        ([], {}, "X is empty"),
        ([1.0, 2.0], {}, "must be a sequence of paths"),
        ([("a.wav", 1.0, 2.0)], {}, "must be a sequence of paths"),
        (["a.wav"], {"duration": 0}, "duration"),
        (["a.wav"], {"hop": 0.0}, "hop"),
        (["a.wav"], {"partial": "pad"}, "partial"),
        (["a.wav"], {"on_error": "ignore"}, "on_error"),
    ],
)
def test_invalid_arguments_are_refused(paths, options, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        cut_windows(paths, **{"duration": 1.0, **options})


def test_table_has_plain_types(folder):
    table = cut_windows([folder / "a.wav"], 1.0)
    assert pd.api.types.is_string_dtype(table["path"])
    assert table.dtypes[["onset", "duration"]].tolist() == [np.float64, np.float64]
