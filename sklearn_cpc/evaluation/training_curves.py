"""record_training: train a classifier epoch by epoch, and test it after each."""

import time

import numpy as np
from sklearn.base import clone
from sklearn.metrics import accuracy_score, log_loss
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_consistent_length

from .._constraints import check_parameters, integers
from .folds import check_labels


@check_parameters(estimator=[HasMethods(["fit", "get_params"])], max_epochs=[integers(1, 10**9), None])
def record_training(estimator, X, y, X_test, y_test, *, max_epochs=None):
    """Train a clone of a classifier epoch by epoch, and test it after each epoch.

    This gives the data of the report's figures 5 and 14. Both sets are predicted without dropout, unlike in the
    ``history_`` of a LinearProbe, so that the gap between them shows overfitting only (section 2.3.2).

    Parameters
    ----------
    estimator : classifier with partial_fit and predict_proba
        For example a LinearProbe, or scikit-learn's ``SGDClassifier(loss="log_loss")`` or ``MLPClassifier``.
    X, X_test : array-like of shape (n_rows, n_features)
        Embeddings to train on, and to test on.
    y, y_test : array-like of shape (n_rows,)
        Their classes.
    max_epochs : int, default=None
        Number of epochs. None: the estimator's own ``max_epochs``.

    Returns
    -------
    history : list of dict
        Per epoch: ``epoch``, ``train_loss`` and ``test_loss`` (cross entropy in nats), ``train_accuracy``,
        ``test_accuracy``, and ``dur`` in seconds.
        :meth:`~sklearn_cpc.displays.LossCurveDisplay.from_history` draws it.

    Raises
    ------
    TypeError, ValueError
        If the estimator lacks ``partial_fit`` or ``predict_proba``, the number of epochs is unknown or zero,
        ``y_test`` holds classes that ``y`` lacks, or lengths differ.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn_cpc import LinearProbe
    >>> from sklearn_cpc.evaluation import record_training
    >>> X, X_test, y, y_test = train_test_split(*load_iris(return_X_y=True), random_state=0)
    >>> history = record_training(LinearProbe(lr=0.01, random_state=0), X, y, X_test, y_test)
    >>> len(history), history[0]["test_loss"] > history[-1]["test_loss"]
    (10, True)
    """
    name = type(estimator).__name__
    for method in ("partial_fit", "predict_proba"):
        if not hasattr(estimator, method):
            raise TypeError(
                f"{name} has no {method}, so it cannot be trained and tested epoch by epoch; pass a LinearProbe. "
                "For a Pipeline, pass its last step, and the output of the other steps as X."
            )
    max_epochs = getattr(estimator, "max_epochs", None) if max_epochs is None else max_epochs
    if max_epochs is None:
        raise TypeError(f"{name} has no max_epochs; pass the number of epochs, for example max_epochs=10.")
    if max_epochs < 1:
        raise ValueError(f"{name} has max_epochs={max_epochs}; there must be at least one epoch to train.")
    y, y_test = check_labels(y, "y"), check_labels(y_test, "y_test")
    check_consistent_length(X, y)
    check_consistent_length(X_test, y_test)
    classes = np.unique(y)
    if unknown := np.setdiff1d(y_test, classes).tolist():
        raise ValueError(f"y_test holds classes {unknown} that y lacks, {classes.tolist()}; train on all classes.")
    trained, history = clone(estimator), []
    for epoch in range(1, max_epochs + 1):
        start = time.perf_counter()
        trained.partial_fit(X, y, classes=classes)
        row: dict[str, float] = {"epoch": epoch}
        for split, rows, labels in (("train", X, y), ("test", X_test, y_test)):
            probabilities = trained.predict_proba(rows)
            predicted = trained.classes_[probabilities.argmax(axis=1)]
            row[f"{split}_loss"] = float(log_loss(labels, probabilities, labels=trained.classes_))
            row[f"{split}_accuracy"] = float(accuracy_score(labels, predicted))
        history.append({**row, "dur": time.perf_counter() - start})
    return history
