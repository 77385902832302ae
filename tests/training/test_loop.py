"""One function trains every network: it repeats, goes on where it stopped, and spares what is not its own."""

import copy
import itertools
import signal
import threading
import time

import numpy as np
import pytest
import torch
from sklearn.utils import check_random_state
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, LRScheduler
from torch import nn
from torch.utils.data import IterableDataset

from sklearn_cpc import AttentionContext, Conv1dEncoder, Conv2dEncoder, GRUContext
from sklearn_cpc.nn.network import build_network
from sklearn_cpc.nn.objective import InfoNCE, InfoNCELoss
from sklearn_cpc.training import loop as training
from sklearn_cpc.training import net
from sklearn_cpc.training.batches import ClipBatches, TensorBatches
from sklearn_cpc.training.clip_geometry import ClipShape
from sklearn_cpc.training.device import seeded
from sklearn_cpc.training.schedules import SCHEDULES, WARM_UP, choose_epochs, cosine

CPU = torch.device("cpu")


def train(*args, **options):
    """Train to the end, or raise what came between; returns history and state of the optimizer."""
    done = training.train(*args, **options)
    if done.stopped_by is not None:
        raise done.stopped_by
    return done.history, done.optimizer_state


class SquaredError(nn.Module):
    metrics = ("error", "half")

    def forward(self, outputs, targets):
        loss = (outputs - targets).square().mean()
        return loss, {"error": (outputs - targets).abs().mean().item(), "half": 0.5}


class Scaled(nn.Module):
    """A loss of a constant and nothing else."""

    metrics = ()

    def __init__(self, constant):
        super().__init__()
        self.constant = constant

    def forward(self, outputs, _targets):
        return outputs.sum() * self.constant, {}


class SameBatch(IterableDataset):
    """The whole data as one batch, always in the same order."""

    n_batches = 1

    def __init__(self, inputs, targets):
        self.batch = inputs, targets

    def __iter__(self):
        yield self.batch


class Spy(Callback):
    """Keeps what it sees, and stops at an epoch if told to."""

    def __init__(self):
        self.calls = 0

    def on_epoch_end(self, net, **_):
        self.calls += 1
        net.history.record("calls", self.calls)


class Rates(Callback):
    """Keeps the learning rate of every batch."""

    def on_batch_begin(self, net, training=False, **_):
        net.history.record_batch("rate", net.optimizer_.param_groups[0]["lr"])

    def on_epoch_end(self, net, **_):
        net.history.record("rates", net.history[-1, "batches", :, "rate"])


@pytest.fixture(autouse=True)
def _rng():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def regression(n=64):
    """Inputs and targets of a linear map, and a network that does not know it."""
    inputs = torch.randn(n, 3)
    return inputs, inputs @ torch.tensor([[1.0], [-2.0], [3.0]]) + 0.5, nn.Linear(3, 1)


def weights_of(module):
    return torch.cat([weights.detach().flatten().clone() for weights in module.parameters()])


# Training


def test_training_is_in_place_and_finds_the_minimum_of_a_convex_loss():
    inputs, targets, module = regression()
    weights = module.weight
    history, _ = train(module, TensorBatches(inputs, targets, 8), SquaredError(), max_epochs=60, lr=0.05)
    assert module.weight is weights
    torch.testing.assert_close(module.weight, torch.tensor([[1.0, -2.0, 3.0]]), atol=0.02, rtol=0)
    losses = [row["train_loss"] for row in history]
    assert losses[-1] < 1e-3 < losses[0]


def test_one_step_is_that_of_adam():
    inputs, targets, module = regression()
    twin = copy.deepcopy(module)
    train(module, SameBatch(inputs, targets), SquaredError(), max_epochs=3, lr=0.1)
    adam = torch.optim.Adam(twin.parameters(), lr=0.1)
    for _ in range(3):
        adam.zero_grad()
        (twin(inputs) - targets).square().mean().backward()
        adam.step()
    torch.testing.assert_close(weights_of(module), weights_of(twin))


