"""Pipelines: find the estimators inside others."""


def find_nested(estimator, condition):
    """Return the estimator and its nested parameters, as far as they satisfy a condition.

    The steps of a Pipeline come in their order.
    """
    return [part for part in (estimator, *estimator.get_params().values()) if condition(part)]
