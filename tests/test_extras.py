"""The core works without the packages of the extras, and what needs one of them names its extra."""

import os
from pathlib import Path

import pytest
from corpus import write_corpus
from prepared import prepare

BLOCK = """
from importlib.machinery import PathFinder

hidden = {"bokeh", "crowsetta", "matplotlib", "onnxruntime", "onnxscript", "pandas", "pyarrow"}
find_spec = PathFinder.find_spec
PathFinder.find_spec = lambda name, *args: None if name in hidden else find_spec(name, *args)
from corpus import small_cpc
"""
RECORDINGS = """
from glob import glob

paths = sorted(glob("*.wav"))
labels = [path.partition("-")[0] for path in paths]
"""
CORE = """
import numpy as np
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn_cpc import AutoencoderReducer, Clip, LinearProbe, MFCCTransformer, load, make_cpc

reducer, probe = AutoencoderReducer(4, max_epochs=1, random_state=0), LinearProbe(max_epochs=1, random_state=0)
chain = make_pipeline(small_cpc(), reducer, probe)
search = GridSearchCV(chain, {"linearprobe__lr": [0.1, 0.01]}, cv=2).fit(paths, labels)
search.best_estimator_[0].save("model.safetensors")
table = np.array([(paths[0], 0.2, 0.5)], [("path", "O"), ("onset", float), ("duration", float)])
rows = [Clip(paths[0], 0.2, 0.5)], [{"path": paths[0], "onset": 0.2, "duration": 0.5}], table
assert len({load("model.safetensors").transform(X).tobytes() for X in rows}) == 1
make_pipeline(MFCCTransformer(sample_rate=8000), probe).fit(paths, labels).predict(paths)
"""
NEEDS = """
def attempt(code):
    try:
        exec(code, globals())
    except ImportError as error:
        print(code, "->", str(error).partition("install ")[2])

attempt("import sklearn_cpc.evaluation")
attempt("import sklearn_cpc.archive")
attempt("import sklearn_cpc.displays")
attempt("from sklearn_cpc import export_onnx; export_onnx(small_cpc(), 'model.onnx')")
hidden.remove("pandas")
from sklearn_cpc.archive import cut_windows, embed_archive, read_annotations
from sklearn_cpc.displays import *
from sklearn_cpc.evaluation import label_efficiency

cpc = small_cpc(max_epochs=0).fit(paths)
X = cpc.transform(paths)
attempt("ConfusionDisplay.from_predictions(labels, labels)")
attempt("EmbeddingDisplay.from_embeddings(X, labels)")
attempt("LabelEfficiencyDisplay.from_estimator(cpc, paths, labels)")
attempt("LossCurveDisplay.from_history([{'epoch': 1, 'train_loss': 1.0}])")
attempt("RecordingDisplay.from_estimator(cpc, paths[0])")
attempt("EmbeddingMap.from_embeddings(X, [(path, 0.0, 1.0) for path in paths]).save('map.html')")
attempt("embed_archive(cpc, cut_windows(paths, duration=0.5), 'archive')")
"""
EXTRAS = ["evaluation", "archive", "evaluation", "onnx", "plot", "plot", "plot", "plot", "plot", "map", "archive"]


@pytest.fixture(scope="module")
def run_without_extras():
    tests = Path(__file__).parent
    with prepare(BLOCK, PYTHONPATH=f"{tests}{os.pathsep}{tests.parent}") as run:
        yield run


@pytest.fixture
def run(run_without_extras, tmp_path):
    """Run code beside recordings in another process, where optional packages cannot be imported."""
    write_corpus(tmp_path)
    return lambda code: run_without_extras(RECORDINGS + code, tmp_path)


def test_core_needs_no_optional_package(run):
    result = run(CORE)
    assert result.returncode == 0, result.stderr


def test_what_needs_an_optional_package_names_its_extra(run):
    result = run(NEEDS)
    assert result.returncode == 0, result.stderr
    advice = [line.partition("-> ")[2] for line in result.stdout.splitlines()]
    assert advice == [f"it with pip install 'sklearn-cpc[{extra}]'." for extra in EXTRAS], result.stdout
