"""The oldest releases that the package may be installed with are those that the tests are run with."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def read_pins(file):
    """Read the versions of a constraints file, by name."""
    text = (ROOT / file).read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w-]+)==([\w.]+)", text, re.MULTILINE))


def test_floors_are_those_that_are_tested():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    dependencies = re.search(r"^dependencies = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL)[1]
    floors = dict(re.findall(r'^    "([\w-]+)>=([\w.]+)",$', dependencies, re.MULTILINE))
    assert len(floors) == dependencies.count("\n")
    pins = read_pins("constraints-floors.txt")
    assert {name: pins.get(name) for name in floors} == floors


@pytest.mark.parametrize("file", ["constraints-floors.txt", "constraints-newest.txt"])
def test_all_test_environments_have_the_same_torch(file):
    assert read_pins(file)["torch"] == read_pins("constraints.txt")["torch"]
