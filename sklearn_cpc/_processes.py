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
    if verbose and parent_process() is None:
        return tqdm(items, total=total, desc=title, leave=verbose > 1)
    # Not a silent bar of tqdm's: it takes a lock that forked processes share, and keep when they are killed.
    return NoBar() if items is None else items


class NoBar:
    """A bar advanced by hand that nobody sees."""

    def set_postfix(self, *_, **__):
        """Show nothing."""

    def update(self, n=1):
        """Advance nothing."""

    def close(self):
        """Remove nothing."""
