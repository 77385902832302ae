"""The contrastive score is the same task for every network: fixed negatives, chance at 1/32."""

import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_cpc.nn.network import Forecast
from sklearn_cpc.nn.objective import SIMILARITIES
from sklearn_cpc.training import scoring
from sklearn_cpc.training.scoring import N_ACROSS, N_WITHIN, contrastive_accuracy

N_NEGATIVES = N_WITHIN + N_ACROSS


def forecast(n_clips=40, n_steps=12, n_future=3, dim=16, n_valid=None, seed=0):
    """Random embeddings, predicted at random from every position."""
    random = torch.Generator().manual_seed(seed)
    return Forecast(
        predictions=torch.randn(n_clips, n_steps - 1, n_future, dim, generator=random),
        z=torch.randn(n_clips, n_steps, dim, generator=random),
        positions=torch.arange(n_steps - 1).expand(n_clips, -1),
        n_valid=torch.full((n_clips,), n_steps) if n_valid is None else torch.tensor(n_valid),
    )


def with_perfect_predictions(forecast):
    steps = forecast.positions[..., None] + torch.arange(1, forecast.predictions.shape[2] + 1)
    clips = torch.arange(len(forecast.z))[:, None, None]
    return forecast._replace(predictions=forecast.z[clips, steps.clamp_max(forecast.z.shape[1] - 1)])


def draw_negatives(clip, target, n_valid):
    return scoring.draw_negatives(clip, target, n_valid, np.random.RandomState(0))


def split(forecast, *sizes):
    return [Forecast(*parts) for parts in zip(*(tensor.split(sizes) for tensor in forecast), strict=True)]


# The negatives


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 99))
def test_negatives_are_valid_windows_but_never_the_positive(n_valid, seed):
    n_valid, random = np.array(n_valid), np.random.default_rng(seed)
    long_enough = np.flatnonzero(n_valid > 1)
    if not len(long_enough):
        return
    clip = random.choice(long_enough, 50)
    target = random.integers(1, n_valid[clip])
    clips, steps = draw_negatives(clip, target, n_valid)
    assert clips.shape == steps.shape == (50, N_NEGATIVES)
    assert (clips >= 0).all()
    assert (clips < len(n_valid)).all()
    assert (steps >= 0).all()
    assert (steps < n_valid[clips]).all()
    assert not ((clips == clip[:, None]) & (steps == target[:, None])).any()
    same_clip = (clips == clip[:, None]).sum(1)
    assert (same_clip == (N_NEGATIVES if len(n_valid) == 1 else N_WITHIN)).all()


def test_there_are_31_negatives_of_both_kinds():
    assert N_NEGATIVES == 31
    clips, _ = draw_negatives(np.zeros(10, int), np.ones(10, int), np.full(5, 4))
    assert (clips[:, :N_WITHIN] == 0).all()
    assert (clips[:, N_WITHIN:] != 0).all()


def test_every_other_window_is_drawn_about_equally_often():
    n_valid = np.array([4, 3, 5])
    clips, steps = draw_negatives(np.zeros(9000, int), np.full(9000, 2), n_valid)
    within = np.bincount(steps[:, :N_WITHIN].ravel(), minlength=4) / (9000 * N_WITHIN)
    np.testing.assert_allclose(within, [1 / 3, 1 / 3, 0, 1 / 3], atol=0.01)
    for other in (1, 2):
        drawn = np.bincount(steps[:, N_WITHIN:][clips[:, N_WITHIN:] == other])
        np.testing.assert_allclose(drawn / (9000 * N_ACROSS), 1 / 8, atol=0.01)


@pytest.mark.parametrize("n_valid", [[16, 16], [30] * 8, [32], [17, 1, 15], [16, *[1] * 16]])
def test_negatives_are_distinct_if_enough_windows_exist(n_valid):
    n_valid = np.array(n_valid)
    target = np.arange(1, n_valid[0])
    clips, steps = draw_negatives(np.zeros_like(target), target, n_valid)
    for negatives in zip(clips, steps, strict=True):
        assert len(set(zip(*negatives, strict=True))) == N_NEGATIVES


