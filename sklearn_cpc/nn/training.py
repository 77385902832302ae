"""Training: one function around skorch that all estimators share, and what it needs."""

import contextlib
import copy
import functools
import math
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils.validation import check_scalar
from skorch import NeuralNet
from skorch.callbacks import Callback, LRScheduler, PassthroughScoring
from skorch.utils import TeeGenerator, to_device
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from .._progress import progress
from ..persistence import SaveMixin

PRECISIONS = ("auto", "float32", "bfloat16")
WARM_UP = 0.1  # of all batches
N_SCALED = 1024  # rows at a time, a piece that fits in the cache


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
    last finished epoch, and the error is returned, to be raised by :meth:`FittedNetworkMixin._keep`.

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
    net = _Net(
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


class NonFiniteLossError(ValueError):
    """The loss became infinite or NaN."""


def _scalars(row):
    """Entries of one epoch worth keeping: no per-batch rows, no bookkeeping of skorch's."""
    for key, value in row.items():
        if key not in ("batches", "train_batch_count") and not key.endswith("_best"):
            yield key, value.item() if isinstance(value, np.generic) else value


class _Net(NeuralNet):
    """A skorch net whose criterion returns its metrics with the loss, with autocast around the module.

    A batch of a small network takes less time than what skorch does around it, so that is done here with
    less ado: with the same records in the history and the same calls of callbacks.
    """

    precision = "float32"
    embedder = None

    def initialize_callbacks(self):
        """Note which callbacks do something at an event, most do nothing."""
        super().initialize_callbacks()
        events = [name for name in vars(Callback) if name.startswith("on_")]
        self._listeners = {event: [cb for _, cb in self.callbacks_ if listens(cb, event)] for event in events}
        return self

    def notify(self, method_name, **cb_kwargs):
        """Tell the callbacks of an event."""
        getattr(self, method_name)(self, **cb_kwargs)
        for callback in self._listeners[method_name]:
            getattr(callback, method_name)(self, **cb_kwargs)

    def get_iterator(self, dataset, training=False):
        """Return the dataset itself to train on: it yields whole batches, to which a DataLoader adds nothing."""
        return dataset if training else super().get_iterator(dataset, training)

    def run_single_epoch(self, iterator, training, prefix, step_fn, **_):
        """Take a step per batch; skorch calls it a second time with its validation set, None here."""
        if iterator is None:
            return
        self._set_training()
        torch.empty((), dtype=torch.int64).random_()  # as a DataLoader does: seeds go on giving the same results
        rows = self.history[-1, "batches"]
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=True)
            step = step_fn(batch)
            rows[-1].update(train_loss=step["loss"].item(), train_batch_size=len(batch[1]))
            self.notify("on_batch_end", batch=batch, training=True, **step)
        self.history.record("train_batch_count", len(rows))

    def train_step(self, batch, **_):
        """Take a step of the optimizer."""
        if not self.module_.training:  # a callback has looked at the module
            self._set_training()
        self.optimizer_.zero_grad()
        step = self.train_step_single(batch)
        weights = TeeGenerator(self.get_all_learnable_params())
        self.notify("on_grad_computed", named_parameters=weights, batch=batch, training=True)
        self.optimizer_.step()
        return step

    def train_step_single(self, batch, **_):
        """Compute the gradients of a batch."""
        inputs, targets = batch
        outputs = self.infer(inputs)
        loss = self.get_loss(outputs, targets)
        loss.backward()
        return {"loss": loss, "y_pred": outputs}

    def infer(self, x, **_):
        """Call the module."""
        x = to_device(x, self.device)
        lower = self.precision == "bfloat16"
        if not lower and not torch.is_autocast_enabled(self.device.type):  # spares a small network 5 %
            return self._forward(x)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=lower):
            return self._forward(x)

    def _forward(self, x):
        return self.module_(**x) if isinstance(x, dict) else self.module_(x)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Compute the loss of a batch and record its metrics."""
        loss, metrics = self.criterion_(y_pred, to_device(y_true, self.device))
        if not math.isfinite(loss.item()):
            raise NonFiniteLossError(
                f"the loss became {loss.item()} in epoch {len(self.history)}; lower lr={self.lr} or look for "
                "samples of extreme size."
            )
        for name, value in metrics.items():
            self.history.record_batch(f"train_{name}", value)
        return loss


def listens(callback, event):
    """Whether a callback does something at an event; those of skorch's base class do nothing."""
    return getattr(type(callback), event) is not getattr(Callback, event)


