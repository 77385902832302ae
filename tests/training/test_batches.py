"""Batches hold every row or stretch of sound once, in an order that only the seed decides."""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils import check_random_state
from torch import nn

from sklearn_cpc import CausalAttentionContext, GRUContext, LogMelEncoder
from sklearn_cpc.training.batches import (
    N_SORTED,
    ClipBatches,
    TensorBatches,
    check_trainable,
    clips_in_order,
    hold_out,
    split_evenly,
    warn_if_short,
)
from sklearn_cpc.training.clip_geometry import LONG_CLIP, ClipShape

CLIP, N_STEPS = 12, 4
WHOLE = ClipShape(CLIP, N_STEPS)
ANY_LENGTH = ClipShape(CLIP, N_STEPS, samples_per_step=3)
AHEAD = ClipShape(CLIP, N_STEPS, samples_per_step=3, lookahead=1)
SHAPES = pytest.mark.parametrize("shape", [WHOLE, ANY_LENGTH, AHEAD], ids=["whole", "any length", "lookahead"])
LENGTHS = [12, 24, 30, 5, 100, 13, 1]


def numbered(lengths):
    """Recordings whose samples are all different and none zero."""
    ends = np.cumsum(lengths)
    return [np.arange(end - length, end, dtype=np.float32) + 1 for length, end in zip(lengths, ends, strict=True)]


def clip_batches(lengths=LENGTHS, batch_size=4, seed=0, shape=WHOLE):
    return ClipBatches(numbered(lengths), shape, batch_size, check_random_state(seed))


def whole(clips):
    """Clips that may have been cut, with their padding."""
    return nn.functional.pad(clips, (0, CLIP - clips.shape[1]))


def epoch_of(batches):
    """All clips and their valid steps of one epoch."""
    inputs = [inputs for inputs, _ in batches]
    return torch.cat([whole(i["clips"]) for i in inputs]), torch.cat([i["n_valid"] for i in inputs])


def steps_of(n_samples):
    """Steps that hold sound when a clip has this many samples: those at least half filled, one at least."""
    return min(N_STEPS, max(1, int(n_samples / (CLIP / N_STEPS) + 0.5)))


# Clips at random


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 80), min_size=1, max_size=8),
    st.integers(1, 9),
    st.integers(0, 99),
    st.sampled_from([WHOLE, ANY_LENGTH, AHEAD]),
)
def test_epoch_covers_each_recording_about_once_without_overlap(lengths, batch_size, seed, shape):
    recordings = numbered(lengths)
    clips, n_valid = epoch_of(clip_batches(lengths, batch_size, seed, shape))
    sounds = clips[clips > 0].numpy()
    assert len(np.unique(sounds)) == len(sounds)
    for samples in recordings:
        heard = np.isin(samples, sounds).sum()
        if len(samples) >= CLIP:
            assert heard == len(samples) // CLIP * CLIP
        else:  # less than half a step of three samples may be cut from the end of the longest of a batch
            assert heard == len(samples) or (shape is not WHOLE and heard == len(samples) - 1)
    assert len(clips) == len(n_valid) == sum(max(1, length // CLIP) for length in lengths)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 80), min_size=1, max_size=40), st.integers(1, 9), st.integers(0, 99))
def test_the_number_of_batches_is_known_before_they_are_drawn(lengths, batch_size, seed):
    batches = clip_batches(lengths, batch_size, seed)
    assert batches.n_batches == len(list(batches)) == len(list(batches))


@SHAPES
@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_every_clip_is_cut_from_one_recording(batch_size, shape):
    recordings = numbered(LENGTHS)
    for clip in epoch_of(clip_batches(batch_size=batch_size, shape=shape))[0].numpy():
        sound = clip[clip > 0]
        assert (np.diff(sound) == 1).all()
        assert sum(np.isin(sound, samples).all() for samples in recordings) == 1
        assert (clip[len(sound) :] == 0).all()


def test_offsets_change_every_epoch_and_reach_both_ends():
    batches = clip_batches([20])
    first = [int(epoch_of(batches)[0][0, 0]) for _ in range(200)]
    assert set(first) == set(range(1, 10))  # samples are numbered from one; 20 - 12 = 8 to spare


def test_seed_determines_order_and_epochs_differ():
    one, same, other = clip_batches(seed=1), clip_batches(seed=1), clip_batches(seed=2)
    global_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    epochs = [epoch_of(one)[0] for _ in range(2)]
    assert torch.equal(epochs[0], epoch_of(same)[0])
    assert torch.equal(epochs[1], epoch_of(same)[0])
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0], epoch_of(other)[0])
    np.testing.assert_array_equal(np.random.get_state()[1], global_state[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), global_state[1])


