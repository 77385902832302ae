"""Checkpoints: the state of a training after its epochs, written whole or not at all, to go on from."""

import hashlib
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from skorch.callbacks import Callback
from skorch.history import History
from torch.optim.lr_scheduler import LRScheduler

from .._files import atomic_write
from .._version import __version__

FILE = "checkpoint.pt"
NO_MATTER = {"checkpoint", "checkpoint_every", "device", "memory", "n_jobs", "on_error", "verbose"}
NO_MATTER |= {"n_clips", "pooling"}  # of embedding
PLAIN = (type(None), bool, int, float, str, torch.Tensor)


class Checkpoint(Callback):
    """Write everything a training needs to go on exactly, and take it up again where one was cut short.

    To be the last of the callbacks: what the others did in an epoch is part of its state.

    Parameters
    ----------
    directory : str or path-like
        Made if need be.
    settings : dict of {str: str}
        What the training depends on; one with other settings is not gone on with.
    random : RandomState
        Draws the clips.
    every : int, default=1
        Epochs from one checkpoint to the next; the last is always written.
    """

    def __init__(self, directory, settings, random, every=1):
        self.path = Path(directory) / FILE
        self.settings = {**settings, "format": "1"}
        self.random = random
        self.every = every

    @classmethod
    def of(cls, estimator, network, samples, random):
        """Build it for a CPCTransformer about to be trained; None if it has no ``checkpoint``."""
        if estimator.checkpoint is None:
            return None
        settings = settings_of(estimator, network, samples)
        return cls(estimator.checkpoint, settings, random, estimator.checkpoint_every)

    def resume(self, net):
        """Give a net that is about to be trained the state of the checkpoint, if there is one.

        Raises
        ------
        ValueError
            If the checkpoint is of other settings or damaged, or the directory cannot be written.
        """
        self._state = self._read()
        self._n_epochs = net.max_epochs
        if self._state is None:
            return
        net.module_.load_state_dict(self._state["weights"])
        net.optimizer_.load_state_dict(self._state["optimizer"])
        net.history_ = History(self._state["history"])
        net.max_epochs = self._n_epochs - len(net.history)

    def on_train_begin(self, net, **_):
        """Restore what other callbacks set up at the beginning of a training, and what is random."""
        if self._state is None:
            return
        for name, callback in net.callbacks_:
            restore_callback(callback, self._state["callbacks"].get(name, {}))
        net.optimizer_.load_state_dict(self._state["optimizer"])  # a schedule starts by setting the rate
        set_random_states(self.random, net.device, self._state["random"])
        self._state = None

    def on_epoch_end(self, net, **_):
        """Write the checkpoint, if it is time to."""
        n_done = len(net.history)
        if n_done % self.every and n_done < self._n_epochs:
            return
        state = {
            "settings": self.settings,
            "versions": versions(),
            "weights": net.module_.state_dict(),
            "optimizer": net.optimizer_.state_dict(),
            "history": [plain({k: v for k, v in row.items() if k != "batches"}) for row in net.history],
            "callbacks": {name: callback_state(callback) for name, callback in net.callbacks_},
            "random": random_states(self.random, net.device),
        }
        try:
            write_whole(self.path, state)
        except OSError as error:
            raise OSError(
                f"the checkpoint after epoch {n_done} cannot be written to {str(self.path)!r} ({error}); make "
                "room or give another checkpoint directory. The one before is as it was."
            ) from error

    def _read(self):
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.path.parent).close()
        except OSError as error:
            raise ValueError(
                f"checkpoint={str(self.path.parent)!r} is no directory that can be written to ({error}); give "
                "another."
            ) from error
        if not self.path.exists():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            stored, written_by = state["settings"], state["versions"]
        except Exception as error:  # torch raises what it likes, by what is damaged
            raise ValueError(
                f"{str(self.path)!r} is damaged or no checkpoint; delete it to start afresh."
            ) from error
        changed = sorted(key for key in {**self.settings, **stored} if self.settings.get(key) != stored.get(key))
        if changed:
            told = ", ".join(f"{key} was {stored.get(key)}, is {self.settings.get(key)}" for key in changed)
            raise ValueError(
                f"{str(self.path)!r} is of a training with other settings or recordings ({told}); give another "
                "checkpoint directory, or delete the file to start afresh."
            )
        if written_by != versions():
            warnings.warn(
                f"{str(self.path)!r} was written by {written_by}, and is gone on with by {versions()}: the result "
                "may differ from that of a training in one go.",
                stacklevel=6,
            )
        return state


def settings_of(estimator, network, samples):
    """Collect what the weights at the end depend on, each as text."""
    settings = {
        name: repr(value) if is_plain(value) else type(value).__name__
        for name, value in estimator.get_params().items()
        if name not in NO_MATTER
    }
    weights = (values.detach().cpu().numpy() for values in network.state_dict().values())
    return {**settings, "weights at the start": digest(*weights), "recordings": digest(*samples)}


def write_whole(path, state):
    """Save to a file so that it holds all of the state or, whatever happens, what it held before."""
    part = path.with_suffix(".part")  # of an earlier process that was killed, it is written anew
    with atomic_write(path, part, durable=True) as file:
        torch.save(state, file)


def versions():
    """Versions that decide the numbers."""
    return {"sklearn_cpc": __version__, "torch": torch.__version__.split("+")[0]}


def random_states(random, device):
    """States of all generators that a training draws from."""
    kind, keys, *rest = random.get_state()
    states = {"torch": torch.get_rng_state(), "clips": [kind, torch.from_numpy(keys.astype(np.int64)), *rest]}
    if torch.device(device).type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_states(random, device, states):
    """Set all generators back."""
    torch.set_rng_state(states["torch"])
    kind, keys, *rest = states["clips"]
    random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    if "cuda" in states and torch.device(device).type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


def callback_state(callback):
    """Collect what a callback has found out in training, as far as it is numbers, text and tensors."""
    state = {}
    for name, value in vars(callback).items():
        if name.endswith("_") and isinstance(value, LRScheduler):
            state[name] = {"state_dict": plain(value.state_dict())}
        elif name.endswith("_") and is_plain(value):
            state[name] = {"value": plain(value)}
    return state


def restore_callback(callback, state):
    """Give a callback what it had found out."""
    for name, kept in state.items():
        if "value" in kept:
            setattr(callback, name, kept["value"])
        elif hasattr(getattr(callback, name, None), "load_state_dict"):
            getattr(callback, name).load_state_dict(kept["state_dict"])


def is_plain(value):
    """Whether a value is made of numbers, text and tensors."""
    if isinstance(value, dict):
        return all(map(is_plain, value.values())) and all(isinstance(key, (str, int)) for key in value)
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return isinstance(value, (*PLAIN, np.generic))


def plain(value):
    """Turn numbers of NumPy into Python's, inside of containers too."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items() if is_plain(entry)}
    if isinstance(value, (list, tuple)):
        return type(value)(map(plain, value))
    return value.item() if isinstance(value, np.generic) else value


def digest(*arrays):
    """Tell arrays apart: a hash of their shapes, types and contents."""
    total = hashlib.blake2b(digest_size=16)
    for array in arrays:
        values = np.ascontiguousarray(array)
        total.update(f"{values.shape}{values.dtype}".encode())
        total.update(values.reshape(-1).view(np.uint8).data)
    return total.hexdigest()
