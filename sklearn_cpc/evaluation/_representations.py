"""What is compared: estimators by name, their baselines, and what classifies their features."""

import contextlib
import tempfile

from sklearn.base import clone, is_classifier
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from ..audio.clips import as_clips
from ..cpc import CPCTransformer
from ..mfcc import MFCCTransformer
from ..nn.network import get_sample_rate

UNTRAINED = "{} (untrained)"


def named_estimators(representations):
    """Return estimators by name; "passthrough" takes rows for features."""
    named = representations if isinstance(representations, dict) else {"representation": representations}
    if not named:
        raise ValueError("representations is empty; pass at least one estimator by name.")
    return {name: FunctionTransformer() if part == "passthrough" else part for name, part in named.items()}


def with_baselines(named, X):
    """Add chance, MFCCs and untrained twins, but for names that are taken."""
    cpcs = [part for estimator in named.values() for part in _parts_of(estimator, CPCTransformer).values()]
    before = {"chance": DummyClassifier()}
    if as_clips(X) is not None:
        before["mfcc"] = MFCCTransformer()
    elif cpcs:
        before["mfcc"] = MFCCTransformer(sample_rate=get_sample_rate(cpcs[0].encoder))
    twins = {name: (UNTRAINED.format(name), untrained_twin(estimator)) for name, estimator in named.items()}
    added = {name: estimator for name, estimator in before.items() if name not in named}
    for name, estimator in named.items():
        label, twin = twins[name]
        if twin is not None and label not in named:
            added[label] = twin
        added[name] = estimator
    return added


def _parts_of(estimator, kinds):
    """Nested estimators of some class, by the name of their parameter; the estimator itself by ''."""
    parts = {"": estimator, **estimator.get_params()}
    return {name: part for name, part in parts.items() if isinstance(part, kinds)}


def untrained_twin(estimator):
    """Return the same with networks that keep their random weights, or None where no network is trained."""
    trained = [name for name, cpc in _parts_of(estimator, CPCTransformer).items() if cpc.max_epochs > 0]
    if not trained:
        return None
    changes = {"max_epochs": 0, "callbacks": None, "warm_start": False}
    return clone(estimator).set_params(
        **{f"{part}__{name}".removeprefix("__"): value for part in trained for name, value in changes.items()}
    )


def ready(estimator, seed, memory):
    """Return a clone with its seeds, and a place for decoded recordings where it has none."""
    estimator = clone(estimator)
    changes = {name: seed for name in estimator.get_params() if f"__{name}".endswith("__random_state")}
    for name, part in _parts_of(estimator, (CPCTransformer, MFCCTransformer)).items():
        if part.memory is None:
            changes[f"{name}__memory".removeprefix("__")] = memory
    return estimator.set_params(**changes)


@contextlib.contextmanager
def decoded_once(memory):
    """Give a directory for decoded recordings: this one, or a temporary one."""
    if memory is not None:
        yield memory
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        yield directory


def divide(estimator, probe):
    """Return what computes features and what classifies them."""
    if isinstance(estimator, Pipeline) and is_classifier(estimator):
        return estimator[:-1] if len(estimator) > 1 else FunctionTransformer(), estimator[-1]
    if is_classifier(estimator):
        return FunctionTransformer(), estimator
    return estimator, default_probe() if probe is None else clone(probe)


def default_probe():
    """Logistic regression on standardised features, regularised for many more features than rows."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=1000))
