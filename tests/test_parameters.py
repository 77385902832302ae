"""Parameters that cannot be used are named."""

from types import SimpleNamespace

import pytest
from sklearn_cpc._parameters import check_training_parameters
from skorch.callbacks import EarlyStopping


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"max_epochs": -1}, ValueError),
        ({"max_epochs": 1.5}, TypeError),
        ({"batch_size": 0}, ValueError),
        ({"batch_size": "8"}, TypeError),
        ({"lr": 0}, ValueError),
        ({"lr": None}, TypeError),
        ({"callbacks": EarlyStopping("train_loss")}, TypeError),
        ({"callbacks": ["early"]}, TypeError),
    ],
)
def test_a_bad_training_parameter_is_named(change, error):
    good = {"max_epochs": 0, "batch_size": 1, "lr": 1e-3, "callbacks": None}
    check_training_parameters(SimpleNamespace(**good))
    with pytest.raises(error, match=next(iter(change))):
        check_training_parameters(SimpleNamespace(**{**good, **change}))
