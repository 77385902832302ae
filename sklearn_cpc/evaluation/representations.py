"""What is compared: estimators by name, their baselines, and the probe that classifies their features."""

import contextlib

from joblib import Parallel, delayed
from sklearn.base import clone, is_classifier
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from .._files import ScratchFolder
from .._pipelines import find_nested
from .._processes import progress
from ..audio.clips import as_clips
from ..cpc import CPCTransformer
from ..mfcc import MFCCTransformer
from ..nn.network import get_sample_rate

UNTRAINED = "{} (untrained)"


def _is_cpc(part):
    return isinstance(part, CPCTransformer)


def named_estimators(representations):
    """Return estimators by name; "passthrough" becomes a transformer that returns its input."""
    named = representations if isinstance(representations, dict) else {"representation": representations}
    if not named:
        raise ValueError("representations is empty; pass at least one estimator by name.")
    return {name: FunctionTransformer() if part == "passthrough" else part for name, part in named.items()}


def add_baselines(named, X):
    """Add chance, MFCCs and untrained twins, unless their names are taken."""
    cpcs = [cpc for estimator in named.values() for cpc in find_nested(estimator, _is_cpc)]
    baselines = {"chance": DummyClassifier()}
    if as_clips(X) is not None:
        baselines["mfcc"] = MFCCTransformer()
    elif cpcs:
        baselines["mfcc"] = MFCCTransformer(sample_rate=get_sample_rate(cpcs[0].encoder))
    result = {name: estimator for name, estimator in baselines.items() if name not in named}
    for name, estimator in named.items():
        twin = untrained_twin(estimator)
        if twin is not None and UNTRAINED.format(name) not in named:
            result[UNTRAINED.format(name)] = twin
        result[name] = estimator
    return result


def untrained_twin(estimator):
    """Return a copy whose networks keep their initial random weights, or None if no network is trained."""
    twin = clone(estimator)
    trained = [cpc for cpc in find_nested(twin, _is_cpc) if cpc.max_epochs != 0]
    for cpc in trained:
        cpc.set_params(max_epochs=0, callbacks=None, warm_start=False)
    return twin if trained else None


def seeded_clone(estimator, seed, memory):
    """Return a clone with all seeds set, and with a cache for decoded recordings where it has none."""
    estimator = clone(estimator)
    for reader in find_nested(estimator, lambda part: isinstance(part, (CPCTransformer, MFCCTransformer))):
        if reader.memory is None:
            reader.set_params(memory=memory)
    seeds = {name: seed for name in estimator.get_params() if f"__{name}".endswith("__random_state")}
    return estimator.set_params(**seeds)


def train_all(train, named, probe, n_seeds, first_seed, settings, memory, n_jobs, verbose=0):
    """Return by name the results of ``train(features, classifier, *setting)`` for each seed and setting."""
    seeds = range(first_seed, first_seed + n_seeds)
    tasks = [(name, seed, setting) for name in named for seed in seeds for setting in settings]
    with ScratchFolder() if memory is None else contextlib.nullcontext(memory) as memory:
        results = Parallel(n_jobs=n_jobs, return_as="generator")(
            delayed(train)(*split_pipeline(seeded_clone(named[name], seed, memory), probe), *setting)
            for name, seed, setting in tasks
        )
        by_name: dict[str, list] = {name: [] for name in named}
        for (name, _, _), result in zip(tasks, progress(results, len(tasks), "comparing", verbose), strict=True):
            by_name[name].append(result)
    return by_name


def split_pipeline(estimator, probe):
    """Return the part that computes features, and the classifier of these features."""
    if isinstance(estimator, Pipeline) and is_classifier(estimator) and len(estimator) > 1:
        return estimator[:-1], estimator[-1]
    if is_classifier(estimator):
        return FunctionTransformer(), estimator
    if probe is None:  # strong regularisation: often there are many more features than rows
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=1000))
    return estimator, clone(probe)
