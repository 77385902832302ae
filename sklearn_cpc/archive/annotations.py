"""Annotations: read the tables that people and programs write about recordings, and write such tables."""

import csv
import inspect
import os
import re

import numpy as np
import pandas as pd
from sklearn.utils._param_validation import StrOptions, validate_params

from .._files import atomic_write
from ..audio.clips import as_clips, match_columns
from ..audio.reading import Limits, open_audio, printable
from .extras import import_extra
from .lookup import Recordings, is_audio, split_path
from .windows import clip_columns

# Names of columns of labels, without case, spaces and punctuation; the first one found is used.
LABELS = "label labels annotation annotations species commonname scientificname class category tag tags name type"
VIEW = "Spectrogram 1"  # of Raven


@validate_params(
    {
        "paths": [str, os.PathLike, "array-like"],
        "format": [str, None],
        "recordings": [str, os.PathLike, "array-like", None],
        "label_column": [str, None],
    },
    prefer_skip_nested_validation=True,
)
def read_annotations(paths, format=None, *, recordings=None, label_column=None):
    r"""Read annotation tables of Raven, Audacity and others.

    Parameters
    ----------
    paths : str, path-like or sequence of them
        The tables.
    format : str, default=None
        "raven" (selection tables, and other tab-separated tables with a header), "audacity" (labels), "csv" (with
        the names of columns that estimators understand in X), or a format of crowsetta, such as "textgrid"; for
        these, run ``pip install 'sklearn-cpc[annotations]'``. None: one of the first three, as the file looks.
    recordings : str, path-like or sequence of them, default=None
        Paths of the recordings, such as ``windows["path"]``. They are found in it by the names in the tables or,
        if these have none, by the names of the tables. If several have the same name, their folders decide. None:
        recordings lie beside the tables, or where the tables say.
    label_column : str, default=None
        Column that holds the labels. None: "label", "Annotation", "Species" or another common name.

    Returns
    -------
    DataFrame
        One row per annotation: ``path``, ``onset`` and ``duration`` in seconds, and ``label``, which is missing
        where the table has none. A selection that Raven lists once per view is one annotation. A name of a
        recording that leads nowhere stays as it is, unless ``recordings`` are given.

    Raises
    ------
    ValueError
        If a table cannot be understood, or its recording cannot be found. The message names the table.
    ImportError
        If the format needs crowsetta, which is not installed.

    See Also
    --------
    label_windows : Labels windows by annotations.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn_cpc.archive import read_annotations
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "dawn.txt")  # labels that Audacity has exported
    ...     with open(path, "w") as file:
    ...         _ = file.write("1.5\t2.25\twren\n4.0\t5.0\trobin\n")
    ...     read_annotations(path, recordings="dawn.wav")
           path  onset  duration  label
    0  dawn.wav    1.5      0.75   wren
    1  dawn.wav    4.0      1.00  robin
    """
    finder = Recordings(None if recordings is None else list(dict.fromkeys(_list_paths(recordings))))
    rows = []
    for path in _list_paths(paths):
        try:
            rows += _read_table(path, format, finder, label_column)
        except (ValueError, TypeError, csv.Error) as error:
            raise ValueError(f"cannot read the annotations in {printable(path)}: {error}") from error
    table = pd.DataFrame(rows, columns=["path", "onset", "duration", "label"])
    return table.astype({"onset": float, "duration": float})


def _list_paths(paths):
    """Return one or several paths as a list of str."""
    return [os.fsdecode(path) for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]


def _read_table(path, format, finder, label_column):
    """Return the annotations in a table, as tuples of path, onset, duration and label."""
    is_text = format in (None, "raven", "audacity", "csv")
    names, rows = (_read_text if is_text else _read_with_crowsetta)(path, format)
    matches = match_columns(tuple(names))
    times = [i for meaning in ("onset", "end", "duration", "onset in file") for i in matches[meaning]]
    if "Selection" in names and "View" in names:  # Raven lists a selection once per view
        same = [names.index("Selection"), *times, *matches["path"]]
        rows = list({tuple(row[i] for i in same): row for row in reversed(rows)}.values())[::-1]
    for row in rows:
        for i in times:
            try:
                row[i] = np.nan if row[i] == "" else float(row[i])
            except ValueError:
                raise ValueError(f"{names[i]} is {row[i]!r}, which is no number of seconds") from None
        found: dict[str, str] = {}  # recordings by name: Raven may state the name twice, once without folders
        for i in matches["path"]:
            name = split_path(row[i])[-1]
            row[i] = found[name] = found.get(name) or finder.find_named(row[i], path)
    if not rows:
        return []
    table = pd.DataFrame(rows)
    table.columns = names
    if not matches["path"]:
        for name, entry in zip(names, rows[0], strict=True):
            if is_audio(str(entry)):
                raise ValueError(f"its column {name!r} seems to name recordings; rename it to 'path'")
        table.insert(0, "path", finder.find_beside(path))
    labels = [label or None for label in _find_labels(table, label_column)]
    return [(*clip, label) for clip, label in zip(as_clips(table), labels, strict=True)]


