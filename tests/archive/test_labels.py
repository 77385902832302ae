"""Labels of windows: by overlap with annotations, as a loop over all pairs finds them."""

import os

import numpy as np
import pandas as pd
import pytest

from sklearn_cpc.archive import label_windows

WINDOWS = pd.DataFrame({"path": "a.wav", "onset": [0.0, 5.0, 10.0], "duration": 5.0}, index=list("xyz"))


def annotate(*rows):
    return pd.DataFrame(rows, columns=["path", "onset", "duration", "label"])


def label(*rows, **options):
    labelled = label_windows(WINDOWS, annotate(*rows), **options)
    assert labelled.drop(columns="label").equals(WINDOWS)
    return labelled["label"].tolist()


def test_window_with_a_whole_call_is_labelled():
    assert label(("a.wav", 6, 0.5, "wren")) == [None, "wren", None]


def test_windows_inside_a_long_call_are_labelled():
    assert label(("a.wav", 4, 11, "rain"), absent="no") == ["no", "rain", "rain"]


def test_call_on_a_border_labels_the_window_with_most_of_it():
    assert label(("a.wav", 4.5, 2, "wren")) == [None, "wren", None]
    assert label(("a.wav", 4, 2, "wren")) == ["wren", "wren", None]
    assert label(("a.wav", 4, 2, "wren"), min_overlap=0.6) == [None, None, None]


def test_annotations_that_only_touch_a_window_do_not_count():
    assert label(("a.wav", 0, 5, "wren"), min_overlap=1e-6) == ["wren", None, None]


def test_label_that_lasts_longest_wins():
    calls = ("a.wav", 5, 1, "wren"), ("a.wav", 7, 1.5, "robin"), ("a.wav", 6, 1, "wren")
    assert label(*calls) == [None, "wren", None]
    assert label(("a.wav", 5, 1, "wren"), ("a.wav", 7, 1, "robin")) == [None, "robin", None]


def test_all_labels_are_kept_on_request():
    calls = ("a.wav", 5, 1, "wren"), ("a.wav", 7, 1, "robin"), ("a.wav", 8, 1, "wren")
    assert label(*calls, multilabel=True) == [(), ("robin", "wren"), ()]


def test_call_without_end_lasts_to_the_end():
    assert label(("a.wav", 6, None, "rain")) == [None, "rain", "rain"]


def test_window_without_end_is_labelled():
    windows = pd.DataFrame({"path": ["a.wav"], "onset": 0.0, "duration": np.nan})
    for duration in (1.0, None):
        assert label_windows(windows, annotate(("a.wav", 6, duration, "wren")))["label"].tolist() == ["wren"]


def test_no_annotations_label_nothing():
    assert label() == [None, None, None]
    assert label(multilabel=True) == [(), (), ()]


def test_paths_that_lead_to_one_file_are_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert label((os.path.join(os.getcwd(), "a.wav"), 6, 1, "wren")) == [None, "wren", None]


@pytest.mark.parametrize("multilabel", [False, True])
def test_labels_are_those_of_a_loop_over_all_pairs(multilabel):
    random = np.random.default_rng(0)
    names = np.array(["a.wav", "b.wav", "c.wav"])
    windows = pd.DataFrame(
        {
            "path": names[random.integers(0, 3, 200)],
            "onset": random.uniform(0, 60, 200),
            "duration": random.uniform(1, 9, 200),
        }
    )
    calls = annotate(
        *zip(
            names[random.integers(0, 3, 40)],
            random.uniform(0, 60, 40),
            random.uniform(0.1, 12, 40),
            random.choice(["wren", "robin", "rain"], 40),
            strict=True,
        )
    )
    expected = []
    for path, onset, duration in windows.itertuples(index=False):
        seconds: dict = {}
        for their_path, their_onset, their_duration, name in calls.itertuples(index=False):
            shared = min(onset + duration, their_onset + their_duration) - max(onset, their_onset)
            if path == their_path and shared >= 0.4 * min(duration, their_duration):
                seconds[name] = seconds.get(name, 0) + shared
        longest = min(seconds, key=lambda name: (-round(seconds[name], 9), name)) if seconds else None
        expected.append(tuple(sorted(seconds)) if multilabel else longest)
    labels = label_windows(windows, calls, min_overlap=0.4, multilabel=multilabel)["label"]
    assert labels.tolist() == expected
    assert len(set(expected)) > 3


def test_annotations_of_unknown_recordings_are_not_ignored_in_silence():
    with pytest.raises(
        ValueError, match=r"annotations of 1 recordings, such as b\.wav, are not of any window; pass"
    ):
        label(("b.wav", 0, 1, "wren"))
    with pytest.warns(UserWarning, match="annotations of 1 recordings, such as b.wav, .* label nothing"):
        assert label(("b.wav", 0, 1, "wren"), ("a.wav", 0, 1, "wren")) == ["wren", None, None]


def test_annotations_without_a_label_are_refused():
    with pytest.raises(ValueError, match="annotations without a label cannot label windows"):
        label(("a.wav", 0, 1, None))
    with pytest.raises(ValueError, match="annotations without a label cannot label windows"):
        label_windows(WINDOWS, annotate(("a.wav", 0, 1, "x")).drop(columns="label"))


@pytest.mark.parametrize("min_overlap", [0, 1.1, -1])
def test_invalid_overlap_is_refused(min_overlap):
    with pytest.raises(ValueError, match="min_overlap"):
        label(("a.wav", 0, 1, "x"), min_overlap=min_overlap)
