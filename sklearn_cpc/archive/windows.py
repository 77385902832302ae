"""Windows: tables of stretches that cover recordings from beginning to end."""

from numbers import Real

import joblib
import numpy as np
import pandas as pd
from sklearn.utils._param_validation import Interval, StrOptions

from .._constraints import ON_ERROR, check_parameters
from .._warnings import warn
from ..audio.clips import as_clips, as_paths
from ..audio.reading import UnreadableAudioError, measure
from ..audio.store import map_in_threads

SHORTEST = 1e-3  # seconds: a shorter rest at the end of a recording is no window
SECONDS = Interval(Real, SHORTEST, None, closed="left")


@check_parameters(
    duration=[SECONDS], hop=[SECONDS, None], partial=[StrOptions({"keep", "shift", "drop"})], on_error=[ON_ERROR]
)
def cut_windows(paths, duration, hop=None, *, partial="keep", on_error="raise", n_jobs=None):
    """Cut recordings into windows that cover every second once. Only headers are read.

    Parameters
    ----------
    paths : sequence of str or path-like
        The recordings. One that occurs twice counts once.
    duration : float
        Length of a window in seconds, at least 0.001.
    hop : float, default=None
        Seconds from one onset to the next. None: ``duration``, so windows neither overlap nor leave gaps.
    partial : {"keep", "shift", "drop"}, default="keep"
        What happens to a last window that extends beyond the end: "keep" makes it shorter, "shift" moves it back,
        over a part of the window before it, "drop" leaves it out. A recording shorter than a window gives one
        window of its own length, or none with "drop".
    on_error : {"raise", "nan"}, default="raise"
        Raise one error that lists all unusable recordings, or warn and give each a row with a duration of NaN.
    n_jobs : int, default=None
        Threads that read headers.

    Returns
    -------
    DataFrame
        ``path``, ``onset`` and ``duration`` in seconds, to pass to any function that takes recordings. What is
        left at the end of a recording is no window if it is shorter than 0.001 s.

    Raises
    ------
    UnreadableAudioError, TypeError, ValueError
        If recordings cannot be used, if paths or parameters are invalid, or if "drop" leaves no window.

    Examples
    --------
    >>> from sklearn_cpc.archive import cut_windows
    >>> windows = cut_windows(["dawn.wav", "dusk.wav"], duration=5.0)  # doctest: +SKIP
    """
    paths = list(dict.fromkeys(as_paths(paths)))
    lengths = list(map_in_threads(measure, paths, joblib.effective_n_jobs(n_jobs)))
    reasons = {path: length for path, length in zip(paths, lengths, strict=True) if isinstance(length, str)}
    if reasons and on_error == "raise":
        advice = "repair them, leave them out, or set on_error='nan' to keep a row of each"
        raise UnreadableAudioError(reasons, len(paths), advice)
    if reasons:
        warn(str(UnreadableAudioError(reasons, len(paths), "each has one row, with a duration of NaN")))
    windows = [_lay_out(length, duration, hop or duration, partial) for length in lengths]
    path = np.repeat(np.array(paths, object), [len(onsets) for onsets, _ in windows])
    if not len(path):
        raise ValueError(f"no recording lasts duration={duration} s; use a shorter one, or partial='keep'.")
    onset, duration = map(np.concatenate, zip(*windows, strict=True))
    return pd.DataFrame({"path": path, "onset": onset, "duration": duration})


def clip_columns(table):
    """Return the paths, onsets and durations of clips, as a list and two float arrays; NaN: to the end."""
    clips = as_clips(table)
    if clips is None:
        raise TypeError("the table has no column of paths of recordings; name it 'path'.")
    paths, onsets, durations = zip(*clips, strict=True)
    return list(paths), np.array(onsets, float), np.array(durations, float)


def _lay_out(length, duration, hop, partial):
    """Return the onsets and durations of the windows of a recording; all in seconds."""
    if isinstance(length, str):
        return np.zeros(1), np.full(1, np.nan)
    last = min((length - duration - SHORTEST) / hop, (length - SHORTEST) / hop - 1)
    onsets = np.arange(1 + max(0, int(np.ceil(last)))) * hop
    if partial == "shift":
        onsets[-1] = max(0.0, min(onsets[-1], length - duration))
    durations = np.minimum(duration, length - onsets)
    is_used = (durations > duration - SHORTEST) | (partial != "drop")
    return onsets[is_used], durations[is_used]
