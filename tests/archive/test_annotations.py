"""Annotations: tables of other programs are read in full or refused, and what is written is read back."""

import builtins
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sounds import noise, write

from sklearn_cpc.archive import read_annotations, write_annotations

RAVEN = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"


def save(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def rows_of(table):
    assert list(table.columns) == ["path", "onset", "duration", "label"]
    times = table[["onset", "duration"]].to_numpy().round(6)
    labels = [None if pd.isna(label) else label for label in table["label"]]
    return list(zip(table["path"], *times.T.tolist(), labels, strict=True))


@pytest.fixture
def audio(tmp_path):
    """Two recordings of two seconds at 8 kHz."""
    return [write(tmp_path / name, noise(16000)) for name in ("dawn.wav", "dusk.wav")]


# Raven


def test_raven_table_beside_its_recording(tmp_path, audio):
    text = f"{RAVEN}\tSpecies\n1\tSpectrogram 1\t1\t0.5\t0.75\t100\t900\twren\n2\tSpectrogram 1\t1\t1\t2\t0\t9\t\n"
    table = read_annotations(save(tmp_path / "dawn.Table.1.selections.txt", text))
    assert rows_of(table) == [(audio[0], 0.5, 0.25, "wren"), (audio[0], 1, 1, None)]


def test_raven_selections_in_several_views_count_once(tmp_path, audio):
    lines = [
        f"{number}\t{view} 1\t1\t{number}\t2.5\t0\t9\n"
        for number in (1, 2)
        for view in ("Waveform", "Spectrogram")
    ]
    table = read_annotations(save(tmp_path / "dawn.txt", RAVEN + "\n" + "".join(lines)))
    assert rows_of(table) == [(audio[0], 1, 1.5, None), (audio[0], 2, 0.5, None)]


def test_raven_tables_that_were_joined_keep_all_selections(tmp_path, audio):
    text = f"{RAVEN}\tBegin File\n1\tS\t1\t0\t1\t0\t9\tdawn.wav\n1\tS\t1\t0\t1\t0\t9\tdusk.wav\n"
    assert read_annotations(save(tmp_path / "all.txt", text))["path"].tolist() == audio


def test_raven_times_of_a_list_of_files_count_from_each_file(tmp_path, audio):
    text = f"{RAVEN}\tBegin File\tFile Offset (s)\n1\tSpectrogram 1\t1\t2.5\t3.0\t0\t9\tdusk.wav\t0.5\n"
    assert rows_of(read_annotations(save(tmp_path / "list.txt", text))) == [(audio[1], 0.5, 0.5, None)]


def test_raven_paths_of_another_machine_are_found_beside_the_table(tmp_path, audio):
    path = "C:\\Users\\me\\dusk.wav"
    text = f"{RAVEN}\tBegin Path\tBegin File\n1\tS\t1\t0\t1\t0\t9\t{path}\tdusk.wav\n"
    assert rows_of(read_annotations(save(tmp_path / "table.txt", text))) == [(audio[1], 0, 1, None)]
    moved = save(tmp_path / "elsewhere" / "table.txt", text)
    assert rows_of(read_annotations(moved)) == [(path, 0, 1, None)]
    assert rows_of(read_annotations(moved, recordings=audio)) == [(audio[1], 0, 1, None)]


def test_selection_across_two_files_is_refused(tmp_path, audio):
    text = f"{RAVEN}\tBegin File\tEnd File\n1\tS\t1\t1.5\t2.5\t0\t9\tdawn.wav\tdusk.wav\n"
    with pytest.raises(ValueError, match=r"table\.txt: row 0 of X: the columns .* do not agree"):
        read_annotations(save(tmp_path / "table.txt", text))


def test_quotes_and_missing_words_in_labels_stay_as_they_are(tmp_path, audio):
    labels = ['"wren', "it's", "NA", "null", "1", "Zaunkönig 🐦", " two words "]
    lines = "".join(f"{i + 1}\tS\t1\t{i}\t{i + 1}\t0\t9\t{label}\n" for i, label in enumerate(labels))
    table = read_annotations(save(tmp_path / "dawn.txt", f"\ufeff{RAVEN}\tAnnotation\r\n{lines}"))
    assert table["label"].tolist() == labels


def test_column_of_labels_can_be_named(tmp_path, audio):
    path = save(tmp_path / "dawn.txt", f"{RAVEN}\tType\tWho\n1\tS\t1\t0\t1\t0\t9\tcall\tme\n")
    assert read_annotations(path)["label"].tolist() == ["call"]
    assert read_annotations(path, label_column="Who")["label"].tolist() == ["me"]
    with pytest.raises(ValueError, match="label_column='Whom' is none of its columns"):
        read_annotations(path, label_column="Whom")


# Audacity


def test_audacity_labels_beside_their_recording(tmp_path, audio):
    text = "0.500000\t0.750000\twren\n\\\t200.0\t4000.0\n1.0\t2.0\t\n"
    table = read_annotations(str(save(tmp_path / "dusk.txt", text)))
    assert rows_of(table) == [(audio[1], 0.5, 0.25, "wren"), (audio[1], 1, 1, None)]


def test_audacity_labels_of_a_given_recording(tmp_path, audio):
    path = save(tmp_path / "labels" / "my labels.txt", "0.5\t0.75\twren\n")
    assert rows_of(read_annotations(path, recordings=audio[1])) == [(audio[1], 0.5, 0.25, "wren")]
    with pytest.raises(ValueError, match="no recording in recordings has its name, and it names none"):
        read_annotations(path, recordings=audio)
    with pytest.raises(
        ValueError, match=r"my labels\.txt: no recording beside it has its name, and it names none"
    ):
        read_annotations(path)


def test_name_of_a_table_may_fit_only_one_recording(tmp_path, audio):
    write(tmp_path / "dawn.flac", noise(8000))
    path = save(tmp_path / "dawn.txt", "0.5\t0.75\twren\n")
    with pytest.raises(ValueError, match=r"may be about .*dawn\.(flac|wav) or .*dawn\.(flac|wav)"):
        read_annotations(path)
    assert read_annotations(path, recordings=[audio[0]])["path"].tolist() == [audio[0]]


def test_folders_decide_between_recordings_of_one_name(tmp_path):
    recordings = [f"audio/{site}/0001.wav" for site in ("north", "south")]
    paths = [save(tmp_path / "labels" / site / "0001.txt", f"0\t1\t{site}\n") for site in ("south", "north")]
    table = read_annotations(paths, recordings=pd.Series(recordings))
    assert rows_of(table) == [(recordings[1], 0, 1, "south"), (recordings[0], 0, 1, "north")]


def test_empty_tables_have_no_annotations(tmp_path, audio):
    table = read_annotations([save(tmp_path / "dawn.txt", ""), save(tmp_path / "dusk.txt", RAVEN + "\n")])
    assert len(table) == 0
    assert table.dtypes[["onset", "duration"]].tolist() == [np.float64, np.float64]


# CSV


def test_csv_with_names_that_estimators_understand(tmp_path, audio):
    rows = 'dawn.wav,0.5,0.75,"wren, male"', "nowhere.wav,1,2,robin", "dusk.wav,0,,"
    table = read_annotations(
        save(tmp_path / "calls.csv", "\n".join(["audio_path,start_time,end_time,label", *rows]))
    )
    *known, (path, onset, duration, label) = rows_of(table)
    assert known == [(audio[0], 0.5, 0.25, "wren, male"), ("nowhere.wav", 1, 1, "robin")]
    assert (path, onset, np.isnan(duration), label) == (audio[1], 0, True, None)


def test_csv_without_paths_is_about_the_recording_of_its_name(tmp_path, audio):
    text = "Start (s),End (s),Scientific name,Common name,Confidence\n0,1,Troglodytes,Wren,0.9\n"
    assert rows_of(read_annotations(save(tmp_path / "dawn.BirdNET.results.csv", text))) == [
        (audio[0], 0, 1, "Wren")
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("dawn.csv", "start,end\n0,x\n", "end is 'x', which is no number of seconds"),
        ("dawn.csv", "start,end\n1,0\n", "must be greater than"),
        ("dawn.csv", "start,end,source\n0,1,dusk.wav\n", "its column 'source' seems to name recordings"),
        ("dawn.csv", "start,end\n0,1,2\n", "has 3 entries, but there are 2 columns"),
        ("dawn.txt", "a word\n", "its format is unknown"),
        ("dawn.txt", "0\t0\tpoint\n", "must be greater than"),
        ("dawn.txt", "0\t1\tWREN\n".encode("utf-16"), "cannot read the annotations"),
    ],
)
def test_tables_that_make_no_sense_are_refused(tmp_path, audio, name, text, message):
    with pytest.raises(ValueError, match=message) as error:
        read_annotations(save(tmp_path / name, text))
    assert name in str(error.value)


