"""The command line. Each command writes a Python script and runs it, so it can also show the script."""

import argparse
import ast
import inspect
import io
import json
import os
import sys
import warnings

from ._version import __version__

INTERRUPTED, PIPE_CLOSED = 130, 141  # exit codes, as those of shells
FAILURES = (ImportError, MemoryError, OSError, RuntimeError, TypeError, ValueError)  # others are bugs
TABLES = (".csv", ".tsv", ".txt")
ARGUMENTS: dict[str, dict] = {  # of the commands, by the names of their parameters
    "model": {"help": "file of a fitted model"},
    "recordings": {"nargs": "+", "help": "files, folders, patterns, or one annotation table (.csv, .tsv, .txt)"},
    "embeddings": {"help": "folder of embeddings"},
    "example": {"help": "a recording that has the sound, or an annotation table"},
    "corpus": {"help": "a folder with one sub-folder per class, or a .csv with the columns path and label"},
}
OPTIONS: dict[str, dict] = {
    "output": {"metavar": "PATH", "help": "file or folder to write"},
    "configuration": {"default": "small-corpus", "metavar": "NAME", "help": "of make_cpc, such as speech"},
    "set": {"nargs": "+", "action": "extend", "default": [], "metavar": "NAME=VALUE", "help": "its parameters"},
    "duration": {"type": float, "help": "seconds of windows (default: 1) or of the example (default: to the end)"},
    "hop": {"type": float, "help": "seconds from one window to the next (default: the duration)"},
    "onset": {"type": float, "default": 0.0, "help": "seconds before the example begins in its recording"},
    "skip_unusable": {"action": "store_true", "help": "warn about recordings that cannot be used, and go on"},
    "k": {"type": int, "default": 10, "help": "number of windows to find (default: 10)"},
    "format": {"choices": ["raven", "audacity"], "default": "raven", "help": "of the tables in the output"},
    "group": {"metavar": "REGEX", "help": "finds the site or speaker in a file name; for a .csv: its column"},
    "labels": {"metavar": "TABLE", "help": "annotations that colour the windows"},
    "jobs": {"type": int, "help": "number of processes that work at the same time"},
    "quiet": {"action": "store_true", "help": "show no progress bars"},
    "json": {"action": "store_true", "help": "write the result as JSON"},
    "show_python": {"action": "store_true", "help": "write the Python script that does this; do not run it"},
}


def fit(recordings, output, configuration, set, quiet):
    """Learn features from recordings, without labels, and save the model.

    Example: sklearn-cpc fit recordings -o model.safetensors --set max_epochs=20
    """
    if not os.path.isdir(os.path.dirname(output) or os.curdir):
        raise OSError(f"there is no folder for {output}; make it first.")  # now, rather than after training
    imports, rows = read_rows(recordings)
    return f"""\
{imports}
from sklearn_cpc import make_cpc

cpc = make_cpc({configuration!r}, {set_parameters(set, verbose=int(not quiet))})
cpc.fit({rows}).save({output!r})
result = {{"model": {output!r}, "epochs": cpc.n_iter_}}
"""


def embed(model, recordings, output, duration, hop, skip_unusable, jobs, quiet):
    """Embed windows of recordings, or the rows of a table. After a stop, the same command continues.

    Example: sklearn-cpc embed model.safetensors recordings -o embeddings --duration 1.0
    """
    imports, windows = read_rows(recordings)
    if "list_recordings" in imports:
        imports += "\nfrom sklearn_cpc.archive import cut_windows"
        on_error = "nan" if skip_unusable else "raise"
        windows = f"cut_windows({windows}, duration={duration or 1.0}, hop={hop}, on_error={on_error!r})"
    elif duration or hop:
        raise ValueError("the rows of a table are the windows; leave out --duration and --hop.")
    return f"""\
{imports}
from sklearn_cpc import load
from sklearn_cpc.archive import embed_archive

model = load({model!r})
windows = {windows}
embed_archive(model, windows, {output!r}, n_jobs={jobs}, verbose={int(not quiet)})
result = {{"embeddings": {output!r}, "windows": len(windows)}}
"""


def search(model, embeddings, example, onset, duration, k, output=None, format="raven"):
    """Find the windows of an archive that sound most like an example.

    Example: sklearn-cpc search model.safetensors embeddings call.wav --onset 2.5 --duration 1.0 -k 50 -o found
    """
    imports, clips = "", [(example, onset, duration)]
    if example.lower().endswith(TABLES):
        imports, clips = read_rows([example])
    write = f"write_annotations(result, {output!r}, format={format!r})\n" if output else ""
    return f"""\
{imports}
from sklearn_cpc import load
from sklearn_cpc.archive import EmbeddingIndex, write_annotations

index = EmbeddingIndex({embeddings!r}, load({model!r}))
result = index.query({clips}, k={k})
{write}""".lstrip()


def draw_map(embeddings, labels, output):
    """Draw a map of embeddings: a page for the browser that plays the windows.

    Example: sklearn-cpc map embeddings -o map.html --labels annotations.csv
    """
    known = f"label_windows(windows, read_annotations({labels!r}, recordings=windows['path']))['label']"
    return f"""\
from sklearn_cpc.archive import {"label_windows, read_annotations, " if labels else ""}read_archive
from sklearn_cpc.displays import EmbeddingMap

windows, embeddings = read_archive({embeddings!r})
labels = {known if labels else None}
EmbeddingMap.from_embeddings(embeddings, windows, labels=labels, random_state=0).save({output!r})
result = {{"map": {output!r}}}
"""


