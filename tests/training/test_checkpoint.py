"""Checkpoints: whatever cuts a training short, the next fit ends with the weights of one in a single go."""

import errno
import functools
import json
import math
import multiprocessing
import os
import signal
import threading

import numpy as np
import pytest
import torch
from corpus import rising_tones, small_cpc
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from torch import nn

from sklearn_cpc import Augmentation, Checkpoint, EmbeddingMonitor, GRUContext, LSTMContext
from sklearn_cpc._files import claim, release
from sklearn_cpc.persistence.container import pack, unpack
from sklearn_cpc.training import checkpoint as module
from sklearn_cpc.training.checkpoint import FILE, LOCK, SUMMARY

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


def only_file(folder):
    """Return the checkpoint of the only training in a directory."""
    (file,) = folder.glob(f"*/{FILE}")
    return file


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
    written = os.stat(only_file(tmp_path)).st_mtime_ns
    again = clone(cpc).fit(X)
    assert_same(weights(again), weights(cpc))
    assert again.history_ == cpc.history_
    assert os.stat(only_file(tmp_path)).st_mtime_ns == written


def test_training_goes_on_by_partial_fit_as_without_checkpoints(tmp_path, monkeypatch):
    ignore_callbacks(monkeypatch)
    cpc = small_cpc(max_epochs=3, checkpoint=tmp_path)
    whole = clone(cpc).set_params(checkpoint=None).fit(X).partial_fit(X)
    stopped(cpc, 2)
    assert_same(weights(clone(cpc).fit(X).partial_fit(X)), weights(whole))


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")


# Many trainings in one directory


class StopAfter(Callback):
    """Press Ctrl-C once a list has a number of epochs, of all trainings."""

    epochs: list = []

    def __init__(self, n_epochs=None):
        self.n_epochs = n_epochs

    def on_epoch_end(self, net, **_):
        """Add the epoch, and stop if it is the last."""
        self.epochs.append(len(net.history))
        if len(self.epochs) == self.n_epochs:
            signal.raise_signal(signal.SIGINT)


def results(search):
    columns = {name: values for name, values in search.cv_results_.items() if "time" not in name}
    columns["param_cpc__lr"] = columns["param_cpc__lr"].tolist()
    return columns, weights(search.best_estimator_[0])


@pytest.mark.usefixtures("ctrl_c")
def test_grid_search_stopped_anywhere_resumes_each_training(tmp_path, monkeypatch):
    ignore_callbacks(monkeypatch)
    y = np.arange(12) % 2
    grid = {"cpc__lr": [1e-3, 2e-3], "cpc__pooling": ["context", "z_mean"]}

    def search(n_epochs=None, **changes):
        cpc = small_cpc(max_epochs=2, callbacks=[StopAfter(n_epochs)], **changes)
        chain = Pipeline([("cpc", cpc), ("probe", LogisticRegression())])
        return GridSearchCV(chain, grid, cv=2, error_score="raise").fit(X, y)

    expected = results(search())
    StopAfter.epochs.clear()
    for n_epochs in (2, 6):
        with pytest.raises(KeyboardInterrupt):
            search(n_epochs, checkpoint=tmp_path)
    (table, refitted), (expected_table, expected_weights) = results(search(checkpoint=tmp_path)), expected
    np.testing.assert_equal(table, expected_table)
    assert_same(refitted, expected_weights)
    # Two rates in two folds, whatever the pooling, and the best on all; stopped epochs are trained again.
    assert len(StopAfter.epochs) == 2 * (2 * 2 + 1) + 2
    assert len(list(tmp_path.glob(f"*/{FILE}"))) == 5


@pytest.fixture
def at_once(monkeypatch):
    """Let trainings tell of others at once, not after a minute."""
    monkeypatch.setattr(module, "TELL_SECONDS", 0)


