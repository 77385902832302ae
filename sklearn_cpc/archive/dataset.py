"""The dataset of an archive: what is in its directory, and how it is read."""

import contextlib
import glob
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

from .._extras import import_extra
from .._files import atomic_write, remove_abandoned
from ..persistence.container import hash_arrays
from ..training.checkpoint import describe

PART, PATTERN = "part-{:06d}.parquet", "part-*.parquet"  # names of files
KEY = "sklearn_cpc"  # of their metadata
SETTINGS = "estimator", "windows", "dtype", "n_parts"  # the same in all files of a dataset
COLUMNS = ["path", "onset", "duration", "reason"]


def find_parts(directory, settings=None):
    """Return what the metadata of each file of a dataset say, in the order of the parts.

    Raises ValueError if files are damaged, or are not all of the dataset with these settings.
    """
    parquet = import_extra("pyarrow.parquet", "archive")
    parts = {}
    for file in sorted(Path(directory).glob(PATTERN)):
        with _naming_damage(file):
            text = json.loads(parquet.read_metadata(file).metadata[KEY.encode()])
            found = {name: text[name] for name in (*SETTINGS, "part", "embeddings", "versions")}
        settings = settings or {name: found[name] for name in SETTINGS}
        if changed := [name for name in SETTINGS if found[name] != settings[name]]:
            raise ValueError(
                f"{file} has embeddings of other settings ({', '.join(changed)} changed); give another directory, "
                "or delete the files in it to start afresh."
            )
        parts[file] = found
    return parts


def digest(estimator):
    """Return a text that is the same for estimators that compute alike."""
    return hashlib.sha256(describe(estimator).encode()).hexdigest()


def hash_windows(paths, onsets, durations):
    """Return a text that is the same for equal windows."""
    text = np.frombuffer("\0".join(paths).encode(), np.uint8)
    return hash_arrays({"path": text, "onset": onsets, "duration": durations}).hex()


@contextlib.contextmanager
def _naming_damage(file):
    """Turn errors of reading a file into a ValueError that names it, except for a shortage of the machine."""
    try:
        yield
    except Exception as error:  # pyarrow has exceptions of its own
        if isinstance(error, MemoryError) or getattr(error, "errno", None):
            raise
        raise ValueError(f"{file} is damaged, or no file of embed_archive ({error}); delete it.") from error


def read_archive(directory, estimator=None):
    """Read the dataset that :func:`embed_archive` has written.

    Parameters
    ----------
    directory : str or path-like
        Folder of the dataset. The first call copies the embeddings to a hidden file beside it, to be mapped to
        memory from then on.
    estimator : fitted estimator, default=None
        One that must have made the embeddings, to be compared with others of it.

    Returns
    -------
    windows : DataFrame
        ``path``, ``onset``, ``duration``, and ``reason``, why a row has no embedding.
    embeddings : ndarray of shape (n_windows, n_features)
        Mapped to memory, read-only; NaN in rows with a reason.

    Raises
    ------
    ValueError
        If the dataset is not complete, a file is damaged, or another estimator made the embeddings.

    Examples
    --------
    >>> from sklearn_cpc.archive import read_archive
    >>> windows, embeddings = read_archive("embeddings")  # doctest: +SKIP
    """
    directory = Path(os.path.abspath(directory))
    parts = find_parts(directory)
    settings = next(iter(parts.values()), {"n_parts": "a dataset"})
    if len(parts) != (n_parts := settings["n_parts"]):
        raise ValueError(f"{directory} has {len(parts)} parts of {n_parts}; call embed_archive to complete it.")
    if estimator is not None and digest(estimator) != settings["estimator"]:
        raise ValueError(f"{directory} has embeddings of another estimator; load the one that made them.")
    tables = [_read_part(file, COLUMNS).to_pandas() for file in parts]
    windows = pd.concat(tables, ignore_index=True)
    columns = windows["path"].map(str), windows["onset"].to_numpy(), windows["duration"].to_numpy()
    if hash_windows(*columns) != settings["windows"]:
        raise ValueError(f"a file in {directory} is damaged: it has other windows; delete all to start afresh.")
    identity = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in parts]
    key = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
    copy = directory.with_name(f".{directory.name}-{key}.npy")  # beside it: tools read all files in it
    if is_new := not copy.exists():
        remove_abandoned(directory.parent)
        for outdated in directory.parent.glob(f".{glob.escape(directory.name)}-{'?' * 16}.npy"):
            outdated.unlink(missing_ok=True)
        _copy_embeddings(parts, len(windows), copy)
    with _naming_damage(copy):
        embeddings = np.load(copy, mmap_mode="r")
    starts = np.cumsum([len(table) for table in tables])[:-1]
    for (file, found), rows in zip(parts.items(), np.split(embeddings, starts), strict=True):
        with _naming_damage(file if is_new else copy):
            if hash_arrays({"": rows}).hex() != found["embeddings"]:
                raise ValueError("its embeddings have another checksum")
    return windows, embeddings


def _read_part(file, columns):
    """Read columns of a file as an Arrow table."""
    parquet = import_extra("pyarrow.parquet", "archive")
    with _naming_damage(file), parquet.ParquetFile(file, page_checksum_verification=True) as source:
        return source.read(columns)


def _copy_embeddings(parts, n_rows, target):
    """Write the embeddings in Parquet files to one NumPy file."""
    with atomic_write(target, durable=False) as opened:
        for file in parts:
            column = _read_part(file, ["embedding"]).column(0).combine_chunks()
            embeddings = column.flatten().to_numpy().reshape(len(column), -1)
            if not opened.tell():
                header = np.lib.format.header_data_from_array_1_0(embeddings)
                np.lib.format.write_array_header_1_0(opened, header | {"shape": (n_rows, embeddings.shape[1])})
            opened.write(embeddings.tobytes())
