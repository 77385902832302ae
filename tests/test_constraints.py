"""The annotations of parameters: types for readers, limits for scikit-learn."""

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
from sklearn.base import BaseEstimator, clone

import sklearn_cpc
from sklearn_cpc._constraints import Constrained, integers

PUBLIC = [getattr(sklearn_cpc, name) for name in sklearn_cpc.__all__]
CLASSES = [public for public in PUBLIC if isinstance(public, type) and issubclass(public, Constrained)]


@dataclass(repr=False, eq=False)
class Counter(Constrained, BaseEstimator):
    count: Annotated[int, integers(1, 9)] = 1
    name: str = "count"


@dataclass(repr=False, eq=False)
class LongCounter(Counter):
    count: Annotated[int, integers(1, 99)] = 1
    unit: Annotated[str | None, str, None] = None


def test_limits_come_from_annotations():
    Counter(9, name=None)._validate_params()
    with pytest.raises(ValueError, match=r"'count' parameter of Counter must be an int in the range \[1, 9\]"):
        Counter(10)._validate_params()


def test_subclasses_inherit_and_replace_limits():
    LongCounter(99, unit=None)._validate_params()
    with pytest.raises(ValueError, match=r"\[1, 99\]. Got 100"):
        LongCounter(100)._validate_params()
    with pytest.raises(ValueError, match=r"\[1, 9\]. Got 99"):
        Counter(99)._validate_params()


@pytest.mark.parametrize("public", CLASSES, ids=lambda public: public.__name__)
def test_signatures_show_plain_types_and_every_parameter_has_limits(public):
    parameters = inspect.signature(public).parameters
    assert set(parameters) == set(public._parameter_constraints)
    assert "Annotated" not in str(inspect.signature(public))


def test_estimators_are_compared_by_identity_and_shown_without_defaults():
    counter = LongCounter(5)
    assert repr(counter) == "LongCounter(count=5)"
    assert counter != clone(counter)
    assert len({counter, counter}) == 1