@SHAPES
def test_batch_has_inputs_of_network_and_loss(shape):
    for inputs, targets in clip_batches(shape=shape):
        assert inputs.keys() == {"clips", "n_valid"}
        assert inputs["clips"].dtype == torch.float32
        assert inputs["n_valid"].dtype == torch.int64
        assert torch.equal(targets, inputs["n_valid"])


def test_short_recordings_are_padded_at_the_end_and_flagged():
    clips, n_valid = epoch_of(clip_batches([5, 12, 1, 8]))
    sounding = (clips > 0).sum(1)
    order = sounding.argsort()
    assert sounding[order].tolist() == [1, 5, 8, 12]
    assert n_valid[order].tolist() == [1, 2, 3, 4]  # 1/3 counts as one at least; 5/3 and 8/3 are more than half


# Clips of similar length


def steps_by_batch(batches):
    return [inputs["n_valid"].tolist() for inputs, _ in batches]


def test_similar_lengths_share_a_batch_in_random_batch_order():
    lengths = np.random.default_rng(0).permutation([3, 6, 9, 12] * 8)  # of 1, 2, 3 and 4 steps
    batches = clip_batches(lengths, batch_size=8)
    epochs = [steps_by_batch(batches) for _ in range(20)]
    for epoch in epochs:
        assert sorted(epoch) == [[n] * 8 for n in (1, 2, 3, 4)]
    assert len({str(epoch) for epoch in epochs}) > 8  # of 24 orders


def test_clips_of_equal_length_share_other_batches_every_epoch():
    batches = clip_batches([12] * 6, batch_size=3)
    partners = {frozenset(inputs["clips"][:, 0].tolist()) for _ in range(60) for inputs, _ in batches}
    assert len(partners) == 20  # every choice of three


def test_lengths_are_sorted_only_within_random_chunks():
    n_clips = 4 * N_SORTED * 2
    lengths = np.arange(n_clips) % 11 + 1
    epochs = [steps_by_batch(clip_batches(lengths, batch_size=2, seed=seed)) for seed in range(3)]
    for epoch in epochs:
        in_all = np.sort([steps_of(length) for length in lengths]).reshape(-1, 2).tolist()
        assert sorted(epoch) != in_all
        spread = [max(batch) - min(batch) for batch in epoch]
        assert np.mean(spread) < 0.2  # 1.2 if clips were drawn at random


def test_variable_length_network_gets_less_padding():
    lengths = [3] * 16 + [12] * 16
    sizes = {
        shape: sum(inputs["clips"].numel() for inputs, _ in clip_batches(lengths, 4, shape=shape))
        for shape in (WHOLE, ANY_LENGTH)
    }
    assert sizes[WHOLE] == 32 * CLIP
    assert sizes[ANY_LENGTH] == 16 * CLIP + 16 * 6  # two steps at least


@SHAPES
def test_batches_end_after_longest_clip_and_its_lookahead(shape):
    for inputs, n_valid in clip_batches(np.arange(1, 13).repeat(3), batch_size=3, shape=shape):
        n_steps = N_STEPS if shape is WHOLE else min(N_STEPS, max(2, n_valid.max() + shape.lookahead))
        assert inputs["clips"].shape[1] == n_steps * 3


