"""skops and pickle store estimators: skops without code and directories, pickle with everything."""

import copy
import pickle

import numpy as np
import pytest
import skops.io
from corpus import small_cpc
from models import CLIPS, MODELS, Y, assert_same_results, fitted, mfcc, parameters, probe, reducer
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC
from skorch.callbacks import EarlyStopping

from sklearn_cpc import Checkpoint, CPCTransformer, MFCCTransformer
from sklearn_cpc.persistence.models import Attributes


class Mine(MFCCTransformer):
    """A subclass, which may do anything."""


@pytest.mark.parametrize("estimator", [CPCTransformer(), reducer(), probe(), fitted("mfcc")])
def test_skops_stores_what_is_not_fitted_and_asks_for_one_trusted_type(estimator):
    data = skops.io.dumps(estimator)
    trusted = skops.io.get_untrusted_types(data=data)
    assert trusted == [f"{type(estimator).__module__}.{type(estimator).__name__}"]
    assert parameters(skops.io.loads(data, trusted=trusted)) == parameters(estimator)


@pytest.mark.parametrize("name", MODELS)
def test_skops_stores_what_is_fitted_and_asks_for_one_trusted_type_each(name):
    estimator = fitted(name)
    data = skops.io.dumps(estimator)
    ours = {type(step) for _, step in getattr(estimator, "steps", [("", estimator)])}
    names = {f"{kind.__module__}.{kind.__name__}" for kind in ours if kind.__module__.startswith("sklearn_cpc")}
    trusted = skops.io.get_untrusted_types(data=data)
    assert set(trusted) == names or name == "nested pipeline"
    assert_same_results(estimator, skops.io.loads(data, trusted=trusted))


def test_skops_stores_pipelines_with_steps_of_others():
    pipeline = make_pipeline(small_cpc(), PCA(2), SVC()).fit(CLIPS, Y[:12])
    same = skops.io.loads(skops.io.dumps(pipeline), trusted=["sklearn_cpc.cpc.CPCTransformer"])
    assert_array_equal(same.decision_function(CLIPS), pipeline.decision_function(CLIPS))


def test_skops_does_not_store_what_cannot_be_saved():
    with pytest.raises((TypeError, RuntimeError)):
        skops.io.dumps(small_cpc(callbacks=[EarlyStopping("train_loss")]).fit(CLIPS))


def test_a_state_that_is_damaged_or_of_another_class_is_a_value_error():
    state = fitted("reducer").__getstate__()
    with pytest.raises(ValueError, match="a LinearProbe describes a AutoencoderReducer"):
        probe().__setstate__(state)
    state["model"] = state["model"].copy()
    state["model"][-1] ^= 1
    with pytest.raises(ValueError, match=r"damaged|no file"):
        reducer().__setstate__(state)


def directories_of(estimator):
    return [
        value for name, value in estimator.get_params().items() if name.split("__")[-1] in ("memory", "checkpoint")
    ]


def with_attribute(estimator):
    estimator.note = "mine"
    return estimator


WRITING = {
    "an unfitted transformer": lambda folder: small_cpc(memory=folder, checkpoint=folder),
    "a recipe of checkpoints": lambda folder: small_cpc(checkpoint=Checkpoint(folder, every=2)),
    "a fitted transformer": lambda folder: small_cpc(memory=folder, checkpoint=folder).fit(CLIPS),
    "one whose model cannot be saved": lambda folder: with_attribute(mfcc(memory=folder).fit(CLIPS)),
    "an unfitted baseline": lambda folder: mfcc(memory=folder),
    "a fitted baseline": lambda folder: mfcc(memory=folder).fit(CLIPS),
    "steps of a pipeline": lambda folder: make_pipeline(mfcc(memory=folder), PCA(2)).fit(CLIPS),
    "a search": lambda folder: GridSearchCV(make_pipeline(small_cpc(memory=folder), SVC()), {}, cv=2),
}


@pytest.mark.parametrize("case", WRITING)
def test_a_model_from_skops_writes_to_no_directory(case, tmp_path):
    estimator = WRITING[case](str(tmp_path))
    data = skops.io.dumps(estimator)
    loaded = skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))
    assert directories_of(loaded) == [None] * len(directories_of(estimator))
    assert str(tmp_path) in map(str, directories_of(estimator)) or "recipe" in case


@pytest.mark.parametrize("make", [CPCTransformer, MFCCTransformer])
def test_directories_in_a_file_of_skops_made_by_a_stranger_are_ignored(make, monkeypatch):
    estimator = make().set_params(memory="/nowhere")
    state = dict(vars(estimator))
    monkeypatch.setattr(type(estimator), "__getstate__", lambda self: state)
    data = skops.io.dumps(estimator)
    trusted = [f"{type(estimator).__module__}.{type(estimator).__name__}"]
    assert skops.io.loads(data, trusted=trusted).memory is None
    state = Attributes(state)
    with pytest.raises(skops.io.exceptions.UntrustedTypesFoundException, match="Attributes"):
        skops.io.loads(skops.io.dumps(estimator), trusted=trusted)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one)), clone])
@pytest.mark.parametrize("fit", [False, True])
def test_copies_and_pickles_keep_directories(copied, fit, tmp_path):
    for make in (lambda: small_cpc(memory=tmp_path, checkpoint=tmp_path), lambda: mfcc(memory=tmp_path)):
        estimator = make().fit(CLIPS) if fit else make()
        same = copied(estimator)
        assert type(same) is type(estimator)
        assert directories_of(same) == directories_of(estimator)
        if fit and copied is not clone:
            assert_same_results(same, estimator)


def test_a_pickle_keeps_what_a_model_file_leaves_out(tmp_path):
    cpc = small_cpc(memory=tmp_path, callbacks=[EarlyStopping("train_loss")]).fit(CLIPS)
    same = pickle.loads(pickle.dumps(cpc))
    assert same.memory == tmp_path
    assert isinstance(same.callbacks[0], EarlyStopping)
    assert_same_results(cpc, same)


@pytest.mark.parametrize(
    "make", [lambda: Mine().fit(np.zeros((1, 22050))), lambda: small_cpc(callbacks=[EarlyStopping("train_loss")])]
)
def test_the_state_of_what_cannot_be_saved_is_its_attributes(make):
    estimator = make()
    estimator = estimator if isinstance(estimator, Mine) else estimator.fit(CLIPS)
    assert estimator.__getstate__().keys() >= estimator.get_params(deep=False).keys()
    assert type(pickle.loads(pickle.dumps(estimator))) is type(estimator)
