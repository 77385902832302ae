"""Fetch public corpora: the first call downloads one, and later calls find it on disk."""

import inspect
import re
from collections import defaultdict
from numbers import Real
from os import PathLike

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from .._constraints import check_parameters, integers
from .corpora import ESC50, FMA_SMALL, FSDD, GTZAN
from .download import load_corpus

CONSTRAINTS: dict[str, list] = {
    "data_home": [str, PathLike, None],
    "download_if_missing": ["boolean"],
    "return_X_y": ["boolean"],
    "verbose": ["verbose"],
    "n_retries": [integers(0, 1000)],
    "delay": [Interval(Real, 0, 86_400, closed="both")],
}

# Docstring of every fetcher. The summary, further parameters and attributes come from the fetcher's own docstring.
DOCSTRING = """\
{Summary}

The first call downloads {size}. Later calls need no network.

Parameters
----------
data_home : str or path-like or None, default=None
    Folder of all corpora, see :func:`get_data_home`. This corpus is in its sub-folder ``{folder}``.
download_if_missing : bool, default=True
    Whether to download the corpus if it is not on disk, instead of raising an OSError.
return_X_y : bool, default=False
    Whether to return ``(paths, target)`` instead of a Bunch.
verbose : int, default=1
    0 downloads silently. Any other value shows a progress bar.
n_retries : int, default=3
    How often to retry a failed download.
delay : float, default=1.0
    Seconds to wait before each retry.
{Parameters}

Returns
-------
corpus : :class:`~sklearn.utils.Bunch`
    With these attributes:

    paths : list of str, of length n_files
        The recordings.
    target : str ndarray of shape (n_files,)
        Class of each recording.
    groups : str ndarray of shape (n_files,) or None
        Groups for cross-validation: {groups}.
    {Attributes}
    target_names : list of str
        The classes, sorted.
    known_bad : list of str
        Paths of unusable recordings: {bad_files}.
    DESCR : str
        Description of the corpus, with its source, licence and citation.

(paths, target) : tuple if ``return_X_y=True``
    The attributes `paths` and `target`.

Raises
------
OSError
    If the corpus is not on disk and must not be downloaded, if the download fails or does not pass its checks,
    or if the corpus on disk is incomplete. The message says what to do. A failed download leaves no files.
ValueError
    If a parameter has the wrong type or is out of range.

Notes
-----
{description}

Examples
--------
>>> from sklearn_cpc.datasets import {function}
>>> corpus = {function}()  # doctest: +SKIP
>>> {function}(data_home="elsewhere", download_if_missing=False)
Traceback (most recent call last):
...
OSError: {title} is not in 'elsewhere...{folder}'. ...
"""


def fetcher(corpus, **constraints):
    """Complete the docstring of a function that fetches a corpus, and validate its parameters."""

    def decorate(function):
        summary, *sections = re.split(r"\n\n(\w+)\n-+\n", inspect.getdoc(function) or "")
        texts = defaultdict(str, zip(sections[::2], sections[1::2], strict=True), **corpus._asdict())
        texts["Summary"], texts["function"] = summary, function.__name__
        texts["Attributes"] = texts["Attributes"].replace("\n", "\n    ")
        texts["bad_files"] = ", ".join(corpus.known_bad) or "none"
        function.__doc__ = re.sub(r"\n\s*\n+", "\n\n", DOCSTRING.format_map(texts))
        return check_parameters(**CONSTRAINTS, **constraints)(function)

    return decorate


@fetcher(ESC50, subset=[StrOptions({"all", "esc10"})])
def fetch_esc50(
    *, data_home=None, download_if_missing=True, return_X_y=False, verbose=1, n_retries=3, delay=1.0, subset="all"
):
    """Fetch ESC-50, 2000 environmental sounds of 50 classes.

    Parameters
    ----------
    subset : {"all", "esc10"}, default="all"
        Whether to list all recordings or only the 400 of ESC-10. All are downloaded either way.

    Attributes
    ----------
    fold : int ndarray of shape (n_files,)
        The official folds as numbers.
    esc10 : bool ndarray of shape (n_files,)
        Whether each recording belongs to ESC-10.
    """
    corpus = load_corpus(ESC50, data_home, download_if_missing, verbose, n_retries, delay)
    if subset == "esc10":
        arrays = {name: value[corpus.esc10] for name, value in corpus.items() if isinstance(value, np.ndarray)}
        corpus.paths = np.array(corpus.paths)[corpus.esc10].tolist()
        corpus.target_names = sorted(set(arrays["target"].tolist()))
        corpus.update(arrays)
    return (corpus.paths, corpus.target) if return_X_y else corpus


@fetcher(FSDD)
def fetch_fsdd(*, data_home=None, download_if_missing=True, return_X_y=False, verbose=1, n_retries=3, delay=1.0):
    """Fetch the Free Spoken Digit Dataset (FSDD), 3000 digits spoken by 6 speakers.

    Attributes
    ----------
    take : int ndarray of shape (n_files,)
        Index of each recording among the 50 recordings of the digit by the speaker, from 0.
    """
    corpus = load_corpus(FSDD, data_home, download_if_missing, verbose, n_retries, delay)
    return (corpus.paths, corpus.target) if return_X_y else corpus


@fetcher(GTZAN)
def fetch_gtzan(*, data_home=None, download_if_missing=True, return_X_y=False, verbose=1, n_retries=3, delay=1.0):
    """Fetch GTZAN, 1000 pieces of music of 10 genres."""
    corpus = load_corpus(GTZAN, data_home, download_if_missing, verbose, n_retries, delay)
    return (corpus.paths, corpus.target) if return_X_y else corpus


@fetcher(FMA_SMALL)
def fetch_fma_small(
    *, data_home=None, download_if_missing=True, return_X_y=False, verbose=1, n_retries=3, delay=1.0
):
    """Fetch FMA-small, 8000 pieces of music of 8 genres.

    Attributes
    ----------
    split : str ndarray of shape (n_files,)
        Official split: "training", "validation" or "test".
    track_id : int ndarray of shape (n_files,)
        Number of each track in the Free Music Archive.
    license : str ndarray of shape (n_files,)
        Licence of each track, in the words of its artist.
    """
    corpus = load_corpus(FMA_SMALL, data_home, download_if_missing, verbose, n_retries, delay)
    return (corpus.paths, corpus.target) if return_X_y else corpus
