"""The benchmarks run and write their results to a file, a page and a figure."""

import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    """Import a module of the benchmarks."""
    monkeypatch.syspath_prepend(FOLDER)

    def load(name):
        return __import__(name)

    return load


def test_running_one_part_keeps_results_of_other_parts(tmp_path, module, monkeypatch, capsys):
    file, page = tmp_path / "results" / "latest.json", tmp_path / "docs" / "speed.md"
    file.parent.mkdir()
    file.write_text(json.dumps({"estimators": [{"estimator": "LinearProbe", "epoch (s)": 0.123456}]}))
    best = module("timing").best
    monkeypatch.setattr(module("front_end"), "best", lambda rounds, in_a_row, **rivals: best(rounds, **rivals))
    options = ["--only", "front-end", "--rounds", "1", "--json", file, "--page", page]
    monkeypatch.setattr(sys, "argv", ["run.py", *map(str, options)])
    module("run").main()
    results = json.loads(file.read_text())
    assert [row["settings"] for row in results["front-end"]] == [
        "librosa's defaults",
        "LogMelEncoder",
        "Conv2dEncoder",
    ]
    assert all(row["largest difference (dB)"] < 1e-3 for row in results["front-end"])
    assert "| LogMelEncoder | 16000 | 512, 160 | 64 |" in capsys.readouterr().out
    text = page.read_text()
    assert "| LogMelEncoder | 16000 |" in text
    assert "| LinearProbe | 0.123 |" in text
    assert text.index("## Spectrograms") < text.index("## Reducer and probe")


def test_archives_are_measured_in_subprocesses_and_drawn(tmp_path, module):
    archive, run = module("archive"), module("run")
    paths = archive.write_archive(str(tmp_path), 2)
    row = archive.measure_archive("fit", 0, paths)
    assert row["time (s)"] > 0
    assert row["peak memory (MB)"] > 100
    rows = [{**row, "hours of sound": hours} for hours in (0, 1)]
    page = tmp_path / "docs" / "speed.md"
    page.parent.mkdir()
    run.write_page({"machine": run.describe_machine(), "archive": rows}, page)
    assert "![Time and peak memory against hours of sound](images/speed-archives.png)" in page.read_text()
    assert (page.parent / "images" / "speed-archives.png").stat().st_size > 1000


def test_competitors_take_turns_and_first_round_does_not_count(module):
    calls = []
    rivals = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = module("timing").best(2, **rivals)
    assert calls == ["a", "b"] * 3
    assert all(seconds >= 0 for seconds in times.values())


RUN_NARROW = """
import os, runpy
from sklearn_cpc.configurations import CONFIGURATIONS

narrow = {"encoder__n_filters": 16, "encoder__z_dim": 16, "autoregressor__c_dim": 16}
CONFIGURATIONS["small-corpus"].set_params(**narrow)
sys.path.insert(0, os.path.dirname(sys.argv[1]))
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def test_steps_with_and_without_kept_memory_take_turns(run_anew, module, monkeypatch, tmp_path):
    allocator = module("allocator")
    monkeypatch.setattr(allocator, "CONFIGURATIONS", ("small-corpus",))
    calls = []
    monkeypatch.setattr(allocator, "run_in_subprocess", lambda *call: calls.append(call) or (1.0 + len(calls), 8))
    (row,) = allocator.bench_allocator(3)
    assert [mode for _, mode in calls] == ["returned", "kept"] * 3
    assert row["returned / kept"] == 4 / 5
    monkeypatch.undo()
    monkeypatch.setattr(allocator, "STEPS", 1)
    commands = []  # each a Python, a script and its arguments

    def run(command, **_):
        commands.append(command)
        return run_anew(RUN_NARROW, tmp_path, *command[1:])

    monkeypatch.setattr(allocator.subprocess, "run", run)
    seconds, pages = allocator.run_in_subprocess("small-corpus", "kept")
    assert seconds > 0
    assert pages >= 0
    assert commands == [[sys.executable, allocator.__file__, "small-corpus", "kept", "1"]]


def test_measurements_for_a_gpu_run_on_a_cpu(tmp_path, module, monkeypatch):
    options = ["--json", str(tmp_path / "gpu.json"), "--device", "cpu", "--tiny"]
    monkeypatch.setattr(sys, "argv", ["gpu.py", *options])
    gpu = module("gpu")
    monkeypatch.setattr(gpu, "WARM_UP", 1)
    gpu.main()
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert [row["equal"] for row in results["checks"]] == [True]
    assert all(row["keeps the names of weights"] for row in results["steps"])
    assert [row["variant"] for row in results["steps"]] == ["as it is", "compiled"]
    assert [row["samples"] for row in results["fit"]] == ["resident", "copied"]
    for name in ("fit", "transform", "archive"):
        assert all(row["seconds of sound per second"] > 0 for row in results[name])


def test_results_that_differ_from_those_of_the_cpu_are_told(module, monkeypatch):
    gpu = module("gpu")
    monkeypatch.setattr(gpu, "move", lambda tensor, device: tensor * (1 + device.index if device.index else 1))
    (row,) = gpu.check_results(gpu.torch.device("cpu", 1), True, 1.0)
    assert not row["equal"]
