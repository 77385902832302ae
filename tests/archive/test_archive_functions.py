"""What sklearn_cpc.archive offers: names and documentation."""

import ast
import inspect
import re

import pytest

from sklearn_cpc import archive

PUBLIC = [getattr(archive, name) for name in archive.__all__]


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
