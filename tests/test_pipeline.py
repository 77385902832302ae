"""The estimators inside scikit-learn: pipelines, grids, folds, persistence."""

from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from corpus import RATE, small_cpc, small_encoder, small_pipeline
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict, cross_validate
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer
from skorch.callbacks import Callback
from torch import nn

from sklearn_cpc import (
    CPCTransformer,
    MFCCTransformer,
    sample_clips,
)

# Fit and predict


def test_paths_go_in_and_labels_come_out(corpus):
    pipeline = small_pipeline().fit(corpus.paths, corpus.y)
    assert set(pipeline.predict(corpus.paths)) == {"high", "low"}
    assert pipeline.score(corpus.paths, corpus.y) > 0.9
    assert pipeline.predict_proba(corpus.paths[:3]).shape == (3, 2)
    assert pipeline.classes_.tolist() == ["high", "low"]


def test_clips_of_files_go_through_with_their_labels_and_groups(corpus):
    clips, index = sample_clips(corpus.paths, 2, duration=0.4)
    folds = {"groups": corpus.groups[index], "cv": GroupKFold(3)}
    predicted = cross_val_predict(small_pipeline(), clips, corpus.y[index], **folds)
    assert predicted.shape == (24,)
    assert (predicted == corpus.y[index]).mean() > 0.7


@pytest.mark.parametrize("routing", [False, True], ids=["without routing", "with routing"])
def test_groups_are_kept_together_in_cross_validation(routing, corpus):
    with sklearn.config_context(enable_metadata_routing=routing):
        groups = {"params": {"groups": corpus.groups}} if routing else {"groups": corpus.groups}
        scores = cross_validate(
            small_pipeline(), corpus.paths, corpus.y, cv=GroupKFold(3), return_indices=True, **groups
        )
    for train, test in zip(scores["indices"]["train"], scores["indices"]["test"], strict=True):
        assert not set(corpus.groups[train]) & set(corpus.groups[test])
    assert len(scores["test_score"]) == 3
    assert scores["test_score"].mean() > 0.7


def test_learned_and_hand_crafted_features_unite(corpus):
    mfcc = MFCCTransformer(n_mfcc=5, sample_rate=RATE, n_fft=128, hop_length=64, n_mels=10)
    both = FeatureUnion([("cpc", small_cpc()), ("mfcc", mfcc)]).fit(corpus.paths)
    assert both.transform(corpus.paths).shape == (12, 8 + 10)


# Grids


def test_a_grid_over_names_is_always_valid(corpus):
    pipeline = small_pipeline(clip_duration=1.0, n_context=6, n_future=1, max_epochs=0)
    grid = {"cpc__encoder": ["conv1d", "conv2d"], "cpc__autoregressor": ["gru", "attention"]}
    search = GridSearchCV(pipeline, grid, cv=2, refit=False, error_score="raise").fit(
        corpus.paths[:6], corpus.y[:6]
    )
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(search.cv_results_["params"]) == 4


def test_a_grid_tunes_the_parameters_of_a_recipe(corpus):
    grid = {"cpc__encoder__z_dim": [4, 8], "cpc__autoregressor__c_dim": [4, 6]}
    search = GridSearchCV(small_pipeline(pooling=("context", "z_max")), grid, cv=2).fit(corpus.paths, corpus.y)
    best = search.best_params_
    width = best["cpc__encoder__z_dim"] + best["cpc__autoregressor__c_dim"]
    assert search.best_estimator_[:1].transform(corpus.paths).shape == (12, width)
    assert search.best_estimator_["cpc"].encoder.z_dim == best["cpc__encoder__z_dim"]


def test_grid_over_objective_uses_one_score(corpus):
    grid = {"objective__negatives": ["across", "within"], "batch_size": [2, 4]}
    search = GridSearchCV(small_cpc(), grid, cv=2, error_score="raise").fit(corpus.paths)
    assert ((search.cv_results_["mean_test_score"] >= 0) & (search.cv_results_["mean_test_score"] <= 1)).all()


