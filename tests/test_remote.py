"""Everything that takes paths takes URLs, and shows them as they were given."""

import shutil
import uuid

import fsspec
import numpy as np
import pandas as pd
import pytest
from corpus import rising_tones, small_cpc, write_samples
from numpy.testing import assert_array_equal
from test_command_line import run

from sklearn_cpc.archive import (
    cut_windows,
    embed_archive,
    label_windows,
    read_annotations,
    read_archive,
    write_annotations,
)
from sklearn_cpc.datasets import list_recordings, load_audio_folder
from sklearn_cpc.displays import EmbeddingMap, RecordingDisplay
from sklearn_cpc.displays.embedding_map import _find_url
from sklearn_cpc.evaluation import compare_representations
from sklearn_cpc.evaluation.folds import make_folds


@pytest.fixture
def paths(tmp_path):
    """Eight recordings in two class folders."""
    samples = rising_tones(8)
    found = []
    for name, rows in {"calls": samples[:4], "songs": samples[4:]}.items():
        (tmp_path / "corpus" / name).mkdir(parents=True)
        found += write_samples(tmp_path / "corpus" / name, rows)
    return found


@pytest.fixture
def url(paths, tmp_path):
    """The URL of a folder of the same recordings, with a text, a hidden file and one of another format."""
    folder = f"memory://{uuid.uuid4().hex}"
    fs = fsspec.filesystem("memory")
    fs.put(str(tmp_path / "corpus"), folder, recursive=True)
    for name in ("calls/notes.txt", "calls/.hidden.wav", "calls/a.m4a"):
        fs.pipe(f"{folder}/{name}", b"text")
    yield folder
    fs.rm(folder, recursive=True)


def remote(url, paths):
    return [f"{url}/{'/'.join(path.replace(chr(92), '/').split('/')[-2:])}" for path in paths]


def test_folders_and_patterns_are_listed(url, paths):
    with pytest.warns(UserWarning, match=r"1 file\(s\) that may be audio \('calls/a.m4a'\)"):
        assert list_recordings(url) == remote(url, paths)
    assert list_recordings([f"{url}/**/*.wav", f"{url}/songs/"]) == remote(url, paths)
    assert list_recordings("s3://bucket/a.wav?version=1") == ["s3://bucket/a.wav?version=1"]
    with pytest.raises(ValueError, match="there are no recordings in memory://"):
        list_recordings(f"{url}/nothing")


def test_members_of_an_archive_are_listed(paths, tmp_path):
    file = shutil.make_archive(str(tmp_path / "archive"), "zip", tmp_path / "corpus")
    assert list_recordings(f"zip://songs::{file}") == [f"{url}::{file}" for url in remote("zip:/", paths[4:])]
    assert load_audio_folder(f"zip://::{file}").target.tolist() == ["calls"] * 4 + ["songs"] * 4


def test_folder_of_classes_is_a_corpus(url, paths):
    fsspec.filesystem("memory").pipe(f"{url}/loose.wav", b"text")
    with pytest.warns(UserWarning, match="Left out of") as warnings:
        corpus = load_audio_folder(url, group_from=r"\d+")
    assert corpus.paths == remote(url, paths)
    assert corpus.target.tolist() == ["calls"] * 4 + ["songs"] * 4
    assert corpus.groups.tolist() == [f"{i:02d}" for i in range(4)] * 2
    assert "('loose.wav')" in str(warnings[0].message)
    assert "('calls/a.m4a')" in str(warnings[1].message)
    with pytest.raises(ValueError, match="has no class folder with audio"):
        load_audio_folder(f"{url}/nothing")


def test_held_out_recordings_do_not_depend_on_the_working_directory(url, paths, tmp_path, monkeypatch):
    urls, scores = remote(url, paths), []
    for folder in (tmp_path, tmp_path / "corpus"):
        monkeypatch.chdir(folder)
        cpc = small_cpc(validation_fraction=0.5).fit(urls)
        scores.append(cpc.history_[-1]["valid_score"])
    assert scores[0] == scores[1]


def test_files_of_two_tables_are_recognised(url, paths):
    urls = remote(url, paths)
    with pytest.raises(ValueError, match=r"1 file\(s\) of unlabelled are also in X, for example 'memory://"):
        make_folds(urls, [0, 1] * 4, None, 2, unlabelled=urls[:1])
    table = compare_representations({"cpc": small_cpc()}, urls, np.arange(8) // 4, baselines=False)
    local = compare_representations({"cpc": small_cpc()}, paths, np.arange(8) // 4, baselines=False)
    pd.testing.assert_series_equal(table["mean"], local["mean"])


def test_archive_is_embedded_searched_labelled_and_drawn(url, paths, tmp_path):
    pytest.importorskip("pyarrow")
    urls = remote(url, paths)
    cpc, windows = small_cpc(max_epochs=0).fit(urls), cut_windows(urls, 0.15)
    embed_archive(cpc, windows, tmp_path / "embeddings")
    found, embeddings = read_archive(tmp_path / "embeddings")
    assert found["path"].tolist() == windows["path"].tolist()
    assert_array_equal(embeddings, cpc.transform(cut_windows(paths, 0.15)))
    calls = pd.DataFrame({"path": urls[:1], "onset": [0.0], "duration": [0.1], "label": ["wren"]})
    assert (label_windows(windows, calls)["label"] == "wren").sum() == 1
    files = write_annotations(pd.concat([calls, calls.assign(path=urls[7])]), tmp_path / "tables")
    assert files == [
        str(tmp_path / "tables" / "/".join(path.split("/")[-2:])[:-4]) + ".Table.1.selections.txt"
        for path in urls[::7]
    ]
    assert read_annotations(files)["path"].tolist() == [urls[0], urls[7]]
    EmbeddingMap.from_estimator(cpc, windows, projection=None, random_state=0)
    assert RecordingDisplay.from_estimator(cpc, urls[0]).name == urls[0].split("/")[-1]


def test_annotation_tables_may_be_remote(url, paths):
    urls = remote(url, paths)
    name = urls[0].split("/")[-1]
    fs = fsspec.filesystem("memory")
    fs.pipe(f"{url}/calls/table.csv", f"path,onset,end,label\n{name},0.1,0.2,wren\n{urls[5]},0,1,robin\n".encode())
    fs.pipe(f"{url}/calls/{name[:-4]}.txt", b"0.1\t0.2\twren\n")
    table = read_annotations(f"{url}/calls/table.csv")
    assert table["path"].tolist() == [urls[0], urls[5]]
    table = read_annotations(f"{url}/calls/{name[:-4]}.txt", recordings=urls[:4])
    assert table["path"].tolist() == [urls[0]]
    with pytest.raises(ValueError, match=r"pass recordings="):
        read_annotations(f"{url}/calls/{name[:-4]}.txt")
    with pytest.raises(ValueError, match="does not exist"):
        read_annotations(f"{url}/missing.csv")


def test_browser_plays_only_what_it_can_reach(tmp_path):
    assert (
        _find_url(str(tmp_path), "https://a.org/x.wav?key=1", 1.0, 2.0)
        == "https://a.org/x.wav?key=1#t=1.000,3.000"
    )
    assert _find_url(str(tmp_path), "s3://bucket/x.wav", 1.0, 2.0) == ""


def test_command_line_takes_urls(url, paths, capsys):
    text = run(capsys, "info", f"{url}/songs", "--json")
    assert '"samplerate": 1000' in text
    assert remote(url, paths)[7] in text
