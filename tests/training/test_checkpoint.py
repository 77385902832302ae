"""Checkpoints: whatever cuts a training short, the next fit ends with the weights of one in a single go."""

import errno
import functools
import multiprocessing
import os
import threading

import numpy as np
import pytest
import torch
from corpus import rising_tones, small_cpc
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from torch import nn

from sklearn_cpc import Augmentation, Checkpoint, EmbeddingMonitor, GRUContext, LSTMContext
from sklearn_cpc._files import claim, release
from sklearn_cpc.persistence.container import pack, unpack
from sklearn_cpc.training import checkpoint as module
from sklearn_cpc.training.checkpoint import FILE, LOCK

X = rising_tones(12)
BEST = {"monitor": "valid_score", "lower_is_better": False, "load_best": True}
SETTINGS = {
    "plain": {},
    "cosine": {"schedule": "cosine"},
    "augmented": {"augmentation": Augmentation(noise=(10, 40), mixing=(5, 20))},
    "stopped early": {"validation_fraction": 0.25, "callbacks": [EarlyStopping(patience=2, **BEST)]},
    "monitored": {"callbacks": [EmbeddingMonitor()]},
    "every third epoch": {"every": 3},
}


class Stop(Callback):
    """Cut the training short in the middle of an epoch."""

    def __init__(self, epoch, error=KeyboardInterrupt):
        self.epoch, self.error = epoch, error

    def on_batch_end(self, net, **_):
        """Raise after the first batch."""
        if len(net.history) == self.epoch:
            raise self.error


def weights(cpc):
    return {name: values.clone() for name, values in cpc.network_.state_dict().items()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, values in first.items():
        assert torch.equal(values, second[name]), name


def without_times(history):
    return [{key: value for key, value in row.items() if key != "dur"} for row in history]


def stopped(cpc, epoch, error=KeyboardInterrupt):
    """Fit until an epoch; returns the estimator as the error left it."""
    cpc = clone(cpc)
    cpc.callbacks = [*(cpc.callbacks or []), Stop(epoch, error)]
    with pytest.raises(error):
        cpc.fit(X)
    return cpc


# Going on


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("epoch", [2, 5])
def test_a_training_cut_short_ends_as_one_in_a_single_go(name, epoch, tmp_path, monkeypatch):
    ignore_callbacks(monkeypatch)
    changes = dict(SETTINGS[name])
    checkpoint = Checkpoint(tmp_path / "new" / "folder", every=changes.pop("every", 1))
    cpc = small_cpc(max_epochs=6, checkpoint=checkpoint, **changes)
    whole = clone(cpc).set_params(checkpoint=None).fit(X)
    if len(whole.history_) >= epoch:
        stopped(cpc, epoch)
    resumed = clone(cpc).fit(X)
    assert_same(weights(resumed), weights(whole))
    assert without_times(resumed.history_) == without_times(whole.history_)
    assert (resumed.n_iter_, resumed.interrupted_) == (whole.n_iter_, False)


def ignore_callbacks(monkeypatch):
    """Let one callback more be the same training."""
    original = module.training_settings
    monkeypatch.setattr(module, "training_settings", lambda *args: {**original(*args), "callbacks": ""})


def test_epochs_that_are_done_are_not_trained_again(tmp_path, monkeypatch):
    ignore_callbacks(monkeypatch)
    cpc = small_cpc(max_epochs=5, checkpoint=tmp_path)
    stopped(cpc, 4)
    epochs = []

    class Count(Callback):
        def on_epoch_end(self, net, **_):
            epochs.append(len(net.history))

    clone(cpc).set_params(callbacks=[Count()]).fit(X)
    assert epochs == [4, 5]


def test_a_finished_training_is_taken_as_it_is(tmp_path):
    cpc = small_cpc(max_epochs=2, checkpoint=tmp_path).fit(X)
    written = os.stat(tmp_path / FILE).st_mtime_ns
    again = clone(cpc).fit(X)
    assert_same(weights(again), weights(cpc))
    assert again.history_ == cpc.history_
    assert os.stat(tmp_path / FILE).st_mtime_ns == written


def test_training_goes_on_by_partial_fit_as_without_checkpoints(tmp_path, monkeypatch):
    ignore_callbacks(monkeypatch)
    cpc = small_cpc(max_epochs=3, checkpoint=tmp_path)
    whole = clone(cpc).set_params(checkpoint=None).fit(X).partial_fit(X)
    stopped(cpc, 2)
    assert_same(weights(clone(cpc).fit(X).partial_fit(X)), weights(whole))


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")


# One training at a time


class Wait(Callback):
    """Stop in the middle of an epoch until told to go on."""

    def __init__(self, arrived, go_on):
        self.arrived, self.go_on = arrived, go_on

    def __deepcopy__(self, memo):
        return self

    def on_batch_end(self, net, **_):
        """Wait after each batch."""
        self.arrived.set()
        assert self.go_on.wait(60)


def assert_in_use(cpc):
    with pytest.raises(RuntimeError, match="another process or thread is training in checkpoint=") as caught:
        clone(cpc).fit(X)
    message = str(caught.value)
    assert repr(str(cpc.checkpoint)) in message
    for advice in ("Wait until it ends", "give another directory", "a grid search needs checkpoint=None"):
        assert advice in message


def test_another_thread_cannot_train_in_the_same_directory(tmp_path, monkeypatch):
    ignore_callbacks(monkeypatch)
    cpc, arrived, go_on = small_cpc(max_epochs=2, checkpoint=tmp_path), threading.Event(), threading.Event()
    first = clone(cpc).set_params(callbacks=[Wait(arrived, go_on)])
    thread = threading.Thread(target=first.fit, args=(X,))
    thread.start()
    assert arrived.wait(60)
    assert_in_use(cpc)
    assert not (tmp_path / FILE).exists()
    go_on.set()
    thread.join()
    assert_same(weights(first), weights(clone(cpc).fit(X)))
    assert os.listdir(tmp_path) == [FILE]


@forks
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_lock_ends_with_a_killed_process(tmp_path, monkeypatch):
    ignore_callbacks(monkeypatch)
    cpc, context = small_cpc(max_epochs=2, checkpoint=tmp_path), multiprocessing.get_context("fork")
    arrived, go_on = context.Event(), context.Event()
    first = clone(cpc).set_params(callbacks=[Wait(arrived, go_on)])
    process = context.Process(target=first.fit, args=(X,), daemon=True)
    process.start()
    assert arrived.wait(60)
    assert_in_use(cpc)
    process.kill()
    process.join()
    assert len(clone(cpc).fit(X).history_) == 2
    assert os.listdir(tmp_path) == [FILE]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError])