def test_negatives_are_fixed_without_touching_global_rngs():
    numpy_before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    assert contrastive_accuracy([forecast()], "dot") == contrastive_accuracy([forecast()], "dot")
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)


# The score


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_random_predictions_score_at_chance(similarity):
    scores = [contrastive_accuracy([forecast(150, n_steps=30, seed=seed)], similarity) for seed in range(3)]
    assert np.mean(scores) == pytest.approx(1 / 32, abs=0.003)  # of 37,800 predictions


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_perfect_predictions_score_one(similarity):
    perfect = with_perfect_predictions(forecast())
    perfect = perfect._replace(z=torch.nn.functional.normalize(perfect.z, dim=-1))
    assert contrastive_accuracy([perfect], similarity) == 1


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("dim", [3, 16, 100, 256])
def test_network_with_constant_output_scores_zero(dim, similarity):
    collapsed = forecast(dim=dim)
    collapsed = collapsed._replace(z=collapsed.z[:1, :1].expand_as(collapsed.z))
    assert contrastive_accuracy([collapsed], similarity) == 0


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_score_is_share_of_futures_ranked_above_all_negatives(similarity):
    batch = forecast(n_clips=6, dim=2, n_valid=[12, 3, 1, 7, 2, 12])
    z = batch.z.numpy() / (np.linalg.norm(batch.z, axis=-1, keepdims=True) if similarity == "cosine" else 1)
    rows = [
        (b, t, k, t + k + 1) for b in range(6) for t in range(11) for k in range(3) if t + k + 1 < batch.n_valid[b]
    ]
    clips, steps = draw_negatives(*np.array([(b, s) for b, _, _, s in rows]).T, batch.n_valid.numpy())
    hits = []
    for (b, t, k, s), negatives in zip(rows, zip(clips, steps, strict=True), strict=True):
        prediction = batch.predictions[b, t, k].numpy()
        hits.append(all(prediction @ z[b, s] > prediction @ z[c, n] for c, n in zip(*negatives, strict=True)))
    assert 0 < np.mean(hits) < 1
    assert contrastive_accuracy([batch], similarity) == pytest.approx(np.mean(hits))


def test_cosine_ignores_length_but_dot_does_not():
    batch = with_perfect_predictions(forecast(n_clips=10))
    long = batch.z.clone()
    long[:, 0] *= 1000  # a window that has a large dot product with half of all
    assert contrastive_accuracy([batch._replace(z=long)], "cosine") == 1
    assert contrastive_accuracy([batch._replace(z=long)], "dot") < 0.7


def test_batching_does_not_change_the_score():
    whole = forecast(n_clips=30, n_valid=[12, 5, 1] * 10)
    score = contrastive_accuracy([whole], "dot")
    for sizes in [(10, 10, 10), (1, 29), (16, 14)]:
        assert contrastive_accuracy(split(whole, *sizes), "dot") == score


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("ahead", [0, 2])
def test_trimmed_batches_score_like_padded_batches(similarity, ahead):
    whole = forecast(n_clips=30, dim=4, n_valid=[12] * 10 + [7, 5] * 5 + [2, 1, 3, 1, 2] * 2)
    batches = split(whole, 10, 10, 10)
    cut = []
    for batch in batches:
        n = min(12, int(batch.n_valid.max()) + ahead)
        predictions, positions = batch.predictions[:, : n - 1], batch.positions[:, : n - 1]
        cut.append(batch._replace(predictions=predictions, positions=positions, z=batch.z[:, :n]))
    assert len({batch.z.shape[1] for batch in cut}) == 3
    score = contrastive_accuracy(batches, similarity)
    assert 0 < score < 1
    assert contrastive_accuracy(cut, similarity) == score


