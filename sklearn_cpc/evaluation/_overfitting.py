"""Over-fitting of the network and of the probe, told apart."""

from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_scalar

from ._folds import make_folds
from ._representations import decoded_once, divide, named_estimators, ready, untrained_twin


def overfitting_gaps(
    representation,
    A,
    B,
    C,
    *,
    probe=None,
    cv=None,
    baselines=True,
    n_seeds=1,
    random_state=0,
    memory=None,
    n_jobs=None,
):
    """Tell over-fitting of the network from over-fitting of the probe (report, section 4).

    The network is trained on A, one probe on A and another on B, and that of B is tested on C.

    Parameters
    ----------
    representation : transformer or pipeline
        One that ends in a classifier is used with this instead of ``probe``.
    A, B, C : tuple of (X, y) or (X, y, groups)
        Recordings, their classes and what must not be split over folds; the classes have to be the same in
        all three, and their shares and the number of rows should be.
    probe : classifier, default=None
        With ``predict_proba``. None: logistic regression (C = 0.05) on standardised features.
    cv : int, cross-validation generator or iterable, default=None
        Folds of the probes' losses by cross-validation, as in :func:`compare_representations`.
    baselines : bool, default=True
        Whether to add the representation with the random weights its network starts from, "untrained". It
        has heard neither A nor B, so a gap of the network's that it has as well is a difference between
        the recordings.
    n_seeds : int, default=1
        Trainings, each with another seed; the table holds the means.
    random_state : int, default=0
        The first seed.
    memory : str or path-like, default=None
        Directory for decoded recordings; None: a temporary one.
    n_jobs : int, default=None
        Trainings at a time.

    Returns
    -------
    DataFrame
        Rows "trained" and "untrained"; losses are mean cross-entropies in nats.

        - ``loss_a``, ``loss_b``: of the probes of A and of B on what they were trained on;
        - ``loss_c``: of the probe of B on C;
        - ``network_gap``: ``loss_b - loss_a``; above zero, the network over-fits to A;
        - ``probe_gap``: ``loss_c - loss_b``; above zero, the probe over-fits to B;
        - ``cv_loss_a``, ``cv_loss_b``, ``cv_network_gap``: the same of probes tested on rows they have not
          seen, inside A and inside B. A probe with more features than rows learns both by heart, and the
          report's gap is near zero whatever the network does; this one is not.
        - ``accuracy_a``, ``accuracy_b``, ``accuracy_c``.

    Raises
    ------
    ValueError
        If the three have not the same classes.

    See Also
    --------
    compare_representations : How good features are.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.decomposition import PCA
    >>> from sklearn_cpc.evaluation import overfitting_gaps
    >>> rng = np.random.default_rng(0)
    >>> parts = [(rng.standard_normal((40, 30)), np.arange(40) % 2) for _ in range(3)]  # nothing to be learned
    >>> gaps = overfitting_gaps(PCA(5), *parts)
    >>> bool(gaps.loc["trained", "probe_gap"] > 0)
    True
    """
    parts = {name: _part(name, part) for name, part in zip("abc", (A, B, C), strict=True)}
    classes = {name.upper(): np.unique(part.y).tolist() for name, part in parts.items()}
    if not classes["A"] == classes["B"] == classes["C"]:
        raise ValueError(f"A, B and C must have the same classes, but they have {classes}.")
    folds = {name: make_folds(parts[name].X, parts[name].y, parts[name].groups, cv) for name in "ab"}
    check_scalar(n_seeds, "n_seeds", Integral, min_val=1)
    named = named_estimators({"trained": representation})
    twin = untrained_twin(named["trained"])
    if baselines and twin is not None:
        named["untrained"] = twin
    tasks = [(name, seed) for name in named for seed in range(random_state, random_state + n_seeds)]
    with decoded_once(memory) as memory:
        losses = Parallel(n_jobs=n_jobs)(
            delayed(_losses)(ready(named[name], seed, memory), probe, parts, folds) for name, seed in tasks
        )
    table = pd.DataFrame(losses, index=[name for name, _ in tasks]).groupby(level=0, sort=False).mean()
    table.insert(3, "network_gap", table["loss_b"] - table["loss_a"])
    table.insert(4, "probe_gap", table["loss_c"] - table["loss_b"])
    table.insert(7, "cv_network_gap", table["cv_loss_b"] - table["cv_loss_a"])
    return table


class Part(NamedTuple):
    """One of the three corpora."""

    X: Any
    y: np.ndarray
    groups: np.ndarray | None = None


def _part(name, part):
    if not isinstance(part, (tuple, list)) or len(part) not in (2, 3):
        raise TypeError(f"{name.upper()} must be a tuple (X, y) or (X, y, groups), got {type(part).__name__}.")
    check_consistent_length(*part)
    return Part(part[0], *map(np.asarray, part[1:]))


def _losses(estimator, probe, parts, folds):
    """Fit features on A and probes on A and on B; returns losses and accuracies by name."""
    features, classifier = divide(estimator, probe)
    features.fit(parts["a"].X, parts["a"].y)
    embedded = {name: (features.transform(part.X), part.y) for name, part in parts.items()}
    probes = {name: clone(classifier).fit(*embedded[name]) for name in "ab"}
    tested = {"a": probes["a"], "b": probes["b"], "c": probes["b"]}
    results = {f"loss_{name}": cross_entropy(probe, *embedded[name]) for name, probe in tested.items()}
    for name in "ab":
        how = {"cv": folds[name], "scoring": cross_entropy, "error_score": "raise"}
        results[f"cv_loss_{name}"] = cross_val_score(classifier, *embedded[name], **how).mean()
    return results | {f"accuracy_{name}": probe.score(*embedded[name]) for name, probe in tested.items()}


def cross_entropy(probe, X, y):
    """Mean of a fitted classifier's, in nats; y need not hold all its classes."""
    return log_loss(y, probe.predict_proba(X), labels=probe.classes_)
