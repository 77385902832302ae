"""Clips: every form of X, and sampled cuts of recordings."""

from collections import UserList, deque
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.utils._param_validation import InvalidParameterError
from sounds import noise, write

from sklearn_cpc import Clip, sample_clips
from sklearn_cpc.audio.clips import as_clips
from sklearn_cpc.audio.reading import UnreadableAudioError


class Annotation(NamedTuple):
    """A named tuple of a user."""

    file: str
    start: float
    length: float


def objects(rows):
    """Object array of shape (n_rows,)."""
    array = np.empty(len(rows), object)
    array[:] = rows
    return array


PATHS = ["a.wav", "b c.flac"]
FULL_CLIPS = [Clip("a.wav"), Clip("b c.flac")]
PATHS_AS = {
    "list": PATHS,
    "tuple": tuple(PATHS),
    "paths": [Path(path) for path in PATHS],
    "mixed str and Path": [PATHS[0], Path(PATHS[1])],
    "bytes": [path.encode() for path in PATHS],
    "string array": np.array(PATHS),
    "bytes array": np.array(PATHS, dtype="S"),
    "object array": np.array(PATHS, dtype=object),
    "object array of Path": objects([Path(path) for path in PATHS]),
    "list of NumPy strings": list(np.array(PATHS)),
    "column": np.array(PATHS, dtype=object)[:, None],
    "string column": np.array(PATHS)[:, None],
    "list of lists": [[path] for path in PATHS],
    "Series": pd.Series(PATHS, index=[7, 3]),
    "object Series": pd.Series(PATHS, dtype=object),
    "Series of Path": pd.Series([Path(path) for path in PATHS]),
    "categorical Series": pd.Series(PATHS, dtype="category"),
    "Index": pd.Index(PATHS),
    "frame": pd.DataFrame({"path": PATHS}),
    "frame of another name": pd.DataFrame({"file": PATHS}),
    "frame with more columns": pd.DataFrame({"label": ["x", "y"], "path": PATHS, "fold": [1, 2]}),
    "frame with another index": pd.DataFrame({"path": PATHS}, index=["x", "y"]),
    "clips": FULL_CLIPS,
}
ROWS = [("a.wav", 0.5, 2.0), ("a.wav", 3, 1)]
CUT_CLIPS = [Clip("a.wav", 0.5, 2.0), Clip("a.wav", 3.0, 1.0)]
FRAME = pd.DataFrame(ROWS, columns=["path", "onset", "duration"])
CLIPS_AS = {
    "tuples": ROWS,
    "lists": [list(row) for row in ROWS],
    "clips": CUT_CLIPS,
    "tuple of clips": tuple(CUT_CLIPS),
    "other named tuples": [Annotation(*row) for row in ROWS],
    "NumPy numbers": [("a.wav", np.float32(0.5), np.int64(2)), (Path("a.wav"), np.int8(3), Fraction(1))],
    "object array": np.array(ROWS, dtype=object),
    "object array of clips": objects(CUT_CLIPS),
    "Series of clips": pd.Series(CUT_CLIPS),
    "frame": FRAME,
    "frame in another order": FRAME[["duration", "path", "onset"]],
    "frame with more columns": FRAME.assign(label="x", channel=1, score=0.5, low_freq_hz=9.0),
    "frame of objects": FRAME.astype(object),
}


@pytest.mark.parametrize("X", PATHS_AS.values(), ids=PATHS_AS)
def test_paths_in_any_container(X):
    clips = as_clips(X)
    assert clips == FULL_CLIPS
    assert all(type(clip) is Clip and type(clip.path) is str for clip in clips)


@pytest.mark.parametrize("X", CLIPS_AS.values(), ids=CLIPS_AS)
def test_clips_in_any_container(X):
    clips = as_clips(X)
    assert clips == CUT_CLIPS
    assert all([type(part) for part in clip] == [str, float, float] for clip in clips)


