"""Models: save fitted estimators to files, and load them."""

import copyreg
import os

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from .._constraints import Constrained
from .._pipelines import find_nested
from .allowed import DIRECTORIES
from .container import pack, read_file, unpack, write_file
from .networks import first_difference


def save(estimator, path):
    """Write a fitted pipeline, or estimator, to one file that holds no code.

    Estimators of this package have this as their method ``save``. The file is a safetensors container of arrays,
    with parameters as JSON, for :func:`load`. It is loaded once before it replaces an earlier file as a whole.

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
        If a part of it is code, such as a module, function or callback, or of another class. It is named.
    ValueError
        If parameters were changed after ``fit`` so that they no longer describe what was fitted.
    OSError
        If the file cannot be written; an earlier one stays unchanged.

    Notes
    -----
    The file does not hold directories of one machine, such as ``memory``, nor the state of the optimizer, which
    ``partial_fit`` starts anew, as after joblib. NumPy's numbers among the parameters come back as Python's.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn_cpc import AutoencoderReducer, load, save
    >>> rows = np.random.default_rng(0).standard_normal((64, 8))
    >>> pipe = make_pipeline(StandardScaler(), AutoencoderReducer(2, random_state=0)).fit(rows)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(pipe, f"{folder}/pipe.safetensors")
    ...     same = load(f"{folder}/pipe.safetensors")
    >>> np.array_equal(same.transform(rows), pipe.transform(rows))
    True
    """
    write_file(os.path.realpath(os.fsdecode(path)), to_bytes(estimator))  # a link stays a link


def load(path):
    """Read an estimator that was saved by :func:`save`.

    Nothing in the file is executed, and no other file is opened: it names classes of a fixed list, and its
    sizes are checked against its arrays before a network is built.

    Parameters
    ----------
    path : str or path-like
        Name of the file.

    Returns
    -------
    estimator
        Fitted: it transforms and predicts like the saved one, and can be cloned, refitted and trained further.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is damaged, was altered, is no such file, or has another format. The message says which.

    Notes
    -----
    The checksum in the file reveals damage. It is no signature: whoever can write the file can write another
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
        return from_bytes(read_file(path))
    except ValueError as error:
        raise ValueError(f"cannot load {path!r}: {error}.") from error


def to_bytes(estimator):
    """Describe a fitted estimator by the bytes of a file, and make sure that they load as the same estimator."""
    try:
        data = pack(estimator)
    except TypeError as error:
        raise TypeError(
            f"cannot save: {error}. Modules, functions and callbacks are code, which these files do not hold: use "
            "recipes and set_params(callbacks=None), or joblib.dump, and joblib.load only for files you trust."
        ) from error
    try:
        trained = (
            find_nested(one, lambda part: hasattr(part, "network_")) for one in (estimator, from_bytes(data))
        )
        for one, loaded in zip(*trained, strict=True):
            if difference := first_difference(one.network_, loaded.network_):
                name = type(one).__name__
                raise ValueError(f"network_ of {name} is not what its parameters describe: {difference}")
    except ValueError as error:
        raise ValueError(
            f"cannot save what would load as something else: {error}. If a parameter was changed after fit, set "
            "it back or fit again, or use joblib.dump, and joblib.load only for files you trust."
        ) from error
    return data


def from_bytes(data):
    """Build the estimator that a file's bytes describe."""
    estimator, _ = unpack(data)
    if not hasattr(estimator, "get_params"):
        raise ValueError("it holds no estimator, but perhaps a checkpoint")
    return estimator


class Attributes(dict):
    """All attributes of an estimator in a pickle. skops loads none unless its user trusts this class."""


class SaveMixin(Constrained, BaseEstimator):
    """The method ``save``, and how estimators are pickled, copied and stored by skops."""

    def __reduce_ex__(self, protocol):
        """Pickle and copy the attributes, all of them."""
        return copyreg.__newobj__, (type(self),), Attributes(super().__getstate__())  # type: ignore[attr-defined]

    def __getstate__(self):
        """State for libraries that store no code, such as skops: for a fitted estimator, its model file."""
        try:
            return {"model": np.frombuffer(to_bytes(self), np.uint8)}
        except (TypeError, NotFittedError):
            # The library may store or refuse callbacks, modules and subclasses itself.
            return {**super().__getstate__(), **self._without_directories()}

    def __setstate__(self, state):
        """Take the attributes, or those that a model file describes; directories from a pickle alone."""
        if state.keys() == {"model"}:
            loaded = from_bytes(np.asarray(state["model"], np.uint8).tobytes())
            if type(loaded) is not type(self):
                raise ValueError(f"the model file of a {type(self).__name__} describes a {type(loaded).__name__}.")
            state = vars(loaded)
        super().__setstate__(state)
        if not isinstance(state, Attributes):
            self.__dict__.update(self._without_directories())

    def _without_directories(self):
        return dict.fromkeys(DIRECTORIES.intersection(self._get_param_names()))

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
