"""Download a corpus, verify it and unpack it: all of it or nothing."""

import gzip
import hashlib
import io
import os
import re
import shutil
import tarfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

import pooch
from requests import RequestException
from sklearn.utils import Bunch

from .._files import ScratchFolder, remove_abandoned
from .._warnings import warn

PATIENCE = 60  # seconds
MIN_PROGRESS = 600_000  # bytes that must arrive in this time
MAX_MEMBERS = 100_000  # files in an archive
MAX_HEADER = 2**20  # bytes before a file in a tar archive
# Names that are names of files on every system; the first ones are devices on Windows.
PORTABLE = re.compile(r"(?!(con|prn|aux|nul|com\d|lpt\d)(\.|$))[\w. +-]*[\w+-]", re.ASCII | re.IGNORECASE)


class Corpus(NamedTuple):
    """How to download, verify and read a corpus, and the facts for its documentation."""

    title: str
    folder: str  # name of its folder in the data home
    size: str  # of the download and on disk
    max_bytes: int  # of each archive, and of what is unpacked from it: about twice the real size
    archives: dict[str, str | None]  # each URL, with a hash "algorithm:digits" or None if no stable one is known
    unpack: Callable
    members: tuple[str, ...]  # patterns of the files to unpack, matched from the right
    read: Callable[[Path], Bunch]
    n_classes: int
    n_per_class: int
    groups: str
    description: str
    recordings_sha256: str | None = None  # of the names and bytes of all recordings, in order of their names
    known_bad: tuple[str, ...] = ()  # names of unusable recordings


def get_data_home(data_home=None):
    """Return the folder of all fetched corpora, which has a sub-folder for each.

    Parameters
    ----------
    data_home : str or path-like or None, default=None
        The folder; a leading ``~`` stands for your home directory. If None, the environment variable
        ``SKLEARN_CPC_DATA_HOME`` is used or, if that is not set, ``~/sklearn_cpc_data``.

    Returns
    -------
    data_home : str
        The folder. It is not created until a corpus is fetched.

    Examples
    --------
    >>> from sklearn_cpc.datasets import get_data_home
    >>> get_data_home("corpora")
    'corpora'
    """
    if data_home is None:
        data_home = os.environ.get("SKLEARN_CPC_DATA_HOME") or Path("~", "sklearn_cpc_data")
    return os.path.expanduser(os.fspath(data_home))


def load_corpus(corpus, data_home, download_if_missing, verbose, n_retries, delay):
    """List the recordings of a corpus. Download them first if they are missing."""
    folder = Path(get_data_home(data_home), corpus.folder)
    remove_abandoned(folder.parent)
    by_hand = f"unpack {' and '.join(corpus.archives)} into {str(folder)!r} yourself"
    if not folder.exists():
        if not download_if_missing:
            advice = f"Call with download_if_missing=True to download {corpus.size}, or {by_hand}."
            raise OSError(f"{corpus.title} is not in {str(folder)!r}. {advice}")
        install(corpus, folder, f"Nothing was kept. Call again, or {by_hand}.", verbose, n_retries, delay)
    return list_recordings(corpus, folder, f"Delete {str(folder)!r} and call again to download {corpus.size}.")


