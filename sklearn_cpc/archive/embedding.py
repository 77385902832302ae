"""Embeddings of an archive: computed part by part, each part written whole, so that any stop can be resumed."""

import copy
import hashlib
import json
import os
import secrets
from numbers import Integral
from pathlib import Path

import joblib
import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import HasMethods, StrOptions, validate_params
from sklearn.utils.validation import check_is_fitted

from .._files import atomic_write
from .._pipelines import find_nested
from .._warnings import warn
from ..audio.clips import Clip
from ..persistence.container import hash_arrays, library_versions
from ..training.checkpoint import describe
from .dataset import KEY, PART, find_parts
from .extras import import_extra
from .windows import clip_columns

PART_SECONDS = 2 * 3600  # of sound in a part: half a minute of work
UNKNOWN_SECONDS = 60  # assumed for a clip that lasts to the end of its recording
ROWS_PER_GROUP = 1 << 14  # of a Parquet file, which is read group by group
# What does not change the embeddings: how an estimator was trained, and how it reads
IRRELEVANT = {"_optimizer_state", "_random", "callbacks", "checkpoint", "device", "history_", "interrupted_"}
IRRELEVANT |= {"memory", "n_jobs", "on_error", "verbose", "warm_start"}


@validate_params(
    {
        "estimator": [HasMethods("transform")],
        "directory": [str, os.PathLike],
        "n_jobs": [Integral, None],
        "dtype": [StrOptions({"float32", "float16"})],
    },
    prefer_skip_nested_validation=True,
)
def embed_archive(estimator, windows, directory, *, n_jobs=None, dtype="float32"):
    """Embed windows and write the embeddings to a Parquet dataset that any tool reads.

    The work is divided into parts of about two hours of sound. If it is stopped, even by a crash, the next call
    with the same arguments continues after the parts that are there, and ends with the same dataset. Needs
    pyarrow: ``pip install 'sklearn-cpc[archive]'``.

    Parameters
    ----------
    estimator : estimator
        Fitted, with a method ``transform`` that takes recordings: a :class:`CPCTransformer`, or a Pipeline.
    windows : DataFrame
        Rows with ``path``, ``onset`` and ``duration``, such as those of :func:`cut_windows`; the rows of a
        recording one after the other. Recordings are read once, whole.
    directory : str or path-like
        Folder of the dataset, for one estimator and one table; made if need be.
    n_jobs : int, default=None
        Parts that are embedded at the same time, in joblib's processes, or wherever ``joblib.parallel_config``
        says. Memory and temporary disk space grow with it, and not with the archive.
    dtype : {"float32", "float16"}, default="float32"
        Type of the embeddings; float16 takes half of the space and keeps three digits.

    Raises
    ------
    ValueError
        If the directory has embeddings of another estimator, table or type.
    ImportError
        If pyarrow is not installed.

    Warns
    -----
    UserWarning
        If recordings cannot be used. Whatever the estimator's ``on_error``, each of their rows is in the dataset,
        with an embedding of NaN, and the column ``reason`` says why.

    See Also
    --------
    read_archive : Reads the dataset.
    EmbeddingIndex : Searches it.

    Notes
    -----
    The columns are ``path``, ``onset``, ``duration`` (missing: to the end), ``embedding`` and ``reason`` (missing
    if all is well). The key "sklearn_cpc" of the metadata of every file has the estimator's digest and parameters
    and the versions of libraries, as JSON. To embed recordings again that were repaired, delete the files with
    their rows, and call the function again.

    Examples
    --------
    >>> from sklearn_cpc.archive import cut_windows, embed_archive
    >>> windows = cut_windows(paths, 5.0)  # doctest: +SKIP
    >>> embed_archive(cpc, windows, "embeddings", n_jobs=4)  # doctest: +SKIP
    """
    import_extra("pyarrow", "archive")
    check_is_fitted(estimator)
    paths, onsets, durations = clip_columns(windows)
    try:
        text = "\0".join(paths).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"a path is no valid Unicode, which Parquet needs ({error}); rename it.") from None
    table = {"path": np.frombuffer(text, np.uint8), "onset": onsets, "duration": durations}
    borders = _find_borders(paths, durations)
    settings = {
        "estimator": hashlib.sha256(_describe(estimator).encode()).hexdigest(),
        "windows": hash_arrays(table).hex(),
        "dtype": dtype,
        "n_parts": len(borders) - 1,
    }
    directory = Path(os.path.abspath(directory))
    directory.mkdir(parents=True, exist_ok=True)
    done = _check_parts(directory, settings)
    for leftover in directory.glob(".*.tmp"):
        leftover.unlink()
    parameters = {name: repr(value) for name, value in sorted(estimator.get_params().items())}
    metadata = {**settings, "parameters": parameters, "versions": library_versions()}
    tasks = []
    for part in sorted(set(range(len(borders) - 1)) - done):
        rows = slice(borders[part], borders[part + 1])
        clips = paths[rows], onsets[rows], durations[rows]
        file = directory / PART.format(part)
        tasks.append(joblib.delayed(_write_part)(estimator, clips, os.getcwd(), file, {**metadata, "part": part}))
    n_unusable = sum(joblib.Parallel(n_jobs)(tasks))
    if n_unusable:
        warn(f"{n_unusable} rows have no embedding; the column 'reason' of the dataset says why.")


