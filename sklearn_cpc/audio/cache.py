"""Decoded recordings in a directory, which processes may fill and read at once, and which may be damaged.

A recording is a file of float32 samples with a checksum at the end. It is written beside its place and renamed
into it: nobody ever sees half of one. Whatever does not match its checksum is decoded anew.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import struct
import tempfile
import threading
import time
import uuid
import weakref
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .._files import atomic_write
from .reading import printable, read_audio

DECODING = 1  # to be raised whenever recordings are decoded to other samples
CHECKSUM = struct.Struct("<I")
ABANDONED = 24 * 3600  # seconds after which an unfinished file is that of a process that was killed


class Place(NamedTuple):
    """Where samples lie.

    Parameters
    ----------
    file : str
    version : tuple of (int, int)
        Inode and time of change of the file, which tell it from another that comes into its place.
    offset : int
        First byte of the samples.
    n_samples : int
    path : str or None
        The recording that they were decoded from and can be decoded from again.
    sample_rate : int
        In Hz.
    """

    file: str
    version: tuple
    offset: int
    n_samples: int
    path: str | None
    sample_rate: int


@dataclass(frozen=True)
class OnDisk:
    """Samples that lie in a file: they have a length, are sliced, and become an array when NumPy needs one.

    They are read rather than mapped into memory: pages of a mapping count as memory of the process for as long
    as it lasts, and the process ends if another one cuts the file.

    Attributes
    ----------
    place : Place
        What :func:`read_stretch` takes.
    start, stop : int
        The stretch of these samples.
    owner : object, default=None
        What the file lives as long as.
    """

    place: Place
    start: int
    stop: int
    owner: object = None

    @classmethod
    def of_memmap(cls, samples, sample_rate):
        """Take over samples that something else has mapped into memory."""
        file = str(samples.filename)
        place = Place(file, version_of(os.stat(file)), samples.offset, len(samples), None, sample_rate)
        return cls(place, 0, len(samples))

    def __len__(self):
        """Count the samples."""
        return self.stop - self.start

    def __getitem__(self, stretch):
        """Slice, without touching the file."""
        start, stop, _ = stretch.indices(len(self))
        return OnDisk(self.place, self.start + start, self.start + max(start, stop), self.owner)

    def __array__(self, dtype=None, copy=None):
        """Read the samples."""
        if copy is False:
            raise ValueError("samples on disk become an array by being copied.")
        return np.asarray(read_stretch(self.place, self.start, self.stop), dtype)

    def __reduce__(self):
        return OnDisk, (self.place, self.start, self.stop)


def read_stretch(place, start, stop):
    """Read a stretch of the samples of a recording; if they have been removed or cut since, decode it again."""
    try:
        with open(place.file, "rb") as stream:
            status = os.fstat(stream.fileno())
            if place.path is not None and version_of(status) != place.version:
                count_samples(place.file, status.st_size, version_of(status))  # another, of the same recording
            samples = np.empty(stop - start, np.float32)
            stream.seek(place.offset + samples.itemsize * start)
            if stream.readinto(samples.data) < samples.nbytes:
                raise ValueError(f"{place.file} is cut short")
        return samples
    except (OSError, ValueError) as error:
        if place.path is None or getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
            raise
    samples = read_audio(place.path, place.sample_rate)
    if len(samples) != place.n_samples:
        raise RuntimeError(f"{printable(place.path)} has changed while it was in use; start again.")
    with contextlib.suppress(OSError):
        write(place.file, [samples])
    return samples[start:stop]


class Cache:
    """Decoded recordings in a directory.

    Parameters
    ----------
    directory : str or path-like
        Need not exist.
    """

    def __init__(self, directory):
        self.folder = os.path.join(os.fspath(directory), "sklearn_cpc")
        remove_abandoned(folder_of_parts(self.folder))

    def find(self, path, status, sample_rate):
        """Return a recording, of this size and time of change, at one rate; None if it is not there or damaged."""
        file = self._file_of(path, status, sample_rate)
        try:
            found = os.stat(file)
            if not stat.S_ISREG(found.st_mode):
                return None
            version = version_of(found)
            n_samples = count_samples(file, found.st_size, version)
        except (OSError, ValueError):
            return None
        return OnDisk(Place(file, version, 0, n_samples, os.path.abspath(path), sample_rate), 0, n_samples)

    def keep(self, path, status, sample_rate, blocks, owner=None):
        """Keep the samples of a recording, which come in blocks, and return them as they are found.

        Raises an OSError if they cannot be written.
        """
        file = self._file_of(path, status, sample_rate)
        try:
            version, n_samples = write(file, blocks)
        except OSError:
            found = self.find(path, status, sample_rate)
            if found is None:
                raise
            return found  # that of a faster process, where a file that is open cannot be replaced
        place = Place(file, version, 0, n_samples, os.path.abspath(path), sample_rate)
        return OnDisk(place, 0, n_samples, owner)

    def _file_of(self, path, status, sample_rate):
        key = DECODING, os.fsencode(os.path.abspath(path)), status.st_size, status.st_mtime_ns, sample_rate
        return os.path.join(self.folder, f"{hashlib.sha256(repr(key).encode()).hexdigest()[:40]}.f32")


class Scratch:
    """Decoded recordings that nobody has named a directory for: in RAM up to a budget, beyond it on disk.

    Parameters
    ----------
    budget : float
        Bytes of RAM.
    """

    def __init__(self, budget):
        self.budget = budget
        self._lock = threading.Lock()
        self._cache = None
        self.renew()

    def renew(self):
        """Begin to count anew: those kept so far are not in use any more."""
        self._left = self.budget

    def keep(self, path, status, sample_rate, blocks):
        """Keep the samples of a recording, which come in blocks; raises an OSError if there is no room on disk."""
        held, blocks = [], iter(blocks)
        for block in blocks:
            held.append(block)
            if not self._take(block.nbytes):
                self._take(-sum(one.nbytes for one in held))
                return self._folder().keep(path, status, sample_rate, drained(held, blocks), owner=self)
        return np.concatenate(held)

    def _take(self, n_bytes):
        with self._lock:
            self._left -= n_bytes
            return self._left >= 0

    def _folder(self):
        with self._lock:
            if self._cache is None:
                folder = tempfile.mkdtemp(prefix="sklearn_cpc-")
                self._cache = Cache(folder)
                weakref.finalize(self, remove_if_own, folder, os.getpid())
            return self._cache


def drained(held, blocks):
    """Yield what is in a list, which is emptied, and then the rest."""
    held.reverse()
    while held:
        yield held.pop()
    yield from blocks


def remove_if_own(folder, process):
    """Remove a folder, but not in a fork of the process that made it."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def write(file, blocks):
    """Write samples and their checksum, all at once for whoever reads.

    Parameters
    ----------
    file : str
    blocks : iterable of float32 ndarray

    Returns
    -------
    version : tuple of (int, int)
        Of the file; see :class:`Place`.
    n_samples : int
    """
    parts = folder_of_parts(os.path.dirname(file))
    prepare(parts)
    part = os.path.join(parts, uuid.uuid4().hex)
    checksum = n_samples = 0
    with atomic_write(file, part, durable=False) as stream:
        for block in blocks:
            stream.write(block)
            checksum = zlib.crc32(block, checksum)
            n_samples += len(block)
        stream.write(CHECKSUM.pack(checksum))
        stream.flush()
        version = version_of(os.fstat(stream.fileno()))
    return version, n_samples


