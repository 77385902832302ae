"""Networks in files: weights for a network that is built anew from the parameters of its estimator."""

from itertools import zip_longest

import numpy as np
import torch

from .._generators import redirect_draws, use_generator
from .._interrupts import hold_interrupts

PLAIN = bool, int, float, str, tuple, list, dict, type(None), np.generic


def rebuild_network(estimator, weights):
    """Build the network of an estimator from its parameters and load weights into it, a dict of tensors.

    Raises ValueError if the network cannot be built, or needs other weights.
    """
    # First where tensors take no memory: the sizes are only numbers in a file until the weights confirm them.
    with hold_interrupts():  # torch imports the code that finds out shapes, and sympy, when it is first needed
        needed = {name: (t.shape, t.dtype) for name, t in _build(estimator, "meta").state_dict().items()}
    found = {name: (t.shape, t.dtype) for name, t in weights.items()}
    if needed != found:
        name = next(name for name in [*needed, *found] if needed.get(name) != found.get(name))
        raise ValueError(
            f"network_/{name} is {found.get(name)}, but by the parameters it must be {needed.get(name)}"
        )
    for name, values in weights.items():
        if not values.isfinite().all():
            raise ValueError(f"network_/{name} holds NaN or infinity")
    network = _build(estimator, "cpu")
    network.load_state_dict(weights)
    return network.eval()


def _build(estimator, device):
    try:
        # The initial weights are drawn without torch's generator.
        with torch.device(device), use_generator(torch.Generator()), redirect_draws():
            return estimator._build_network()
    except Exception as error:  # parameters that make no sense may raise anything
        raise ValueError(f"network_ cannot be built from the parameters: {error}") from error


def first_difference(fitted, rebuilt):
    """Say how two networks differ: in types, settings, weights or buffers; None if they are equal."""
    pairs = zip_longest(fitted.named_modules(), rebuilt.named_modules(), fillvalue=("", None))
    for (name, one), (_, other) in pairs:
        if type(one) is not type(other):
            return f"{name or 'it'} is a {type(one).__name__} and should be a {type(other).__name__}"
        before, after = _settings(one), _settings(other)
        for setting in sorted(before.keys() | after.keys()):
            if before.get(setting) != after.get(setting):
                path = f"{name}.{setting}".lstrip(".")
                return f"{path} is {before.get(setting)!r} and would become {after.get(setting)!r}"
    one, other = _tensors(fitted), _tensors(rebuilt)
    for name in sorted(one.keys() | other.keys()):
        if name not in one or name not in other or not torch.equal(one[name].cpu(), other[name]):
            return f"{name} would change"
    return None


def _settings(module):
    """Numbers and text that a module keeps beside tensors and modules, by name."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, PLAIN) and not name.startswith("_") and name != "training"
    }


def _tensors(network):
    """All weights and buffers by name, including those that are computed and not saved."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}
