"""The dataset of an archive: what is in its directory, and how it is read."""

import glob
import hashlib
import json
import os
from pathlib import Path

import numpy as np

from .._extras import import_extra
from .._files import atomic_write

PART, PATTERN = "part-{:06d}.parquet", "part-*.parquet"  # names of files
KEY = "sklearn_cpc"  # of their metadata
SETTINGS = "estimator", "windows", "dtype", "n_parts"  # the same in all files of a dataset
COLUMNS = ["path", "onset", "duration", "reason"]
ROWS_PER_BATCH = 8192  # copied at a time


def find_parts(directory, settings=None):
    """Return what the metadata of each file of a dataset say, in the order of the parts.

    Raises ValueError if files are damaged, or are not all of the dataset with these settings.
    """
    parquet = import_extra("pyarrow.parquet", "archive")
    parts = {}
    for file in sorted(Path(directory).glob(PATTERN)):
        try:
            found = json.loads(parquet.read_metadata(file).metadata[KEY.encode()])
        except Exception as error:  # pyarrow has exceptions of its own
            raise ValueError(f"{file} is damaged, or no file of embed_archive ({error}); delete it.") from error
        settings = settings or {name: found[name] for name in SETTINGS}
        if changed := [name for name in SETTINGS if found[name] != settings[name]]:
            raise ValueError(
                f"{file} has embeddings of other settings ({', '.join(changed)} changed); give another directory, "
                "or delete the files in it to start afresh."
            )
        parts[file] = found
    return parts


def read_archive(directory):
    """Read the dataset that :func:`embed_archive` has written.

    Parameters
    ----------
    directory : str or path-like
        Folder of the dataset. The first call copies the embeddings to a hidden file beside it, to be mapped to
        memory from then on.

    Returns
    -------
    windows : DataFrame
        ``path``, ``onset``, ``duration``, and ``reason``, why a row has no embedding.
    embeddings : ndarray of shape (n_windows, n_features)
        Mapped to memory, read-only; NaN in rows with a reason.

    Raises
    ------
    ValueError
        If the dataset is not complete, or a file is damaged.

    Examples
    --------
    >>> from sklearn_cpc.archive import read_archive
    >>> windows, embeddings = read_archive("embeddings")  # doctest: +SKIP
    """
    parquet = import_extra("pyarrow.parquet", "archive")
    directory = Path(os.path.abspath(directory))
    parts = find_parts(directory)
    n_parts = next(iter(parts.values()))["n_parts"] if parts else "a dataset"
    if len(parts) != n_parts:
        raise ValueError(
            f"{directory} has {len(parts)} parts of {n_parts}; call embed_archive again to complete it."
        )
    windows = parquet.read_table(list(parts), columns=COLUMNS).to_pandas()
    identity = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in parts]
    digest = hashlib.sha256(repr(identity).encode()).hexdigest()
    copy = directory.with_name(
        f".{directory.name}-{digest[:16]}.npy"
    )  # beside it: some tools read all files in it
    if not copy.exists():
        for outdated in directory.parent.glob(f".{glob.escape(directory.name)}-{'?' * 16}.npy"):
            outdated.unlink(missing_ok=True)
        _copy_embeddings(parts, len(windows), copy)
    return windows, np.load(copy, mmap_mode="r")


def _copy_embeddings(files, n_rows, target):
    """Write the embeddings in Parquet files to one NumPy file."""
    parquet = import_extra("pyarrow.parquet", "archive")
    with atomic_write(target, durable=False) as opened:
        for file in files:
            with parquet.ParquetFile(file) as source:
                for batch in source.iter_batches(ROWS_PER_BATCH, columns=["embedding"]):
                    numbers, n_features = batch.column(0).flatten().to_numpy(), batch.column(0).type.list_size
                    if not opened.tell():
                        header = {
                            "descr": numbers.dtype.str,
                            "fortran_order": False,
                            "shape": (n_rows, n_features),
                        }
                        np.lib.format.write_array_header_1_0(opened, header)
                    opened.write(numbers.tobytes())