def test_history_holds_an_epoch_per_row_in_plain_numbers():
    inputs, targets, module = regression()
    history, _ = train(module, TensorBatches(inputs, targets, 8), SquaredError(), max_epochs=3, lr=0.01)
    assert [row["epoch"] for row in history] == [1, 2, 3]
    for row in history:
        assert row.keys() == {"epoch", "train_loss", "train_error", "train_half", "dur"}
        assert {type(value) for value in row.values()} == {int, float}
        assert row["train_half"] == 0.5
        assert row["dur"] > 0


def test_history_holds_means_over_the_rows_not_over_the_batches():
    inputs = torch.arange(7.0)[:, None]
    batches = TensorBatches(inputs, torch.zeros(7, 1), 4)  # of 4 and 3
    history, _ = train(nn.Identity(), batches, WithWeight(SquaredError()), max_epochs=1, lr=1e-9)
    assert history[0]["train_loss"] == pytest.approx(np.mean(np.arange(7) ** 2))
    assert history[0]["train_error"] == pytest.approx(3)


class WithWeight(nn.Module):
    """A criterion for modules without weights: adds nothing, but with a gradient."""

    def __init__(self, criterion):
        super().__init__()
        self.criterion, self.metrics = criterion, criterion.metrics
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, outputs, targets):
        return self.criterion(outputs + 0 * self.weight, targets)


def test_no_epoch_changes_nothing():
    inputs, targets, module = regression()
    before = weights_of(module)
    history, state = train(
        module,
        SameBatch(inputs, targets),
        SquaredError(),
        max_epochs=0,
        lr=1,
        callbacks=[EarlyStopping("train_loss")],
    )
    assert history == []
    assert torch.equal(weights_of(module), before)
    train(module, SameBatch(inputs, targets), SquaredError(), max_epochs=1, lr=1, optimizer_state=state)
    assert not torch.equal(weights_of(module), before)


def test_inputs_may_be_keyword_arguments():
    class Sum(nn.Linear):
        def forward(self, a, b):
            return super().forward(a + b)

    inputs, targets, _ = regression()
    batches = SameBatch({"a": inputs, "b": inputs}, targets)
    history, _ = train(Sum(3, 1), batches, SquaredError(), max_epochs=2, lr=0.01)
    assert history[1]["train_loss"] < history[0]["train_loss"]


@pytest.mark.parametrize("first", [1, 2, 3])
def test_epochs_in_two_goes_are_the_same_as_in_one(first):
    inputs, targets, module = regression()
    twin = copy.deepcopy(module)
    batches = SameBatch(inputs, targets)
    whole, _ = train(module, batches, SquaredError(), max_epochs=4, lr=0.05)
    begin, state = train(twin, batches, SquaredError(), max_epochs=first, lr=0.05)
    kept = copy.deepcopy(state)
    end, _ = train(twin, batches, SquaredError(), max_epochs=4 - first, lr=0.05, optimizer_state=state)
    assert torch.equal(weights_of(twin), weights_of(module))
    assert [row["train_loss"] for row in begin + end] == [row["train_loss"] for row in whole]
    for moments, before in zip(state["state"].values(), kept["state"].values(), strict=True):
        assert all(torch.equal(moments[key], before[key]) for key in before)


def test_going_on_takes_the_learning_rate_it_is_given():
    inputs, targets, module = regression()
    _, state = train(module, SameBatch(inputs, targets), SquaredError(), max_epochs=2, lr=0.1)
    before = weights_of(module)
    train(module, SameBatch(inputs, targets), SquaredError(), max_epochs=1, lr=1e-6, optimizer_state=state)
    assert 0 < (weights_of(module) - before).abs().max() < 1e-5


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -float("inf")])
def test_a_loss_that_is_not_finite_names_the_learning_rate(value):
    inputs, targets, module = regression()
    with pytest.raises(ValueError, match=r"the loss became -?(inf|nan) in epoch 1; lower lr=0.3"):
        train(module, SameBatch(inputs + 100, targets), Scaled(value), max_epochs=2, lr=0.3)


def test_a_diverging_training_says_in_which_epoch():
    inputs, targets, module = regression()
    with pytest.raises(ValueError, match=r"in epoch [2-9]; lower lr=1e\+30"):
        train(module, SameBatch(inputs, targets), SquaredError(), max_epochs=9, lr=1e30)


