"""Representations compared inside the same folds."""

import time
from numbers import Integral, Real

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy import stats
from sklearn.metrics import check_scoring
from sklearn.utils import _safe_indexing, check_consistent_length
from sklearn.utils.validation import check_scalar

from .._processes import progress
from ..audio.clips import as_clips
from ._folds import make_folds
from ._representations import UNTRAINED, decoded_once, divide, named_estimators, ready, with_baselines


def compare_representations(
    representations,
    X,
    y,
    *,
    groups=None,
    cv=None,
    unlabelled=None,
    transductive=False,
    baselines=True,
    reference=None,
    probe=None,
    scoring="accuracy",
    n_seeds=1,
    random_state=0,
    confidence=0.95,
    memory=None,
    n_jobs=None,
    verbose=0,
):
    """Tell how well a linear probe does on several representations, all in the same folds.

    Every representation is fitted on the training part of every fold, without labels; a probe is fitted on
    its features there and scored on the rest.

    Parameters
    ----------
    representations : dict of str to estimator
        Transformers, or pipelines of them; one that ends in a classifier is used with this instead of
        ``probe``. A single estimator is named "representation". All are cloned.
    X : recordings or array-like of shape (n_rows, ...)
        Whatever all the estimators take: paths, clips, or arrays, see :class:`~sklearn_cpc.CPCTransformer`.
    y : array-like of shape (n_rows,)
        Class of each row.
    groups : array-like of shape (n_rows,), default=None
        What must not be split over folds: the site, the speaker, the day.
    cv : int, cross-validation generator or iterable, default=None
        Folds, as in scikit-learn. A number k, or None for 5, is k stratified folds: of whole groups if there
        are ``groups``, of whole files if X holds several clips of a file, and shuffled otherwise. None is
        fewer than 5 where a class has fewer rows or groups.
    unlabelled : recordings, default=None
        More of them without labels, on which transformers are fitted as well.
    transductive : bool, default=False
        Fit the transformers once on all of X, the test rows without their labels included, as one may who
        has all the recordings already; figures for recordings to come are had with False.
    baselines : bool, default=True
        Whether to add what every result should be seen beside: "chance" (always the most frequent class),
        "mfcc" (:class:`~sklearn_cpc.MFCCTransformer`, if X holds recordings or a representation has a
        sample rate) and, for every representation that trains a :class:`~sklearn_cpc.CPCTransformer`, the
        same with the random weights it starts from, "<name> (untrained)".
    reference : str, default=None
        Name of what the others are compared with. None: "mfcc" if there is one, else the first.
    probe : classifier, default=None
        Fitted on the features. None: logistic regression (C = 0.05) on standardised features.
    scoring : str or callable, default="accuracy"
        As in scikit-learn, greater is better.
    n_seeds : int, default=1
        How often everything with a ``random_state`` is trained per fold, each time with another seed.
    random_state : int, default=0
        The first seed; the others follow.
    confidence : float, default=0.95
        Of the intervals.
    memory : str or path-like, default=None
        Directory for decoded recordings, for estimators that have none of their own. None: a temporary
        one, so that each is decoded once per sample rate (230 MB per hour at 16 kHz, until the end).
    n_jobs : int, default=None
        Trainings at a time.
    verbose : int, default=0
        1 for a progress bar.

    Returns
    -------
    DataFrame
        One row per representation, baselines first, with the columns

        - ``mean``, ``std``: of the scores, over folds and seeds;
        - ``difference``, ``difference_low``, ``difference_high``: from the reference in the same fold and
          seed, its mean and confidence interval; ``reference`` names it;
        - ``gain``, ``gain_low``, ``gain_high``: the same from the representation's own untrained twin;
        - ``fit_seconds``: of fitting one fold, features and probe;
        - ``fitted_on``: "training folds" or "all recordings";
        - ``fold0``, ``fold1`` and so on (``fold0_seed1``): the scores.

    Raises
    ------
    ValueError, TypeError
        If lengths differ, ``cv`` splits groups over folds, ``unlabelled`` holds files of X without
        ``transductive``, or ``reference`` is unknown; and whatever an estimator raises.

    Warns
    -----
    UserWarning
        If ``cv`` puts clips of one file into the training and the test part of a fold.

    See Also
    --------
    compare_scores : The same differences of scores that come from elsewhere.
    overfitting_gaps : Whether the network or the probe over-fits.

    Notes
    -----
    Folds share most of their training rows, so their scores are not independent and the usual t interval is
    too narrow. The intervals here are of the corrected resampled t-test of Nadeau and Bengio ("Inference for
    the Generalization Error", Machine Learning 52, 2003), which enlarges the variance by the ratio of test
    to training rows. They speak of other folds and seeds of the same corpus, not of other corpora. One fold
    has no interval (NaN).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.decomposition import PCA
    >>> from sklearn_cpc.evaluation import compare_representations
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.standard_normal((60, 20)), np.repeat(["cat", "dog"], 30)
    >>> X[:30, 0] += 3
    >>> table = compare_representations({"raw": "passthrough", "pca": PCA(2)}, X, y, reference="raw")
    >>> table.loc[["chance", "raw", "pca"], "mean"].round(2).tolist()
    [0.5, 0.87, 0.98]
    >>> table.loc["pca", ["difference", "difference_low", "difference_high"]].astype(float).round(2).tolist()
    [0.12, 0.03, 0.2]
    """
    folds = make_folds(X, y, groups, cv)
    check_scalar(n_seeds, "n_seeds", Integral, min_val=1)
    check_scalar(random_state, "random_state", Integral, min_val=0)
    check_scalar(confidence, "confidence", Real, min_val=0, max_val=1, include_boundaries="neither")
    _check_unlabelled(X, unlabelled, transductive)
    named = named_estimators(representations)
    if baselines:
        named = with_baselines(named, X)
    reference = _choose_reference(reference, named)
    seeds = range(random_state, random_state + n_seeds)
    tasks = [(name, seed, part) for name in named for seed in seeds for part in _parts(folds, transductive)]
    with decoded_once(memory) as memory:
        run = Parallel(n_jobs=n_jobs, return_as="generator")(
            delayed(_fit_and_score)(
                ready(named[name], seed, memory), probe, X, np.asarray(y), unlabelled, part, transductive, scoring
            )
            for name, seed, part in tasks
        )
        results = list(progress(run, len(tasks), "comparing", verbose))
    scores: dict[str, list[float]] = {name: [] for name in named}
    seconds: dict[str, list[float]] = {name: [] for name in named}
    for (name, _, _), (of_part, fit_seconds) in zip(tasks, results, strict=True):
        scores[name] += of_part
        seconds[name].append(fit_seconds)
    test_ratio = np.mean([len(test) / len(train) for train, test in folds])
    table = compare_scores(scores, reference, test_ratio=test_ratio, confidence=confidence)
    table["fit_seconds"] = [np.mean(seconds[name]) for name in named]
    table["fitted_on"] = "all recordings" if transductive else "training folds"
    columns = [_column(fold, seed, n_seeds) for seed in range(n_seeds) for fold in range(len(folds))]
    return table.join(pd.DataFrame.from_dict(scores, orient="index", columns=columns))


