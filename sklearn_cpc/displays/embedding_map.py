"""EmbeddingMap: a page that shows embeddings as points in a plane and plays the sound of each."""

import os
from numbers import Real

import joblib
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import check_array

from .._constraints import READING, SAMPLE_RATE
from .._extras import import_extra
from .._files import atomic_write
from .._warnings import warn
from ..audio.clips import Clip, as_clips
from ..audio.reading import UnreadableAudioError
from ..audio.store import AudioSource
from ._page import Media, write_page
from ._projection import DTYPES, embed, find_finite_rows, project

MAX_POINTS = 20_000
N_NEIGHBOURS = 10
SAMPLE_RATE_OF_FILES = 24_000  # Hz
BATCH = 1024  # windows that are read together
THUMBNAIL_SHARE = 0.25  # of the size of a page


class EmbeddingMap:
    """Embeddings as points in a plane, on a page that plays the sound of each point.

    The page is one HTML file that works in any browser, without a network. Create a map with
    :meth:`from_estimator` or :meth:`from_embeddings`, and write its page with :meth:`save`.

    Parameters
    ----------
    points : float ndarray of shape (n_points, 2)
        Positions.
    windows : DataFrame of n_points rows
        ``path``, ``onset`` and ``duration`` in seconds (NaN: to the end), and ``row``, the row of X. For arrays,
        the path is "row 0", "row 1" and so on.
    columns : DataFrame of n_points rows
        Whatever the points can be coloured by; the column ``label`` is also shown beside them.
    neighbours : int ndarray of shape (n_points, n_neighbours)
        The points of the most similar embeddings, best first.
    similarities : float ndarray of shape (n_points, n_neighbours)
        Their cosine similarities.
    samples : list of float ndarrays, default=None
        Sound of each point. None: it is read from the files.
    sample_rate : int, default=24000
        Rate of the samples, or to which files are resampled, in Hz.
    name : str, default="dimension"
        Name of the projection.

    See Also
    --------
    EmbeddingDisplay : The same points as a figure, for reports.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> from sklearn_cpc.archive import read_archive
    >>> from sklearn_cpc.displays import EmbeddingMap
    >>> windows, embeddings = read_archive("embeddings")  # doctest: +SKIP
    >>> EmbeddingMap.from_embeddings(embeddings, windows).save("map.html")  # doctest: +SKIP
    """

    def __init__(
        self,
        points,
        windows,
        columns,
        neighbours,
        similarities,
        *,
        samples=None,
        sample_rate=SAMPLE_RATE_OF_FILES,
        name="dimension",
    ):
        self.points = points
        self.windows = windows
        self.columns = columns
        self.neighbours = neighbours
        self.similarities = similarities
        self.samples = samples
        self.sample_rate = sample_rate
        self.name = name

    @classmethod
    def from_estimator(cls, estimator, X, **kwargs):
        """Embed recordings with a fitted transformer and project the embeddings.

        Parameters
        ----------
        estimator : fitted transformer or Pipeline
            If a Pipeline ends in a classifier, only the steps before it are used.
        X : paths, clips, table of windows or array
            What the estimator transforms, as in :meth:`from_embeddings`.
        **kwargs : further parameters of :meth:`from_embeddings`

        Returns
        -------
        EmbeddingMap

        Raises
        ------
        NotFittedError, TypeError, ValueError
            If the estimator is not fitted or has no ``transform``, or as in :meth:`from_embeddings`.
        """
        return cls.from_embeddings(embed(estimator, X), X, **kwargs)

    @classmethod
    @validate_params(
        {"sample_rate": [SAMPLE_RATE, None], "random_state": ["random_state"]}, prefer_skip_nested_validation=True
    )
    def from_embeddings(
        cls, embeddings, X, *, labels=None, columns=None, sample_rate=None, projection=None, random_state=None
    ):
        """Project embeddings, and find the most similar ones of each.

        Parameters
        ----------
        embeddings : array-like of shape (n_windows, n_features)
            At most 20,000 rows. Rows with NaN, such as those of unusable recordings, are left out with a warning.
        X : paths, clips, table of windows or array of shape (n_windows, n_samples)
            What was embedded: for example the table of :func:`~sklearn_cpc.archive.cut_windows` or
            :func:`~sklearn_cpc.archive.read_archive`.
        labels : array-like of shape (n_windows,), default=None
            Classes; None or NaN: unknown.
        columns : DataFrame or dict of {str: array-like of shape (n_windows,)}, default=None
            What else the points can be coloured by: clusters, sites, scores, dates. Floats and dates have a colour
            bar, and so do integers with more than 70 different values. Other values are categories.
        sample_rate : int, default=None
            Rate in Hz of X if it is an array, which must be given; otherwise the rate to which recordings are
            resampled for the page. None: 24000. Spectrograms show frequencies up to half of it.
        projection : estimator with fit_transform, default=None
            Its clone maps the standardised embeddings to two columns: ``PCA(2)``, say, or ``umap.UMAP()`` of the
            package umap-learn. None: a PCA to 50 features if there are more, then t-SNE, as in
            :meth:`EmbeddingDisplay.from_embeddings`. t-SNE of 20,000 rows takes some minutes.
        random_state : int, RandomState instance or None, default=None
            Seeds t-SNE, but not a ``projection`` of your own.

        Returns
        -------
        EmbeddingMap

        Raises
        ------
        TypeError, ValueError
            If there are too many rows, numbers of rows do not match, all rows hold NaN, or X is invalid.
        """
        n_rows = len(embeddings)
        if n_rows > MAX_POINTS:
            raise ValueError(
                f"embeddings have {n_rows} rows, but a map shows {MAX_POINTS} at most. Draw a sample: "
                f"rows = np.sort(np.random.default_rng(0).choice({n_rows}, {MAX_POINTS}, replace=False)), then pass "
                "embeddings[rows] and the same rows of X (X.iloc[rows] of a table), labels and columns."
            )
        embeddings = check_array(embeddings, dtype=DTYPES, ensure_all_finite=False, input_name="embeddings")
        windows, samples = _list_windows(X, sample_rate)
        if len(windows) != n_rows:
            raise ValueError(f"X has {len(windows)} rows, but embeddings have {n_rows}; pass what was embedded.")
        columns = _list_columns(windows, labels, columns)
        rows = find_finite_rows(embeddings, "embeddings")
        points, name = project(embeddings[rows], projection, check_random_state(random_state))
        neighbours, similarities = _find_neighbours(embeddings[rows])
        return cls(
            points,
            windows.iloc[rows].reset_index(drop=True),
            columns.iloc[rows].reset_index(drop=True),
            neighbours,
            similarities,
            samples=None if samples is None else [samples[row] for row in rows],
            sample_rate=sample_rate or SAMPLE_RATE_OF_FILES,
            name=name,
        )

    @validate_params(
        {"path": [str, os.PathLike], "megabytes": [Interval(Real, 0, 2000, closed="both")], **READING},
        prefer_skip_nested_validation=True,
    )
    def save(self, path, *, megabytes=50, on_error="raise", memory=None, n_jobs=None, verbose=0):
        """Write the page. Needs bokeh: ``pip install 'sklearn-cpc[map]'``.

        Parameters
        ----------
        path : str or path-like
            File to write, for example "map.html". A file of this name is replaced.
        megabytes : float, default=50
            Space for sounds (mono mp3) and spectrograms in the page; nothing is read if it is 0. A window of 5 s
            takes about 30 kB, and a spectrogram 1 kB. If the space does not suffice, windows drawn at random have
            a sound in the page. The page plays the others from their files, whose paths it holds relative to
            itself, if browsers can play their format (wav, mp3, ogg, flac, but not aiff).
        on_error : {"raise", "nan"}, default="raise"
            Raise one error that lists all unusable recordings, or warn and leave their windows without sound.
        memory : str, path-like or joblib.Memory, default=None
            Directory for decoded recordings, as of the estimators.
        n_jobs : int, default=None
            Number of threads that decode recordings and encode sounds.
        verbose : int, default=0
            1 for a progress bar.

        Raises
        ------
        ImportError
            If bokeh is not installed.
        UnreadableAudioError
            If recordings cannot be used and ``on_error="raise"``.

        Notes
        -----
        The size of a page is 1.5 MB, up to 0.5 kB for each window, and ``megabytes`` at most.
        """
        import_extra("bokeh.embed", "map")
        path = os.path.abspath(path)
        reader = _Reader(self.sample_rate, on_error=on_error, memory=memory, n_jobs=n_jobs, verbose=verbose)
        order, space = np.random.default_rng(0).permutation(len(self.points)), 1e6 * megabytes
        media = Media(self.sample_rate, {"thumbnail": THUMBNAIL_SHARE * space, "sound": (1 - THUMBNAIL_SHARE) * space})
        for batch in np.split(order, range(BATCH, len(order), BATCH)):
            if media.has_space():
                media.add(self._read(batch, reader), joblib.effective_n_jobs(n_jobs))
        if reader._unusable:
            advice = "their windows have no sound"
            warn(str(UnreadableAudioError(reader._unusable, self.windows["path"].nunique(), advice)))
        page = write_page(self, media, reader._unusable, os.path.dirname(path))
        with atomic_write(path, durable=False) as file:
            file.write(page.encode())

    def _read(self, batch, reader):
        """Yield numbers and samples of points whose sound can be read."""
        if self.samples is not None:
            yield from ((i, self.samples[i]) for i in batch)
            return
        table = self.windows.iloc[batch][["path", "onset", "duration"]]
        for chunk in AudioSource(reader, table, self.sample_rate, reset=False).chunks():
            yield from ((batch[chunk.rows[i]], np.asarray(chunk.samples[i])) for i in chunk.readable)


