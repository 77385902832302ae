"""Atomic writing: a file is complete or not there at all."""

import contextlib
import os


@contextlib.contextmanager
def atomic_write(target, partial, *, durable):
    """Open a file that replaces ``target`` at the end of the block, or not at all if the block fails.

    Parameters
    ----------
    target : path-like
        The file to create or replace.
    partial : path-like
        File to write to until then, in the same file system; removed at the end.
    durable : bool
        Whether the file must survive a power cut, as far as the system can promise that.

    Yields
    ------
    binary file
    """
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(partial, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(partial)
        raise
    if durable:
        with contextlib.suppress(OSError):  # some systems cannot sync a folder
            folder = os.open(os.path.dirname(target) or os.curdir, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
