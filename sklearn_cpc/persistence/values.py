"""Values as JSON and arrays: what every file of the package consists of."""

import re
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator

from .allowed import put_together, take_apart

MAX_CHARACTERS = 2**24  # of an array of text, whose entries are padded to the longest
MAX_OBJECTS = 50  # estimators and recipes in a file


def encode(value, arrays, name):
    """Turn a value into what JSON can hold; its arrays go to ``arrays``, under names that begin with ``name``.

    A value is None, a bool, number, str, array, list or dict, or what :data:`FORMS` knows; others raise TypeError.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in (bool, float, str) or (type(value) is int and abs(value) < 2**63):
        return value
    if type(value) is list:
        return [encode(entry, arrays, _join(name, i)) for i, entry in enumerate(value)]
    if isinstance(value, dict):
        pairs = [
            [encode(key, arrays, name), encode(entry, arrays, _join(name, key))] for key, entry in value.items()
        ]
        if any(isinstance(key, (list, dict)) for key, _ in pairs):
            raise TypeError(f"{name or 'it'} has keys that are neither text nor numbers, which cannot be stored")
        return {"dict": pairs}
    if type(value) is np.ndarray and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
        arrays[name] = np.array(value, value.dtype.newbyteorder("="), order="C")
        return {"array": name}
    for tag, (kind, simplify, _) in FORMS.items():
        if isinstance(value, kind):
            try:
                simple = simplify(value)
            except TypeError as error:
                raise TypeError(f"{name}: {error}" if name else str(error)) from error
            return {tag: encode(simple, arrays, name)}
    raise TypeError(f"{name or 'it'} is {value!r:.200}, of type {type(value).__name__}, which cannot be stored")


def _join(name, key):
    return f"{name}/{key}" if name else str(key)


def decode(entry, arrays, n_objects=None):
    """Return the value that JSON stands for, with its arrays taken out of ``arrays``; raises if there is none."""
    n_objects = n_objects or count(1)
    if type(entry) is list:
        return [decode(item, arrays, n_objects) for item in entry]
    if type(entry) is int and abs(entry) >= 2**63:
        raise ValueError("it holds an integer of more than 64 bits")
    if type(entry) is not dict:
        encode(entry, {}, "")  # raises for what is never stored
        return entry
    ((tag, content),) = entry.items()
    if tag == "array":
        encode(arrays[content], {}, content)
        return arrays.pop(content)
    if tag == "dict":
        # Keys that are text or numbers cannot be chosen so that a dict becomes slow.
        if any(isinstance(key, (list, dict)) for key, _ in content):
            raise ValueError("it holds a key that is neither text nor a number")
        return {decode(key, arrays): decode(item, arrays, n_objects) for key, item in content}
    if tag == "object" and next(n_objects) > MAX_OBJECTS:
        raise ValueError(f"it holds more than {MAX_OBJECTS} estimators and recipes")
    _, _, restore = FORMS[tag]
    return restore(decode(content, arrays, n_objects))


def _simplify_text(array):
    """Turn an array of text into its type and a list."""
    texts = array.ravel().tolist()
    if array.dtype.kind not in "UO" or array.ndim != 1 or not all(type(text) is str for text in texts):
        raise TypeError(f"arrays of type {array.dtype} cannot be stored, only those of numbers, bool or text")
    return [array.dtype.newbyteorder("=").str.lstrip("<>|="), texts]


def _restore_text(content):
    dtype, texts = content
    if not re.fullmatch(r"O|U\d{1,8}", dtype) or int(dtype[1:] or 0) * len(texts) > MAX_CHARACTERS:
        raise ValueError(f"an array of {len(texts)} texts of type {dtype!r} is no array of text, or too large")
    if not all(type(text) is str for text in texts):
        raise ValueError("an array of text holds something else")
    return np.array(texts, dtype)


def _restore_generator(state):
    kind, keys, position, has_gauss, gauss = state
    # NumPy would accept a position beyond the keys, and read beyond its memory.
    if keys.shape != (624,) or keys.dtype != np.uint32 or not 0 <= position <= 624 or has_gauss not in (0, 1):
        raise ValueError("the state of a random generator is damaged")
    random = np.random.RandomState(0)
    random.set_state((kind, keys, position, has_gauss, float(gauss)))
    return random


def _simplify_generator(random):
    kind = random.get_state(legacy=False)["bit_generator"]
    if kind != "MT19937":
        raise TypeError(f"a generator of type {kind} cannot be stored; use an int as random_state")
    return list(random.get_state())


# A type, how its values become simpler ones, and how they come back
FORMS: dict[str, tuple[Any, Callable, Callable]] = {
    "tuple": (tuple, list, tuple),
    "device": (torch.device, str, str),
    "tensor": (torch.Tensor, lambda tensor: tensor.detach().cpu().numpy(), torch.from_numpy),
    "text": (np.ndarray, _simplify_text, _restore_text),
    "object": (BaseEstimator, take_apart, put_together),
    "generator": (np.random.RandomState, _simplify_generator, _restore_generator),
}