def test_onset_and_duration_are_optional():
    X = ["a.wav", ("b.wav",), ("c.wav", 1.5), ("d.wav", 1.5, None), Clip("e.wav", duration=2.0)]
    assert as_clips(X) == [
        Clip("a.wav"),
        Clip("b.wav"),
        Clip("c.wav", 1.5),
        Clip("d.wav", 1.5),
        Clip("e.wav", 0.0, 2.0),
    ]
    assert as_clips(FRAME[["path", "onset"]]) == [Clip("a.wav", 0.5), Clip("a.wav", 3.0)]
    assert as_clips(FRAME[["path", "duration"]]) == [Clip("a.wav", 0.0, 2.0), Clip("a.wav", 0.0, 1.0)]


@pytest.mark.parametrize("missing", [None, np.nan])
def test_nan_duration_means_to_the_end(missing):
    frame = FRAME.assign(duration=[missing, 1.0])
    assert as_clips(frame) == [Clip("a.wav", 0.5, None), Clip("a.wav", 3.0, 1.0)]
    assert as_clips([("a.wav", 0.5, missing)]) == [Clip("a.wav", 0.5, None)]


NUMBERS = {
    "matrix": np.zeros((3, 4)),
    "float32": np.zeros((3, 4), np.float32),
    "integers": np.zeros((3, 4), int),
    "object matrix": np.zeros((3, 4), object),
    "lists": [[0.0, 1.0], [2.0, 3.0]],
    "arrays": [np.zeros(4), np.zeros(4)],
    "vector": np.zeros(3),
    "scalar": 3.0,
    "nothing": None,
    "cube": np.zeros((2, 3, 4)),
    "cube of strings": np.full((2, 3, 4), "a"),
    "empty matrix": np.zeros((0, 4)),
    "frame": pd.DataFrame(np.zeros((3, 4))),
    "one-column frame": pd.DataFrame(np.zeros((3, 1))),
    "Series": pd.Series([0.0, 1.0]),
}


@pytest.mark.parametrize("X", NUMBERS.values(), ids=NUMBERS)
def test_numbers_and_other_objects_are_not_clips(X):
    assert as_clips(X) is None


@pytest.mark.parametrize("X", ["a.wav", Path("a.wav"), b"a.wav"])
def test_single_path_is_refused_with_advice(X):
    with pytest.raises(TypeError, match=r"X is a single path, b?'a.wav'; put it in a list: \[b?'a.wav'\]"):
        as_clips(X)


@pytest.mark.parametrize("X", [[], (), np.array([], dtype=object), pd.Series([], dtype=str), FRAME[:0]])
def test_empty_X_is_refused(X):
    with pytest.raises(ValueError, match=r"X is empty \(n_samples=0\)"):
        as_clips(X)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (["a.wav", 1.5], "element 1 is 1.5 of type float"),
        ([1.5, "a.wav"], "element 0 is 1.5 of type float"),
        (["a.wav", None], "element 1 is None of type NoneType"),
        (["a.wav", ()], r"element 1 is \(\) of type tuple"),
        ([("a.wav", 0.0), (1.0, "b.wav")], r"element 1 is \(1.0, 'b.wav'\) of type tuple"),
        (pd.Series(["a.wav", "b.wav", np.nan]), "element 2 is nan of type float"),
        (np.array(["a.wav", 3], dtype=object), "element 1 is 3 of type int"),
    ],
)
def test_error_for_mixed_elements_gives_the_index(X, message):
    with pytest.raises(TypeError, match="X mixes recordings with something else: " + message):
        as_clips(X)


@pytest.mark.parametrize("onset", [-0.1, np.nan, np.inf, -np.inf])
def test_invalid_onset_names_the_file(onset):
    with pytest.raises(ValueError, match=f"element 1 of X, b.wav: onset={onset} s must be 0 or more"):
        as_clips(["a.wav", ("b.wav", onset)])


@pytest.mark.parametrize("duration", [0, -1.0, np.inf, -np.inf])
def test_invalid_duration_names_the_file(duration):
    with pytest.raises(ValueError, match=f"element 1 of X, b.wav: duration={float(duration)} s must be above 0"):
        as_clips(["a.wav", ("b.wav", 0.0, duration)])


