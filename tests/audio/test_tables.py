"""Annotation tables: which columns are used, ignored and refused."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sklearn_cpc import Clip
from sklearn_cpc.audio.clips import as_clips

PATHS = ["a.wav", "b.wav"]
FIRST, SECOND = [1.0, 3.0], [2.0, 4.0]
PAIRS = [
    "xmin/xmax",
    "t1/t2",
    "t0/t1",
    "pos/len",
    "hms/ms",
    "Anfang/Ende",
    "in/out",
    "first/last",
    "left/right",
    "lower/upper",
    "s/e",
    "t/dt",
    "x1/x2",
    "Début/Fin",
    "inicio/fin",
    "position/size",
    "0/1",
    "_1/_2",
    "Unnamed:0/Unnamed:1",
    "a/b",
    "lo/hi",
    "from_s/until_s",
    "mulai/akhir",
    "開始/終了",
    "minute/second",
    "tmin_a/tmax_a",
    "beg/fin",
    "t_i/t_f",
    "clip.0/clip.1",
]
ENDS = [
    "n_samples",
    "len",
    "width",
    "finish",
    "until",
    "till",
    "t2",
    "e_s",
    "size",
    "n_frames",
    "final",
    "1",
    "_3",
    "ende",
    "to_x",
    "samples",
    "dauer",
]
PASS = [
    "label",
    "class",
    "fold",
    "speaker",
    "split",
    "target",
    "site",
    "recording_id",
    "score",
    "confidence",
    "low_freq",
    "high_freq",
    "snr",
    "speakerId",
    "Low_Freq_(Hz)",
    "label_2",
    "class_id",
    "species",
    "year",
    "Channel",
    "Selection",
    "View",
    "probability",
    "sample_rate",
    "latitude",
    "index",
    "session",
]


def named(pair):
    return pair.replace("Unnamed:", "Unnamed: ").split("/")


@pytest.mark.parametrize("pair", PAIRS)
def test_columns_that_may_be_times_are_refused(pair):
    first, second = named(pair)
    X = pd.DataFrame({"path": PATHS, first: FIRST, second: SECOND})
    with pytest.raises(ValueError, match=r"X has a column .* that may be a time and is not used; rename it to"):
        as_clips(X)
    for rows in (X.to_dict("records"), [row for _, row in X.iterrows()], X.to_records(index=False)):
        with pytest.raises(ValueError, match="that may be a time"):
            as_clips(rows)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize(("first", "second"), [([0, 1], [1, 2]), (["1.5", "3"], ["0:02", "4 s"])])
def test_times_are_refused_as_integers_and_as_text(pair, first, second):
    names = named(pair)
    with pytest.raises(ValueError, match="that may be a time"):
        as_clips(pd.DataFrame({"path": PATHS, names[0]: first, names[1]: second}))


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("values", [SECOND, [1, 1], ["2.0", "4.0"], [np.nan, 4.0]])
def test_onsets_with_an_unknown_end_are_refused(name, values):
    X = pd.DataFrame({"path": PATHS, "onset": FIRST, name: values})
    with pytest.raises(ValueError, match=f"X has a column '{name}' that may be a time"):
        as_clips(X)


@pytest.mark.parametrize("name", PASS)
@pytest.mark.parametrize("values", [FIRST, [17, 18], ["1", "2"], ["x", "y"]])
def test_labels_and_measures_are_ignored(name, values):
    X = pd.DataFrame({"path": PATHS, name: values})
    assert as_clips(X) == [Clip("a.wav"), Clip("b.wav")]
    assert as_clips(X.assign(onset=FIRST)) == [Clip("a.wav", 1.0), Clip("b.wav", 3.0)]


@pytest.mark.parametrize("values", [[0, 1], [1.0, 0.0], [True, False], ["x", "y"], [-3.5, 2.0], [None, None]])
def test_columns_that_hold_no_times_are_ignored(values):
    X = pd.DataFrame({"path": PATHS, "robin": values, "wren": values})
    assert as_clips(X) == [Clip("a.wav"), Clip("b.wav")]


@pytest.mark.parametrize("values", [[timedelta(seconds=1), timedelta(0)], pd.array([1, None], "Int64")])
def test_time_differences_and_nullable_numbers_may_be_times(values):
    with pytest.raises(ValueError, match="X has a column 'call' that may be a time"):
        as_clips(pd.DataFrame({"path": PATHS, "call": values, "onset": FIRST}))


@pytest.mark.parametrize("name", [*ENDS, *PASS, "t1", "start_sample"])
def test_any_other_column_is_ignored_beside_onset_and_end(name):
    X = pd.DataFrame({"path": PATHS, "onset": FIRST, "end": SECOND, name: [5.0, 6.0]})
    assert as_clips(X) == [Clip("a.wav", 1.0, 1.0), Clip("b.wav", 3.0, 1.0)]


def test_named_tuples_that_lost_their_names_are_refused():
    raven = pd.DataFrame({"path": PATHS, "Begin Time (s)": FIRST, "End Time (s)": SECOND})
    with pytest.raises(ValueError, match="X has a column '_2' that may be a time"):
        as_clips(list(raven.itertuples()))


def test_times_in_the_index_are_not_ignored():
    X = pd.DataFrame({"path": PATHS, "onset": FIRST, "end": SECOND, "label": ["x", "y"]})
    clips = [Clip("a.wav", 1.0, 1.0), Clip("b.wav", 3.0, 1.0)]
    assert as_clips(X.set_index(["onset", "end"])) == clips
    assert as_clips(X.set_index(["onset", "end"])["path"]) == clips
    for names in (["path", "t1", "t2"], ["path", None, None]):
        with pytest.raises(ValueError, match="that may be a time"):
            as_clips(X.set_index(["path", "onset", "end"]).rename_axis(names))
    with pytest.raises(ValueError, match="the columns 'path' and 'file' do not agree"):
        as_clips(X.set_index(X["path"].rename("file"))["label"].rename("path"))


@pytest.mark.parametrize(
    ("one", "other", "used"),
    [
        ("orig/t.wav", "t.wav", "orig/t.wav"),
        ("t.wav", "orig/t.wav", "orig/t.wav"),
        ("./t.wav", "orig/t.wav", "orig/t.wav"),
        ("/data/orig/t.wav", "orig/t.wav", "/data/orig/t.wav"),
        ("C:\\data\\t.wav", "t.wav", "C:\\data\\t.wav"),
        ("orig/t.wav", Path("orig", "t.wav"), "orig/t.wav"),
        ("orig/t.wav", "denoised/t.wav", None),
        ("t.wav", "u.wav", None),
    ],
)
@pytest.mark.parametrize("names", [("path", "file_path"), ("Begin File", "Begin Path"), ("file", "notated_path")])
def test_path_columns_must_lead_to_the_same_file(one, other, used, names):
    X = pd.DataFrame({names[0]: [one], names[1]: [other]})
    if used is None:
        with pytest.raises(ValueError, match=r"row 0 of X: the columns .* and .* do not agree; drop one"):
            as_clips(X)
    else:
        assert as_clips(X) == [Clip(used)]


@pytest.mark.parametrize("value", [17, 1.5, None, np.nan])
def test_path_column_without_paths_is_refused(value):
    for columns in ({}, {"start": FIRST, "end": SECOND}, {"label": ["x", "y"]}):
        X = pd.DataFrame({"file": [value] * 2, **columns})
        for rows in (X, X.to_dict("records")):
            with pytest.raises(TypeError, match=r"row 0 of X: file=.* must be a path of a recording"):
                as_clips(rows)
    with pytest.raises(TypeError, match=r"element 0 of X has the path .*; it must be a path of a recording"):
        as_clips([Clip(value)])


@pytest.mark.parametrize("columns", [{}, {"bird": [0.0, 1.0]}, {"bird": [0.0, 1.0], "frog": [1.0, 0.0]}])
def test_index_of_paths_is_refused(columns):
    with pytest.raises(TypeError, match=r"if its index holds the paths, name the index 'path'.*X\.to_numpy\(\)"):
        as_clips(pd.DataFrame(columns, index=PATHS))


def test_samples_may_have_names_of_rows():
    assert as_clips(pd.DataFrame(np.zeros((2, 3)), index=["row a", "row b"])) is None


def test_rows_without_a_path_are_refused():
    with pytest.raises(TypeError, match=r"element 0 of X has no field 'path' but \['bird'\]"):
        as_clips([{"bird": 1.0}])


@pytest.mark.parametrize("dtype", ["Float64", object])
def test_missing_end_in_a_nullable_column_is_not_stated(dtype):
    X = pd.DataFrame({"path": PATHS, "onset": FIRST, "end": pd.array([pd.NA, 4.0], dtype)})
    assert as_clips(X) == [Clip("a.wav", 1.0), Clip("b.wav", 3.0, 1.0)]


@pytest.mark.parametrize("name", ["onset", "end"])
def test_infinite_time_is_refused_by_name(name):
    X = pd.DataFrame({"path": PATHS, "onset": FIRST, "end": SECOND}).assign(**{name: [0.5, np.inf]})
    with pytest.raises(ValueError, match=f"row 1 of X: {name}=inf must be finite"):
        as_clips(X)


def test_single_path_in_an_array_is_refused():
    with pytest.raises(TypeError, match=r"X is a single path, 'a.wav'; put it in a list"):
        as_clips(np.array("a.wav"))


def test_every_path_column_is_compared_with_the_fullest():
    X = pd.DataFrame({"path": ["t.wav"], "filename": ["orig/t.wav"], "file_path": ["denoised/t.wav"]})
    with pytest.raises(ValueError, match="the columns 'filename' and 'file_path' do not agree"):
        as_clips(X)