class Validation(Callback):
    """Record a score after every epoch, for callbacks to monitor."""

    def __init__(self, validate):
        self.validate = validate

    def on_epoch_end(self, net, **_):
        """Score the module as it is."""
        net.history.record("valid_score", self.validate(net.module_.eval()))


class LastEpoch(Callback):
    """Keep the weights as they were after the last finished epoch."""

    def __init__(self):
        self.weights = None

    def on_epoch_end(self, net, **_):
        """Copy them."""
        self.weights = {name: values.clone() for name, values in net.module_.state_dict().items()}


class ForgetBatches(Callback):
    """Drop the records of single batches once their epoch is over: the history of a long training stays small."""

    def on_epoch_begin(self, net, **_):
        """Drop those of the epoch before."""
        for row in net.history[-2:-1]:
            row.pop("batches", None)


class ProgressBar(Callback):
    """A bar over epochs that shows the loss and cleans up after itself; see :func:`progress`."""

    def __init__(self, title, verbose):
        self.title = title
        self.verbose = verbose

    def on_train_begin(self, net, **_):
        """Open the bar; epochs that a checkpoint holds are done."""
        n_done = len(net.history)
        self.bar_ = progress(None, n_done + net.max_epochs, self.title, self.verbose)
        self.bar_.update(n_done)

    def on_epoch_end(self, net, **_):
        """Advance by one epoch and show its loss and metrics."""
        row = net.history[-1]
        shown = {
            k.removeprefix("train_"): row[k] for k in ("train_loss", "train_accuracy", "valid_score") if k in row
        }
        self.bar_.set_postfix(shown, refresh=False)
        self.bar_.update()

    def on_train_end(self, net, **_):
        """Remove the bar."""
        self.bar_.close()


class FittedNetworkMixin(SaveMixin):
    """What a fitted estimator keeps of its training, and how it is saved and pickled."""

    random_state: object
    history_: list[dict]
    _optimizer_state = None  # of Adam, twice the weights: kept to go on, not pickled
    _random = None

    def _generator(self, go_on):
        """Random generator of a fit; one that goes on does not draw the same order and clips again."""
        return (go_on and self._random) or check_random_state(self.random_state)

    def _keep(self, network, training, random, go_on):
        """Set the fitted attributes; history and epochs add up when training went on.

        Raises what stopped the training before its time, if anything did.
        """
        before = self.history_ if go_on else []
        self.history_ = before + [{**row, "epoch": len(before) + row["epoch"]} for row in training.history]
        self.n_iter_ = len(self.history_)
        self.interrupted_ = training.stopped_by is not None
        self.network_ = network.eval()
        self._optimizer_state = training.optimizer_state
        self._random = random
        if training.stopped_by is not None:
            raise training.stopped_by

    def __getstate__(self):
        """Leave out the optimizer and move the network to the CPU, so that it loads on any machine."""
        state = dict(super().__getstate__())  # type: ignore[misc]  # a copy: it may be the attributes
        state.pop("_optimizer_state", None)
        if any(weights.device.type != "cpu" for weights in getattr(self, "network_", nn.Identity()).parameters()):
            state["network_"] = copy.deepcopy(self.network_).cpu()
        return state


