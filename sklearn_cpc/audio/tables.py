"""Read annotation tables: which columns hold paths and times, and which may be ignored."""

import os
import re
from datetime import timedelta
from functools import lru_cache
from numbers import Real

import numpy as np

from .._extras import from_pandas

# Names of columns in annotation tables, without case, unit, spaces and punctuation; the first one found is used.
COLUMNS = {
    "path": "path file filename filepath audiopath audiofile notatedpath beginpath beginfile endpath endfile",
    "onset": "onset start starttime onsettime begin begintime tstart tmin mint clipstart from",
    "end": "end endtime offset offsettime stop stoptime tend tmax maxt clipend to",
    "duration": "duration length dur deltatime clipduration",
    "onset in file": "fileoffset",  # Raven counts its other times from the first file of a list
}
UNIT = re.compile(r"[\W_]+(s|secs?|seconds?)[\W_]*$")
# Words in names of other columns. Numbers beside paths may be times, unless a word says what else they are.
TIME_WORD = re.compile(
    r"\w*(start|begin|onset|offset|duration)\w*|(end|stop)(ing|time|s|ms|sample|frame)*|time\w*"
    r"|dur|lengths?|(milli)?sec(ond)?s?|t(min|max)"
)
OTHER_WORD = re.compile(
    r"\w*(label|class|categor|target|species|index|confidence|probabilit|freq|latitude|longitude)\w*"
    r"|folds?|splits?|groups?|clusters?|ids?|speakers?|sites?|stations?|locations?|individuals?|sessions?|views?"
    r"|selections?|channels?|subsets?|years?|months?|days?|scores?|prob|snr|k?hz|db|rate|sr|counts?|seed|rank"
    r"|lat|lon|lng|altitude|elevation|depth|temperature|humidity|age|quality|rating|distance|rms"
)
# Names that are short or numbered, or say where something begins or ends: not even 0 and 1 are labels here.
EDGE = re.compile(
    r"\w{,2}|\d*|\D{,4}\d+|unnamed\d+|pos(ition)?|len|size|width|finish|un?till?|first|last|out|left|right"
    r"|lower|upper|anfang|ende|début|debut|fin|inicio|x?min|x?max"
)
CLOCK = re.compile(r"\d[\d.,:]*(\s*m?s)?")  # a time in text
TOLERANCE = 0.01  # seconds by which columns that mean the same may differ, since tables are rounded


def is_path(value):
    """Whether a value can be the path of a recording."""
    return isinstance(value, (str, bytes, os.PathLike))


def read_frame(X):
    """Return the rows of a DataFrame as :func:`read_table` does."""
    columns = [(str(name), X.iloc[:, i].tolist()) for i, name in enumerate(X.columns)]
    levels = [
        (str(f"level {level}" if name is None else name), X.index.get_level_values(level).tolist())
        for level, name in enumerate(X.index.names)
        if name is not None or X.index.nlevels > 1
    ]
    return read_table(columns, levels, first=X.index.get_level_values(0)[0] if len(X) else None)


def read_table(columns, levels=(), first=None):
    """Return the rows of a table as a list of clips or cells, or None if it cannot hold recordings.

    ``columns`` and the ``levels`` of its index are pairs of a name and values. ``first`` is the first row's index.
    """
    levels = list(levels)
    names = tuple(name for name, _ in levels + columns)
    if match_columns(names)["path"]:
        return read_columns(names, [values for _, values in levels + columns])
    matches = match_columns(names[len(levels) :])
    index_holds_paths = is_path(first) and (len(columns) < 2 or re.search(r"[/\\.]", str(first)))
    if (
        (matches["onset"] and (matches["end"] or matches["duration"]))
        or index_holds_paths
        or (len(columns) > 1 and any(is_path(values[0]) for _, values in columns if values))
    ):
        advice = "; if its index holds the paths, name the index 'path'" if index_holds_paths else ""
        raise TypeError(
            f"X has no column 'path' but {list(names[len(levels) :])}; rename the column of recordings to "
            f"'path'{advice}. If X holds samples, pass X.to_numpy()."
        )
    if not columns:
        raise ValueError("X is a table without columns; pass one with a column 'path', or samples.")
    return columns[0][1] if len(columns) == 1 else None


@lru_cache
def match_columns(names):
    """Return the indices of the columns of each meaning in ``COLUMNS``, and of those that may hold times.

    "named time" are those that a word calls a time. "unknown" are those that no word explains; among these, "edge"
    are those whose names suit a time.
    """
    spaced = [re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower() for name in names]
    plain = [re.sub(r"[\W_]+", "", UNIT.sub("", name)) for name in spaced]
    matches = {
        meaning: [i for name in known.split() for i, other in enumerate(plain) if other == name]
        for meaning, known in COLUMNS.items()
    }
    others = set(range(len(names))).difference(*matches.values())
    words = [re.findall("[a-z]+", name) for name in spaced]
    matches["named time"] = [
        i for i in others if "freq" not in spaced[i] and any(map(TIME_WORD.fullmatch, words[i]))
    ]
    matches["unknown"] = [i for i in others if not any(map(OTHER_WORD.fullmatch, words[i]))]
    matches["edge"] = [i for i in matches["unknown"] if EDGE.fullmatch(plain[i])]
    return matches


