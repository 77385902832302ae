"""Networks: weights as arrays, taken by a network that is built anew from the parameters."""

import warnings
from itertools import zip_longest

import numpy as np
import torch

from ._attributes import CHANGED, Attribute, take

DTYPES = {torch.float32: "float32", torch.int64: "int64"}
PLAIN = bool, int, float, str, tuple, list, dict, type(None), np.generic


class Network(Attribute):
    """A fitted network.

    Parameters
    ----------
    build : callable
        Called with the estimator, returns the module with weights at random. Called first where tensors take
        no memory: what it allocates beyond them it must have found to be small.
    """

    def __init__(self, build):
        super().__init__()
        self.build = build

    def write(self, value, place, arrays):
        """Return the number of arrays."""
        state = value.state_dict()
        for name, weights in state.items():
            if weights.dtype not in DTYPES:
                raise TypeError(f"{place}/{name} is {weights.dtype}; call network_.float() before you save.")
            arrays[f"{place}/{name}"] = weights.detach().cpu().numpy()
        return len(state)

    def read(self, entry, place, arrays, estimator):
        """Build the network, if the file holds exactly its weights."""
        shapes = self._built(estimator, place, "meta").state_dict()
        if entry != len(shapes):
            raise ValueError(f"{place} has {entry} arrays, but by the parameters it must have {len(shapes)}")
        weights = {
            name: torch.from_numpy(take(arrays, f"{place}/{name}", (DTYPES[like.dtype],), tuple(like.shape)))
            for name, like in shapes.items()
        }
        network = self._built(estimator, place, "cpu")
        network.load_state_dict(weights)
        return network.eval()

    def _built(self, estimator, place, device):
        try:
            with torch.random.fork_rng(devices=[]), torch.device(device), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # fit has warned
                return self.build(estimator)
        except Exception as error:  # parameters without sense may raise anything
            raise ValueError(f"{place} cannot be built from the parameters: {error}") from error

    def compare(self, value, loaded, where):
        """Raise unless what came back is the network that was fitted."""
        difference = first_difference(value, loaded)
        if difference:
            raise ValueError(f"{where} is not the network its parameters stand for: {difference}. {CHANGED}")


def first_difference(fitted, rebuilt):
    """Say in what two networks differ, their types, settings, weights or buffers; None if in nothing."""
    pairs = zip_longest(fitted.named_modules(), rebuilt.named_modules(), fillvalue=("", None))
    for (name, one), (_, other) in pairs:
        if type(one) is not type(other):
            return f"{name or 'it'} is a {type(one).__name__} and should be a {type(other).__name__}"
        before, after = settings(one), settings(other)
        for setting in sorted(before.keys() | after.keys()):
            if before.get(setting) != after.get(setting):
                path = f"{name}.{setting}".lstrip(".")
                return f"{path} is {before.get(setting)!r} and would become {after.get(setting)!r}"
    one, other = tensors(fitted), tensors(rebuilt)
    for name in sorted(one.keys() | other.keys()):
        if name not in one or name not in other or not torch.equal(one[name].cpu(), other[name]):
            return f"{name} would become another one"
    return None


def settings(module):
    """List what a module keeps beside tensors and modules, as far as it is plain, by name."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, PLAIN) and not name.startswith("_") and name != "training"
    }


def tensors(network):
    """All weights and buffers by name, those too that are computed and not saved."""
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}
