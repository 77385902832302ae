"""Read a folder of recordings that has one sub-folder per class."""

import re
import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

AUDIO_EXTENSIONS = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")


def load_audio_folder(
    directory: str | PathLike[str],
    *,
    group_from: str | None = None,
    extensions: Sequence[str] = AUDIO_EXTENSIONS,
) -> Bunch:
    r"""List the audio files of a directory that has one sub-folder per class.

    Only names are read; the files themselves are opened later, by whatever uses the paths.

    Parameters
    ----------
    directory : str or path-like
        Folder whose sub-folders are the classes. Each one is searched recursively, and files and folders
        whose name starts with a dot are skipped.
    group_from : str or None, default=None
        Regular expression searched in each file's name (without its folders). Its first capturing group, or
        the whole match when it has none, is the group of the file: a recording site, a speaker, a fold.
        None gives no groups.
    extensions : sequence of str, default=(".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")
        Endings of the names of audio files, in any case. Other files are ignored.

    Returns
    -------
    corpus : :class:`~sklearn.utils.Bunch`
        With these attributes:

        paths : list of str, of length n_files
            The audio files, sorted within each class, class after class.
        target : str ndarray of shape (n_files,)
            Class of each file: the name of its folder in `directory`.
        groups : str ndarray of shape (n_files,) or None
            Group of each file, for cross-validation by group; None when `group_from` is None.
        target_names : list of str
            The classes that have files, sorted.

    Raises
    ------
    ValueError
        If `directory` is not a directory or has no class folder with audio, if `group_from` is not a valid
        regular expression, or if it matches nothing in the name of some file.

    Warns
    -----
    UserWarning
        If audio files lie directly in `directory`, or if a class folder has no audio. Both are left out.

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
    endings = (extensions,) if isinstance(extensions, str) else tuple(extensions)
    found = {folder.name: _audio_under(folder, endings) for folder in _class_folders(directory)}
    loose = [path for path in _visible(directory.iterdir(), directory) if _is_audio(path, endings)]
    if not any(found.values()):
        raise ValueError(_nothing_found(directory, list(found), loose, endings))
    _warn_of_left_out(directory, [name for name, paths in found.items() if not paths], loose)
    return as_bunch({name: paths for name, paths in found.items() if paths}, group_from)


def _visible(paths, directory):
    """Sort the paths under a directory, less those that are hidden or lie in a hidden folder."""
    return sorted((path for path in paths if "/." not in f"/{path.relative_to(directory).as_posix()}"), key=str)


def _is_audio(path, endings):
    return path.name.lower().endswith(tuple(ending.lower() for ending in endings)) and path.is_file()


def _class_folders(directory):
    return [path for path in _visible(directory.iterdir(), directory) if path.is_dir()]


def _audio_under(folder, endings):
    return [path for path in _visible(folder.rglob("*"), folder) if _is_audio(path, endings)]


def _nothing_found(directory, folders, loose, endings):
    names = [path.name for path in loose]
    return (
        f"directory={str(directory)!r} has no class folder with audio: it has {len(folders)} folder(s) "
        f"without audio{_first(folders)} and {len(names)} audio file(s) outside of folders{_first(names)}. "
        f"Put the audio of each class in its own folder, with one of the extensions {', '.join(endings)}."
    )


def _warn_of_left_out(directory, empty, loose):
    if loose:
        warnings.warn(
            f"{len(loose)} audio file(s) lie directly in {str(directory)!r} and are left out, "
            f"the first being {loose[0].name!r}; move them to the folder of their class.",
            stacklevel=3,
        )
    if empty:
        warnings.warn(
            f"{len(empty)} class folder(s) of {str(directory)!r} have no audio and are left out{_first(empty)}.",
            stacklevel=3,
        )


def as_bunch(paths_by_class, group_from):
    paths = [path for of_class in paths_by_class.values() for path in of_class]
    return Bunch(
        paths=[str(path) for path in paths],
        target=np.array([name for name, of_class in paths_by_class.items() for _ in of_class]),
        groups=None if group_from is None else _find_groups([path.name for path in paths], group_from),
        target_names=list(paths_by_class),
    )


def _find_groups(names, group_from):
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
            f"{_first(missed)}; use an expression that matches every name."
        )
    return np.array(groups)


def _first(names, n_shown=3):
    """Quote the first few names in parentheses, to follow a count; nothing when there are none."""
    shown = [repr(name) for name in names[:n_shown]] + ["..."] * (len(names) > n_shown)
    return f" ({', '.join(shown)})" if shown else ""
