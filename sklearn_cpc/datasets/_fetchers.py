"""Public corpora of sounds, speech and music, downloaded at the first call and found on disk afterwards."""

import csv
from operator import itemgetter
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from ._download import Archive, Corpus, Listing, provide, untar, unzip
from ._folder import load_audio_folder


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


# Where each corpus keeps what it says of its recordings


def _read_esc50(folder):
    folder = folder / f"ESC-50-{ESC50_COMMIT}"
    with open(folder / "meta" / "esc50.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return Listing(
        paths=[folder / "audio" / row["filename"] for row in rows],
        target=[row["category"] for row in rows],
        groups=[row["fold"] for row in rows],
        extras={
            "fold": np.array([int(row["fold"]) for row in rows]),
            "esc10": np.array([row["esc10"] == "True" for row in rows]),
        },
    )


def _read_fsdd(folder):
    paths = sorted((folder / f"free-spoken-digit-dataset-{FSDD_RELEASE}" / "recordings").glob("[!.]*.wav"))
    digits, speakers, takes = zip(*(path.stem.split("_") for path in paths), strict=True)
    return Listing(paths, list(digits), list(speakers), {"take": np.array(takes, dtype=int)})


def _read_gtzan(folder):
    corpus = load_audio_folder(folder / "genres", extensions=".wav")
    return Listing([Path(path) for path in corpus.paths], corpus.target.tolist(), None, {})


