"""Compare representations on the same folds."""

import re
import time
from numbers import Real

import numpy as np
from scipy import sparse, stats
from sklearn.base import clone
from sklearn.metrics import check_scoring
from sklearn.utils import _safe_indexing, check_consistent_length
from sklearn.utils._param_validation import Interval

from .._constraints import check_parameters, integers
from .._extras import import_extra
from ..audio.clips import as_clips
from .folds import make_folds
from .representations import UNTRAINED, add_baselines, named_estimators, train_all

pd = import_extra("pandas", "evaluation")

CONSTRAINTS = {"n_seeds": [integers(1, 10_000)], "random_state": [integers(0, 2**31)], "baselines": ["boolean"]}
SCORE_CONSTRAINTS = {"reference": [str, None], "confidence": [Interval(Real, 0, 1, closed="neither")]}


@check_parameters(**CONSTRAINTS, **SCORE_CONSTRAINTS, transductive=["boolean"])
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
    """Compare how well a linear probe does on several representations, all on the same folds.

    In each fold, every representation is fitted on the training rows. The probe is fitted on their features and
    scored on those of the test rows.

    Parameters
    ----------
    representations : dict of str to estimator
        Transformers, or pipelines of them; a classifier at the end of a pipeline replaces ``probe``. A single
        estimator is named "representation". All are cloned.
    X : recordings or array-like of shape (n_rows, ...)
        Whatever all estimators accept: paths, clips or arrays, see :class:`~sklearn_cpc.CPCTransformer`.
    y : array-like of shape (n_rows,)
        Class of each row.
    groups : array-like of shape (n_rows,), default=None
        Groups that no fold may split, such as sites, speakers or days.
    cv : int, cross-validation generator or iterable, default=None
        Folds, as in scikit-learn. An integer gives stratified folds that keep ``groups`` together or, without
        groups, the clips of each file. None: five folds, or fewer if a class has fewer rows or groups.
    unlabelled : recordings or array-like, default=None
        Rows without labels, added to the training rows of the transformers, which are then fitted without
        labels. Recordings like X, in any form, a table with the columns of X, or an array of the same width.
    transductive : bool, default=False
        Whether to fit the transformers once on all of X, test rows included, without labels. Use it only if all
        recordings that you will ever classify are known; the scores of future ones would be lower.
    baselines : bool, default=True
        Whether to add "chance" (always the most frequent class), "mfcc" (MFCCTransformer, if X holds
        recordings or a representation has a sample rate) and, for each representation that trains a
        CPCTransformer, "<name> (untrained)" with its random initial weights.
    reference : str, default=None
        Name of the representation to compare with. None: "mfcc" if there is one, else the first but "chance".
    probe : classifier, default=None
        Fitted on the features. None: logistic regression (C = 0.05) on standardised features.
    scoring : str or callable, default="accuracy"
        As in scikit-learn; greater is better.
    n_seeds : int, default=1
        Number of trainings per fold, each with another seed for everything that has a ``random_state``.
    random_state : int, default=0
        The first seed; the others follow.
    confidence : float, default=0.95
        Confidence level of the intervals.
    memory : str or path-like, default=None
        Directory for decoded recordings, 230 MB per hour at 16 kHz, of estimators without one. None: temporary.
    n_jobs : int, default=None
        Number of trainings that run in parallel.
    verbose : int, default=0
        1 for a progress bar.

    Returns
    -------
    DataFrame
        One row per representation, baselines first, with the columns

        - ``mean``, ``std``: mean and standard deviation of the scores over folds and seeds;
        - ``difference``, ``difference_low``, ``difference_high``: mean difference from the ``reference`` with the
          same fold and seed, and its confidence interval;
        - ``gain``, ``gain_low``, ``gain_high``: the same for the difference from the untrained network;
        - ``fit_seconds``: mean time to fit features and probe in one fold;
        - ``fitted_on``: "training folds" or "all recordings";
        - ``fold0``, ``fold1`` and so on, or ``fold0_seed0`` and so on: the scores.

    Raises
    ------
    ValueError, TypeError
        If a parameter is invalid, lengths differ, or ``cv`` splits groups; if ``unlabelled`` cannot be joined with
        X, or holds files of X without ``transductive``; if a transformer needs labels but must not see them. If
        ``cv`` splits the clips of a file, there is only a warning.

    See Also
    --------
    compare_scores : The same comparison for scores that you already have.
    label_efficiency : The same comparison with few labels.
    overfitting_gaps : Whether the network or the probe overfits.

    Notes
    -----
    Folds share training rows, so the usual t interval is too narrow. The corrected resampled t-test of Nadeau and
    Bengio ("Inference for the Generalization Error", Machine Learning 52, 2003) raises the variance by the ratio
    of test to training rows. The intervals hold for this corpus, not for others. One fold has none (NaN).

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
    """
    folds = make_folds(X, y, groups, cv, None if transductive else unlabelled)
    named = named_estimators(representations)
    if unlabelled is not None:
        _concatenate(_safe_indexing(X, [0]), unlabelled)  # raises before anything is trained
    if baselines:
        named = add_baselines(named, X)
    reference = _choose_reference(reference, named)
    parts = [(np.arange(len(y)), folds)] if transductive else [(fold[0], [fold]) for fold in folds]
    # Unlabelled rows have no class to pass, and a transductive fit must not see the classes of test rows.
    with_labels = not transductive and unlabelled is None
    settings = [(*part, with_labels, X, np.asarray(y), unlabelled, scoring) for part in parts]
    results = train_all(fit_and_score, named, probe, n_seeds, random_state, settings, memory, n_jobs, verbose)
    scores = {name: [score for part, _ in found for score in part] for name, found in results.items()}
    test_ratio = np.mean([len(test) / len(train) for train, test in folds])
    table = compare_scores(scores, reference, test_ratio=test_ratio, confidence=confidence)
    table["fit_seconds"] = [np.mean([seconds for _, seconds in found]) for found in results.values()]
    table["fitted_on"] = "all recordings" if transductive else "training folds"
    return table.join(tabulate_scores(scores, n_seeds))


