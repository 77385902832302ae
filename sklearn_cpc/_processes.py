"""What worker processes do differently: they show no progress bars."""

from multiprocessing import parent_process

from tqdm import tqdm


def progress(items, total, title, verbose):
    """Return a tqdm progress bar around ``items``.

    It is silent if not verbose, and in worker processes, whose bars would overwrite each other.

    Parameters
    ----------
    items : iterable or None
        None for a bar that the caller advances.
    total : int
        Number of items.
    title : str
        Shown beside the bar.
    verbose : int
        0: silent. 1: the bar is removed at the end. 2: it stays.
    """
    if verbose and parent_process() is None:
        return tqdm(items, total=total, desc=title, leave=verbose > 1)
    # A disabled tqdm bar would still take a lock, which forked processes share and keep when they are killed.
    return _SilentBar() if items is None else items


class _SilentBar:
    def set_postfix(self, *args, **kwargs):
        pass

    def update(self, n=1):
        pass

    def close(self):
        pass