def test_padding_is_not_predicted_and_not_a_negative():
    batch = forecast(n_valid=[12, 5, 2, 1] * 10)
    score = contrastive_accuracy([batch], "dot")
    other = batch.z.clone()
    other[torch.arange(12) >= batch.n_valid[:, None]] = 1e9
    assert contrastive_accuracy([batch._replace(z=other)], "dot") == score


def test_single_clip_is_scored_by_its_own_windows():
    assert contrastive_accuracy([with_perfect_predictions(forecast(n_clips=1, n_steps=100))], "cosine") == 1
    random = [contrastive_accuracy([forecast(n_clips=1, n_steps=400, seed=seed)], "dot") for seed in range(4)]
    assert np.mean(random) == pytest.approx(1 / 32, abs=0.01)


def test_one_step_clips_are_skipped_and_score_nan_if_alone():
    batch = with_perfect_predictions(forecast(n_clips=4, n_valid=[12, 1, 1, 1]))
    assert contrastive_accuracy([batch], "cosine") == 1
    assert np.isnan(contrastive_accuracy([batch._replace(n_valid=torch.ones(4, dtype=torch.long))], "cosine"))


def test_single_prediction_is_scored():
    one = with_perfect_predictions(forecast(n_clips=2, n_steps=2, n_future=1, n_valid=[2, 1]))
    assert contrastive_accuracy([one], "cosine") == 1


@given(st.lists(st.integers(1, 5), max_size=30), st.integers(1, 60))
def test_groups_keep_forecast_order_and_have_a_minimum_size(sizes, wanted):
    batches = [forecast(n_clips=size, n_steps=3, dim=1) for size in sizes]
    per_clip = 4 * (3 + 2 * 3)  # bytes
    found = list(scoring.groups(batches, per_clip * wanted))
    assert [id(batch) for group in found for batch in group] == [id(batch) for batch in batches]
    held = [sum(len(batch.z) for batch in group) for group in found]
    assert all(wanted <= size < 2 * wanted + 10 for size in held[len(held) == 1 :])
    assert held == [sum(sizes)] if 0 < sum(sizes) < wanted else True


def test_large_corpus_is_scored_in_groups_within_memory_limit(monkeypatch):
    batches = [forecast(n_clips=10, seed=seed) for seed in range(20)]
    n_bytes = 5 * (batches[0].z.nbytes + batches[0].predictions.nbytes)
    monkeypatch.setattr(scoring, "GROUP", n_bytes)
    alive, seen = weakref.WeakSet(), []

    def coming():
        for batch in batches:
            copy = Forecast(*(tensor.clone() for tensor in batch))
            alive.add(copy.z)
            seen.append(len(alive))
            yield copy
            del copy

    score = contrastive_accuracy(coming(), "dot")
    assert max(seen) <= 12  # two groups, and what is on its way
    assert score == pytest.approx(1 / 32, abs=0.01)
    perfect = [with_perfect_predictions(batch) for batch in batches]
    assert contrastive_accuracy(perfect, "cosine") == 1


@pytest.mark.parametrize("n", [5000, 4097, 4096, 1])
def test_many_predictions_are_scored_in_bounded_chunks(n, monkeypatch):
    sizes = []

    def einsum(equation, predictions, negatives):
        sizes.append(negatives.shape)
        return torch.functional.einsum(equation, predictions, negatives)

    monkeypatch.setattr(scoring.torch, "einsum", einsum)
    batch = with_perfect_predictions(forecast(n_clips=n, n_steps=2, n_future=1, dim=4))
    if n == 1:
        batch = with_perfect_predictions(forecast(n_clips=1, n_steps=3, n_future=1, dim=4, n_valid=[2]))
    assert contrastive_accuracy([batch], "cosine") == 1
    assert sum(size[0] for size in sizes) == n
    assert max(size[0] for size in sizes) <= 4096
    assert all(size[1:] == (31, 4) for size in sizes)