# Batch sizes


@settings(deadline=None)
@given(st.integers(1, 500), st.integers(1, 70))
def test_batches_are_as_few_and_as_equal_as_can_be(n_rows, batch_size):
    parts = split_evenly(torch.arange(n_rows), batch_size)
    sizes = [len(part) for part in parts]
    assert torch.equal(torch.cat(parts), torch.arange(n_rows))
    assert len(sizes) == -(-n_rows // batch_size)
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("n_rows", "sizes"), [(9, [4, 5]), (17, [5, 6, 6]), (16, [8, 8]), (3, [3])])
def test_no_batch_is_too_small(n_rows, sizes):
    batches = clip_batches([CLIP] * n_rows, batch_size=8)
    assert sorted(len(inputs["clips"]) for inputs, _ in batches) == sizes


# Clips in order


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(1, 80), min_size=1, max_size=8),
    st.integers(1, 9),
    st.sampled_from([WHOLE, ANY_LENGTH, AHEAD]),
    st.sampled_from([None, 1, 2, 5]),
)
def test_clips_in_order_are_cut_at_their_steps_and_count_each_step_once(lengths, batch_size, shape, n_clips):
    recordings, step = numbered(lengths), CLIP // N_STEPS
    batches = list(clips_in_order(recordings, shape, n_clips, batch_size * CLIP, np.float32))
    assert all(batch.clips.numel() <= batch_size * CLIP for batch in batches)
    counted = {row: [] for row in range(len(lengths))}
    for clips, n_valid, rows, n_shared, heard in batches:
        for clip, n, row, shared, (begins, total) in zip(
            clips.numpy(), n_valid, rows, n_shared, heard, strict=True
        ):
            start = int(clip[0] - recordings[row][0])
            assert start % step == 0
            expected = recordings[row][start : start + len(clip)]
            assert (clip[: len(expected)] == expected).all()
            assert (clip[len(expected) :] == 0).all()
            assert begins + shared == len(counted[row])
            counted[row] += range(start // step + shared, start // step + n)
            assert total >= len(counted[row])
    for row, length in enumerate(lengths):
        n_total = max(1, (length + step // 2) // step)
        assert counted[row] == sorted(set(counted[row]))
        assert n_clips or counted[row] == list(range(n_total))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 80), min_size=1, max_size=8), st.integers(1, 9), st.sampled_from([None, 1, 3]))
def test_longest_clips_first_and_recordings_stay_together(lengths, batch_size, n_clips):
    recordings = numbered(lengths)
    batches = list(clips_in_order(recordings, WHOLE, n_clips, batch_size * CLIP, np.float32))
    n_valid, rows = (np.concatenate([batch[i] for batch in batches]) for i in (1, 2))
    assert (np.diff(n_valid) <= 0).all()
    changes = np.flatnonzero(np.diff(rows)) + 1
    assert len(changes) + 1 == len(np.unique(rows)) == len(lengths)
    firsts = np.concatenate([batch.clips[:, 0] for batch in batches])
    for part in np.split(firsts, changes):
        assert (np.diff(part) >= 0).all()


@pytest.mark.parametrize("n_clips", [1, 2, 3])
def test_n_clips_are_spread_evenly_and_one_clip_is_centred(n_clips):
    (batch,) = clips_in_order(numbered([36]), WHOLE, n_clips, 16 * CLIP, np.float32)
    assert (batch.clips[:, 0] - 1).tolist() == {1: [12], 2: [0, 24], 3: [0, 12, 24]}[n_clips]