# The networks


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("autoregressor", [GRUContext(4), AttentionContext(1, 1, dff=4, dense_units=(4,))])
@pytest.mark.parametrize(
    "encoder",
    [
        Conv1dEncoder(4, (8, 4), (4, 2), dense_units=4, z_dim=4),
        Conv2dEncoder((3,), (3,), (2,), dense_units=4, z_dim=4, n_mels=8, n_fft=128, sample_rate=4000),
    ],
)
def test_networks_learn_in_every_precision_with_float32_weights(encoder, autoregressor, precision):
    t = np.arange(640)
    recordings = [
        (np.sin(rate * t) + np.sin(0.01 * rate * t)).astype(np.float32) for rate in np.linspace(0.1, 2, 12)
    ]
    network = build_network(encoder, autoregressor, InfoNCE(), n_samples=320, n_context=6, n_future=2)
    before = weights_of(network)
    history, _ = train(
        network,
        ClipBatches(recordings, ClipShape(320, 8), 8, check_random_state(0)),
        InfoNCELoss(2, negatives="mixed"),
        max_epochs=8,
        lr=0.01,
        precision=precision,
    )
    losses = [row["train_loss"] for row in history]
    assert min(losses[4:]) < losses[0]
    assert all(0 <= row["train_accuracy_2"] <= 1 for row in history)
    assert {weights.dtype for weights in network.parameters()} == {torch.float32}
    assert not torch.equal(weights_of(network), before)


@pytest.mark.parametrize("around", [False, True])
def test_the_module_runs_in_bfloat16_only_where_asked(around):
    seen = []

    class Look(nn.Linear):
        def forward(self, x):
            seen.append(super().forward(x).dtype)
            return super().forward(x).float()

    inputs, targets, _ = regression()
    for precision in ("float32", "bfloat16"):
        with torch.autocast("cpu", torch.bfloat16, enabled=around):
            options = {"max_epochs": 1, "lr": 0.01, "precision": precision}
            train(Look(3, 1), SameBatch(inputs, targets), SquaredError(), **options)
    assert seen == [torch.float32, torch.bfloat16]


# Schedules


@pytest.mark.parametrize("n_batches", [1, 2, 7, 10, 11, 100, 1234])
def test_cosine_schedule_rises_and_then_falls(n_batches):
    rates = [cosine(batch, n_batches) for batch in range(n_batches)]
    warm = int(WARM_UP * n_batches)
    for batch, rate in enumerate(rates):
        fall = np.cos(np.pi / 2 * batch / n_batches) ** 2  # half a cosine, written otherwise
        rise = (batch + 1) / (WARM_UP * n_batches) if batch < warm else 1
        assert rate == pytest.approx(min(1, rise) * fall)
    peak = int(np.argmax(rates))
    assert peak <= warm
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) < 0).all()
    assert 0 < rates[-1] <= 1
    assert cosine(n_batches, n_batches) == pytest.approx(0)


@pytest.mark.parametrize(
    ("n_batches", "epochs"), [(1, 50), (9, 50), (10, 50), (11, 46), (25, 20), (41, 13), (42, 12), (10**6, 12)]
)
def test_little_sound_is_heard_in_more_epochs(n_batches, epochs):
    assert choose_epochs(n_batches) == epochs


@pytest.mark.parametrize(("n_rows", "batch_size", "max_epochs"), [(64, 8, 5), (10, 3, 2), (7, 9, 3), (5, 5, 1)])
def test_every_batch_is_trained_at_its_rate(n_rows, batch_size, max_epochs):
    inputs, targets, module = regression(n_rows)
    batches = TensorBatches(inputs, targets, batch_size)
    options = {"max_epochs": max_epochs, "lr": 0.03, "callbacks": [Rates()]}
    history, _ = train(module, batches, SquaredError(), schedule="cosine", **options)
    n = max_epochs * batches.n_batches
    rates = [rate for row in history for rate in row["rates"]]
    assert rates == pytest.approx([0.03 * cosine(batch, n) for batch in range(n)])
    history, _ = train(module, batches, SquaredError(), **options)
    assert {rate for row in history for rate in row["rates"]} == {0.03}


