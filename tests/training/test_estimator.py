"""What a fitted estimator keeps, and how it goes on from there."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from sklearn_cpc.training.estimator import take_over


def test_taking_over_loads_the_weights_that_fit_and_refuses_others():
    estimator = SimpleNamespace(network_=nn.Linear(3, 1))
    network = nn.Linear(3, 1)
    take_over(estimator, network)
    assert torch.equal(network.weight, estimator.network_.weight)
    assert network.weight is not estimator.network_.weight
    with pytest.raises(ValueError, match=r"whose weights do not fit .* fit with warm_start=False"):
        take_over(estimator, nn.Linear(4, 1))
