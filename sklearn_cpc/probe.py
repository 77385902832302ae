"""LinearProbe: how good are the features? A linear classifier tells."""

from numbers import Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, check_scalar, validate_data
from torch import nn

from ._parameters import check_training_parameters
from .training.batches import TensorBatches
from .training.device import in_precision_of, resolve_device, seeded
from .training.estimator import FittedNetworkMixin, take_over, unchanged_on_error
from .training.loop import train
from .training.scaling import fit_scaler, standardized


class Probe(nn.Module):
    """Dropout and one linear layer that starts at zero: no class is preferred before training."""

    def __init__(self, n_features, n_classes, dropout):
        super().__init__()
        self.dropout, self.linear = nn.Dropout(dropout), nn.Linear(n_features, n_classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, rows):
        """Map (batch, n_features) to logits of shape (batch, n_classes)."""
        return self.linear(self.dropout(rows))


class CrossEntropy(nn.Module):
    """Cross entropy of the softmax, with the accuracy as a metric."""

    metrics = ("accuracy",)
    class_weight: torch.Tensor

    def __init__(self, class_weight):
        super().__init__()
        self.register_buffer("class_weight", class_weight)

    def forward(self, logits, labels):
        """Return the loss and a dict with the accuracy."""
        loss = nn.functional.cross_entropy(logits, labels, weight=self.class_weight)
        return loss, {"accuracy": (logits.argmax(1) == labels).count_nonzero().item() / len(labels)}


class LinearProbe(FittedNetworkMixin, ClassifierMixin, BaseEstimator):
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
        Whether ``fit`` goes on from the weights of the last ``fit``.
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
        Whether Ctrl-C or an error cut the training short: the network is as after its last finished epoch.
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

    _title = "linear probe"
    _n_candidates = property(lambda self: len(self.classes_))

    def __init__(
        self,
        *,
        dropout=0.1,
        class_weight=None,
        max_epochs=10,
        batch_size=32,
        lr=1e-4,
        device="auto",
        callbacks=None,
        warm_start=False,
        random_state=None,
        verbose=0,
    ):
        self.dropout = dropout
        self.class_weight = class_weight
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.device = device
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

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
        return self._fit(X, y, None, self.max_epochs, go_on=self.warm_start)

    def partial_fit(self, X, y, classes=None):
        """Train for one epoch more, on these rows; the first call also learns the standardisation.

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
        return self._fit(X, y, classes, 1, go_on=True)

    def predict(self, X):
        """Most likely class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        best = self._logits(X).argmax(axis=1)
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
        return torch.from_numpy(self._logits(X)).softmax(1).numpy()

    def decision_function(self, X):
        """Logit of each class; with two classes, how far the second is above the first.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        float ndarray of shape (n_samples, n_classes) or, with two classes, (n_samples,)
        """
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def _fit(self, X, y, classes, max_epochs, go_on):
        check_training_parameters(self)
        check_scalar(self.dropout, "dropout", Real, min_val=0, max_val=1, include_boundaries="left")
        go_on = go_on and hasattr(self, "network_")
        device, random = resolve_device(self.device), self._generator(go_on)
        with unchanged_on_error(self), seeded(random, device):
            X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], reset=not go_on)
            labels = self._encode(y, classes, go_on)
            if not go_on:
                self.scaler_ = fit_scaler(X)
            weight = self._class_weights(y)
            rows = standardized(X, self.scaler_)
            network = Probe(X.shape[1], len(self.classes_), self.dropout)
            if go_on:
                take_over(self, network)
            training = train(
                network,
                TensorBatches(rows, torch.from_numpy(labels), self.batch_size),
                CrossEntropy(torch.from_numpy(weight.astype(np.float32))),
                max_epochs=max_epochs,
                lr=self.lr,
                device=device,
                callbacks=self.callbacks,
                verbose=self.verbose,
                title="linear probe",
                optimizer_state=self._optimizer_state if go_on else None,
            )
        self._keep(network, training, random, go_on)
        return self

    def _encode(self, y, classes, go_on):
        """Set ``classes_`` in a first fit, and return y as indices into it."""
        check_classification_targets(y)
        if not go_on:
            self.classes_ = np.unique(y if classes is None else classes)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes={classes!r} are not those of the first call, {self.classes_.tolist()}.")
        if len(self.classes_) < 2:
            raise ValueError(
                f"y has one class only, {self.classes_.tolist()[0]!r}; a classifier needs at least two."
            )
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(
                f"y holds labels {unknown.tolist()} that are not among classes={self.classes_.tolist()}."
            )
        return np.searchsorted(self.classes_, y)

    def _class_weights(self, y):
        absent = np.setdiff1d(self.classes_, y).tolist()
        if self.class_weight == "balanced" and absent:
            raise ValueError(
                f"class_weight='balanced' weighs classes by their share of y, but y lacks {absent}; give "
                "the weights as a dict {label: weight}."
            )
        return compute_class_weight(self.class_weight, classes=self.classes_, y=y)

    def _logits(self, X):
        check_is_fitted(self, "network_")
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        device = resolve_device(self.device)
        network = in_precision_of(self.network_.to(device), X.dtype)
        with torch.inference_mode():
            return network(torch.from_numpy(self.scaler_.transform(X)).to(device)).cpu().numpy()