def test_a_scheduled_training_is_that_of_adam_at_these_rates():
    inputs, targets, module = regression()
    twin = copy.deepcopy(module)
    train(module, SameBatch(inputs, targets), SquaredError(), max_epochs=8, lr=0.1, schedule="cosine")
    adam = torch.optim.Adam(twin.parameters())
    for batch in range(8):
        adam.param_groups[0]["lr"] = 0.1 * cosine(batch, 8)
        adam.zero_grad()
        (twin(inputs) - targets).square().mean().backward()
        adam.step()
    torch.testing.assert_close(weights_of(module), weights_of(twin))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_training_that_goes_on_begins_its_own_schedule(schedule):
    inputs, targets, module = regression()
    batches = SameBatch(inputs, targets)
    _, state = train(module, batches, SquaredError(), max_epochs=12, lr=0.1, schedule="cosine")
    options = {"callbacks": [Rates()], "optimizer_state": state, "schedule": schedule}
    history, _ = train(module, batches, SquaredError(), max_epochs=20, lr=0.2, **options)
    share = [cosine(batch, 20) for batch in range(20)] if schedule == "cosine" else [1] * 20
    assert [row["rates"][0] for row in history] == pytest.approx([0.2 * s for s in share])


def test_a_schedule_records_nothing_and_may_have_no_epoch():
    inputs, targets, module = regression()
    history, _ = train(module, SameBatch(inputs, targets), SquaredError(), max_epochs=1, lr=0.1, schedule="cosine")
    assert history[0].keys() == {"epoch", "train_loss", "train_error", "train_half", "dur"}
    options = {"max_epochs": 0, "lr": 0.1, "schedule": "cosine"}
    assert train(module, SameBatch(inputs, targets), SquaredError(), **options)[0] == []


# Validation


def test_the_score_is_recorded_after_every_epoch():
    inputs, targets, module = regression()
    seen = []

    def validate(net):
        seen.append((net is module, net.training, weights_of(net)))
        return len(seen) / 10

    options = {"max_epochs": 3, "lr": 0.1, "validate": validate}
    history, _ = train(module, SameBatch(inputs, targets), SquaredError(), **options)
    assert [row["valid_score"] for row in history] == [0.1, 0.2, 0.3]
    assert [each[:2] for each in seen] == [(True, False)] * 3
    assert torch.equal(seen[-1][2], weights_of(module))
    assert not torch.equal(seen[0][2], seen[1][2])


def test_validation_does_not_change_the_training():
    results = []
    for validate in (None, lambda net: 0.5):
        with seeded(check_random_state(5), CPU):
            inputs, targets, module = regression()
            dropped = nn.Sequential(nn.Dropout(0.5), module)  # so that it matters whether it is in training mode
            batches = TensorBatches(inputs, targets, 8)
            train(dropped, batches, SquaredError(), max_epochs=3, lr=0.1, validate=validate)
        results.append(weights_of(dropped))
    assert torch.equal(*results)


def test_early_stopping_by_the_score_keeps_the_weights_of_the_best_epoch():
    inputs, targets, module = regression()
    twin = copy.deepcopy(module)
    batches, scores = SameBatch(inputs, targets), iter([0.1, 0.4, 0.6, 0.5, 0.2, 0.9])
    stopping = EarlyStopping("valid_score", patience=2, lower_is_better=False, load_best=True)
    options = {"validate": lambda net: next(scores), "callbacks": [stopping]}
    history, _ = train(module, batches, SquaredError(), max_epochs=6, lr=0.1, **options)
    assert [row["valid_score"] for row in history] == [0.1, 0.4, 0.6, 0.5, 0.2]
    train(twin, batches, SquaredError(), max_epochs=3, lr=0.1)
    assert torch.equal(weights_of(module), weights_of(twin))


# Callbacks


def test_early_stopping_monitors_the_training_loss_and_is_copied():
    stopping = EarlyStopping(monitor="train_loss", patience=2, threshold=0.9)
    before = vars(stopping).copy()
    inputs, targets, module = regression()
    callbacks = [stopping]
    history, _ = train(
        module, SameBatch(inputs, targets), SquaredError(), max_epochs=50, lr=1e-6, callbacks=callbacks
    )
    assert len(history) == 3
    assert callbacks == [stopping]
    assert vars(stopping) == before


