"""record_training: train a classifier epoch by epoch, with its loss and accuracy on test data after each."""

import time
from numbers import Integral

import numpy as np
from sklearn.base import clone
from sklearn.metrics import accuracy_score, log_loss
from sklearn.utils.validation import check_consistent_length, check_scalar

from ._labels import as_labels


def record_training(estimator, X, y, X_test, y_test, *, max_epochs=None):
    """Train a clone of a classifier for one epoch after the other, and test it after each.

    What the report's figures 5 and 14 show: how a :class:`~sklearn_cpc.LinearProbe` does on data that it
    is not trained on, epoch after epoch. Its own ``history_`` knows the training data alone, and takes
    their loss during the epoch, with dropout; here all numbers are those of the classifier as it
    predicts after the epoch, so that the gap between train and test is over-fitting and nothing else
    (section 2.3.2).

    Parameters
    ----------
    estimator : classifier with partial_fit and predict_proba
        A LinearProbe, or scikit-learn's ``SGDClassifier(loss="log_loss")`` or ``MLPClassifier``. It is left
        as it is.
    X : array-like of shape (n_samples, n_features)
        Embeddings to train on.
    y : array-like of shape (n_samples,)
        Their classes.
    X_test : array-like of shape (n_test_samples, n_features)
        Embeddings to test with.
    y_test : array-like of shape (n_test_samples,)
        Their classes.
    max_epochs : int, default=None
        Epochs. None: the estimator's own ``max_epochs``.

    Returns
    -------
    history : list of dict
        Per epoch: ``epoch``, ``train_loss`` and ``test_loss`` (cross entropy in nats), ``train_accuracy``
        and ``test_accuracy``, and ``dur`` in seconds. For :meth:`LossCurveDisplay.from_history`, or
        ``pandas.DataFrame(history)``.

    Raises
    ------
    TypeError
        If the estimator lacks ``partial_fit`` or ``predict_proba``, or ``max_epochs`` is not an integer.
    ValueError
        If ``y_test`` holds classes that ``y`` lacks, lengths differ, or there is no epoch to train.

    See Also
    --------
    LossCurveDisplay.from_training : Draw it.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_cpc import LinearProbe
    >>> from sklearn_cpc.displays import record_training
    >>> X, X_test, y, y_test = train_test_split(*load_iris(return_X_y=True), random_state=0)
    >>> history = record_training(LinearProbe(lr=0.01, random_state=0), X, y, X_test, y_test)
    >>> len(history), history[0]["test_loss"] > history[-1]["test_loss"]
    (10, True)
    """
    for method in ("partial_fit", "predict_proba"):
        if not hasattr(estimator, method):
            raise TypeError(
                f"{type(estimator).__name__} has no {method}, so it cannot be trained and tested epoch by epoch; "
                "use a LinearProbe, on the output of the steps before it if it is in a Pipeline."
            )
    n_epochs = _n_epochs(estimator, max_epochs)
    y, y_test = as_labels(y, "y"), as_labels(y_test, "y_test")
    check_consistent_length(X, y)
    check_consistent_length(X_test, y_test)
    classes = np.unique(y)
    unknown = np.setdiff1d(y_test, classes).tolist()
    if unknown:
        raise ValueError(f"y_test holds classes {unknown} that y lacks, {classes.tolist()}; train on all classes.")
    parts, trained, history = {"train": (X, y), "test": (X_test, y_test)}, clone(estimator), []
    for epoch in range(1, n_epochs + 1):
        start = time.perf_counter()
        trained.partial_fit(X, y, classes=classes)
        row: dict[str, float] = {"epoch": epoch}
        for part, (rows, labels) in parts.items():
            probabilities = trained.predict_proba(rows)
            predicted = trained.classes_[probabilities.argmax(axis=1)]
            row[f"{part}_loss"] = float(log_loss(labels, probabilities, labels=trained.classes_))
            row[f"{part}_accuracy"] = float(accuracy_score(labels, predicted))
        history.append({**row, "dur": time.perf_counter() - start})
    return history


def _n_epochs(estimator, max_epochs):
    """Epochs to train: those asked for, else the estimator's."""
    if max_epochs is None:
        max_epochs = getattr(estimator, "max_epochs", None)
    if max_epochs is None:
        raise TypeError(f"{type(estimator).__name__} has no max_epochs; say how many to train: max_epochs=10.")
    return check_scalar(max_epochs, "max_epochs", Integral, min_val=1)
