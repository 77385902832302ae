"""Clip geometry: where clips begin, what is copied, and which steps hold sound."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from sklearn_cpc.training.clip_geometry import ClipShape

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
