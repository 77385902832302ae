"""The study over corpora: manifests, results that survive a stop, means, page and figure."""

import argparse
import json
import os
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus import RATE, small_cpc
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sklearn_cpc import LogMelEncoder, MFCCTransformer
from sklearn_cpc.evaluation import compare_representations

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))
import evidence  # noqa: E402
import evidence_corpora  # noqa: E402
from supervised import SupervisedNetwork  # noqa: E402

sys.path.remove(str(EXAMPLES))

MFCC = MFCCTransformer(n_mfcc=5, sample_rate=8000, n_fft=256, hop_length=128, n_mels=20)


def small_representation(name, settings, epochs):
    """Stand-ins that fit in no time."""
    if name == "chance":
        return DummyClassifier()
    if "trained" in name and name != "supervised":
        return small_cpc(max_epochs=0 if "untrained" in name else epochs or 2)
    return make_pipeline(MFCC, LogisticRegression()) if "supervised" in name else MFCC


@pytest.fixture
def manifest(corpus, tmp_path):
    """A table in another folder than its recordings, which it names by relative paths."""
    return write_manifest(tmp_path / "table" / "tones.csv", corpus)


def write_manifest(path, corpus, rows=slice(None)):
    path.parent.mkdir(exist_ok=True)
    columns = zip(corpus.paths[rows], corpus.y[rows], corpus.groups[rows], strict=True)
    lines = [f"{os.path.relpath(file, path.parent)},{label},{group}" for file, label, group in columns]
    path.write_text("\n".join(["path,label,group", *lines]) + "\n")
    return path


@pytest.fixture
def study(monkeypatch, tmp_path, capsys):
    """Run the script with small networks in this process; returns the content of its file and what it printed."""
    monkeypatch.setattr(evidence, "make_representation", small_representation)

    def run(*options):
        arguments = ["evidence.py", "--jobs", 1, "--json", tmp_path / "out" / "study.json", *options]
        monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
        evidence.main()
        return json.loads((tmp_path / "out" / "study.json").read_text()), capsys.readouterr().out

    return run


def by_name(content):
    return {entry["name"]: entry for entry in content["results"]}


# Results


def test_accuracies_are_those_of_compare_representations(study, manifest, corpus):
    content, _ = study("--manifest", manifest, "--seeds", 2, "--names", "mfcc", "untrained", "trained")
    table = compare_representations(
        {"mfcc": MFCC, "trained": small_cpc(max_epochs=2)},
        corpus.paths,
        corpus.y,
        groups=corpus.groups,
        n_seeds=2,
    )
    results = by_name(content)
    assert list(results) == ["mfcc", "untrained", "trained"]
    keys = [f"fold{fold}_seed{seed}" for seed in (0, 1) for fold in (0, 1, 2)]
    expected = dict(zip(keys, table.loc["trained", keys], strict=True))
    assert results["trained"]["accuracy"] == pytest.approx(expected)
    assert results["mfcc"]["accuracy"] == pytest.approx(table.loc["mfcc", keys[:3]].to_dict())  # has no seed
    assert content["means"]["trained"] == pytest.approx(table.loc["trained", "mean"])
    assert content["means"]["untrained"] == pytest.approx(table.loc["trained (untrained)", "mean"])
    row, about = content["corpora"]["tones"]["table"]["trained"], content["corpora"]["tones"]
    for column in ("difference", "difference_low", "difference_high", "gain", "gain_low", "gain_high"):
        assert row[column] == pytest.approx(table.loc["trained", column])
    assert [about[what] for what in ("purpose", "recordings", "classes", "groups")] == ["judging", 12, 2, 3]


def test_second_run_computes_only_what_is_missing(study, manifest):
    options = ["--manifest", manifest, "--names", "mfcc", "trained", "--seeds"]
    first, output = study(*options, 1)
    assert "6 result(s) to compute" in output
    again, output = study(*options, 1)
    assert "0 result(s) to compute" in output
    assert again == first
    more, output = study(*options, 2)
    assert "3 result(s) to compute" in output
    assert by_name(first)["trained"]["accuracy"].items() <= by_name(more)["trained"]["accuracy"].items()
    assert len(by_name(more)["trained"]["accuracy"]) == 6