@pytest.mark.parametrize("name", ["onset", "duration"])
@pytest.mark.parametrize("value", ["1.0", True, 1j, [1.0], pd.NA, pd.Timedelta(1)])
def test_non_numeric_times_name_the_file(name, value):
    with pytest.raises(TypeError, match=f"element 0 of X, a.wav: {name}=.* must be a number of seconds"):
        as_clips([("a.wav", value) if name == "onset" else ("a.wav", 0.0, value)])


def test_onset_of_none_is_refused():
    with pytest.raises(TypeError, match="onset=None must be a number of seconds"):
        as_clips([("a.wav", None, 1.0)])


def test_clip_with_more_than_three_entries_is_refused():
    with pytest.raises(ValueError, match=r"element 0 of X has 4 entries; a clip is \(path, onset, duration\)"):
        as_clips([("a.wav", 0.0, 1.0, "dog")])


def test_frame_without_path_column_is_refused():
    frame = pd.DataFrame({"sound": PATHS, "label": ["dog", "cat"]})
    with pytest.raises(TypeError, match=r"X has no column 'path' but \['sound', 'label'\]"):
        as_clips(frame)


TWO = {"start": [0.5, 3.0], "end": [2.5, 4.0]}
CUTS = pd.DataFrame({"file": ["a.wav", "a.wav"], **TWO})
OPENSOUNDSCAPE = pd.MultiIndex.from_frame(CUTS.set_axis(["file", "start_time", "end_time"], axis=1))
TABLES = {
    "start_time, end_time": CUTS.set_axis(["file", "start_time", "end_time"], axis=1),
    "OpenSoundscape": pd.DataFrame({"robin": [0, 1], "wren": [1, 0]}, index=OPENSOUNDSCAPE),
    "OpenSoundscape index": OPENSOUNDSCAPE,
    "BirdNET": CUTS.set_axis(["File", "Start (s)", "End (s)"], axis=1).assign(Confidence=0.9),
    "Raven": CUTS.set_axis(["Begin Path", "Begin Time (s)", "End Time (s)"], axis=1).assign(
        **{
            "Selection": 1,
            "View": "Spectrogram 1",
            "Begin File": "a.wav",
            "Low Freq (Hz)": 50.0,
            "Delta Time (s)": [2, 1],
        }
    ),
    "Raven with file offsets": pd.DataFrame(
        {
            "Begin File": ["a.wav", "a.wav"],
            "Begin Time (s)": [60.5, 63.0],
            "End Time (s)": [62.5, 64.0],
            "File Offset (s)": [0.5, 3.0],
        }
    ),
    "Audacity": CUTS.assign(label="x"),
    "crowsetta": CUTS.set_axis(["notated_path", "onset_s", "offset_s"], axis=1).assign(
        label="x", onset_sample=[8, 9], annot_path="a.csv"
    ),
    "upper case": CUTS.set_axis(["PATH", "ONSET", "OFFSET"], axis=1),
    "camel case": CUTS.set_axis(["filePath", "startTime", "endTime"], axis=1),
    "records": CUTS.to_dict("records"),
    "named tuples": list(CUTS.itertuples(index=False)),
    "named tuples with index": list(CUTS.itertuples()),
    "structured array": CUTS.assign(file=CUTS["file"].astype(object)).to_records(index=False),
    "end and duration": CUTS.assign(duration=[2.001, 1.0]),
}


@pytest.mark.parametrize("X", TABLES.values(), ids=TABLES)
def test_annotation_tables_are_understood(X):
    assert as_clips(X) == CUT_CLIPS


class ArrowTable:
    """The part of a pyarrow table that matters."""

    column_names = ["path", "start", "end"]
    columns = [object()] * 3

    def to_pylist(self):
        raise AssertionError

    def to_pydict(self):
        return {"path": ["a.wav", "a.wav"], **TWO}


