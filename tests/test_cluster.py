"""Grids, comparisons and archives on joblib's Dask and Ray backends, also when a worker is killed."""

import gc
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from corpus import rising_tones, small_cpc, write_samples
from joblib import Parallel, delayed, parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from skorch.callbacks import Callback

from sklearn_cpc.archive import cut_windows, embed_archive, embedding, read_archive
from sklearn_cpc.evaluation import compare_representations
from sklearn_cpc.training.checkpoint import FILE

Y = np.arange(12) % 2

# Ray 2.44 leaves its own processes to Python's garbage collector.
pytestmark = pytest.mark.filterwarnings(r"ignore:subprocess \d+ is still running:ResourceWarning")


@pytest.fixture(scope="module")
def workers():
    """Start two workers of Dask, each a process with one thread, that are replaced when they are killed."""
    distributed = pytest.importorskip("distributed", reason="needs the extra 'distributed'")
    from dask import config

    with config.set(
        {"distributed.deploy.lost-worker-timeout": "10 minutes"}
    ):  # the replacement may be slow to start
        cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")
        with cluster, distributed.Client(cluster) as client:
            yield client


@pytest.fixture
def dask(workers):
    """Wait for both workers: joblib runs the tasks in this process if there is only one."""
    workers.wait_for_workers(2, timeout=120)
    return {"backend": "dask"}


@pytest.fixture(scope="module")
def ray():
    """Start Ray with two processors."""
    ray = pytest.importorskip("ray", reason="needs the extra 'distributed'")
    from ray.util.joblib import register_ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # workers import this module
        patch.setenv("RAY_AUTH_MODE", "disabled")  # writes no token to the home folder
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    register_ray()
    yield {"backend": "ray", "n_jobs": 2}
    ray.shutdown()
    gc.collect()  # of what it leaves, while the filter below holds


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return write_samples(tmp_path_factory.mktemp("recordings"), rising_tones(12))


class DieOnce(Callback):
    """Kill the worker in the second epoch, unless a file says that this was done."""

    def __init__(self, done, parent):
        self.done, self.parent = done, parent

    def on_batch_end(self, net, **_):
        """Die after the first batch of the second epoch."""
        if len(net.history) == 2:
            die_once(self.done, self.parent)


class DyingTransformer(TransformerMixin, BaseEstimator):
    """Kill the worker when the first rows pass through, unless a file says that this was done."""

    def __init__(self, done, parent):
        self.done, self.parent = done, parent

    def fit(self, X, y=None):
        """Learn nothing."""
        self.fitted_ = True
        return self

    def transform(self, X):
        """Return the rows as they are."""
        die_once(self.done, self.parent)
        return X


def die_once(done, parent):
    if os.getpid() != parent and not os.path.exists(done):
        Path(done).touch()
        os.kill(os.getpid(), signal.SIGKILL)


def search_grid(paths, folder, **where):
    """Search in this process, and where joblib is told to, with a worker that is killed; compare the results."""
    cpc = small_cpc(max_epochs=2, callbacks=[DieOnce(folder / "done", os.getpid())])
    grid = {"cpc__lr": [1e-3, 2e-3], "cpc__pooling": ["context", "z_mean"]}
    search = GridSearchCV(
        Pipeline([("cpc", cpc), ("probe", LogisticRegression())]), grid, cv=2, error_score="raise"
    )
    expected = clone(search).fit(paths, Y)
    search.set_params(estimator__cpc__memory=folder / "decoded", estimator__cpc__checkpoint=folder / "trainings")
    with parallel_config(**where):
        found = search.set_params(n_jobs=2).fit(paths, Y)
    assert (folder / "done").exists()
    assert found.best_params_ == expected.best_params_
    assert_array_equal(found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])
    for one, other in zip(*(s.best_estimator_[0].network_.parameters() for s in (found, expected)), strict=True):
        assert torch.equal(one, other)
    assert len(list(folder.glob("decoded/*/*.f32"))) == len(paths)
    assert len(list(folder.glob(f"trainings/*/{FILE}"))) == 2 * 2 + 1  # rates and folds, and the best on all
    assert list(folder.rglob("*.lock")) == []


def test_grid_on_dask_survives_a_killed_worker(dask, paths, tmp_path):
    search_grid(paths, tmp_path, **dask)


def test_grid_on_ray_survives_a_killed_worker(ray, paths, tmp_path):
    search_grid(paths, tmp_path, **ray, ray_remote_args={"max_restarts": 3, "max_task_retries": 3})


def make_archive(paths, folder, monkeypatch):
    """Embed an archive in this process; returns the estimator, which kills a worker once, and the windows."""
    monkeypatch.setattr(embedding, "PART_SECONDS", 0.8)  # two recordings
    chain = make_pipeline(small_cpc(), DyingTransformer(folder / "done", os.getpid())).fit(paths)
    windows = cut_windows(paths, 0.1)
    embed_archive(chain, windows, folder / "expected")
    return chain, windows


def assert_same_archive(folder):
    assert (folder / "done").exists()
    (table, found), (expected_table, expected) = (read_archive(folder / name) for name in ("found", "expected"))
    pd.testing.assert_frame_equal(table, expected_table)
    assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert [path.suffix for path in (folder / "found").iterdir()] == [".parquet"] * 6


def test_archive_on_dask_survives_a_killed_worker(dask, paths, tmp_path, monkeypatch):
    chain, windows = make_archive(paths, tmp_path, monkeypatch)
    with parallel_config(**dask):
        embed_archive(chain, windows, tmp_path / "found", n_jobs=2)
    assert_same_archive(tmp_path)


def test_archive_on_ray_continues_after_the_error_of_a_killed_worker(ray, paths, tmp_path, monkeypatch):
    chain, windows = make_archive(paths, tmp_path, monkeypatch)
    with parallel_config(**ray), pytest.raises(Exception, match="The actor died unexpectedly"):
        embed_archive(chain, windows, tmp_path / "found", n_jobs=2)
    embed_archive(chain, windows, tmp_path / "found")
    assert_same_archive(tmp_path)


def test_comparison_and_parts_on_dask_equal_those_of_one_process(dask, paths):
    cpc = small_cpc().fit(paths)
    expected = compare_representations(cpc, paths, Y, cv=2)
    with parallel_config(**dask):
        found = compare_representations(cpc, paths, Y, cv=2, n_jobs=2)
        parts = Parallel(2)(delayed(cpc.transform)(paths[i::2]) for i in range(2))
    pd.testing.assert_frame_equal(found.drop(columns="fit_seconds"), expected.drop(columns="fit_seconds"))
    for i in range(2):
        assert_allclose(parts[i], cpc.transform(paths[i::2]), rtol=1e-5, atol=1e-6)


def test_every_worker_of_dask_computes_in_one_thread(dask):
    with parallel_config(**dask):
        assert Parallel(2)(delayed(torch.get_num_threads)() for _ in range(2)) == [1, 1]


def test_fits_in_the_threads_of_one_dask_worker_equal_fits_alone(paths):
    distributed = pytest.importorskip("distributed", reason="needs the extra 'distributed'")
    models = [small_cpc(encoder__dropout=0.5, random_state=seed) for seed in range(4)]
    expected = [model.fit_transform(paths) for model in models]
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0")
    with cluster, distributed.Client(cluster), parallel_config("dask"):
        found = Parallel(2)(delayed(clone(model).fit_transform)(paths) for model in models)
    for one, other in zip(found, expected, strict=True):
        assert_array_equal(one, other)
