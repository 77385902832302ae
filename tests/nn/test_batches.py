"""Batches hold every row or stretch of sound once, in an order that only the seed decides."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils import check_random_state

from sklearn_cpc.nn.batches import ClipBatches, TensorBatches, clips_in_order, even_batches, stack_clips

CLIP, N_STEPS = 12, 4
LENGTHS = [12, 24, 30, 5, 100, 13, 1]


def numbered(lengths):
    """Recordings whose samples are all different and none zero."""
    ends = np.cumsum(lengths)
    return [np.arange(end - length, end, dtype=np.float32) + 1 for length, end in zip(lengths, ends, strict=True)]


def clip_batches(lengths=LENGTHS, batch_size=4, seed=0):
    return ClipBatches(numbered(lengths), CLIP, N_STEPS, batch_size, check_random_state(seed))


def epoch_of(batches):
    """All clips and their valid steps of one epoch."""
    inputs = [inputs for inputs, _ in batches]
    return torch.cat([i["clips"] for i in inputs]), torch.cat([i["n_valid"] for i in inputs])


# Clips at random


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 80), min_size=1, max_size=8), st.integers(1, 9), st.integers(0, 99))
def test_an_epoch_hears_every_recording_about_once_and_nothing_twice(lengths, batch_size, seed):
    recordings = numbered(lengths)
    clips, n_valid = epoch_of(clip_batches(lengths, batch_size, seed))
    sounds = clips[clips > 0].numpy()
    assert len(np.unique(sounds)) == len(sounds)
    for samples in recordings:
        heard = np.isin(samples, sounds).sum()
        assert heard == (len(samples) if len(samples) < CLIP else len(samples) // CLIP * CLIP)
    assert len(clips) == len(n_valid) == sum(max(1, length // CLIP) for length in lengths)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_every_clip_is_one_stretch_of_one_recording(batch_size):
    recordings = numbered(LENGTHS)
    for clip in epoch_of(clip_batches(batch_size=batch_size))[0].numpy():
        sound = clip[clip > 0]
        assert (np.diff(sound) == 1).all()
        assert sum(np.isin(sound, samples).all() for samples in recordings) == 1
        assert (clip[len(sound) :] == 0).all()


def test_offsets_are_drawn_anew_in_every_epoch_and_reach_both_ends():
    batches = clip_batches([20])
    first = [int(epoch_of(batches)[0][0, 0]) for _ in range(200)]
    assert set(first) == set(range(1, 10))  # samples are numbered from one; 20 - 12 = 8 to spare


def test_the_order_is_decided_by_the_seed_and_changes_with_the_epoch():
    one, same, other = clip_batches(seed=1), clip_batches(seed=1), clip_batches(seed=2)
    global_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    epochs = [epoch_of(one)[0] for _ in range(2)]
    assert torch.equal(epochs[0], epoch_of(same)[0])
    assert torch.equal(epochs[1], epoch_of(same)[0])
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0], epoch_of(other)[0])
    np.testing.assert_array_equal(np.random.get_state()[1], global_state[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), global_state[1])


def test_a_batch_is_what_the_network_and_the_loss_take():
    for inputs, targets in clip_batches():
        assert inputs.keys() == {"clips", "n_valid"}
        assert inputs["clips"].dtype == torch.float32
        assert inputs["n_valid"].dtype == torch.int64
        assert torch.equal(targets, inputs["n_valid"])


def test_short_recordings_are_padded_at_the_end_and_say_so():
    clips, n_valid = epoch_of(clip_batches([5, 12, 1, 8]))
    sounding = (clips > 0).sum(1)
    order = sounding.argsort()
    assert sounding[order].tolist() == [1, 5, 8, 12]
    assert n_valid[order].tolist() == [1, 2, 3, 4]  # 1/3 counts as one at least; 5/3 and 8/3 are more than half


# Batch sizes


@settings(deadline=None)
@given(st.integers(1, 500), st.integers(1, 70))
def test_batches_are_as_few_and_as_equal_as_can_be(n_rows, batch_size):
    parts = even_batches(torch.arange(n_rows), batch_size)
    sizes = [len(part) for part in parts]
    assert torch.equal(torch.cat(parts), torch.arange(n_rows))
    assert len(sizes) == -(-n_rows // batch_size)
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("n_rows", "sizes"), [(9, [5, 4]), (17, [6, 6, 5]), (16, [8, 8]), (3, [3])])
def test_there_is_no_runt_at_the_end(n_rows, sizes):
    batches = clip_batches([CLIP] * n_rows, batch_size=8)
    assert [len(inputs["clips"]) for inputs, _ in batches] == sizes


# Clips in order


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 80), min_size=1, max_size=8), st.integers(1, 9))
def test_clips_in_order_cover_all_of_every_recording(lengths, batch_size):
    recordings = numbered(lengths)
    batches = list(clips_in_order(recordings, CLIP, N_STEPS, None, batch_size, np.float32))
    clips, n_valid, rows, starts = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert np.isin(np.concatenate(recordings), clips).all()
    assert (np.diff(rows) >= 0).all()
    assert all(len(batch[0]) <= batch_size for batch in batches)
    for clip, n, row, start in zip(clips, n_valid, rows, starts, strict=True):
        expected = recordings[row][start : start + CLIP]
        assert (clip[: len(expected)] == expected).all()
        assert (clip[len(expected) :] == 0).all()
        assert n == min(N_STEPS, max(1, int(len(expected) / (CLIP / N_STEPS) + 0.5)))
    assert np.bincount(rows).tolist() == [-(-length // CLIP) for length in lengths]


@pytest.mark.parametrize("n_clips", [1, 2, 3])
def test_a_number_of_clips_is_spread_from_the_beginning_to_the_end_and_one_lies_in_the_middle(n_clips):
    (batch,) = clips_in_order(numbered([32]), CLIP, N_STEPS, n_clips, 16, np.float32)
    assert batch[3].tolist() == {1: [10], 2: [0, 20], 3: [0, 10, 20]}[n_clips]


def test_clips_come_in_the_type_asked_for_and_the_size_of_the_batch_does_not_matter():
    recordings = [recording.astype(np.float64) / 7 for recording in numbered(LENGTHS)]
    whole = list(clips_in_order(recordings, CLIP, N_STEPS, None, 1000, np.float64))
    parts = list(clips_in_order(recordings, CLIP, N_STEPS, None, 3, np.float64))
    assert len(whole) == 1
    assert whole[0][0].dtype == torch.float64
    for i in range(4):
        np.testing.assert_array_equal(np.concatenate([part[i] for part in parts]), whole[0][i])


def test_no_recording_gives_no_batch():
    assert not list(clips_in_order([], CLIP, N_STEPS, None, 4, np.float32))


# Stacking


def test_clips_are_stacked_with_zeros_after_their_end():
    samples = np.arange(1, 21, dtype=np.float32)
    clips, n_valid = stack_clips(
        [(samples, 0), (samples, 15), (samples, 19), (samples[:12], 0)], 12, 4, np.float32
    )
    assert clips.tolist() == [
        list(range(1, 13)),
        [16, 17, 18, 19, 20] + [0] * 7,
        [20] + [0] * 11,
        list(range(1, 13)),
    ]
    assert n_valid.tolist() == [4, 2, 1, 4]


@pytest.mark.parametrize(
    ("length", "expected"), [(1, 1), (5, 1), (14, 1), (15, 2), (24, 2), (25, 3), (35, 4), (94, 9), (95, 10)]
)
def test_a_step_holds_sound_if_half_of_it_does(length, expected):
    _, n_valid = stack_clips([(np.ones(length), 0)], 100, 10, np.float64)
    assert n_valid.tolist() == [expected]


def test_the_recordings_are_copied_never_changed():
    samples = np.arange(1, 21, dtype=np.float32)
    samples.flags.writeable = False  # as a memory map would be
    clips, _ = stack_clips([(samples, 0)], 12, 4, np.float32)
    clips += 1
    assert samples[0] == 1


# Tensors


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 99])
def test_tensor_batches_yield_every_row_once_per_epoch_with_its_target(batch_size):
    inputs = torch.arange(20.0).reshape(10, 2)
    batches = list(TensorBatches(inputs, torch.arange(10), batch_size))
    rows = torch.cat([targets for _, targets in batches])
    assert rows.sort().values.tolist() == list(range(10))
    assert torch.equal(torch.cat([x for x, _ in batches]), inputs[rows])
    assert max(len(targets) for _, targets in batches) <= batch_size
    assert len(batches) == -(-10 // batch_size)


def test_tensor_batches_are_shuffled_by_the_generator_of_torch():
    batches = TensorBatches(torch.arange(100), torch.arange(100), 100)
    orders = []
    with torch.random.fork_rng():
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            orders.append([rows.tolist() for rows, _ in batches])
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != [list(range(100))]
