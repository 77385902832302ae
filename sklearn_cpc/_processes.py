"""Progress bars. Worker processes show none, as theirs would overwrite each other."""

from multiprocessing import parent_process


def shows_progress(verbose):
    """Whether to make a progress bar: a disabled one of tqdm takes a lock, which killed forks may keep."""
    return bool(verbose) and parent_process() is None


def progress(items, total, title, verbose):
    """Return ``items``, with a bar around them that stays at the end if ``verbose`` is above 1."""
    if not shows_progress(verbose):
        return items
    from tqdm.auto import tqdm  # chooses between terminals and notebooks, and warns in those without ipywidgets

    return tqdm(items, total=total, desc=title, leave=verbose > 1)