def _find_borders(paths, durations):
    """Return the first rows of parts of whole recordings, of about equal duration, and the number of rows."""
    seconds = np.where(np.isnan(durations), UNKNOWN_SECONDS, durations)
    starts = np.flatnonzero([True, *(one != other for one, other in zip(paths[1:], paths, strict=False))])
    lengths = np.add.reduceat(seconds, starts)
    n_parts = max(1, round(lengths.sum() / PART_SECONDS))
    parts = ((np.cumsum(lengths) - lengths / 2) * n_parts / lengths.sum()).astype(int)
    return [*starts[np.flatnonzero(np.diff(parts, prepend=-1))].tolist(), len(paths)]


def _check_parts(directory, settings):
    """Return the numbers of the parts that are there; raises ValueError if they are of another dataset."""
    done = set()
    for file, found in find_parts(directory).items():
        changed = [name for name, value in settings.items() if found.get(name) != value]
        if changed:
            raise ValueError(
                f"{file} has embeddings of other settings ({', '.join(changed)} changed); give another directory, "
                "or delete the files in it to start afresh."
            )
        if found["versions"] != library_versions():
            warn(f"{file} was written with {found['versions']}, and the rest will be with {library_versions()}.")
        done.add(found["part"])
    return done


def _describe(value):
    """Describe an estimator and what fit has set, as text that is equal for estimators that embed alike."""
    if hasattr(value, "get_params") and not isinstance(value, type):
        state = {**vars(value), **value.get_params(deep=False)}
        state = {key: state[key] for key in sorted(state.keys() - IRRELEVANT) if state[key] is not None}
        return f"{type(value).__qualname__} {_describe(state)}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_describe(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(map(_describe, value)) + ")"
    return describe(value)


def _write_part(estimator, clips, folder, file, metadata):
    """Embed the clips of a part and write its file; returns the number of clips without an embedding."""
    import pyarrow as pa
    from pyarrow import parquet

    paths, onsets, durations = clips
    full_paths = [os.path.join(folder, path) for path in paths]  # processes may have another working directory
    reasons_by_path, rows, values = _embed(estimator, list(map(Clip, full_paths, onsets, durations)))
    embeddings = np.full((len(paths), values.shape[1]), np.nan, metadata["dtype"])
    with np.errstate(over="ignore"):
        embeddings[rows] = values
    if not np.isfinite(embeddings[rows]).all():
        raise ValueError(f"embeddings as large as {np.abs(values).max():.3g} do not fit {metadata['dtype']}.")
    reasons = [reasons_by_path.get(path, "has an embedding that is not finite.") for path in full_paths]
    for row in rows:
        reasons[row] = None
    columns = {
        "path": pa.array(paths, pa.string()),
        "onset": pa.array(onsets),
        "duration": pa.array(durations, from_pandas=True),  # NaN becomes null
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), embeddings.shape[1]),
        "reason": pa.array(reasons, pa.string()),
    }
    table = pa.table(columns, metadata={KEY: json.dumps(metadata)})
    partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}.tmp")
    with atomic_write(file, partial, durable=True) as opened:
        parquet.write_table(table, opened, ROWS_PER_GROUP, use_dictionary=["path", "reason"])
    return len(paths) - len(rows)


def _embed(estimator, clips):
    """Return why recordings cannot be used, the rows that can, and their embeddings."""
    estimator = copy.deepcopy(estimator)
    reasons: dict[str, str] = {}
    for reader in find_nested(estimator, lambda part: hasattr(part, "on_error")):
        reader.set_params(on_error="nan")
        reader._unusable = reasons  # filled instead of a warning
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
