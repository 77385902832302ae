"""On a GPU, losses and metrics are read once per epoch. Here the CPU does as a GPU would."""

import numpy as np
import pytest
import torch
from corpus import rising_tones, small_cpc, write_samples
from numpy.testing import assert_array_equal
from skorch.callbacks import Callback

from sklearn_cpc import LinearProbe
from sklearn_cpc.nn.objective import InfoNCELoss
from sklearn_cpc.training.batches import ClipBatches
from sklearn_cpc.training.net import LateLoss, Net


@pytest.fixture
def _late(monkeypatch):
    """Let metrics be tensors and losses be read late, as on a GPU."""
    forward = InfoNCELoss.forward

    def keep_tensors(*args):
        loss, metrics = forward(*args)
        return loss, {name: torch.tensor(value, dtype=torch.float64) for name, value in metrics.items()}

    monkeypatch.setattr(InfoNCELoss, "forward", keep_tensors)
    monkeypatch.setattr(Net, "is_late", True)


def train(**options):
    return small_cpc(max_epochs=3, schedule="cosine", **options).fit(rising_tones(12))


def test_late_numbers_are_those_of_every_batch(monkeypatch, request):
    expected = train(validation_fraction=0.3)
    request.getfixturevalue("_late")
    cpc = train(validation_fraction=0.3)
    for row, other in zip(cpc.history_, expected.history_, strict=True):
        assert {**row, "dur": 0} == {**other, "dur": 0}
        assert all(isinstance(value, (int, float)) for value in row.values())
    for name, weights in expected.network_.state_dict().items():
        assert_array_equal(cpc.network_.state_dict()[name], weights)


@pytest.mark.usefixtures("_late")
def test_loss_and_metrics_of_a_batch_stay_tensors():
    kinds = set()

    class Watch(Callback):
        def on_batch_end(self, net, **_):
            kinds.update((name, type(value)) for name, value in net.history[-1]["batches"][-1].items())

    train(callbacks=[Watch()])
    assert {name for name, kind in kinds if kind is torch.Tensor} >= {"train_loss", "train_accuracy"}
    assert {name for name, kind in kinds if kind is not torch.Tensor} == {"train_batch_size"}


@pytest.mark.usefixtures("_late")
def test_late_loss_that_is_not_finite_names_its_recordings(tmp_path, monkeypatch):
    paths = write_samples(tmp_path, rising_tones(12))
    forward, n_calls, batches = InfoNCELoss.forward, [], []

    def fail(self, forecast, targets=None):
        loss, metrics = forward(self, forecast, targets)
        n_calls.append(1)
        return loss * (np.nan if len(n_calls) == 5 else 1.0), metrics  # the second of the three of epoch 2

    monkeypatch.setattr(InfoNCELoss, "forward", fail)
    iterate = ClipBatches.__iter__

    def watch(self):
        for batch in iterate(self):
            batches.append(self.name_batch())
            yield batch

    monkeypatch.setattr(ClipBatches, "__iter__", watch)
    cpc = small_cpc(max_epochs=4, batch_size=4)
    with pytest.raises(ValueError, match="the loss became nan in epoch 2") as error:
        cpc.fit(paths)
    assert str(error.value).endswith(f"In the batch: {', '.join(batches[4])}.")
    assert cpc.interrupted_
    assert cpc.n_iter_ == 1
    assert all(torch.isfinite(weights).all() for weights in cpc.network_.state_dict().values())


@pytest.mark.usefixtures("_late")
def test_probe_trains_with_late_numbers():
    rows = np.random.default_rng(0).normal(size=(30, 4))
    probe = LinearProbe(max_epochs=2, random_state=0).fit(rows, rows[:, 0] > 0)
    assert np.isfinite([row["train_loss"] for row in probe.history_]).all()


def test_late_loss_is_a_tensor_with_a_gradient():
    weight = torch.ones(1, requires_grad=True)
    loss = (2 * weight).sum().as_subclass(LateLoss)
    loss.backward()
    assert weight.grad.item() == 2.0
    assert type(loss.item()) is torch.Tensor
    assert float(loss.item()) == 2.0
