"""The wheel holds the package and nothing else; the source distribution holds all that its tests need."""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from sklearn_cpc import __version__

ROOT = Path(__file__).parents[1]
BUILT = "*.egg-info", "__pycache__", "_build", "build", "dist", "results", "shared"
BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Build a wheel or a source distribution from a copy, as nothing else may change the repository."""
    folder = tmp_path_factory.mktemp("distribution")
    hidden = [path.name for path in ROOT.glob(".*") if path.name != ".ci"]
    shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(*BUILT, *hidden))

    def build(kind):
        command = [sys.executable, "-c", BUILD, f"build_{kind}", folder]
        result = subprocess.run(command, cwd=folder / "source", capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return next(folder.glob(f"*{'.whl' if kind == 'wheel' else '.tar.gz'}"))

    return build


def list_files(*folders):
    """List the files of the repository in folders, without what was built there, or is hidden."""
    paths = [path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    built = re.compile(r"(^|/)(\.|__pycache__|_build|results/)|^docs/(api/|gallery/|sg_execution)")
    return {path.as_posix() for path in paths if not built.search(path.as_posix())}


def test_wheel_holds_the_files_of_the_package_only(build):
    expected = list_files("sklearn_cpc")
    assert {"sklearn_cpc/py.typed", "sklearn_cpc/displays/map.html", "sklearn_cpc/displays/map.js"} < expected
    with zipfile.ZipFile(build("wheel")) as wheel:
        info = f"sklearn_cpc-{__version__}.dist-info/"
        assert {name for name in wheel.namelist() if not name.startswith(info)} == expected
        metadata = Parser().parsestr(wheel.read(f"{info}METADATA").decode())
    assert metadata["Version"] == __version__
    assert {"all", "evaluation", "plot"} <= set(metadata.get_all("Provides-Extra"))
    links = re.findall(r"\]\(([^)]+)\)", metadata.get_payload())
    assert [link for link in links if not link.startswith("https://")] == []  # no others work on a package index


def test_source_distribution_holds_tests_and_what_they_read(build):
    with tarfile.open(build("sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = list_files("benchmarks", "docs", "examples", "sklearn_cpc", "tests")
    expected |= {"CHANGELOG.md", "LICENSE", "Makefile", "constraints.txt", "constraints-floors.txt", "setup.py"}
    assert expected - names == set()


def test_all_files_state_the_same_version():
    patterns = {
        "CITATION.cff": r"^version: (.+)$",
        "CHANGELOG.md": r"^## (\S+) \(",
        "recipe/meta.yaml": r'version = "(.+)"',
    }
    for name, pattern in patterns.items():
        found = re.search(pattern, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        assert found, name
        assert found[1] == __version__, name