def _read_text(path, format):
    """Return the names of the columns and the rows of a text file, all of them str."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        file.seek(0)
        format = format or _guess_format(path, first)
        lines = csv.reader(file) if format == "csv" else csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        rows = [row for row in lines if any(row)]
    if format == "audacity":  # a line that begins with a backslash has the frequencies of the one before
        names, rows = ["onset", "end", "label"], [row for row in rows if row[0] != "\\"]
    else:
        names, *rows = rows or [["path"]]
    for row in rows:
        if any(row[len(names) :]):
            raise ValueError(f"the row {row} has {len(row)} entries, but there are {len(names)} columns")
    return names, [(row + [""] * len(names))[: len(names)] for row in rows]


def _guess_format(path, line):
    """Return the format of a text file by its name and first line, or raise ValueError."""
    number = r"[-+\d.eE]+"
    if not line.strip() or re.match(rf"{number}\t{number}(\t|\s*$)", line):
        return "audacity"
    if "\t" in line:
        return "raven"
    if path.lower().endswith(".csv"):
        return "csv"
    raise ValueError("its format is unknown; pass format='csv', 'raven', 'audacity' or one of crowsetta's")


def _read_with_crowsetta(path, format):
    """Return the names of the columns and the rows of a file in one of crowsetta's formats."""
    crowsetta = import_extra("crowsetta", "annotations")
    if format not in crowsetta.formats.as_list():
        raise ValueError(f"format={format!r} is none of raven, audacity, csv, {crowsetta.formats.as_list()}")
    read = crowsetta.Transcriber(format).from_file(path)
    exact = {"round_times": False} if "round_times" in inspect.signature(read.to_annot).parameters else {}
    annotations, rows, has_paths = read.to_annot(**exact), [], False
    for annotation in annotations if isinstance(annotations, list) else [annotations]:
        recording = annotation.notated_path
        has_paths = has_paths or recording is not None
        start = [] if recording is None else [str(recording)]
        if hasattr(annotation, "bboxes"):
            rows += [[*start, box.onset, box.offset, box.label] for box in annotation.bboxes]
            continue
        for sequence in annotation.seq if isinstance(annotation.seq, list) else [annotation.seq]:
            if sequence.onsets_s is None:
                raise ValueError("it has times in samples, not in seconds; convert them with crowsetta")
            times = zip(sequence.onsets_s, sequence.offsets_s, sequence.labels, strict=True)
            rows += [[*start, *map(float, (onset, end)), str(label)] for onset, end, label in times]
    return [*(["path"] if has_paths else []), "onset", "end", "label"], rows


def _find_labels(table, label_column):
    """Return the labels in a table: the column of this name or, if it is None, the first one with a known name."""
    names = list(table.columns)
    if label_column is not None:
        if label_column not in names:
            raise ValueError(f"label_column={label_column!r} is none of its columns, {names}")
        return table.iloc[:, names.index(label_column)].tolist()
    plain = [re.sub(r"[\W_]+", "", name).lower() for name in names]
    known = [plain.index(name) for name in LABELS.split() if name in plain]
    return table.iloc[:, known[0]].tolist() if known else [None] * len(table)


