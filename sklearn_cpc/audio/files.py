"""Recordings where they lie: in files, or behind URLs, of which fsspec fetches no more than is needed."""

import contextlib
import functools
import hashlib
import os
import re
import threading
import time
import zipfile
import zlib

import fsspec
from fsspec.archive import AbstractArchiveFileSystem
from fsspec.spec import AbstractBufferedFile

from .._files import URL, ScratchFolder, is_url

# What stores say of a file that changes with its content.
STATED = re.compile(r"(?i)etag|.*md5.*|digest|crc\w*|generation|.*modified|mtime|updated|created|date_time|ino")
# First bytes of formats of which stretches are decoded without the rest; libsndfile does that wrongly in ogg.
SEEKABLE = b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b"caff", b".snd", b"fLaC"
SMALL_BYTES = 1 << 20  # a file of up to this size is fetched whole
BLOCK_BYTES, MAX_BLOCKS = 1 << 18, 64  # of stretches: fetched in one request, and kept
COPY_BYTES = 1 << 23  # of a whole file: fetched in one request
WAITS = 0.25, 1.0, 4.0  # seconds before the second and later tries
_archives = threading.Lock()  # threads would move each other's position in an archive


class RemoteError(ConnectionError):
    """A store or the network fails, which is no fault of a recording."""


def base_name(path):
    """Return the name of a file without folders and, if it is a URL, without what follows the name."""
    return os.path.basename(re.split(r"::|[?#]", URL.sub("", path))[0] if is_url(path) else path)


def list_urls(url):
    """Return the URLs of the files in a folder, or that match a pattern, by their sorted names; none is hidden."""
    try:
        fs, folder = _call(url, _connect, url)
        paths = _call(url, fs.glob if "*" in url else fs.find, folder)
    except ValueError as error:
        raise ValueError(f"{url!r} {error}") from error
    start = URL.match(url).end()  # type: ignore[union-attr]
    start += url.startswith("/", start)
    end = "".join(url[start:].partition("::")[1:])
    urls = {}
    for path in sorted(paths, key=lambda path: path.split("/")):
        name = path.removeprefix(folder).lstrip("/")
        if not re.search(r"(^|/)\.", name):
            urls[name] = path if URL.match(path) else url[:start] + path.lstrip("/") + end
    return urls


def opened(path):
    """Return a context: of a :class:`RemoteFile` for a URL, which is closed at the end, else of the path."""
    return RemoteFile(path) if is_url(path) else contextlib.nullcontext(path)


@contextlib.contextmanager
def fetched(path, *, whole=True):
    """Yield the path of a local file as it is, or of a copy of a remote one.

    Unless ``whole``, yield a :class:`RemoteFile` instead if stretches of it can be read.
    """
    with opened(path) as file:
        is_enough = not isinstance(file, RemoteFile) or (not whole and file.is_seekable)
        yield file if is_enough else file.copy


class LocalCopy(str):
    """The path of a copy of a remote file."""

    url: str