class _Reader(BaseEstimator):
    """What :class:`AudioSource` has to know, and the reasons why recordings cannot be used."""

    def __init__(self, sample_rate, on_error="raise", memory=None, n_jobs=None, verbose=0):
        self.sample_rate = sample_rate
        self.on_error = on_error
        self.memory = memory
        self.n_jobs = n_jobs
        self.verbose = verbose
        self._unusable: dict[str, str] = {}


def _list_windows(X, sample_rate):
    """Return the table of the windows in X and, if X is an array, their samples."""
    clips, samples = as_clips(X), None
    if clips is None:
        if sample_rate is None:
            raise ValueError("X is an array, so pass its sample_rate in Hz.")
        samples = AudioSource(_Reader(sample_rate), X, sample_rate, reset=True).read().samples
        clips = [Clip(f"row {i}", 0.0, len(one) / sample_rate) for i, one in enumerate(samples)]
    table = pd.DataFrame(clips, columns=Clip._fields, dtype=object)  # not str: names may be undecodable
    return table.astype({"onset": float, "duration": float}).assign(row=range(len(table))), samples


def _list_columns(windows, labels, columns):
    """Return a table of what the points can be coloured by."""
    columns = dict({} if columns is None else columns)
    if labels is not None and "label" in columns:
        raise ValueError("columns have a column 'label', and labels are given too; leave one of them out.")
    columns = columns if labels is None else {"label": labels, **columns}
    if windows["path"].duplicated().any():
        columns.setdefault("file", windows["path"])
    if windows["onset"].any():
        columns.setdefault("onset", windows["onset"])
    columns.setdefault("row", windows["row"])
    table = pd.DataFrame(index=windows.index)
    for name, values in columns.items():
        values = np.asarray(values)
        if values.shape != (len(windows),):
            raise ValueError(f"{name} has shape {values.shape}, but X has {len(windows)} rows.")
        table[str(name)] = pd.Series(values, dtype=object if values.dtype.kind in "OUST" else None)
    return table


def _find_neighbours(embeddings):
    """Return the most similar other rows of each row, and their cosine similarities."""
    n_neighbours = min(N_NEIGHBOURS, len(embeddings) - 1)
    if not n_neighbours:
        return np.empty((1, 0), int), np.empty((1, 0))
    search = NearestNeighbors(n_neighbors=n_neighbours, metric="cosine", algorithm="brute").fit(embeddings)
    distances, neighbours = search.kneighbors()
    return neighbours, 1 - distances
