"""The notebook of the first hour runs from top to bottom, quietly, and is kept without outputs."""

import re
from pathlib import Path

import nbclient
import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "first-hour.ipynb"
NARROW = "encoder__n_filters=16, encoder__z_dim=16, autoregressor__c_dim=16"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_notebook_has_no_outputs(notebook):
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.outputs for cell in code] == [[]] * len(code)
    assert {cell.execution_count for cell in code} == {None}


def test_links_of_the_notebook_have_targets(notebook):
    text = "".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert len(links) == 3
    assert [link for link in links if not (NOTEBOOK.parent / link).exists()] == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning:zmq", "ignore::DeprecationWarning:jupyter_client")
def test_notebook_runs_and_shows_sounds_scores_and_figures(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    for cell in notebook.cells:  # fewer epochs and a narrow network show that the code runs
        cell.source = cell.source.replace("max_epochs=3", f"max_epochs=1, {NARROW}")
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [output.get("data", {}) for output in outputs]
    assert sum("<audio" in data.get("text/html", "") for data in shown) == 4
    assert sum("image/png" in data for data in shown) == 2
    assert any("untrained" in data.get("text/plain", "") for data in shown)
    assert any("application/vnd.jupyter.widget-view+json" in data for data in shown)  # progress bars
    assert [output.text for output in outputs if output.output_type == "stream"] == []
    assert (tmp_path / "first-hour" / "cpc.safetensors").exists()