class PolarsFrame:
    """The part of a polars frame that matters."""

    columns = ["path", "start", "end"]

    def to_dicts(self):
        return [{"path": "a.wav", "start": 0.5, "end": 2.5}, {"path": "a.wav", "start": 3.0, "end": 4.0}]


@pytest.mark.parametrize("X", [ArrowTable(), PolarsFrame()])
def test_tables_of_other_libraries_are_understood(X):
    assert as_clips(X) == CUT_CLIPS


def test_missing_end_means_to_the_end_of_the_recording():
    assert as_clips(CUTS.assign(end=[np.nan, 4.0])) == [Clip("a.wav", 0.5), Clip("a.wav", 3.0, 1.0)]


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (
            CUTS.rename(columns={"end": "stop_ms"}),
            "'stop_ms' that may be a time and is not used; rename it",
        ),
        (CUTS.rename(columns={"start": "clip_begin", "end": "x"}), "'clip_begin' that may be a time"),
        (CUTS[["file", "end"]], "'end' but none of onsets"),
        (CUTS.rename(columns={"start": "duration", "end": "offset"}), "'offset' but none of onsets"),
        (CUTS.assign(end=[2.5, 3.0]), "row 1 of X: end=3.0 must be greater than start=3.0"),
        (CUTS.assign(duration=[2.0, 1.5]), "row 1 of X: the columns 'duration' and 'end' do not agree"),
        (CUTS.assign(onset=[0.5, 2.0]), "row 1 of X: the columns 'onset' and 'start' do not agree"),
        (CUTS.assign(path=["a.wav", "b.wav"]), "row 1 of X: the columns 'path' and 'file' do not agree"),
        (CUTS.assign(end=["2.5", "4"]), "row 0 of X: end='2.5' must be a number of seconds"),
        (CUTS.assign(file=["a.wav", np.nan]), "row 1 of X: file=nan must be a path of a recording"),
        (CUTS.drop(columns="file"), r"no column 'path' but \['start', 'end'\]"),
        (pd.DataFrame({"label": ["x", "y"]}, index=PATHS), "if its index holds the paths, name the index 'path'"),
        (pd.DataFrame({"label": [0, 1]}, index=PATHS), "if its index holds the paths, name the index 'path'"),
        (pd.Series([0, 1], index=PATHS), "if its index holds the paths, name the index 'path'"),
        (pd.DataFrame({"x": [0, 1]}, index=OPENSOUNDSCAPE.set_names([None] * 3)), "if its index holds the paths"),
        ((path for path in PATHS), r"X is a generator, .*; pass list\(X\)"),
        (map(str, PATHS), r"X is a map, .*; pass list\(X\)"),
        (Path().glob("*"), r"; pass list\(X\)"),
        (set(PATHS), r"X is a set, .*; pass sorted\(X\)"),
        ({"path": PATHS}, r"X is a mapping; pass pandas.DataFrame\(X\)"),
    ],
)
def test_unclear_tables_and_containers_are_refused(X, message):
    with pytest.raises((TypeError, ValueError), match=message):
        as_clips(X)


def test_lazy_frames_are_refused():
    class LazyFrame:
        columns = ["path"]

        def collect(self):
            raise AssertionError

    with pytest.raises(TypeError, match=r"X is a LazyFrame that has not been computed; pass X.collect\(\)"):
        as_clips(LazyFrame())


def test_sequences_of_any_kind_hold_paths():
    assert as_clips(deque(PATHS)) == as_clips(UserList(PATHS)) == FULL_CLIPS


def test_named_index_holds_the_paths():
    assert as_clips(pd.DataFrame({"label": [0, 1]}, index=pd.Index(PATHS, name="path"))) == FULL_CLIPS