@pytest.mark.parametrize("epoch", [1, 2])
def test_lock_ends_with_an_error(error, epoch, tmp_path, monkeypatch):
    ignore_callbacks(monkeypatch)
    cpc = small_cpc(max_epochs=2, checkpoint=tmp_path)
    kept = stopped(cpc, epoch, error)
    assert set(os.listdir(tmp_path)) <= {FILE}
    clone(cpc).fit(X)
    del kept


def test_lock_ends_when_a_checkpoint_is_refused(tmp_path):
    cpc = small_cpc(checkpoint=tmp_path).fit(X)
    with pytest.raises(ValueError, match="other settings"):
        clone(cpc).set_params(lr=2e-3).fit(X)
    assert os.listdir(tmp_path) == [FILE]


def test_grid_search_in_a_directory_in_use_meets_the_lock(tmp_path):
    search = GridSearchCV(small_cpc(checkpoint=tmp_path), {"lr": [1e-3, 2e-3]}, cv=2, error_score="raise")
    lock = claim(tmp_path / LOCK)
    with pytest.raises(RuntimeError, match="a grid search needs checkpoint=None"):
        search.fit(X)
    release(lock)
    assert os.listdir(tmp_path) == []


# What is refused


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("part", ["weights", "optimizer"])
def test_checkpoint_that_is_not_finite_is_refused(part, bad, tmp_path):
    cpc = small_cpc(checkpoint=tmp_path).fit(X)
    state, _ = unpack((tmp_path / FILE).read_bytes())
    values = state["weights"] if part == "weights" else next(iter(state["optimizer"]["state"].values()))
    next(tensor for tensor in values.values() if tensor.ndim).view(-1)[-1] = bad
    (tmp_path / FILE).write_bytes(pack(state))
    with pytest.raises(ValueError, match=r"checkpoint.safetensors'.* are not finite; lower lr\); delete it"):
        clone(cpc).fit(X)


