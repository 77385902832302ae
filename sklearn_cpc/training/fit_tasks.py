"""What scikit-learn's callbacks, such as its ProgressBar, are told of a fit. scikit-learn 1.9 introduced them."""

import copy
from typing import Any

from skorch.callbacks import Callback

from .._ranks import run_once
from .net import EndTraining

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9: estimators have no set_callbacks
    CallbackSupportMixin, with_callbacks = object, lambda method: method


class FitTasks(Callback):
    """Tell the callbacks of an estimator of a fit, a task, and of its epochs, which are its subtasks.

    Must be the last callback of a net: a callback of scikit-learn may end the training. ``fitted`` maps a network
    and a history to the attributes that make a fitted estimator.
    """

    def __init__(self, estimator, X, y, n_epochs, fitted):
        self.what, self.fitted = {"estimator": estimator, "X": X, "y": y}, fitted
        self.epoch: Any = None  # its task
        self.fit = estimator._init_callback_context(max_subtasks=n_epochs)
        self.fit.call_on_fit_task_begin(**self.what)

    def on_epoch_begin(self, net, **_):
        """Begin the task of an epoch."""
        self.epoch = self.fit.subcontext("epoch").call_on_fit_task_begin(**self.what)

    def on_epoch_end(self, net, **_):
        """End the task of an epoch, and the training if a callback asks for it."""
        if run_once(lambda: self._end_epoch(net)):
            raise EndTraining

    def on_train_end(self, net, **_):
        """End the task of an epoch that another callback, an error or Ctrl-C ended."""
        if self.epoch is not None:
            self._end_epoch(net)

    def _end_epoch(self, net):
        epoch, self.epoch = self.epoch, None
        ended = "train_loss" in net.history[-1]
        attributes = (lambda: self.fitted(copy.deepcopy(net.module_), net.history)) if ended else None
        return epoch.call_on_fit_task_end(**self.what, reconstruction_attributes=attributes)
