"""What sklearn_cpc.archive and sklearn_cpc.evaluation offer: names and documentation."""

import ast
import inspect
import re

import pytest

from sklearn_cpc import archive, evaluation

PUBLIC = [getattr(module, name) for module in (archive, evaluation) for name in module.__all__]


def test_public_names_are_these():
    functions = [
        "cut_windows",
        "embed_archive",
        "label_windows",
        "read_annotations",
        "read_archive",
        "write_annotations",
    ]
    assert sorted(archive.__all__) == ["EmbeddingIndex", *functions]
    comparisons = ["compare_representations", "compare_scores", "label_efficiency"]
    assert sorted(evaluation.__all__) == [*comparisons, "overfitting_gaps", "record_training"]


@pytest.mark.parametrize(
    "function", [*PUBLIC, archive.EmbeddingIndex.query], ids=lambda function: function.__name__
)
def test_parameters_are_documented_with_their_defaults(function):
    section = re.search(r"^Parameters\n-+\n(.*?)\n\n", inspect.getdoc(function), re.M | re.S)[1]
    documented = {
        name: kind
        for names, kind in re.findall(r"^(\w[\w, ]*) : (.*)$", section, re.M)
        for name in names.split(", ")
    }
    parameters = dict(inspect.signature(function).parameters)
    parameters.pop("self", None)
    assert set(documented) == set(parameters)
    if function.__module__.startswith(archive.__name__):  # evaluation documents similar ones together
        assert list(documented) == list(parameters)
    for name, parameter in parameters.items():
        stated = re.search(r"default=(.+)$", documented[name])
        if parameter.default is inspect.Parameter.empty:
            assert stated is None, name
        else:
            assert ast.literal_eval(stated[1]) == parameter.default, name


@pytest.mark.parametrize("function", PUBLIC, ids=lambda function: function.__name__)
def test_every_function_has_an_example(function):
    assert "Examples\n--------\n>>> " in inspect.getdoc(function)
