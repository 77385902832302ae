"""What the tests of corpora share: empty files in folders, and corpora compared."""

from pathlib import Path

import numpy as np


def put(directory, *names):
    """Make empty files: only their names matter to the reader."""
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return directory


def relative(corpus, directory):
    return [Path(path).relative_to(directory).as_posix() for path in corpus.paths]


def assert_same_corpus(found, expected):
    assert found.paths == expected.paths
    assert found.target_names == expected.target_names
    np.testing.assert_array_equal(found.target, expected.target, strict=True)
    np.testing.assert_array_equal(found.groups, expected.groups, strict=True)