def test_weights_that_are_not_finite_do_not_replace_a_checkpoint(tmp_path, monkeypatch):
    ignore_callbacks(monkeypatch)

    class Spoil(Callback):
        def on_epoch_end(self, net, **_):
            if len(net.history) == 2:
                next(net.module_.parameters()).data[0] = np.nan

    cpc = small_cpc(max_epochs=2, checkpoint=tmp_path)
    stopped(cpc, 2)
    kept = (tmp_path / FILE).read_bytes()
    with pytest.raises(ValueError, match="are not finite; lower lr"):
        clone(cpc).set_params(callbacks=[Spoil()]).fit(X)
    assert (tmp_path / FILE).read_bytes() == kept


@forks
def test_checkpoint_that_is_a_link_is_refused(tmp_path):
    for target in ("there", "missing"):
        (tmp_path / "there").write_text("precious")
        (tmp_path / FILE).symlink_to(tmp_path / target)
        with pytest.raises(ValueError, match=r"\(it is a link\); delete it"):
            small_cpc(checkpoint=tmp_path).fit(X)
        (tmp_path / FILE).unlink()
    assert (tmp_path / "there").read_text() == "precious"
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"lr": 2e-3}, "lr was 0.001, is 0.002"),
        ({"max_epochs": 3}, "max_epochs was 2, is 3"),
        ({"random_state": 1}, "random_state was 0, is 1"),
        ({"encoder__n_filters": 4}, "encoder was"),
    ],
)
def test_other_settings_are_told_and_refused(changes, told, tmp_path):
    cpc = small_cpc(max_epochs=2, checkpoint=tmp_path).fit(X)
    kept = (tmp_path / FILE).read_bytes()
    with pytest.raises(ValueError, match=f"other settings or recordings .*{told}.*; give another checkpoint"):
        clone(cpc).set_params(**changes).fit(X)
    assert (tmp_path / FILE).read_bytes() == kept


def test_other_recordings_are_refused(tmp_path):
    cpc = small_cpc(checkpoint=tmp_path).fit(X)
    other = X.copy()
    other[5, 7] += 1e-3
    for changed in (other, X[:-1], X[::-1]):
        with pytest.raises(ValueError, match=r"other settings or recordings \(recordings was"):
            clone(cpc).fit(changed)


def test_what_does_not_change_the_weights_may_change(tmp_path):
    cpc = small_cpc(checkpoint=tmp_path).fit(X)
    clone(cpc).set_params(pooling="z_mean", n_clips=1, n_jobs=2, on_error="nan", memory=str(tmp_path)).fit(X)


@pytest.mark.parametrize("length", [0, 1, 100, 0.5, -1])
def test_a_damaged_checkpoint_is_refused(length, tmp_path):
    cpc = small_cpc(checkpoint=tmp_path).fit(X)
    file = tmp_path / FILE
    whole = file.read_bytes()
    file.write_bytes(whole[: int(length * len(whole)) if isinstance(length, float) else length])
    with pytest.raises(ValueError, match=r"checkpoint.safetensors' is damaged or no checkpoint .*; delete it"):
        clone(cpc).fit(X)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    torch.save({"settings": Bomb()}, tmp_path / FILE)
    with pytest.raises(ValueError, match="is damaged or no checkpoint"):
        small_cpc(checkpoint=tmp_path).fit(X)
    assert not (tmp_path / "exploded").exists()


def test_other_versions_are_told(tmp_path, monkeypatch):
    cpc = small_cpc(checkpoint=tmp_path).fit(X)
    monkeypatch.setattr(module, "library_versions", lambda: {"torch": "99"})
    with pytest.warns(UserWarning, match="was written by .* the result may differ"):
        clone(cpc).fit(X)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"random_state": None}, ValueError, "needs an int for random_state, got None"),
        ({"warm_start": True}, ValueError, "excludes warm_start=True"),
        ({"checkpoint": 3}, TypeError, "'checkpoint' parameter of CPCTransformer"),
        ({"checkpoint": Checkpoint("folder", every=0)}, ValueError, "'every' parameter of Checkpoint"),
    ],
)
def test_parameters_that_cannot_be_resumed_are_named(changes, error, message, tmp_path):
    with pytest.raises(error, match=message):
        small_cpc(**{"checkpoint": tmp_path, **changes}).fit(X)


# Disks


