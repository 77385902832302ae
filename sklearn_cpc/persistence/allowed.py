"""What may be loaded: the classes whose objects are stored, and what fit sets in each of them.

A new class, or a new attribute that fit sets, is added here. Nothing else is ever built from a file.
"""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

import numpy as np
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import StrOptions, validate_parameter_constraints
from sklearn.utils.validation import check_is_fitted

from .._constraints import POSITIVE, Each, integers
from .networks import rebuild_network


class Allowed(NamedTuple):
    """How objects of a class are stored."""

    fitted: dict = {}  # constraints on what fit sets, nothing in recipes; None among them: optional
    module: str = "sklearn_cpc"  # where the class is
    shapes: Callable = lambda estimator: {}  # returns the shapes of arrays that fit sets, by attribute
    check: Callable = lambda built: None  # raises if parameters do not make sense together


def _linear_shapes(classifier):
    """Return the shapes of a linear classifier of scikit-learn, which has one output for two classes."""
    n_outputs = len(classifier.classes_) if len(classifier.classes_) != 2 else 1
    return {"coef_": (n_outputs, classifier.n_features_in_), "intercept_": (n_outputs,)}


def _check_scaler(scaler):
    """Raise ValueError if a StandardScaler is to use a mean or scale that it lacks."""
    for parameter, attribute in (("with_mean", "mean_"), ("with_std", "scale_")):
        if getattr(scaler, parameter) and not hasattr(scaler, attribute):
            raise ValueError(f"StandardScaler has {parameter}=True, but no {attribute}")


FEATURES = {"n_features_in_": [integers(1, 2**31)], "feature_names_in_": [np.ndarray, None]}
UNIT = StrOptions({"recording(s)", "group(s)"})  # what fit holds out
OUTPUT = {"_sklearn_output_config": [dict, None]}
NETWORK = {
    "network_": [dict],
    "history_": [Each(dict, least=0, most=10**6)],
    "interrupted_": ["boolean"],
    "_random": [np.random.RandomState, None],
}
# Arrays that fit on samples, but not on paths, leaves behind
SAMPLES = {**FEATURES, "n_features_in_": [integers(1, 2**31), None]}

RECIPES = (
    *("Conv1dEncoder", "Conv2dEncoder", "LogMelEncoder", "InfoNCE", "Augmentation"),
    *("GRUContext", "LSTMContext", "CausalAttentionContext", "AttentionContext"),
)
CLASSES = {
    "CPCTransformer": Allowed(
        {**SAMPLES, **NETWORK, **OUTPUT, "_split": [Each([integers(0, 2**62), UNIT], least=3, most=3), None]}
    ),
    "AutoencoderReducer": Allowed({**FEATURES, **NETWORK, **OUTPUT, "scaler_": [StandardScaler]}),
    "LinearProbe": Allowed({**FEATURES, **NETWORK, "scaler_": [StandardScaler], "classes_": [np.ndarray]}),
    "MFCCTransformer": Allowed({**SAMPLES, **OUTPUT, "_is_fitted": ["boolean"]}),
    "Pipeline": Allowed({}, "sklearn.pipeline", check=lambda pipeline: pipeline._validate_steps()),
    "StandardScaler": Allowed(
        {
            **FEATURES,
            **OUTPUT,
            **{name: [np.ndarray, None] for name in ("mean_", "var_", "scale_")},
            "n_samples_seen_": [POSITIVE, np.ndarray],
        },
        "sklearn.preprocessing",
        lambda scaler: dict.fromkeys(("mean_", "var_", "scale_", "n_samples_seen_"), (scaler.n_features_in_,)),
        _check_scaler,
    ),
    "LogisticRegression": Allowed(
        {**FEATURES, **{name: [np.ndarray] for name in ("classes_", "coef_", "intercept_", "n_iter_")}},
        "sklearn.linear_model",
        _linear_shapes,
    ),
    **dict.fromkeys(RECIPES, Allowed()),
}
# What training makes anew, and what is for training alone: scikit-learn's callbacks and metadata requests
NOT_STORED = {"_optimizer_state", "_skl_callbacks", "_metadata_request"}
OUTPUT_KINDS = "default", "pandas", "polars"  # of set_output
DIRECTORIES = {"memory", "checkpoint"}  # parameters that are not stored: a loaded model writes nowhere


