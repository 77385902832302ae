"""Faults that are tried at random: a few of each kind, with a fixed seed, and how findings are reported."""

import os
import sys
from pathlib import Path

import fault_damage
import fault_threads
import pytest
from faults import main, try_faults

from sklearn_cpc.archive import embedding


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Restore the size of the parts of an archive, which the faults set."""
    monkeypatch.setattr(embedding, "PART_SECONDS", 0.8)


@pytest.mark.parametrize(("fault", "count"), [(fault_damage, 60), (fault_threads, 6)])
def test_no_fault_gives_other_results(fault, count):
    _, findings = try_faults(fault.prepare, count=count)
    assert findings == []


RUN = "import runpy; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
TESTS = Path(__file__).parent


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs fork and /proc")
@pytest.mark.parametrize(("script", "count"), [("fault_kills.py", 8), ("fault_shortage.py", 8)])
def test_no_fault_of_a_process_gives_other_results(script, count, run_anew, tmp_path):
    ended = run_anew(RUN, tmp_path, TESTS / script, "--count", count)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"\n{count} inputs, 0 findings" in ended.stdout


def test_findings_are_reported_with_their_number_and_are_repeatable(capsys):
    drawn = []

    def prepare(folder):
        def draw(place, random):
            assert os.listdir(place) == []
            (place / "file").touch()
            drawn.append(random.random())
            return "drawn"

        return {"first": draw, "second": lambda place, random: {}["missing"]}

    assert main(prepare, "", ["--count", "3", "--seed", "5"]) == 1
    report = capsys.readouterr().out
    assert "| first | 2 | 2 | 0 |\n| second | 1 | 0 | 1 |" in report
    assert "\n3 inputs, 1 findings" in report
    assert "second, --first 1 --count 1\nTraceback" in report
    assert main(prepare, "", ["--first", "2", "--count", "1", "--seed", "5"]) == 0
    assert drawn[2:] == drawn[1:2]
