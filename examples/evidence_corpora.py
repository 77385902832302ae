"""The corpora of evidence.py: manifests, folders, known corpora and public ones."""

import argparse
import csv
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import soundfile

from sklearn_cpc import MFCCTransformer, datasets, make_cpc

EMOTIONS = {"W": "anger", "L": "boredom", "E": "disgust", "A": "fear", "F": "happiness", "T": "sadness"}
EMOTIONS |= {"N": "neutral"}


class Corpus(NamedTuple):
    """Recordings, their classes and their groups, which no fold may split."""

    name: str
    paths: np.ndarray
    target: np.ndarray
    groups: np.ndarray | None


def at_least_one(text):
    """Convert an option to an integer."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value


def add_corpus_options(parser):
    """Add the options that name corpora."""
    parser.add_argument("--manifest", type=Path, metavar="FILE.csv", help="a table of path, label and group")
    parser.add_argument(
        "--corpus",
        action="append",
        default=[],
        metavar="NAME=PLACE",
        help="a folder with one sub-folder per class, or a manifest; may be repeated",
    )
    parser.add_argument("--group-from", metavar="REGEX", help="pattern that finds the group in a file name")
    parser.add_argument("--audio", type=Path, metavar="DIR", help="folder of esc10, fsdd, orchestra or emodb")
    parser.add_argument("--fetch", nargs="+", default=[], choices=FETCHERS, metavar="NAME", help="public corpora")
    parser.add_argument("--select", nargs="+", metavar="NAME", help="corpora to use, of those found")


def read_corpora(options):
    """Return the corpora that the options name."""
    corpora = [fetch(name) for name in options.fetch]
    if options.manifest:
        corpora.append(read_manifest(options.manifest.stem, options.manifest))
    for text in options.corpus:
        name, _, place = text.partition("=")
        if not name or not place:
            raise ValueError(f"--corpus {text} must be NAME=FOLDER or NAME=FILE.csv.")
        place = Path(place)
        reader = read_folder if place.is_dir() else read_manifest
        corpora.append(reader(name, place, *([options.group_from] if place.is_dir() else [])))
    if options.audio:
        found = [(reader, options.audio / folder) for folder, readers in KNOWN.items() for reader in readers]
        found = [(reader, folder) for reader, folder in found if folder.is_dir()]
        if not found:
            raise ValueError(f"--audio {options.audio} holds none of the folders {', '.join(KNOWN)}.")
        corpora += [reader(folder) for reader, folder in found]
    names = [corpus.name for corpus in corpora]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"several corpora are named {', '.join(repeated)}; name them with --corpus NAME=PLACE.")
    unknown = sorted(set(options.select or ()) - set(names))
    if unknown:
        raise ValueError(f"--select names {', '.join(unknown)}, but the corpora are {', '.join(names) or 'none'}.")
    return [corpus for corpus in corpora if not options.select or corpus.name in options.select]


def read_manifest(name, path):
    """Read a table with the columns path, label and perhaps group, and check every row."""
    if not path.is_file():
        raise ValueError(f"{path} is no file; give a table with the columns path, label and, optionally, group.")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            numbered = [(reader.line_num, [value.strip() for value in row]) for row in reader if row]
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as comma-separated values in UTF-8: {error}.") from error
    (_, header), *rows = numbered or [(0, [])]
    columns = [column for column in ("path", "label", "group") if column in header]
    if columns[:2] != ["path", "label"] or max(map(header.count, columns)) > 1:
        raise ValueError(
            f"{path} needs the columns path and label, each once; its columns are {', '.join(header)}."
        )
    if not rows:
        raise ValueError(f"{path} has no rows below its header.")
    uneven = {number: row for number, row in rows if len(row) != len(header)}
    refuse_rows(path, uneven, f"do not have {len(header)} values, as the header has")
    table = pd.DataFrame([row for _, row in rows], columns=header, index=[number for number, _ in rows])[columns]
    for column in columns:
        refuse_rows(path, select(table, table[column] == ""), f"have no {column}")
    files = table["path"].map(path.parent.joinpath)
    refuse_rows(path, select(table, ~files.map(os.path.isfile)), "name files that do not exist")
    refuse_rows(path, select(table, files.map(os.path.realpath).duplicated()), "name a file of an earlier row")
    groups = table["group"].to_numpy(str) if "group" in table else None
    return Corpus(name, files.to_numpy(str), table["label"].to_numpy(str), groups)


def select(table, wrong):
    """Return the rows of a table that are wrong, as lists by the number of their line."""
    return {number: row.tolist() for number, row in table[wrong].iterrows()}


def refuse_rows(path, wrong, complaint):
    """Raise ValueError if some rows of a manifest, by the number of their line, are wrong."""
    if wrong:
        number, first = next(iter(wrong.items()))
        raise ValueError(f"{path}: {len(wrong)} row(s) {complaint}, first line {number}: {','.join(first)}")


def read_folder(name, folder, group_from):
    """Read a folder with one sub-folder per class."""
    corpus = datasets.load_audio_folder(folder, group_from=group_from)
    return Corpus(name, np.array(corpus.paths), corpus.target, corpus.groups)


def read_names(name, folder, pattern, label, group):
    """Read a folder whose file names hold label and group, as numbered in the pattern."""
    paths = sorted(str(path) for path in folder.rglob("*") if path.suffix.lower() in (".wav", ".flac"))
    found = [re.fullmatch(pattern, Path(path).stem) for path in paths]
    wrong = [path for path, match in zip(paths, found, strict=True) if match is None]
    if wrong or not paths:
        raise ValueError(f"{folder} has {len(paths)} recordings; {len(wrong)} names do not match {pattern}.")
    labels, groups = ([match[part] for match in found] for part in (label, group))
    return Corpus(name, np.array(paths), np.array(labels), np.array(groups))


def read_emotions(folder):
    """Read the emotions of emodb; speakers are groups."""
    corpus = read_names("emodb emotions", folder, EMODB, "emotion", "speaker")
    return corpus._replace(target=np.array([EMOTIONS[letter] for letter in corpus.target]))


EMODB = r"(?P<speaker>\d\d)(?P<sentence>[ab]\d\d)(?P<emotion>[WLEAFTN])[a-z]?"
KNOWN = {  # readers of known corpora, by their folder
    "esc10": [lambda folder: read_folder("esc10", folder, "^([1-5])-")],
    "fsdd": [
        lambda folder: read_names("fsdd", folder, r"(?P<digit>\d)_(?P<speaker>[^_]+)_\d+", "digit", "speaker")
    ],
    "orchestra": [lambda folder: read_folder("orchestra", folder, "^[^_]+_([^_]+)_")],  # groups are pitches
    "emodb": [
        read_emotions,
        lambda folder: read_names("emodb sentences", folder, EMODB, "sentence", "speaker"),
    ],
}
FETCHERS = {
    "esc10": lambda: datasets.fetch_esc50(subset="esc10"),
    "esc50": datasets.fetch_esc50,
    "fsdd": datasets.fetch_fsdd,
    "gtzan": datasets.fetch_gtzan,
    "fma_small": datasets.fetch_fma_small,
}


def fetch(name):
    """Download a public corpus, or find it on disk, without the recordings that are known to be unusable."""
    corpus = FETCHERS[name]()
    usable = ~np.isin(corpus.paths, corpus.known_bad)
    groups = None if corpus.groups is None else corpus.groups[usable]
    return Corpus(name, np.array(corpus.paths)[usable], corpus.target[usable], groups)


def limit_rows(corpus, most):
    """Keep at most this many recordings of every class, chosen at random with a fixed seed."""
    order = np.random.default_rng(0).permutation(len(corpus.paths))
    rank = pd.Series(corpus.target[order]).groupby(corpus.target[order]).cumcount().to_numpy()
    rows = np.sort(order[rank < (most or len(order))])
    groups = None if corpus.groups is None else corpus.groups[rows]
    corpus = corpus._replace(paths=corpus.paths[rows], target=corpus.target[rows], groups=groups)
    units = pd.Series(np.arange(len(rows)) if groups is None else groups)
    n_units = units.groupby(corpus.target).nunique()
    if len(n_units) < 2:
        raise ValueError(f"corpus {corpus.name} has only the class {str(corpus.target[0])!r}; give at least two.")
    if n_units.min() < 2:
        kind = "recording" if groups is None else "group"
        raise ValueError(
            f"corpus {corpus.name}: class {n_units.idxmin()!r} has a single {kind}, but training and test part of "
            "a fold need one each; leave the class out or add recordings."
        )
    return corpus


def prepare(corpus, memory, n_jobs):
    """Decode all recordings, or exit and name those that are unusable; return the settings of the networks.

    Recordings at 8 kHz hold nothing above 4 kHz, so their networks take 40 bands below it.
    """
    try:
        MFCCTransformer(memory=memory, n_jobs=n_jobs).fit(corpus.paths)
        highest = max(soundfile.info(path).samplerate for path in corpus.paths)
        settings = {"encoder__sample_rate": 8000, "encoder__n_mels": 40} if highest <= 8000 else {}
        rate = make_cpc(**settings).encoder.sample_rate
        MFCCTransformer(sample_rate=rate, memory=memory, n_jobs=n_jobs).fit(corpus.paths)
    except (ValueError, OSError) as error:
        raise SystemExit(f"corpus {corpus.name}: {error}") from error
    return settings