def compare(corpus, group, configuration, set, jobs, quiet):
    """Compare CPC with MFCCs and with its untrained network, on labelled recordings.

    Example: sklearn-cpc compare recordings --group "^([^-]+)-" --set max_epochs=20
    """
    imports = "from sklearn_cpc.datasets import load_audio_folder"
    read = f"corpus = load_audio_folder({corpus!r}, group_from={group!r})\n"
    read += "X, y, groups = corpus.paths, corpus.target, corpus.groups"
    if corpus.lower().endswith(TABLES):
        imports, table = read_rows([corpus])
        imports += "\nimport pandas as pd" if group else ""
        column = f"pd.read_csv({corpus!r}, usecols=[{group!r}])[{group!r}]" if group else "None"
        read = f"X = {table}\ny, groups = X['label'], {column}"
    return f"""\
{imports}
from sklearn_cpc import make_cpc
from sklearn_cpc.evaluation import compare_representations

{read}
cpc = make_cpc({configuration!r}, {set_parameters(set)})
table = compare_representations({{"cpc": cpc}}, X, y, groups=groups, n_jobs={jobs}, verbose={int(not quiet)})
result = table.rename_axis("features").reset_index()
"""


def info(recordings):
    """List durations, sample rates, channels and formats, and name the recordings that cannot be used.

    Example: sklearn-cpc info recordings --json
    """
    imports, rows = read_rows(recordings)
    paths = rows if "list_recordings" in imports else f"{rows}['path']"
    return f"""\
{imports}
from sklearn_cpc.archive import cut_windows
from sklearn_cpc.audio.reading import read_header
import pandas as pd

result = cut_windows({paths}, duration=1e9, on_error="nan").drop(columns="onset")  # one row of each
headers = [read_header(path) if seconds > 0 else None for path, seconds in result.to_numpy()]
for name in ("samplerate", "channels", "format", "subtype"):
    result[name] = pd.array([getattr(header, name, None) for header in headers])
"""


def read_rows(sources):
    """Return the line that imports a function, and its call, which lists recordings or the rows of a table."""
    if len(sources) == 1 and sources[0].lower().endswith(TABLES):
        return "from sklearn_cpc.archive import read_annotations", f"read_annotations({sources[0]!r})"
    return "from sklearn_cpc.datasets import list_recordings", f"list_recordings({sources})"


def set_parameters(settings, **parameters):
    """Return keyword arguments from settings NAME=VALUE; a VALUE that is no Python literal is a str."""
    parameters["random_state"] = 0
    for name, equals, value in (setting.partition("=") for setting in settings):
        if not name.isidentifier() or not equals:
            raise ValueError(f"--set takes NAME=VALUE, such as max_epochs=5, not {name}{equals}{value}.")
        try:
            parameters[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            parameters[name] = value
    return ", ".join(f"{name}={value!r}" for name, value in parameters.items())


def main(argv=None):
    """Run a command; returns 0, 1 after a failure, or 130 after Ctrl-C. Wrong usage exits with 2."""
    options = vars(make_parser().parse_args(argv))
    command, as_json, show = (options.pop(name) for name in ("command", "json", "show_python"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # some names of files are no text
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: report("warning", message)
            script = command(**options)
            sys.stdout.write(script if show else run(script, as_json))
            sys.stdout.flush()
    except KeyboardInterrupt:
        report("interrupted", "nothing unfinished is kept.")
        return INTERRUPTED
    except BrokenPipeError:  # whatever reads the output, such as head, wants no more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except FAILURES as error:
        report("error", error)
        return 1
    return 0


def report(kind, message):
    """Write a message to the standard error."""
    sys.stderr.write(f"sklearn-cpc: {kind}: {message}\n")


def make_parser():
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser("sklearn-cpc", description="Learn audio features from your own recordings.")
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    commands: dict = {"fit": fit, "embed": embed, "search": search, "map": draw_map}
    commands |= {"compare": compare, "info": info}
    for name, command in commands.items():
        summary, _, example = str(inspect.getdoc(command)).partition("\n\n")
        subparser = subparsers.add_parser(name, help=summary, description=summary, epilog=example)
        parameters = inspect.signature(command).parameters
        for name in [*parameters, "json", "show_python"]:
            if name in ARGUMENTS:
                subparser.add_argument(name, **ARGUMENTS[name])
                continue
            flags = {"output": ["-o", "--output"], "k": ["-k"]}.get(name, [f"--{name.replace('_', '-')}"])
            required = name == "output" and parameters[name].default is inspect.Parameter.empty
            subparser.add_argument(*flags, required=required, **OPTIONS[name])
        subparser.set_defaults(command=command)
    return parser


def run(script, as_json):
    """Run a script; return its result, a table or a dict, as text."""
    names: dict = {"__name__": "__main__"}
    exec(compile(script, "<sklearn-cpc>", "exec"), names)
    result = names["result"]
    if not isinstance(result, dict):
        text = result.to_string(index=False, na_rep="")
        result = result.astype(object).where(result.notna(), None).to_dict("records")
    else:
        text = "\n".join(f"{name}: {value}" for name, value in result.items())
    return (json.dumps(result, indent=1) if as_json else text) + "\n"


if __name__ == "__main__":
    sys.exit(main())