# sample_clips


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Recordings of 2.5, 1.0 and 0.25 seconds."""
    folder = tmp_path_factory.mktemp("recordings")
    return [write(folder / f"{n}.wav", noise(n)) for n in (20000, 8000, 2000)]


@pytest.mark.parametrize("method", ["even", "random"])
@pytest.mark.parametrize("n_per_file", [1, 2, 7, np.int64(3)])
def test_sampled_clips_lie_within_their_recordings(recordings, method, n_per_file):
    clips, index = sample_clips(recordings, n_per_file, duration=0.5, method=method, random_state=0)
    assert_array_equal(index, np.repeat([0, 1, 2], n_per_file))
    assert [clip.path for clip in clips] == [recordings[i] for i in index]
    assert as_clips(clips) == clips
    last = np.array([2.0, 0.5, 0.0])[index]
    onsets = np.array([clip.onset for clip in clips])
    assert ((onsets >= 0) & (onsets <= last)).all()
    assert {clip.duration for clip in clips} == {0.5}


def test_index_expands_labels_and_groups(recordings):
    clips, index = sample_clips(recordings, 2, duration=0.5)
    y = np.array(["dog", "cat", "dog"])
    assert y[index].tolist() == ["dog", "dog", "cat", "cat", "dog", "dog"]
    assert len(clips) == len(index)
    assert index.dtype.kind == "i"


def test_even_clips_span_the_recording(recordings):
    clips, _ = sample_clips(recordings[:1], 5, duration=0.5)
    assert [clip.onset for clip in clips] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert [clip.onset for clip in sample_clips(recordings[:1], 1)[0]] == [0.0]


def test_short_recordings_give_as_clips_the_entire_recording(recordings):
    for method in ("even", "random"):
        clips, _ = sample_clips(recordings[2:], 3, method=method, random_state=0)
        assert clips == [Clip(recordings[2], 0.0, 4.0)] * 3


def test_random_clips_depend_only_on_the_seed(recordings):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    once, again, other = (
        sample_clips(recordings, 4, duration=0.5, method="random", random_state=seed)[0]
        for seed in (0, np.random.RandomState(0), 1)
    )
    assert once == again
    assert once != other
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("container", [tuple, np.array, pd.Series, lambda paths: pd.DataFrame({"path": paths})])
def test_sample_clips_accepts_any_container(recordings, container):
    clips, index = sample_clips(container(recordings), 2, duration=0.5)
    assert (clips, index.tolist()) == (sample_clips(recordings, 2, duration=0.5)[0], [0, 0, 1, 1, 2, 2])


def test_duplicate_paths_are_sampled_separately(recordings):
    clips, index = sample_clips([recordings[0], recordings[0]], 2, duration=0.5)
    assert clips[:2] == clips[2:]
    assert index.tolist() == [0, 0, 1, 1]


def test_sample_clips_lists_all_unreadable_recordings(tmp_path, recordings):
    (tmp_path / "text.wav").write_text("text")
    bad = [str(tmp_path / "none.wav"), str(tmp_path / "text.wav")]
    with pytest.raises(UnreadableAudioError, match="2 of 3 recordings cannot be used") as caught:
        sample_clips([recordings[0], *bad, recordings[0], bad[0]], 2)
    assert list(caught.value.reasons) == bad
    assert "on_error" not in str(caught.value)  # not a parameter of sample_clips


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        *(
            (
                {name: value},
                InvalidParameterError,
                f"The '{name}' parameter of sample_clips must be .* Got {value!r}",
            )
            for name, values in {
                "n_per_file": [0, 1.5, "2"],
                "duration": [0, -1.0, "4 s", np.inf, np.nan],
                "method": ["odd", None],
                "random_state": ["seed"],
            }.items()
            for value in values
        ),
        ({"paths": np.zeros((2, 3))}, TypeError, "paths must be a sequence of paths of recordings"),
        ({"paths": [Clip("a.wav", 1.0)]}, TypeError, "paths must be a sequence of paths of recordings"),
        ({"paths": "a.wav"}, TypeError, "X is a single path, 'a.wav'; put it in a list"),
        ({"paths": []}, ValueError, "X is empty"),
    ],
)
def test_sample_clips_names_invalid_parameters(recordings, parameters, error, message):
    with pytest.raises(error, match=message):
        sample_clips(**{"paths": recordings, "n_per_file": 2, **parameters})
