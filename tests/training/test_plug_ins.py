"""skorch's callbacks that write logs work as their users expect."""

import io
import threading

import joblib
import numpy as np
import pytest
from corpus import rising_tones, small_cpc
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, Checkpoint, LoadInitState, MlflowLogger, TensorBoard, WandbLogger

from sklearn_cpc import AutoencoderReducer, LinearProbe

TONES, CLASSES = rising_tones(12), np.arange(12) % 2


class Lines(Callback):
    """Writes to an open file, which cannot be copied, and counts epochs."""

    def __init__(self, file):
        self.file, self.n_epochs, self.lock = file, 0, threading.Lock()

    def on_epoch_end(self, net, **_):
        self.n_epochs += 1
        self.file.write(f"{net.history[-1, 'train_loss']:.4f}\n")


@pytest.mark.parametrize("named", [False, True])
def test_an_open_log_is_written_to_and_its_callback_left_unchanged(named, tmp_path):
    with open(tmp_path / "log", "w") as file:
        log = Lines(file)
        probe = LinearProbe(max_epochs=3, callbacks=[("log", log) if named else log]).fit(TONES, CLASSES)
    losses = [f"{row['train_loss']:.4f}" for row in probe.history_]
    assert (tmp_path / "log").read_text().split() == losses
    assert log.n_epochs == 0


def test_callbacks_that_can_be_copied_keep_what_they_share():
    class Both(Callback):
        def __init__(self, seen):
            self.seen = seen

        def on_epoch_end(self, net, **_):
            self.seen.append(len(net.history))
            net.history.record("n_seen", len(self.seen))

    seen = []
    probe = LinearProbe(max_epochs=2, callbacks=[Both(seen), Both(seen)]).fit(TONES, CLASSES)
    assert [row["n_seen"] for row in probe.history_] == [2, 4]
    assert seen == []


@pytest.mark.parametrize(
    "estimator", [small_cpc(), AutoencoderReducer(2), LinearProbe()], ids=lambda e: type(e).__name__
)
def test_losses_of_every_epoch_arrive_in_tensorboard(estimator, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    estimator = clone(estimator).set_params(
        max_epochs=3, random_state=0, callbacks=[TensorBoard(SummaryWriter(tmp_path))]
    )
    estimator.fit(TONES, CLASSES)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    logged = [event.value for event in events.Scalars("Loss/train_loss")]
    assert logged == pytest.approx([row["train_loss"] for row in estimator.history_])
    joblib.dump(clone(estimator), io.BytesIO())  # its writer is closed
    estimator.partial_fit(TONES, CLASSES)
    assert estimator.n_iter_ == 4


def test_a_checkpoint_of_skorch_may_start_another_training(tmp_path):
    best = Checkpoint(monitor="train_loss_best", dirname=tmp_path)
    small_cpc(max_epochs=3, callbacks=[best]).fit(TONES)
    again = small_cpc(max_epochs=2, callbacks=[LoadInitState(best)]).fit(TONES)
    assert again.n_iter_ > 2  # its history goes on


def test_skorch_may_keep_the_epoch_with_the_best_score(tmp_path):
    best = Checkpoint(monitor="valid_score_best", dirname=tmp_path, event_name="event_cp")
    cpc = small_cpc(max_epochs=6, lr=0.01, validation_fraction=0.5, callbacks=[best]).fit(TONES)
    scores = [row["valid_score"] for row in cpc.history_]
    is_best = [score > max(scores[:i], default=-1) for i, score in enumerate(scores)]
    assert [row["event_cp"] for row in cpc.history_] == is_best
    assert (tmp_path / "params.pt").exists()


def test_a_logger_that_keeps_the_best_model_says_what_to_do():
    with pytest.raises(ValueError, match=r"WandbLogger monitors 'valid_loss_best', .*; pass save_model=False"):
        small_cpc(callbacks=[WandbLogger(None)]).fit(TONES)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what MLflow uses
def test_a_search_logs_to_mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    logger = MlflowLogger(terminate_after_train=False, create_artifact=False)
    probe = LinearProbe(max_epochs=2, callbacks=[logger], random_state=0)
    with mlflow.start_run() as run:
        GridSearchCV(probe, {"lr": [0.01, 0.1]}, cv=2, error_score="raise").fit(TONES, CLASSES)
    logged = mlflow.MlflowClient().get_metric_history(run.info.run_id, "train_loss")
    assert sorted(metric.step for metric in logged) == [1] * 5 + [2] * 5
