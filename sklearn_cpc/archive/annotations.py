"""Annotations: read the tables that people and programs write about recordings, and write such tables."""

import contextlib
import csv
import functools
import os
import re
from itertools import takewhile

import numpy as np
import soundfile
from sklearn.utils._param_validation import StrOptions

from .._constraints import check_parameters
from .._extras import import_extra
from .._files import atomic_write, is_url, locate
from ..audio.clips import as_clips, match_columns
from ..audio.files import fetched
from ..audio.reading import open_audio, printable
from .windows import clip_columns

pd = import_extra("pandas", "archive")

# Names of columns of labels, without case, spaces and punctuation; the first one found is used.
LABELS = "label labels annotation annotations species commonname scientificname class category tag tags name type"
FORMATS = *soundfile.available_formats(), "aif", "aifc", "bwf", "oga", "opus", "wave"
AUDIO = tuple(f".{name.lower()}" for name in FORMATS)


def read_annotations(paths, format=None, *, recordings=None, label_column=None):
    r"""Read annotation tables of Raven, Audacity and others.

    Parameters
    ----------
    paths : str, path-like or sequence of them
        The tables.
    format : str, default=None
        "raven" (any tab-separated table with a header), "audacity", "csv" (columns as in X of estimators), or one
        of crowsetta, such as "textgrid", rounded to milliseconds (``pip install 'sklearn-cpc[annotations]'``).
        None: one of the first three, as the file looks.
    recordings : str, path-like or sequence of them, default=None
        Recordings that the tables may be about, such as ``windows["path"]``. A table names its own, or has the
        same name. Folders decide between equal names. None: look beside the tables, and where they say.
    label_column : str, default=None
        Column of the labels. None: "label", "Annotation", "Species" or another common name.

    Returns
    -------
    DataFrame
        One row per annotation: ``path``, ``onset`` and ``duration`` in seconds, and ``label``, missing if there is
        none. A selection that Raven lists once per view is one annotation.

    Raises
    ------
    ValueError, ImportError
        If a table cannot be understood, its recording cannot be found, or crowsetta is needed and not installed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from sklearn_cpc.archive import read_annotations
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "dawn.txt")  # labels that Audacity has exported
    ...     _ = path.write_text("1.5\t2.25\twren\n4.0\t5.0\trobin\n")
    ...     read_annotations(path, recordings="dawn.wav")
           path  onset  duration  label
    0  dawn.wav    1.5      0.75   wren
    1  dawn.wav    4.0      1.00  robin
    """
    tables, given = _list_paths(paths), _list_paths([] if recordings is None else recordings)
    folders = [] if given else sorted({os.path.dirname(table) for table in tables if not is_url(table)})
    beside = [os.path.join(folder, name) for folder in folders for name in os.listdir(folder or os.curdir)]
    known = _index_names(given or [path for path in beside if path.lower().endswith(AUDIO)])  # paths by name
    if len(set(given)) == 1:
        known[""] = given[:1]  # of any table
    find = functools.partial(_find_recording, known, not given)
    rows = []
    for path in tables:
        try:
            rows += _read_table(path, format, find, label_column)
        except (ValueError, TypeError, csv.Error) as error:
            raise ValueError(f"cannot read the annotations in {printable(path)}: {error}") from error
    table = pd.DataFrame(rows, columns=["path", "onset", "duration", "label"])
    return table.astype({"onset": float, "duration": float})


def _list_paths(paths):
    """Return one or several paths as a list of str."""
    return [os.fsdecode(path) for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]


def _read_table(path, format, find, label_column):
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
            row[i] = found[name] = found.get(name) or find(row[i], path)
    if not rows:
        return []
    table = pd.DataFrame(rows, columns=names)
    if not matches["path"]:
        for name, entry in zip(names, rows[0], strict=True):
            if str(entry).lower().endswith(AUDIO):
                raise ValueError(f"its column {name!r} seems to name recordings; rename it to 'path'")
        table.insert(0, "path", find("", path))
    if label_column is not None and label_column not in names:
        raise ValueError(f"label_column={label_column!r} is none of its columns, {names}")
    plain = {re.sub(r"[\W_]+", "", name).lower(): name for name in reversed(names)}
    known = [label_column] if label_column else [plain[name] for name in LABELS.split() if name in plain]
    labels = [row[names.index(known[0])] or None if known else None for row in rows]
    return [(*clip, label) for clip, label in zip(as_clips(table), labels, strict=True)]


