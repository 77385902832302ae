"""Search: the embeddings that are most similar to others, found exactly."""

import os

import numpy as np
import torch

from .._constraints import check_parameters, integers
from .._extras import import_extra
from .._threads import compute_in_threads
from ..audio.clips import as_clips
from .embedding import read_archive

pd = import_extra("pandas", "archive")

ROWS_PER_BLOCK = 1024  # compared at a time: their float32 copy stays in the processor's cache
LARGEST_NORM = 1e30  # more, or less than its inverse, is too much for float32
DECIMALS = 12  # of scores; the rest is rounding


class EmbeddingIndex:
    """Exact search for the most similar embeddings, by cosine similarity.

    A search compares all embeddings in float32 and the best in float64, so it finds what float64 alone finds.

    Parameters
    ----------
    source : str, path-like or float array of shape (n_windows, n_features)
        The directory of a dataset of :func:`embed_archive`, or embeddings, which may be mapped to memory.
    estimator : fitted estimator, default=None
        The one that made the embeddings, so that :meth:`query` takes recordings too. A dataset of another
        estimator is refused.

    Attributes
    ----------
    embeddings : ndarray of shape (n_windows, n_features)
    windows : DataFrame
        ``path``, ``onset``, ``duration`` and ``reason`` of each row, or no columns for an array.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_cpc.archive import EmbeddingIndex
    >>> index = EmbeddingIndex(np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]]))
    >>> index.query([0.0, 1.0], k=2).round(3)
       query  row  score
    0      0    2  1.000
    1      0    1  0.707
    """

    def __init__(self, source, estimator=None):
        self.estimator = estimator
        if isinstance(source, (str, os.PathLike)):
            self.windows, self.embeddings = read_archive(source, estimator)
        else:
            self.windows, self.embeddings = pd.DataFrame(index=range(len(source))), np.asanyarray(source)
        shape, dtype = self.embeddings.shape, self.embeddings.dtype
        if len(shape) != 2 or not shape[1] or dtype not in (np.float16, np.float32, np.float64):
            raise ValueError(f"embeddings must be floats of shape (n_windows, n_features), not {dtype}, {shape}.")
        rows = np.asarray(self.embeddings)  # slices of a memory map are slow to make
        self._blocks = [rows[start : start + ROWS_PER_BLOCK] for start in range(0, len(rows), ROWS_PER_BLOCK)]
        self._scales = compute_in_threads(_measure_scales, self._blocks, torch.get_num_threads())

    @check_parameters(k=[integers(1, 2**31)])
    def query(self, embeddings, k=10):
        """Find the most similar embeddings.

        Parameters
        ----------
        embeddings : array of shape (n_features,) or (n_queries, n_features), or recordings
            What to search for: rows that the same estimator has transformed, or, if the index has an
            ``estimator``, paths, clips or a table of them.
        k : int, default=10
            Rows to find per query.

        Returns
        -------
        DataFrame
            The best ``k`` rows of each query, or all that there are, best first: ``query`` (row of
            ``embeddings``), ``row`` (of the index), ``path``, ``onset``, ``duration`` (not for an array) and
            ``score``, the cosine similarity, 0 where one of both is all zeros. Of equal scores, to 12 decimals,
            the first row comes first. Embeddings that are not finite are never found.

        Raises
        ------
        ValueError
            If ``embeddings`` have another number of features, or are not finite.
        """
        if self.estimator is not None and as_clips(embeddings) is not None:
            embeddings = self.estimator.transform(embeddings)
        queries = np.atleast_2d(np.asarray(embeddings, np.float64))
        n_features = self.embeddings.shape[1]
        if queries.ndim != 2 or queries.shape[1] != n_features:
            raise ValueError(f"the query has shape {queries.shape}, but the index has {n_features} features.")
        scales = _measure_scales(queries)
        if np.isnan(scales).any():
            raise ValueError(f"row {np.isnan(scales).argmax()} of the query is not finite; leave it out.")
        queries = queries * scales[:, None]
        parts = np.array_split(np.arange(len(self._blocks)), torch.get_num_threads())
        best_by_part = compute_in_threads(lambda part: self._search(part, queries, k), parts, len(parts))
        found = [_keep_best(k, *zip(*best, strict=True)) for best in zip(*best_by_part, strict=True)]
        rows = np.concatenate([np.empty(0, int), *(rows for rows, _ in found)])
        scores = np.concatenate([np.empty(0), *(scores for _, scores in found)])
        numbers = np.repeat(np.arange(len(found)), [len(rows) for rows, _ in found])
        windows = self.windows.drop(columns="reason", errors="ignore").iloc[rows].reset_index(drop=True)
        return pd.DataFrame({"query": numbers, "row": rows}).join(windows).assign(score=scores)

    def _search(self, numbers, queries, k):
        """Return the best rows in some blocks, and their scores, for each of the queries, which have norm 1."""
        margin = 2 * (queries.shape[1] + 8) * np.finfo(np.float32).eps  # two float32 scores are wrong by less
        transposed = torch.from_numpy(queries.T).float()
        best = [(np.empty(0, int), np.empty(0))] * len(queries)
        limits = np.full(len(queries), -np.inf)  # scores that further rows have to reach
        for number in numbers:
            block, scales = self._blocks[number], self._scales[number]
            scores = (_as_tensor(block).float() @ transposed).numpy() * scales.astype(np.float32)[:, None]
            scores[np.isnan(scales)] = -np.inf
            for i in np.flatnonzero(scores.max(axis=0, initial=-np.inf) >= limits - margin):
                column, limit = scores[:, i], limits[i]
                if len(column) > k:
                    limit = max(limit, np.partition(column, -k)[-k])
                near = np.flatnonzero((column >= limit - margin) & ~np.isnan(scales))
                exact = (block[near].astype(np.float64) * queries[i]).sum(axis=1) * scales[near]
                rows, values = number * ROWS_PER_BLOCK + near, exact.round(DECIMALS)
                best[i] = _keep_best(k, (best[i][0], rows), (best[i][1], values))
                limits[i] = best[i][1][-1] if len(best[i][0]) == k else -np.inf
        return best


def _keep_best(k, rows, scores):
    """Join arrays of rows and of their scores, and keep the k best, best first; of equal ones, the first rows."""
    rows, scores = np.concatenate(rows), np.concatenate(scores)
    order = np.lexsort((rows, -scores))[:k]
    return rows[order], scores[order]


def _as_tensor(rows):
    """Return a tensor, which converts float16 ten times faster than NumPy. Torch warns of read-only arrays."""
    return torch.from_numpy(np.ascontiguousarray(rows) if rows.flags.writeable else rows.copy())


def _measure_scales(rows):
    """Return 1 / norm of each row in float64, 0 for zeros, and NaN for rows that are not finite."""
    block = _as_tensor(rows)
    norms = torch.linalg.vector_norm(block, dim=1, dtype=torch.float64).numpy()
    finite = np.isfinite(norms)
    if not finite.all():  # the norm of finite numbers may be infinite
        finite = torch.isfinite(block).all(dim=1).numpy()
    if ((norms > LARGEST_NORM) | (norms < 1 / LARGEST_NORM) & (norms > 0))[finite].any():
        raise ValueError(f"embeddings have a norm beyond {LARGEST_NORM:g} or its inverse; scale them.")
    return np.divide(1, norms, out=np.where(finite, 0.0, np.nan), where=finite & (norms != 0))
