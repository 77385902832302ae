"""A skorch net with less ado around its batches, and the callbacks of every training."""

import math

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from skorch.utils import TeeGenerator, to_device

from .._processes import progress


class NonFiniteLossError(ValueError):
    """The loss became infinite or NaN."""


class Net(NeuralNet):
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