def _read_text(path, format):
    """Return the names of the columns and the rows of a text file, all of them str."""
    with fetched(path) as copy, open(copy, encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        file.seek(0)
        if format is None:
            is_labels = re.match(r"\s*$|[-+\d.eE]+\t[-+\d.eE]+(\t|\s*$)", first)
            format = "audacity" if is_labels else "raven" if "\t" in first else "csv"
            if format == "csv" and not path.lower().endswith(".csv"):
                raise ValueError("its format is unknown; set format='csv', 'raven', 'audacity' or a crowsetta one")
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


def _read_with_crowsetta(path, format):
    """Return the names of the columns and the rows of a file in one of crowsetta's formats."""
    crowsetta = import_extra("crowsetta", "annotations")
    if format not in crowsetta.formats.as_list():
        raise ValueError(f"format={format!r} is none of raven, audacity, csv, {crowsetta.formats.as_list()}")
    with fetched(path) as copy:
        annotations, rows = crowsetta.Transcriber(format).from_file(copy).to_annot(), []
    for annotation in annotations if isinstance(annotations, list) else [annotations]:
        name = str(annotation.notated_path or "")
        if hasattr(annotation, "bboxes"):
            rows += [[name, box.onset, box.offset, box.label] for box in annotation.bboxes]
        else:
            sequences = annotation.seq if isinstance(annotation.seq, list) else [annotation.seq]
            rows += [[name, part.onset_s, part.offset_s, part.label] for one in sequences for part in one.segments]
    if any(onset is None for _, onset, _, _ in rows):
        raise ValueError("it has times in samples, not in seconds; convert them with crowsetta")
    return ["path", "onset", "end", "label"], rows


def split_path(path):
    """Return the folders and the name of a path of any system."""
    return re.split(r"[\\/]+", path)


def _index_names(paths):
    """Return lists of paths by their names, with and without ending."""
    by_name: dict[str, list] = {}
    for path in dict.fromkeys(paths):
        name = split_path(path)[-1]
        for key in {name, os.path.splitext(name)[0]}:
            by_name.setdefault(key, []).append(path)
    return by_name


def _find_recording(known, is_beside, name, table):
    """Return the recording of a table: the one that it names or, if ``name`` is empty, that it is named after."""
    folder, file = os.path.split(table)
    last, words = split_path(name)[-1], file.split(".")
    if name and (is_url(name) or (is_beside and is_url(table))):
        return name if is_url(name) else f"{folder}/{name}"
    if is_beside and name:
        return next(filter(os.path.isfile, (os.path.join(folder, name), os.path.join(folder, last))), name)
    # dawn.Table.1.selections.txt is about dawn.wav
    for key in [last] if name else [".".join(words[:n]) for n in range(len(words), -1, -1)]:
        found = [path for path in known.get(key, []) if not is_beside or os.path.dirname(path) == folder]
        shared = [_count_shared_folders(path, name or table) for path in found]
        if shared.count(max(shared, default=0)) > 1:
            raise ValueError(f"it may be about {' or '.join(map(printable, found[:2]))}; pass recordings=[path]")
        if found:
            return found[shared.index(max(shared))]
    what = f"the name {printable(name)}" if name else "its name, and it names none"
    where = "beside it" if is_beside else "in recordings"
    raise ValueError(f"no recording {where} has {what}; pass recordings=[path]")


def _count_shared_folders(*paths):
    """Count the last folders that two paths have in common."""
    pairs = zip(*(split_path(path)[-2::-1] for path in paths), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


@check_parameters(format=[StrOptions({"raven", "audacity"})])
def write_annotations(table, path_or_folder, format="raven"):
    """Write annotations, windows or search results as tables that Raven or Audacity opens.

    Parameters
    ----------
    table : DataFrame
        ``path``, ``onset``, ``duration``, and perhaps ``label`` and ``score``. A tuple of labels becomes several
        rows. Audacity shows scores if there is no column of labels.
    path_or_folder : str or path-like
        A name that ends in ".txt": the file to write, about one recording. Else a folder, which is made if need
        be and gets one table per recording, named after it.
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

    Examples
    --------
    >>> from sklearn_cpc.archive import write_annotations
    >>> write_annotations(index.query(calls, k=20), "found")  # doctest: +SKIP
    """
    table = table.explode("label") if "label" in table else table
    paths, onsets, durations = clip_columns(table)
    if (missing := np.isnan(durations)).any():
        raise ValueError(f"a row of {printable(paths[missing.argmax()])} in the table has no duration.")
    scores = {"score": table["score"].to_numpy()} if "score" in table else {}
    values = table.get("label", (f"{score:.3}" for score in scores.get("score", [""] * len(table))))
    labels = ["" if pd.isna(value) else str(value) for value in values]
    for text in [*paths, *labels]:
        if re.search(r"[\t\r\n]", text):
            raise ValueError(f"{text!r} has a tab or line break, which {format} tables cannot hold.")
    lines = pd.DataFrame({"path": paths, "onset": onsets, "end": onsets + durations, "label": labels, **scores})
    by_path = dict(list(lines.groupby(np.array(list(map(locate, paths)), object), sort=False)))
    files = _name_files(list(map(os.path.abspath, by_path)), os.fsdecode(path_or_folder), format)
    for file, rows in zip(files, by_path.values(), strict=True):
        rows = _as_selections(rows) if format == "raven" else rows[["onset", "end", "label"]]
        style = {"sep": "\t", "quoting": csv.QUOTE_NONE, "lineterminator": "\n", "float_format": "%.9f"}
        os.makedirs(os.path.dirname(file) or os.curdir, exist_ok=True)
        with atomic_write(file, durable=False) as opened:
            opened.write(rows.to_csv(index=False, header=format == "raven", **style).encode())
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


def _as_selections(rows):
    """Return the rows of a recording with the columns of Raven."""
    path = rows["path"].iloc[0]
    columns = {"Selection": range(1, len(rows) + 1), "View": "Spectrogram 1", "Channel": 1}
    columns |= {"Begin Time (s)": rows["onset"], "End Time (s)": rows["end"]}
    with contextlib.suppress(ValueError), open_audio(path) as (audio, _):  # it may be elsewhere
        columns |= {"Low Freq (Hz)": 0.0, "High Freq (Hz)": audio.samplerate / 2}
    columns |= {"Begin Path": path, "Begin File": split_path(path)[-1], "Annotation": rows["label"]}
    return pd.DataFrame(columns | ({"Score": rows["score"]} if "score" in rows else {}))
