"""Work in two processes of joblib gives what it does in one: grids, archives and decoded files that are shared."""

import contextlib
import io
import uuid
import warnings
from collections import Counter
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from corpus import RATE, rising_tones, small_cpc, small_encoder, small_pipeline, write_samples
from joblib.externals.loky import get_reusable_executor
from numpy.testing import assert_allclose, assert_array_equal
from pyarrow import parquet
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sklearn_cpc import AttentionContext, Conv2dEncoder, GRUContext, LinearProbe, MFCCTransformer
from sklearn_cpc.archive import cut_windows, embed_archive, embedding
from sklearn_cpc.audio.reading import read_audio
from sklearn_cpc.audio.store import AudioSource


@pytest.fixture(scope="module", autouse=True)
def workers():
    """Processes for all tests, as they take seconds to start: each has one thread, as this one has."""
    with joblib.parallel_config("loky", inner_max_num_threads=1):
        yield
    get_reusable_executor().shutdown(wait=True)


# Grids


def test_grid_scores_are_equal_in_two_processes_without_progress_bars(corpus, capfd):
    mel = Conv2dEncoder((4,), (3,), (2,), dense_units=8, z_dim=8, n_mels=8, n_fft=64, sample_rate=RATE)
    grid = {
        "cpc__encoder": [small_encoder(), mel],
        "cpc__autoregressor": [GRUContext(c_dim=4), AttentionContext(dense_units=(4,))],
    }
    pipeline = small_pipeline(pooling="context", verbose=1)
    pipeline.set_params(ae__verbose=1, ae__max_epochs=6, clf__verbose=1, clf__max_epochs=6)
    searches = [
        GridSearchCV(pipeline, grid, cv=2, refit=False, n_jobs=n_jobs, scoring="neg_log_loss").fit(*corpus[:2])
        for n_jobs in (2, None)
    ]
    one, other = (search.cv_results_["mean_test_score"] for search in searches)
    assert_allclose(one, other, rtol=1e-6)
    assert len(set(one)) == 4
    bars = capfd.readouterr().err
    assert 0 < bars.count("linear probe:   0%") == 2 * 4  # of the second search alone


class EpochsInFiles:
    """A callback of scikit-learn that writes a file for every epoch that ended, from any process."""

    max_propagation_depth = None

    def __init__(self, folder):
        self.folder = folder

    def setup(self, estimator, context): ...
    def teardown(self, estimator, context): ...
    def on_fit_task_begin(self, estimator, context): ...

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch":
            (self.folder / f"{context.estimator_name}-{uuid.uuid4()}").touch()


def test_callbacks_of_a_grid_see_epochs_in_two_processes(corpus, tmp_path):
    pytest.importorskip("sklearn.callback", reason="needs the callbacks of scikit-learn 1.9")
    pipeline = Pipeline([("cpc", small_cpc(max_epochs=2)), ("clf", LinearProbe(max_epochs=3))])
    search = GridSearchCV(pipeline, {"cpc__lr": [1e-4, 1e-3]}, cv=2, n_jobs=2, error_score="raise")
    search.set_callbacks(EpochsInFiles(tmp_path)).fit(corpus.paths, corpus.y)
    ended = Counter(path.name.split("-")[0] for path in tmp_path.iterdir())
    assert ended == {"CPCTransformer": 5 * 2, "LinearProbe": 5 * 3}  # two folds of two candidates, and the refit


# Recordings


def read_in_worker(paths, memory):
    """Read verbosely; returns the samples, the text shown, and the warnings."""
    shown = io.StringIO()
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stderr(shown):
        warnings.simplefilter("always")
        estimator = MFCCTransformer(memory=memory, verbose=1)
        samples = AudioSource(estimator, paths, RATE, reset=False).read().samples
    return [np.array(one) for one in samples], shown.getvalue(), [str(w.message) for w in caught]


def test_processes_can_fill_one_directory_and_show_no_bars(corpus, tmp_path):
    results = joblib.Parallel(2)(joblib.delayed(read_in_worker)(corpus.paths, tmp_path) for _ in range(6))
    expected = [read_audio(path, RATE) for path in corpus.paths]
    for samples, shown, caught in results:
        for one, other in zip(samples, expected, strict=True):
            assert_array_equal(one, other)
        assert shown == ""
        assert caught == []


def test_processes_write_the_same_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "PART_SECONDS", 0.8)  # two recordings
    monkeypatch.chdir(tmp_path)
    Path("audio").mkdir()
    cpc = small_cpc(max_epochs=0).fit(rising_tones(4))
    windows = cut_windows(write_samples(Path("audio"), rising_tones(8)), 0.15)
    embed_archive(cpc, windows, "one")
    embed_archive(cpc, windows, "several", n_jobs=2)
    names = [sorted(path.name for path in Path(folder).iterdir()) for folder in ("one", "several")]
    assert names[0] == names[1] == [f"part-00000{i}.parquet" for i in range(4)]
    one, several = (parquet.read_table(folder).to_pandas() for folder in ("one", "several"))
    assert one["path"].tolist() == windows["path"].tolist()
    assert_allclose(np.stack(one.pop("embedding")), np.stack(several.pop("embedding")), atol=1e-6)
    pd.testing.assert_frame_equal(one, several)
