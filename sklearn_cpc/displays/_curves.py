"""Curves: what was recorded during training, and the levels to compare it with."""

import math
import re
from collections.abc import Mapping
from numbers import Real
from typing import NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._pipelines import find_nested

RECORDED_KEY = re.compile(r"(train|valid|test)_(?!batch_count)(.+?)(?<!_best)")  # of a history: split and quantity


class Curve(NamedTuple):
    """One quantity of one model over the epochs."""

    model: str
    stage: str  # what was trained: "CPC", "autoencoder", "linear probe", or the name of another class
    quantity: str  # "loss", "accuracy", or what else was recorded
    split: str  # the data it was computed on: "train", "valid" or "test"
    step: int | None  # steps ahead, for an accuracy of CPC at one future step; None: all steps
    epochs: np.ndarray  # int of shape (n_epochs,), numbered from 1
    values: np.ndarray  # float of shape (n_epochs,), NaN where the quantity was not recorded


class Level(NamedTuple):
    """A value to compare curves with, drawn as a horizontal line in the panel of a stage and a quantity."""

    stage: str
    quantity: str
    label: str
    value: float


def history_curves(history, model, stage):
    """Return the curves of a history, loss and accuracy first."""
    model_name = model or "the model"
    if not isinstance(history, (list, tuple)) or not all(isinstance(row, Mapping) for row in history):
        raise TypeError(
            f"the history of {model_name} is a {type(history).__name__}; it must be a list with a dict for every "
            "epoch, like history_."
        )
    if not history:
        raise ValueError(f"the history of {model_name} is empty: it was trained for no epoch.")
    entries = [entry for row in history for entry in row.items()]
    keys = dict.fromkeys(key for key, value in entries if isinstance(value, Real) and not isinstance(value, bool))
    epochs = np.array([row.get("epoch", number) for number, row in enumerate(history, 1)])
    curves = []
    for key in keys:
        recorded = RECORDED_KEY.fullmatch(key)
        if recorded is None:
            continue
        split, quantity = recorded.groups()
        mean, _, number = quantity.rpartition("_")
        step = None
        if number.isdecimal() and f"{split}_{mean}" in keys:  # train_accuracy_1, beside train_accuracy
            quantity, step = mean, int(number)
        values = np.array([row.get(key, math.nan) for row in history], dtype=float)
        curves.append(Curve(model, stage, quantity, split, step, epochs, values))
    if not curves:
        raise ValueError(
            f"the history of {model_name} holds no number under train_..., valid_... or test_..., only "
            f"{sorted(dict(entries))}."
        )
    order = {"loss": 0, "accuracy": 1}
    return sorted(curves, key=lambda curve: order.get(curve.quantity, 2))


def named_models(estimator, name):
    """Return {name: estimator}; those of a list are named after their class, and numbered if classes repeat."""
    if isinstance(estimator, Mapping):
        return {str(model): named for model, named in estimator.items()}
    if not isinstance(estimator, (list, tuple)):
        return {name or "": estimator}
    names = [type(one).__name__ for one in estimator]
    return {
        model if names.count(model) == 1 else f"{model} {i}": one
        for i, (model, one) in enumerate(zip(names, estimator, strict=True), 1)
    }


def trained_parts(estimator, model):
    """Return the estimator, or the steps of a Pipeline, that recorded a history of some epochs."""
    check_is_fitted(estimator)
    model = model or type(estimator).__name__
    recording = find_nested(estimator, lambda part: hasattr(part, "history_"))
    if not recording:
        raise TypeError(
            f"{model} has no history_; pass a CPCTransformer, AutoencoderReducer or LinearProbe, a Pipeline with "
            "one of them, or a history to from_history."
        )
    trained = [part for part in recording if part.history_]
    if not trained:
        raise ValueError(f"{model} was trained for no epoch; fit it with max_epochs=1 or more to get curves.")
    return trained


def chance_levels(curves, n_candidates):
    """Return the levels of guessing among equally likely candidates, for the quantities of the curves."""
    if n_candidates is None:
        return []
    levels = {
        "loss": (f"chance, ln {n_candidates}", math.log(n_candidates)),
        "accuracy": (f"chance, 1/{n_candidates}", 1 / n_candidates),
        "score": ("chance, 1/32", 1 / 32),  # CPCTransformer.score always has 31 negatives
    }
    panels = dict.fromkeys((curve.stage, curve.quantity) for curve in curves)
    return [Level(stage, quantity, *levels[quantity]) for stage, quantity in panels if quantity in levels]


def reference_levels(reference_lines, curves):
    """Return the levels that the user asked for, in the last stage that has their quantity."""
    stages = {curve.quantity: curve.stage for curve in curves}
    levels = []
    for key, value in (reference_lines or {}).items():
        quantity, named = (key, value) if isinstance(value, Mapping) else ("accuracy", {key: value})
        if quantity not in stages:
            raise ValueError(f"reference_lines names {quantity!r}, but only {sorted(stages)} were recorded.")
        levels += [Level(stages[quantity], quantity, str(label), float(level)) for label, level in named.items()]
    return levels
