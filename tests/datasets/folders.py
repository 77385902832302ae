"""Helpers for the tests of corpora: create empty files and compare corpora."""

from pathlib import Path

import numpy as np


def create_files(directory, *names):
    """Create empty files, since only names matter when a folder is read."""
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return directory


def relative_paths(corpus, directory):
    return [Path(path).relative_to(directory).as_posix() for path in corpus.paths]


def assert_same_corpus(found, expected):
    assert found.paths == expected.paths
    assert found.target_names == expected.target_names
    np.testing.assert_array_equal(found.target, expected.target, strict=True)
    np.testing.assert_array_equal(found.groups, expected.groups, strict=True)
