"""Decoded recordings in a directory, which processes may fill and read at once, and which may be damaged.

A recording is a file of float32 samples with a checksum at the end. It is written beside its place and renamed
into it: nobody ever sees half of one, and one that is mapped into memory stays as it is when it is replaced.
Whatever does not match its checksum is decoded anew.
"""

import contextlib
import errno
import hashlib
import os
import stat
import struct
import time
import uuid
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

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
        Inode and time of change of the file, so that its mapping is not taken for that of another.
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

    Arrays mapped into memory would each keep a file open, and a system allows about a thousand.

    Attributes
    ----------
    place : Place
        What :func:`mapped` takes.
    start, stop : int
        The stretch of these samples.
    """

    place: Place
    start: int
    stop: int

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
        return OnDisk(self.place, self.start + start, self.start + max(start, stop))

    def __array__(self, dtype=None, copy=None):
        """Return the samples, mapped into memory unless ``dtype`` or ``copy`` asks for more."""
        samples = np.asanyarray(mapped(self.place)[self.start : self.stop], dtype)
        return samples.copy() if copy else samples


@lru_cache(maxsize=512)
def mapped(place):
    """Map the samples of a recording into memory; if they have been removed or cut since, decode it again."""
    try:
        return map_samples(place)
    except (OSError, ValueError) as error:
        if place.path is None or getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
            raise
    samples = read_audio(place.path, place.sample_rate)
    if len(samples) != place.n_samples:
        raise RuntimeError(f"{printable(place.path)} has changed while it was in use; start again.")
    try:
        write(place.file, samples)
        return map_samples(place)
    except (OSError, ValueError):
        return samples


def map_samples(place):
    """Map samples into memory; those of a file that has come into its place since they were found are checked."""
    with open(place.file, "rb") as stream:
        status = os.fstat(stream.fileno())
        if place.path is not None and version_of(status) != place.version:
            check(stream, status.st_size)
        return np.memmap(stream, np.float32, "r", place.offset, (place.n_samples,))


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

    def keep(self, path, status, sample_rate, samples):
        """Keep the samples of a recording and return them as they are found, or raise an OSError."""
        file = self._file_of(path, status, sample_rate)
        try:
            version = write(file, samples)
        except OSError:
            found = self.find(path, status, sample_rate)
            if found is None:
                raise
            return found  # that of a faster process, where a file that is mapped cannot be replaced
        return OnDisk(Place(file, version, 0, len(samples), os.path.abspath(path), sample_rate), 0, len(samples))

    def _file_of(self, path, status, sample_rate):
        key = DECODING, os.fsencode(os.path.abspath(path)), status.st_size, status.st_mtime_ns, sample_rate
        return os.path.join(self.folder, f"{hashlib.sha256(repr(key).encode()).hexdigest()[:40]}.f32")


def write(file, samples):
    """Write samples and their checksum, all at once for whoever reads; returns the version of the file."""
    parts = folder_of_parts(os.path.dirname(file))
    prepare(parts)
    part = os.path.join(parts, uuid.uuid4().hex)
    try:
        with open(part, "xb") as stream:
            stream.write(samples)
            stream.write(CHECKSUM.pack(zlib.crc32(samples)))
        written = os.stat(part)
        os.replace(part, file)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(part)
        raise
    return version_of(written)


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
