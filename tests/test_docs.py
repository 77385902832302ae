"""The code blocks of the README and of the user guide run, page by page."""

import re
import shutil
from pathlib import Path

import pytest
from joblib import parallel_config

from sklearn_cpc.datasets import make_synthetic_corpus

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXTRAS = {"clusters.md": ["distributed", "ray"]}  # modules that a page needs
AUTOMATIC = r"make_cpc\((?=\)|verbose)"  # chooses its epochs
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    corpus = make_synthetic_corpus(
        folder / "recordings", n_per_class=6, duration=2.0, sample_rate=11025, random_state=0
    )
    first, *others = corpus.target_names[3:]  # three classes are enough
    (folder / "recordings" / first).rename(folder / "unlabelled")
    for name in others:
        shutil.rmtree(folder / "recordings" / name)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_of_every_page_runs(page, folder, monkeypatch):
    for module in EXTRAS.get(page.name, ()):
        pytest.importorskip(module, reason="needs the extra 'distributed'")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # writes no token to the home folder
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.chdir(folder)
    names = {}
    with parallel_config("threading"):  # processes take seconds to start
        for block in BLOCK.findall(page.read_text()):
            # One epoch shows that the code runs; the epochs in the text are for real corpora.
            code = re.sub(r"max_epochs=\d+", "max_epochs=1", re.sub(AUTOMATIC, "make_cpc(max_epochs=1, ", block))
            exec(compile(code, page.name, "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_link_has_a_target(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
