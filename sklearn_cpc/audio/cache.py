"""Store decoded recordings: in RAM, in scratch files, or in the directory ``memory``.

The ``read`` method of each cache returns the samples of a recording. It raises an error of the types in ``errors``
if they cannot be stored.
"""

import contextlib
import errno
import hashlib
import itertools
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
from collections import deque
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from sklearn.utils.validation import check_memory

from .._files import atomic_write
from .reading import decode, printable, read_audio
from .seeking import decode_spans

DECODER_VERSION = 1  # part of the cache key: raise it whenever decoding gives other samples
CHECKSUM = struct.Struct("<I")
UNFINISHED_FOLDER = "unfinished"
MAX_UNFINISHED_AGE = 24 * 3600  # seconds; the process that was writing an older file must have been killed


@dataclass(frozen=True)
class StoredSamples:
    """Samples in a file: sliced like an array, and read only when NumPy needs an array.

    They are not memory-mapped: mapped pages would count as memory of the process, and the process would crash if
    another one truncated the file.
    """

    file: str  # float32 samples, followed by a checksum if this class wrote them
    version: tuple[int, int]  # of the file, see file_version
    offset: int  # position of the first sample, in bytes
    n_total: int  # samples in the file
    path: str | None  # recording from which the file can be decoded again
    sample_rate: int  # in Hz
    start: int  # first sample of the slice
    stop: int  # end of the slice
    owner: object = None  # deletes the file when garbage-collected; not pickled

    @classmethod
    def load(cls, file, path, sample_rate):
        """Return the samples of an existing file; raises an OSError or ValueError if it is missing or damaged."""
        status = os.stat(file)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{file} is not a regular file")
        version = file_version(status)
        n_samples = count_samples(file, status.st_size, version)
        return cls(file, version, 0, n_samples, path, sample_rate, 0, n_samples)

    @classmethod
    def write(cls, file, path, sample_rate, blocks, owner=None):
        """Write blocks of samples and their checksum to a file; raises an OSError if that fails."""
        unfinished = os.path.join(os.path.dirname(file), UNFINISHED_FOLDER)
        checksum = n_samples = 0
        try:
            if not os.path.isdir(unfinished):
                os.makedirs(unfinished, exist_ok=True)
                with open(os.path.join(os.path.dirname(file), ".gitignore"), "w") as gitignore:
                    gitignore.write("*\n")
            with atomic_write(file, os.path.join(unfinished, uuid.uuid4().hex), durable=False) as stream:
                for block in blocks:
                    stream.write(block)
                    checksum = zlib.crc32(block, checksum)
                    n_samples += len(block)
                stream.write(CHECKSUM.pack(checksum))
                stream.flush()
                version = file_version(os.fstat(stream.fileno()))
        except OSError:  # on Windows also if another process was faster and has the file open
            with contextlib.suppress(OSError, ValueError):
                return cls.load(file, path, sample_rate)
            raise
        return cls(file, version, 0, n_samples, path, sample_rate, 0, n_samples, owner)

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
            with open(self.file, "rb") as stream:
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
        if len(samples) != self.n_total:
            raise RuntimeError(f"{printable(self.path)} has changed while it was in use; start again.")
        with contextlib.suppress(OSError):
            self.write(self.file, self.path, self.sample_rate, [samples])
        return np.asarray(samples[self.start : self.stop], dtype)


def file_version(status):
    """Return the inode and modification time, which change if the file is replaced."""
    return status.st_ino, status.st_mtime_ns


@lru_cache(maxsize=1 << 16)
def count_samples(file, size, version):
    """Return the number of samples in a file of this size and version; raises a ValueError if it is damaged."""
    n_samples, n_extra_bytes = divmod(size - CHECKSUM.size, np.dtype(np.float32).itemsize)
    if n_samples < 1 or n_extra_bytes:
        raise ValueError(f"{file} is truncated")
    checksum, n_left = 0, size - CHECKSUM.size
    with open(file, "rb") as stream:
        while n_left and (block := stream.read(min(n_left, 1 << 20))):
            checksum = zlib.crc32(block, checksum)
            n_left -= len(block)
        if stream.read() != CHECKSUM.pack(checksum):
            raise ValueError(f"{file} is damaged")
    return n_samples


