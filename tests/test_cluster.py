"""Grids, comparisons and archives on joblib's Dask and Ray backends, also when a worker is killed."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from corpus import rising_tones, small_cpc, write_samples
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from skorch.callbacks import Callback

Y = np.arange(12) % 2


@pytest.fixture(scope="module")
def dask():
    """Start two workers, each a process with one thread."""
    distributed = pytest.importorskip("distributed", reason="needs the extra 'distributed'")
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster):
        yield "dask"


@pytest.fixture(scope="module")
def ray():
    """Start Ray with two processors."""
    ray = pytest.importorskip("ray", reason="needs the extra 'distributed'")
    from ray.util.joblib import register_ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    register_ray()
    yield "ray"
    ray.shutdown()


@pytest.fixture(params=["dask", "ray"])
def engine(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return write_samples(tmp_path_factory.mktemp("recordings"), rising_tones(12))


class DieOnce(Callback):
    """Kill the process in the middle of the second epoch, unless a file says that this was done."""

    def __init__(self, done):
        self.done = done

    def on_batch_end(self, net, **_):
        """Die after the first batch of the second epoch."""
        if len(net.history) == 2:
            die_once(self.done)


def die_once(done):
    if not os.path.exists(done):
        Path(done).touch()
        os.kill(os.getpid(), signal.SIGKILL)


class DyingTransformer(TransformerMixin, BaseEstimator):
    """Kill the process in the first call of transform."""

    def __init__(self, done):
        self.done = done

    def fit(self, X, y=None):
        """Learn nothing."""
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        """Return the rows, unless this is the first call."""
        if len(X) == 8:  # of a part
            die_once(self.done)
        return X


def grid_search(**changes):
    chain = Pipeline([("cpc", small_cpc(max_epochs=2, **changes)), ("probe", LogisticRegression())])
    grid = {"cpc__lr": [1e-3, 2e-3], "cpc__pooling": ["context", "z_mean"]}
    return GridSearchCV(chain, grid, cv=2, error_score="raise", n_jobs=2)