def take_apart(built):
    """Describe a recipe or fitted estimator by its class, parameters and what fit has set, or raise TypeError."""
    name, allowed = type(built).__name__, CLASSES.get(type(built).__name__)
    if allowed is None or type(built) is not _import(name):
        raise TypeError(
            f"objects of class {name} cannot be saved, only {', '.join(CLASSES)}. Save those in it, such as "
            "best_estimator_ or steps, by themselves"
        )
    parameters = built.get_params(deep=False)
    left_out = {*parameters, *NOT_STORED}
    own = {key: value for key, value in vars(built).items() if key not in left_out and value is not None}
    if hasattr(built, "fit"):  # recipes have none
        check_is_fitted(built)
    if unknown := sorted(own.keys() - allowed.fitted.keys()):
        raise TypeError(f"{name} has attributes {unknown}, which would be lost; delete them")
    if "network_" in own:
        own["network_"] = dict(built.network_.state_dict())
    stored = {key: value for key, value in parameters.items() if key not in DIRECTORIES}
    if allowed.module != "sklearn_cpc":
        # Parameters of scikit-learn come and go with its versions: store those that differ from their defaults.
        defaults = inspect.signature(type(built)).parameters
        stored = {key: value for key, value in stored.items() if not _same(value, defaults[key].default)}
    return {"class": name, "parameters": stored, "fitted": dict(sorted(own.items()))}


def put_together(description):
    """Build the recipe or fitted estimator that a description stands for; raises if it stands for none."""
    name, parameters, state = (description[key] for key in ("class", "parameters", "fitted"))
    if name not in CLASSES:
        raise ValueError(f"its class {name!r:.60} is unknown to this version, which loads {', '.join(CLASSES)}")
    if any(parameters.get(directory) is not None for directory in DIRECTORIES):
        raise ValueError(f"{name} would write to a directory that the file names")
    allowed = CLASSES[name]
    built = _import(name)(**parameters)
    built._validate_params()
    if unknown := sorted(state.keys() - allowed.fitted.keys()):
        raise ValueError(f"{name} has no attributes {unknown} in this version; use the version that wrote it")
    validate_parameter_constraints(allowed.fitted, {**dict.fromkeys(allowed.fitted), **state}, name)
    weights = state.pop("network_", None)
    vars(built).update(state)
    allowed.check(built)
    if state.get("_sklearn_output_config", {}) not in ({}, *({"transform": kind} for kind in OUTPUT_KINDS)):
        raise ValueError(f"{name} has the output {state['_sklearn_output_config']}; use one of {OUTPUT_KINDS}")
    _check_arrays(built, allowed.shapes(built))
    if weights is not None:
        built.network_ = rebuild_network(built, weights)
        getattr(built, "_n_features_out", None)  # raises if the network does not offer the pooling
    return built


def _import(name):
    return getattr(import_module(CLASSES[name].module), name)


def _same(value, default):
    return value is default or (type(value) is type(default) and value == default)


def _check_arrays(built, shapes):
    shapes = {"feature_names_in_": (getattr(built, "n_features_in_", None),), **shapes}
    for name, value in vars(built).items():
        if isinstance(value, np.ndarray):
            where = f"{type(built).__name__}.{name}"
            if value.shape != shapes.get(name, value.shape):
                raise ValueError(f"{where} has shape {value.shape}, but must have shape {shapes[name]}")
            if value.dtype.kind == "f" and name != "classes_" and not np.isfinite(value).all():
                raise ValueError(f"{where} holds NaN or infinity")
        if name == "classes_" and not (value.ndim == 1 and np.array_equal(np.unique(value), value)):
            raise ValueError(f"{type(built).__name__}.classes_ must be sorted and different")
        if name == "scaler_" and getattr(value, "n_features_in_", None) != built.n_features_in_:
            raise ValueError(f"{type(built).__name__}.scaler_ must be a StandardScaler of as many features")