class DirectoryCache:
    """Decoded recordings in a directory that any number of processes may fill and read at once.

    Complete files are renamed into place, so no process sees half of one. Damaged files are decoded again.
    """

    errors = OSError

    def __init__(self, directory):
        self.folder = os.path.join(os.fspath(directory), "sklearn_cpc")
        with contextlib.suppress(OSError), os.scandir(os.path.join(self.folder, UNFINISHED_FOLDER)) as files:
            for file in files:
                with contextlib.suppress(OSError):  # another process may have just renamed or removed it
                    if time.time() - file.stat().st_mtime > MAX_UNFINISHED_AGE:
                        os.remove(file.path)

    def read(self, path, status, sample_rate, levels=None):
        """Return the samples of a recording, decoded if the file is missing, damaged or out of date."""
        full_path = os.path.abspath(path)
        key = DECODER_VERSION, os.fsencode(full_path), status.st_size, status.st_mtime_ns, sample_rate
        file = os.path.join(self.folder, f"{hashlib.sha256(repr(key).encode()).hexdigest()[:40]}.f32")
        try:
            return StoredSamples.load(file, full_path, sample_rate)
        except (OSError, ValueError):
            return StoredSamples.write(file, full_path, sample_rate, decode(path, sample_rate, levels=levels))


class ScratchCache:
    """Decoded recordings while they are in use: in RAM up to a budget, the rest in a scratch directory."""

    errors = OSError

    def __init__(self, max_bytes):
        self.max_bytes = max_bytes
        self.n_bytes = 0  # in RAM; set it to 0 when the samples read so far are no longer in use
        self._lock = threading.Lock()
        self._folder = ""  # created when needed

    def read(self, path, status, sample_rate, levels=None, spans=None):
        """Return the samples of a recording, or of some of its spans one after the other, decoded."""
        held: deque[np.ndarray] = deque()
        if spans is None:
            blocks, source = decode(path, sample_rate, levels=levels), os.path.abspath(path)
        else:
            blocks, source = decode_spans(path, sample_rate, spans, levels), None
        for block in blocks:
            held.append(block)
            with self._lock:
                self.n_bytes += block.nbytes
                if exceeded := self.n_bytes > self.max_bytes:
                    self.n_bytes -= sum(block.nbytes for block in held)
                    if not self._folder:
                        self._folder = tempfile.mkdtemp(prefix="sklearn_cpc-")
                        weakref.finalize(self, _remove_in_process, self._folder, os.getpid())
            if exceeded:
                file = os.path.join(self._folder, f"{uuid.uuid4().hex}.f32")
                leaving_ram = (held.popleft() for _ in range(len(held)))
                blocks = itertools.chain(leaving_ram, blocks)
                try:
                    return StoredSamples.write(file, source, sample_rate, blocks, owner=self)
                except OSError as error:
                    raise OSError(
                        error.errno,
                        f"decoded recordings exceed {self.max_bytes / 1e9:g} GB, and the temporary folder "
                        f"{self._folder!r} cannot hold them ({error.strerror}); free some space, or set memory= "
                        "or the environment variable TMPDIR to a folder with more",
                    ) from error
        return np.concatenate(held)


def _remove_in_process(folder, pid):
    """Remove a folder, but only in the process that made it, not in its forks."""
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


class JoblibCache:
    """Decoded recordings in a ``joblib.Memory``."""

    errors = Exception  # joblib raises many kinds if its directory is full or damaged

    def __init__(self, memory):
        self._read = check_memory(memory).cache(_read_recording)

    def read(self, path, status, sample_rate, levels=None):
        """Return the samples of a recording, decoded if joblib does not have them."""
        samples = self._read(os.path.abspath(path), status.st_size, status.st_mtime_ns, sample_rate)
        if samples.dtype != np.float32 or samples.ndim != 1:
            raise TypeError(f"the cached samples are damaged: {samples!r}")
        if not isinstance(samples, np.memmap):
            return samples
        file = str(samples.filename)
        version, n_samples = file_version(os.stat(file)), len(samples)
        return StoredSamples(file, version, samples.offset, n_samples, None, sample_rate, 0, n_samples)


def _read_recording(path, size, mtime_ns, sample_rate):
    """Decode a recording; its size and modification time are part of joblib's key."""
    return read_audio(path, sample_rate)