def _read_fma_small(folder):
    with open(folder / "fma_metadata" / "tracks.csv", newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        columns = list(zip(next(rows), next(rows), strict=True))  # the name of a column takes two rows
        next(rows)  # and that of the index takes a third
        subset, *wanted = [columns.index(name) for name in FMA_COLUMNS]
        tracks = [(int(row[0]), *itemgetter(*wanted)(row)) for row in rows if row[subset] == "small"]
    track_ids, genres, artists, splits, licenses = map(list, zip(*tracks, strict=True))
    names = [f"{track_id:06d}" for track_id in track_ids]
    extras = {"split": splits, "track_id": track_ids, "license": licenses}
    return Listing(
        paths=[folder / "fma_small" / name[:3] / f"{name}.mp3" for name in names],
        target=genres,
        groups=artists,
        extras={name: np.array(values) for name, values in extras.items()},
    )


FMA_COLUMNS = [
    ("set", "subset"),
    ("track", "genre_top"),
    ("artist", "id"),
    ("set", "split"),
    ("track", "license"),
]


# What there is to know of each corpus

ESC50_COMMIT = "33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6"
ESC50 = Corpus(
    title="ESC-50",
    folder="esc50",
    size="0.6 GB",
    archives=(
        Archive(
            f"https://github.com/karolpiczak/ESC-50/archive/{ESC50_COMMIT}.zip",
            unzip,
            ("audio/*.wav", "meta/esc50.csv", "LICENSE", "README.md"),
            # GitHub packs archives on demand and does not promise that their bytes stay, but several public
            # projects that pin this commit (none of them the author's) state this sha256 of its archive.
            "sha256:661183a6f53ef04f12c9bd618fed0ddc1713280d6c94a5a5431e844ba6f6a21f",
        ),
    ),
    read=_read_esc50,
    n_classes=50,
    n_per_class=40,
    description="""\
ESC-50: Dataset for Environmental Sound Classification

2000 recordings of 5 seconds (44.1 kHz, mono): animals, natural soundscapes, human sounds without speech,
sounds from indoors and from outdoors, 50 classes with 40 recordings each, cut from field recordings of
freesound.org. They come in 5 folds, such that clips of one source are in one fold. ESC-10 is a subset of ten
classes.

Source: https://github.com/karolpiczak/ESC-50
Licence: CC BY-NC 3.0 (https://creativecommons.org/licenses/by-nc/3.0/); ESC-10: CC BY 3.0
(https://creativecommons.org/licenses/by/3.0/). The file LICENSE credits each clip.
Cite: K. J. Piczak. ESC: Dataset for Environmental Sound Classification. Proceedings of the 23rd ACM
International Conference on Multimedia, 2015, 1015-1018. https://doi.org/10.1145/2733373.2806390
""",
)

FSDD_RELEASE = "1.0.10"
FSDD = Corpus(
    title="FSDD",
    folder="fsdd",
    size="16 MB",
    archives=(
        Archive(
            f"https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v{FSDD_RELEASE}.zip",
            unzip,
            ("recordings/*.wav", "metadata.py", "README.md"),
        ),
    ),
    read=_read_fsdd,
    n_classes=10,
    n_per_class=300,
    # Stated by a public project that fetches this release, and found again for recordings from another source.
    known_digest="45a9b976ba3397a2fd5c70a9f2e43c34f442a3a6be47392ecfc41174b678f37e",
    description=f"""\
Free Spoken Digit Dataset (FSDD), release {FSDD_RELEASE}

3000 recordings of English digits (8 kHz, mono, trimmed to the digit): 6 speakers, 50 recordings of each digit
by each of them.

Source: https://github.com/Jakobovski/free-spoken-digit-dataset
Licence: CC BY-SA 4.0 (https://creativecommons.org/licenses/by-sa/4.0/)
Cite: Z. Jackson, C. Souza, J. Flaks, Y. Pan, H. Nicolas, A. Thite. Free Spoken Digit Dataset, release
{FSDD_RELEASE}. https://github.com/Jakobovski/free-spoken-digit-dataset
""",
)

GTZAN = Corpus(
    title="GTZAN",
    folder="gtzan",
    size="1.2 GB",
    archives=(
        Archive(
            "https://huggingface.co/datasets/marsyas/gtzan/resolve/7031b102fce5383cfdfa12714eaf42065e82b855/"
            "data/genres.tar.gz",
            untar,
            ("genres/*/*.wav",),
            # The md5 in torchaudio and mirdata is that of the original server's archive, which had another
            # size (1 225 571 541 bytes in TensorFlow Datasets). None is published of the mirror's.
            None,
        ),
    ),
    read=_read_gtzan,
    n_classes=10,
    n_per_class=100,
    known_bad=("jazz.00054.wav",),
    description="""\
GTZAN genre collection

1000 excerpts of music, 30 seconds each (22.05 kHz, mono), 100 of each of 10 genres: blues, classical, country,
disco, hiphop, jazz, metal, pop, reggae, rock. They were collected in 2000 and 2001 from CDs, radio and
microphone recordings. Artists and titles are not part of the corpus. Some recordings occur more than once,
some are mislabelled, and jazz.00054.wav cannot be read.

Source: https://huggingface.co/datasets/marsyas/gtzan, a mirror; the original server is gone
Licence: none is stated; for research only
Cite: G. Tzanetakis, P. Cook. Musical genre classification of audio signals. IEEE Transactions on Speech and
Audio Processing 10(5), 2002, 293-302. https://doi.org/10.1109/TSA.2002.800560
Faults: B. L. Sturm. The GTZAN dataset: its contents, its faults, their effects on evaluation, and its future
use. 2013. https://arxiv.org/abs/1306.1461
""",
)

FMA_SMALL = Corpus(
    title="FMA-small",
    folder="fma_small",
    size="8 GB",
    archives=(  # with the sha1 that the README of https://github.com/mdeff/fma gives
        Archive(
            "https://os.unil.cloud.switch.ch/fma/fma_metadata.zip",
            unzip,
            ("fma_metadata/tracks.csv", "fma_metadata/README.txt"),
            "sha1:f0df49ffe5f2a6008d7dc83c6915b31835dfe733",
        ),
        Archive(
            "https://os.unil.cloud.switch.ch/fma/fma_small.zip",
            unzip,
            ("fma_small/*/*.mp3", "fma_small/README.txt"),
            "sha1:ade154f733639d52e35e32f5593efe5be76c6d70",
        ),
    ),
    read=_read_fma_small,
    n_classes=8,
    n_per_class=1000,
    # The first three are short, and the others empty: https://github.com/mdeff/fma/issues/8 and 44.
    known_bad=("098565.mp3", "098567.mp3", "098569.mp3", "099134.mp3", "108925.mp3", "133297.mp3"),
    description="""\
FMA-small, a subset of FMA: A Dataset for Music Analysis

8000 excerpts of music, 30 seconds each (mp3), 1000 of each of 8 genres: Electronic, Experimental, Folk,
Hip-Hop, Instrumental, International, Pop, Rock. They come from the Free Music Archive with the numbers of
their artists and an official split into training, validation and test, which no artist crosses. Six files are
shorter than they should be, three of them empty.

Source: https://github.com/mdeff/fma
Licence: metadata CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/); each track under the licence that
its artist chose, mostly Creative Commons
Cite: M. Defferrard, K. Benzi, P. Vandergheynst, X. Bresson. FMA: A Dataset for Music Analysis. 18th
International Society for Music Information Retrieval Conference (ISMIR), 2017.
https://arxiv.org/abs/1612.01840
""",
)