def take_over(estimator, network):
    """Load the weights an estimator has learned into a network newly built from its parameters.

    Raises
    ------
    ValueError
        If the parameters have changed so that the weights do not fit.
    """
    try:
        network.load_state_dict(estimator.network_.state_dict())
    except RuntimeError as error:
        raise ValueError(
            "cannot go on from the last fit, whose weights do not fit the parameters as they are now; fit with "
            f"warm_start=False ({error})."
        ) from error


def check_training_parameters(estimator):
    """Raise unless max_epochs, batch_size, lr and callbacks can be used."""
    check_scalar(estimator.max_epochs, "max_epochs", Integral, min_val=0)
    check_scalar(estimator.batch_size, "batch_size", Integral, min_val=1)
    check_scalar(estimator.lr, "lr", Real, min_val=0, include_boundaries="neither")
    if not isinstance(estimator.callbacks or [], (list, tuple)):
        raise TypeError(f"callbacks={estimator.callbacks!r} must be a list of skorch callbacks.")
    for callback in estimator.callbacks or []:
        callback = callback[1] if isinstance(callback, tuple) and len(callback) == 2 else callback
        check_callback(callback, bool(getattr(estimator, "validation_fraction", 0)))


def check_callback(callback, validates):
    """Raise unless it is a skorch callback, or its class, that monitors something there is."""
    callback = callback() if isinstance(callback, type) and issubclass(callback, Callback) else callback
    if not isinstance(callback, Callback):
        raise TypeError(f"callbacks holds {callback!r}, which is not a skorch callback.")
    monitor = getattr(callback, "monitor", None)
    if isinstance(monitor, str) and monitor.startswith("valid_loss"):
        raise ValueError(
            f"callbacks: {type(callback).__name__} monitors {monitor!r}, but there is no validation set; "
            f"pass monitor={monitor.replace('valid', 'train')!r}."
        )
    if isinstance(monitor, str) and monitor.startswith("valid_score") and not validates:
        raise ValueError(
            f"callbacks: {type(callback).__name__} monitors {monitor!r}, but no recordings are held out; set "
            "validation_fraction=0.1, for example."
        )


@contextlib.contextmanager
def unchanged_on_error(estimator):
    """Give an estimator its attributes back if the block raises: a fit succeeds or never was."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


@contextlib.contextmanager
def seeded(random_state, device):
    """Seed torch inside the block and leave its global generators as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        seed = int(random_state.randint(np.iinfo(np.int32).max))
        # torch.manual_seed also seeds the GPUs, whose generators are kept only if they are used.
        (torch.default_generator if device.type == "cpu" else torch).manual_seed(seed)
        yield


def resolve_device(device):
    """Turn the parameter ``device`` into a torch.device: "auto" is a CUDA GPU if there is one, else the CPU.

    Raises
    ------
    ValueError
        If the device is unknown or not on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(f"device={device!r} cannot be used here ({error}); use 'auto' or 'cpu'.") from error
    return resolved


def resolve_precision(precision, device):
    """Turn "auto" into "bfloat16" where the processor computes in it natively, else "float32"."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device) >= (8, 0) else "float32"
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bfloat16" if device.type == "cpu" and native() else "float32"


def fit_scaler(X):
    """Fit a StandardScaler piece by piece: of all rows at once it makes copies in float64."""
    scaler = StandardScaler()
    for piece in gen_batches(len(X), N_SCALED):
        scaler.partial_fit(X[piece])
    return scaler


def standardized(X, scaler):
    """Rows as a network takes them: a float32 tensor, scaled piece by piece."""
    rows = np.empty(X.shape, np.float32)
    for piece in gen_batches(len(X), N_SCALED):
        rows[piece] = scaler.transform(X[piece])
    return torch.from_numpy(rows)


def in_precision_of(module, dtype):
    """Return the module itself for float32, a double copy of it for float64 input."""
    return copy.deepcopy(module).double() if dtype == np.float64 else module
