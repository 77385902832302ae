"""Every example runs from the command line and writes its results."""

import io
import json
import re
import runpy
import shutil
import sys
import warnings
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from scipy.stats import spearmanr

from sklearn_cpc.datasets import make_synthetic_corpus

EXAMPLES = Path(__file__).parents[1] / "examples"
LITTLE_SOUND = pytest.mark.filterwarnings("ignore:.*s of sound is little to learn from")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples") / "my recordings"
    corpus = make_synthetic_corpus(folder, n_per_class=3, n_groups=3, duration=2.0, random_state=0)
    for name in corpus.target_names[2:]:  # two classes are enough
        shutil.rmtree(folder / name)
    return folder


@pytest.fixture
def run(monkeypatch, capsys, narrow_networks):
    """Run an example as the command line does, but in this process; returns its output."""

    def run(name, *arguments, answers=""):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(answers))
        monkeypatch.syspath_prepend(EXAMPLES)
        with joblib.parallel_config("threading"):  # processes take seconds to start
            runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        plt.close("all")
        return capsys.readouterr().out

    return run


def test_quickstart_compares_and_saves_on_own_folder(run, recordings, tmp_path):
    options = ["--audio", recordings, "--group-from", "^(.)", "--epochs", 1, "--fit-all", "--output", tmp_path]
    output = run("quickstart.py", *options)
    table = (tmp_path / "table.md").read_text()
    assert table in output
    rows = {
        cells[1].strip(): cells[2:] for cells in (line.split("|") for line in table.splitlines() if "|" in line)
    }
    assert {"chance", "MFCC", "CPC (untrained)", "CPC"} <= rows.keys()
    by_fold = re.findall(r"fold \d of 3, CPC: +([\d.]+) ", output)
    assert float(rows["CPC"][0]) == pytest.approx(sum(map(float, by_fold)) / 3, abs=0.001)
    for figure in ("accuracy.png", "confusion.png", "loss.png"):
        assert (tmp_path / figure).stat().st_size > 5000
    paths = sorted(map(str, recordings.glob("*/*.wav")))
    assert set(joblib.load(tmp_path / "pipeline.joblib").predict(paths)) <= {"alarm", "bird"}


@LITTLE_SOUND
def test_ablation_writes_mean_accuracies_by_name(run, recordings, tmp_path):
    table = tmp_path / "new" / "ablation.json"
    options = ["--corpus", "esc10", "--audio", recordings, "--seeds", 2, "--epochs", 1, "--jobs", 1]
    output = run("ablation.py", *options, "--json", table)
    result = json.loads(table.read_text())
    trained = [row for row in result["results"] if row["name"] == "trained"]
    assert {(row["seed"], row["held_out"]) for row in trained} == {(s, g) for s in (0, 1) for g in "123"}
    assert result["trained"] == pytest.approx(sum(row["accuracy"] for row in trained) / 6)
    assert result["untrained"] == pytest.approx(sum(row["untrained"] for row in trained) / 6)
    assert 0 <= result["mfcc"] <= 1
    assert f"| trained | {100 * result['trained']:.1f} |" in output


@LITTLE_SOUND
def test_a_quick_ablation_holds_out_one_speaker(run, recordings, tmp_path):
    digits = tmp_path / "digits"
    digits.mkdir()
    for number, path in enumerate(sorted(recordings.glob("*/*.wav"))):
        for speaker in ("ann", "bob"):
            shutil.copy(path, digits / f"{number % 2}_{speaker}_{number}.wav")
    table = tmp_path / "quick.json"
    options = ["--audio", digits, "--seeds", 1, "--epochs", 1, "--quick", "--poolings", "--jobs", 1]
    run("ablation.py", "--corpus", "fsdd", *options, "--json", table)
    result = json.loads(table.read_text())
    assert {row["held_out"] for row in result["results"]} == {"ann"}
    assert {"mfcc", "untrained", "trained", "trained: max of z"} <= result.keys()


@pytest.fixture(scope="module")
def more_recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("more") / "recordings"
    corpus = make_synthetic_corpus(folder, n_per_class=6, n_groups=3, duration=2.0, random_state=0)
    for name in set(corpus.target_names) - {"alarm", "dog"}:  # whose sound the report's small scale keeps
        shutil.rmtree(folder / name)
    return folder


@LITTLE_SOUND
def test_score_study_correlates_measures_with_the_accuracy(run, more_recordings, tmp_path):
    table, page = tmp_path / "score.json", tmp_path / "page.md"
    page.write_text("before\n<!-- score study: begin -->\nstale\n<!-- score study: end -->\nafter\n")
    names = ["recommended, untrained", "z of 32, untrained", "1 step ahead"]
    options = ["--corpus", f"sounds={more_recordings}", "--group-from", "^(.)", "--quick", "--json", table]
    run("score_study.py", *options, "--configurations", *names)
    results = json.loads(table.read_text())
    rows = results["sounds"]
    assert list(rows) == names
    for row, accuracy in zip(rows.values(), (0.5, 0.9, 0.7), strict=True):
        row["accuracy"] = accuracy  # other processors may find equal ones, which have no ranks
    table.write_text(json.dumps(results))
    output = run("score_study.py", *options, "--configurations", *names, "--page", page)
    assert json.loads(table.read_text()) == results  # nothing was computed again
    line = next(line for line in page.read_text().splitlines() if line.startswith("| score |"))
    assert line in output
    expected = spearmanr([row["score"] for row in rows.values()], [0.5, 0.9, 0.7]).statistic
    assert line.split("|")[2].strip() == f"{expected:+.2f}"
    assert "stale" not in page.read_text()