def test_stopped_run_keeps_its_results(study, manifest, monkeypatch, tmp_path):
    options = ["--manifest", manifest, "--names", "chance", "mfcc", "--seeds", 1]
    evaluate, calls = evidence.evaluate, []

    def stop_at_fifth(*args):
        calls.append(args)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return evaluate(*args)

    monkeypatch.setattr(evidence, "evaluate", stop_at_fifth)
    with pytest.raises(KeyboardInterrupt):
        study(*options)
    kept = json.loads((tmp_path / "out" / "study.json").read_text())
    assert {name: len(entry["accuracy"]) for name, entry in by_name(kept).items()} == {"chance": 3, "mfcc": 1}
    assert list(kept["means"]) == ["chance"]
    finished, output = study(*options)
    assert "2 result(s) to compute" in output
    assert by_name(finished)["mfcc"]["accuracy"].items() >= by_name(kept)["mfcc"]["accuracy"].items()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["study.json"]


def test_quick_run_has_one_fold_and_few_recordings(study, manifest, monkeypatch):
    monkeypatch.setattr(evidence, "QUICK_ROWS", 4)
    content, _ = study("--manifest", manifest, "--quick", "--seeds", 1, "--names", "mfcc")
    assert list(by_name(content)["mfcc"]["accuracy"]) == ["fold0_seed0"]
    assert content["corpora"]["tones"]["recordings"] == 8


def test_means_are_those_over_corpora(study, manifest, corpus, tmp_path):
    other = write_manifest(tmp_path / "table" / "half.csv", corpus, slice(0, 8))
    options = ["--manifest", manifest, "--corpus", f"other={other}", "--names", "chance", "mfcc", "--seeds", 1]
    content, output = study(*options)
    tables = [about["table"] for about in content["corpora"].values()]
    assert list(content["corpora"]) == ["tones", "other"]
    assert content["means"]["mfcc"] == pytest.approx(np.mean([table["mfcc"]["mean"] for table in tables]))
    assert "| other | judging |" in output


def test_page_and_figure_are_written_from_the_file(study, manifest, tmp_path):
    study("--manifest", manifest, "--names", "mfcc", "untrained", "trained", "--seeds", 1)
    page, figure = tmp_path / "docs" / "page.md", tmp_path / "docs" / "images" / "figure.png"
    page.parent.mkdir()
    page.write_text("before\n\n<!-- results: begin -->\nstale\n<!-- results: end -->\n\nafter\n")
    _, output = study("--page", page, "--figure", figure)
    text = page.read_text()
    assert output.strip() in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "stale" not in text
    assert "](images/figure.png)" in text
    assert figure.stat().st_size > 5000
    study("--page", page, "--figure", figure)
    assert page.read_text() == text
    page.write_text("no markers")
    with pytest.raises(SystemExit, match=r"page.md lacks the lines <!-- results: begin -->"):
        study("--page", page)


@pytest.mark.parametrize("change", ["recordings", "epochs"])
def test_results_of_other_settings_are_not_mixed(study, manifest, corpus, change):
    options = ["--manifest", manifest, "--names", "chance", "--seeds", 1]
    study(*options)
    if change == "recordings":
        write_manifest(manifest, corpus, slice(0, 10))
    with pytest.raises(SystemExit, match="holds results of tones with other recordings, other --epochs"):
        study(*options, *(["--epochs", 5] if change == "epochs" else []))


@pytest.mark.parametrize("content", ["", "[]", "{}", "not JSON"])
def test_other_files_are_not_overwritten(study, manifest, tmp_path, content):
    path = tmp_path / "out" / "study.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(SystemExit, match=r"study.json holds no results of this script; use another --json"):
        study("--manifest", manifest)
    assert path.read_text() == content


def test_unusable_recordings_stop_the_run_before_it_starts(study, corpus, tmp_path):
    path = write_manifest(tmp_path / "table" / "bad.csv", corpus)
    (path.parent / "bad.wav").write_bytes(b"RIFF....")
    path.write_text(path.read_text() + "bad.wav,low,2\n")
    with pytest.raises(SystemExit, match=r"(?s)corpus bad: .*bad\.wav"):
        study("--manifest", path)


