"""What the functions of sklearn_cpc.evaluation share: names and documentation."""

import ast
import inspect
import re

import pytest

from sklearn_cpc import evaluation

FUNCTIONS = [getattr(evaluation, name) for name in evaluation.__all__]


def test_public_names_are_these():
    comparisons = ["compare_representations", "compare_scores", "label_efficiency"]
    assert sorted(evaluation.__all__) == [*comparisons, "overfitting_gaps", "record_training"]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_parameters_are_documented_with_their_defaults(function):
    section = re.search(r"^Parameters\n-+\n(.*?)\n\n", inspect.getdoc(function), re.M | re.S)[1]
    documented = {
        name: kind
        for names, kind in re.findall(r"^(\w[\w, ]*) : (.*)$", section, re.M)
        for name in names.split(", ")
    }
    parameters = inspect.signature(function).parameters
    assert set(documented) == set(parameters)
    for name, parameter in parameters.items():
        stated = re.search(r"default=(.+)$", documented[name])
        if parameter.default is inspect.Parameter.empty:
            assert stated is None, name
        else:
            assert ast.literal_eval(stated[1]) == parameter.default, name


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_every_function_has_an_example(function):
    assert "Examples\n--------\n>>> " in inspect.getdoc(function)