def test_clips_have_requested_dtype_for_any_batch_size():
    recordings = [recording.astype(np.float64) / 7 for recording in numbered(LENGTHS)]
    together = list(clips_in_order(recordings, WHOLE, None, 1000 * CLIP, np.float64))
    parts = list(clips_in_order(recordings, WHOLE, None, 3 * CLIP, np.float64))
    assert len(together) == 1
    assert together[0].clips.dtype == torch.float64
    for i in range(5):
        np.testing.assert_array_equal(np.concatenate([part[i] for part in parts]), together[0][i])


def test_ordered_batches_also_end_after_longest_clip():
    shape = ANY_LENGTH
    sizes = [batch.clips.shape for batch in clips_in_order(numbered([2, 6, 12, 9]), shape, None, 1, np.float32)]
    assert sizes == [(1, 12), (1, 9), (1, 6), (1, 6)]


def test_ordered_batches_hold_more_clips_if_clips_are_short():
    recordings = numbered([12, 12, 12, 6, 6, 6, 6, 6, 40])
    sizes = [len(batch.clips) for batch in clips_in_order(recordings, ANY_LENGTH, None, 2 * CLIP, np.float32)]
    assert sizes == [2, 2, 2, 2, 4]  # of 40, four clips
    assert len(list(clips_in_order(numbered([30]), ANY_LENGTH, None, 1, np.float32))) == 3  # one at least


def test_no_recording_gives_no_batch():
    assert not list(clips_in_order([], WHOLE, None, 4, np.float32))


# Shapes


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (ClipShape(103, 10), [103] * 10),
        (ClipShape(103, 10, 10), [20, 20, 30, 40, 50, 60, 70, 80, 90, 100]),  # two steps at least
        (ClipShape(103, 10, 10, 1), [20, 30, 40, 50, 60, 70, 80, 90, 100, 103]),
        (ClipShape(103, 10, 10, 4), [50, 60, 70, 80, 90, 100, 103, 103, 103, 103]),
        (ClipShape(95, 10, 9, 100), [95] * 10),
    ],
)
def test_only_samples_that_affect_embeddings_are_needed(shape, expected):
    assert [shape.count_needed(n_valid) for n_valid in range(1, 11)] == expected


def test_shape_is_variable_if_encoder_has_samples_per_step():
    encoder = nn.Flatten()
    network = SimpleNamespace(encoder=encoder, n_samples=40, n_context=3, n_future=1)
    assert ClipShape.for_network(network) == ClipShape(40, 4, None, 0)
    encoder.samples_per_step = 10
    assert ClipShape.for_network(network) == ClipShape(40, 4, 10, 0)
    encoder.lookahead = 3
    assert ClipShape.for_network(network) == ClipShape(40, 4, 10, 3)
    network.encoder = encoder = LogMelEncoder(n_mels=8, sample_rate=1000)(1000, 10)
    network.n_samples, network.n_context = 1000, 9
    assert ClipShape.for_network(network) == ClipShape(1000, 10, 100, encoder.lookahead)


class Network(NamedTuple):
    autoregressor: object


@pytest.mark.parametrize("layers", [{"z"}, {"z", "mel"}, {"z", "c"}, {"c"}])
def test_embedding_uses_longer_clips_for_variable_length_networks(layers):
    recurrent, attention = Network(GRUContext(4)(3, 8)), Network(CausalAttentionContext(4)(3, 8))
    uneven = ClipShape(103, 10, 10, 2)  # three samples of a clip belong to no step
    n_steps = LONG_CLIP * 10
    longer = ClipShape(n_steps * 10, n_steps, 10, 2)
    assert uneven.for_embedding(recurrent, layers) == longer
    assert uneven.for_embedding(attention, layers) == (uneven if "c" in layers else longer)
    assert uneven.for_embedding(recurrent, layers | {"context"}) is uneven
    assert WHOLE.for_embedding(recurrent, layers) is WHOLE


# What can be trained on


def silence(*lengths):
    return [np.zeros(length, np.float32) for length in lengths]


