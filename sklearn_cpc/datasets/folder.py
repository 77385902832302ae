"""Read a folder of recordings that has one sub-folder per class."""

import re
from os import PathLike
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import validate_params

from .._constraints import Each
from .._warnings import warn

AUDIO_EXTENSIONS = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")


@validate_params(
    {
        "directory": [str, PathLike],
        "group_from": [str, None],
        "extensions": [str, Each(str)],
    },
    prefer_skip_nested_validation=True,
)
def load_audio_folder(directory, *, group_from=None, extensions=AUDIO_EXTENSIONS):
    r"""List the audio files of a directory that has one sub-folder per class.

    This function reads file names only. Estimators open the files later.

    Parameters
    ----------
    directory : str or path-like
        Folder with one sub-folder per class, searched recursively. Names that start with a dot are skipped.
    group_from : str or None, default=None
        Regular expression to search for in each file name (without folders). Its first capturing group, or its
        match if it has none, is the group of the file: its recording site, speaker or fold. None: no groups.
    extensions : str or tuple or list of str, default=(".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")
        Endings of the names of audio files, in upper or lower case. Other files are ignored.

    Returns
    -------
    corpus : :class:`~sklearn.utils.Bunch`
        With these attributes:

        paths : list of str, of length n_files
            The audio files, sorted by class and then by name.
        target : str ndarray of shape (n_files,)
            Class of each file: the name of its sub-folder of `directory`.
        groups : str ndarray of shape (n_files,) or None
            Group of each file, for cross-validation by group. None if `group_from` is None.
        target_names : list of str
            The classes that have files, sorted.

    Raises
    ------
    ValueError
        If `directory` is not a directory or has no class folder with audio, if `group_from` is not a valid
        regular expression or does not match every file name, or if a parameter is invalid.

    Warns
    -----
    UserWarning
        If audio files are directly in `directory`, or if a class folder has no audio. Both are left out.

    See Also
    --------
    make_synthetic_corpus : Write a corpus that this function can read.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn_cpc.datasets import load_audio_folder, make_synthetic_corpus
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     written = make_synthetic_corpus(directory, n_per_class=2, duration=0.5, random_state=0)
    ...     corpus = load_audio_folder(directory, group_from=r"^(\d+)-")
    >>> corpus.paths == written.paths
    True
    >>> corpus.target[:4].tolist(), corpus.groups[:4].tolist()
    (['alarm', 'alarm', 'bird', 'bird'], ['1', '2', '1', '2'])
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise ValueError(f"directory={str(directory)!r} is not a directory; give one with class folders.")
    extensions = (extensions,) if isinstance(extensions, str) else extensions
    class_folders = [path for path in directory.iterdir() if path.is_dir() and not path.name.startswith(".")]
    found = {path.name: find_audio(path.rglob("*"), path, extensions) for path in sorted(class_folders, key=str)}
    empty = [name for name, paths in found.items() if not paths]
    loose = [path.name for path in find_audio(directory.iterdir(), directory, extensions)]
    if len(empty) == len(found):
        raise ValueError(
            f"directory={str(directory)!r} has no class folder with audio: it has {len(empty)} folder(s) "
            f"without audio{quote_first(empty)} and {len(loose)} audio file(s) outside of folders"
            f"{quote_first(loose)}. Put the audio of each class in its own folder, with one of the extensions "
            f"{', '.join(extensions)}."
        )
    left_out = {"audio file(s) outside of the class folders": loose, "class folder(s) without audio": empty}
    for description, names in left_out.items():
        if names:
            warn(f"{len(names)} {description} in {str(directory)!r} are left out{quote_first(names)}.")
    paths = [path for class_paths in found.values() for path in class_paths]
    target = [name for name, class_paths in found.items() for _ in class_paths]
    groups = None if group_from is None else find_groups([path.name for path in paths], group_from)
    return as_bunch(paths, target, groups)


def find_audio(paths, directory, extensions):
    """Sort the audio files among paths under a directory. Skip hidden files and files in hidden folders."""
    endings = tuple(extension.lower() for extension in extensions)
    found = [path for path in paths if path.name.lower().endswith(endings) and path.is_file()]
    return sorted((path for path in found if "/." not in f"/{path.relative_to(directory).as_posix()}"), key=str)


def find_groups(names, group_from):
    """Search each file name for its group."""
    try:
        pattern = re.compile(group_from)
    except re.error as error:
        raise ValueError(f"group_from={group_from!r} is not a valid regular expression: {error}.") from error
    matches = [pattern.search(name) for name in names]
    groups = [match and match[min(1, pattern.groups)] for match in matches]
    missed = [name for name, group in zip(names, groups, strict=True) if group is None]
    if missed:
        raise ValueError(
            f"group_from={group_from!r} finds no group in {len(missed)} of {len(names)} file names"
            f"{quote_first(missed)}; use an expression that matches every name."
        )
    return groups


def as_bunch(paths, target, groups=None, **attributes):
    """Put paths and labels into a Bunch."""
    return Bunch(
        paths=[str(path) for path in paths],
        target=np.array(target),
        groups=None if groups is None else np.array(groups),
        target_names=sorted(set(target)),
        **{name: np.array(values) for name, values in attributes.items()},
    )


def quote_first(names, n_shown=3):
    """Quote the first few names in parentheses, or return an empty string if there are none."""
    shown = [repr(name) for name in names[:n_shown]] + ["..."] * (len(names) > n_shown)
    return f" ({', '.join(shown)})" if shown else ""
