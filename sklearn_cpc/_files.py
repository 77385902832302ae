"""Files that survive faults: complete or not there at all, and removed even if their process is killed.

Whoever makes unfinished files locks a file beside them. The system releases the lock when the process ends,
however it ends, so a later process knows what it may remove.
"""

import contextlib
import functools
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
import weakref

URL = re.compile(r"([a-z]+::)*[a-zA-Z][\w+.-]+://")  # not "C://", a drive of Windows
LOCK_NAME = re.compile(r"\.sklearn_cpc-[0-9a-f]{16}\.lock")  # protects the file or folder without ".lock"

if sys.platform == "win32":
    import msvcrt

    def _lock(file, wait):
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file, wait):
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def is_url(path):
    """Whether a path is a URL, and not the name of a file that looks like one."""
    return isinstance(path, str) and bool(URL.match(path)) and not os.path.lexists(path)


def locate(path, resolve=os.path.abspath):
    """Return a path that does not depend on the working directory, or a URL as it is."""
    path = getattr(path, "url", path)
    return path if is_url(path) else resolve(path)


def only_regular(path, flags):
    """Open a file for :func:`open`; raises an OSError for links, folders, pipes and devices, without waiting."""
    descriptor = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is not a regular file")
    return descriptor


def _create(path, mode):
    return open(path, "xb", opener=functools.partial(os.open, mode=mode))


def claim(path):
    """Create a private file, locked until it is closed; raise a FileExistsError if another process locked it."""
    while True:
        _remove_if_abandoned(path)
        file = _create(path, 0o600)
        with contextlib.suppress(OSError):  # a file system without locks: the file stays if the process is killed
            _lock(file, wait=True)
        with contextlib.suppress(FileNotFoundError):  # another process removed it before it was locked
            if os.path.samestat(os.fstat(file.fileno()), os.lstat(path)):
                return file
        file.close()


def is_locked(path):
    """Whether a process that is known to live has locked a file; False on file systems without locks."""
    with contextlib.suppress(OSError), open(path, "r+b", opener=only_regular) as file:
        try:
            _lock(file, wait=False)
        except OSError as error:
            return isinstance(error, (BlockingIOError, PermissionError))
    return False


def release(lock, protected=None):
    """Remove a file that was claimed, after the file or folder that it protects."""
    if protected is not None:
        shutil.rmtree(protected, ignore_errors=True)
        with contextlib.suppress(OSError):  # it is gone, or was renamed
            os.remove(protected)
    if sys.platform == "win32":  # which removes no open files
        lock.close()
    with contextlib.suppress(OSError):
        os.remove(lock.name)
    lock.close()


def remove_abandoned(parent=None):
    """Remove what killed processes of this user left unfinished in a folder, or in the temporary one."""
    with contextlib.suppress(OSError):
        parent = parent or tempfile.gettempdir()
        for name in filter(LOCK_NAME.fullmatch, os.listdir(parent)):
            path = os.path.join(parent, name)
            _remove_if_abandoned(path, path.removesuffix(".lock"))


def _remove_if_abandoned(path, protected=None):
    with contextlib.suppress(OSError), open(path, "r+b", opener=only_regular) as file:
        _lock(file, wait=False)
        status = os.fstat(file.fileno())
        is_own = sys.platform == "win32" or status.st_uid == os.geteuid()
        if is_own and os.path.samestat(status, os.lstat(path)):
            release(file, protected)


def _scratch_path(parent):
    return os.path.join(parent, f".sklearn_cpc-{secrets.token_hex(8)}")


class ScratchFolder:
    """A private folder that is removed with this object or, if its process is killed, by a later process."""

    def __init__(self, parent=None):
        self.path = _scratch_path(parent or tempfile.gettempdir())
        lock = claim(f"{self.path}.lock")
        self.remove = weakref.finalize(self, _remove_in_process, lock, self.path, os.getpid())
        os.mkdir(self.path, 0o700)

    def __enter__(self):
        return self.path

    def __exit__(self, *_):
        self.remove()


def _remove_in_process(lock, folder, pid):
    """Remove a scratch folder, but only in the process that made it, not in its forks."""
    if os.getpid() == pid:
        release(lock, folder)


@contextlib.contextmanager
def atomic_write(target, *, durable, mode=0o666):
    """Open a file that replaces ``target`` at the end of the block, or not at all if the block fails.

    A durable file survives a power cut, as far as the system can promise that. The umask restricts ``mode``.
    """
    folder = os.path.dirname(target) or os.curdir
    partial = _scratch_path(folder)
    lock = claim(f"{partial}.lock")
    try:
        with _create(partial, mode) as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(partial, target)
    finally:
        release(lock, partial)
    if durable:
        with contextlib.suppress(OSError):  # some systems cannot sync a folder
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