# crowsetta


def test_format_of_crowsetta_names_the_extra_if_it_is_missing(tmp_path, monkeypatch):
    real_import = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.partition(".")[0] == "crowsetta":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setitem(__import__("sys").modules, "crowsetta", None)
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(
        ImportError, match=r"needs crowsetta; install it with pip install 'sklearn-cpc\[annotations\]'"
    ):
        read_annotations(save(tmp_path / "dawn.TextGrid", ""), format="textgrid")


@pytest.mark.filterwarnings("ignore:(?s).*pandera:FutureWarning")  # earlier releases import a part that has moved
def test_format_of_crowsetta_is_read(tmp_path, audio):
    text = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n2\n<exists>\n1\n"IntervalTier"\n"calls"\n'
    text += '0\n2\n3\n0\n0.5\n"wren"\n0.5\n1.23456\n""\n1.23456\n2\n"robin"\n'
    path = save(tmp_path / "dawn.TextGrid", text)
    assert rows_of(read_annotations(path, format="textgrid")) == [
        (audio[0], 0, 0.5, "wren"),
        (audio[0], 1.235, 0.765, "robin"),
    ]
    with pytest.raises(ValueError, match="format='grid' is none of raven, audacity, csv"):
        read_annotations(path, format="grid")


# Writing