def test_stopped_training_with_other_settings_is_told(tmp_path, monkeypatch, at_once):
    ignore_callbacks(monkeypatch)
    cpc = small_cpc(max_epochs=3, checkpoint=tmp_path)
    stopped(cpc, 2)
    folder = only_file(tmp_path).parent
    with pytest.warns(
        UserWarning, match=r"started afresh: .* \(lr was 0.001, is 0.002\). Set them back"
    ) as caught:
        other = clone(cpc).set_params(lr=2e-3).fit(X)
    assert repr(str(folder)) in str(caught[0].message)
    assert_same(weights(other), weights(clone(other).set_params(checkpoint=None).fit(X)))
    whole = clone(cpc).set_params(checkpoint=None).fit(X)
    assert_same(weights(clone(cpc).fit(X)), weights(whole))  # it was not lost
    clone(cpc).set_params(lr=3e-3).fit(X)  # no training is stopped, so nothing is told


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"max_epochs": 3}, "max_epochs was 2, is 3"),
        ({"random_state": 1}, "random_state was 0, is 1"),
        ({"encoder__n_filters": 4}, "encoder was"),
        ({"X": np.flipud(X)}, "recordings was"),
    ],
)
def test_what_differs_from_a_stopped_training_is_named(changes, told, tmp_path, monkeypatch, at_once):
    ignore_callbacks(monkeypatch)
    cpc = small_cpc(max_epochs=2, checkpoint=tmp_path)
    stopped(cpc, 2)
    changes = dict(changes)
    recordings = changes.pop("X", X)
    with pytest.warns(UserWarning, match=rf"started afresh: .*\(.*{told}"):
        clone(cpc).set_params(**changes).fit(recordings)


def test_more_epochs_than_a_finished_training_had_are_told(tmp_path, at_once):
    cpc = small_cpc(max_epochs=2, checkpoint=tmp_path).fit(X)
    with pytest.warns(UserWarning, match=r"started afresh: .*\(max_epochs was 2, is 3\)"):
        assert clone(cpc).set_params(max_epochs=3).fit(X).n_iter_ == 3


@pytest.mark.parametrize("changes", [{"lr": 2e-3}, {"random_state": 1}, {"max_epochs": 0}, {"n_context": 5}])
def test_finished_and_failed_trainings_are_not_told(changes, tmp_path, monkeypatch, at_once):
    ignore_callbacks(monkeypatch)
    cpc = small_cpc(max_epochs=2, checkpoint=tmp_path)
    stopped(cpc, 2, ValueError)
    kept = only_file(tmp_path)
    clone(cpc).set_params(**changes).fit(X)
    clone(cpc).fit(X[:-1])
    assert kept.exists()


def test_stopped_training_that_is_resumed_within_a_minute_is_not_told(tmp_path, monkeypatch):
    ignore_callbacks(monkeypatch)
    cpc = small_cpc(max_epochs=3, checkpoint=tmp_path)
    stopped(cpc, 2)
    clone(cpc).set_params(lr=2e-3).fit(X)


def test_summary_of_a_training_says_what_it_was(tmp_path):
    small_cpc(checkpoint=tmp_path).fit(X)
    summary = json.loads(only_file(tmp_path).with_name(SUMMARY).read_text())
    assert summary["ended"] is True
    assert summary["settings"]["lr"] == "0.001"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"ended": false, "settings": [1]}', "\xff"])
def test_damaged_summaries_do_no_harm(text, tmp_path, at_once):
    small_cpc(checkpoint=tmp_path).fit(X)
    only_file(tmp_path).with_name(SUMMARY).write_text(text)
    assert small_cpc(checkpoint=tmp_path, max_epochs=2).fit(X).n_iter_ == 2


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


@pytest.fixture
def while_waiting(monkeypatch):
    """A list of functions to call when a fit says that it waits; other warnings are errors."""
    actions = []

    def act(message):
        assert "the same training is running elsewhere" in message
        actions.pop()()

    monkeypatch.setattr(module, "warn", act)
    monkeypatch.setattr(module, "TELL_SECONDS", 0)
    return actions


def test_fit_waits_for_the_same_training_in_another_thread(tmp_path, monkeypatch, while_waiting):
    ignore_callbacks(monkeypatch)
    cpc, arrived, go_on = small_cpc(max_epochs=2, checkpoint=tmp_path), threading.Event(), threading.Event()
    first = clone(cpc).set_params(callbacks=[Wait(arrived, go_on)])
    thread = threading.Thread(target=first.fit, args=(X,))
    thread.start()
    assert arrived.wait(60)
    clone(cpc).set_params(lr=2e-3).fit(X)  # another training does not wait
    while_waiting.append(go_on.set)
    second = clone(cpc).fit(X)
    thread.join()
    assert while_waiting == []
    assert second.history_ == first.history_  # with the times: it was trained once
    assert_same(weights(first), weights(second))
    assert_no_lock(tmp_path)