@validate_params(
    {"path_or_folder": [str, os.PathLike], "format": [StrOptions({"raven", "audacity"})]},
    prefer_skip_nested_validation=True,
)
def write_annotations(table, path_or_folder, format="raven"):
    """Write annotations, windows or search results as tables that Raven or Audacity opens.

    Parameters
    ----------
    table : DataFrame
        Rows with ``path``, ``onset``, ``duration``, and perhaps ``label`` and ``score``. Several labels of a row,
        in a tuple, become several rows. Audacity shows the score where there is no label.
    path_or_folder : str or path-like
        A name that ends in ".txt": the file to write, if the table is about one recording. Else a folder, which
        is made if need be and gets one table per recording, named after it.
    format : {"raven", "audacity"}, default="raven"
        Selection tables, or labels.

    Returns
    -------
    list of str
        The files written, in the order of the recordings in the table.

    Raises
    ------
    ValueError
        If a row has no duration, or a label or path has a tab or line break; nothing is written then.
    OSError
        If a file cannot be written.

    Examples
    --------
    >>> import pandas as pd, tempfile
    >>> from sklearn_cpc.archive import read_annotations, write_annotations
    >>> calls = pd.DataFrame({"path": ["dawn.wav"], "onset": [1.5], "duration": [0.75], "label": ["wren"]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     read_annotations(write_annotations(calls, folder))
           path  onset  duration label
    0  dawn.wav    1.5      0.75  wren
    """
    table = table.explode("label") if "label" in table else table
    paths, onsets, durations = clip_columns(table)
    if np.isnan(durations).any():
        row = int(np.isnan(durations).argmax())
        raise ValueError(f"row {row} of the table, of {printable(paths[row])}, has no duration.")
    scores = table["score"].tolist() if "score" in table else [None] * len(table)
    labels = ["" if pd.isna(label) else str(label) for label in table.get("label", [None] * len(table))]
    rows_by_path: dict[str, list] = {}
    for path, onset, duration, label, score in zip(paths, onsets, durations, labels, scores, strict=True):
        for text in (path, label):
            if re.search(r"[\t\r\n]", text):
                raise ValueError(f"{text!r} has a tab or line break, which {format} tables cannot hold.")
        rows = rows_by_path.setdefault(os.path.abspath(path), [])
        rows.append((path, onset, onset + duration, label, score))
    write = _raven_lines if format == "raven" else _audacity_lines
    texts = ["".join("\t".join(line) + "\n" for line in write(rows)) for rows in rows_by_path.values()]
    files = _name_files(list(rows_by_path), os.fsdecode(path_or_folder), format)
    for file, text in zip(files, texts, strict=True):
        os.makedirs(os.path.dirname(file) or os.curdir, exist_ok=True)
        with atomic_write(file, f"{file}.tmp", durable=False) as opened:
            opened.write(text.encode())
    return files


def _name_files(paths, target, format):
    """Return the name of the table of each recording: in the folders of the recordings, as far as they differ."""
    if target.lower().endswith(".txt"):
        if len(paths) > 1:
            raise ValueError(f"the table is about {len(paths)} recordings; name a folder for one file of each.")
        return [target]
    ending = ".Table.1.selections.txt" if format == "raven" else ".txt"
    shared = os.path.commonpath(list(map(os.path.dirname, paths)))
    names = [os.path.join(target, os.path.relpath(path, shared)) for path in paths]
    stems = [os.path.splitext(name)[0] for name in names]
    return [name + ending for name in (stems if len(set(stems)) == len(stems) else names)]


def _raven_lines(rows):
    """Yield the header and the rows of a selection table, as lists of str."""
    path = rows[0][0]
    try:
        with open_audio(path, Limits()) as (audio, _):
            frequencies = {"Low Freq (Hz)": "0.0", "High Freq (Hz)": f"{audio.samplerate / 2:.1f}"}
    except ValueError:  # the recording is elsewhere
        frequencies = {}
    score = {"Score": ""} if rows[0][-1] is not None else {}
    names = "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", *frequencies
    yield [*names, "Begin Path", "Begin File", "Annotation", *score]
    for number, (_, onset, end, label, value) in enumerate(rows, 1):
        start = str(number), VIEW, "1", f"{onset:.9f}", f"{end:.9f}", *frequencies.values()
        yield [*start, path, split_path(path)[-1], label, *([f"{value:.6f}"] if score else [])]


def _audacity_lines(rows):
    """Yield labels, as lists of str."""
    for _, onset, end, label, score in rows:
        yield [f"{onset:.9f}", f"{end:.9f}", label if label or score is None else f"{score:.3f}"]
