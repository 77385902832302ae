"""Training: one function around skorch that all estimators share."""

import copy
import functools
import math
from typing import NamedTuple

import numpy as np
import torch
from skorch.callbacks import LRScheduler, PassthroughScoring
from torch.optim.lr_scheduler import LambdaLR

from .allocator import memory_kept
from .net import ForgetBatches, LastEpoch, Net, NonFiniteLossError, ProgressBar, Validation

WARM_UP = 0.1  # of all batches


def cosine(batch, n_batches):
    """Share of the learning rate: a linear rise over a tenth of all batches, then half a cosine to zero."""
    rise = min(1.0, (batch + 1) / max(1.0, WARM_UP * n_batches))
    return rise * (1 + math.cos(math.pi * min(1.0, batch / n_batches))) / 2


def constant(batch, n_batches):
    """Share of the learning rate: all of it."""
    return 1.0


SCHEDULES = {"constant": constant, "cosine": cosine}


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
):
    """Train a module in place with Adam.

    An error or Ctrl-C after the first epoch does not undo what was learned: the module is then as after its
    last finished epoch, and the error is returned, to be raised by
    :class:`~sklearn_cpc.training.estimator.FittedNetworkMixin`.

    Parameters
    ----------
    module : nn.Module
        Called with the inputs of a batch.
    batches : IterableDataset
        Yields ``(inputs, targets)``; ``inputs`` is a tensor or a dict of keyword arguments.
    criterion : nn.Module
        Maps ``(outputs, targets)`` to the loss and a dict of metrics named in ``criterion.metrics``.
    max_epochs : int
        Passes over ``batches``.
    lr : float
        Learning rate of Adam.
    device : torch.device
        Where to train; the module stays there.
    precision : {"float32", "bfloat16"}
        Type of the forward pass; the weights and the loss are float32.
    callbacks : list of skorch callbacks, default=None
        Cloned, so the caller's own are left as they are.
    verbose : int
        0 for silence, otherwise a progress bar over epochs.
    title : str
        Name of the progress bar.
    optimizer_state : dict, default=None
        State of Adam to go on from.
    schedule : {"constant", "cosine"}, default="constant"
        Course of the learning rate; see :data:`SCHEDULES`.
    validate : callable, default=None
        Called with the module after every epoch; what it returns is recorded as ``valid_score``.
    embedder : callable, default=None
        For callbacks, as ``net.embedder``: called with recordings it returns a function of the module that
        embeds them.
    checkpoint : Checkpoint, default=None
        Written after every epoch, and gone on from if there is one.

    Returns
    -------
    Training
    """
    scores = [(f"train_{m}", PassthroughScoring(f"train_{m}", on_train=True)) for m in criterion.metrics]
    own = [*scores, ("forget", ForgetBatches()), ("progress", ProgressBar(title, verbose))]
    if validate is not None:
        own.insert(0, ("validation", Validation(validate)))  # before those that show or monitor it
    if schedule != "constant":
        course = functools.partial(SCHEDULES[schedule], n_batches=max_epochs * batches.n_batches)
        own.append(("schedule", LRScheduler(LambdaLR, lr_lambda=course, step_every="batch", event_name=None)))
    last_epoch = LastEpoch()
    after = [("last_epoch", last_epoch), *([("checkpoint", checkpoint)] if checkpoint else [])]
    net = Net(
        module,
        criterion=criterion,
        optimizer=torch.optim.Adam,
        lr=lr,
        optimizer__fused=all(map(can_be_fused, module.parameters())),
        max_epochs=max_epochs,
        batch_size=None,  # the dataset yields whole batches
        train_split=None,
        callbacks=own + copy.deepcopy(list(callbacks or [])) + after,
        callbacks__valid_loss=None,
        callbacks__print_log=None,
        device=torch.device(device),
        verbose=verbose,
    )
    net.precision, net.embedder = precision, embedder
    net.initialize()
    if optimizer_state is not None:
        # Its moments alone: lr may have changed. A copy, so that the caller's stays as it is.
        moments = copy.deepcopy(optimizer_state["state"])
        net.optimizer_.load_state_dict({**net.optimizer_.state_dict(), "state": moments})
    if checkpoint:
        checkpoint.resume(net)
    with memory_kept():
        stopped_by = _run(net, batches) if max_epochs else None  # callbacks may not expect a training of no epoch
    history = [dict(_scalars(row)) for row in net.history if "train_loss" in row]
    if stopped_by is None:
        return Training(history, net.optimizer_.state_dict())
    if last_epoch.weights is None:
        raise stopped_by
    module.load_state_dict(last_epoch.weights)
    return Training(history, None, stopped_by)


def can_be_fused(weights):
    """Whether Adam can update them in one pass: not complex ones, and wrongly those with gaps in memory."""
    return weights.is_floating_point() and torch.empty_like(weights).stride() == weights.stride()


def _run(net, batches):
    """Train; returns what stopped it before its time, or None."""
    try:
        net.partial_fit(batches)
    except Exception as error:
        net.notify("on_train_end")  # lets progress bars and the like clean up
        in_batch = getattr(batches, "in_batch", [])
        if isinstance(error, NonFiniteLossError) and in_batch:
            return NonFiniteLossError(f"{error} In the batch: {', '.join(in_batch)}.")
        return error
    if net.history and "train_loss" not in net.history[-1]:
        return KeyboardInterrupt()  # in mid-epoch, so by the user; skorch would stop without a word
    return None


class Training(NamedTuple):
    """What came of a training.

    Attributes
    ----------
    history : list of dict
        One entry per finished epoch: ``epoch``, ``train_loss``, the metrics as ``train_<metric>``, ``dur`` in
        seconds, and what callbacks recorded.
    optimizer_state : dict or None
        State of Adam at the end; None if the training was stopped.
    stopped_by : BaseException or None
        What stopped it before its time, after the first epoch.
    """

    history: list
    optimizer_state: dict | None
    stopped_by: BaseException | None = None


def _scalars(row):
    """Entries of one epoch worth keeping: no per-batch rows, no bookkeeping of skorch's."""
    for key, value in row.items():
        if key not in ("batches", "train_batch_count") and not key.endswith("_best"):
            yield key, value.item() if isinstance(value, np.generic) else value