def read_columns(names, columns, first_row=0):
    """Return clips, as tuples of path, onset and duration (NaN: to the end), from columns with these names."""
    missing = from_pandas("NA")
    columns = [[None if value is missing else value for value in values] for values in columns]
    matches = match_columns(names)
    _check_ignored(names, columns, matches)
    path_columns = {i: _split_paths(names[i], columns[i], first_row) for i in matches["path"]}
    fullest = max(path_columns, key=lambda i: max(map(len, path_columns[i]), default=0))
    for i, paths in path_columns.items():
        for row, (one, other) in enumerate(zip(path_columns[fullest], paths, strict=True), first_row):
            n_shared = min(len(one), len(other))
            if one[-n_shared:] != other[-n_shared:]:
                _disagree(row, names[fullest], names[i])
    used: dict[str, tuple[str, np.ndarray]] = {}  # name and values of the first column of each meaning
    for meaning in ("onset", "end", "duration", "onset in file"):
        for i in matches[meaning]:
            values = np.array(
                [as_seconds(v, f"row {row} of X: {names[i]}") for row, v in enumerate(columns[i], first_row)]
            )
            for row in np.flatnonzero(np.isinf(values)).tolist():
                raise ValueError(
                    f"row {first_row + row} of X: {names[i]}={values[row]} must be finite; a missing value stands "
                    "for the end of the recording."
                )
            _check_agreement(*used.setdefault(meaning, (names[i], values)), names[i], values, first_row)
    times = {meaning: values for meaning, (_, values) in used.items()}
    n_rows = len(columns[fullest])
    if "end" in times:
        if "onset" not in times:
            raise ValueError(
                f"X has a column {used['end'][0]!r} but none of onsets; rename the column that says where clips "
                "begin to 'onset', and the one that says where they end to 'end'."
            )
        durations = times["end"] - times["onset"]
        for row in np.flatnonzero(durations <= 0).tolist():
            end, onset = (f"{used[meaning][0]}={times[meaning][row]}" for meaning in ("end", "onset"))
            raise ValueError(f"row {first_row + row} of X: {end} must be greater than {onset}.")
        if "duration" in times:
            _check_agreement(*used["duration"], used["end"][0], durations, first_row)
            durations = np.where(np.isnan(durations), times["duration"], durations)
        times["duration"] = durations
    onsets = times.get("onset in file", times.get("onset", np.zeros(n_rows)))
    durations = times.get("duration", np.full(n_rows, np.nan))
    return list(zip(columns[fullest], onsets.tolist(), durations.tolist(), strict=True))


def _check_ignored(names, columns, matches):
    """Raise if onsets or ends are unknown, and a column that may hold them would be ignored."""
    if matches["onset"] and (matches["end"] or matches["duration"]):
        return
    for i in sorted({*matches["named time"], *matches["unknown"]}):
        may_be_labels = not matches["onset"] and i not in matches["edge"]
        if i in matches["named time"] or _may_be_times(columns[i], may_be_labels):
            raise ValueError(
                f"X has a column {names[i]!r} that may be a time and is not used; rename it to 'onset', 'end' or "
                "'duration' if it holds these in seconds, or drop it."
            )


def _may_be_times(values, may_be_labels):
    """Whether values are numbers from 0 upward, or times in text; with ``may_be_labels``, not only 0 and 1."""
    given = [value for value in values if value is not None and value == value]
    for value in given:
        is_time = CLOCK.fullmatch(value) if isinstance(value, str) else isinstance(value, (Real, timedelta))
        if isinstance(value, bool) or not is_time or (isinstance(value, Real) and value < 0):
            return False
    return bool(given) and not (may_be_labels and all(value in (0, 1) for value in given))


def _split_paths(name, paths, first_row):
    """Return the folders and the name of each path, in reading order."""
    for row, path in enumerate(paths, first_row):
        if not is_path(path):
            raise TypeError(f"row {row} of X: {name}={path!r} must be a path of a recording.")
    return [re.split(r"[/\\]", os.path.normpath(os.fsdecode(path))) for path in paths]


def _check_agreement(name, values, other_name, other_values, first_row):
    """Raise if two columns of times that mean the same differ; NaN is not stated."""
    for row in np.flatnonzero(np.abs(values - other_values) > TOLERANCE):
        _disagree(first_row + row, name, other_name)


def _disagree(row, name, other_name):
    """Raise for two columns that contradict each other."""
    raise ValueError(f"row {row} of X: the columns {name!r} and {other_name!r} do not agree; drop one of them.")


def as_seconds(value, where):
    """Return a time as a float; None, as lists store a missing time, becomes NaN, as tables store it."""
    value = np.nan if value is None else value
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{where}={value!r} must be a number of seconds.")
    return float(value)
