"""Fitted attributes: what an estimator has learned, as JSON and arrays, each checked when it is read."""

import re
from abc import ABC, abstractmethod

import numpy as np

from ._parameters import JOBLIB, decode, encode, expect, plain

MAX_CHARACTERS = 2**24  # of all class labels, padded to the longest
N_KEYS = 624  # numbers in the state of RandomState

CHANGED = f"If a parameter was changed after fit, set it back or fit again, {JOBLIB}."


class Attribute(ABC):
    """How one fitted attribute is stored.

    Parameters
    ----------
    optional : bool, default=False
        Whether estimators may lack it.
    """

    stored = True  # has an entry in the JSON

    def __init__(self, optional=False):
        self.optional = optional

    def holds(self, value):
        """Whether there is something to store."""
        return True

    @abstractmethod
    def write(self, value, place, arrays):
        """Return the entry of a value in the JSON, and add its arrays under names that begin with ``place``."""

    @abstractmethod
    def read(self, entry, place, arrays, estimator):
        """Return the value; takes its arrays out. ``estimator`` has all that was read before.

        Raises
        ------
        ValueError
            If that is no value for the attribute.
        """

    def compare(self, value, loaded, where):  # noqa: B027  # most attributes come back as they were, by their arrays
        """Raise ValueError if what was saved came back as something else because it cannot be stored."""


class Whole(Attribute):
    """An integer from ``low`` on."""

    def __init__(self, low, optional=False):
        super().__init__(optional)
        self.low = low

    def write(self, value, place, arrays):
        """Return the number."""
        return int(value)

    def read(self, entry, place, arrays, estimator):
        """Return the number."""
        if expect(int, entry, place) < self.low:
            raise ValueError(f"{place}={entry} is less than {self.low}")
        return entry


class Flag(Attribute):
    """Something that is so or not."""

    def write(self, value, place, arrays):
        """Return whether it is so."""
        return bool(value)

    def read(self, entry, place, arrays, estimator):
        """Return whether it is so."""
        return expect(bool, entry, place)


class Derived(Attribute):
    """What follows from the rest: it is not stored but computed, by a function of the estimator."""

    stored = False

    def __init__(self, function):
        super().__init__()
        self.function = function

    def write(self, value, place, arrays):
        """Return nothing: it is not stored."""

    def read(self, entry, place, arrays, estimator):
        """Compute it."""
        return self.function(estimator)

    def compare(self, value, loaded, where):
        """Raise if it no longer follows."""
        if value != loaded:
            raise ValueError(f"{where} is {value!r}, but by the parameters as they are now {loaded!r}. {CHANGED}")


class Names(Attribute):
    """Names of the features that went in."""

    def write(self, value, place, arrays):
        """Return a list."""
        return value.tolist()

    def read(self, entry, place, arrays, estimator):
        """Return an array of objects."""
        if not all(type(name) is str for name in expect(list, entry, place)):
            raise ValueError(f"{place} holds something else than names")
        if len(entry) != estimator.n_features_in_:
            raise ValueError(f"{place} has {len(entry)} names for {estimator.n_features_in_} features")
        return np.array(entry, dtype=object)


class Labels(Attribute):
    """Class labels: text, numbers or truth values, sorted and each once."""

    numbers = "|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8"

    def write(self, value, place, arrays):
        """Return the type and the labels."""
        labels = value.astype(value.dtype.newbyteorder("<"))
        dtype, values = labels.dtype.str, labels.tolist()
        if not self._are_labels(values, dtype):
            raise TypeError(
                f"{place} is of type {value.dtype}, but only text, numbers and bool can be saved; {JOBLIB}."
            )
        return {"dtype": dtype, "values": values}

    def read(self, entry, place, arrays, estimator):
        """Return an array of the type."""
        dtype, values = (expect(dict, entry, place).get(key) for key in ("dtype", "values"))
        expect(str, dtype, place), expect(list, values, place)
        if not self._are_labels(values, dtype):
            raise ValueError(f"{place} holds other labels than {dtype!r}")
        length = self._length(dtype)
        if length * len(values) > MAX_CHARACTERS:
            raise ValueError(f"{place} would take {len(values)} times {length} characters")
        labels = np.array(values, dtype=dtype)
        if labels.tolist() != values or not np.all(labels[:-1] < labels[1:]):
            raise ValueError(f"{place} holds labels that are not {dtype!r}, or not sorted, or there twice")
        return labels.astype(labels.dtype.newbyteorder("="))

    def _are_labels(self, values, dtype):
        if dtype in self.numbers:
            return {type(label) for label in values} <= {bool, int, float}
        return (dtype == "|O" or self._length(dtype) > 0) and all(type(label) is str for label in values)

    def _length(self, dtype):
        """Characters of a type of text, 0 of others."""
        match = re.fullmatch(r"<U(\d{1,8})", dtype)
        return int(match[1]) if match else 0


