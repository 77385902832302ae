"""Cutting clips: what is copied, and that clips cut on a GPU, for which the CPU stands in, are the same."""

import functools

import numpy as np
import pytest
import torch
from corpus import rising_tones, small_cpc, write_samples
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.utils import check_random_state

from sklearn_cpc.audio.cache import StoredSamples
from sklearn_cpc.training import cutting
from sklearn_cpc.training.batches import ClipBatches, clips_in_order
from sklearn_cpc.training.clip_geometry import ClipShape

CPU = torch.device("cpu")
WHOLE = ClipShape(12, 4)
AHEAD = ClipShape(12, 4, samples_per_step=3, lookahead=1)
SAMPLES = np.arange(1, 21, dtype=np.float32)


def give_memory(monkeypatch, n_bytes=1 << 40):
    """Let the CPU have free memory, as a GPU would."""
    monkeypatch.setattr(cutting, "free_memory", lambda device: n_bytes)


@pytest.fixture(params=["in RAM", "resident"])
def cut(request, monkeypatch):
    """Return a function that cuts clips, pairs of a recording and where they begin."""
    if request.param == "resident":
        give_memory(monkeypatch)

    def cut(shape, pieces, dtype=np.float32):
        recordings, starts = zip(*pieces, strict=True)
        cutter = cutting.ClipCutter(recordings, shape, dtype, CPU)
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
        cutter = cutting.ClipCutter([samples], ClipShape(clip, 1), np.float64, CPU)
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
    monkeypatch.setattr(cutting, "BLOCK", 7)  # the longer recordings are moved in several pieces
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
    cutter = cutting.ClipCutter(noise(), WHOLE, np.float32, CPU)
    assert (cutter.resident is not None) == fits


def test_clips_are_cut_where_the_recordings_are(monkeypatch):
    give_memory(monkeypatch)  # tensors on "meta" cannot be indexed by those on the CPU
    cutter = cutting.ClipCutter(noise(), WHOLE, np.float32, torch.device("meta"))
    clips, n_valid = cutter.cut(np.array([1, 3, 4]), np.array([5, 0, 80]), slice(1, 3))
    assert clips.is_meta
    assert clips.shape == (2, 12)
    assert n_valid.tolist() == [2, 4]


def test_fit_and_transform_give_the_same_with_resident_samples(monkeypatch, tmp_path):
    paths = write_samples(tmp_path, [*rising_tones(12), rising_tones(3, seed=1).ravel()[:1000]])
    cpc = small_cpc(max_epochs=2, validation_fraction=0.2)
    expected = cpc.fit_transform(paths), cpc.transform_frames(paths), cpc.score(paths)
    give_memory(monkeypatch)
    moved, move = [], cutting.ClipCutter._move
    monkeypatch.setattr(cutting.ClipCutter, "_move", lambda self, n: moved.append(n) or move(self, n))
    assert_array_equal(cpc.fit_transform(paths), expected[0])
    n_fit = len(moved)
    assert_array_equal(cpc.transform_frames(paths)[-1].embeddings, expected[1][-1].embeddings)
    assert cpc.score(paths) == expected[2]
    assert n_fit == 1 + 2 + 1  # for the training, each validation and the embedding
    assert len(moved) == n_fit + 13 + 1
