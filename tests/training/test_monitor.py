"""EmbeddingMonitor: closed forms of what it measures, and what it says of networks that collapse."""

from collections import deque

import numpy as np
import pytest
import torch
from corpus import rising_tones, small_cpc
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode

from sklearn_cpc import EmbeddingMonitor, LinearProbe
from sklearn_cpc.nn.network import Forecast
from sklearn_cpc.training.monitor import effective_rank, knn_accuracy, relative_std


@given(st.integers(1, 8), st.floats(0.01, 100))
def test_the_effective_rank_of_equal_directions_is_their_number(n, scale):
    rows = scale * np.vstack([np.eye(8)[:n], -np.eye(8)[:n]]) + 3
    assert effective_rank(rows) == pytest.approx(n, rel=1e-6)


def test_directions_of_unequal_size_count_less():
    rows = np.array([[3.0, 0], [-3, 0], [0, 1], [0, -1]])
    assert effective_rank(rows) == pytest.approx(np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25))))


def test_equal_rows_have_rank_one_and_no_spread():
    assert effective_rank(np.full((5, 3), 2.0)) == 1
    assert relative_std(np.full((5, 3), 2.0)) == 0
    assert relative_std(np.zeros((5, 3))) == 0


def test_relative_std_is_one_for_centred_rows_at_any_scale():
    random = np.random.default_rng(0)
    rows = random.standard_normal((100, 6))
    assert relative_std(rows - rows.mean(axis=0)) == pytest.approx(1)
    assert relative_std(7 * rows + 5) == pytest.approx(relative_std(rows + 5 / 7))


@pytest.mark.parametrize("n_neighbors", [1, 4])
def test_knn_accuracy_leaves_the_row_itself_out(n_neighbors):
    random = np.random.default_rng(0)
    y = np.array(["a", "b", "c"])[random.integers(0, 3, 60)]
    X = random.standard_normal((60, 4)) + 2 * (y == "a")[:, None]
    scaled = StandardScaler().fit_transform(X)
    expected = cross_val_score(KNeighborsClassifier(n_neighbors), scaled, y, cv=LeaveOneOut()).mean()
    assert knn_accuracy(X, y, n_neighbors) == pytest.approx(expected)


def test_rows_of_unusable_recordings_are_ignored():
    X, y = np.array([[0.0], [1], [10], [11]]), np.array(list("aabb"))
    more = np.vstack([X, [[np.nan]]])
    assert knn_accuracy(more, np.append(y, "c"), 1) == knn_accuracy(X, y, 1) == 1


def test_every_epoch_is_recorded_and_the_training_is_the_same():
    X, y = rising_tones(16), np.arange(16) % 2
    plain = small_cpc(max_epochs=2).fit(X)
    cpc = small_cpc(max_epochs=2, callbacks=[EmbeddingMonitor(labelled=(X, y), n_neighbors=3)]).fit(X)
    assert [row["train_loss"] for row in cpc.history_] == [row["train_loss"] for row in plain.history_]
    assert all(
        1 <= row["train_effective_rank"] <= 8 and 0 < row["train_relative_std"] <= 1 for row in cpc.history_
    )
    assert cpc.history_[-1]["valid_knn_accuracy"] == knn_accuracy(cpc.transform(X), y, 3)


def test_labelled_recordings_may_be_files(corpus):
    monitor = EmbeddingMonitor(labelled=(corpus.paths, corpus.y), n_neighbors=1)
    cpc = small_cpc(callbacks=[monitor]).fit(corpus.paths)
    assert cpc.history_[-1]["valid_knn_accuracy"] == knn_accuracy(cpc.transform(corpus.paths), corpus.y, 1)


class Collapsed(nn.Module):
    """Embeds every step alike, but for a little noise that has one direction."""

    sample_rate = 1000

    def __init__(self, noise):
        super().__init__()
        self.noise = noise
        self.weights = nn.Parameter(torch.ones(8))

    def forward(self, clips):
        steps = clips.reshape(len(clips), 8, -1).mean(-1, keepdim=True)
        return self.weights + self.noise * steps * torch.arange(8.0)


@pytest.mark.parametrize("noise", [0.0, 100.0])
def test_collapse_warns_once(noise):
    cpc = small_cpc(encoder=Collapsed(noise), max_epochs=3, callbacks=[EmbeddingMonitor()])
    with pytest.warns(UserWarning, match=r"the embeddings collapse: after epoch 1 .* fill 1\.0 of 8") as record:
        cpc.fit(rising_tones(12))
    assert len(record) == 1


def test_only_last_embeddings_with_sound_are_used():
    monitor = EmbeddingMonitor(n_rows=5)
    monitor.recent_ = deque()
    for batch in range(3):
        z, n_valid = torch.full((2, 4, 3), float(batch)), torch.tensor([1, 3])
        monitor.on_batch_end(None, batch=({}, n_valid), y_pred=Forecast(None, z, None, n_valid))
    assert torch.cat(tuple(monitor.recent_))[:, 0].tolist() == [1.0] * 4 + [2.0] * 4


def test_no_batch_waits_for_embeddings_on_a_gpu():
    fake, n_valid = FakeTensorMode(allow_non_fake_inputs=True), torch.tensor([1, 3])
    monitor = EmbeddingMonitor(n_rows=5)
    monitor.recent_ = deque()
    z = fake.from_tensor(torch.zeros(2, 4, 3))  # has no numbers, so that reading one or counting some raises
    with pytest.raises(DynamicOutputShapeException):
        z[z > 0]
    monitor.on_batch_end(None, batch=({}, n_valid), y_pred=Forecast(None, z, None, None))
    assert monitor.recent_[0].shape == (4, 3)


@pytest.mark.parametrize(
    ("monitor", "message"),
    [
        (EmbeddingMonitor(n_neighbors=0), "'n_neighbors' parameter"),
        (EmbeddingMonitor(n_rows=1), "'n_rows' parameter"),
        (EmbeddingMonitor(labelled=(np.zeros((3, 400)), [0, 1])), "inconsistent numbers of samples"),
        (EmbeddingMonitor(labelled=(np.zeros((3, 400)), [0, 1, 0])), r"labelled has 3 recording\(s\), too few"),
    ],
)
def test_invalid_arguments_are_named(monitor, message):
    with pytest.raises(ValueError, match=message):
        small_cpc(callbacks=[monitor]).fit(rising_tones(8))


def test_other_estimators_have_no_embeddings_to_watch():
    with pytest.raises(TypeError, match="EmbeddingMonitor watches a CPCTransformer"):
        LinearProbe(callbacks=[EmbeddingMonitor()]).fit(np.eye(4), [0, 1, 0, 1])