def test_early_stopping_may_monitor_a_metric_and_load_the_best_weights():
    inputs, targets, module = regression()
    twin = copy.deepcopy(module)
    stopping = EarlyStopping("train_error", patience=2, load_best=True)
    batches = SameBatch(inputs, targets)
    history, _ = train(module, batches, SquaredError(), max_epochs=200, lr=2.0, callbacks=[stopping])
    assert len(history) < 200
    best = int(np.argmin([row["train_error"] for row in history])) + 1
    train(twin, batches, SquaredError(), max_epochs=best, lr=2.0)
    torch.testing.assert_close(weights_of(module), weights_of(twin))


@pytest.mark.parametrize("name", [None, "spy"])
def test_callbacks_are_cloned_and_what_they_record_is_kept(name):
    spy = Spy()
    inputs, targets, module = regression()
    callbacks = [spy if name is None else (name, spy)]
    for _ in range(2):
        history, _ = train(
            module, SameBatch(inputs, targets), SquaredError(), max_epochs=2, lr=0.1, callbacks=callbacks
        )
        assert [row["calls"] for row in history] == [1, 2]
    assert spy.calls == 0


def test_a_schedule_changes_the_learning_rate():
    inputs, targets, module = regression()
    schedule = LRScheduler(policy="StepLR", step_size=1, gamma=1e-9)
    weights = []

    class Keep(Callback):
        def on_epoch_end(self, net, **_):
            weights.append(weights_of(net.module_))

    train(module, SameBatch(inputs, targets), SquaredError(), max_epochs=3, lr=0.1, callbacks=[schedule, Keep()])
    steps = [(b - a).abs().max() for a, b in itertools.pairwise(weights)]
    assert max(steps) < 1e-6


def test_an_interrupt_during_an_epoch_is_raised():
    class Interrupted(SquaredError):
        def forward(self, outputs, targets):
            raise KeyboardInterrupt

    inputs, targets, module = regression()
    with pytest.raises(KeyboardInterrupt):
        train(module, SameBatch(inputs, targets), Interrupted(), max_epochs=2, lr=0.1)


class Stop(Callback):
    """Stops a training in the middle of its third epoch."""

    def __init__(self, error):
        self.error = error

    def on_batch_begin(self, net, **_):
        if len(net.history) == 3:
            raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError("of a callback")])
def test_a_stopped_training_keeps_its_last_finished_epoch(error):
    inputs, targets, module = regression()
    twin = copy.deepcopy(module)
    done = training.train(
        module, SameBatch(inputs, targets), SquaredError(), max_epochs=5, lr=0.1, callbacks=[Stop(error)]
    )
    history, _ = train(twin, SameBatch(inputs, targets), SquaredError(), max_epochs=2, lr=0.1)
    assert torch.equal(weights_of(module), weights_of(twin))
    assert [row["train_loss"] for row in done.history] == [row["train_loss"] for row in history]
    assert done.optimizer_state is None
    assert isinstance(done.stopped_by, error if isinstance(error, type) else type(error))


def interrupt_at(epoch):
    """Press Ctrl-C, as the system tells a process of it, once an epoch is reached."""

    class Press(Callback):
        def on_epoch_end(self, net, **_):
            if len(net.history) == epoch:
                signal.raise_signal(signal.SIGINT)

    return Press()


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_in_a_callback_after_an_epoch_is_not_swallowed():
    inputs, targets, module = regression()
    twin = copy.deepcopy(module)
    handler = signal.getsignal(signal.SIGINT)
    options = {"lr": 0.1, "callbacks": [interrupt_at(3)]}
    done = training.train(module, SameBatch(inputs, targets), SquaredError(), max_epochs=5, **options)
    history, _ = train(twin, SameBatch(inputs, targets), SquaredError(), max_epochs=2, lr=0.1)
    assert isinstance(done.stopped_by, KeyboardInterrupt)
    assert len(done.history) == len(history) == 2
    assert torch.equal(weights_of(module), weights_of(twin))
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("press", [lambda: signal.raise_signal(signal.SIGINT), lambda: next(raising())])
def test_ctrl_c_while_validating_is_not_swallowed(press):
    scores = iter(range(10))

    def validate(module):
        if next(scores) == 2:
            press()
        return 0.0

    inputs, targets, module = regression()
    options = {"lr": 0.1, "validate": validate}
    done = training.train(module, SameBatch(inputs, targets), SquaredError(), max_epochs=5, **options)
    assert isinstance(done.stopped_by, KeyboardInterrupt)
    assert len(done.history) == 2


