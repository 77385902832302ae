"""Checkpoints: the state of a training after its epochs, written atomically, to resume from."""

import contextlib
import functools
import hashlib
import os
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from sklearn.base import BaseEstimator
from skorch.callbacks import Callback
from skorch.history import History
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from .._constraints import Constrained, integers
from .._files import claim, release
from .._generators import own_generator
from .._ranks import run_once
from .._warnings import warn
from ..persistence.container import hash_arrays, library_versions, pack, read_file, unpack, write_file
from ..persistence.values import encode

FILE, LOCK = "checkpoint.safetensors", "checkpoint.lock"
# How an estimator reads and runs, which changes no result
HOW = {"checkpoint", "device", "distributed", "memory", "n_jobs", "on_error", "verbose"}
IRRELEVANT = HOW | {"n_clips", "pooling"}  # parameters that do not change the weights at the end
# What does not change the output of a fitted estimator: how it reads, and how it was trained
RUNNING = HOW | {"_optimizer_state", "_random", "callbacks", "history_", "interrupted_", "warm_start"}


@dataclass(repr=False, eq=False)
class Checkpoint(Constrained, BaseEstimator):
    """Recipe of checkpoints: where a training keeps its state, and how often it writes it.

    Parameters
    ----------
    directory : str or path-like
        Made if need be. Give every training its own.
    every : int, default=1
        Epochs from one checkpoint to the next; the last epoch is always written.

    Examples
    --------
    >>> from sklearn_cpc import Checkpoint, make_cpc
    >>> cpc = make_cpc(checkpoint=Checkpoint("checkpoints/birds", every=5), random_state=0)
    """

    directory: Annotated[str | os.PathLike, str, os.PathLike]
    every: Annotated[int, integers(1, 2**31)] = 1


class CheckpointWriter(Callback):
    """Write all that a training needs to continue exactly, and resume from what an earlier one wrote.

    Must be the last of the callbacks: what the others did in an epoch is part of its state. ``settings`` are what
    the result depends on; a checkpoint of other settings is refused. ``random`` draws the clips. Rank 0 writes.
    """

    def __init__(self, directory, settings, random, every):
        self.path = Path(directory) / FILE
        self.settings, self.random, self.every = settings, random, every

    @contextlib.contextmanager
    def resume(self, net):
        """Lock the directory while a net is trained, and give it the state of the checkpoint, if there is one."""
        with contextlib.ExitStack() as stack:
            self._state = run_once(lambda: self._open(stack))
            self._n_epochs = net.max_epochs
            if self._state is not None:
                net.module_.load_state_dict(self._state["weights"])
                net.optimizer_.load_state_dict(self._state["optimizer"])
                net.history_ = History(self._state["history"])
                net.max_epochs = self._n_epochs - len(net.history)
            yield

    def on_train_begin(self, net, **_):
        """Restore what other callbacks set up at the beginning of a training, and the random generators."""
        if self._state is None:
            return
        for name, callback in net.callbacks_:
            for attribute, kept in self._state["callbacks"].get(name, {}).items():
                if "value" in kept:
                    setattr(callback, attribute, kept["value"])
                elif hasattr(getattr(callback, attribute, None), "load_state_dict"):
                    getattr(callback, attribute).load_state_dict(kept["state_dict"])
        net.optimizer_.load_state_dict(self._state["optimizer"])  # a schedule starts by setting the rate
        generators = self._state["generators"]
        self.random.set_state(generators["clips"].get_state())
        (own_generator() or torch.default_generator).set_state(generators["torch"])
        if "cuda" in generators and torch.device(net.device).type == "cuda":
            torch.cuda.set_rng_state(generators["cuda"], net.device)
        self._state = None

    def on_epoch_end(self, net, **_):
        """Write the checkpoint, if it is time to."""
        n_done = len(net.history)
        if n_done % self.every and n_done < self._n_epochs:
            return
        generators = {"torch": (own_generator() or torch.default_generator).get_state(), "clips": self.random}
        if torch.device(net.device).type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(net.device)
        state = {
            "settings": self.settings,
            "weights": dict(net.module_.state_dict()),
            "optimizer": _keep_storable(net.optimizer_.state_dict()),
            "history": [{k: v for k, v in row.items() if k != "batches"} for row in net.history],
            "callbacks": {name: _callback_state(callback) for name, callback in net.callbacks_},
            "generators": generators,
        }
        try:
            _check_finite(state)
            run_once(lambda: write_file(self.path, pack(state)))
        except OSError as error:
            raise OSError(
                f"the checkpoint after epoch {n_done} cannot be written to {str(self.path)!r} ({error}); make "
                "room or give another checkpoint directory. The one before is unchanged."
            ) from error

    def _open(self, stack):
        stack.callback(release, self._lock())
        return self._read()

    def _lock(self):
        folder, path = self.path.parent, self.path.with_name(LOCK)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return claim(path)
        except OSError as error:
            if isinstance(error, FileExistsError) and folder.is_dir():
                raise RuntimeError(
                    f"another process or thread is training in checkpoint={str(folder)!r}. Wait until it ends, or "
                    "give another directory; a grid search needs checkpoint=None, because it trains copies in one "
                    f"directory. If no training is running, delete {str(path)!r}."
                ) from None
            raise ValueError(
                f"checkpoint={str(folder)!r} is no directory that can be written to ({error}); give another."
            ) from error

    def _read(self):
        if not os.path.lexists(self.path):
            return None
        try:
            if self.path.is_symlink():
                raise ValueError("it is a link")
            state, versions = unpack(read_file(self.path))
            stored = state["settings"]
            _check_finite(state)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{str(self.path)!r} is damaged or no checkpoint ({error}); delete it to start afresh."
            ) from error
        keys = sorted({**self.settings, **stored})
        if changed := [key for key in keys if self.settings.get(key) != stored.get(key)]:
            told = ", ".join(f"{key} was {stored.get(key)}, is {self.settings.get(key)}" for key in changed)
            raise ValueError(
                f"{str(self.path)!r} is of a training with other settings or recordings ({told}); give another "
                "checkpoint directory, or delete the file to start afresh."
            )
        if versions != library_versions():
            warn(
                f"{str(self.path)!r} was written by {versions}, and is being resumed with {library_versions()}: "
                "the result may differ from that of a training in one go."
            )
        return state


