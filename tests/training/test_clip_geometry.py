"""Clip geometry: where clips begin, what is copied, and which steps hold sound."""

import functools
import math

import numpy as np
import pytest
import torch
from corpus import rising_tones, small_cpc, write_samples
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.utils import check_random_state

from sklearn_cpc.audio.cache import StoredSamples
from sklearn_cpc.training import clip_geometry
from sklearn_cpc.training.batches import ClipBatches, clips_in_order
from sklearn_cpc.training.clip_geometry import ClipShape

CPU = torch.device("cpu")
WHOLE = ClipShape(12, 4)
AHEAD = ClipShape(12, 4, samples_per_step=3, lookahead=1)
SAMPLES = np.arange(1, 21, dtype=np.float32)
LENGTHS, CLIPS = st.integers(1, 2000), st.integers(1, 300)


STEPS = st.integers(1, 12)


def heard_steps(plan):
    """Steps that the clips of a plan add, clip after clip."""
    return [
        step for first, shared, valid in zip(*plan, strict=True) for step in range(first + shared, first + valid)
    ]


@given(LENGTHS, CLIPS, STEPS)
def test_clips_end_to_end_hear_every_step_once_and_in_order(length, window, n_steps):
    shape = ClipShape(window * n_steps, n_steps)
    first, n_shared, n_valid = shape.lay_out(length)
    n_total = max(1, math.floor(length / window + 0.5))  # a step counts if half of it holds sound
    assert heard_steps((first, n_shared, n_valid)) == list(range(n_total))
    assert len(first) == math.ceil(n_total / n_steps)
    if n_total >= n_steps:
        assert (n_valid == n_steps).all()  # all full, the last too


@given(LENGTHS, CLIPS, STEPS, st.integers(1, 50))
def test_spread_clips_hear_no_step_twice(length, window, n_steps, n_clips):
    shape = ClipShape(window * n_steps, n_steps)
    first, n_shared, n_valid = shape.lay_out(length, n_clips)
    n_total = max(1, math.floor(length / window + 0.5))
    last = max(0, n_total - n_steps)
    steps = heard_steps((first, n_shared, n_valid))
    assert (np.diff(steps) > 0).all()
    assert 0 <= steps[0] <= steps[-1] < n_total
    assert len(first) == min(n_clips, last + 1)
    assert (first[0], first[-1]) == ((0, last) if n_clips > 1 else (last // 2, last // 2))
    assert np.ptp(np.diff(first)) <= 1 if len(first) > 1 else True


@given(LENGTHS, CLIPS, STEPS, st.none() | st.integers(1, 50))
def test_clips_without_overlap_share_no_step(length, window, n_steps, n_clips):
    first, n_shared, n_valid = ClipShape(window * n_steps, n_steps).lay_out(length, n_clips, overlap=False)
    assert (n_shared == 0).all()
    assert (np.diff(first) >= n_valid[:-1]).all()
    assert len(first) <= (n_clips or len(first))


@pytest.mark.parametrize(("n_clips", "expected"), [(1, [10]), (2, [0, 20]), (3, [0, 10, 20])])
def test_clips_are_spread_evenly_and_a_single_one_is_in_the_middle(n_clips, expected):
    assert ClipShape(120, 12).lay_out(320, n_clips)[0].tolist() == expected


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 40))
def test_half_filled_steps_and_the_first_step_count_as_sound(n_samples, clip, n_steps):
    n_samples = min(n_samples, clip)
    filled = n_samples * n_steps / clip - np.arange(n_steps)  # share of each step, before clipping to 0 and 1
    assert ClipShape(clip, n_steps).count_valid(n_samples) == max(1, (filled >= 0.5).sum())


def test_steps_of_many_clips_are_counted_at_once():
    assert_array_equal(ClipShape(100, 10).count_valid([0, 1, 14, 15, 99, 100, 500]), [1, 1, 1, 2, 10, 10, 10])


# Cutting


def give_memory(monkeypatch, n_bytes=1 << 40):
    """Let the CPU have free memory, as a GPU would."""
    monkeypatch.setattr(clip_geometry, "free_memory", lambda device: n_bytes)


@pytest.fixture(params=["in RAM", "resident"])
def cut(request, monkeypatch):
    """Return a function that cuts clips, pairs of a recording and where they begin."""
    if request.param == "resident":
        give_memory(monkeypatch)

    def cut(shape, pieces, dtype=np.float32):
        recordings, starts = zip(*pieces, strict=True)
        cutter = clip_geometry.ClipCutter(recordings, shape, dtype, CPU)
        assert (cutter.resident is not None) == (request.param == "resident")
        return cutter.cut(np.arange(len(starts)), np.array(starts))

    return cut


def test_clips_end_with_zeros_after_their_sound(cut):
    clips, n_valid = cut(WHOLE, [(SAMPLES, 0), (SAMPLES, 15), (SAMPLES, 19), (SAMPLES[:12], 0)])
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
def test_step_counts_as_sound_if_half_of_it_is_filled(length, expected, cut):
    _, n_valid = cut(ClipShape(100, 10), [(np.ones(length), 0)], np.float64)
    assert n_valid.tolist() == [expected]


