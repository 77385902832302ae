"""Checkpoints: the state of a training after its epochs, written atomically, to resume from."""

import contextlib
import functools
import hashlib
import json
import os
import time
import types
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
from .._files import claim, is_locked, release
from .._generators import own_generator
from .._ranks import own_ranks, run_once
from .._warnings import warn
from ..persistence.allowed import NOT_STORED
from ..persistence.container import hash_arrays, library_versions, pack, read_file, unpack, write_file
from ..persistence.values import encode

FILE, LOCK, SUMMARY = "checkpoint.safetensors", "checkpoint.lock", "training.json"
POLL_SECONDS, TELL_SECONDS = 0.1, 60.0  # from one look at a lock to the next; until fit tells of other trainings
# How an estimator reads and runs, which changes no result
HOW = {"checkpoint", "device", "distributed", "memory", "n_jobs", "on_error", "verbose"}
IRRELEVANT = HOW | {"n_clips", "pooling"}  # parameters that do not change the weights at the end
# What does not change the output of a fitted estimator: how it reads, and how it was trained
RUNNING = HOW | NOT_STORED | {"_random", "callbacks", "history_", "interrupted_", "warm_start"}


@dataclass(repr=False, eq=False)
class Checkpoint(Constrained, BaseEstimator):
    """Recipe of checkpoints: where trainings keep their state, and how often they write it.

    Parameters
    ----------
    directory : str or path-like
        Made if need be. Each training has a folder of its own in it, so any number of them may share it.
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
    the result depends on, and name the folder of the training. ``random`` draws the clips. Rank 0 writes.
    """

    def __init__(self, directory, settings, random, every):
        name = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
        self.path = Path(directory) / name / FILE
        self.settings, self.random, self.every = settings, random, every

    @contextlib.contextmanager
    def resume(self, net):
        """Lock the folder while a net is trained, and give it the state of the checkpoint, if there is one."""
        with contextlib.ExitStack() as stack:
            self._state = run_once(lambda: self._open(stack))
            self._n_epochs = net.max_epochs
            self._tell_at = time.monotonic() + TELL_SECONDS if self._state is None else np.inf
            self.summarize(ended=False)
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

    def on_batch_end(self, net, **_):
        """After a minute, warn of another training here that the user may expect to be resumed."""
        if time.monotonic() < self._tell_at:
            return
        self._tell_at, others = np.inf, []
        for path in self.path.parents[1].glob(f"*/{SUMMARY}"):
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):  # removed, or none of ours
                summary = json.loads(path.read_text())
                changed = _find_changes(summary["settings"], self.settings)
                stopped = not summary["ended"] and not is_locked(path.with_name(LOCK))
                if path.with_name(FILE).exists() and (stopped or list(changed) == ["max_epochs"]):
                    others.append((len(changed), str(path.parent), ", ".join(changed.values())))
        if others:
            folder, differences = min(others)[1:]
            warn(
                f"this training started afresh: it does not continue that in {folder!r}, which had other settings "
                f"or recordings ({differences}). Set them back to resume that one, or delete its folder."
            )

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

    def summarize(self, *, ended):
        """Write the settings, and whether the training has ended: for people, and for the warnings of others."""
        if own_ranks() and own_ranks().rank:
            return
        text = json.dumps({"ended": ended, "settings": self.settings}, indent=1)
        with contextlib.suppress(OSError):
            write_file(self.path.with_name(SUMMARY), text.encode())

    def _lock(self):
        """Claim the folder. If the same training runs elsewhere, wait: its result is this one's, too."""
        folder, path = self.path.parent, self.path.with_name(LOCK)
        tell_at, n_unlocked = time.monotonic() + TELL_SECONDS, 0
        while True:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                return claim(path)
            except OSError as error:
                if not isinstance(error, FileExistsError) or not folder.is_dir():
                    raise ValueError(
                        f"checkpoint={str(folder.parent)!r} is no directory to write to ({error}); give another."
                    ) from error
            n_unlocked = 0 if is_locked(path) else n_unlocked + 1
            if not n_unlocked and time.monotonic() >= tell_at:
                tell_at = np.inf
                warn(f"the same training is running elsewhere, in {str(folder)!r}; waiting for its result.")
            if n_unlocked == 20:  # neither being locked nor being removed
                raise RuntimeError(
                    f"{str(path)!r} says that this training is running, but the file system has no locks, or "
                    "another user runs it. Wait until it ends; if it does not run, delete this file."
                )
            time.sleep(POLL_SECONDS)

    def _read(self):
        if not os.path.lexists(self.path):
            return None
        try:
            if self.path.is_symlink():
                raise ValueError("it is a link")
            state, versions = unpack(read_file(self.path))
            if changed := _find_changes(state["settings"], self.settings):
                raise ValueError(f"it is of another training: {', '.join(changed.values())}")
            _check_finite(state)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"{str(self.path)!r} is damaged or no checkpoint ({error}); delete it to start afresh."
            ) from error
        if versions != library_versions():
            warn(
                f"{str(self.path)!r} was written by {versions}, and is being resumed with {library_versions()}: "
                "the result may differ from that of a training in one go."
            )
        return state


def _find_changes(before, now):
    """Return texts about the settings that differ, by name."""
    pairs = {key: (before.get(key), now.get(key)) for key in sorted({**before, **now})}
    return {key: f"{key} was {old}, is {new}" for key, (old, new) in pairs.items() if old != new}


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
    if estimator.checkpoint is None or estimator.max_epochs == 0:
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
    elif isinstance(value, types.CodeType):
        value = value.co_code, value.co_names, value.co_consts
    elif isinstance(value, (set, frozenset)):
        value = sorted(value, key=repr)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {describe(entry)}" for key, entry in sorted(value.items())) + "}"
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(map(describe, value)) + ")"
    if isinstance(value, np.ndarray):
        return hash_arrays({"": value}).hex() if value.dtype != object else describe(value.tolist())
    if isinstance(value, functools.partial):
        return f"partial {describe((value.func, value.args, value.keywords))}"
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if cell.cell_contents is not value]
        made_of = describe((value.__code__, value.__defaults__, value.__kwdefaults__, cells))
        return f"{value.__module__}.{value.__qualname__} {hashlib.sha256(made_of.encode()).hexdigest()}"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if type(value).__repr__ is object.__repr__:  # which would say where the object is in memory
        return describe((type(value).__qualname__, getattr(value, "__dict__", None)))
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