def _check_finite(state):
    """Raise a ValueError unless the weights and the state of the optimizer are finite."""
    moments = [values for moments in state["optimizer"]["state"].values() for values in moments.values()]
    if not all(torch.as_tensor(values).isfinite().all() for values in [*state["weights"].values(), *moments]):
        raise ValueError("the weights or the state of the optimizer are not finite; lower lr")


def check_resumable(estimator):
    """Raise unless a stopped training of an estimator could be resumed exactly, or it writes no checkpoints."""
    if estimator.checkpoint is None:
        return
    checkpoint = f"checkpoint={str(estimator.checkpoint)!r}"
    if not isinstance(estimator.random_state, Integral):
        raise ValueError(
            f"{checkpoint} needs an int for random_state, got {estimator.random_state!r}: a training with other "
            "random numbers cannot be resumed."
        )
    if estimator.warm_start:
        raise ValueError(f"{checkpoint} excludes warm_start=True: both say where fit starts from.")


def make_checkpoint(estimator, network, recordings, random):
    """Build the callback of an estimator that writes checkpoints; None if it writes none."""
    if estimator.checkpoint is None:
        return None
    is_recipe = isinstance(estimator.checkpoint, Checkpoint)
    recipe = estimator.checkpoint if is_recipe else Checkpoint(estimator.checkpoint)
    recipe._validate_params()
    settings = training_settings(estimator, network, recordings)
    return CheckpointWriter(recipe.directory, settings, random, recipe.every)


def training_settings(estimator, network, recordings):
    """Collect what the weights at the end depend on, each as text; ``network`` is that before training."""
    parameters = {k: describe(v) for k, v in estimator.get_params(deep=False).items() if k not in IRRELEVANT}
    sounds = hash_arrays({f"{i:09d}": np.asarray(samples) for i, samples in enumerate(recordings)})
    return {**parameters, "initial weights": _hash_weights(network), "recordings": sounds.hex()}


def describe(value):
    """Describe a parameter or estimator as text: equal for values that compute alike, different for others."""
    if isinstance(value, nn.Module):
        return f"{value} with weights {_hash_weights(value)}"
    if isinstance(value, BaseEstimator):
        state = {key: entry for key, entry in vars(value).items() if key not in RUNNING and entry is not None}
        value = (type(value).__qualname__, state)
    elif isinstance(value, Callback):
        value = (type(value).__qualname__, vars(value))
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {describe(entry)}" for key, entry in sorted(value.items())) + "}"
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(map(describe, value)) + ")"
    if isinstance(value, np.ndarray):
        return hash_arrays({"": value}).hex() if value.dtype != object else describe(value.tolist())
    if isinstance(value, functools.partial):
        return f"partial {describe((value.func, value.args, value.keywords))}"
    if callable(value):
        code = getattr(value, "__code__", None)
        made_of = hashlib.sha256(code.co_code + repr(code.co_consts).encode()).hexdigest() if code else ""
        return (
            f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value))} {made_of}".strip()
        )
    return repr(value.item() if isinstance(value, np.generic) else value)


def _hash_weights(module):
    return hash_arrays({name: values.detach().cpu().numpy() for name, values in module.state_dict().items()}).hex()


def _callback_state(callback):
    """Collect what a callback has found out in training, as far as it can be stored."""
    state = {}
    for name, value in vars(callback).items():
        if name.endswith("_") and isinstance(value, LRScheduler):
            state[name] = {"state_dict": _keep_storable(value.state_dict())}
        elif name.endswith("_") and _is_storable(value):
            state[name] = {"value": value}
    return state


def _keep_storable(state):
    return {key: value for key, value in state.items() if _is_storable(value)}


def _is_storable(value):
    try:
        encode(value, {}, "")
    except (TypeError, ValueError):
        return False
    return True
