"""Files that are written whole or not at all."""

import contextlib
import os


@contextlib.contextmanager
def atomic_write(target, part, *, durable):
    """Open a file that takes its place when the block ends; what was there stays until then, whatever happens.

    Parameters
    ----------
    target : path-like
        The place.
    part : path-like
        Where it is written, in the same file system; gone at the end.
    durable : bool
        Whether it has to outlive a power cut, as far as the system can promise that.

    Yields
    ------
    binary file
    """
    try:
        with open(part, "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(part)
        raise
    if durable:
        sync_folder(os.path.dirname(target))


def sync_folder(folder):
    """Let a new name in a folder outlive a power cut, where the system can promise that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder or os.curdir, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