LABELS = ["wren", "Zaunkönig 🐦", '"quoted', "a, b; c", "1", ""]


@pytest.mark.parametrize("format", ["raven", "audacity"])
def test_what_is_written_is_read_back(tmp_path, audio, format):
    n_rows = len(LABELS)
    calls = pd.DataFrame(
        {
            "path": [audio[i % 2] for i in range(n_rows)],
            "onset": np.arange(n_rows) / 3,
            "duration": 0.1 + np.arange(n_rows) / 7,
            "label": LABELS,
        }
    )
    files = write_annotations(calls, tmp_path / "tables", format)
    assert sorted(Path(file).name.split(".")[0] for file in files) == ["dawn", "dusk"]
    table = read_annotations(files, recordings=audio)
    expected = calls.sort_values("path", kind="stable").replace({"label": {"": None}})
    assert rows_of(table) == rows_of(expected)
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("format", ["raven", "audacity"])
def test_recordings_of_one_name_get_tables_of_their_own(tmp_path, format):
    paths = ["north/1.wav", "south/1.wav", "south/1.flac", "../far/1.wav"]
    calls = pd.DataFrame({"path": paths, "onset": 0.0, "duration": 1.0, "label": list("abcd")})
    files = write_annotations(calls, tmp_path / "tables", format)
    assert len(set(map(os.path.realpath, files))) == 4
    assert all((tmp_path / "tables").resolve() in Path(file).resolve().parents for file in files)
    assert rows_of(read_annotations(files, recordings=paths)) == rows_of(calls)


def test_one_recording_can_have_one_file(tmp_path, audio):
    calls = pd.DataFrame({"path": audio, "onset": 0.0, "duration": 1.0, "label": "x"})
    assert write_annotations(calls[:1], tmp_path / "a.txt", "audacity") == [str(tmp_path / "a.txt")]
    assert (tmp_path / "a.txt").read_text() == "0.000000000\t1.000000000\tx\n"
    with pytest.raises(ValueError, match="about 2 recordings; name a folder"):
        write_annotations(calls, tmp_path / "b.txt")
    assert not (tmp_path / "b.txt").exists()


def test_raven_table_has_the_columns_that_raven_needs(tmp_path, audio):
    calls = pd.DataFrame({"path": audio[:1], "onset": [0.5], "duration": [1.0], "score": [0.25]})
    (file,) = write_annotations(calls, tmp_path / "tables")
    header, row = (line.split("\t") for line in Path(file).read_text().splitlines())
    assert header[:7] == RAVEN.split("\t")
    assert row[:7] == ["1", "Spectrogram 1", "1", "0.500000000", "1.500000000", "0.000000000", "4000.000000000"]
    assert dict(zip(header, row, strict=True))["Score"] == "0.250000000"


def test_audacity_shows_scores_where_there_are_no_labels(tmp_path):
    calls = pd.DataFrame({"path": ["a.wav"], "onset": [0.5], "duration": [1.0], "score": [0.25]})
    (file,) = write_annotations(calls, tmp_path, "audacity")
    assert Path(file).read_text().endswith("\t0.25\n")


def test_several_labels_become_several_rows(tmp_path):
    calls = pd.DataFrame({"path": ["a.wav"], "onset": [0.5], "duration": [1.0], "label": [("wren", "robin")]})
    table = read_annotations(write_annotations(calls, tmp_path), recordings="a.wav")
    assert table["label"].tolist() == ["wren", "robin"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("a.wav", 0, 1, "a\tb"), "has a tab or line break"),
        (("a.wav", 0, 1, "a\nb"), "has a tab or line break"),
        (("a\t.wav", 0, 1, "a"), "has a tab or line break"),
        (("a.wav", 0, np.nan, "a"), r"a row of a\.wav in the table has no duration"),
        (("a.wav", -1, 1, "a"), "onset=-1.0 s must be 0 or more"),
    ],
)
def test_rows_that_tables_cannot_hold_are_refused(tmp_path, row, message):
    calls = pd.DataFrame([row], columns=["path", "onset", "duration", "label"])
    with pytest.raises(ValueError, match=message):
        write_annotations(calls, tmp_path / "tables")
    assert not (tmp_path / "tables").exists()
