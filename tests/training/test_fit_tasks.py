"""scikit-learn's callbacks see trainings and their epochs."""

import numpy as np
import pytest
from corpus import rising_tones, small_cpc
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback, EarlyStopping

from sklearn_cpc import AutoencoderReducer, LinearProbe, load, save

callback = pytest.importorskip("sklearn.callback", reason="needs the callbacks of scikit-learn 1.9")
CLIPS, CLASSES = rising_tones(12), np.arange(12) % 2


class Log:
    """Writes down which tasks begin and end. May stop the training after some epochs."""

    def __init__(self, events=None, stop_after=np.inf):
        self.events, self.stop_after = [] if events is None else events, stop_after

    def setup(self, estimator, context):
        self.events.append(("setup", context.estimator_name, context.task_name, 0))

    def on_fit_task_begin(self, estimator, context):
        self.events.append(("begin", context.estimator_name, context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.events.append(("end", context.estimator_name, context.task_name, context.task_id))
        return context.task_name == "epoch" and context.task_id + 1 >= self.stop_after

    def teardown(self, estimator, context):
        self.events.append(("teardown", context.estimator_name, context.task_name, 0))

    def count(self, kind, name, task):
        return sum(event[:3] == (kind, name, task) for event in self.events)


class NestedLog(Log):
    """Goes on to the estimators inside others."""

    max_propagation_depth = None


class Scores(Log):
    """Writes down what the estimator of each task computes."""

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
        if fitted_estimator is not None:
            self.events.append((context.task_name, fitted_estimator.n_iter_, fitted_estimator.score(X, y)))


def small_probe(**options):
    return LinearProbe(**{"lr": 0.05, "max_epochs": 3, "random_state": 0, **options})


TRAINED = {
    "CPCTransformer": lambda: small_cpc(max_epochs=3),
    "AutoencoderReducer": lambda: AutoencoderReducer(2, max_epochs=3, random_state=0),
    "LinearProbe": small_probe,
}


@pytest.mark.parametrize("name", TRAINED)
def test_every_epoch_begins_and_ends_once_and_changes_no_result(name):
    log = Log()
    estimator = TRAINED[name]().set_callbacks(log).fit(CLIPS, CLASSES)
    epochs = [(kind, name, "epoch", i) for i in range(3) for kind in ("begin", "end")]
    setup, begin, end, teardown = ((kind, name, "fit", 0) for kind in ("setup", "begin", "end", "teardown"))
    assert log.events == [setup, begin, *epochs, end, teardown]
    plain = TRAINED[name]().fit(CLIPS, CLASSES)
    method = "predict_proba" if name == "LinearProbe" else "transform"
    assert_array_equal(getattr(estimator, method)(CLIPS), getattr(plain, method)(CLIPS))


def test_callbacks_get_an_estimator_as_fitted_after_each_epoch():
    log = Scores()
    probe = small_probe().set_callbacks(log).fit(CLIPS, CLASSES)
    expected = [small_probe(max_epochs=n).fit(CLIPS, CLASSES).score(CLIPS, CLASSES) for n in (1, 2, 3)]
    scores = [event for event in log.events if event[0] in ("epoch", "fit")]
    assert scores == [*(("epoch", n, score) for n, score in enumerate(expected, 1)), ("fit", 3, expected[-1])]
    assert probe.n_iter_ == 3


def test_a_callback_may_end_the_training_after_an_epoch(tmp_path):
    log = Log(stop_after=2)
    cpc = small_cpc(max_epochs=5, checkpoint=tmp_path).set_callbacks(log).fit(CLIPS)
    assert cpc.n_iter_ == 2
    assert not cpc.interrupted_
    assert log.count("teardown", "CPCTransformer", "fit") == 1
    assert_array_equal(cpc.transform(CLIPS), small_cpc(max_epochs=2).fit(CLIPS).transform(CLIPS))


def test_epochs_that_other_callbacks_end_are_ended_too():
    log = Log()
    stop = EarlyStopping(monitor="train_loss", patience=1, threshold=10.0, sink=lambda message: None)
    probe = small_probe(max_epochs=50, callbacks=[stop]).set_callbacks(log).fit(CLIPS, CLASSES)
    assert probe.n_iter_ < 50
    assert log.count("begin", "LinearProbe", "epoch") == log.count("end", "LinearProbe", "epoch") == probe.n_iter_
    assert log.events[-2:] == [("end", "LinearProbe", "fit", 0), ("teardown", "LinearProbe", "fit", 0)]


class Fail(Callback):
    def on_batch_end(self, net, **_):
        raise RuntimeError("no")


def test_callbacks_are_torn_down_after_a_failed_training():
    log = Log()
    probe = small_probe(callbacks=[Fail()]).set_callbacks(log)
    with pytest.raises(RuntimeError, match="no"):
        probe.fit(CLIPS, CLASSES)
    assert log.events[-1] == ("teardown", "LinearProbe", "fit", 0)
    assert set(vars(probe)) - set(vars(small_probe())) == {"_skl_callbacks"}


def test_pipelines_pass_their_callbacks_on_without_a_warning():
    log = NestedLog()
    make_pipeline(small_cpc(max_epochs=2), small_probe()).set_callbacks(log).fit(CLIPS, CLASSES)
    assert log.count("end", "CPCTransformer", "epoch") == 2
    assert log.count("end", "LinearProbe", "epoch") == 3
    assert log.count("teardown", "Pipeline", "fit") == 1


def test_scikit_learns_progress_bar_counts_epochs(capsys):
    pipeline = make_pipeline(small_cpc(max_epochs=2), small_probe())
    pipeline.set_callbacks(callback.ProgressBar()).fit(CLIPS, CLASSES)
    shown = capsys.readouterr().out
    assert "CPCTransformer - fit #0 " in shown
    assert "LinearProbe - fit #1 " in shown
    assert shown.count("100%") == 3


def test_scikit_learns_scoring_monitor_scores_every_epoch():
    monitor = callback.ScoringMonitor(scoring="accuracy")
    probe = small_probe().set_callbacks(monitor).fit(CLIPS, CLASSES)
    rows = monitor.get_logs().data
    assert [row["task_name"] for row in rows] == ["fit", "epoch", "epoch", "epoch"]
    assert rows[0]["accuracy"] == rows[-1]["accuracy"] == probe.score(CLIPS, CLASSES)


def test_clones_keep_callbacks_and_files_do_not(tmp_path):
    log = Log()
    pipeline = make_pipeline(small_cpc().set_callbacks(log), small_probe()).set_callbacks(Scores())
    fitted = clone(pipeline).fit(CLIPS, CLASSES)
    assert log.count("end", "CPCTransformer", "epoch") == 1
    save(fitted, tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert_array_equal(loaded.predict_proba(CLIPS), fitted.predict_proba(CLIPS))
    loaded.fit(CLIPS, CLASSES)
    assert log.count("end", "CPCTransformer", "epoch") == 1