def assert_no_lock(folder):
    assert {path.name for path in folder.glob("*/*")} == {FILE, SUMMARY}


@forks
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fit_goes_on_when_the_process_it_waits_for_is_killed(tmp_path, monkeypatch, while_waiting):
    ignore_callbacks(monkeypatch)
    cpc, context = small_cpc(max_epochs=2, checkpoint=tmp_path), multiprocessing.get_context("fork")
    arrived, go_on = context.Event(), context.Event()
    first = clone(cpc).set_params(callbacks=[Wait(arrived, go_on)])
    process = context.Process(target=first.fit, args=(X,), daemon=True)
    process.start()
    assert arrived.wait(60)
    while_waiting.append(process.kill)
    assert len(clone(cpc).fit(X).history_) == 2
    process.join()
    assert while_waiting == []
    assert_no_lock(tmp_path)


@forks
def test_lock_on_a_file_system_without_locks_is_an_error(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError("no locks available")

    cpc = small_cpc(checkpoint=tmp_path).fit(X)
    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)
    clone(cpc).fit(X)
    held = claim(only_file(tmp_path).with_name(LOCK))
    with pytest.raises(
        RuntimeError, match=r"checkpoint.lock' says that this training is running.*delete this file"
    ):
        clone(cpc).fit(X)
    release(held)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError])
@pytest.mark.parametrize("epoch", [1, 2])
def test_lock_ends_with_an_error(error, epoch, tmp_path, monkeypatch):
    ignore_callbacks(monkeypatch)
    cpc = small_cpc(max_epochs=2, checkpoint=tmp_path)
    kept = stopped(cpc, epoch, error)
    assert list(tmp_path.glob(f"*/{LOCK}")) == []
    clone(cpc).fit(X)
    del kept


# What is refused


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("part", ["weights", "optimizer"])
def test_checkpoint_that_is_not_finite_is_refused(part, bad, tmp_path):
    cpc = small_cpc(checkpoint=tmp_path).fit(X)
    file = only_file(tmp_path)
    state, _ = unpack(file.read_bytes())
    values = state["weights"] if part == "weights" else next(iter(state["optimizer"]["state"].values()))
    next(tensor for tensor in values.values() if tensor.ndim).view(-1)[-1] = bad
    file.write_bytes(pack(state))
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
    kept = only_file(tmp_path).read_bytes()
    with pytest.raises(ValueError, match="are not finite; lower lr"):
        clone(cpc).set_params(callbacks=[Spoil()]).fit(X)
    assert only_file(tmp_path).read_bytes() == kept


@forks
def test_checkpoint_that_is_a_link_is_refused(tmp_path):
    cpc = small_cpc(checkpoint=tmp_path).fit(X)
    file = only_file(tmp_path)
    for target in ("there", "missing"):
        (tmp_path / "there").write_text("precious")
        file.unlink()
        file.symlink_to(tmp_path / target)
        with pytest.raises(ValueError, match=r"\(it is a link\); delete it"):
            clone(cpc).fit(X)
    assert (tmp_path / "there").read_text() == "precious"
    assert not (tmp_path / "missing").exists()


def test_checkpoint_of_another_training_is_refused(tmp_path):
    cpc, other = small_cpc(checkpoint=tmp_path / "a").fit(X), small_cpc(checkpoint=tmp_path / "b", lr=2e-3).fit(X)
    only_file(tmp_path / "b").replace(only_file(tmp_path / "a"))
    with pytest.raises(ValueError, match=r"it is of another training: lr was 0.002, is 0.001\); delete it"):
        clone(cpc).fit(X)
    del other


@pytest.mark.parametrize("changed", ["one sample", "one fewer", "another order"])
def test_other_recordings_are_another_training(changed, tmp_path):
    cpc = small_cpc(checkpoint=tmp_path).fit(X)
    other = X.copy()
    other[5, 7] += 1e-3
    recordings = {"one sample": other, "one fewer": X[:-1], "another order": X[::-1]}[changed]
    whole = clone(cpc).set_params(checkpoint=None).fit(recordings)
    assert_same(weights(clone(cpc).fit(recordings)), weights(whole))


