"""Pipelines: find the estimators inside others."""


def find_nested(estimator, condition):
    """Return the parts of an estimator that satisfy a condition, by the name of their parameter.

    The estimator itself is one of them, named "". The steps of a Pipeline come in their order.
    """
    parts = {"": estimator, **estimator.get_params()}
    return {name: part for name, part in parts.items() if condition(part)}
