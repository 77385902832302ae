"""Parameters: what they may be."""

import os
from numbers import Integral, Real

import numpy as np
from sklearn.utils.validation import check_scalar
from skorch.callbacks import Callback

from .nn.augmentation import Augmentation
from .nn.network import PREDICT_FROM
from .nn.objective import NEGATIVES, SIMILARITIES, STEP_WEIGHTS, check_option
from .training.device import PRECISIONS
from .training.loop import SCHEDULES


def check_cpc(cpc):
    """Raise ValueError or TypeError unless the parameters of a CPCTransformer can be used."""
    check_training_parameters(cpc)
    check_scalar(cpc.clip_duration, "clip_duration", Real, min_val=0, max_val=np.inf, include_boundaries="neither")
    check_scalar(cpc.n_context, "n_context", Integral, min_val=1)
    check_scalar(cpc.n_future, "n_future", Integral, min_val=1)
    if cpc.n_clips is not None:
        check_scalar(cpc.n_clips, "n_clips", Integral, min_val=1)
    if cpc.temperature is not None:
        check_scalar(cpc.temperature, "temperature", Real, min_val=0, include_boundaries="neither")
    if cpc.trim is not None:
        check_scalar(cpc.trim, "trim", Real, min_val=0, include_boundaries="neither")
    for name in ("n_across", "projection"):
        if getattr(cpc, name) is not None:
            check_scalar(getattr(cpc, name), name, Integral, min_val=1)
    check_scalar(
        cpc.validation_fraction, "validation_fraction", Real, min_val=0, max_val=1, include_boundaries="left"
    )
    if cpc.augmentation is not None and not isinstance(cpc.augmentation, Augmentation):
        raise TypeError(
            f"augmentation={cpc.augmentation!r} must be an Augmentation(...) or None for no augmentation."
        )
    check_option("schedule", cpc.schedule, tuple(SCHEDULES))
    check_option("negatives", cpc.negatives, NEGATIVES)
    check_option("similarity", cpc.similarity, SIMILARITIES)
    check_option("step_weights", cpc.step_weights, STEP_WEIGHTS)
    check_option("predict_from", cpc.predict_from, PREDICT_FROM)
    check_option("precision", cpc.precision, PRECISIONS)
    check_checkpoint(cpc)


def check_checkpoint(cpc):
    """Raise unless a training can be gone on with exactly, or there are no checkpoints."""
    check_scalar(cpc.checkpoint_every, "checkpoint_every", Integral, min_val=1)
    if cpc.checkpoint is None:
        return
    if not isinstance(cpc.checkpoint, (str, os.PathLike)):
        raise TypeError(f"checkpoint={cpc.checkpoint!r} must be a directory, or None for no checkpoints.")
    if not isinstance(cpc.random_state, Integral):
        raise ValueError(
            f"checkpoint={str(cpc.checkpoint)!r} needs an int for random_state, got {cpc.random_state!r}: a "
            "training with other random numbers cannot be gone on with."
        )
    if cpc.warm_start:
        raise ValueError(
            f"checkpoint={str(cpc.checkpoint)!r} cannot go with warm_start=True: both say what fit goes on from."
        )


def check_training_parameters(estimator):
    """Raise unless max_epochs, batch_size, lr and callbacks can be used."""
    check_scalar(estimator.max_epochs, "max_epochs", Integral, min_val=0)
    check_scalar(estimator.batch_size, "batch_size", Integral, min_val=1)
    check_scalar(estimator.lr, "lr", Real, min_val=0, include_boundaries="neither")
    if not isinstance(estimator.callbacks or [], (list, tuple)):
        raise TypeError(f"callbacks={estimator.callbacks!r} must be a list of skorch callbacks.")
    for callback in estimator.callbacks or []:
        callback = callback[1] if isinstance(callback, tuple) and len(callback) == 2 else callback
        check_callback(callback, bool(getattr(estimator, "validation_fraction", 0)))


def check_callback(callback, validates):
    """Raise unless it is a skorch callback, or its class, that monitors something there is."""
    callback = callback() if isinstance(callback, type) and issubclass(callback, Callback) else callback
    if not isinstance(callback, Callback):
        raise TypeError(f"callbacks holds {callback!r}, which is not a skorch callback.")
    monitor = getattr(callback, "monitor", None)
    if isinstance(monitor, str) and monitor.startswith("valid_loss"):
        raise ValueError(
            f"callbacks: {type(callback).__name__} monitors {monitor!r}, but there is no validation set; "
            f"pass monitor={monitor.replace('valid', 'train')!r}."
        )
    if isinstance(monitor, str) and monitor.startswith("valid_score") and not validates:
        raise ValueError(
            f"callbacks: {type(callback).__name__} monitors {monitor!r}, but no recordings are held out; set "
            "validation_fraction=0.1, for example."
        )