class History(Attribute):
    """What was recorded in every epoch."""

    def write(self, value, place, arrays):
        """Return a list of objects."""
        return [
            {str(key): encode(item, f"{place}[{number}][{key!r}]") for key, item in row.items()}
            for number, row in enumerate(value)
        ]

    def read(self, entry, place, arrays, estimator):
        """Return a list of dict."""
        rows = [expect(dict, row, place) for row in expect(list, entry, place)]
        return [{key: decode(item, place) for key, item in row.items()} for row in rows]


class Output(Attribute):
    """What ``set_output`` was called with."""

    formats = "default", "pandas", "polars"

    def write(self, value, place, arrays):
        """Return the dict."""
        return {key: plain(chosen) for key, chosen in value.items()}

    def read(self, entry, place, arrays, estimator):
        """Return the dict."""
        if expect(dict, entry, place) and (
            entry.keys() != {"transform"} or entry["transform"] not in self.formats
        ):
            raise ValueError(f"{place} is {entry}; transform may be {', '.join(self.formats)}")
        return entry


class Random(Attribute):
    """The generator a training goes on with. NumPy's global one is not stored: it is everybody's."""

    def holds(self, value):
        """Whether it is a generator of the estimator's own."""
        return value is not None and value is not np.random.mtrand._rand

    def write(self, value, place, arrays):
        """Return all of its state but the keys, which are an array."""
        state = value.get_state(legacy=False)
        if state["bit_generator"] != "MT19937":
            raise TypeError(
                f"{place} draws from a {state['bit_generator']}, which cannot be saved; fit with an int as "
                f"random_state, {JOBLIB}."
            )
        arrays[place] = state["state"]["key"].astype(np.uint32)
        return [int(state["state"]["pos"]), int(state["has_gauss"]), float(state["gauss"])]

    def read(self, entry, place, arrays, estimator):
        """Return a generator in that state."""
        position, has_gauss, gauss = expect(list, entry, place)
        keys = take(arrays, place, ("uint32",), (N_KEYS,))
        # NumPy takes a position beyond the keys, and would read beyond its memory.
        if not 0 <= expect(int, position, place) <= N_KEYS or expect(int, has_gauss, place) not in (0, 1):
            raise ValueError(f"{place} is not the state of a generator")
        random = np.random.RandomState(0)
        random.set_state(("MT19937", keys, position, has_gauss, expect(float, gauss, place)))
        return random


class Array(Attribute):
    """An array of finite numbers, or None.

    Parameters
    ----------
    *shapes : callable
        Called with the estimator, return the shapes it may have.
    """

    types = "float64", "float32", "int64", "int32"

    def __init__(self, *shapes):
        super().__init__()
        self.shapes = shapes

    def write(self, value, place, arrays):
        """Return whether there is one."""
        if value is None:
            return False
        arrays[place] = np.asarray(value)
        return True

    def read(self, entry, place, arrays, estimator):
        """Return the array, a number if it has no dimension, or None."""
        if not expect(bool, entry, place):
            return None
        array = take(arrays, place, self.types, *(shape(estimator) for shape in self.shapes))
        return array[()]


def take(arrays, place, types, *shapes):
    """Take an array of one of these types and shapes out of those of a file, as a copy.

    Raises
    ------
    ValueError
        If it is not there, or another one.
    """
    if place not in arrays:
        raise ValueError(f"the array {place} is missing")
    array = arrays.pop(place)
    if array.dtype.name not in types or array.shape not in shapes:
        raise ValueError(
            f"{place} is {array.dtype.name} of shape {array.shape}; by the rest of the file it must be "
            f"{' or '.join(types)} of shape {' or '.join(map(str, shapes))}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{place} holds NaN or infinity")
    return array.copy()
