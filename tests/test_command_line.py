"""The command line: what its commands write, the Python that they show, and how they fail."""

import json
import os
import shutil
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import soundfile

import sklearn_cpc.datasets
import sklearn_cpc.displays
import sklearn_cpc.evaluation
from sklearn_cpc import load
from sklearn_cpc.__main__ import main
from sklearn_cpc.archive import EmbeddingIndex, cut_windows, embed_archive, read_annotations, read_archive
from sklearn_cpc.datasets import load_audio_folder, make_synthetic_corpus
from sklearn_cpc.evaluation import compare_representations

SMALL = ["max_epochs=1", "encoder__sample_rate=8000", "encoder__n_mels=16", "autoregressor__c_dim=8"]
COMMANDS = ["fit", "embed", "search", "map", "compare", "info"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of recordings in class folders with odd names, a model and embeddings. Not to be changed."""
    folder = tmp_path_factory.mktemp("my folder")
    recordings = folder / "sönnige rec"
    corpus = make_synthetic_corpus(
        recordings, n_per_class=3, n_groups=3, duration=1.0, sample_rate=8000, random_state=0
    )
    for name in corpus.target_names[2:]:
        shutil.rmtree(recordings / name)
    (recordings / "alarm" / "1-0001.wav").rename(recordings / "alarm" / "-1 o'clock é.wav")
    model, embeddings = str(folder / "model.safetensors"), str(folder / "embeddings")
    assert main(["fit", str(recordings), "--output", model, "--quiet", "--set", *SMALL]) == 0
    assert main(["embed", model, str(recordings), "-o", embeddings, "--duration", "0.25", "--quiet"]) == 0
    return folder


def run(capsys, *arguments):
    """Run a command that succeeds; return what it writes."""
    capsys.readouterr()
    code = main(list(map(str, arguments)))
    output = capsys.readouterr()
    assert code == 0, output.err
    return output.out


def run_as_python(capsys, *arguments):
    """Run the Python that a command shows; return its result."""
    names = {}
    exec(run(capsys, *arguments, "--show-python"), names)
    return names["result"]


def fail(capsys, *arguments):
    """Run a command that fails; return its message."""
    capsys.readouterr()
    assert main(list(map(str, arguments))) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("sklearn-cpc: error: ")
    assert "Traceback" not in output.err
    return output.err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_of_each_command(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert f"Example: sklearn-cpc {name} " in capsys.readouterr().out


def test_model_and_embeddings_are_those_of_the_library(folder):
    model = load(folder / "model.safetensors")
    assert model.n_iter_ == 1
    assert model.encoder.n_mels == 16
    recordings = sorted(map(str, folder.glob("*/*/*.wav")))
    windows = cut_windows(recordings, 0.25)
    found, embeddings = read_archive(folder / "embeddings")
    assert sorted(found["path"]) == sorted(windows["path"])
    np.testing.assert_array_equal(embeddings, model.transform(found[["path", "onset", "duration"]]))


def test_shown_python_of_fit_and_embed_gives_the_same_files(folder, tmp_path, capsys):
    recordings, model, other = folder / "sönnige rec", tmp_path / "model", tmp_path / "other"
    options = ["--quiet", "--set", *SMALL]
    run_as_python(capsys, "fit", recordings, "-o", model, *options)
    assert json.loads(run(capsys, "fit", recordings, "-o", other, "--json", *options)) == {
        "model": str(other),
        "epochs": 1,
    }
    embeddings = [load(path).transform(sorted(recordings.glob("*/*.wav"))) for path in (model, other)]
    np.testing.assert_array_equal(*embeddings)
    options = ["--duration", 0.25, "--quiet"]
    assert run_as_python(capsys, "embed", model, recordings, "-o", tmp_path / "made", *options)["windows"] == 24
    np.testing.assert_array_equal(read_archive(tmp_path / "made")[1], read_archive(folder / "embeddings")[1])


def test_search_finds_and_writes_what_the_library_finds(folder, tmp_path, capsys):
    model, embeddings = folder / "model.safetensors", folder / "embeddings"
    example = folder / "sönnige rec" / "alarm" / "-1 o'clock é.wav"
    arguments = ["search", model, embeddings, example, "--onset", 0.25, "--duration", 0.25, "-k", 4]
    found = json.loads(run(capsys, *arguments, "--json"))
    query = load(model).transform([(example, 0.25, 0.25)])
    expected = EmbeddingIndex(embeddings).query(query, k=4)
    pd.testing.assert_frame_equal(pd.DataFrame(found), expected)
    assert (found[0]["path"], found[0]["onset"]) == (str(example), 0.25)
    pd.testing.assert_frame_equal(run_as_python(capsys, *arguments), expected)
    run(capsys, *arguments, "-o", tmp_path / "found", "--format", "audacity")
    tables = list(map(str, (tmp_path / "found").rglob("*.txt")))
    written = read_annotations(tables, recordings=sorted(set(expected["path"])))
    assert sorted(written["onset"]) == sorted(expected["onset"])
    table = tmp_path / "calls.csv"
    pd.DataFrame({"path": [str(example)], "onset": [0.25], "duration": [0.25], "label": ["call"]}).to_csv(table)
    pd.testing.assert_frame_equal(run_as_python(capsys, "search", *arguments[1:3], table, "-k", 4), expected)


def test_compare_scores_as_the_library_does(folder, capsys):
    options = ["--quiet", "--set", "max_epochs=0", *SMALL[1:]]
    rows = json.loads(run(capsys, "compare", folder / "sönnige rec", "--json", *options))
    corpus = load_audio_folder(folder / "sönnige rec")
    model = load(folder / "model.safetensors").set_params(max_epochs=0, verbose=0)
    expected = compare_representations({"cpc": model}, corpus.paths, corpus.target)
    assert [row["features"] for row in rows] == ["chance", "mfcc", "cpc"]
    assert [row["mean"] for row in rows] == expected["mean"].tolist()


def test_compare_takes_labels_and_groups_from_folders_or_tables(folder, tmp_path, monkeypatch, capsys):
    def record(representations, X, y, *, groups, n_jobs, verbose):
        compared.append((list(X["path"]) if hasattr(X, "columns") else X, list(y), list(groups)))
        return pd.DataFrame({"mean": [0.5]}, index=["cpc"])

    compared = []
    monkeypatch.setattr(sklearn_cpc.evaluation, "compare_representations", record)
    run(capsys, "compare", folder / "sönnige rec", "--group", "([0-9])")
    paths, labels, groups = compared[0]
    table = tmp_path / "corpus.csv"
    pd.DataFrame({"path": paths, "label": labels, "site": groups}).to_csv(table, index=False)
    run(capsys, "compare", table, "--group", "site")
    assert compared[1] == (paths, labels, list(map(int, groups)))
    assert sorted(groups) == ["1", "1", "2", "2", "3", "3"]


def test_info_lists_headers_and_names_what_is_unusable(folder, tmp_path, capsys):
    stereo, broken = tmp_path / "stereo.flac", tmp_path / "broken.wav"
    soundfile.write(stereo, np.full((8000, 2), 0.1), 16000)
    broken.write_bytes(b"no audio")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        rows = json.loads(run(capsys, "info", tmp_path, "--json"))
        main(["info", str(tmp_path)])
    assert "broken.wav: is not audio" in capsys.readouterr().err
    assert [row["duration"] for row in rows] == [None, 0.5]
    assert rows[1] == {
        "path": str(stereo),
        "duration": 0.5,
        "samplerate": 16000,
        "channels": 2,
        "format": "FLAC",
        "subtype": "PCM_16",
    }


def test_map_draws_embeddings_with_labels(folder, tmp_path, monkeypatch, capsys):
    class RecordingMap:
        @classmethod
        def from_embeddings(cls, embeddings, X, *, labels=None, random_state=None):
            drawn.append((np.array(embeddings), X, labels, random_state))
            return cls()

        def save(self, path):
            drawn.append(path)

    drawn = []
    monkeypatch.setattr(sklearn_cpc.displays, "EmbeddingMap", RecordingMap, raising=False)
    windows, embeddings = read_archive(folder / "embeddings")
    table, page = tmp_path / "calls.csv", str(tmp_path / "map.html")
    pd.DataFrame({"path": windows["path"][:1], "onset": 0.0, "duration": 0.25, "label": "call"}).to_csv(table)
    run(capsys, "map", folder / "embeddings", "-o", page)
    run(capsys, "map", folder / "embeddings", "-o", page, "--labels", table)
    (numbers, rows, labels, seed), path, (_, _, known, _), _ = drawn
    np.testing.assert_array_equal(numbers, embeddings)
    pd.testing.assert_frame_equal(rows, windows)
    assert (labels, seed, path) == (None, 0, page)
    assert known.tolist() == ["call"] + [None] * (len(windows) - 1)


def test_a_table_of_windows_is_embedded_as_it_is(folder, tmp_path, capsys):
    path = next((folder / "sönnige rec" / "bird").iterdir())
    table = tmp_path / "windows.csv"
    windows = pd.DataFrame({"path": [str(path)] * 2, "onset": [0.0, 0.3], "duration": [0.2, 0.4]})
    windows.to_csv(table, index=False)
    arguments = ["embed", folder / "model.safetensors", table, "-o", tmp_path / "made"]
    run(capsys, *arguments, "--quiet")
    model = load(folder / "model.safetensors").set_params(verbose=0)
    np.testing.assert_array_equal(read_archive(tmp_path / "made")[1], model.transform(windows))
    assert "leave out --duration" in fail(capsys, *arguments, "--duration", 1)


def test_names_with_a_leading_dash_and_patterns_are_taken(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder / "sönnige rec" / "alarm")
    names = sorted(os.listdir())
    assert names[0].startswith("-")
    rows = json.loads(run(capsys, "info", "--json", "--", *names))
    assert [row["path"] for row in rows] == names
    assert json.loads(run(capsys, "info", "--json", "*.wav")) == rows


def test_failures_name_the_file_without_a_traceback(folder, tmp_path, capsys):
    recordings, broken = folder / "sönnige rec", tmp_path / "broken.wav"
    model = folder / "model.safetensors"
    broken.write_bytes(b"no audio")
    assert "broken.wav" in fail(capsys, "fit", recordings, broken, "-o", tmp_path / "m", "--quiet")
    assert "broken.wav" in fail(capsys, "embed", model, recordings, broken, "-o", tmp_path / "e")
    assert "nothing*.wav" in fail(capsys, "embed", model, tmp_path / "nothing*.wav", "-o", tmp_path / "e")
    assert "nowhere" in fail(capsys, "fit", recordings, "-o", tmp_path / "nowhere" / "m")
    assert "no-model" in fail(capsys, "search", tmp_path / "no-model", folder / "embeddings", broken)
    assert "NAME=VALUE" in fail(capsys, "fit", recordings, "-o", tmp_path / "m", "--set", "epochs")
    assert "epochs" in fail(capsys, "fit", recordings, "-o", tmp_path / "m", "--set", "epochs=1")
    assert not (tmp_path / "m").exists()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        arguments = ["--skip-unusable", "--duration", "0.25"]
        run(capsys, "embed", model, recordings, broken, "-o", tmp_path / "e", *arguments)
    assert len(read_archive(tmp_path / "e")[0]) == 25


def test_settings_add_up_and_may_be_text(capsys):
    options = ["--set", "max_epochs=3", "--set", "encoder=conv1d", "pooling=('z_max',)", "random_state=7"]
    script = run(capsys, "fit", "recordings", "-o", "model", "--quiet", "--show-python", *options)
    expected = "verbose=0, random_state=7, max_epochs=3, encoder='conv1d', pooling=('z_max',))"
    assert f"make_cpc('small-corpus', {expected}" in script


@pytest.mark.parametrize("arguments", [[], ["fit"], ["fit", "a.wav"], ["search", "-k", "x"], ["no-such-command"]])
def test_wrong_usage_exits_with_two(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: sklearn-cpc" in capsys.readouterr().err


def test_ctrl_c_exits_with_130(folder, monkeypatch, capsys):
    def interrupt(sources):
        raise KeyboardInterrupt

    monkeypatch.setattr(sklearn_cpc.datasets, "list_recordings", interrupt)
    assert main(["info", "recordings"]) == 130
    assert capsys.readouterr().err.startswith("sklearn-cpc: interrupted")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows reports closed pipes otherwise")
def test_a_reader_that_closes_the_pipe_is_no_failure(run_anew, tmp_path):
    code = """
import os, runpy

read, write = os.pipe()
os.dup2(write, 1)
os.close(read)
runpy.run_module("sklearn_cpc", run_name="__main__", alter_sys=True)
"""
    ended = run_anew(code, tmp_path, "info", "recordings", "--show-python")
    assert (ended.returncode, ended.stdout, ended.stderr) == (141, "", "")


def test_embedding_shows_progress_of_its_parts(folder, tmp_path, capsys):
    windows = cut_windows(sorted(folder.glob("*/bird/*.wav")), 0.5)
    embed_archive(load(folder / "model.safetensors"), windows, tmp_path / "made", verbose=1)
    assert "embedding" in capsys.readouterr().err