@check_parameters(**SCORE_CONSTRAINTS, scores=[dict], test_ratio=[Interval(Real, 0, None, closed="left")])
def compare_scores(scores, reference=None, *, test_ratio=0.25, confidence=0.95):
    """Compute means of paired scores, and their differences with confidence intervals.

    This is the last step of :func:`compare_representations`, for scores that you already have.

    Parameters
    ----------
    scores : dict of {str: sequence of float}
        Scores by name of the representation, all in the same order of folds and seeds.
    reference : str, default=None
        Name of the representation to compare with. None: "mfcc" if there is one, else the first but "chance".
    test_ratio : float, default=0.25
        Test rows per training row (0.25 for five folds); see the Notes of :func:`compare_representations`.
    confidence : float, default=0.95
        Confidence level of the intervals.

    Returns
    -------
    DataFrame
        One row per name, with the columns from ``mean`` to ``gain_high`` of :func:`compare_representations`;
        the gain is that over "<name> (untrained)", if there is one.

    Raises
    ------
    ValueError, TypeError
        If a parameter is invalid, the reference is unknown, or lengths differ.

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
        other, untrained = None if name == reference else scores[reference], scores.get(UNTRAINED.format(name))
        rows[name] = {
            "mean": np.mean(values),
            "std": np.std(values, ddof=1) if len(values) > 1 else np.nan,
            **_difference_columns("difference", values, other, test_ratio, confidence),
            "reference": reference,
            **_difference_columns("gain", values, untrained, test_ratio, confidence),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def tabulate_scores(scores, n_seeds):
    """Return a table of scores by name, with one column for each seed and fold."""
    suffixes = [f"_seed{i}" for i in range(n_seeds)] if n_seeds > 1 else [""]
    n_folds = len(next(iter(scores.values()))) // n_seeds
    columns = [f"fold{i}{suffix}" for suffix in suffixes for i in range(n_folds)]
    return pd.DataFrame.from_dict(scores, orient="index", columns=columns)


def _choose_reference(reference, named):
    if reference is None:
        return "mfcc" if "mfcc" in named else next((name for name in named if name != "chance"), "chance")
    if reference not in named:
        raise ValueError(f"reference={reference!r} is none of the representations, {list(named)}.")
    return reference


def fit_and_score(features, classifier, rows, folds, with_labels, X, y, unlabelled, scoring):
    """Fit the features once, on ``rows``, and a classifier on every fold; return scores and seconds per fold."""
    scorer = check_scoring(classifier, scoring)
    start = time.perf_counter()
    labels = y[rows] if with_labels else None
    try:
        features.fit(_concatenate(_safe_indexing(X, rows), unlabelled), labels)
    except (TypeError, ValueError) as error:
        if labels is None and re.search(r"\b(y|labels?|target)\b", str(error)):
            raise ValueError(
                f"{features!r} needs labels, but with unlabelled or transductive=True features are fitted without "
                f"({error}); put what needs them into probe, before the classifier."
            ) from error
        raise
    seconds, scores = time.perf_counter() - start, []
    used_rows = np.unique(np.concatenate([rows for fold in folds for rows in fold]))
    embedded = features.transform(_safe_indexing(X, used_rows))  # each row once, even if folds share it
    for fold in folds:
        train, test = (_safe_indexing(embedded, np.searchsorted(used_rows, rows)) for rows in fold)
        start = time.perf_counter()
        fitted = clone(classifier).fit(train, y[fold[0]])
        seconds += time.perf_counter() - start
        scores.append(scorer(fitted, test, y[fold[1]]))
    return scores, seconds / len(folds)


def _concatenate(X, more):
    """Join rows, both as clips, as tables of the same columns or as arrays, or raise a ValueError."""
    if more is None:
        return X
    clips, more_clips = as_clips(X), as_clips(more)
    if clips is not None and more_clips is not None:
        return clips + more_clips
    if clips is None and more_clips is None:
        is_table = {isinstance(rows, pd.DataFrame) for rows in (X, more)}
        is_sparse = {sparse.issparse(rows) for rows in (X, more)}
        if is_table == {True} and set(X.columns) == set(more.columns):
            return pd.concat([X, more[X.columns]], ignore_index=True)
        if is_table == {False} and len(is_sparse) == 1 and np.shape(X)[1:] == np.shape(more)[1:]:
            return (sparse.vstack if is_sparse == {True} else np.concatenate)([X, more])
    forms = "as recordings, as tables with the same columns, or as arrays of the same width"
    raise ValueError(f"unlabelled cannot be joined with X; give both {forms}.")


def _difference_columns(label, scores, others, test_ratio, confidence):
    """Return the mean difference of paired scores and its interval (Nadeau and Bengio), as columns."""
    n, mean, half_width = len(scores), np.nan, np.nan
    if others is not None:
        differences = np.subtract(scores, others)
        mean = np.mean(differences)
        if n > 1:
            error = np.sqrt((1 / n + test_ratio) * np.var(differences, ddof=1))
            half_width = stats.t.ppf((1 + confidence) / 2, n - 1) * error
    return {label: mean, f"{label}_low": mean - half_width, f"{label}_high": mean + half_width}
