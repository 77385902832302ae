"""The benchmarks run, and their figures become a file, a page and a picture."""

import json
import subprocess
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


def test_a_part_writes_its_rows_and_leaves_those_of_others(tmp_path):
    file, page = tmp_path / "results" / "latest.json", tmp_path / "docs" / "speed.md"
    file.parent.mkdir()
    file.write_text(json.dumps({"estimators": [{"estimator": "LinearProbe", "epoch (s)": 0.123456}]}))
    options = ["--only", "front-end", "--rounds", "1", "--json", file, "--page", page]
    process = subprocess.run(
        [sys.executable, FOLDER / "run.py", *map(str, options)], capture_output=True, text=True, check=True
    )
    results = json.loads(file.read_text())
    assert [row["frames of"] for row in results["front-end"]] == [
        "librosa's defaults",
        "LogMelEncoder",
        "Conv2dEncoder",
    ]
    assert all(row["largest difference (dB)"] < 1e-3 for row in results["front-end"])
    assert "| LogMelEncoder | 16000 | 512, 160 | 64 |" in process.stdout
    text = page.read_text()
    assert "| LogMelEncoder | 16000 |" in text
    assert "| LinearProbe | 0.123 |" in text
    assert text.index("## Spectrograms") < text.index("## Reducer and probe")


def test_archives_are_measured_in_processes_of_their_own_and_drawn(tmp_path, module):
    archive, run = module("archive"), module("run")
    paths = archive.archive_in(str(tmp_path), 2)
    rows = [{**archive.archived("fit", 0, paths), "hours of sound": hours} for hours in (0, 1)]
    assert all(row["time (s)"] > 0 and row["peak memory (MB)"] > 100 for row in rows)
    page = tmp_path / "docs" / "speed.md"
    page.parent.mkdir()
    run.write_page({"machine": run.machine(), "archive": rows}, page)
    assert "![Time and peak memory against hours of sound](images/speed-archives.png)" in page.read_text()
    assert (page.parent / "images" / "speed-archives.png").stat().st_size > 1000


def test_rivals_take_turns_and_the_first_round_does_not_count(module):
    calls = []
    rivals = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = module("timing").best(2, **rivals)
    assert calls == ["a", "b"] * 3
    assert all(seconds >= 0 for seconds in times.values())


def test_steps_that_keep_memory_and_such_that_do_not_are_timed_in_turns(module, monkeypatch):
    allocator = module("allocator")
    monkeypatch.setattr(allocator, "CONFIGURATIONS", ("small-corpus",))
    asked = []
    monkeypatch.setattr(allocator, "in_a_process", lambda *given: asked.append(given) or (1.0 + len(asked), 8))
    (row,) = allocator.bench_allocator(3)
    assert [how for _, how in asked] == ["handed back", "kept"] * 3
    assert row["handed back / kept"] == 4 / 5
    monkeypatch.undo()
    seconds, pages = allocator.in_a_process("small-corpus", "kept")
    assert seconds > 0
    assert pages >= 0
