"""Public corpora of sounds, speech and music, downloaded at the first call and found on disk afterwards."""

from os import PathLike
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from ._corpora import ESC50, FMA_SMALL, FSDD, GTZAN
from ._download import Listing, provide


def fetch_esc50(
    *,
    data_home: str | PathLike[str] | None = None,
    subset: str = "all",
    download_if_missing: bool = True,
    return_X_y: bool = False,
    verbose: int = 1,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Any:
    """List ESC-50, 2000 environmental sounds of 5 seconds in 50 classes, and download them if need be.

    =================   ==================================
    Classes                                             50
    Recordings per class                                40
    Recordings                                        2000
    Groups                                5 official folds
    Download, on disk                       0.6 GB, 0.9 GB
    Licence                CC BY-NC 3.0; ESC-10: CC BY 3.0
    =================   ==================================

    Parameters
    ----------
    data_home : str or path-like or None, default=None
        Folder that corpora are kept in, see :func:`get_data_home`. This one goes to its sub-folder ``esc50``.
    subset : {"all", "esc10"}, default="all"
        Whether to list all recordings, or the 400 of the ten classes of ESC-10. All are downloaded either way.
    download_if_missing : bool, default=True
        Whether to download the corpus where it is not on disk, instead of raising an OSError.
    return_X_y : bool, default=False
        Whether to return ``(paths, target)`` instead of a Bunch.
    verbose : int, default=1
        0 downloads in silence, and anything else shows a progress bar.
    n_retries : int, default=3
        How often to try again when a download fails.
    delay : float, default=1.0
        Seconds to wait before that.

    Returns
    -------
    corpus : :class:`~sklearn.utils.Bunch`
        With these attributes:

        paths : list of str, of length n_files
            The recordings, 44.1 kHz mono wav.
        target : str ndarray of shape (n_files,)
            Class of each recording, such as "dog" or "sea_waves".
        groups : str ndarray of shape (n_files,)
            Official fold of each recording, "1" to "5", for cross-validation by group. Clips cut from one
            source share a fold.
        target_names : list of str
            The classes, sorted.
        fold : int ndarray of shape (n_files,)
            The same folds as numbers.
        esc10 : bool ndarray of shape (n_files,)
            Whether each recording belongs to ESC-10.
        known_bad : list of str
            Paths known to be unusable: none.
        DESCR : str
            What the corpus is, its source, licence and citation.

    (paths, target) : tuple if ``return_X_y=True``
        The first two of them.

    Raises
    ------
    OSError
        If the corpus is not on disk and not to be downloaded, if the download fails or is not what it should
        be, or if the corpus on disk is incomplete. The message says what to do. A failed download leaves
        nothing behind.
    ValueError
        If `subset` is unknown.

    Notes
    -----
    ESC-50 is licensed under Creative Commons Attribution-NonCommercial 3.0, and its subset ESC-10 under
    Creative Commons Attribution 3.0. Its file ``LICENSE``, which is unpacked too, credits each clip.

    The archive is that of a fixed state of the repository, and must have a known sha256.

    Examples
    --------
    >>> from sklearn_cpc.datasets import fetch_esc50
    >>> corpus = fetch_esc50(subset="esc10")  # doctest: +SKIP
    >>> fetch_esc50(data_home="elsewhere", download_if_missing=False)
    Traceback (most recent call last):
    ...
    OSError: ESC-50 is not in 'elsewhere...esc50'. ...
    """
    if subset not in SUBSETS_OF_ESC50:
        raise ValueError(f"subset={subset!r} is unknown; use one of {', '.join(map(repr, SUBSETS_OF_ESC50))}.")
    listing = provide(ESC50, data_home, download_if_missing, verbose, n_retries, delay)
    return _returned(ESC50, SUBSETS_OF_ESC50[subset](listing), return_X_y)


def fetch_fsdd(
    *,
    data_home: str | PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    verbose: int = 1,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Any:
    """List the Free Spoken Digit Dataset, 3000 digits spoken by 6 people, and download them if need be.

    =================   ==============
    Classes                         10
    Recordings per class           300
    Recordings                    3000
    Groups                  6 speakers
    Download, on disk     16 MB, 21 MB
    Licence               CC BY-SA 4.0
    =================   ==============

    Parameters
    ----------
    data_home : str or path-like or None, default=None
        Folder that corpora are kept in, see :func:`get_data_home`. This one goes to its sub-folder ``fsdd``.
    download_if_missing : bool, default=True
        Whether to download the corpus where it is not on disk, instead of raising an OSError.
    return_X_y : bool, default=False
        Whether to return ``(paths, target)`` instead of a Bunch.
    verbose : int, default=1
        0 downloads in silence, and anything else shows a progress bar.
    n_retries : int, default=3
        How often to try again when a download fails.
    delay : float, default=1.0
        Seconds to wait before that.

    Returns
    -------
    corpus : :class:`~sklearn.utils.Bunch`
        With these attributes:

        paths : list of str, of length 3000
            The recordings, 8 kHz mono wav, of 0.14 to 2.3 seconds.
        target : str ndarray of shape (3000,)
            Digit of each recording, "0" to "9".
        groups : str ndarray of shape (3000,)
            Speaker of each recording, for cross-validation by group.
        target_names : list of str
            The digits.
        take : int ndarray of shape (3000,)
            Which of the speaker's 50 recordings of the digit it is, from 0. The official test set is
            ``take < 5``, of the speakers that are trained on.
        known_bad : list of str
            Paths known to be unusable: none.
        DESCR : str
            What the corpus is, its source, licence and citation.

    (paths, target) : tuple if ``return_X_y=True``
        The first two of them.

    Raises
    ------
    OSError
        If the corpus is not on disk and not to be downloaded, if the download fails or is not what it should
        be, or if the corpus on disk is incomplete. The message says what to do. A failed download leaves
        nothing behind.

    Notes
    -----
    The corpus is licensed under Creative Commons Attribution-ShareAlike 4.0.

    Release 1.0.10 is downloaded. Its archive is packed on demand and may change in its bytes, so that the
    sha256 which must be right is that of all recordings, with their names.

    Examples
    --------
    >>> from sklearn_cpc.datasets import fetch_fsdd
    >>> corpus = fetch_fsdd()  # doctest: +SKIP
    >>> fetch_fsdd(data_home="elsewhere", download_if_missing=False)
    Traceback (most recent call last):
    ...
    OSError: FSDD is not in 'elsewhere...fsdd'. ...
    """
    listing = provide(FSDD, data_home, download_if_missing, verbose, n_retries, delay)
    return _returned(FSDD, listing, return_X_y)


def fetch_gtzan(
    *,
    data_home: str | PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    verbose: int = 1,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Any:
    """List GTZAN, 1000 pieces of music of 30 seconds in 10 genres, and download them if need be.

    =================   =======================
    Classes                                  10
    Recordings per class                    100
    Recordings                             1000
    Groups                        none are known
    Download, on disk            1.2 GB, 1.3 GB
    Licence             none; for research only
    =================   =======================

    Parameters
    ----------
    data_home : str or path-like or None, default=None
        Folder that corpora are kept in, see :func:`get_data_home`. This one goes to its sub-folder ``gtzan``.
    download_if_missing : bool, default=True
        Whether to download the corpus where it is not on disk, instead of raising an OSError.
    return_X_y : bool, default=False
        Whether to return ``(paths, target)`` instead of a Bunch.
    verbose : int, default=1
        0 downloads in silence, and anything else shows a progress bar.
    n_retries : int, default=3
        How often to try again when a download fails.
    delay : float, default=1.0
        Seconds to wait before that.

    Returns
    -------
    corpus : :class:`~sklearn.utils.Bunch`
        With these attributes:

        paths : list of str, of length 1000
            The recordings, 22.05 kHz mono wav, genre after genre.
        target : str ndarray of shape (1000,)
            Genre of each recording.
        groups : None
            The corpus comes without names of artists.
        target_names : list of str
            The genres, sorted.
        known_bad : list of str
            Paths known to be unusable: ``jazz.00054.wav`` is not a readable file.
        DESCR : str
            What the corpus is, its source, licence and citation.

    (paths, target) : tuple if ``return_X_y=True``
        The first two of them.

    Raises
    ------
    OSError
        If the corpus is not on disk and not to be downloaded, if the download fails or is not what it should
        be, or if the corpus on disk is incomplete. The message says what to do. A failed download leaves
        nothing behind.

    Notes
    -----
    No licence is stated. The recordings come from commercial releases and are passed on for research.

    The original server is gone, and a mirror takes its place, at a fixed state. No checksum of its archive is
    published. Those inside the archive, and the number of recordings of each genre, must be right.

    All 1000 recordings are listed. Set ``on_error="nan"`` in what reads them, or leave out `known_bad`.

    Some recordings occur more than once, some artists many times, and some labels are doubtful (Sturm, 2013).
    Without groups, scores on random splits come out too high. :func:`fetch_fma_small` knows its artists.

    Examples
    --------
    >>> from sklearn_cpc.datasets import fetch_gtzan
    >>> corpus = fetch_gtzan()  # doctest: +SKIP
    >>> fetch_gtzan(data_home="elsewhere", download_if_missing=False)
    Traceback (most recent call last):
    ...
    OSError: GTZAN is not in 'elsewhere...gtzan'. ...
    """
    listing = provide(GTZAN, data_home, download_if_missing, verbose, n_retries, delay)
    return _returned(GTZAN, listing, return_X_y)


def fetch_fma_small(
    *,
    data_home: str | PathLike[str] | None = None,
    download_if_missing: bool = True,
    return_X_y: bool = False,
    verbose: int = 1,
    n_retries: int = 3,
    delay: float = 1.0,
) -> Any:
    """List FMA-small, 8000 pieces of music of 30 seconds in 8 genres, and download them if need be.

    =================   ====================================
    Classes                                                8
    Recordings per class                                1000
    Recordings                                          8000
    Groups                                           artists
    Download, on disk                             8 GB, 8 GB
    Licence             mostly CC, chosen by each artist
    =================   ====================================

    Parameters
    ----------
    data_home : str or path-like or None, default=None
        Folder that corpora are kept in, see :func:`get_data_home`. This one goes to its sub-folder
        ``fma_small``.
    download_if_missing : bool, default=True
        Whether to download the corpus where it is not on disk, instead of raising an OSError.
    return_X_y : bool, default=False
        Whether to return ``(paths, target)`` instead of a Bunch.
    verbose : int, default=1
        0 downloads in silence, and anything else shows a progress bar.
    n_retries : int, default=3
        How often to try again when a download fails.
    delay : float, default=1.0
        Seconds to wait before that.

    Returns
    -------
    corpus : :class:`~sklearn.utils.Bunch`
        With these attributes:

        paths : list of str, of length 8000
            The recordings, mp3, in the order of their track ids.
        target : str ndarray of shape (8000,)
            Genre of each recording.
        groups : str ndarray of shape (8000,)
            Number of the artist of each recording, for cross-validation by group.
        target_names : list of str
            The genres, sorted.
        split : str ndarray of shape (8000,)
            Official split: "training", "validation" or "test". No artist is in two of them.
        track_id : int ndarray of shape (8000,)
            Number of each track in the Free Music Archive.
        license : str ndarray of shape (8000,)
            Licence of each track, as its artist stated it.
        known_bad : list of str
            Paths known to be unusable: three files without any audio, and three that are much too short.
        DESCR : str
            What the corpus is, its source, licence and citation.

    (paths, target) : tuple if ``return_X_y=True``
        The first two of them.

    Raises
    ------
    OSError
        If the corpus is not on disk and not to be downloaded, if the download fails or is not what it should
        be, or if the corpus on disk is incomplete. The message says what to do. A failed download leaves
        nothing behind.

    Notes
    -----
    The metadata are licensed under Creative Commons Attribution 4.0. Each track is under the licence that its
    artist chose, mostly a Creative Commons one. The attribute `license` lists them.

    Both archives must have the sha1 which the authors published. They need 16 GB while they are unpacked.

    All 8000 recordings are listed. Set ``on_error="nan"`` in what reads them, or leave out `known_bad`.

    Examples
    --------
    >>> from sklearn_cpc.datasets import fetch_fma_small
    >>> corpus = fetch_fma_small()  # doctest: +SKIP
    >>> fetch_fma_small(data_home="elsewhere", download_if_missing=False)
    Traceback (most recent call last):
    ...
    OSError: FMA-small is not in 'elsewhere...fma_small'. ...
    """
    listing = provide(FMA_SMALL, data_home, download_if_missing, verbose, n_retries, delay)
    return _returned(FMA_SMALL, listing, return_X_y)


def _returned(corpus, listing, return_X_y):
    paths, target = [str(path) for path in listing.paths], np.array(listing.target)
    if return_X_y:
        return paths, target
    return Bunch(
        paths=paths,
        target=target,
        groups=None if listing.groups is None else np.array(listing.groups),
        target_names=sorted(set(listing.target)),
        known_bad=[str(path) for path in listing.paths if path.name in corpus.known_bad],
        DESCR=corpus.description,
        **listing.extras,
    )


def _all_of(listing):
    return listing


def _esc10_of(listing):
    chosen = np.flatnonzero(listing.extras["esc10"])
    return Listing(
        paths=[listing.paths[row] for row in chosen],
        target=[listing.target[row] for row in chosen],
        groups=[listing.groups[row] for row in chosen],
        extras={name: values[chosen] for name, values in listing.extras.items()},
    )


SUBSETS_OF_ESC50 = {"all": _all_of, "esc10": _esc10_of}
