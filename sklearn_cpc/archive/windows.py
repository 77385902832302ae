"""Windows: tables of stretches that cover recordings from beginning to end."""

import functools
from numbers import Integral, Real

import joblib
import numpy as np
import pandas as pd
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from .._processes import progress
from .._warnings import warn
from ..audio.clips import Clip, as_clips
from ..audio.reading import Limits, UnreadableAudioError, format_reasons, read_duration
from ..audio.store import map_in_threads

SHORTEST = 1e-3  # seconds: a shorter rest at the end of a recording is no window


@validate_params(
    {
        "duration": [Interval(Real, SHORTEST, None, closed="left")],
        "hop": [Interval(Real, SHORTEST, None, closed="left"), None],
        "partial": [StrOptions({"keep", "shift", "drop"})],
        "on_error": [StrOptions({"raise", "nan"})],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=True,
)
def cut_windows(paths, duration, hop=None, *, partial="keep", on_error="raise", n_jobs=None, verbose=0):
    """Cut recordings into windows that cover every second once.

    Only headers are read. The table can be the ``X`` of any estimator or function that takes recordings.

    Parameters
    ----------
    paths : sequence of str or path-like
        The recordings. One that occurs twice counts once.
    duration : float
        Length of a window in seconds, at least 0.001.
    hop : float, default=None
        Seconds from one onset to the next. Less than ``duration``: windows overlap. More: seconds between windows
        are left out. None: ``duration``.
    partial : {"keep", "shift", "drop"}, default="keep"
        What happens to the last window if it extends beyond the end of the recording. "keep" makes it shorter,
        "shift" moves it back so that it overlaps the window before it, "drop" leaves it out. A recording that is
        shorter than a window gives one window of its own length, or none with "drop".
    on_error : {"raise", "nan"}, default="raise"
        What to do with recordings that cannot be used: raise one error that lists them all, or warn and give
        each one row with a duration of NaN, so that no recording is lost.
    n_jobs : int, default=None
        Threads that read headers. Several are faster on network drives.
    verbose : int, default=0
        1 for a progress bar.

    Returns
    -------
    DataFrame
        One row per window, in the order of the recordings and of time: ``path``, ``onset`` and ``duration`` in
        seconds. What is left at the end of a recording is no window if it is shorter than a millisecond.

    Raises
    ------
    UnreadableAudioError
        If recordings cannot be used, all of them in one error; its attribute ``reasons`` has them by path.
    TypeError, ValueError
        If a parameter or a path is invalid, or if ``partial="drop"`` leaves no window.

    See Also
    --------
    sklearn_cpc.sample_clips : Cuts the same number of clips from every recording.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, soundfile
    >>> from sklearn_cpc.archive import cut_windows
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "dawn.wav")
    ...     soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, 80000), 8000)
    ...     windows = cut_windows([path], 4.0)
    >>> windows[["onset", "duration"]]
       onset  duration
    0    0.0       4.0
    1    4.0       4.0
    2    8.0       2.0
    """
    clips = as_clips(paths)
    if clips is None or any(clip != Clip(clip.path) for clip in clips):
        raise TypeError("paths must be a sequence of paths of recordings.")
    paths = list(dict.fromkeys(clip.path for clip in clips))
    measure = functools.partial(_measure, Limits())
    lengths = map_in_threads(measure, paths, joblib.effective_n_jobs(n_jobs))
    onsets, durations, reasons = [], [], {}
    for path, (length, reason) in zip(paths, progress(lengths, len(paths), "headers", verbose), strict=True):
        if reason is not None:
            reasons[path] = reason
        starts, stretches = _lay_out(length, duration, duration if hop is None else hop, partial)
        onsets.append(starts)
        durations.append(stretches)
    if reasons and on_error == "raise":
        advice = "repair them, leave them out, or set on_error='nan' to give each one a row without a duration"
        raise UnreadableAudioError(reasons, len(paths), advice)
    if reasons:
        lines = "\n".join(format_reasons(dict(list(reasons.items())[: UnreadableAudioError.max_listed])))
        warn(f"{len(reasons)} recordings cannot be used, and have a row with a duration of NaN:\n{lines}")
    if not any(map(len, onsets)):
        raise ValueError(f"no recording lasts duration={duration} s; use a shorter one, or partial='keep'.")
    return pd.DataFrame(
        {
            "path": np.repeat(np.array(paths, object), list(map(len, onsets))),
            "onset": np.concatenate(onsets),
            "duration": np.concatenate(durations),
        }
    )


def clip_columns(table):
    """Return the paths, onsets and durations of clips, as a list and two float arrays; NaN: to the end."""
    clips = as_clips(table)
    if clips is None:
        raise TypeError("the table has no column of paths of recordings; name it 'path'.")
    paths, onsets, durations = zip(*clips, strict=True)
    return list(paths), np.array(onsets, float), np.array(durations, float)


def _measure(limits, path):
    """Return the seconds that a recording lasts and None, or NaN and the reason why it cannot be used."""
    try:
        return read_duration(path, limits), None
    except ValueError as error:
        return np.nan, str(error)


def _lay_out(length, duration, hop, partial):
    """Return the onsets and durations of the windows of a recording; all in seconds."""
    if np.isnan(length):
        return np.zeros(1), np.full(1, np.nan)
    last = min((length - duration - SHORTEST) / hop, (length - SHORTEST) / hop - 1)
    onsets = np.arange(1 + max(0, int(np.ceil(last)))) * hop
    if partial == "shift":
        onsets[-1] = max(0.0, min(onsets[-1], length - duration))
    durations = np.minimum(duration, length - onsets)
    is_used = (durations > duration - SHORTEST) | (partial != "drop")
    return onsets[is_used], durations[is_used]
