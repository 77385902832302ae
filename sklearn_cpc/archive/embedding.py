"""Embeddings of an archive: written part by part to a dataset, so that any stop can be resumed, and read back."""

import contextlib
import copy
import glob
import hashlib
import json
import os
from pathlib import Path

import joblib
import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.validation import check_is_fitted

from .._constraints import check_parameters
from .._extras import import_extra
from .._files import atomic_write, is_url, remove_abandoned
from .._pipelines import find_nested
from .._processes import progress
from .._warnings import warn
from ..audio.clips import Clip
from ..persistence.container import hash_arrays, library_versions
from ..training.checkpoint import describe
from .windows import clip_columns

pd = import_extra("pandas", "archive")

PART_SECONDS = 2 * 3600  # of sound in a part: half a minute of work
UNKNOWN_SECONDS = 60  # assumed for a clip that lasts to the end of its recording
ROWS_PER_GROUP = 1 << 14  # of a Parquet file, which is read group by group
PART, PATTERN = "part-{:06d}.parquet", "part-*.parquet"  # names of files
KEY = "sklearn_cpc"  # of their metadata
SETTINGS = "estimator", "windows", "dtype", "n_parts"  # the same in all files of a dataset


@check_parameters(
    estimator=[HasMethods("transform")], dtype=[StrOptions({"float32", "float16"})], verbose=["verbose"]
)
def embed_archive(estimator, windows, directory, *, n_jobs=None, dtype="float32", verbose=0):
    """Embed windows and write the embeddings to a Parquet dataset that any tool reads.

    Parts of about two hours of sound get a file each. If the work stops, even by a crash, the next call continues
    and ends with the same dataset. Needs pyarrow: ``pip install 'sklearn-cpc[archive]'``.

    Parameters
    ----------
    estimator : estimator
        Fitted, with a method ``transform`` that takes recordings: a :class:`CPCTransformer`, or a Pipeline.
    windows : DataFrame
        ``path``, ``onset`` and ``duration``, the rows of a recording one after the other: see :func:`cut_windows`.
    directory : str or path-like
        Folder of the dataset, for one estimator and one table of windows; made if need be.
    n_jobs : int, default=None
        Parts to embed at the same time, in processes or where ``joblib.parallel_config`` says.
    dtype : {"float32", "float16"}, default="float32"
        Type of the embeddings; float16 takes half of the space and keeps three digits.
    verbose : int, default=0
        1 for a progress bar of parts; the estimator shows none.

    Raises
    ------
    ValueError, ImportError
        If the directory has embeddings of another estimator, table or type, or if pyarrow is not installed.

    Notes
    -----
    The columns are ``path``, ``onset``, ``duration`` (missing: to the end), ``embedding`` and ``reason``. Windows
    of recordings that cannot be used have a reason and an embedding of NaN, whatever ``on_error`` is.
    The key "sklearn_cpc" of the metadata has a digest of the estimator, its parameters, and versions of libraries.

    Examples
    --------
    >>> from sklearn_cpc.archive import embed_archive
    >>> embed_archive(cpc, windows, "embeddings", n_jobs=4)  # doctest: +SKIP
    """
    check_is_fitted(estimator)
    paths, onsets, durations = clip_columns(windows)
    borders = _find_borders(paths, durations)
    settings = {"estimator": digest(estimator), "windows": hash_windows(paths, onsets, durations)}
    settings |= {"dtype": dtype, "n_parts": len(borders) - 1}
    directory = Path(os.path.abspath(directory))
    done = {found["part"]: found["versions"] for found in find_parts(directory, settings).values()}
    if any(versions != library_versions() for versions in done.values()):
        warn(f"parts of {directory} were written with {done}, and the rest will be with {library_versions()}.")
    directory.mkdir(parents=True, exist_ok=True)
    remove_abandoned(directory)
    settings["parameters"] = {name: repr(value) for name, value in sorted(estimator.get_params().items())}
    settings["versions"] = library_versions()
    columns, tasks = (paths, onsets.tolist(), durations.tolist()), []  # Dask loses arrays with a worker, no lists
    for part in sorted(set(range(len(borders) - 1)) - done.keys()):
        clips = [column[borders[part] : borders[part + 1]] for column in columns]
        file, metadata = directory / PART.format(part), {**settings, "part": part}
        tasks.append(joblib.delayed(_write_part)(estimator, *clips, os.getcwd(), file, metadata))
    results = joblib.Parallel(n_jobs, return_as="generator" if verbose else "list")(tasks)
    if n_unusable := sum(progress(results, len(tasks), "embedding", verbose)):
        warn(f"{n_unusable} rows have no embedding; the column 'reason' of the dataset says why.")


