"""LinearProbe: a linear classifier that tells how good features are."""

from dataclasses import KW_ONLY, dataclass
from typing import Annotated

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_class_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.multiclass import check_classification_targets
from torch import nn

from ._constraints import SHARE, Flag, RandomState, Verbose
from ._generators import Dropout
from .training.batches import TensorBatches
from .training.estimator import BatchSize, Callbacks, Device, Epochs, LearningRate, NetworkEstimator, Task
from .training.scaling import scale, standardize


class Probe(nn.Module):
    """Dropout and one linear layer that starts at zero: no class is preferred before training."""

    def __init__(self, n_features, n_classes, dropout):
        super().__init__()
        self.dropout, self.linear = Dropout(dropout), nn.Linear(n_features, n_classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, rows):
        """Map (batch, n_features) to logits of shape (batch, n_classes)."""
        return self.linear(self.dropout(rows))


class CrossEntropy(nn.CrossEntropyLoss):
    """Cross entropy of the softmax, with the accuracy as a metric."""

    metrics = ("accuracy",)

    def forward(self, logits, labels):
        """Return the loss and a dict with the accuracy."""
        n_correct = (logits.argmax(1) == labels).count_nonzero()
        n_correct = n_correct if n_correct.is_cuda else n_correct.item()  # item would wait for a GPU
        return super().forward(logits, labels), {"accuracy": n_correct / len(labels)}


@dataclass(repr=False, eq=False)
class LinearProbe(ClassifierMixin, NetworkEstimator):
    """Linear classifier with softmax and dropout that tells how good features are (section 2.3.1, Table 5).

    Features are standardised first, and the weights start at zero, so that the same learning rate
    serves features of any scale and an untrained probe has no favourite class.

    Parameters
    ----------
    dropout : float, default=0.1
        Dropout between the features and the output (section 2.3.1; the rate is that of the report's
        other networks).
    class_weight : dict, "balanced" or None, default=None
        Weight of each class in the loss, as in scikit-learn's classifiers.
    max_epochs : int, default=10
        Passes over the rows (Table 5, for 90,000 of them; some hundred rows need 100 or more).
    batch_size : int, default=32
        Rows per batch (Table 5).
    lr : float, default=1e-4
        Learning rate of Adam (Table 5; some hundred rows do better with 1e-3 to 1e-2).
    device : str or torch.device, default="auto"
        "auto" is a CUDA GPU if there is one, else the CPU.
    callbacks : list of skorch callbacks, default=None
        Early stopping, schedules and the like; they may monitor ``train_loss`` and ``train_accuracy``.
    warm_start : bool, default=False
        Whether ``fit`` continues from the weights of the last ``fit``.
    random_state : int, RandomState instance or None, default=None
        Seeds order and dropout. Pass an int for the same result in every fit.
    verbose : int, default=0
        1 for a progress bar.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    network_ : nn.Module
        Dropout and a linear layer, over standardised features.
    scaler_ : StandardScaler
        Mean and scale of the features.
    history_ : list of dict
        Per epoch: ``epoch``, ``train_loss`` (cross entropy), ``train_accuracy`` and ``dur`` in seconds.
    n_iter_ : int
        Epochs trained.
    interrupted_ : bool
        Whether Ctrl-C or an error stopped the training early. The network is that of the last finished epoch.
    n_features_in_ : int
        Features of the input.

    See Also
    --------
    CPCTransformer : Learns the features.
    sklearn.linear_model.LogisticRegression : The same model, trained to the optimum.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_cpc import LinearProbe
    >>> X, y = load_iris(return_X_y=True)
    >>> probe = LinearProbe(lr=0.01, max_epochs=50, random_state=0).fit(X, y)
    >>> probe.score(X, y) > 0.9
    True
    """

    _: KW_ONLY
    dropout: Annotated[float, SHARE] = 0.1
    class_weight: Annotated[dict | str | None, dict, StrOptions({"balanced"}), None] = None
    max_epochs: Epochs = 10
    batch_size: BatchSize = 32
    lr: LearningRate = 1e-4
    device: Device = "auto"
    callbacks: Callbacks = None
    warm_start: Flag = False
    random_state: RandomState = None
    verbose: Verbose = 0

    _title = "linear probe"

    def fit(self, X, y):
        """Train the classifier.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Class labels, strings or numbers.

        Returns
        -------
        self : LinearProbe

        Raises
        ------
        ValueError, TypeError
            If a parameter is out of range, X holds NaN or infinite values, or y has one class only.
        """
        self._train(X, y)
        return self

    def partial_fit(self, X, y, classes=None):  # type: ignore[override]
        """Train for one more epoch, on these rows; the first call also learns the standardisation.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come; needed in the first call if ``y`` does not hold them all.

        Returns
        -------
        self : LinearProbe
        """
        self._train(X, y, partial=True, classes=classes)
        return self

    def predict(self, X):
        """Most likely class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        best = self._run(scale(self, X)).argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, X):
        """Probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        float ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        return torch.from_numpy(self._run(scale(self, X))).softmax(1).numpy()

    def decision_function(self, X):
        """Logit of each class; with two classes, how far the second is above the first.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        float ndarray of shape (n_samples, n_classes) or, with two classes, (n_samples,)
        """
        logits = self._run(scale(self, X))
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def _build_network(self):
        return Probe(self.n_features_in_, len(self.classes_), self.dropout)

    def _plan(self, X, y, random, partial, resume, classes=None):
        rows, y = standardize(self, X, y=y, reset=not resume)
        labels = torch.from_numpy(self._encode(y, classes, resume))
        if self.class_weight == "balanced" and (absent := np.setdiff1d(self.classes_, y).tolist()):
            raise ValueError(
                f"class_weight='balanced' weighs classes by their share of y, but y lacks {absent}; give "
                "the weights as a dict {label: weight}."
            )
        weight = compute_class_weight(self.class_weight, classes=self.classes_, y=y).astype(np.float32)
        batches = TensorBatches(rows, labels, self.batch_size)
        return Task(self._start_network(resume), batches, CrossEntropy(torch.from_numpy(weight)))

    @property
    def _n_candidates(self):
        return len(self.classes_)

    def _encode(self, y, classes, resume):
        """Return y as indices into ``classes_``, which a first fit sets."""
        check_classification_targets(y)
        if not resume:
            self.classes_ = np.unique(y if classes is None else classes)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes={classes!r} are not those of the first call, {self.classes_.tolist()}.")
        if len(self.classes_) < 2:
            raise ValueError(
                f"y has one class only, {self.classes_.tolist()[0]!r}; a classifier needs at least two."
            )
        if unknown := np.setdiff1d(y, self.classes_).tolist():
            raise ValueError(f"y holds labels {unknown} that are not among classes={self.classes_.tolist()}.")
        return np.searchsorted(self.classes_, y)
