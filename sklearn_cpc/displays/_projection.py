"""What the displays of embeddings share: embeddings of any transformer, and their projection onto a plane."""

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from .._warnings import warn

DTYPES = [np.float64, np.float32]
N_COMPONENTS = 50  # of the PCA before t-SNE: it keeps the distances of wide data at a fraction of the cost
PERPLEXITY = 30.0  # of t-SNE: scikit-learn's default, unless there are few points


def embed(estimator, X):
    """Transform X with a fitted estimator or, if a pipeline ends in a classifier, with the steps before it."""
    check_is_fitted(estimator)
    if isinstance(estimator, Pipeline) and len(estimator) > 1 and not hasattr(estimator, "transform"):
        estimator = estimator[:-1]
    if not hasattr(estimator, "transform"):
        raise TypeError(
            f"{type(estimator).__name__} has no transform, so it does not embed; pass a CPCTransformer, "
            "another transformer, or a Pipeline that begins with one."
        )
    return estimator.transform(X)


def find_finite_rows(X, name):
    """Return the indices of rows without NaN and infinity; warn about the others."""
    finite = np.flatnonzero(np.isfinite(X).all(axis=1))
    n_others = len(X) - len(finite)
    if n_others:
        warn(f"{n_others} of {len(X)} rows of {name} are left out: they hold NaN or infinity.")
    return finite


def project(rows, projection, random):
    """Standardise the columns; return positions of shape (n_rows, 2), and the name of the projection."""
    if not len(rows):
        raise ValueError("every row of the embeddings holds NaN; there is nothing to draw.")
    rows = StandardScaler().fit_transform(rows)
    if projection is not None:
        points = np.asarray(clone(projection, safe=False).fit_transform(rows))
        if points.shape != (len(rows), 2):
            raise ValueError(f"projection={projection!r} gave an array of shape {points.shape}, not two columns.")
        return points, type(projection).__name__
    if len(rows) < 4 or not rows.any():  # too few points for t-SNE, or all equal
        return np.pad(rows, ((0, 0), (0, 1)))[:, :2], "t-SNE"
    seed = random.randint(np.iinfo(np.int32).max)
    if rows.shape[1] > N_COMPONENTS:
        rows = PCA(min(N_COMPONENTS, len(rows)), random_state=seed).fit_transform(rows)
    init = "pca" if rows.shape[1] > 1 else "random"
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init=init, random_state=seed).fit_transform(rows), "t-SNE"
