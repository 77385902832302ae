"""Networks in files: weights for a network that is built anew from the parameters of its estimator."""

from itertools import zip_longest

import numpy as np
import torch

from .._generators import redirect_draws, use_generator
from .._interrupts import note_interrupts

PLAIN = bool, int, float, str, tuple, list, dict, type(None), np.generic


def rebuild_network(estimator, weights):
    """Build the network of an estimator, and load a dict of weights; raise ValueError if they do not fit."""
    # First where tensors take no memory: the sizes are only numbers in a file until the weights confirm them.
    with note_interrupts(hold=True):  # torch imports what finds out shapes, and sympy, when it is first needed
        needed = {name: (t.shape, t.dtype) for name, t in _build(estimator, "meta").state_dict().items()}
    found = {name: (t.shape, t.dtype) for name, t in weights.items()}
    if needed != found:
        name = next(name for name in [*needed, *found] if needed.get(name) != found.get(name))
        wrong, right = found.get(name), needed.get(name)
        raise ValueError(f"network_/{name} is {wrong}, but by the parameters it must be {right}")
    for name, values in weights.items():
        if not values.isfinite().all():
            raise ValueError(f"network_/{name} holds NaN or infinity")
    network = _build(estimator, "cpu")
    network.load_state_dict(weights)
    return network.eval()


def _build(estimator, device):
    try:
        with torch.device(device), use_generator(torch.Generator()), redirect_draws():  # not torch's own generator
            return estimator._build_network()
    except Exception as error:  # parameters that make no sense may raise anything
        raise ValueError(f"network_ cannot be built from the parameters: {error}") from error


def first_difference(fitted, rebuilt):
    """Say how two networks differ: in types, settings, weights or buffers; None if they are equal."""
    pairs = zip_longest(fitted.named_modules(), rebuilt.named_modules(), fillvalue=("", None))
    for (name, one), (_, other) in pairs:
        if type(one) is not type(other):
            return f"{name or 'it'} is a {type(one).__name__} and should be a {type(other).__name__}"
        before, after = _state(one), _state(other)
        for key in sorted(before.keys() | after.keys()):
            path, kept, new = f"{name}.{key}".lstrip("."), before.get(key), after.get(key)
            if isinstance(kept, torch.Tensor) or isinstance(new, torch.Tensor):
                if kept is None or new is None or not torch.equal(kept.cpu(), new):
                    return f"{path} would change"
            elif kept != new:
                return f"{path} is {kept!r} and would become {new!r}"
    return None


def _state(module):
    """Weights, buffers, and numbers and text that a module itself has, by name."""
    settings = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, PLAIN) and not name.startswith("_") and name != "training"
    }
    return settings | dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