def raising():
    raise KeyboardInterrupt
    yield


def test_a_callback_may_end_the_training_by_an_interrupt():
    class End(Callback):
        def on_epoch_end(self, net, **_):
            raise KeyboardInterrupt  # as skorch's EarlyStopping does

    inputs, targets, module = regression()
    options = {"lr": 0.1, "callbacks": [End()]}
    done = training.train(module, SameBatch(inputs, targets), SquaredError(), max_epochs=5, **options)
    assert done.stopped_by is None
    assert len(done.history) == 1


def test_ctrl_c_in_a_thread_of_its_own_changes_no_handler():
    inputs, targets, module = regression()
    results = []

    def work():
        results.append(train(module, SameBatch(inputs, targets), SquaredError(), max_epochs=2, lr=0.1))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(results[0][0]) == 2


def test_records_of_batches_are_dropped_with_the_epoch():
    seen = []

    class Look(Callback):
        def on_epoch_end(self, net, **_):
            seen.append([len(row.get("batches", [])) for row in net.history])

    inputs, targets, module = regression()
    train(module, TensorBatches(inputs, targets, 8), SquaredError(), max_epochs=3, lr=0.1, callbacks=[Look()])
    n_batches = -(-len(inputs) // 8)
    assert seen == [[n_batches], [0, n_batches], [0, 0, n_batches]]


class InOrder(IterableDataset):
    """Batches of two rows, always in the same order; their targets follow."""

    def __init__(self, inputs, targets):
        self.batches = list(zip(inputs.split(2), targets.split(2), strict=True))
        self.n_batches = len(self.batches)

    def __iter__(self):
        yield from self.batches


OWN = ("get_iterator", "infer")  # what the net does itself instead of skorch


class Journal(Callback):
    """Writes down what a callback is told of batches, and what the history knows then."""

    def __init__(self, pages):
        self.pages = pages

    def __deepcopy__(self, memo):
        return Journal(self.pages)

    def write(self, net, event, batch, **told):
        rows = [tensor.tolist() for tensor in batch]
        told = {name: value.tolist() if torch.is_tensor(value) else value for name, value in told.items()}
        known = copy.deepcopy(net.history[-1, "batches", -1])
        self.pages.append((event, rows, told, known, net.module_.training, weights_of(net.module_).tolist()))

    def on_batch_begin(self, net, **told):
        self.write(net, "begin", **told)

    def on_batch_end(self, net, **told):
        self.write(net, "end", **told)

    def on_grad_computed(self, net, named_parameters, **told):
        grads = {name: weights.grad.tolist() for name, weights in named_parameters}
        assert {name for name, _ in named_parameters} == grads.keys()  # it can be read twice
        self.write(net, "grad", grads=grads, **told)


def test_callbacks_and_history_are_told_of_batches_as_by_skorch(monkeypatch):
    inputs, targets, module = regression(6)
    journals = []
    for skorch_does_it in (False, True):
        if skorch_does_it:
            for name in OWN:
                monkeypatch.delattr(net.Net, name)
        journals.append([])
        callbacks, twin = [Journal(journals[-1])], copy.deepcopy(module)
        train(twin, InOrder(inputs, targets), SquaredError(), max_epochs=2, lr=0.1, callbacks=callbacks)
    assert [page[0] for page in journals[0]] == ["begin", "grad", "end"] * 6
    assert journals[0] == journals[1]


@pytest.mark.parametrize("use_caching", [False, True])
def test_skorch_may_score_after_every_epoch(use_caching):
    def bias(net, X, y):
        return float(np.mean(net.predict(X) - (np.concatenate(y) if use_caching else targets.numpy())))

    inputs, targets, module = regression(6)
    scoring = EpochScoring(bias, name="bias", on_train=True, use_caching=use_caching)
    options = {"max_epochs": 2, "lr": 0.1, "callbacks": [scoring]}
    history, _ = train(module, InOrder(inputs, targets), SquaredError(), **options)
    assert all(np.isfinite(row["bias"]) for row in history)
    assert history[0]["bias"] != history[1]["bias"]


@pytest.mark.parametrize("event", ["on_batch_begin", "on_batch_end", "on_epoch_end"])
def test_callbacks_may_look_at_the_module_without_dropout(event):
    class Look(Callback):
        pass

    setattr(Look, event, lambda self, net, **_: net.module_.eval() and None)
    results = []
    for callbacks in ([], [Look()]):
        torch.manual_seed(0)
        inputs, targets, module = regression(6)
        module = nn.Sequential(nn.Dropout(0.5), module)
        train(module, InOrder(inputs, targets), SquaredError(), max_epochs=2, lr=0.1, callbacks=callbacks)
        results.append(weights_of(module))
    assert torch.equal(*results)


@pytest.mark.parametrize(
    "lay_out",
    [
        lambda rows: rows[:3].clone(),
        lambda rows: rows[:3].clone().T.contiguous().T,
        lambda rows: rows[:3],
        lambda rows: rows[:3].repeat_interleave(2, 1)[:, ::2],
        lambda rows: rows[:3].repeat(1, 2)[:, :5],
    ],
    ids=["plain", "transposed", "view", "with gaps", "part of rows"],
)
def test_weights_may_lie_in_memory_as_they_like(lay_out):
    class Map(nn.Module):
        def __init__(self, weight):
            super().__init__()
            self.weight = nn.Parameter(weight)

        def forward(self, x):
            return x @ self.weight

    start = torch.randn(4, 5)
    inputs, targets = torch.randn(20, 3), torch.randn(20, 5)
    module, twin = Map(lay_out(start)), Map(start[:3].clone())
    train(module, SameBatch(inputs, targets), SquaredError(), max_epochs=3, lr=0.1)
    adam = torch.optim.Adam(twin.parameters(), lr=0.1, fused=False)
    for _ in range(3):
        adam.zero_grad()
        (twin(inputs) - targets).square().mean().backward()
        adam.step()
    torch.testing.assert_close(weights_of(module), weights_of(twin))


def test_weights_may_be_complex():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.ones(1, dtype=torch.complex64))

        def forward(self, x):
            return (self.factor * torch.exp(1j * x)).real

    inputs, module = torch.linspace(0, 6, 20), Turned()
    train(module, SameBatch(inputs, torch.cos(inputs + 1)), SquaredError(), max_epochs=300, lr=0.05)
    assert module.factor.item() == pytest.approx(np.exp(1j), abs=0.01)


