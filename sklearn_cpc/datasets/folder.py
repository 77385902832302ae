"""Read a folder of recordings that has one sub-folder per class."""

import os
import re
from collections import Counter, deque
from pathlib import Path

import numpy as np
import soundfile as sf
from sklearn.utils import Bunch

from .._constraints import Each, check_parameters
from .._files import is_url
from .._warnings import warn
from ..audio.files import base_name, list_urls

# The endings of formats that are not the format's name. RAW and MAT are left out: no header, and any numbers.
ENDINGS = {"RAW": "", "MAT4": "", "MAT5": "", "AIFF": ".aiff .aif .aifc", "AU": ".au .snd", "CAF": ".caf .caff"}
ENDINGS |= {"FLAC": ".flac .fla", "IRCAM": ".sf .ircam", "MP3": ".mp3 .mp2 .mp1 .mpga .mpa"}
ENDINGS |= {"NIST": ".sph .nist", "OGG": ".ogg .oga .opus", "SVX": ".iff .svx .8svx"}
ENDINGS |= {"WAV": ".wav .wave .bwf .bwav .bw64 .amb"}
# The endings of what lies beside recordings.
COMPANIONS = """
    .txt .csv .tsv .json .jsonl .xml .yaml .yml .toml .md .rst .html .htm .pdf .bib .log .ini .cfg .db .xls .xlsx
    .docx .png .jpg .jpeg .gif .svg .py .ipynb .r .m .sh .lab .textgrid .eaf .svl .aup .aup3 .cue .md5 .sha256
    .npy .npz .parquet .pkl .h5 .hdf5 license readme copying citation.cff changelog makefile
"""