def test_missing_corpora_are_reported(study, tmp_path):
    with pytest.raises(SystemExit, match="no corpus is given"):
        study()
    with pytest.raises(SystemExit, match="holds none of the folders esc10, fsdd, orchestra, emodb"):
        study("--audio", tmp_path)
    with pytest.raises(SystemExit, match=r"--corpus birds must be NAME=FOLDER or NAME=FILE\.csv"):
        study("--corpus", "birds")


# Corpora


def test_manifest_paths_are_relative_to_its_folder(manifest, corpus):
    read = evidence_corpora.read_manifest("tones", manifest)
    assert [os.path.realpath(path) for path in read.paths] == [os.path.realpath(path) for path in corpus.paths]
    assert read.target.tolist() == corpus.y.tolist()
    assert read.groups.tolist() == corpus.groups.astype(str).tolist()


def test_labels_are_kept_as_text_and_groups_are_optional(manifest):
    (manifest.parent / "a.wav").touch()
    (manifest.parent / "b.wav").touch()
    manifest.write_bytes(b'\xef\xbb\xbflabel, path ,note\r\n01, a.wav,\r\nNA,"b.wav","x, y"\r\n\r\n')
    read = evidence_corpora.read_manifest("tones", manifest)
    assert read.target.tolist() == ["01", "NA"]
    assert [Path(path).name for path in read.paths] == ["a.wav", "b.wav"]
    assert read.groups is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs the columns path and label, each once; its columns are"),
        ("path;label\na.wav;x\n", "each once; its columns are path;label"),
        ("file,label\na.wav,x\n", "each once; its columns are file, label"),
        ("path,label,label\na.wav,x,y\n", "each once"),
        ("path,label\n", "has no rows below its header"),
        (
            "path,label\na.wav,x\nb.wav\n",
            r"1 row\(s\) do not have 2 values, .* first line 3: b.wav",
        ),
        ("path,label\na.wav,x,y\n", r"do not have 2 values, .* first line 2: a.wav,x,y"),
        ("path,label\na.wav,\n", r"1 row\(s\) have no label, first line 2: a.wav,"),
        ("path,label,group\na.wav,x,1\nb.wav,y,\n", r"have no group, first line 3: b.wav,y,"),
        ("path,label\n\nc.wav,x\n", r"name files that do not exist, first line 3: c.wav,x"),
        ("path,label\n.,x\n", "name files that do not exist"),
        ("path,label\na.wav,x\n./a.wav,y\n", r"name a file of an earlier row, first line 3: ./a.wav,y"),
        ("path,label\n\xff.wav,x\n", "cannot be read as comma-separated values in UTF-8"),
    ],
)
def test_faults_of_a_manifest_are_named(tmp_path, text, message):
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).touch()
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=rf"table\.csv.*{message}"):
        evidence_corpora.read_manifest("table", path)


def test_manifest_that_is_no_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="is no file; give a table with the columns path, label"):
        evidence_corpora.read_manifest("table", tmp_path)


def make_corpus(target, groups=None):
    paths = np.array([f"{i}.wav" for i in range(len(target))])
    return evidence_corpora.Corpus(
        "c", paths, np.array(list(target)), None if groups is None else np.array(groups)
    )


def test_recordings_of_each_class_are_limited():
    limited = evidence_corpora.limit_rows(make_corpus("aaaaabbbcc", range(10)), 3)
    assert "".join(limited.target) == "aaabbbcc"
    assert [f"{group}.wav" for group in limited.groups] == limited.paths.tolist()


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        (make_corpus("aaaa"), "has only the class 'a'"),
        (make_corpus("aaab"), "class 'b' has a single recording"),
        (make_corpus("aabb", [1, 2, 1, 1]), "class 'b' has a single group"),
    ],
)
def test_classes_that_no_fold_can_test_are_refused(corpus, message):
    with pytest.raises(ValueError, match=message):
        evidence_corpora.limit_rows(corpus, None)