def test_what_does_not_change_the_weights_may_change(tmp_path):
    cpc = small_cpc(checkpoint=tmp_path).fit(X)
    memory = str(tmp_path / "memory")
    clone(cpc).set_params(pooling="z_mean", n_clips=1, n_jobs=2, on_error="nan", memory=memory).fit(X)
    assert len(list(tmp_path.glob(f"*/{FILE}"))) == 1


@pytest.mark.parametrize("length", [0, 1, 100, 0.5, -1])
def test_a_damaged_checkpoint_is_refused(length, tmp_path):
    cpc = small_cpc(checkpoint=tmp_path).fit(X)
    file = only_file(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(length * len(whole)) if isinstance(length, float) else length])
    with pytest.raises(ValueError, match=r"checkpoint.safetensors' is damaged or no checkpoint .*; delete it"):
        clone(cpc).fit(X)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    cpc = small_cpc(checkpoint=tmp_path).fit(X)
    torch.save({"settings": Bomb()}, only_file(tmp_path))
    with pytest.raises(ValueError, match="is damaged or no checkpoint"):
        clone(cpc).fit(X)
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
    with pytest.raises(ValueError, match=r"file' is no directory to write to"):
        small_cpc(checkpoint=tmp_path / "file").fit(X)


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_full_disk_loses_no_earlier_checkpoint_and_no_epoch(broken, tmp_path, monkeypatch):
    ignore_callbacks(monkeypatch)
    cpc = small_cpc(max_epochs=4, checkpoint=tmp_path)
    stopped(cpc, 3)
    kept = only_file(tmp_path).read_bytes()

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, broken, full)
        failed = clone(cpc)
        with pytest.raises(OSError, match=r"checkpoint after epoch 3 cannot be written .*No space left"):
            failed.fit(X)
    assert only_file(tmp_path).read_bytes() == kept
    assert_no_lock(tmp_path)
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


def scaled(factor):
    return lambda epoch: factor if epoch in {3, 5, 8} else factor * math.log(2 + epoch)


def scaled_by_sine(factor):
    return lambda epoch: factor if epoch in {3, 5, 8} else factor * math.sin(2 + epoch)


class Rate:
    """An object that can be called, without a text of its own."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, epoch):
        """Return the rate."""
        return self.rate


def define():
    """Define a function as another process would: from its source."""
    names: dict = {}
    exec("def outer(epoch):\n return (lambda x: x * epoch)(2)", names)
    return names["outer"]


EQUAL = [
    (1e-3, np.float64(1e-3)),
    (("z_mean",), ["z_mean"]),
    (GRUContext(8), GRUContext(np.int64(8))),
    ([EarlyStopping("train_loss")], [EarlyStopping("train_loss")]),
    (step, step),
    (scaled(0.5), scaled(0.5)),
    (define(), define()),
    (frozenset([0, 8]), frozenset([8, 0])),  # which iterate in another order
    (Rate(0.5), Rate(0.5)),
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
    (scaled(0.5), scaled(0.25)),
    (scaled(0.5), scaled_by_sine(0.5)),
    (Rate(0.5), Rate(0.25)),
    (np.log, np.sin),
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
    found = small_cpc(max_epochs=2, checkpoint=tmp_path, **after).fit(X)
    assert_same(weights(found), weights(clone(found).set_params(checkpoint=None).fit(X)))
    assert len(list(tmp_path.glob(f"*/{FILE}"))) == 2


def test_equal_parameters_of_other_types_are_resumed(tmp_path):
    cpc = small_cpc(max_epochs=2, checkpoint=tmp_path, lr=1e-3).fit(X)
    again = small_cpc(max_epochs=np.int64(2), checkpoint=tmp_path, lr=np.float64(1e-3)).fit(X)
    assert_same(weights(again), weights(cpc))
    assert again.history_ == cpc.history_


def test_a_flipped_bit_anywhere_is_refused(tmp_path):  # fault_damage.py tries others
    cpc = small_cpc(checkpoint=tmp_path).fit(X)
    file, random = only_file(tmp_path), np.random.default_rng(0)
    data = file.read_bytes()
    for position in random.integers(0, len(data), 20):
        flipped = bytearray(data)
        flipped[position] ^= 1 << random.integers(8)
        file.write_bytes(flipped)
        with pytest.raises(ValueError, match="is damaged or no checkpoint"):
            clone(cpc).fit(X)
