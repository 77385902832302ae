"""List recordings, wherever they are."""

import glob
import os
from pathlib import Path

from .._files import is_url
from .._warnings import warn
from ..audio.files import base_name
from ..audio.reading import printable
from .folder import COMPANIONS, audio_endings, find_audio, find_urls, quote_first


def list_recordings(sources):
    """List the recordings that files, folders and patterns name.

    Parameters
    ----------
    sources : str, path-like or sequence of them
        Files, taken as they are; folders, searched recursively, with links, for all formats that your libsndfile
        reads; patterns, such as ``"site*/**/*.wav"``; and URLs of these. Names that start with a dot are skipped.

    Returns
    -------
    list of str
        Each path once, in the order of the sources, sorted by name within a folder or pattern.

    Raises
    ------
    ValueError
        If a source names no recording. A warning tells if a folder has files that may be audio, such as ``.m4a``.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn_cpc.datasets import list_recordings, make_synthetic_corpus
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     corpus = make_synthetic_corpus(directory, n_per_class=2, duration=0.5, random_state=0)
    ...     list_recordings(directory) == list_recordings(f"{directory}/**/*.wav") == corpus.paths
    True
    """
    sources = [sources] if isinstance(sources, (str, os.PathLike)) else sources
    return list(dict.fromkeys(path for source in sources for path in _list_source(os.fsdecode(source))))


def _list_source(source):
    """Return the paths of the recordings that one source names."""
    found, other, endings, ignored = [source], [], audio_endings(), tuple(COMPANIONS.split())
    if is_url(source) and ("*" in source or not base_name(source).lower().endswith(endings)):
        audio, other = find_urls(source, endings, ignored)
        found = list(audio.values())
    elif os.path.isdir(source):
        files = find_audio(Path(source), endings, ignored).values()
        found = [str(path) for path in files if path.name.lower().endswith(endings) and path.is_file()]
        other = sorted({*map(str, files)}.difference(found))
    elif not is_url(source) and glob.has_magic(source) and not os.path.exists(source):
        found = sorted(filter(os.path.isfile, glob.iglob(source, recursive=True)))
    if other:
        warn(f"Left out of {printable(source)}: {len(other)} file(s) that may be audio{quote_first(other)}.")
    if not found:
        raise ValueError(f"there are no recordings in {printable(source)}; name a file, folder or pattern.")
    return found