def _find_borders(paths, durations):
    """Return the first rows of parts of whole recordings, of about equal duration, and the number of rows."""
    seconds = np.where(np.isnan(durations), UNKNOWN_SECONDS, durations)
    starts = np.flatnonzero([True, *(one != other for one, other in zip(paths[1:], paths, strict=False))])
    lengths = np.add.reduceat(seconds, starts)
    n_parts = max(1, round(lengths.sum() / PART_SECONDS))
    parts = ((np.cumsum(lengths) - lengths / 2) * n_parts / lengths.sum()).astype(int)
    return [*starts[np.flatnonzero(np.diff(parts, prepend=-1))].tolist(), len(paths)]


def _write_part(estimator, paths, onsets, durations, folder, file, metadata):
    """Embed the clips of a part and write its file; returns the number of clips without an embedding."""
    import pyarrow as pa
    from pyarrow import parquet

    # Processes may have another working directory.
    full_paths = [path if is_url(path) else os.path.join(folder, path) for path in paths]
    reasons_by_path, rows, values = _embed(estimator, list(map(Clip, full_paths, onsets, durations)))
    embeddings = np.full((len(paths), values.shape[1]), np.nan, metadata["dtype"])
    with np.errstate(over="ignore"):
        embeddings[rows] = values
    if not np.isfinite(embeddings[rows]).all():
        raise ValueError(f"embeddings as large as {np.abs(values).max():.3g} do not fit {metadata['dtype']}.")
    reasons = [reasons_by_path.get(path, "has an embedding that is not finite.") for path in full_paths]
    columns = {
        "path": pa.array(paths, pa.string()),
        "onset": pa.array(onsets),
        "duration": pa.array(durations, pa.float64(), from_pandas=True),  # NaN becomes null
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), embeddings.shape[1]),
        "reason": pa.array(reasons, pa.string(), mask=np.isin(range(len(paths)), rows)),  # null if embedded
    }
    metadata["embeddings"] = hash_arrays({"": embeddings}).hex()
    table = pa.table(columns, metadata={KEY: json.dumps(metadata)})
    with atomic_write(file, durable=True) as opened:
        how = {"use_dictionary": ["path", "reason"], "write_page_checksum": True}
        parquet.write_table(table, opened, ROWS_PER_GROUP, **how)
    return len(paths) - len(rows)


def _embed(estimator, clips):
    """Return why recordings cannot be used, the rows that can, and their embeddings."""
    estimator = copy.deepcopy(estimator)
    reasons: dict[str, str] = {}
    for reader in find_nested(estimator, lambda part: hasattr(part, "on_error")):
        reader.set_params(on_error=reasons.update, verbose=0)
    rows, values = np.arange(len(clips)), clips
    for step in _list_steps(estimator):
        values = np.asarray(step.transform(values))
        if values.dtype.kind == "f" and len(rows):
            usable = np.isfinite(values).all(axis=1)
            rows = rows[usable]
            values = values[usable] if len(rows) else np.zeros_like(values[:1])  # to find out how many features
    return reasons, rows, values


def _list_steps(estimator):
    """Return the steps of a pipeline, and of pipelines in it."""
    if isinstance(estimator, Pipeline):
        return [nested for _, step in estimator.steps for nested in _list_steps(step)]
    return [] if estimator in (None, "passthrough") else [estimator]


def find_parts(directory, settings=None):
    """Return the metadata of the files of a dataset in their order; all must have the same settings."""
    parquet = import_extra("pyarrow.parquet", "archive")
    parts = {}
    for file in sorted(Path(directory).glob(PATTERN)):
        with _naming_damage(file):
            text = json.loads(parquet.read_metadata(file).metadata[KEY.encode()])
            found = {name: text[name] for name in (*SETTINGS, "part", "embeddings", "versions")}
        settings = settings or {name: found[name] for name in SETTINGS}
        if changed := [name for name in SETTINGS if found[name] != settings[name]]:
            advice = "give another directory, or delete the files in it to start afresh"
            raise ValueError(f"{file} has embeddings of other settings ({', '.join(changed)} changed); {advice}.")
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
    tables = [_read_part(file, ["path", "onset", "duration", "reason"]).to_pandas() for file in parts]
    windows = pd.concat(tables, ignore_index=True)
    columns = windows["path"].map(str), windows["onset"].to_numpy(), windows["duration"].to_numpy()
    if hash_windows(*columns) != settings["windows"]:
        raise ValueError(f"a file in {directory} is damaged: it has other windows; delete all to start afresh.")
    identity = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in parts]
    key = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
    mapped = directory.with_name(f".{directory.name}-{key}.npy")  # beside it: tools read all files in it
    if is_new := not mapped.exists():
        remove_abandoned(directory.parent)
        for outdated in directory.parent.glob(f".{glob.escape(directory.name)}-{'?' * 16}.npy"):
            outdated.unlink(missing_ok=True)
        _copy_embeddings(parts, len(windows), mapped)
    with _naming_damage(mapped):
        embeddings = np.load(mapped, mmap_mode="r")
    starts = np.cumsum([len(table) for table in tables])[:-1]
    for (file, found), rows in zip(parts.items(), np.split(embeddings, starts), strict=True):
        with _naming_damage(file if is_new else mapped):
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
