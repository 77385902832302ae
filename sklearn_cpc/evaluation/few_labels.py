"""label_efficiency: how good features are when few rows have labels."""

import numpy as np
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from .._constraints import Each, check_parameters, integers
from .._extras import import_extra
from .comparison import CONSTRAINTS, compare_scores, fit_and_score, tabulate_scores
from .folds import make_folds
from .representations import add_baselines, named_estimators, split_pipeline, train_all

pd = import_extra("pandas", "evaluation")


@check_parameters(**CONSTRAINTS, n_labels=[Each([integers(1, 10**9), None])], n_draws=[integers(1, 10_000)])
def label_efficiency(
    estimators,
    X,
    y,
    *,
    groups=None,
    cv=None,
    n_labels=(1, 2, 5, 10, None),
    n_draws=5,
    unlabelled=None,
    baselines=True,
    probe=None,
    scoring="accuracy",
    n_seeds=1,
    random_state=0,
    memory=None,
    n_jobs=None,
):
    """Compare representations when only a few rows of each class have labels.

    In each fold, every representation is fitted once on all training rows, without labels. The probe is then
    fitted on a few labelled rows, drawn at random, and scored on the test rows.

    Parameters
    ----------
    estimators : dict of str to estimator
        Representations, as in :func:`compare_representations`; a classifier at the end of a pipeline replaces
        ``probe``. A classifier that is no pipeline is trained on the labelled rows alone.
    X, y : recordings or array-like of shape (n_rows, ...), and their classes
    groups, cv, unlabelled, probe, memory, n_jobs : default=None
        As in :func:`compare_representations`. If the probe is a pipeline, as the default one is, its steps before
        the last are fitted on all training rows, without labels.
    n_labels : tuple or list of int or None, default=(1, 2, 5, 10, None)
        Numbers of labelled training rows per class. A class with fewer rows uses all of them. None: all rows.
    n_draws : int, default=5
        How often to draw the labelled rows. All representations and seeds share the draws, and each draw
        contains the smaller ones.
    baselines : bool, default=True
        Whether to add "chance", "mfcc" and untrained networks, as :func:`compare_representations` does.
    scoring : str or callable, default="accuracy"
        As in scikit-learn; greater is better.
    n_seeds : int, default=1
        Number of trainings per fold.
    random_state : int, default=0
        The first seed, also of the draws.

    Returns
    -------
    DataFrame
        One row per representation and number of labels, by which it is indexed; "all" stands for None. It has the
        columns of :func:`compare_scores`; ``scoring``; ``n_used``, the labelled rows per class, averaged over
        classes and folds; and ``fold0`` or ``fold0_seed0`` and so on, the scores, averaged over the draws.

    Raises
    ------
    ValueError, TypeError
        As in :func:`compare_representations`, or if a step before the classifier needs labels.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.decomposition import PCA
    >>> from sklearn_cpc.evaluation import label_efficiency
    >>> X, y = np.random.default_rng(0).standard_normal((60, 20)), np.repeat(["cat", "dog"], 30)
    >>> X[:30, 0] += 4
    >>> table = label_efficiency({"raw": "passthrough", "pca": PCA(1)}, X, y, n_labels=(1, 30), n_draws=3)
    >>> table["mean"].unstack("representation").loc[[1, 30], ["chance", "raw", "pca"]].round(2)
    representation  chance   raw   pca
    n_labels
    1                  0.5  0.60  0.98
    30                 0.5  0.92  0.98
    """
    folds, y = make_folds(X, y, groups, cv, unlabelled), np.asarray(y)
    named = named_estimators(estimators)
    named = add_baselines(named, X) if baselines else named
    # In one pipeline with the representation, all steps before the classifier are fitted on all training rows.
    _, probe = split_pipeline(FunctionTransformer(), probe)  # the default one for None
    steps = [step for _, step in probe.steps] if isinstance(probe, Pipeline) else [probe]
    named = {name: part if is_classifier(part) else make_pipeline(part, *steps) for name, part in named.items()}
    sizes = sorted({np.inf if size is None else size for size in n_labels})
    draws = [_draw_rows(y[train], sizes, n_draws, (random_state, i)) for i, (train, _) in enumerate(folds)]
    settings = [
        (train, [(train[rows], test) for _, rows in drawn], False, X, y, unlabelled, scoring)
        for (train, test), drawn in zip(folds, draws, strict=True)
    ]
    results = train_all(fit_and_score, named, probe, n_seeds, random_state, settings, memory, n_jobs)
    means: dict[str, list] = {name: [] for name in named}  # over draws, by number of labels
    for name, found in results.items():
        for drawn, (scores, _) in zip(draws * n_seeds, found, strict=True):
            means[name].append(pd.Series(scores).groupby([size for size, _ in drawn]).mean())
    test_ratio = np.mean([len(test) / len(train) for train, test in folds])
    n_classes, tables = [len(np.unique(y[train])) for train, _ in folds], {}
    for size in sizes:
        scores = {name: [of_fold[size] for of_fold in means[name]] for name in named}
        table = compare_scores(scores, test_ratio=test_ratio).join(tabulate_scores(scores, n_seeds))
        table.insert(2, "n_used", np.mean(np.divide([len(dict(drawn)[size]) for drawn in draws], n_classes)))
        table.insert(3, "scoring", scoring if isinstance(scoring, str) else "score")
        tables["all" if size == np.inf else size] = table
    order = pd.MultiIndex.from_product([list(named), list(tables)], names=["representation", "n_labels"])
    return pd.concat(tables).swaplevel().reindex(order)


def _draw_rows(labels, sizes, n_draws, seed):
    """Return pairs of a size and that many rows of each class, or all it has; all rows are drawn once."""
    random, pairs = np.random.default_rng(seed), []
    for i in range(n_draws):
        order = random.permutation(len(labels))
        rank = pd.Series(labels[order]).groupby(labels[order]).cumcount().to_numpy()  # within the class
        pairs += [(size, np.sort(order[rank < size])) for size in sizes if i == 0 or size <= rank.max()]
    return pairs