def install(corpus, folder, advice, verbose, n_retries, delay):
    """Build the folder of a corpus under a temporary name, and rename it when the corpus is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with ScratchFolder(folder.parent) as scratch:
        content, path = Path(scratch, "content"), Path(scratch, "archive")
        for url, known_hash in corpus.archives.items():
            download(url, known_hash, path, corpus.max_bytes, advice, verbose, n_retries, delay)
            try:
                corpus.unpack(path, content, corpus)
            except MemoryError:
                raise
            except Exception as error:  # a damaged archive may raise anything
                raise OSError(f"{url} gave a file that cannot be unpacked ({error}). {advice}") from error
            path.unlink()  # before the next archive needs disk space
        recordings = list_recordings(corpus, content, advice)
        if corpus.recordings_sha256 and (found := hash_files(recordings.paths)) != corpus.recordings_sha256:
            expected = f"instead of {corpus.recordings_sha256}: they are not those of the release"
            raise OSError(f"The recordings of {corpus.title} have the sha256 {found} {expected}. {advice}")
        try:
            content.rename(folder)
        except OSError:
            if not folder.is_dir():  # another process was faster, and its copy passed the same checks
                raise


def download(url, known_hash, path, max_bytes, advice, verbose, n_retries, delay):
    """Download an archive and check its hash. Pooch alone would retry never or silently, and log to stderr."""
    downloader = pooch.HTTPDownloader(progressbar=bool(verbose), chunk_size=2**14)
    for n_left in range(n_retries, -1, -1):
        try:
            with LimitedFile(path, max_bytes, "the server sends") as file:
                download_watched(downloader, url, file)
            break
        except Exception as error:  # a server may send anything
            if n_left == 0 or not isinstance(error, (RequestException, TimeoutError)):
                raise OSError(f"{url} cannot be downloaded ({error}). {advice}") from error
            warn(f"{url} cannot be downloaded ({error}). Trying again in {delay} s, up to {n_left} more time(s).")
            time.sleep(delay)
    if known_hash:
        algorithm, _, known = known_hash.partition(":")
        found = pooch.file_hash(str(path), alg=algorithm)
        if found != known:
            reason = "it was damaged during the download or has been replaced on the server"
            raise OSError(f"{url} gave a file whose {algorithm} is {found} instead of {known}: {reason}. {advice}")


class LimitedFile(io.BufferedWriter):
    """A new file that raises a ValueError before it becomes larger than it may."""

    def __init__(self, path, max_bytes, what):
        super().__init__(io.FileIO(path, "w"))
        self.max_bytes, self.what = max_bytes, what

    def write(self, data):
        """Append bytes."""
        if self.tell() + len(data) > self.max_bytes:
            raise ValueError(f"{self.what} more than {self.max_bytes} bytes")
        return super().write(data)


def download_watched(downloader, url, file):
    """Download into a file; raise a TimeoutError when too little arrives for a while.

    A thread downloads, so that nothing else can wait forever: no name server, no header, no single byte.
    """
    errors = []

    def work():
        try:
            downloader(url, file, None)
        except BaseException as error:  # handed on
            errors.append(error.with_traceback(None))  # whose frames would keep the connection

    thread = threading.Thread(target=work, name="download", daemon=True)
    thread.start()
    while thread.is_alive():
        n_before = file.tell()
        thread.join(PATIENCE)
        if thread.is_alive() and (n_new := file.tell() - n_before) < MIN_PROGRESS:
            raise TimeoutError(f"only {n_new} bytes came in {PATIENCE} s")  # closing the file ends the thread
    if errors:
        raise errors.pop()


def list_recordings(corpus, folder, advice):
    """List the recordings of a corpus, and check that each class is complete."""
    try:
        recordings = corpus.read(folder)
    except Exception as error:  # a damaged table may raise anything
        raise OSError(f"{corpus.title} in {str(folder)!r} cannot be read ({error!r}). {advice}") from error
    present = zip(recordings.target.tolist(), map(os.path.isfile, recordings.paths), strict=True)
    counts = Counter(name for name, exists in present if exists)
    if len(counts) != corpus.n_classes or set(counts.values()) != {corpus.n_per_class}:
        odd = [f"{n} of {name!r}" for name, n in sorted(counts.items()) if n != corpus.n_per_class]
        raise OSError(
            f"{corpus.title} in {str(folder)!r} is incomplete: it needs {corpus.n_classes} classes of "
            f"{corpus.n_per_class} recordings, and has {counts.total()} recordings of {len(counts)} classes"
            f"{', but ' if odd else ''}{', '.join(odd[:3])}. {advice}"
        )
    recordings.known_bad = [path for path in recordings.paths if Path(path).name in corpus.known_bad]
    recordings.DESCR = corpus.description
    return recordings


def hash_files(paths):
    """Hash the names and bytes of files, in order of their names, with sha256."""
    digest = hashlib.sha256()
    for path in sorted(map(Path, paths), key=lambda path: path.name):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


# `pooch.Unzip` and `pooch.Untar` take no patterns, accept links, and ignore the checksum of a gzip file.


def unzip(path, folder, corpus):
    """Unpack the needed files of a zip archive. `zipfile` verifies their checksums and stated sizes."""
    with zipfile.ZipFile(path) as archive:
        members = [(member.filename, member.file_size, member) for member in archive.infolist()]
        archive.extractall(folder, list(choose_members(members, corpus)))


def untar(path, folder, corpus):
    """Unpack the needed files of a tar.gz archive."""
    plain = path.with_suffix(".tar")
    with gzip.open(path) as stream, LimitedFile(plain, corpus.max_bytes, "it unpacks to") as file:
        shutil.copyfileobj(stream, file)  # to the very end, where gzip verifies its checksum
    with HeaderLimit(plain) as unpacked, tarfile.open(fileobj=unpacked, mode="r:") as archive:
        # Some versions of Python 3.10 and 3.11 have no filter. `is_needed` and `isfile` are as strict.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        members = ((member.name, member.size, member) for member in archive)
        archive.extractall(folder, (member for member in choose_members(members, corpus) if member.isfile()))


class HeaderLimit(io.FileIO):
    """A file that is read in pieces. One that does not fit into them is a header that would fill the memory."""

    def read(self, size=-1):
        """Return the next bytes."""
        if size > MAX_HEADER:
            raise ValueError(f"it has a header of {size} bytes")
        return super().read(size)


def choose_members(members, corpus):
    """Yield the needed ones of members, each given with name and size; raise a ValueError if any is odd."""
    names, n_bytes = set(), 0
    for index, (name, size, member) in enumerate(members):
        if index == MAX_MEMBERS:
            raise ValueError(f"it contains more than {MAX_MEMBERS} files")
        if not is_needed(name, corpus.members):
            continue
        n_bytes += size
        if n_bytes > corpus.max_bytes:
            raise ValueError(f"it unpacks to more than {corpus.max_bytes} bytes")
        plain = PureWindowsPath(name).as_posix().lower()
        if plain in names:
            raise ValueError(f"it contains {name!r} twice, or with other capitals")
        names.add(plain)
        yield member


def is_needed(name, patterns):
    """Whether to unpack a file. Raises a ValueError if its name leads out of the folder or is odd."""
    path = PureWindowsPath(name)  # knows drives and both kinds of slashes, on any system
    if path.anchor or ".." in path.parts:
        raise ValueError(f"it contains {name!r}, which would be written outside of its folder")
    # macOS adds a hidden "._name" with the same ending for each file.
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    needed = not hidden and any(path.match(pattern) for pattern in patterns)
    if needed and not all(map(PORTABLE.fullmatch, path.parts)):
        raise ValueError(f"it contains {name!r}, which is not a name on every system")
    return needed
