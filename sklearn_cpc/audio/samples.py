"""Samples in X: arrays, tables and lists of numbers, and the full scale of integers."""

import re
import reprlib
from collections.abc import Sequence
from numbers import Integral, Number

import numpy as np

from .._warnings import warn

FULL_SCALES = {"int8": 2**7, "uint8": 2**7, "int16": 2**15, "uint16": 2**15, "int32": 2**31}
MAX_UNSCALED = 2  # integers of unknown full scale up to this one are numbers as they are


def as_samples(X):
    """Return X in a form that scikit-learn checks, a list of arrays if it is a list of rows."""
    if X is None:
        raise TypeError("X is None; pass paths, clips or samples.")
    if hasattr(X, "requires_grad"):  # a tensor
        X = X.detach().cpu()
        return (X.float() if "bfloat16" in str(X.dtype) else X).numpy()
    if getattr(X, "shape", ())[1:] in ((), (1,)) and hasattr(X, "__array__"):  # may hold rows in its cells
        cells = np.asarray(X).ravel()
        X = list(cells) if cells.dtype.kind == "O" and hasattr(next(iter(cells), None), "__len__") else X
    if not isinstance(X, Sequence):
        return X
    rows = []
    for index, row in enumerate(X):
        try:
            rows.append(as_samples(row) if hasattr(row, "requires_grad") else np.asarray(row))
            is_numbers = rows[-1].ndim < 2 and (
                rows[-1].dtype.kind != "O" or all(isinstance(value, Number) for value in rows[-1].flat)
            )
        except ValueError:  # its parts have different lengths
            is_numbers = False
        if not is_numbers:
            raise TypeError(
                f"element {index} of X is {reprlib.repr(row)} of type {type(row).__name__}; every element must "
                "be a path, a Clip(path, onset, duration) or an array of samples, (n_samples,)."
            )
    lengths = {row.size for row in rows}
    if len(lengths) > 1:
        advice = "cut or pad them to one length, or write each to a sound file and pass the paths"
        raise ValueError(f"X holds rows of different lengths, {min(lengths)} to {max(lengths)} samples; {advice}.")
    return rows


def name_types(X):
    """Return the set of names of the types in an array, table or list of arrays, or raise a TypeError."""
    if isinstance(X, list):
        return set().union(*map(name_types, X))
    if hasattr(X, "column_names"):  # pyarrow
        types = X.schema.types
    else:
        types = X.dtypes if hasattr(X, "columns") else [getattr(X, "dtype", np.dtype(float))]
    names = {str(getattr(dtype, "name", dtype)).lower() for dtype in types}
    for name in names:
        if other := re.match(r"(bool|date|time|duration|period|categor)\w*", name):
            raise TypeError(f"X holds {other[0]} values; samples are floats (full scale is 1) or integers.")
    if "object" in names and any(isinstance(value, Integral) for value in np.asarray(X).flat):
        names = {"Python int"}
    return {match[0] if (match := re.search(r"u?int\d+", name)) else name for name in names}


def scale_to_full_scale(samples, types):
    """Scale floats that were integers to -1 to 1, or raise a ValueError if their full scale is unknown."""
    peak = np.abs(samples).max(initial=0)
    (name, *others) = sorted(types)
    if not others and name in FULL_SCALES:
        full_scale = FULL_SCALES[name]
        if name == "int32" and 0 < peak <= 2**23:
            warn(
                f"X holds int32 numbers, whose full scale is {full_scale}, but none exceeds 24 bits, so X is "
                "almost silent; pass X.astype('int16') if they have 16 bits, or X / 2**23 if they have 24."
            )
        return (samples - full_scale if name.startswith("u") else samples) / full_scale
    if peak > MAX_UNSCALED and any("int" in name for name in types):
        raise ValueError(
            f"X holds {' and '.join(sorted(types))} numbers as large as {peak:g}, whose full scale is unknown; "
            "pass np.asarray(X, 'int16') if all have 16 bits, or floats that are divided by their full scale."
        )
    return samples
