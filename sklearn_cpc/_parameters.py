"""Parameters of CPCTransformer: what they may be."""

import os
from numbers import Integral, Real

import numpy as np
from sklearn.utils.validation import check_scalar

from .nn.augmentation import Augmentation
from .nn.loss import NEGATIVES, SIMILARITIES, STEP_WEIGHTS, check_option
from .nn.network import PREDICT_FROM
from .nn.training import PRECISIONS, SCHEDULES, check_training_parameters


def check_cpc(cpc):
    """Raise ValueError or TypeError unless the parameters of an estimator can be used."""
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
