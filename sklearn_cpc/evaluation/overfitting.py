"""Tell overfitting of the network from overfitting of the probe."""

import numpy as np
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score
from sklearn.utils import check_consistent_length

from .._constraints import check_parameters
from .._extras import import_extra
from .comparison import CONSTRAINTS
from .folds import make_folds
from .representations import named_estimators, train_all, untrained_twin

pd = import_extra("pandas", "evaluation")


@check_parameters(**CONSTRAINTS)
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
    """Tell overfitting of the network from overfitting of the probe (report, section 4).

    The network is trained on A. One probe is trained on A and another on B, and the probe of B is tested on C.

    Parameters
    ----------
    representation : transformer or pipeline
        A classifier at the end of a pipeline replaces ``probe``.
    A, B, C : tuple of (X, y) or (X, y, groups)
        Recordings, their classes, and groups that no fold may split. All three must have the same classes,
        and should have similar class shares and numbers of rows.
    probe : classifier, default=None
        With ``predict_proba``. None: logistic regression (C = 0.05) on standardised features.
    cv, memory, n_jobs : default=None
        As in :func:`compare_representations`; the folds are for the cross-validated losses of the probes.
    baselines : bool, default=True
        Whether to add the row "untrained", the network with its initial weights. A network gap that it shares
        comes from the recordings.
    n_seeds : int, default=1
        Number of trainings, each with another seed; the table holds their means.
    random_state : int, default=0
        The first seed; the others follow.

    Returns
    -------
    DataFrame
        Rows "trained" and "untrained"; losses are mean cross entropies in nats.

        - ``loss_a``, ``loss_b``: losses of the probes of A and B on their own training rows;
        - ``loss_c``: loss of the probe of B on C;
        - ``network_gap``: ``loss_b - loss_a``; above zero, the network overfits to A;
        - ``probe_gap``: ``loss_c - loss_b``; above zero, the probe overfits to B;
        - ``cv_loss_a``, ``cv_loss_b``, ``cv_network_gap``: the same, cross-validated within A and within B. Use
          this gap if there are more features than rows: such a probe fits A and B perfectly, with any network;
        - ``accuracy_a``, ``accuracy_b``, ``accuracy_c``: accuracies of the same probes.

    Raises
    ------
    ValueError, TypeError
        If a parameter is invalid, or A, B and C differ in their classes.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.decomposition import PCA
    >>> from sklearn_cpc.evaluation import overfitting_gaps
    >>> rng = np.random.default_rng(0)
    >>> A, B, C = ((rng.standard_normal((40, 30)), np.arange(40) % 2) for _ in range(3))  # pure noise
    >>> gaps = overfitting_gaps(PCA(5), A, B, C)
    >>> bool(gaps.loc["trained", "probe_gap"] > 0)
    True
    """
    for name, corpus in {"A": A, "B": B, "C": C}.items():
        if not isinstance(corpus, (tuple, list)) or len(corpus) not in (2, 3):
            raise TypeError(f"{name} must be a tuple (X, y) or (X, y, groups), got {type(corpus).__name__}.")
        check_consistent_length(*corpus)
    corpora = {name: (corpus[0], np.asarray(corpus[1])) for name, corpus in {"a": A, "b": B, "c": C}.items()}
    classes = {name.upper(): np.unique(y).tolist() for name, (_, y) in corpora.items()}
    if not classes["A"] == classes["B"] == classes["C"]:
        raise ValueError(f"A, B and C must have the same classes, but they have {classes}.")
    folds_a = make_folds(*corpora["a"], A[2] if len(A) == 3 else None, cv)
    folds_b = make_folds(*corpora["b"], B[2] if len(B) == 3 else None, cv)
    named = named_estimators({"trained": representation})
    if baselines and (twin := untrained_twin(named["trained"])) is not None:
        named["untrained"] = twin
    setting = corpora, folds_a, folds_b
    results = train_all(_fit_and_test, named, probe, n_seeds, random_state, [setting], memory, n_jobs)
    table = pd.DataFrame({name: pd.DataFrame(found).mean() for name, found in results.items()}).T
    table.insert(3, "network_gap", table["loss_b"] - table["loss_a"])
    table.insert(4, "probe_gap", table["loss_c"] - table["loss_b"])
    table.insert(7, "cv_network_gap", table["cv_loss_b"] - table["cv_loss_a"])
    return table


def _fit_and_test(features, classifier, corpora, folds_a, folds_b):
    """Fit features on A and probes on A and B; return losses and accuracies by name."""
    features.fit(*corpora["a"])
    embedded = {name: (features.transform(X), y) for name, (X, y) in corpora.items()}
    probes = {name: clone(classifier).fit(*embedded[name]) for name in "ab"}
    probes["c"] = probes["b"]
    results = {f"loss_{name}": _cross_entropy(probes[name], *embedded[name]) for name in "abc"}
    for name, folds in (("a", folds_a), ("b", folds_b)):
        how = {"cv": folds, "scoring": _cross_entropy, "error_score": "raise"}
        results[f"cv_loss_{name}"] = cross_val_score(classifier, *embedded[name], **how).mean()
    return results | {f"accuracy_{name}": probes[name].score(*embedded[name]) for name in "abc"}


def _cross_entropy(probe, X, y):
    """Return the mean cross entropy in nats; y need not hold all classes of the probe."""
    return log_loss(y, probe.predict_proba(X), labels=probe.classes_)