@pytest.mark.parametrize(
    ("recordings", "batch_size"), [(silence(12), 8), (silence(12, 12, 12), 1), (silence(23), 8), (silence(5), 8)]
)
def test_negatives_across_need_two_clips_in_a_batch(recordings, batch_size):
    with pytest.raises(ValueError, match=rf"n_samples={len(recordings)} of .* and batch_size={batch_size};"):
        check_trainable(recordings, ANY_LENGTH, batch_size, "across")
    for negatives in ("within", "mixed"):
        check_trainable(recordings, ANY_LENGTH, batch_size, negatives)


def test_two_clips_of_one_recording_are_enough():
    check_trainable(silence(24), WHOLE, 2, "across")


def test_one_recording_of_two_steps_suffices_but_none_raises():
    check_trainable(silence(1, 5), ANY_LENGTH, 8, "across")
    with pytest.raises(ValueError, match="n_features=4 samples, less than two windows of 3"):
        check_trainable(silence(1, 4), ANY_LENGTH, 8, "across")


def test_much_padding_warns_unless_network_needs_none():
    check_trainable(silence(6, 6, 6, 1), WHOLE, 8, "across")
    with pytest.warns(UserWarning, match=r"no more than 42% of a clip.*encoder='logmel', which needs no padding"):
        check_trainable(silence(5, 5, 12), WHOLE, 8, "across")
    check_trainable(silence(5, 5, 12), ANY_LENGTH, 8, "across")


# Tensors


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 99])
def test_tensor_batches_yield_each_row_once_with_its_target(batch_size):
    inputs = torch.arange(20.0).reshape(10, 2)
    dataset = TensorBatches(inputs, torch.arange(10), batch_size)
    batches = list(dataset)
    rows = torch.cat([targets for _, targets in batches])
    assert rows.sort().values.tolist() == list(range(10))
    assert torch.equal(torch.cat([x for x, _ in batches]), inputs[rows])
    assert max(len(targets) for _, targets in batches) <= batch_size
    assert len(batches) == dataset.n_batches == -(-10 // batch_size)


def test_tensor_batches_are_shuffled_by_the_generator_of_torch():
    batches = TensorBatches(torch.arange(100), torch.arange(100), 100)
    orders = []
    with torch.random.fork_rng():
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            orders.append([rows.tolist() for rows, _ in batches])
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != [list(range(100))]


# Validation


def test_all_spellings_of_a_path_are_held_out_together(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    names = [f"{i}.wav" for i in range(20)]
    for name in names:
        (tmp_path / "folder" / name).touch()
        (tmp_path / f"link-{name}").symlink_to(f"folder/{name}")
    spellings = [
        "folder/{}",
        "./folder/{}",
        "folder/../folder//{}",
        f"{tmp_path}/folder/{{}}",
        "link/{}",
        "link-{}",
    ]
    estimator = SimpleNamespace(validation_fraction=0.5)
    held_out = hold_out(
        estimator, [s.format(name) for s in spellings for name in names], check_random_state(0), False
    )
    sides = held_out.reshape(len(spellings), len(names))
    assert (sides == sides[0]).all()
    assert sides[0].sum() == 10
    later = hold_out(estimator, [str(tmp_path / "folder" / name) for name in names], check_random_state(1), True)
    assert (later == sides[0]).all()


def test_samples_of_any_precision_are_held_out_alike():
    X = np.random.default_rng(0).normal(size=(20, 30))
    estimator = SimpleNamespace(validation_fraction=0.5)
    expected = hold_out(estimator, list(X), check_random_state(0), False)
    assert expected.sum() == 10
    for dtype in (np.float32, ">f8"):
        assert (hold_out(estimator, list(X.astype(dtype)), check_random_state(1), True) == expected).all()


def test_a_minute_of_sound_is_enough_to_learn_from():
    warn_if_short([np.zeros(400), np.zeros(200)], rate=10)
    with pytest.warns(UserWarning, match=r"^60 s of sound is little to learn from"):
        warn_if_short([np.zeros(400), np.zeros(199)], rate=10)