def version_of(status):
    """Tell a file from another that comes into its place: its inode and time of change."""
    return status.st_ino, status.st_mtime_ns


def folder_of_parts(folder):
    """Folder of the files that are being written."""
    return os.path.join(folder, "unfinished")


def prepare(parts):
    """Make the folders, which version control should leave alone."""
    if not os.path.isdir(parts):
        os.makedirs(parts, exist_ok=True)
        with open(os.path.join(os.path.dirname(parts), ".gitignore"), "w") as file:
            file.write("*\n")


def remove_abandoned(parts):
    """Remove what processes that were killed have left."""
    with contextlib.suppress(OSError), os.scandir(parts) as found:  # if there is such a folder
        for part in found:
            with contextlib.suppress(OSError):  # others have just finished or removed it
                if time.time() - part.stat().st_mtime > ABANDONED:
                    os.remove(part.path)


@lru_cache(maxsize=1 << 16)
def count_samples(file, size, version):
    """Count the samples of a file, of this size and version, or raise a ValueError if they are damaged."""
    with open(file, "rb") as stream:
        return check(stream, size)


def check(stream, size):
    """Count the samples of an open file, or raise a ValueError if they are damaged."""
    n_samples, rest = divmod(size - CHECKSUM.size, np.dtype(np.float32).itemsize)
    if n_samples < 1 or rest:
        raise ValueError(f"{stream.name} is cut short")
    checksum, left = 0, size - CHECKSUM.size
    while left and (block := stream.read(min(left, 1 << 20))):
        checksum = zlib.crc32(block, checksum)
        left -= len(block)
    if stream.read() != CHECKSUM.pack(checksum):
        raise ValueError(f"{stream.name} is damaged")
    return n_samples