# Progress


@pytest.mark.parametrize("verbose", [0, 1])
def test_the_progress_bar_shows_title_loss_and_score_only_when_asked(verbose, capsys):
    inputs, targets, module = regression()

    class Slow(SameBatch):
        def __iter__(self):
            time.sleep(0.15)  # a bar is not drawn anew more often than every 0.1 s
            yield self.batch

    options = {"max_epochs": 2, "lr": 0.1, "verbose": verbose, "title": "linear map", "validate": lambda _: 0.5}
    train(module, Slow(inputs, targets), SquaredError(), **options)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert ("linear map" in shown.err) == bool(verbose)
    assert ("2/2" in shown.err) == bool(verbose)
    assert ("loss=" in shown.err) == bool(verbose)
    assert ("valid_score=" in shown.err) == bool(verbose)
    if verbose:  # the bar cleans up after itself
        assert shown.err.endswith("\r")
        assert shown.err.split("\r")[-2].strip() == ""


# Seeds


def test_training_in_a_seeded_block_repeats_bit_by_bit():
    results = []
    for _ in range(2):
        with seeded(check_random_state(5), CPU):
            inputs, targets, module = regression()
            dropped = nn.Sequential(nn.Dropout(0.5), module)
            train(dropped, TensorBatches(inputs, targets, 8), SquaredError(), max_epochs=3, lr=0.1)
        results.append(weights_of(dropped))
        torch.rand(1)  # the outside world moves on
    assert torch.equal(*results)
