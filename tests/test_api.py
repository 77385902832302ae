"""The public surface: names, signatures and their documentation, and which way imports run."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from corpus import RATE, rising_tones, small_cpc

import sklearn_cpc
from sklearn_cpc import AutoencoderReducer, LinearProbe, MFCCTransformer

PACKAGE = Path(sklearn_cpc.__file__).parent

ESTIMATORS = ["AutoencoderReducer", "CPCTransformer", "LinearProbe", "MFCCTransformer"]
RECIPES = [
    "AttentionContext",
    "Augmentation",
    "CausalAttentionContext",
    "Checkpoint",
    "Conv1dEncoder",
    "Conv2dEncoder",
    "GRUContext",
    "InfoNCE",
    "LSTMContext",
    "LogMelEncoder",
]
FUNCTIONS = ["export_onnx", "info_nce", "load", "make_cpc", "sample_clips", "save"]
OTHERS = ["Clip", "EmbeddingMonitor", "__version__"]


def test_public_names_are_these():
    assert sorted(sklearn_cpc.__all__) == sorted(ESTIMATORS + RECIPES + FUNCTIONS + OTHERS)
    assert [name for name in sklearn_cpc.__all__ if not hasattr(sklearn_cpc, name)] == []


def test_package_is_marked_as_typed():
    assert (PACKAGE / "py.typed").exists()


# Imports


def imports_of(path):
    """Names of the modules a file imports, absolute."""
    parents = ["sklearn_cpc", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = parents[: len(parents) - node.level + 1] if node.level else []
            yield ".".join([*above, *([node.module] if node.module else [])])


def modules_of(folder):
    return sorted(path.relative_to(PACKAGE).as_posix() for path in (PACKAGE / folder).rglob("*.py"))


ESTIMATORS_FILES = [f"sklearn_cpc.{name}" for name in ("autoencoder", "configurations", "cpc", "mfcc", "probe")]
ABOVE = [*ESTIMATORS_FILES, *(f"sklearn_cpc.{room}" for room in ("archive", "datasets", "displays", "evaluation"))]
FILES = ["os", "io", "pathlib", "tempfile", "shutil", "soundfile", "soxr", "joblib", "safetensors"]
FORBIDDEN = {
    "audio": ["torch", "skorch", *(f"sklearn_cpc.{room}" for room in ("nn", "training", "persistence")), *ABOVE],
    "nn": [*FILES, "skorch", *(f"sklearn_cpc.{room}" for room in ("audio", "training", "persistence")), *ABOVE],
    "training": ["soundfile", "soxr", "joblib", "librosa", "sklearn_cpc.audio", *ABOVE],
    "persistence": ["skorch", *(f"sklearn_cpc.{room}" for room in ("audio", "nn", "training")), *ABOVE],
    "datasets": ["torch", "skorch", *(f"sklearn_cpc.{room}" for room in ("nn", "training")), *ABOVE[:-4]],
    "archive": ["skorch", "sklearn_cpc.nn", *ABOVE[:-4], *ABOVE[-3:]],
    "evaluation": ["torch", "skorch", "sklearn_cpc.archive", "sklearn_cpc.training", "sklearn_cpc.displays"],
    "displays": ["torch", "skorch", *(f"sklearn_cpc.{room}" for room in ("nn", "training")), *ABOVE[:-4]],
}
# What networks and losses use of scikit-learn: recipes and their parameters, no estimator machinery
ALLOWED_IN_NN = {"sklearn.base", "sklearn.utils._param_validation"}


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [(module, names) for folder, names in FORBIDDEN.items() for module in modules_of(folder)],
)
def test_imports_follow_the_layer_order(module, forbidden):
    for name in imports_of(PACKAGE / module):
        assert name != "sklearn_cpc"  # the package itself imports everything
        assert [other for other in forbidden if name == other or name.startswith(f"{other}.")] == []


def test_networks_use_no_estimator_machinery_of_scikit_learn():
    imported = {name for path in modules_of("nn") for name in imports_of(PACKAGE / path)}
    assert {name for name in imported if name.split(".")[0] == "sklearn"} == ALLOWED_IN_NN


def test_reading_audio_needs_no_torch():
    assert "torch" not in {
        name.split(".")[0] for path in modules_of("audio") for name in imports_of(PACKAGE / path)
    }
    assert {
        name for name in imports_of(PACKAGE / "cpc.py") if name.startswith("sklearn_cpc.nn")
    }  # the parser works


# Documentation


def section(docstring, title):
    """Entries of a numpydoc section: {name: type}, in order; a line that names several gives several."""
    match = re.search(rf"^{title}\n-+\n(.*?)(?=^\S[^\n]*\n-+$|\Z)", inspect.cleandoc(docstring), re.M | re.S)
    entries = re.findall(r"^(\w[\w, ]*?)(?: : (.*))?$", match[1], re.M) if match else []
    return {name.strip(): kind for names, kind in entries for name in names.split(",")}


def parameters_of(function):
    parameters = inspect.signature(function).parameters
    return {name: parameter.default for name, parameter in parameters.items() if name != "self"}


@pytest.mark.parametrize("name", [*ESTIMATORS, *RECIPES, *FUNCTIONS[:2], "Clip", "load", "sample_clips", "save"])
def test_every_parameter_is_documented_in_order_with_its_default(name):
    public = getattr(sklearn_cpc, name)
    documented, parameters = section(public.__doc__, "Parameters"), parameters_of(public)
    assert list(documented) == list(parameters)
    for parameter, default in parameters.items():
        stated = re.search(r"default=(.+)$", documented[parameter] or "")
        if default is inspect.Parameter.empty:
            assert stated is None, parameter
        elif documented[parameter]:  # several in one line refer to where they are documented
            assert stated, f"{parameter} does not state its default"
            assert ast.literal_eval(stated[1]) == default, parameter


@pytest.mark.parametrize("name", [*ESTIMATORS, *RECIPES, *FUNCTIONS[:2], "Clip", "load", "sample_clips", "save"])
def test_every_docstring_has_an_example_and_a_one_line_summary(name):
    docstring = inspect.cleandoc(getattr(sklearn_cpc, name).__doc__)
    assert docstring.split("\n")[0].endswith(".")
    assert docstring.split("\n")[1] == ""
    assert "\nExamples\n--------\n" in docstring
    assert ">>> " in docstring


def methods_of(name):
    public = getattr(sklearn_cpc, name)
    for method, function in {"__call__": public.__call__, **vars(public)}.items():  # recipes inherit theirs
        if inspect.isfunction(function) and (not method.startswith("_") or method == "__call__"):
            yield f"{name}.{method}"


@pytest.mark.parametrize("path", [path for name in ESTIMATORS + RECIPES for path in methods_of(name)])
def test_every_public_method_documents_its_parameters(path):
    name, method = path.split(".")
    function = getattr(getattr(sklearn_cpc, name), method)
    assert list(section(function.__doc__, "Parameters")) == list(parameters_of(function))
    assert "\nReturns\n-------\n" in inspect.cleandoc(function.__doc__)


FITTED = {
    "CPCTransformer": lambda X, y: small_cpc().fit(X),
    "AutoencoderReducer": lambda X, y: AutoencoderReducer(2, max_epochs=1).fit(X),
    "LinearProbe": lambda X, y: LinearProbe(max_epochs=1).fit(X, y),
    "MFCCTransformer": lambda X, y: MFCCTransformer(4, sample_rate=RATE, n_fft=64, n_mels=8).fit(X),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_fitted_attribute_exists_and_is_documented(name):
    fitted = FITTED[name](rising_tones(8), np.arange(8) % 2)
    learned = {name for name in dir(fitted) if name.endswith("_") and name[0] != "_" and hasattr(fitted, name)}
    assert set(section(type(fitted).__doc__, "Attributes")) == learned


@pytest.mark.parametrize("name", ["cpc", "autoencoder", "probe", "mfcc", "datasets"])
def test_every_module_has_a_summary_line(name):
    assert importlib.import_module(f"sklearn_cpc.{name}").__doc__.strip().endswith(".")
