"""The skorch net behind every training, and the callbacks that every training has."""

import contextlib
import copy
import math

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback

from .._processes import progress
from .._ranks import own_ranks
from .device import move
from .distributed import add_gradients


class NonFiniteLossError(ValueError):
    """The loss became infinite or NaN in a ``batch`` of the epoch."""

    batch = -1  # the last one


class EndTraining(Exception):
    """Ends a training after an epoch, as if it had no more."""


class LateLoss(torch.Tensor):
    """A loss on a GPU. Its ``item`` does not wait for the number, so skorch records this tensor instead."""

    def item(self):
        """Return the loss as a tensor."""
        return self.detach().as_subclass(torch.Tensor)


class Net(NeuralNet):
    """A skorch net whose datasets yield batches, whose criterion returns metrics, and that may use bfloat16.

    It overrides only methods that skorch documents for this. The tests run with skorch 1.1 and 1.4.
    """

    precision = "float32"
    embedder = None

    @property
    def is_late(self):
        """Whether numbers are read once per epoch: waiting for a GPU in every batch would let it idle."""
        return self.device.type == "cuda"

    def get_iterator(self, dataset, training=False):
        """Return the dataset itself for training: it yields batches, to which a DataLoader adds nothing."""
        return dataset if training else super().get_iterator(dataset, training)

    def infer(self, x, **_):
        """Call the module, in bfloat16 if that is the precision."""
        x = move(x, self.device)
        kind, in_bfloat16 = self.device.type, self.precision == "bfloat16"
        precision: contextlib.AbstractContextManager = contextlib.nullcontext()
        # Entering autocast takes 5 % of the time of a small network, so do it only where it changes something.
        if in_bfloat16 or torch.is_autocast_enabled(kind):  # without the cache of weights, which all threads share
            precision = torch.autocast(kind, torch.bfloat16, enabled=in_bfloat16, cache_enabled=False)
        with precision:
            return self.module_(**x) if isinstance(x, dict) else self.module_(x)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Compute the loss of a batch, or of own clips of it, and keep its metrics."""
        loss, self.metrics = self.criterion_(y_pred, move(y_true, self.device))
        return loss

    def train_step_single(self, batch, **fit_params):
        """Compute the gradients and the loss of a batch, and record its metrics."""
        step = super().train_step_single(batch, **fit_params)
        loss, metrics = step["loss"].detach(), self.metrics
        if own_ranks():
            loss, metrics = add_gradients(self.get_all_learnable_params(), loss, metrics)
        if not self.is_late:
            self._check_loss(loss.item())
        for name, value in metrics.items():
            self.history.record_batch(f"train_{name}", value if self.is_late else float(value))
        step["loss"] = loss.as_subclass(LateLoss) if self.is_late else loss
        return step

    def _check_loss(self, loss, batch=-1):
        if not math.isfinite(loss):
            error = NonFiniteLossError(
                f"the loss became {loss} in epoch {len(self.history)}; lower lr={self.lr} or look for samples of "
                "extreme size."
            )
            error.batch = batch
            raise error

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Run an epoch, and read the numbers of all its batches at once if they are on a GPU."""
        super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
        if iterator is None or not self.is_late:
            return
        rows = self.history[-1]["batches"]
        names = [name for name, value in rows[0].items() if isinstance(value, torch.Tensor)]
        values = torch.stack([torch.stack([row[name].double() for name in names]) for row in rows]).tolist()
        for number, (row, numbers) in enumerate(zip(rows, values, strict=True)):
            row.update(zip(names, numbers, strict=True))
            self._check_loss(row["train_loss"], number)


def check_callbacks(callbacks, *, validates):
    """Raise unless every callback is skorch's and monitors what is recorded: ``valid_score`` if ``validates``."""
    for callback in callbacks or []:
        callback = callback[1] if isinstance(callback, tuple) and len(callback) == 2 else callback
        callback = callback() if isinstance(callback, type) and issubclass(callback, Callback) else callback
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks holds {callback!r}, which is not a skorch callback.")
        saves = getattr(callback, "save_model", None) is True  # of skorch's WandbLogger: the best epoch
        monitor = "valid_loss_best" if saves else str(getattr(callback, "monitor", None))
        complaint = f"callbacks: {type(callback).__name__} monitors {monitor!r}, but"
        if monitor.startswith("valid_loss"):
            instead = "save_model=False" if saves else f"monitor={monitor.replace('valid', 'train')!r}"
            raise ValueError(f"{complaint} there is no validation set; pass {instead}.")
        if monitor.startswith("valid_score") and not validates:
            raise ValueError(f"{complaint} no recordings are held out; set validation_fraction=0.1, for example.")


def copy_callbacks(callbacks):
    """Copy callbacks, so that a training leaves them as they are. Beside an open log, copies share their parts."""
    try:
        return copy.deepcopy(list(callbacks))
    except Exception:  # locks, threads, files and connections raise different ones
        return [(one[0], copy.copy(one[1])) if isinstance(one, tuple) else copy.copy(one) for one in callbacks]


class Validation(Callback):
    """Record a score after every epoch, for callbacks to monitor."""

    def __init__(self, validate):
        self.validate = validate

    def on_epoch_end(self, net, **_):
        """Score the module, and record whether it is better than ever before."""
        score = self.validate(net.module_.eval())
        best = max((row["valid_score"] for row in net.history[:-1]), default=-math.inf)
        net.history.record("valid_score_best", score > best)
        net.history.record("valid_score", score)


class LastEpoch(Callback):
    """Keep the weights and the number of epochs as they were after the last finished epoch."""

    weights = None
    n_epochs = 0

    def on_epoch_begin(self, net, **_):
        """Drop the records of the last epoch's batches: the history of a long training stays small."""
        for row in net.history[-2:-1]:
            row.pop("batches", None)

    def on_epoch_end(self, net, **_):
        """Copy the weights."""
        self.weights = {name: values.clone() for name, values in net.module_.state_dict().items()}
        self.n_epochs = len(net.history)


class ProgressBar(Callback):
    """A progress bar over epochs that shows the loss."""

    def __init__(self, title, verbose):
        self.title = title
        self.verbose = verbose

    def on_train_begin(self, net, **_):
        """Open the bar, with the epochs of a checkpoint done."""
        n_done = len(net.history)
        self.bar_ = progress(None, n_done + net.max_epochs, self.title, self.verbose)
        self.bar_.update(n_done)

    def on_epoch_end(self, net, **_):
        """Advance by one epoch and show its loss and metrics."""
        row = net.history[-1]
        shown = ("train_loss", "train_accuracy", "valid_score")
        self.bar_.set_postfix({key.removeprefix("train_"): row[key] for key in shown if key in row}, refresh=False)
        self.bar_.update()

    def on_train_end(self, net, **_):
        """Remove the bar."""
        self.bar_.close()
