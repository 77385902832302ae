"""Store decoded recordings: in RAM, in scratch files, or in the directory ``memory``.

The method ``read`` of each cache returns samples. It raises one of its ``errors`` if it cannot store them.
"""

import contextlib
import errno
import hashlib
import itertools
import os
import struct
import threading
import uuid
import zlib
from collections import deque
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from sklearn.utils.validation import check_memory

from .._files import ScratchFolder, atomic_write, locate, only_regular, remove_abandoned
from .files import RemoteFile, opened
from .reading import decode, printable, read_audio
from .seeking import decode_spans

DECODER_VERSION = 1  # part of the cache key: raise it whenever decoding gives other samples
CHECKSUM = struct.Struct("<I")
MAX_HASHED_BYTES = 1 << 16  # of a recording, to recognise it


@dataclass(frozen=True)
class StoredSamples:
    """Samples in a file: sliced like an array, and read only when NumPy needs an array.

    They are not memory-mapped: mapped pages would count as memory of the process, and the process would crash if
    another one truncated the file.
    """

    file: str  # float32 samples, followed by a checksum if this class wrote them
    version: tuple[int, int]  # of the file, see file_version
    offset: int  # position of the first sample, in bytes
    path: str | None  # recording from which the file can be decoded again
    fingerprint: str  # of that recording, see hash_recording
    sample_rate: int  # in Hz
    start: int  # first sample of the slice
    stop: int  # end of the slice
    owner: object = None  # deletes the file when garbage-collected; not pickled

    @classmethod
    def load(cls, file, path, fingerprint, sample_rate):
        """Return the samples of an existing file; raises an OSError or ValueError if it is missing or damaged."""
        status = os.lstat(file)
        version = file_version(status)
        n_samples = count_samples(file, status.st_size, version)
        return cls(file, version, 0, path, fingerprint, sample_rate, 0, n_samples)

    @classmethod
    def write(cls, file, path, fingerprint, sample_rate, blocks, owner=None):
        """Write blocks of samples and their checksum to a file; raises an OSError if that fails."""
        folder = os.path.dirname(file)
        checksum = n_samples = 0
        try:
            if not os.path.isdir(folder):
                os.makedirs(folder, 0o700, exist_ok=True)
                with contextlib.suppress(FileExistsError), open(os.path.join(folder, ".gitignore"), "x") as ignore:
                    ignore.write("*\n")
            mode = os.stat(folder).st_mode & 0o644  # others may read samples if they may read the folder
            with atomic_write(file, durable=False, mode=mode) as stream:
                for block in blocks:
                    stream.write(block)
                    checksum = zlib.crc32(block, checksum)
                    n_samples += len(block)
                stream.write(CHECKSUM.pack(checksum))
                stream.flush()
                version = file_version(os.fstat(stream.fileno()))
        except OSError:  # on Windows also if another process was faster and has the file open
            with contextlib.suppress(OSError, ValueError):
                return cls.load(file, path, fingerprint, sample_rate)
            raise
        return cls(file, version, 0, path, fingerprint, sample_rate, 0, n_samples, owner)

    def __len__(self):
        return self.stop - self.start

    def __getitem__(self, index):
        start, stop, _ = index.indices(len(self))
        return replace(self, start=self.start + start, stop=self.start + max(start, stop))

    def __getstate__(self):
        return {**vars(self), "owner": None}

    def __array__(self, dtype=None, copy=None):
        """Read the samples; if the file has been removed or damaged, decode the recording again."""
        if copy is False:
            raise ValueError("samples on disk cannot become an array without a copy.")
        try:
            with open(self.file, "rb", opener=only_regular) as stream:
                status = os.fstat(stream.fileno())
                if self.path is not None and file_version(status) != self.version:  # rewritten: check it
                    count_samples(self.file, status.st_size, file_version(status))
                samples = np.empty(len(self), np.float32)
                stream.seek(self.offset + samples.itemsize * self.start)
                if stream.readinto(samples.data) < samples.nbytes:
                    raise ValueError(f"{self.file} is truncated")
            return np.asarray(samples, dtype)
        except (OSError, ValueError) as error:
            if self.path is None or getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
                raise
        samples = read_audio(self.path, self.sample_rate)
        if hash_recording(self.path) != self.fingerprint:
            raise RuntimeError(f"{printable(self.path)} has changed while it was in use; start again.")
        with contextlib.suppress(OSError):
            self.write(self.file, self.path, self.fingerprint, self.sample_rate, [samples])
        return np.asarray(samples[self.start : self.stop], dtype)


def file_version(status):
    """Return the inode and modification time, which change if the file is replaced."""
    return status.st_ino, status.st_mtime_ns