def compare_scores(scores, reference=None, *, test_ratio=0.25, confidence=0.95):
    """Means of paired scores, and their differences with confidence intervals.

    What :func:`compare_representations` makes of its scores, for scores that come from elsewhere.

    Parameters
    ----------
    scores : dict of {str: sequence of float}
        By name of the representation; all in the same order of folds and seeds.
    reference : str, default=None
        Name of what the others are compared with. None: "mfcc" if there is one, else the first but for
        "chance".
    test_ratio : float, default=0.25
        Test rows per training row (five folds); see the Notes of :func:`compare_representations`.
    confidence : float, default=0.95
        Of the intervals.

    Returns
    -------
    DataFrame
        One row per name, with the columns ``mean``, ``std``, ``difference``, ``difference_low``,
        ``difference_high``, ``reference``, and ``gain``, ``gain_low``, ``gain_high`` over
        "<name> (untrained)" where there is one.

    Raises
    ------
    ValueError
        If the reference is unknown, or lengths differ.

    Examples
    --------
    >>> from sklearn_cpc.evaluation import compare_scores
    >>> table = compare_scores({"mfcc": [0.6, 0.7, 0.8], "cpc": [0.8, 0.8, 0.9]})
    >>> table.loc["cpc", ["mean", "difference", "difference_low"]].astype(float).round(2).tolist()
    [0.83, 0.13, -0.06]
    """
    if not scores:
        raise ValueError("scores is empty; pass at least one list of scores by name.")
    check_consistent_length(*scores.values())
    reference = _choose_reference(reference, scores)
    rows = {}
    for name, values in scores.items():
        other, twin = None if name == reference else scores[reference], scores.get(UNTRAINED.format(name))
        rows[name] = {
            "mean": np.mean(values),
            "std": np.std(values, ddof=1) if len(values) > 1 else np.nan,
            **_paired("difference", values, other, test_ratio, confidence),
            "reference": reference,
            **_paired("gain", values, twin, test_ratio, confidence),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


# What is fitted on what


def _check_unlabelled(X, unlabelled, transductive):
    """Raise if recordings of X are trained on in every fold, under another name."""
    if unlabelled is None or transductive or as_clips(X) is None:
        return
    both = {str(clip.path) for clip in as_clips(X)} & {str(clip.path) for clip in as_clips(unlabelled) or []}
    if both:
        raise ValueError(
            f"{len(both)} file(s) of unlabelled are in X too, {min(both)!r} for one: they would be heard in "
            "training where they are tested. Leave them out, or say transductive=True."
        )


def _parts(folds, transductive):
    """Folds that one fit of the features serves: all of them, or each its own."""
    return [folds] if transductive else [[fold] for fold in folds]


def _column(fold, seed, n_seeds):
    return f"fold{fold}" if n_seeds == 1 else f"fold{fold}_seed{seed}"


# Scores


def _fit_and_score(estimator, probe, X, y, unlabelled, folds, transductive, scoring):
    """Fit the features once and the probe on every fold.

    Returns
    -------
    scores : list of float
    seconds : float
        Per fold: its share in fitting the features, and the probe.
    """
    features, classifier = divide(estimator, probe)
    scorer = check_scoring(classifier, scoring)
    start = time.perf_counter()
    rows = np.arange(len(y)) if transductive else folds[0][0]
    # With rows of unknown class among them, no transformer can make use of classes.
    known = None if transductive or unlabelled is not None else y[rows]
    features.fit(_joined(_safe_indexing(X, rows), unlabelled), known)
    seconds, scores = time.perf_counter() - start, []
    needed = np.unique(np.concatenate([part for fold in folds for part in fold]))
    embedded = features.transform(_safe_indexing(X, needed))  # once, however many folds share it
    for fold in folds:
        train, test = (_safe_indexing(embedded, np.searchsorted(needed, part)) for part in fold)
        start = time.perf_counter()
        classifier.fit(train, y[fold[0]])
        seconds += time.perf_counter() - start
        scores.append(scorer(classifier, test, y[fold[1]]))
    return scores, seconds / len(folds)


def _joined(X, more):
    """Return rows of both."""
    if more is None:
        return X
    if isinstance(X, (pd.DataFrame, pd.Series)):
        return pd.concat([X, type(X)(more)], ignore_index=True)
    return np.concatenate([X, more]) if isinstance(X, np.ndarray) else [*X, *more]


# Differences


def _choose_reference(reference, named):
    if reference is None:
        return "mfcc" if "mfcc" in named else next((name for name in named if name != "chance"), "chance")
    if reference not in named:
        raise ValueError(f"reference={reference!r} is none of the representations, {list(named)}.")
    return reference


def _paired(label, scores, others, test_ratio, confidence):
    """Mean difference of paired scores and its corrected interval, as columns."""
    if others is None:
        return dict.fromkeys([label, f"{label}_low", f"{label}_high"], np.nan)
    mean, half = paired_interval(np.subtract(scores, others), test_ratio, confidence)
    return {label: mean, f"{label}_low": mean - half, f"{label}_high": mean + half}


def paired_interval(differences, test_ratio, confidence):
    """Mean of paired differences, and half its confidence interval after Nadeau and Bengio.

    Parameters
    ----------
    differences : array-like of shape (n,)
        One per fold and seed.
    test_ratio : float
        Test rows per training row.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    mean, half : float
        ``half`` is NaN for a single difference.
    """
    n = len(differences)
    if n < 2:
        return float(np.mean(differences)), float("nan")
    error = np.sqrt((1 / n + test_ratio) * np.var(differences, ddof=1))
    return float(np.mean(differences)), float(stats.t.ppf((1 + confidence) / 2, n - 1) * error)
