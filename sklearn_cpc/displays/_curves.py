"""Curves: what a training recorded, and the levels to compare it with."""

import math
import re
from collections.abc import Mapping
from numbers import Real
from typing import NamedTuple

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

RECORD = re.compile(r"(train|valid|test)_(?!batch_count)(.+?)(?<!_best)")  # what a key of a history records
STAGES = {"CPCTransformer": "CPC", "AutoencoderReducer": "autoencoder", "LinearProbe": "linear probe"}


class Curve(NamedTuple):
    """One quantity of one model over the epochs.

    Attributes
    ----------
    model : str
        Name of the model.
    stage : str
        What was trained: "CPC", "autoencoder", "linear probe", or the name of another class.
    quantity : str
        "loss", "accuracy", or what else was recorded.
    split : {"train", "valid", "test"}
        On what data.
    step : int or None
        Future step that an accuracy of CPC is of; None: all.
    epochs : int ndarray of shape (n_epochs,)
        Numbered from 1.
    values : float ndarray of shape (n_epochs,)
        The quantity; NaN where it was not recorded.
    """

    model: str
    stage: str
    quantity: str
    split: str
    step: int | None
    epochs: np.ndarray
    values: np.ndarray


class Level(NamedTuple):
    """A value to compare curves with, drawn as a horizontal line.

    Attributes
    ----------
    stage : str
        Of the panel.
    quantity : str
        Of the panel.
    label : str
        For the legend.
    value : float
        Where to draw it.
    """

    stage: str
    quantity: str
    label: str
    value: float


# Curves


def curves_of(history, model, stage):
    """Curves of a history, those of the loss and the accuracy first."""
    if not isinstance(history, (list, tuple)) or not all(isinstance(row, Mapping) for row in history):
        raise TypeError(
            f"the history of {model or 'the model'} is a {type(history).__name__}; it must be a list with a dict "
            "for every epoch, like history_."
        )
    if not history:
        raise ValueError(
            f"the history of {model or 'the model'} is empty: it was trained for no epoch, so there is no curve."
        )
    keys = dict.fromkeys(key for row in history for key, value in row.items() if _is_number(value))
    epochs = np.array([row.get("epoch", number) for number, row in enumerate(history, 1)])
    curves = []
    for key in keys:
        recorded = RECORD.fullmatch(key)
        if recorded is None:
            continue
        split, quantity = recorded.groups()
        whole, _, step = quantity.rpartition("_")
        of_step = step.isdecimal() and f"{split}_{whole}" in keys  # train_accuracy_1, beside train_accuracy
        values = np.array([row.get(key, math.nan) for row in history], dtype=float)
        name, number = (whole, int(step)) if of_step else (quantity, None)
        curves.append(Curve(model, stage, name, split, number, epochs, values))
    if not curves:
        raise ValueError(
            f"the history of {model or 'the model'} holds no number under train_..., valid_... or test_..., only "
            f"{sorted({key for row in history for key in row})}."
        )
    first = ["loss", "accuracy"]
    return sorted(curves, key=lambda curve: first.index(curve.quantity) if curve.quantity in first else len(first))


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool)


def by_name(estimator, name):
    """Return {name: estimator}; of a list by class, numbered if one comes twice."""
    if isinstance(estimator, Mapping):
        return {str(model): named for model, named in estimator.items()}
    if not isinstance(estimator, (list, tuple)):
        return {name or "": estimator}
    names = [type(one).__name__ for one in estimator]
    return {
        model if names.count(model) == 1 else f"{model} {i}": one
        for i, (model, one) in enumerate(zip(names, estimator, strict=True), 1)
    }


def with_history(estimator, model):
    """Return the estimator, or the steps of a Pipeline, that recorded some epochs."""
    check_is_fitted(estimator)
    steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
    recording = [step for step in steps if hasattr(step, "history_")]
    if not recording:
        raise TypeError(
            f"{model or type(estimator).__name__} has no history_; pass a CPCTransformer, AutoencoderReducer or "
            "LinearProbe, a Pipeline with one of them, or the record of a training to from_history."
        )
    trained = [step for step in recording if step.history_]
    if not trained:
        raise ValueError(
            f"{model or type(estimator).__name__} was trained for no epoch, so there is no curve; fit with "
            "max_epochs=1 or more."
        )
    return trained


def stage_of(estimator):
    """Say what was trained."""
    names = [kind.__name__ for kind in type(estimator).__mro__]
    return next((STAGES[name] for name in names if name in STAGES), names[0])


# Levels


def chance_of(estimator, stage):
    """Levels of chance, as far as they are known."""
    return CHANCE[stage](estimator) if stage in CHANCE else []


def _chance_of_cpc(cpc):
    """Guessing among the true window and the negatives of whole clips in full batches."""
    across = cpc.batch_size - 1 if cpc.n_across is None else cpc.n_across * (1 - 1 / cpc.batch_size)
    within = cpc.n_context + cpc.n_future - 1
    n_windows = 1 + {"across": across, "within": within, "mixed": across + within}[cpc.negatives]
    return [*chance_among(round(n_windows), "CPC"), Level("CPC", "score", "chance, 1/32", 1 / 32)]


def _chance_of_probe(probe):
    return chance_among(len(probe.classes_), "linear probe")


def chance_among(n, stage):
    """Guessing among n that are equally likely."""
    return [
        Level(stage, "loss", f"chance, ln {n}", math.log(n)),
        Level(stage, "accuracy", f"chance, 1/{n}", 1 / n),
    ]


CHANCE = {"CPC": _chance_of_cpc, "linear probe": _chance_of_probe}


def reference_levels(reference_lines, curves):
    """Levels that were asked for, in the last stage that has their quantity."""
    by_quantity: dict[str, dict] = {}
    for key, value in (reference_lines or {}).items():
        by_quantity.setdefault(key if isinstance(value, Mapping) else "accuracy", {}).update(
            value if isinstance(value, Mapping) else {key: value}
        )
    stages = {curve.quantity: curve.stage for curve in curves}
    unknown = sorted(set(by_quantity) - set(stages))
    if unknown:
        raise ValueError(
            f"reference_lines={reference_lines!r} is of {unknown}, but what was recorded is {sorted(stages)}."
        )
    return [
        Level(stages[quantity], quantity, str(label), float(value))
        for quantity, lines in by_quantity.items()
        for label, value in lines.items()
    ]
