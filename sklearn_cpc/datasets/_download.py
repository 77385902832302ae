"""Bring a corpus into a folder: download, verify and unpack its archives, all of them or nothing."""

import csv
import gzip
import hashlib
import os
import tarfile
import time
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from os import PathLike
from pathlib import Path, PureWindowsPath
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pooch
from requests import RequestException
from sklearn.utils.validation import check_scalar


class Archive(NamedTuple):
    """Where an archive lies, and what to take from it."""

    url: str
    unpack: Callable[[Path, Path, tuple[str, ...]], None]
    members: tuple[str, ...]  # patterns of the files to keep, matched from the end of their names
    known_hash: str | None = None  # "algorithm:digits" of the archive; None where nobody can know


class Listing(NamedTuple):
    """What a corpus holds, one entry per recording."""

    paths: list[Path]
    target: list[str]
    groups: list[str] | None
    extras: dict[str, np.ndarray]


class Corpus(NamedTuple):
    """What there is to know of a corpus before it is fetched."""

    title: str
    folder: str  # in the data home
    size: str  # of the download
    archives: tuple[Archive, ...]
    read: Callable[[Path], Listing]
    n_classes: int
    n_per_class: int
    description: str
    known_digest: str | None = None  # sha256 of the recordings' names and bytes, in order of their names
    known_bad: tuple[str, ...] = ()  # names of recordings that cannot be used


def get_data_home(data_home: str | PathLike[str] | None = None) -> str:
    """Return the folder that fetched corpora are kept in, each in a sub-folder of its own.

    Parameters
    ----------
    data_home : str or path-like or None, default=None
        A folder of your choice; a leading ``~`` is your home. None takes the environment variable
        ``SKLEARN_CPC_DATA_HOME`` or, where it is not set, ``~/sklearn_cpc_data``.

    Returns
    -------
    data_home : str
        The folder. It is not made before something is fetched.

    Examples
    --------
    >>> from sklearn_cpc.datasets import get_data_home
    >>> get_data_home("corpora")
    'corpora'
    """
    if data_home is None:
        data_home = os.environ.get("SKLEARN_CPC_DATA_HOME") or Path("~", "sklearn_cpc_data")
    return os.path.expanduser(os.fspath(data_home))


def provide(corpus, data_home, download_if_missing, verbose, n_retries, delay):
    """List a corpus, downloading it first if need be."""
    check_scalar(n_retries, "n_retries", Integral, min_val=0)
    check_scalar(delay, "delay", Real, min_val=0)
    folder = Path(get_data_home(data_home), corpus.folder)
    if not folder.exists():
        if not download_if_missing:
            raise OSError(
                f"{corpus.title} is not in {str(folder)!r}. Call with download_if_missing=True to download "
                f"{corpus.size}, or {_do_it_by_hand(corpus, folder)}."
            )
        _install(corpus, folder, verbose, n_retries, delay)
    return _list(corpus, folder, f"Delete {str(folder)!r} and call again to download {corpus.size}.")


def unzip(path, folder, patterns):
    """Unpack the wanted files of a zip archive, whose checksums zipfile compares."""
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if _is_wanted(name, patterns)])