class RemoteFile(AbstractBufferedFile):
    """What a store says of a file, and what was fetched of it. Slices are bytes; bad files raise a ValueError."""

    def __init__(self, url):
        self.url, self._folder, self._copy = url, None, None
        self._error = None  # of a read by libsndfile, which would take it for the end of the file
        fs, path = _call(url, _connect, url)
        fs.invalidate_cache(fs._parent(path))  # which may be older than the file
        info = _call(url, fs.info, path)
        if info["type"] == "directory":
            raise ValueError("is a directory; list the files in it.")
        if info.get("size") == 0:
            raise ValueError("is an empty file.")
        self._stated = sorted((name, str(value)) for name, value in info.items() if STATED.fullmatch(name))
        self._is_divisible = bool(info.get("size")) and not isinstance(fs, AbstractArchiveFileSystem)
        caching = {"cache_type": "blockcache", "cache_options": {"maxblocks": MAX_BLOCKS}}
        super().__init__(fs, path, "rb", BLOCK_BYTES, size=info.get("size") or 0, **caching)

    @property
    def identity(self):
        """A text that changes with the content: by what the store states or, if that is nothing, by all bytes."""
        digest = hashlib.sha256(repr((self.size, self._stated)).encode())
        if not self._stated:
            with open(self.copy, "rb") as file:
                while block := file.read(COPY_BYTES):
                    digest.update(block)
        return digest.hexdigest()

    @property
    def is_seekable(self):
        """Whether the header, and stretches of most formats, can be read without the rest of the file."""
        is_long = self._is_divisible and self.size > SMALL_BYTES
        return is_long and self[:4] in (*SEEKABLE, b"OggS") and self._is_divisible  # which the read may change

    @property
    def copy(self):  # before Python 3.12, only one thread at a time can compute a cached_property
        """Path of a copy of the file, until this is closed."""
        if self._copy is None:
            folder = self._folder = ScratchFolder()
            path = LocalCopy(os.path.join(folder.path, re.sub(r"[^\w.-]", "_", base_name(self.url))[-100:]))
            path.url = self.url
            with open(path, "wb") as file:
                while self._is_divisible and (start := file.tell()) < self.size:
                    file.write(self._fetch_range(start, start + COPY_BYTES))
            if not self._is_divisible:
                with _archives if isinstance(self.fs, AbstractArchiveFileSystem) else contextlib.nullcontext():
                    _call(self.url, self.fs.get_file, self.path, path)
            self._copy = path
        return self._copy

    def _fetch(self, start, stop):
        stop = min(stop, self.size)
        content = self.fs.cat_file(self.path, start=start, end=stop)
        if len(content) == self.size > stop - start:  # the server does not send stretches
            self._is_divisible, content = False, content[start:stop]
        if len(content) != stop - start:
            raise OSError(f"{len(content)} of {stop - start} bytes came")
        return content

    def _fetch_range(self, start, end):
        """Fetch a block that is not in the cache."""
        return _call(self.url, self._fetch, start, end)

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return self.cache._fetch(*index.indices(self.size)[:2])

    def readinto(self, buffer):
        """Read what fits; an error ends the file here and is raised when this is closed."""
        try:
            return super().readinto(buffer)
        except BaseException as error:  # libsndfile calls this, and lets no error pass
            self._error = self._error or error
            return 0

    def close(self):
        """Remove the copy, and raise what stopped a read."""
        super().close()
        if self._folder is not None:
            self._folder.remove()
        if self._error is not None:
            raise self._error


def _connect(url):
    """Return the file system of a URL, and the path in it."""
    member, _, archive = url.partition("::")
    protocol, is_member, path = member.partition("://")
    if archive and is_member:
        return _open_archive(protocol, archive, RemoteFile(archive).identity), path
    return fsspec.core.url_to_fs(url)


@functools.lru_cache(maxsize=8)
def _open_archive(protocol, url, identity):
    """Open an archive, once for all files in it, and again when it changes."""
    return fsspec.core.url_to_fs(f"{protocol}://::{url}")[0]


def _call(url, function, *arguments):
    """Call a function that asks a store, again after a failure that may pass.

    Raises a ValueError if the file is the cause, an ImportError if a package is missing, and else a RemoteError.
    """
    for wait in (*WAITS, None):
        try:
            return function(*arguments)
        except ImportError as error:
            raise ImportError(f"cannot read {url!r}: {error}") from error
        except (ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"cannot be read ({error}).") from error
        except Exception as error:
            if isinstance(error, (MemoryError, RemoteError, AttributeError, TypeError)):
                raise
            reason, cause = error, error.__cause__ or error  # fsspec calls a file missing whatever fails over http
            if isinstance(cause, OSError) or type(cause).__module__.startswith(("aiohttp", "asyncio", "fsspec")):
                reason = cause  # type: ignore[assignment]
            status = getattr(reason, "status", None)
            if isinstance(reason, FileNotFoundError) or status in (404, 410):
                raise ValueError("does not exist.") from error
            is_denied = isinstance(reason, PermissionError) or status in (401, 403)
            is_denied = is_denied or "Credentials" in type(reason).__name__
            if is_denied or wait is None:
                advice = "give credentials that may read it" if is_denied else "try again when it can be reached"
                message = f"cannot read {url!r} ({type(reason).__name__}: {reason}); {advice}."
                raise RemoteError(message) from error
        time.sleep(wait)
