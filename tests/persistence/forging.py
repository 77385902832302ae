"""Model files taken apart and made anew, with the checksum that they should have."""

import functools
import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
from models import fitted
from safetensors.numpy import load as arrays_in
from safetensors.numpy import save as as_safetensors

from sklearn_cpc import save


@functools.cache
def bytes_of(name):
    with tempfile.TemporaryDirectory() as folder:
        save(fitted(name), Path(folder, "model"))
        return Path(folder, "model").read_bytes()


def opened(data):
    """Return the description and the arrays of a file."""
    arrays = dict(arrays_in(data))
    arrays.pop("sha256")
    return json.loads(arrays.pop("document").tobytes()), arrays


def sealed(document, arrays):
    """Return a file with the checksum that it should have."""
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    arrays = {**arrays, "document": np.frombuffer(text, np.uint8)}
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(
            f"{name}\0{arrays[name].dtype.str}\0{arrays[name].shape}\0".encode() + arrays[name].tobytes()
        )
    return as_safetensors({**arrays, "sha256": np.frombuffer(digest.digest(), np.uint8)})


def places(node, way=()):
    """Ways to every entry of a description, as keys of its JSON."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*way, key)
        yield from places(value, (*way, key))