def test_a_grid_leaves_its_recipes_as_they_were(corpus):
    pipeline = small_pipeline()
    recipe = pipeline["cpc"].encoder
    GridSearchCV(pipeline, {"cpc__encoder__z_dim": [4]}, cv=2).fit(corpus.paths, corpus.y)
    assert recipe.get_params() == small_encoder().get_params()
    assert not hasattr(pipeline["cpc"], "network_")


# Output


def test_frames_keep_the_index_of_a_series(corpus):
    X = pd.Series(corpus.paths, index=[f"recording {i}" for i in range(12)])
    pipeline = small_pipeline().set_output(transform="pandas").fit(X, corpus.y)
    embeddings = pipeline[:1].transform(X)
    assert embeddings.index.equals(X.index)
    assert embeddings.columns.tolist() == [f"cpctransformer{i}" for i in range(8)]
    assert pipeline[:-1].transform(X).index.equals(X.index)
    assert small_cpc().set_output(transform="pandas").fit_transform(X).index.equals(X.index)


def test_frames_of_clips_keep_their_index(corpus):
    X = pd.DataFrame({"path": corpus.paths, "onset": 0.1, "duration": 0.4}, index=np.arange(12) + 50)
    assert small_cpc().set_output(transform="pandas").fit_transform(X).index.equals(X.index)


def test_feature_names_pass_through_the_pipeline(corpus):
    pipeline = small_pipeline().fit(corpus.paths, corpus.y)
    assert pipeline[:1].get_feature_names_out().tolist() == [f"cpctransformer{i}" for i in range(8)]
    assert pipeline[:-1].get_feature_names_out().tolist() == [f"autoencoderreducer{i}" for i in range(4)]


@pytest.mark.parametrize("columns", ["path", ["path"]], ids=["one column", "list of one column"])
def test_a_column_of_a_table_may_hold_the_paths(columns, corpus):
    table = pd.DataFrame({"path": corpus.paths, "length": np.arange(12.0)})
    union = ColumnTransformer([("audio", small_cpc(), columns), ("rest", "passthrough", ["length"])])
    features = union.fit_transform(table)
    assert_array_equal(features[:, :8], small_cpc().fit_transform(corpus.paths))
    assert_array_equal(features[:, 8], table["length"])
    assert union.get_feature_names_out().tolist() == [
        *(f"audio__cpctransformer{i}" for i in range(8)),
        "rest__length",
    ]


def test_a_function_may_make_the_paths(corpus):
    folder = Path(corpus.paths[0]).parent
    names = [Path(path).name for path in corpus.paths]
    join = FunctionTransformer(lambda names: [folder / name for name in names])
    embeddings = Pipeline([("join", join), ("cpc", small_cpc())]).fit_transform(names)
    assert_array_equal(embeddings, small_cpc().fit_transform(corpus.paths))


# Clone, parameters and cache


def test_clone_is_unfitted_and_fits_to_the_same_result(corpus):
    pipeline = small_pipeline().fit(corpus.paths, corpus.y)
    copy = clone(pipeline)
    assert not hasattr(copy["cpc"], "network_")
    expected = pipeline.predict_proba(corpus.paths)
    assert_array_equal(copy.fit(corpus.paths, corpus.y).predict_proba(corpus.paths), expected)


def test_parameters_are_set_through_the_chain(corpus):
    pipeline = small_pipeline().set_params(cpc__encoder__z_dim=5, cpc__pooling="context", ae__n_components=2)
    assert pipeline.fit(corpus.paths, corpus.y)[:-1].transform(corpus.paths).shape == (12, 2)
    assert pipeline["cpc"].network_.dims["z"] == 5


class Trained(Callback):
    """Counts trainings, its copies' included."""

    count = 0

    def on_train_begin(self, net, **_):
        Trained.count += 1