def untar(path, folder, patterns):
    """Unpack the wanted files of a tar.gz archive."""
    with gzip.open(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        # Python before 3.10.12 and 3.11.4 has no filters. What this one guards from is kept out here as well.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        members = (member for member in archive if _is_wanted(member.name, patterns) and member.isfile())
        archive.extractall(folder, members)
        while stream.read(2**20):  # gzip compares its checksum at the very end, where tarfile does not go
            pass


# All or nothing


def _install(corpus, folder, verbose, n_retries, delay):
    """Prepare the whole corpus beside its folder, and move it there when it has proved complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        content, downloaded = Path(scratch, "content"), Path(scratch, "archive")
        advice = f"Nothing was kept. Call again, or {_do_it_by_hand(corpus, folder)}."
        for archive in corpus.archives:
            _download(archive, downloaded, advice, verbose, n_retries, delay)
            _check_hash(archive, downloaded, advice)
            _unpack(archive, downloaded, content, advice)
            downloaded.unlink()  # unpacked and packed, the larger corpora would take twice their space
        _check_digest(corpus, _list(corpus, content, advice), advice)
        _publish(content, folder)


def _publish(content, folder):
    try:
        content.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        # Another process was faster, and what it fetched is as good.


def _do_it_by_hand(corpus, folder):
    urls = " and ".join(archive.url for archive in corpus.archives)
    return f"unpack {urls} into {str(folder)!r} yourself"


# Verification


def _check_hash(archive, path, advice):
    if archive.known_hash is None:
        return
    algorithm, _, known = archive.known_hash.partition(":")
    found = pooch.file_hash(str(path), alg=algorithm)
    if found != known:
        raise OSError(
            f"{archive.url} gave a file whose {algorithm} is {found}, and not {known}: it was damaged on its "
            f"way, or is another file than it was. {advice}"
        )


def _list(corpus, folder, advice):
    """List the recordings of a corpus, and make sure that they are all there."""
    try:
        listing = corpus.read(folder)
    except (OSError, ValueError, LookupError, StopIteration, csv.Error) as error:
        raise OSError(f"{corpus.title} in {str(folder)!r} cannot be read ({error!r}). {advice}") from error
    there = Counter(name for path, name in zip(listing.paths, listing.target, strict=True) if path.is_file())
    if len(there) != corpus.n_classes or set(there.values()) != {corpus.n_per_class}:
        odd = [f"{n} of {name!r}" for name, n in sorted(there.items()) if n != corpus.n_per_class]
        raise OSError(
            f"{corpus.title} in {str(folder)!r} is incomplete: it needs {corpus.n_classes} classes of "
            f"{corpus.n_per_class} recordings, and has {sum(there.values())} recordings of {len(there)} classes"
            f"{', but ' if odd else ''}{', '.join(odd[:3])}. {advice}"
        )
    return listing


def _check_digest(corpus, listing, advice):
    if corpus.known_digest is None:
        return
    found = digest_of(listing.paths)
    if found != corpus.known_digest:
        raise OSError(
            f"The recordings of {corpus.title} have the sha256 {found}, and not {corpus.known_digest}: they are "
            f"not those of the release. {advice}"
        )


def digest_of(paths: Iterable[Path]) -> str:
    """Take the sha256 of the names and bytes of files, in order of their names."""
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


# Downloading and unpacking


def _download(archive, path, advice, verbose, n_retries, delay):
    downloader = pooch.HTTPDownloader(progressbar=bool(verbose), chunk_size=2**20)
    for n_left in range(n_retries, -1, -1):
        try:
            return downloader(archive.url, str(path), None)
        except RequestException as error:
            if n_left == 0:
                raise OSError(f"{archive.url} cannot be downloaded ({error}). {advice}") from error
            warnings.warn(
                f"{archive.url} cannot be downloaded ({error}). Trying again in {delay} s, "
                f"up to {n_left} more time(s).",
                stacklevel=5,  # the line that calls fetch_...
            )
            time.sleep(delay)


def _unpack(archive, path, folder, advice):
    try:
        archive.unpack(path, folder, archive.members)
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise OSError(f"{archive.url} gave a file that cannot be unpacked ({error}). {advice}") from error


def _is_wanted(name, patterns):
    """Tell whether to unpack a file, and refuse the archive if any of its names leads out of the folder."""
    path = PureWindowsPath(name)  # knows drives and slashes of both kinds, on any system
    if path.anchor or ".." in path.parts:
        raise ValueError(f"it holds {name!r}, which would be written outside of its folder")
    # macOS packs a companion "._name" for each file, of the same ending.
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return not hidden and any(path.match(pattern) for pattern in patterns)
