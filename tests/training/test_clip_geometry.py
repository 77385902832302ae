"""Clip geometry: where clips begin, what is copied, and which steps hold sound."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from sklearn_cpc.training.clip_geometry import cut, even_starts, n_clips_to_cover, n_sounding

LENGTHS, CLIPS = st.integers(1, 2000), st.integers(1, 300)


@given(LENGTHS, CLIPS)
def test_covering_clips_are_complete_and_minimal(length, clip):
    starts = even_starts(length, clip)
    assert len(starts) == n_clips_to_cover(length, clip)
    assert (len(starts) - 1) * clip < length <= max(len(starts) * clip, clip)
    heard = np.zeros(max(length, clip), bool)
    for start in starts:
        heard[start : start + clip] = True
    assert heard[:length].all()


@given(LENGTHS, CLIPS, st.integers(1, 50))
def test_even_starts_are_equally_spaced_from_first_to_last(length, clip, n_clips):
    starts = even_starts(length, clip, n_clips)
    last = max(0, length - clip)
    assert len(starts) == n_clips
    assert starts.dtype.kind == "i"
    assert starts[0] == (0 if n_clips > 1 else last // 2)  # one clip lies in the middle
    assert starts[-1] == (last if n_clips > 1 else last // 2)
    assert ((starts >= 0) & (starts <= last)).all()
    assert np.ptp(np.diff(starts)) <= 1 if n_clips > 1 else True


@given(LENGTHS, CLIPS, st.integers(0, 2500))
def test_cut_is_padded_with_silence(length, clip, start):
    samples = np.arange(1.0, length + 1)
    out = np.full(clip, np.nan)
    n_copied = cut(samples, start, clip, out)
    assert n_copied == max(0, min(clip, length - start))
    assert_array_equal(out[:n_copied], samples[start : start + n_copied])
    assert (out[n_copied:] == 0).all()


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 40))
def test_half_filled_steps_and_the_first_step_count_as_sound(n_samples, clip, n_steps):
    n_samples = min(n_samples, clip)
    filled = n_samples * n_steps / clip - np.arange(n_steps)  # share of each step, before clipping to 0 and 1
    assert n_sounding(n_samples, clip, n_steps) == max(1, (filled >= 0.5).sum())


def test_steps_of_many_clips_are_counted_at_once():
    assert_array_equal(n_sounding([0, 1, 14, 15, 99, 100, 500], 100, 10), [1, 1, 1, 2, 10, 10, 10])