@check_parameters(directory=[str, os.PathLike], group_from=[str, None], extensions=[str, Each(str), None])
def load_audio_folder(directory, *, group_from=None, extensions=None):
    r"""List the audio files of a directory that has one sub-folder per class.

    This function reads file names only. Estimators open the files later.

    Parameters
    ----------
    directory : str or path-like
        Folder with one sub-folder per class, searched recursively; it may be a URL. Names that start with a dot
        are skipped. Links are followed. A file that several names of a class lead to is listed once.
    group_from : str or None, default=None
        Regular expression to search for in each file name (without folders). Its first capturing group, or its
        match if it has none, is the group of the file: its recording site, speaker or fold. None: no groups.
    extensions : str or tuple or list of str or None, default=None
        Endings of the names of audio files, in upper or lower case. Other files are ignored. None: all endings
        of the formats that your libsndfile reads, with a warning about what else may be audio, such as ``.m4a``.

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
    OSError
        If a folder cannot be read.

    Warns
    -----
    UserWarning
        If something is left out: audio that libsndfile cannot read, links that lead nowhere, files of unknown
        kind, audio files directly in `directory`, or class folders without audio. If classes share recordings.

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
    directory = directory if is_url(directory) else Path(directory)
    if isinstance(directory, Path) and not directory.is_dir():
        raise ValueError(f"directory={str(directory)!r} is not a directory; give one with class folders.")
    ignored = tuple(COMPANIONS.split()) if extensions is None else ("",)  # endings; "" ends all names
    extensions = audio_endings() if extensions is None else extensions
    endings = tuple(map(str.lower, [extensions] if isinstance(extensions, str) else extensions))
    found: dict = {"": {}}  # per class, the path of each file by what all its names share
    other: list = []
    if is_url(directory):
        audio, other = find_urls(directory, endings, ignored)
        for name, url in audio.items():
            found.setdefault(name.partition("/")[0] if "/" in name else "", {})[url] = url
    else:
        top_files, class_folders = list_folder(directory, endings, ignored)
        paths_by_class = {folder.name: find_audio(folder, endings, ignored) for folder in class_folders}
        for name, paths in {"": {path: path for path in top_files}, **paths_by_class}.items():
            found[name] = {}
            for real_path, path in paths.items():
                if path.name.lower().endswith(endings) and path.is_file():
                    status = path.stat()
                    file = (status.st_dev, status.st_ino) if status.st_nlink > 1 else real_path
                    found[name].setdefault(file, path)
                else:
                    other.append(path.relative_to(directory).as_posix())
    loose = found.pop("").values()
    files = [item for class_files in found.values() for item in class_files.items()]
    n_classes = Counter(file for file, _ in files)
    left_out = {
        "class folder(s) without audio": [name for name, class_files in found.items() if not class_files],
        "audio file(s) outside of the class folders": list(map(base_name, map(str, loose))),
        "other file(s), which may be audio": other,
    }
    reports = [f"{len(names)} {kind}{quote_first(names)}" for kind, names in left_out.items() if names]
    if not any(found.values()):
        reports = reports or ["no folders"]
        raise ValueError(
            f"directory={str(directory)!r} has no class folder with audio: it has {', '.join(reports)}. "
            f"Put the audio of each class in its own folder, with one of the extensions {', '.join(endings)}."
        )
    for report in reports:
        warn(f"Left out of {str(directory)!r}: {report}.")
    if shared := [path.relative_to(directory).as_posix() for file, path in files if n_classes[file] > 1]:
        warn(f"{len(shared)} names in {str(directory)!r} lead to files of several classes{quote_first(shared)}.")
    paths = [path for _, path in files]
    target = [name for name, class_files in found.items() for _ in class_files]
    groups = None if group_from is None else find_groups([base_name(str(path)) for path in paths], group_from)
    return as_bunch(paths, target, groups)


def find_urls(folder, endings, ignored):
    """Return the URLs of audio in a folder by their names in it, and the names of what else may be audio."""
    urls = list_urls(folder)
    audio = {name: url for name, url in urls.items() if name.lower().endswith(endings)}
    return audio, [name for name in urls if not name.lower().endswith((*endings, *ignored))]


def audio_endings():
    """Return the endings of the names of files that libsndfile reads."""
    return tuple(" ".join(ENDINGS.get(name, f".{name.lower()}") for name in sf.available_formats()).split())


def list_folder(folder, endings, ignored):
    """Return the files that are not ignored and the sub-folders, both sorted by name, without hidden ones."""
    files, folders = [], []
    for path in sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=str):
        name = path.name.lower()
        if path.is_dir():
            folders.append(path)
        elif name.endswith(endings) or not name.endswith(ignored) or not path.exists():
            files.append(path)
    return files, folders


def find_audio(class_folder, *endings):
    """Return the files that :func:`list_folder` finds under a class folder by their real paths, sorted by name.

    A link to a folder that contains the class folder is not followed: other classes may be there too.
    """
    folder = Path(os.path.abspath(class_folder))  # ".." has no name of its own
    named = folder.parent.resolve() / folder.name
    pending, visited = deque([class_folder]), {*named.parents, *named.resolve().parents}
    found: dict = {}
    links: list = []
    while pending:
        folder = pending.popleft()
        real_folder = folder.resolve()
        if real_folder in visited:
            continue
        visited.add(real_folder)
        files, folders = list_folder(folder, *endings)
        links += [path for path in files if path.is_symlink()]
        found |= {real_folder / path.name: path for path in files if not path.is_symlink()}
        pending.extendleft(path for path in folders if not path.is_symlink())
        pending.extend(path for path in folders if path.is_symlink())  # last, so that real names win
    for path in links:
        found.setdefault(Path(os.path.realpath(path)), path)
    return dict(sorted(found.items(), key=lambda item: str(item[1])))


def find_groups(names, group_from):
    """Search each file name for its group."""
    try:
        pattern = re.compile(group_from)
    except re.error as error:
        raise ValueError(f"group_from={group_from!r} is not a valid regular expression: {error}.") from error
    matches = [pattern.search(name) for name in names]
    groups = [match and match[min(1, pattern.groups)] for match in matches]
    if missed := [name for name, group in zip(names, groups, strict=True) if group is None]:
        where = f"{len(missed)} of {len(names)} file names{quote_first(missed)}"
        raise ValueError(f"{group_from=} finds no group in {where}; use an expression that matches every name.")
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
