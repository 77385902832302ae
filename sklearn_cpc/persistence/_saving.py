"""Save and load: estimators to files and back."""

import os

from ._attributes import CHANGED
from ._file import check_target, pack, read_bytes, unpack, write_bytes
from ._forms import compare, put_together, take_apart


def save(estimator, path):
    """Write a fitted estimator, or a pipeline of them, to one file that holds no code.

    The file is what :func:`load` reads: a safetensors container of arrays, with parameters as JSON. It is
    loaded once before it is written, and replaces an earlier file only when all of it is on the disk.

    Parameters
    ----------
    estimator : estimator
        Fitted: a :class:`CPCTransformer`, :class:`AutoencoderReducer`, :class:`LinearProbe`,
        :class:`MFCCTransformer`, scikit-learn's StandardScaler or LogisticRegression, or a Pipeline of them.
    path : str or path-like
        Name of the file, for example ``"model.safetensors"``.

    Raises
    ------
    NotFittedError
        If it, or a part of it, is not fitted.
    TypeError
        If a part of it is code or cannot be stored: modules and functions of your own, callbacks, estimators
        of other classes. The message names the part.
    ValueError
        If parameters were changed after ``fit`` so that they no longer describe what was fitted.
    OSError
        If the file cannot be written; an earlier one is left as it was.

    See Also
    --------
    load : The way back.

    Notes
    -----
    What is not stored: directories of one machine, such as ``memory``; the state of the optimizer, so that
    ``partial_fit`` starts it anew, as after joblib; and on which device the network was. NumPy's numbers among
    the parameters come back as Python's, a ``torch.device`` as its name.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sklearn_cpc import AutoencoderReducer, load, save
    >>> rows = np.random.default_rng(0).standard_normal((64, 8))
    >>> reducer = AutoencoderReducer(2, random_state=0).fit(rows)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(reducer, f"{folder}/reducer.safetensors")
    ...     same = load(f"{folder}/reducer.safetensors")
    >>> np.array_equal(same.transform(rows), reducer.transform(rows))
    True
    """
    path = os.fsdecode(path)
    check_target(os.path.realpath(path))
    write_bytes(path, to_bytes(estimator))


def load(path):
    """Read an estimator that :func:`save` has written.

    Nothing in the file is executed, and no other file is opened: it names classes of a fixed list, and its
    sizes are checked against the arrays in it before a network is built.

    Parameters
    ----------
    path : str or path-like
        Name of the file.

    Returns
    -------
    estimator
        Fitted; it computes what the saved one did, and fits, clones and trains on like it.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is damaged, was altered, is no such file, or is of a later format. The message says which.

    See Also
    --------
    save : Writes it.

    Notes
    -----
    The checksum in the file tells damage. It is no signature: who can write the file can write another
    checksum, and with it another model, though none that runs code.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sklearn_cpc import MFCCTransformer, load
    >>> mfcc = MFCCTransformer(13).fit(np.zeros((1, 22050)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mfcc.save(f"{folder}/mfcc.safetensors")
    ...     load(f"{folder}/mfcc.safetensors")
    MFCCTransformer(n_mfcc=13)
    """
    path = os.fsdecode(path)
    try:
        return from_bytes(read_bytes(path))
    except (OSError, MemoryError):
        raise
    except Exception as error:  # of what is malformed in a new way, too
        kind = "" if isinstance(error, ValueError) else f"it is malformed, {type(error).__name__}: "
        reason = str(error)[:1000]  # it may quote what is in the file
        raise ValueError(f"cannot load {path!r}: {kind}{reason}.") from error


def to_bytes(estimator):
    """Describe a fitted estimator by the bytes of a file, and make sure that they come back as it."""
    arrays: dict = {}
    node = take_apart(estimator, "", arrays)
    data = pack(node, arrays)
    try:
        loaded = from_bytes(data)
    except ValueError as error:
        raise ValueError(f"cannot save what load would refuse: {error}. {CHANGED}") from error
    compare(estimator, loaded)
    return data


def from_bytes(data):
    """Put the estimator together that a file's bytes describe."""
    node, arrays = unpack(data)
    estimator = put_together(node, "", arrays)
    if arrays:
        raise ValueError(f"it holds arrays that nothing needs: {sorted(arrays)[:3]}")
    return estimator


class SaveMixin:
    """The method ``save``."""

    def save(self, path):
        """Write the fitted estimator to one file that holds no code; :func:`sklearn_cpc.load` reads it.

        Parameters
        ----------
        path : str or path-like
            Name of the file, for example ``"model.safetensors"``.

        Raises
        ------
        NotFittedError, TypeError, ValueError, OSError
            See :func:`sklearn_cpc.save`.
        """
        save(self, path)