def test_known_corpora_are_read_from_their_names(tmp_path):
    names = {
        "esc10/001 - Dog bark": ["1-3-A.ogg", "2-4-A.ogg"],
        "esc10/002 - Rain": ["1-5-A.ogg"],
        "fsdd/recordings": ["7_george_0.wav", "0_theo_12.wav"],
        "orchestra/cor-anglais": ["cor-anglais_As4_05_forte_normal.mp3"],
        "emodb": ["03a01Fa.flac", "16b10Wb.flac"],
    }
    for folder, files in names.items():
        (tmp_path / folder).mkdir(parents=True)
        for name in files:
            (tmp_path / folder / name).touch()
    how = {"fetch": [], "manifest": None, "corpus": [], "audio": tmp_path, "select": None, "group_from": None}
    read = evidence_corpora.read_corpora(argparse.Namespace(**how))
    assert {corpus.name: (corpus.target.tolist(), corpus.groups.tolist()) for corpus in read} == {
        "esc10": (["001 - Dog bark", "001 - Dog bark", "002 - Rain"], ["1", "2", "1"]),
        "fsdd": (["0", "7"], ["theo", "george"]),
        "orchestra": (["cor-anglais"], ["As4"]),
        "emodb emotions": (["happiness", "anger"], ["03", "16"]),
        "emodb sentences": (["a01", "b10"], ["03", "16"]),
    }
    shutil.copy(tmp_path / "emodb" / "03a01Fa.flac", tmp_path / "emodb" / "other.flac")
    with pytest.raises(ValueError, match="has 3 recordings; 1 names do not match"):
        evidence_corpora.read_corpora(argparse.Namespace(**how))


# The networks


def test_names_stand_for_these_estimators():
    made = {name: evidence.make_representation(name, {"encoder__n_mels": 40}, 3) for name in evidence.NAMES}
    networks = {name: getattr(made[name], "cpc", made[name]) for name in evidence.NAMES[2:]}
    assert {cpc.encoder.n_mels for cpc in networks.values()} == {40}
    epochs = {name: made[name].max_epochs for name in networks}
    untrained = {"logmel": 0, "untrained": 0, "untrained speech": 0}
    assert epochs == {**dict.fromkeys(networks, 3), **untrained}
    assert {name for name, cpc in networks.items() if cpc.encoder.centring == 0.5} == {
        name for name in evidence.NAMES if "speech" in name
    }
    assert evidence.make_representation("supervised", {}, None).max_epochs == 40


def test_supervised_network_learns_classes_and_repeats(tmp_path):
    random, time = np.random.default_rng(0), np.arange(2 * RATE) / RATE
    y = np.array(["slow", "fast"] * 8)
    paths = [str(tmp_path / f"{i}.wav") for i in range(len(y))]
    for path, kind in zip(paths, y, strict=True):
        beats = np.sin(2 * np.pi * {"slow": 2, "fast": 8}[kind] * time + random.uniform(0, 6))
        seconds = random.uniform(0.6, 1.9)  # recordings of any length
        samples = (0.5 + 0.5 * beats) * random.standard_normal(len(time))
        soundfile.write(path, 0.2 * samples[: int(seconds * RATE)], RATE)
    encoder = LogMelEncoder(n_filters=16, z_dim=16, n_mels=8, window_duration=0.032, sample_rate=RATE)
    cpc = small_cpc(
        encoder=encoder, pooling=("mel_mean", "mel_std", "z_max", "c_max"), trim=40, memory=tmp_path / "memory"
    )
    how = {"max_epochs": 40, "batch_size": 4, "lr": 1e-2, "clip_duration": 1.0, "random_state": 0}
    network = SupervisedNetwork(cpc, **how).fit(paths[:12], y[:12])
    assert network.score(paths[:12], y[:12]) >= 0.9
    again = SupervisedNetwork(cpc, **how).fit(paths[:12], y[:12])
    weights, repeated = (one.network_.state_dict() for one in (network, again))
    assert all(np.array_equal(weights[name], repeated[name]) for name in weights)
    assert set(network.predict(paths[12:])) <= {"slow", "fast"}


def test_script_trains_its_own_networks(manifest, tmp_path, monkeypatch):
    names = ["mfcc", "supervised"]
    options = ["--manifest", manifest, "--quick", "--epochs", 1, "--seeds", 1, "--jobs", 1, "--names", *names]
    monkeypatch.setattr(sys, "argv", list(map(str, ["evidence.py", "--json", tmp_path / "quick.json", *options])))
    monkeypatch.syspath_prepend(EXAMPLES)
    runpy.run_path(str(EXAMPLES / "evidence.py"), run_name="__main__")
    means = json.loads((tmp_path / "quick.json").read_text())["means"]
    assert list(means) == names
    assert all(0 <= mean <= 1 for mean in means.values())
