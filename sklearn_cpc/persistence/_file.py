"""The file: a safetensors container, with a JSON document in its metadata and a digest over every byte."""

import hashlib
import json
import os
import platform
import secrets
import stat

import numpy as np
import safetensors
import safetensors.numpy
import sklearn
import torch

from .._files import atomic_write
from .._version import __version__
from ._json import parse

FORMAT = 1
KEY = "sklearn_cpc"  # of the document in the metadata
MAX_HEADER = 2**24  # bytes
DTYPES = {"F64": "float64", "F32": "float32", "I64": "int64", "I32": "int32", "U32": "uint32"}

# A file holds its own digest, which was computed with zeros in its place. It comes first in the document, which
# is JSON within the header's JSON, so that quotes are escaped.
BEFORE_DIGEST = rb'"{\"sha256\": \"'
NO_DIGEST = "0" * 64

ADVICE = "Take another copy of it, or save the estimator again"


def pack(node, arrays):
    """Turn the description of an estimator and its arrays into the bytes of a file.

    Parameters
    ----------
    node : dict
        What JSON can hold.
    arrays : dict of {str: ndarray}

    Returns
    -------
    bytes

    Raises
    ------
    TypeError
        If an array is of a type that files do not hold.
    ValueError
        If the description is too long.
    """
    for name, array in arrays.items():
        if array.dtype.name not in DTYPES.values():
            known = ", ".join(DTYPES.values())
            raise TypeError(f"{name} is of type {array.dtype.name}, but a file holds {known} only.")
    document = {"sha256": NO_DIGEST, "format": FORMAT, "versions": versions(), "estimator": node}
    metadata = {KEY: json.dumps(document, allow_nan=False)}
    if len(metadata[KEY]) > MAX_HEADER // 2:  # quotes are escaped, and arrays need room
        raise ValueError(
            f"parameters, names, labels and history take {len(metadata[KEY])} bytes as JSON, of {MAX_HEADER // 2} "
            "that are allowed; shorten history_, for example."
        )
    # Copies, since safetensors takes the memory of an array as it lies there.
    data = safetensors.numpy.save({name: np.array(a, order="C") for name, a in arrays.items()}, metadata)
    start, stop = digest_place(data[: 8 + header_length(data[:8], len(data))])
    return b"".join([data[:start], digest(data, start, stop), data[stop:]])


def versions():
    """Versions of what decides how an estimator computes."""
    return {
        "sklearn_cpc": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "torch": torch.__version__,
    }


def unpack(data):
    """Turn the bytes of a file back into the description of an estimator and its arrays.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    node : dict
    arrays : dict of {str: ndarray}
        Read-only, by name.

    Raises
    ------
    ValueError
        If anything is wrong with them.
    """
    end = 8 + header_length(data[:8], len(data))
    start, stop = digest_place(data[:end])
    if data[start:stop] != digest(data, start, stop):
        raise ValueError(f"its checksum is wrong: it is damaged or was altered. {ADVICE}")
    header = parse(data[8:end].decode())
    document = parse(header.pop("__metadata__")[KEY])
    check_format(document["format"], document["versions"])
    for name, tensor in header.items():
        if tensor["dtype"] not in DTYPES:
            raise ValueError(f"{name!r} is of type {tensor['dtype']!r}, not one of {', '.join(DTYPES)}")
    return document["estimator"], safetensors.numpy.load(data)  # which checks shapes and offsets


def header_length(head, size):
    """Length of a file's header, from its first eight bytes and its size; raises unless that can be."""
    length = int.from_bytes(head, "little")
    if length > min(MAX_HEADER, size - 8):
        raise ValueError(
            f"it is cut off, or no file of sklearn_cpc.save: a header of {length} bytes does not fit into a file "
            f"of {size}, or is longer than the {MAX_HEADER} bytes allowed. {ADVICE}"
        )
    return length


def digest_place(head):
    """Where the digest begins and ends in a file, from its beginning with all of the header."""
    start = head.find(BEFORE_DIGEST) + len(BEFORE_DIGEST)
    if start < len(BEFORE_DIGEST):
        raise ValueError(
            "it was not written by sklearn_cpc.save, or is damaged. Files of joblib are for joblib.load, if you "
            "trust them"
        )
    return start, start + len(NO_DIGEST)


def digest(data, start, stop):
    """SHA-256 of a file's bytes, in hexadecimal digits, with zeros from ``start`` to ``stop``."""
    view = memoryview(data)
    sha = hashlib.sha256(view[:start])
    sha.update(NO_DIGEST.encode())
    sha.update(view[stop:])
    return sha.hexdigest().encode()


def check_format(number, made_by):
    """Raise unless this release reads documents of this format."""
    if type(number) is not int or not 1 <= number <= FORMAT:
        raise ValueError(
            f"it is of format {number!r}, and this release of sklearn_cpc, {__version__}, reads formats up to "
            f"{FORMAT}. It was written with {made_by}: install that release or a newer one"
        )


def read_bytes(path):
    """Read a file; one that cannot be of ours is left after its header.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is none of ours.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):  # before it is opened: a pipe would never end
        raise ValueError("it is a directory or a device, not a file")
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(8)
        header = file.read(header_length(head, size))
        digest_place(head + header)
        n_data = size - len(head) - len(header)
        if n_data != extent(header):
            raise ValueError(
                f"it is cut off or damaged: its arrays take {extent(header)} bytes, not {n_data}. {ADVICE}"
            )
        return b"".join([head, header, file.read(n_data)])


def extent(header):
    """Count the bytes of all arrays, by a header."""
    tensors = parse(header.decode())
    return max(
        (tensor["data_offsets"][1] for name, tensor in tensors.items() if name != "__metadata__"), default=0
    )


def write_bytes(path, data):
    """Write a file whole or not at all: what was there before stays until all is on the disk.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    target = os.path.realpath(path)  # a link stays one
    check_target(target)
    folder = os.path.dirname(target)
    scratch = os.path.join(folder, f".sklearn_cpc-{secrets.token_hex(8)}.tmp")
    try:
        with atomic_write(target, scratch, durable=True) as file:
            file.write(data)
            if os.path.exists(target):
                os.chmod(scratch, stat.S_IMODE(os.stat(target).st_mode))
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot write there: {error.strerror}. What was there before is as it was; make room or choose "
            "another folder",
            path,
        ) from error


def check_target(path):
    """Raise if there is something that must not be replaced by a file."""
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a directory; name a file in it, such as model.safetensors.")
    if os.path.exists(path) and not os.path.isfile(path):
        raise FileExistsError(f"{path} is a device or a pipe; name a file to write to.")
