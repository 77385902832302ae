"""The training loop: one function around skorch that all estimators share."""

import contextlib
import copy
import functools
import traceback
from typing import NamedTuple

import numpy as np
import torch
from skorch.callbacks import Callback, LRScheduler, PassthroughScoring
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from .._interrupts import note_interrupts
from .._processes import shows_progress
from .._ranks import own_ranks, run_once
from .allocator import keep_freed_memory
from .distributed import AlikeRanks
from .net import EndTraining, LastEpoch, Net, NonFiniteLossError, ProgressBar, Validation, copy_callbacks
from .schedules import SCHEDULES


class Training(NamedTuple):
    """Result of a training."""

    history: list  # of dicts, one per finished epoch: epoch, train_loss, train_<metric>, dur in seconds, ...
    optimizer_state: dict | None  # of Adam at the end; None if the training was stopped
    stopped_by: BaseException | None = None  # what stopped it early, after the first epoch


def train(
    module,
    batches,
    criterion,
    *,
    max_epochs,
    lr,
    device="cpu",
    precision="float32",
    callbacks=None,
    verbose=0,
    title="training",
    optimizer_state=None,
    schedule="constant",
    validate=None,
    embedder=None,
    checkpoint=None,
    fit_tasks=None,
):
    """Train a module in place with Adam, and return a :class:`Training`.

    If an error or Ctrl-C stops the training after the first epoch, the module keeps the weights of its last
    finished epoch, and the error is returned, for the estimator to raise.

    ``batches`` yields (inputs, targets), and ``criterion`` maps (outputs, targets) to the loss and a dict of the
    metrics that it names. ``precision`` is that of the forward pass. ``validate`` maps the module to a
    ``valid_score`` after every epoch. ``embedder``, for callbacks, maps recordings to a function that embeds them
    with a module. The training resumes from the ``checkpoint``, a CheckpointWriter, if it has one. ``fit_tasks``
    is the :class:`FitTasks` of the estimator, if it has one.
    """
    before = [(f"train_{m}", PassthroughScoring(f"train_{m}", on_train=True)) for m in criterion.metrics]
    if shows_progress(verbose):
        before.append(("progress", ProgressBar(title, verbose)))
    if validate is not None:
        before.insert(0, ("validation", Validation(validate)))  # before those that show or monitor the score
    if own_ranks():
        before.insert(0, ("ranks", AlikeRanks()))
    if schedule != "constant":
        rate = functools.partial(SCHEDULES[schedule], n_batches=max_epochs * batches.n_batches)
        before.append(("schedule", LRScheduler(LambdaLR, lr_lambda=rate, step_every="batch", event_name=None)))
    last_epoch = LastEpoch()
    after = [("last_epoch", last_epoch), ("checkpoint", checkpoint), ("fit_tasks", fit_tasks)]
    net = Net(
        module,
        criterion=criterion,
        optimizer=torch.optim.Adam,
        lr=lr,
        optimizer__fused=all(map(_can_fuse, module.parameters())),
        max_epochs=max_epochs,
        batch_size=None,  # the dataset yields whole batches
        train_split=None,
        callbacks=before + copy_callbacks(callbacks or []) + [pair for pair in after if pair[1]],
        callbacks__valid_loss=None,
        callbacks__print_log=None,
        device=torch.device(device),
        verbose=verbose,
    )
    net.precision, net.embedder = precision, embedder
    net.initialize()
    if optimizer_state is not None:
        # The moments alone, as lr may have changed; a copy, so that the caller's stay unchanged.
        moments = copy.deepcopy(optimizer_state["state"])
        net.optimizer_.load_state_dict({**net.optimizer_.state_dict(), "state": moments})
    with checkpoint.resume(net) if checkpoint else contextlib.nullcontext(), keep_freed_memory():
        stopped_by = _run(net, batches) if max_epochs else None  # callbacks may not expect a training of no epoch
    if checkpoint and not isinstance(stopped_by, KeyboardInterrupt):
        checkpoint.summarize(ended=True)
    if stopped_by is None:
        return Training(run_once(lambda: plain_history(net.history)), net.optimizer_.state_dict())
    if last_epoch.weights is None:
        raise stopped_by
    module.load_state_dict(last_epoch.weights)
    return Training(plain_history(net.history[: last_epoch.n_epochs]), None, stopped_by)


@functools.cache
def finish_imports():
    """Take a step of Adam: at its first, torch imports a thousand modules, sympy among them."""
    weight = nn.Parameter(torch.zeros(1, device="cpu"))
    weight.grad = torch.zeros_like(weight)
    with note_interrupts(hold=True):
        torch.optim.Adam([weight]).step()


def _can_fuse(weights):
    """Whether Adam can update these weights in one pass; it updates those with gaps in memory wrongly."""
    return weights.is_floating_point() and torch.empty_like(weights).stride() == weights.stride()


def _run(net, batches):
    """Train; returns what stopped the training early, or None."""
    with note_interrupts() as interrupts:
        try:
            net.notify("on_train_begin", X=batches, y=None)
            net.fit_loop(batches)
        except KeyboardInterrupt as error:
            # As EarlyStopping does: raised by a callback after an epoch, not by Ctrl-C nor in the middle of one.
            ended = bool(net.history) and "train_loss" in net.history[-1]
            return None if ended and _is_raised_by_callback(error) and not interrupts else error
        except EndTraining:
            return None
        except NonFiniteLossError as error:
            in_batch = batches.name_batch(error.batch) if hasattr(batches, "name_batch") else []
            return NonFiniteLossError(f"{error} In the batch: {', '.join(in_batch)}.") if in_batch else error
        except Exception as error:
            return error
        finally:
            net.notify("on_train_end", X=batches, y=None)
    return None


def _is_raised_by_callback(error):
    """Whether a callback raised the KeyboardInterrupt, as skorch's EarlyStopping does to end a training."""
    owners = [frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(
        isinstance(owner, Callback) and not type(owner).__module__.startswith("sklearn_cpc.") for owner in owners
    )


def plain_history(history):
    """Keep of every epoch what is worth keeping: no records of batches, no bookkeeping of skorch's."""
    return [
        {
            key: value.item() if isinstance(value, np.generic) else value
            for key, value in row.items()
            if key not in ("batches", "train_batch_count") and not key.endswith("_best")
        }
        for row in history
        if "train_loss" in row
    ]