def test_a_cached_pipeline_trains_the_features_once(corpus, tmp_path):
    Trained.count = 0
    pipeline = small_pipeline(memory=str(tmp_path), callbacks=[Trained()])
    expected = small_pipeline().fit(corpus.paths, corpus.y).predict_proba(corpus.paths)
    GridSearchCV(pipeline, {"clf__lr": [0.01, 0.05, 0.1]}, cv=2).fit(corpus.paths, corpus.y)
    assert Trained.count == 3  # two folds and the refit
    again = clone(pipeline).fit(corpus.paths, corpus.y)
    assert Trained.count == 3
    assert_array_equal(again.predict_proba(corpus.paths), expected)


# Persistence


def test_a_dumped_pipeline_gives_identical_results(corpus, tmp_path):
    pipeline = small_pipeline().fit(corpus.paths, corpus.y)
    joblib.dump(pipeline, tmp_path / "pipeline.joblib")
    loaded = joblib.load(tmp_path / "pipeline.joblib")
    assert_array_equal(loaded.predict_proba(corpus.paths), pipeline.predict_proba(corpus.paths))
    assert_array_equal(loaded[:1].transform(corpus.paths), pipeline[:1].transform(corpus.paths))
    assert loaded["cpc"].score(corpus.paths) == pipeline["cpc"].score(corpus.paths)
    assert loaded["cpc"].history_ == pipeline["cpc"].history_


def test_a_dump_is_no_larger_than_its_weights(tmp_path):
    clips = np.random.default_rng(0).standard_normal((2, 7 * 588)).astype(np.float32)
    cpc = CPCTransformer(clip_duration=7 * 588 / 4410, n_context=6, n_future=1, max_epochs=1, random_state=0)
    joblib.dump(cpc.fit(clips), tmp_path / "cpc.joblib")
    weights = sum(tensor.nbytes for tensor in cpc.network_.state_dict().values())
    assert weights < (tmp_path / "cpc.joblib").stat().st_size < 1.15 * weights


class AdamSteps(Callback):
    def on_epoch_end(self, net, **_):
        net.history.record("steps", int(net.optimizer_.state_dict()["state"][0]["step"]))


def test_dumping_leaves_the_estimator_as_it_was(corpus, tmp_path):
    cpc = small_cpc(callbacks=[AdamSteps()]).fit(corpus.paths)
    before = vars(cpc).copy()
    joblib.dump(cpc, tmp_path / "cpc.joblib")
    assert vars(cpc) == before
    loaded = joblib.load(tmp_path / "cpc.joblib")
    for estimator, steps in ((cpc, [6, 12]), (loaded, [6, 6])):  # a loaded one starts Adam anew
        assert [row["steps"] for row in estimator.partial_fit(corpus.paths).history_] == steps


class OnGPU(nn.Module):
    """Stands in for a network on a GPU: says so of its weights, and gives the network itself on the CPU."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def parameters(self, recurse=True):
        return iter([SimpleNamespace(device=torch.device("cuda"))])

    def cpu(self):
        return self.network


def test_a_network_is_moved_to_the_cpu_in_the_dump_alone(corpus, tmp_path):
    cpc = small_cpc().fit(corpus.paths)
    expected = cpc.transform(corpus.paths)
    cpc.network_ = OnGPU(cpc.network_)
    joblib.dump(cpc, tmp_path / "cpc.joblib")
    assert isinstance(cpc.network_, OnGPU)
    assert_array_equal(joblib.load(tmp_path / "cpc.joblib").transform(corpus.paths), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_network_trained_on_gpu_loads_without_gpu(corpus, tmp_path):
    cpc = small_cpc(device="cuda").fit(corpus.paths)
    joblib.dump(cpc, tmp_path / "cpc.joblib")
    assert cpc.network_.predictor.weight.is_cuda
    loaded = joblib.load(tmp_path / "cpc.joblib").set_params(device="cpu")
    assert not loaded.network_.predictor.weight.is_cuda
    assert_allclose(loaded.transform(corpus.paths), cpc.transform(corpus.paths), rtol=1e-3, atol=1e-4)