def test_recordings_are_copied_and_never_changed(cut):
    samples = SAMPLES.copy()
    samples.flags.writeable = False  # as a memory map would be
    clips, _ = cut(WHOLE, [(samples, 0)])
    clips += 1
    assert samples[0] == 1


def test_a_short_clip_alone_is_cut_after_its_lookahead(cut):
    clips, n_valid = cut(AHEAD, [(SAMPLES[:5], 0)])
    assert clips.tolist() == [[1, 2, 3, 4, 5, 0, 0, 0, 0]]
    assert n_valid.tolist() == [2]
    clips, _ = cut(AHEAD, [(SAMPLES[:1], 0)])
    assert clips.tolist() == [[1, 0, 0, 0, 0, 0]]


@given(st.integers(1, 2000), st.integers(1, 300), st.floats(0, 1), st.booleans())
def test_cut_is_padded_with_silence(length, clip, place, resident):
    samples, start = np.arange(1.0, length + 1), int(place * length)
    with pytest.MonkeyPatch.context() as patch:
        give_memory(patch, 1 << 40 if resident else 0)
        cutter = clip_geometry.ClipCutter([samples], ClipShape(clip, 1), np.float64, CPU)
        clips, _ = cutter.cut(np.array([0]), np.array([start]))
    n_copied = min(clip, length - start)
    assert clips.shape == (1, clip)
    assert_array_equal(clips[0, :n_copied], samples[start : start + n_copied])
    assert (clips[0, n_copied:] == 0).all()


# On a GPU


def noise(lengths=(12, 24, 30, 5, 100, 13, 1)):
    random = np.random.default_rng(0)
    return [random.standard_normal(length).astype(np.float32) for length in lengths]


def draw(recordings, shape):
    """Two epochs of batches."""
    batches = ClipBatches(recordings, shape, 4, check_random_state(0))
    return [(inputs["clips"], n_valid) for _ in range(2) for inputs, n_valid in batches]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [WHOLE, AHEAD], ids=["whole", "any length"])
def test_resident_clips_are_bitwise_those_of_copies(shape, dtype, monkeypatch):
    orders = [functools.partial(clips_in_order, noise(), shape, n, 40, dtype) for n in (None, 2)]
    expected = [*draw(noise(), shape), *(batch for order in orders for batch in order())]
    give_memory(monkeypatch)
    monkeypatch.setattr(clip_geometry, "BLOCK", 7)  # the longer recordings are moved in several pieces
    found = [*draw(noise(), shape), *(batch for order in orders for batch in order())]
    assert len(found) == len(expected)
    for batch, other in zip(found, expected, strict=True):
        assert batch[0].dtype == other[0].dtype
        assert batch[0].is_contiguous()
        for part, other_part in zip(batch, other, strict=True):
            assert_array_equal(part, other_part, strict=True)


def test_resident_clips_of_recordings_on_disk_are_those_in_ram(monkeypatch, tmp_path):
    stored = [
        StoredSamples.write(tmp_path / "decoded" / f"{i}.f32", None, "", 1000, [x]) for i, x in enumerate(noise())
    ]
    expected = draw(noise(), WHOLE)
    give_memory(monkeypatch)
    for batch, other in zip(draw(stored, WHOLE), expected, strict=True):
        assert_array_equal(batch[0], other[0])


@pytest.mark.parametrize(("n_free", "fits"), [(4 * 4 * (185 + 12), True), (4 * 4 * (185 + 12) - 1, False)])
def test_recordings_take_at_most_a_quarter_of_the_free_memory(n_free, fits, monkeypatch):
    give_memory(monkeypatch, n_free)
    cutter = clip_geometry.ClipCutter(noise(), WHOLE, np.float32, CPU)
    assert (cutter.resident is not None) == fits


def test_clips_are_cut_where_the_recordings_are(monkeypatch):
    give_memory(monkeypatch)  # tensors on "meta" cannot be indexed by those on the CPU
    cutter = clip_geometry.ClipCutter(noise(), WHOLE, np.float32, torch.device("meta"))
    clips, n_valid = cutter.cut(np.array([1, 3, 4]), np.array([5, 0, 80]), slice(1, 3))
    assert clips.is_meta
    assert clips.shape == (2, 12)
    assert n_valid.tolist() == [4, 2, 4]  # of all clips


def test_fit_and_transform_give_the_same_with_resident_samples(monkeypatch, tmp_path):
    paths = write_samples(tmp_path, [*rising_tones(12), rising_tones(3, seed=1).ravel()[:1000]])
    cpc = small_cpc(max_epochs=2, validation_fraction=0.2)
    expected = cpc.fit_transform(paths), cpc.transform_frames(paths), cpc.score(paths)
    moved = []
    monkeypatch.setattr(clip_geometry, "free_memory", lambda device: moved.append(device) or 1 << 40)
    assert_array_equal(cpc.fit_transform(paths), expected[0])
    n_fit = len(moved)
    assert_array_equal(cpc.transform_frames(paths)[-1].embeddings, expected[1][-1].embeddings)
    assert cpc.score(paths) == expected[2]
    assert n_fit == 1 + 2 + 1  # for the training, each validation and the embedding
    assert len(moved) == n_fit + 13 + 1
