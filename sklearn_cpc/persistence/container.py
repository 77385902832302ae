"""The container: a safetensors file of arrays, a JSON document among them, and a checksum over everything."""

import contextlib
import hashlib
import json
import os
import platform
import stat

import numpy as np
import safetensors.numpy
import sklearn
import torch

from .._files import atomic_write, remove_abandoned
from .._version import __version__
from .values import decode, encode

FORMAT = 1
MAX_DOCUMENT = 2**21  # bytes of JSON: a history of thousands of epochs
MAX_HEADER = 2**22  # bytes before the arrays, which say where each is: a document names no more
MAX_LISTS = 2**17  # and objects in it; those of a real one take more than 16 bytes each
DOCUMENT, CHECKSUM = "document", "sha256"  # names of arrays

ADVICE = "take another copy of it, or make it again"


def pack(value):
    """Turn a value into the bytes of a file, or raise TypeError or ValueError if it cannot be stored."""
    arrays: dict = {}
    content = encode(value, arrays, "")
    document = json.dumps({"format": FORMAT, "versions": library_versions(), "content": content}).encode()
    if len(document) > MAX_DOCUMENT:
        size = f"{len(document)} bytes as JSON, of {MAX_DOCUMENT} that are allowed"
        raise ValueError(f"parameters, names, labels and history take {size}; shorten history_, for example")
    arrays[DOCUMENT] = np.frombuffer(document, np.uint8)
    arrays[CHECKSUM] = np.frombuffer(hash_arrays(arrays), np.uint8)
    return safetensors.numpy.save(arrays)


def unpack(data):
    """Return the value in the bytes of a file, and the versions of what wrote it, or raise ValueError."""
    if int.from_bytes(data[:8], "little") > MAX_HEADER:
        raise ValueError(f"it is no file of sklearn_cpc, or cut off: it states a header too large; {ADVICE}")
    try:
        arrays = {name: array.copy() for name, array in safetensors.numpy.load(data).items()}
        checksum = arrays.pop(CHECKSUM).tobytes()
    except Exception as error:  # safetensors has exceptions of its own
        raise ValueError(f"it is no file of sklearn_cpc, or cut off ({error}); {ADVICE}") from error
    if checksum != hash_arrays(arrays):
        raise ValueError(f"its checksum is wrong: it is damaged or was altered; {ADVICE}")
    text = arrays.pop(DOCUMENT, np.empty(0, np.uint8)).tobytes()
    if len(text) > MAX_DOCUMENT:
        raise ValueError(f"its description takes {len(text)} bytes, of {MAX_DOCUMENT} that are allowed")
    if text.count(b"[") + text.count(b"{") > MAX_LISTS:
        raise ValueError(f"its description consists of more than {MAX_LISTS} parts")
    try:
        document = json.loads(text)
        number, versions = document["format"], document["versions"]
        if number == FORMAT:
            value = decode(document["content"], arrays)
    except RecursionError:
        raise ValueError("its description is nested too deeply") from None
    except Exception as error:  # a description that makes no sense may raise anything
        kind = "" if isinstance(error, ValueError) else f"its description is malformed, {type(error).__name__}: "
        raise ValueError(f"{kind}{error}"[:1000]) from error
    if number != FORMAT:
        raise ValueError(
            f"it has format {number!r}, but sklearn_cpc {__version__} reads format {FORMAT}; use the version that "
            f"wrote it, {versions}"
        )
    if arrays:
        raise ValueError(f"it holds arrays that nothing uses: {sorted(arrays)[:3]}")
    return value, versions


def library_versions():
    """Versions of the libraries that decide what an estimator computes."""
    return {
        "sklearn_cpc": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "torch": torch.__version__,
    }


def hash_arrays(arrays):
    """SHA-256 of the names, types, shapes and contents of arrays, as bytes."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.digest()


def read_file(path):
    """Read the bytes of a file; raises ValueError if its beginning shows that it is none of ours."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # before it is opened: a pipe would never end
        raise ValueError("it is a directory or a device, not a file")
    with open(path, "rb") as file:
        size, head = os.fstat(file.fileno()).st_size, file.read(8)
        if int.from_bytes(head, "little") > size - 8:  # the length of the header
            raise ValueError(f"it is no file of sklearn_cpc, or cut off; {ADVICE}")
        return head + file.read()


def write_file(path, data):
    """Write a file atomically: what was there before stays until everything is on the disk."""
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a directory; name a file in it, such as model.safetensors.")
    if os.path.exists(path) and not os.path.isfile(path):
        raise FileExistsError(f"{path} is a device or a pipe; name a file to write to.")
    remove_abandoned(os.path.dirname(path) or os.curdir)
    try:
        with atomic_write(path, durable=True) as file:
            with contextlib.suppress(FileNotFoundError):
                os.chmod(file.name, stat.S_IMODE(os.stat(path).st_mode))
            file.write(data)
    except OSError as error:
        advice = "What was there before is unchanged; make room or choose another folder"
        raise OSError(error.errno, f"cannot write there: {error.strerror}. {advice}", path) from error