def hash_recording(path):
    """Return a text that changes if a recording is replaced, even by one of the same size and modification time.

    It depends on all bytes of a short file; on the head, middle and tail of a longer one, and on when the system
    last changed it, which programs cannot set; and on what its store says of a remote one.
    """
    with opened(path) as path:
        if isinstance(path, RemoteFile):
            return path.identity
    with open(path, "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        if status.st_size <= MAX_HASHED_BYTES:
            return hashlib.sha256(file.read()).hexdigest()
        digest = hashlib.sha256(f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}".encode())
        n_bytes = MAX_HASHED_BYTES // 4
        for start in (0, status.st_size // 2, status.st_size - n_bytes):
            file.seek(start)
            digest.update(file.read(n_bytes))
    return digest.hexdigest()


@lru_cache(maxsize=1 << 16)
def count_samples(file, size, version):
    """Return the number of samples in a file of this size and version; raises a ValueError if it is damaged."""
    n_samples, n_extra_bytes = divmod(size - CHECKSUM.size, np.dtype(np.float32).itemsize)
    if n_samples < 1 or n_extra_bytes:
        raise ValueError(f"{file} is truncated")
    checksum, n_left = 0, size - CHECKSUM.size
    with open(file, "rb", opener=only_regular) as stream:
        while n_left and (block := stream.read(min(n_left, 1 << 20))):
            checksum = zlib.crc32(block, checksum)
            n_left -= len(block)
        if stream.read() != CHECKSUM.pack(checksum):
            raise ValueError(f"{file} is damaged")
    return n_samples


class DirectoryCache:
    """Decoded recordings in a directory that any number of processes may fill and read at once."""

    errors = OSError

    def __init__(self, directory):
        self.folder = os.path.join(os.fspath(directory), "sklearn_cpc")
        remove_abandoned(self.folder)

    def read(self, path, sample_rate, levels=None):
        """Return the samples of a recording, decoded if the file is missing, damaged or out of date."""
        if os.path.islink(self.folder):
            raise OSError(f"{self.folder} is a link, maybe of somebody else; remove the link")
        full_path, fingerprint = locate(path), hash_recording(path)
        key = DECODER_VERSION, os.fsencode(full_path), fingerprint, sample_rate
        file = os.path.join(self.folder, f"{hashlib.sha256(repr(key).encode()).hexdigest()[:40]}.f32")
        try:
            return StoredSamples.load(file, full_path, fingerprint, sample_rate)
        except (OSError, ValueError):
            blocks = decode(path, sample_rate, levels=levels)
            return StoredSamples.write(file, full_path, fingerprint, sample_rate, blocks)


class ScratchCache:
    """Decoded recordings while they are in use: in RAM up to a budget, the rest in a scratch directory."""

    errors = OSError

    def __init__(self, max_bytes):
        self.max_bytes = max_bytes
        self.n_bytes = 0  # in RAM; set it to 0 when the samples read so far are no longer in use
        self._lock = threading.Lock()
        self._folder: Any = None  # a ScratchFolder, created when needed
        remove_abandoned()

    def read(self, path, sample_rate, levels=None, spans=None):
        """Return the samples of a recording, or of some of its spans one after the other, decoded."""
        held: deque[np.ndarray] = deque()
        if spans is None:
            blocks, source = decode(path, sample_rate, levels=levels), locate(path)
        else:
            blocks, source = decode_spans(path, sample_rate, spans, levels), None
        for block in blocks:
            held.append(block)
            with self._lock:
                self.n_bytes += block.nbytes
                if exceeded := self.n_bytes > self.max_bytes:
                    self.n_bytes -= sum(block.nbytes for block in held)
                    if self._folder is None:
                        self._folder = ScratchFolder()
            if exceeded:
                file = os.path.join(self._folder.path, f"{uuid.uuid4().hex}.f32")
                leaving_ram = (held.popleft() for _ in range(len(held)))
                blocks = itertools.chain(leaving_ram, blocks)
                fingerprint = hash_recording(source) if source else ""
                try:
                    return StoredSamples.write(file, source, fingerprint, sample_rate, blocks, owner=self._folder)
                except OSError as error:
                    raise OSError(
                        error.errno,
                        f"decoded recordings exceed {self.max_bytes / 1e9:g} GB, and the temporary folder "
                        f"{self._folder.path!r} cannot hold them ({error.strerror}); free some space, or set "
                        "memory= or the environment variable TMPDIR to a folder with more",
                    ) from error
        return np.concatenate(held)


class JoblibCache:
    """Decoded recordings in a ``joblib.Memory``."""

    errors = Exception  # joblib raises many kinds if its directory is full or damaged

    def __init__(self, memory):
        self._read = check_memory(memory).cache(_read_recording)

    def read(self, path, sample_rate, levels=None):
        """Return the samples of a recording, decoded if joblib does not have them."""
        samples = self._read(locate(path), hash_recording(path), sample_rate)
        if samples.dtype != np.float32 or samples.ndim != 1:
            raise TypeError(f"the cached samples are damaged: {samples!r}")
        if not isinstance(samples, np.memmap):
            return samples
        file = str(samples.filename)
        version, n_samples = file_version(os.stat(file)), len(samples)
        return StoredSamples(file, version, samples.offset, None, "", sample_rate, 0, n_samples)


def _read_recording(path, fingerprint, sample_rate):
    """Decode a recording; its fingerprint is part of joblib's key."""
    return read_audio(path, sample_rate)
