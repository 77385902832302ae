"""Pooled features are statistics over all that was heard of a recording, however it came in clips and batches."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_cpc.nn import pooling
from sklearn_cpc.nn.pooling import POOLINGS, Pooler, n_features

DIMS = {"z": 3, "c": 2, "context": 2, "mel": 4, "centred": 4}
STATISTICS = {"mean": np.mean, "std": np.std, "max": np.max}


def slow_thirds(frames):
    """Means over three equal stretches of time, where a step that lies across a border counts by its share."""
    fine = np.repeat(frames, 3, axis=0)  # every third is a whole number of these
    return np.concatenate([part.mean(axis=0) for part in np.split(fine, 3)])


def slow_pool(name, clips):
    """One feature vector of a recording from its clips, each {layer: array of shape (n_valid, dim)}."""
    if name == "context":
        return np.mean([clip["context"][0] for clip in clips], axis=0)
    layer, statistic = name.split("_")
    frames = np.concatenate([clip[layer] for clip in clips])
    return slow_thirds(frames) if statistic == "thirds" else STATISTICS[statistic](frames, axis=0)


def draw(lengths, seed=0, offset=0.0, dtype=np.float64):
    """Random embeddings: per recording a list of clips of so many steps."""
    random = np.random.default_rng(seed)

    def clip(n):
        layers = {layer: random.standard_normal((n, dim)) + offset for layer, dim in DIMS.items()}
        return {name: x[: 1 if name == "context" else n].astype(dtype) for name, x in layers.items()}

    return [[clip(n) for n in steps] for steps in lengths]


def pool(names, recordings, order=None, batch_size=100, padding=1e9):
    """Pool recordings whose clips come in some order, in batches that are padded with something large."""
    pieces = []
    for row, clips in enumerate(recordings):
        n_valid = [len(clip["z"]) for clip in clips]
        pieces += [(row, clip, n_valid[i], sum(n_valid[:i]), sum(n_valid)) for i, clip in enumerate(clips)]
    pieces = pieces if order is None else [pieces[i] for i in order]
    pooler = Pooler(names, len(recordings), DIMS)
    for first in range(0, len(pieces), batch_size):
        rows, clips, n_valid, before, total = zip(*pieces[first : first + batch_size], strict=True)
        layers = {}
        for layer in pooler.layers:
            n_steps = 1 if layer == "context" else max(n_valid) + 1
            layers[layer] = torch.full((len(clips), n_steps, DIMS[layer]), padding, dtype=torch.float64)
            for i, clip in enumerate(clips):
                layers[layer][i, : len(clip[layer])] = torch.from_numpy(clip[layer])
            layers[layer] = layers[layer].to(torch.from_numpy(clips[0][layer]).dtype)
        heard = torch.tensor(list(zip(before, total, strict=True)))
        pooler.update(np.array(rows), layers, torch.tensor(n_valid), torch.zeros(len(rows), dtype=int), heard)
    return pooler.result()


recordings = st.lists(st.lists(st.integers(1, 7), min_size=1, max_size=4), min_size=1, max_size=5)


@settings(deadline=None, max_examples=60)
@given(recordings, st.integers(1, 6), st.randoms(use_true_random=False), st.integers(0, 99))
def test_features_do_not_depend_on_batches_or_the_order_of_clips(lengths, batch_size, shuffler, seed):
    drawn = draw(lengths, seed)
    order = list(range(sum(map(len, lengths))))
    shuffler.shuffle(order)
    pooled = pool(tuple(POOLINGS), drawn, order, batch_size)
    expected = [np.concatenate([slow_pool(name, clips) for name in POOLINGS]) for clips in drawn]
    assert pooled.dtype == np.float64
    # The padding is a billion: what leaked would be seen.
    np.testing.assert_allclose(pooled, expected, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("name", POOLINGS)
def test_every_pooling_is_close_to_numpy_in_float32(name):
    drawn = draw([[50, 50, 20], [3], [50] * 6], dtype=np.float32)
    expected = [slow_pool(name, clips) for clips in drawn]
    np.testing.assert_allclose(pool([name], drawn, batch_size=4, padding=7.0), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("split", [[12], [5, 7], [1] * 12, [4, 4, 4]])
def test_only_the_context_depends_on_how_a_recording_is_cut(split):
    names = tuple(name for name in POOLINGS if name != "context")
    (clip,) = draw([[12]])[0]
    edges = np.cumsum(split)[:-1]
    parts = {layer: np.split(clip[layer], edges) for layer in ("z", "c", "mel", "centred")}
    clips = [{layer: parts[layer][i] for layer in parts} for i in range(len(split))]
    np.testing.assert_allclose(pool(names, [clips]), pool(names, [[clip]]), rtol=1e-9, atol=1e-12)


def test_context_is_averaged_over_clips_of_any_length():
    clips = draw([[7, 1, 1]])[0]
    expected = (clips[0]["context"] + clips[1]["context"] + clips[2]["context"]) / 3
    np.testing.assert_allclose(pool(["context"], [clips]), expected)


@pytest.mark.parametrize("n_steps", range(1, 14))
def test_thirds_are_means_over_three_equal_stretches_of_time(n_steps):
    (clips,) = draw([[n_steps]])
    pooled = pool(["z_thirds"], [clips])
    np.testing.assert_allclose(pooled[0], slow_thirds(clips[0]["z"]), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(pooled.reshape(3, -1).mean(0), clips[0]["z"].mean(0), rtol=1e-9, atol=1e-12)


def test_step_across_a_border_counts_in_both_thirds_by_its_share():
    steps = np.array([[1.0], [2.0], [4.0], [8.0]])  # four steps: a third is one and a third
    pooled = pool(["z_thirds"], [[{"z": np.repeat(steps, 3, axis=1)}]])[0].reshape(3, 3)[:, 0]
    np.testing.assert_allclose(pooled, [(1 + 2 / 3) * 3 / 4, (4 + 8) * 3 / 12, (8 + 4 / 3) * 3 / 4])


def test_thirds_of_one_and_of_two_steps_are_finite():
    one, two = np.array([[1.0, 2.0, 3.0]]), np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    np.testing.assert_allclose(pool(["z_thirds"], [[{"z": one}]])[0], np.tile(one[0], 3))
    np.testing.assert_allclose(pool(["z_thirds"], [[{"z": two}]])[0], np.outer([0, 1 / 2, 1], two[1]).ravel())


@pytest.mark.parametrize("lengths", [[1], [20], [20, 20, 3], [7] * 12])
@pytest.mark.parametrize("value", [0.1, -3.3, 1000.1])
def test_constant_steps_have_no_deviation(value, lengths):
    frame = {layer: np.full(dim, value, np.float32) for layer, dim in DIMS.items()}
    clips = [{layer: np.tile(frame[layer], (n, 1)) for layer in DIMS} for n in lengths]
    z = frame["z"]
    np.testing.assert_allclose(pool(["z_std"], [clips], padding=0.0), 0, atol=1e-6 * abs(value))
    for name in ("z_mean", "z_max"):
        np.testing.assert_allclose(pool([name], [clips], padding=0.0)[0], z, rtol=1e-6)
    np.testing.assert_allclose(pool(["z_thirds"], [clips], padding=0.0)[0], np.tile(z, 3), rtol=1e-6)


@pytest.mark.parametrize(("max_pending", "n_times"), [(128, 1), (2, 3), (1, 5)])
def test_values_of_clips_are_fetched_together(max_pending, n_times, monkeypatch):
    # On a GPU, fetching them waits until it has computed them.
    drawn, names, fetched = draw([[4] * 9, [3] * 6], dtype=np.float32), tuple(POOLINGS), []
    expected, fetch = pool(names, drawn, batch_size=3), pooling.to_numpy
    monkeypatch.setattr(pooling, "MAX_PENDING", max_pending)
    monkeypatch.setattr(pooling, "to_numpy", lambda values: fetched.append(len(values)) or fetch(values))
    np.testing.assert_array_equal(pool(names, drawn, batch_size=3), expected)
    n_clips = [n for n in fetched if n]
    per_time = sum(
        len(how.per_clip(torch.ones(1, 1, 1), torch.ones(1, 1, 1), torch.ones(1, 2))) for how in POOLINGS.values()
    )
    assert len(n_clips) == n_times * per_time
    assert sum(n_clips) == 15 * per_time


def test_small_deviation_around_a_large_mean_survives_rounding():
    # In float32 squares of 1000 are known to 0.06; the deviation is 0.1.
    drawn = draw([[30, 30]], dtype=np.float64)
    clips = [{"z": (1000 + 0.1 * clip["z"]).astype(np.float32)} for clip in drawn[0]]
    expected = np.concatenate([clip["z"] for clip in clips]).astype(np.float64).std(axis=0)
    np.testing.assert_allclose(pool(["z_std"], [clips])[0], expected, rtol=1e-3)


def test_features_are_concatenated_in_order_and_counted():
    names = ["c_max", "z_thirds", "context", "z_std", "c_max"]
    drawn = draw([[5, 4], [2], [7]])
    pooled = pool(names, drawn)
    np.testing.assert_allclose(pooled, np.concatenate([pool([name], drawn) for name in names], axis=1))
    assert pooled.shape == (3, n_features(names, DIMS))
    assert n_features(names, DIMS) == 2 + 3 * 3 + 2 + 3 + 2


@pytest.mark.parametrize("name", POOLINGS)
def test_n_features_counts_the_features_of_every_pooling(name):
    assert pool([name], draw([[4]])).shape == (1, n_features([name], DIMS))


def test_pooler_needs_only_the_layers_of_its_poolings():
    assert Pooler(["z_mean", "z_thirds"], 1, DIMS).layers == {"z"}
    assert Pooler(["context", "z_mean"], 1, DIMS).layers == {"context", "z"}
    assert Pooler(["c_max"], 1, DIMS).layers == {"c"}


def test_names_of_poolings():
    statistics = ["mean", "std", "max", "thirds"]
    assert list(POOLINGS) == [
        "context",
        *(f"{layer}_{name}" for layer in ("z", "c", "mel", "centred") for name in statistics),
    ]
