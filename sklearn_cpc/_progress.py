"""Progress bars that know when to be quiet."""

from multiprocessing import parent_process

from tqdm import tqdm


def progress(items, total, title, verbose):
    """Return a tqdm bar around ``items``.

    Silent when not verbose, and in the workers of a parallel grid, whose bars would overwrite each other.

    Parameters
    ----------
    items : iterable or None
        None for a bar advanced by hand.
    total : int
        Number of items.
    title : str
        What is being done.
    verbose : int
        0: silent. 1: the bar is removed at the end. 2: it stays.
    """
    quiet = not verbose or parent_process() is not None
    if quiet and items is not None:
        return items  # even silent bars take a lock that forked processes share, and keep when they are killed
    return tqdm(items, total=total, desc=title, disable=quiet, leave=verbose > 1)
