"""Find the recordings that annotation tables name, or that lie beside them."""

import os
import re
from collections import defaultdict
from itertools import takewhile

import soundfile

from ..audio.reading import printable

ENDINGS = {".aif", ".aifc", ".bwf", ".oga", ".opus", ".snd", ".wave"}  # of formats with other names
ENDINGS |= {f".{name.lower()}" for name in soundfile.available_formats()}


class Recordings:
    """The recordings that tables may be about: the given paths, or all files if ``paths`` is None."""

    def __init__(self, paths=None):
        self.paths = paths
        self._by_name = None if paths is None else _index_names(paths)
        self._folders: dict[str, dict] = {}  # files by name, by folder

    def find_named(self, name, table):
        """Return the path of a recording that a table names; raises ValueError if it is not among those given.

        A name that leads nowhere is searched for in the table's folder, and else returned as it is.
        """
        folder, last = os.path.dirname(table), split_path(name)[-1]
        if self._by_name is not None:
            if last not in self._by_name:
                raise ValueError(f"it names {printable(name)}, which is not among the given recordings")
            return _closest(self._by_name[last], name)
        paths = [
            os.path.join(folder, name),
            os.path.join(folder, last),
            name,
        ]  # the first is absolute if the name is
        found = [path for path in paths if os.path.isfile(path)]
        is_windows_path = re.match(r"[A-Za-z]:\\|\\\\", name)
        return found[0] if found else name.replace("\\", "/") if is_windows_path else name

    def find_beside(self, table):
        """Return the path of the recording that a table is named after; raises ValueError if there is none."""
        folder, name = os.path.split(table)
        if self.paths is not None and len(self.paths) == 1:
            return self.paths[0]
        if self._by_name is None and folder not in self._folders:
            names = filter(is_audio, sorted(os.listdir(folder or os.curdir)))
            self._folders[folder] = _index_names([os.path.join(folder, name) for name in names])
        by_name = self._folders[folder] if self._by_name is None else self._by_name
        words = name.split(".")
        for n_words in range(len(words), 0, -1):  # dawn.Table.1.selections.txt is about dawn.wav
            if candidates := by_name.get(".".join(words[:n_words])):
                return _closest(candidates, table)
        where = "beside it" if self._by_name is None else "among the given recordings"
        raise ValueError(f"it names no recording, and none {where} has its name; pass recordings=[path]")


def split_path(path):
    """Return the folders and the name of a path of any system."""
    return re.split(r"[\\/]+", path)


def _index_names(paths):
    """Return lists of paths by their names, with and without ending."""
    by_name = defaultdict(list)
    for path in paths:
        name = split_path(path)[-1]
        for key in dict.fromkeys((name, os.path.splitext(name)[0])):
            by_name[key].append(path)
    return by_name


def is_audio(name):
    """Whether a name has the ending of an audio file."""
    return os.path.splitext(name)[1].lower() in ENDINGS


def _closest(paths, path):
    """Return the path that shares most of its last folders with another; raises ValueError if several do."""
    folders = split_path(path)[-2::-1]

    def count_shared(other):
        pairs = zip(folders, split_path(other)[-2::-1], strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    ranked = sorted(paths, key=count_shared, reverse=True)
    if len(ranked) > 1 and count_shared(ranked[0]) == count_shared(ranked[1]):
        raise ValueError(
            f"it may be about {printable(ranked[0])} or {printable(ranked[1])}; pass recordings=[path]"
        )
    return ranked[0]