def test_label_study_writes_accuracies_and_gains_once(run, recordings, tmp_path):
    page, figure = tmp_path / "page.md", tmp_path / "labels.png"
    page.write_text("before\n<!-- label study: begin -->\nstale\n<!-- label study: end -->\nafter\n")
    options = ["--corpus", f"sounds={recordings}", "--group-from", "^(.)", "--draws", 1, "--epochs", 1]
    options += ["--output", tmp_path, "--page", page, "--figure", figure, "--jobs", 1]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*s of sound is little to learn from")
        output = run("label_study.py", *options)
    table = pd.read_csv(tmp_path / "sounds.csv", index_col=["representation", "n_labels"])
    cells = {
        row[2].strip(): [cell.split()[0] for cell in row[3:-1]]
        for row in (line.split("|") for line in output.splitlines() if line.startswith("| sounds"))
    }
    assert {"chance", "mfcc", "CPC (untrained)", "CPC", "supervised"} < cells.keys()
    for name in ("CPC", "supervised"):
        assert cells[name] == [f"{100 * mean:.1f}" for mean in table.loc[name, "mean"]]
    gain = 100 * (table.loc["CPC", "mean"] - table.loc["CPC (untrained)", "mean"])
    assert list(map(float, cells["gain of CPC over untrained"])) == pytest.approx(gain, abs=0.051)
    assert output.strip() in page.read_text()
    assert "stale" not in page.read_text()
    assert figure.stat().st_size > 5000
    assert run("label_study.py", *options) == output  # it computes nothing: a warning would be an error


def test_overfitting_prints_gaps_of_network_and_probe(run, more_recordings):
    output = run("overfitting.py", "--audio", more_recordings, "--group-from", "^(.)", "--epochs", 1)
    assert output.splitlines()[0].split() == ["trained", "untrained"]
    assert {"network_gap", "probe_gap", "cv_network_gap"} <= {line.split()[0] for line in output.splitlines()[1:]}


def test_report_experiment_resumes_where_it_stopped(run, more_recordings, tmp_path, monkeypatch):
    options = [
        "--audio",
        more_recordings,
        "--group-from",
        "^(.)",
        "--scale",
        "small",
        "--epochs",
        1,
        "--rotations",
        1,
    ]
    options += ["--networks", "1D conv + GRU", "--output", tmp_path / "report"]
    first = run("report_experiment.py", *options)
    folder = tmp_path / "report"
    rows = {line.split("|")[1].strip() for line in (folder / "summary.md").read_text().splitlines() if "|" in line}
    assert {"chance", "mfcc", "1D conv + GRU", "1D conv + GRU (untrained)"} <= rows
    figures = re.findall(r"!\[[^]]*\]\(([^)]*)\)", (folder / "summary.md").read_text())
    assert len(figures) == 15
    assert all((folder / figure).exists() for figure in figures)
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob("*.joblib")}
    monkeypatch.setattr(plt, "savefig", lambda path, **_: None)  # to draw the same again takes seconds
    assert run("report_experiment.py", *options) == first
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.joblib")} == kept
    with pytest.raises(SystemExit, match="holds results of other settings"):
        run("report_experiment.py", *options, "--seed", 1)


def test_agile_compares_ways_to_choose_labels_and_writes_what_it_finds(run, tmp_path):
    output = run("agile.py", "--quick", "--epochs", 0, "--output", tmp_path)
    result = json.loads((tmp_path / "table.json").read_text())
    assert {row["features"] for row in result["means"]} == {"MFCC", "CPC, untrained", "CPC, trained"}
    after = [row for row in result["means"] if row["n_labels"] > 5]
    assert {row["strategy"] for row in after} >= {"likely and different", "highest scores", "random"}
    assert all(0 <= row[name] <= 1 for row in after for name in ("precision", "recall", "average_precision"))
    assert (tmp_path / "agile.png").stat().st_size > 5000
    assert "Begin Time (s)" in next((tmp_path / "found-raven").glob("*.txt")).read_text()
    assert list((tmp_path / "found-audacity").glob("*.txt"))
    assert "windows found" in output


def test_agile_asks_for_labels_of_own_recordings(run, recordings, tmp_path):
    paths = sorted(recordings.glob("*/*.wav"))
    table = tmp_path / "five.csv"
    lines = [f"{path},0.0,1.0,{path.parent.name}\n" for path in paths[:2]]
    table.write_text("path,onset,duration,label\n" + "".join(lines))
    label = paths[0].parent.name
    options = ["--recordings", *paths, "--annotations", table, "--target", label, "--ask", "--epochs", 0]
    output = run("agile.py", *options, "--output", tmp_path / "out", answers="y\nn\nq\n")
    assert f"is there a {label}?" in output
    assert "windows found" in output