def test_a_place_that_is_no_directory_is_told_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"file' is no directory that can be written to"):
        small_cpc(checkpoint=tmp_path / "file").fit(X)


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_full_disk_loses_no_earlier_checkpoint_and_no_epoch(broken, tmp_path, monkeypatch):
    ignore_callbacks(monkeypatch)
    cpc = small_cpc(max_epochs=4, checkpoint=tmp_path)
    stopped(cpc, 3)
    kept = (tmp_path / FILE).read_bytes()

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, broken, full)
        failed = clone(cpc)
        with pytest.raises(OSError, match=r"checkpoint after epoch 3 cannot be written .*No space left"):
            failed.fit(X)
    assert (tmp_path / FILE).read_bytes() == kept
    assert os.listdir(tmp_path) == [FILE]
    assert (failed.n_iter_, failed.interrupted_) == (3, True)
    whole = clone(cpc).set_params(checkpoint=None).fit(X)
    assert_same(weights(clone(cpc).fit(X)), weights(whole))


# What is kept of callbacks, and how trainings are told apart


def test_values_that_cannot_be_stored_are_not_kept():
    state = {"code": print, "object": object(), "nested": [len], "number": np.float64(2), "tensor": torch.zeros(2)}
    assert module._keep_storable(state).keys() == {"number", "tensor"}


def step(epoch):
    return 0.5


def same_step(epoch):
    return 0.5


def other_step(epoch):
    return 0.25


EQUAL = [
    (1e-3, np.float64(1e-3)),
    (("z_mean",), ["z_mean"]),
    (GRUContext(8), GRUContext(np.int64(8))),
    ([EarlyStopping("train_loss")], [EarlyStopping("train_loss")]),
    (step, step),
    (np.zeros(3), np.zeros(3)),
]
DIFFERENT = [
    (1e-3, 2e-3),
    ("gru", "lstm"),
    (GRUContext(8), LSTMContext(8)),
    (GRUContext(8), GRUContext(9)),
    (Augmentation(gain=1), Augmentation(gain=2)),
    ([EarlyStopping("train_loss", patience=2)], [EarlyStopping("train_loss", patience=3)]),
    ([LRScheduler("StepLR", step_size=1, gamma=0.1)], [LRScheduler("StepLR", step_size=1, gamma=0.9)]),
    (step, other_step),
    (functools.partial(GRUContext, c_dim=8), functools.partial(GRUContext, c_dim=9)),
    (nn.Linear(2, 2), nn.Linear(2, 2)),  # other weights
    (np.zeros(3), np.ones(3)),
    (np.zeros(4), np.zeros((2, 2))),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_values_are_described_alike(one, other):
    assert module.describe(one) == module.describe(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_values_that_train_differently_are_described_differently(one, other):
    assert module.describe(one) != module.describe(other)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            {"callbacks": [LRScheduler("StepLR", step_size=1, gamma=0.1)]},
            {"callbacks": [LRScheduler("StepLR", step_size=1, gamma=0.9)]},
        ),
        ({"augmentation": Augmentation(gain=1)}, {"augmentation": Augmentation(gain=2)}),
        ({"encoder__dropout": 0.1}, {"encoder__dropout": 0.2}),
    ],
    ids=["callbacks", "augmentation", "recipe"],
)
def test_changes_inside_of_parameters_are_noticed(before, after, tmp_path):
    small_cpc(max_epochs=2, checkpoint=tmp_path, **before).fit(X)
    with pytest.raises(ValueError, match="other settings or recordings"):
        small_cpc(max_epochs=2, checkpoint=tmp_path, **after).fit(X)


def test_equal_parameters_of_other_types_are_resumed(tmp_path):
    cpc = small_cpc(max_epochs=2, checkpoint=tmp_path, lr=1e-3).fit(X)
    again = small_cpc(max_epochs=np.int64(2), checkpoint=tmp_path, lr=np.float64(1e-3)).fit(X)
    assert_same(weights(again), weights(cpc))


def test_a_flipped_bit_anywhere_is_refused(tmp_path):  # fault_damage.py tries others
    cpc = small_cpc(checkpoint=tmp_path).fit(X)
    file, random = tmp_path / FILE, np.random.default_rng(0)
    data = file.read_bytes()
    for position in random.integers(0, len(data), 20):
        flipped = bytearray(data)
        flipped[position] ^= 1 << random.integers(8)
        file.write_bytes(flipped)
        with pytest.raises(ValueError, match="is damaged or no checkpoint"):
            clone(cpc).fit(X)
