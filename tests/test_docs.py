"""The code blocks of the README and of the user guide run, page by page."""

import contextlib
import re
import shutil
from pathlib import Path

import pytest
from joblib import parallel_config

from sklearn_cpc.datasets import make_synthetic_corpus

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXTRAS = {"clusters.md": ["distributed", "ray"]}  # modules that a page needs
PLUG_INS = ROOT / "docs" / "plug-ins.md"
PACKAGES = {  # that a section needs
    "scikit-learn's callbacks": ["sklearn.callback"],
    "MLflow": ["mlflow"],
    "Weights & Biases": ["wandb"],
}
FILES = {  # that it leaves: logs that hold something
    "skorch's callbacks": ["best/params.pt"],
    "TensorBoard": ["runs/owls/events*", "runs/search/*/events*"],
    "MLflow": ["mlflow.db", "mlruns/**/cpc.safetensors", "mlruns/**/params.pth"],
    "Weights & Biases": ["wandb/offline-run*/*.wandb"],
}
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


@pytest.mark.usefixtures("narrow_networks")
@pytest.mark.parametrize("page", [page for page in PAGES if page != PLUG_INS], ids=lambda page: page.name)
def test_code_of_every_page_runs(page, folder, monkeypatch):
    for module in EXTRAS.get(page.name, ()):
        pytest.importorskip(module, reason="needs the extra 'distributed'")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # writes no token to the home folder
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.chdir(folder)
    names = {}
    with parallel_config("threading"):  # processes take seconds to start
        for block in BLOCK.findall(page.read_text()):
            run(block, page, names)


def run(block, page, names):
    # One epoch shows that the code runs; the epochs in the text are for real corpora.
    code = re.sub(r"max_epochs=\d+", "max_epochs=1", re.sub(AUTOMATIC, "make_cpc(max_epochs=1, ", block))
    exec(compile(code, page.name, "exec"), names)


FIRST, *SECTIONS = re.split(r"^## ", PLUG_INS.read_text(), flags=re.MULTILINE)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what MLflow uses
@pytest.mark.filterwarnings("ignore:OptunaSearchCV is experimental")
@pytest.mark.filterwarnings("ignore:`optuna.terminator` module has been deprecated:FutureWarning")
@pytest.mark.usefixtures("narrow_networks")
@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.split("\n")[0])
def test_every_plug_in_runs(section, folder, monkeypatch, tmp_path):
    for module in PACKAGES.get(section.split("\n")[0], ()):
        pytest.importorskip(module, reason=f"needs {module}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recordings").symlink_to(folder / "recordings")
    monkeypatch.setenv("WANDB_SILENT", "true")
    names = {}
    with contextlib.ExitStack() as stack, parallel_config("threading"):
        if "load_from_hub" in section:
            from hub_server import serve_hub, use_server

            use_server(monkeypatch, stack.enter_context(serve_hub()), tmp_path / "hub")
        for block in BLOCK.findall(FIRST + section):
            run(block, PLUG_INS, names)
    for pattern in FILES.get(section.split("\n")[0], ()):
        assert list(tmp_path.glob(pattern)) != []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_link_has_a_target(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
