"""Is CPC any good? Compare it with simple features and with supervised training, on any corpora.

    python examples/evidence.py --manifest FILE.csv --seeds 3 --json results/mine.json
    python examples/evidence.py --corpus birds=FOLDER --corpus frogs=FILE.csv --group-from "^(\\d+)-"
    python examples/evidence.py --audio DIR --page docs/evidence.md --figure docs/images/evidence.png
    python examples/evidence.py --fetch esc10 fsdd --quick --epochs 1

A manifest is a table with the columns "path", "label" and, if some recordings belong together (same speaker or
site), "group". Paths are relative to its folder. A folder has one sub-folder per class, and --group-from finds the
group in a file name. --audio looks for esc10, fsdd, orchestra and emodb in a folder. --fetch downloads corpora.

Five folds keep groups together, and everything is fitted on the training folds. Each result is written to the JSON
file as soon as it exists, and a second run computes only what is missing. Without any corpus, the script writes
page and figure from the JSON file. --quick uses one fold and at most 12 recordings per class.
"""

import argparse
import hashlib
import json
import os
import tempfile
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from evidence_corpora import add_corpus_options, at_least_one, limit_rows, prepare, read_corpora
from pages import replace_part
from sklearn.dummy import DummyClassifier
from supervised import SupervisedNetwork

import sklearn_cpc
from sklearn_cpc import MFCCTransformer, make_cpc
from sklearn_cpc.evaluation import compare_representations, compare_scores
from sklearn_cpc.evaluation.folds import make_folds

SEEDLESS = ("chance", "mfcc", "logmel")  # the same with every seed
CPC = {"untrained": "small-corpus", "trained": "small-corpus"}
CPC |= {"untrained speech": "speech", "trained speech": "speech"}
NAMES = [*SEEDLESS, *CPC, "supervised"]
TWINS = {"trained": "untrained", "trained speech": "untrained speech"}
CHOSEN_ON = ("esc10", "esc50", "fsdd")  # corpora that the configurations were chosen on
QUICK_ROWS = 12  # per class
KEY = "fold{1}_seed{0}"


def main():
    options = read_options()
    try:
        corpora = [limit_rows(corpus, options.max_per_class) for corpus in read_corpora(options)]
        study = load_study(options.json)
        add_corpora(study, corpora, options)
    except (ValueError, OSError) as error:
        raise SystemExit(f"evidence.py: {error}") from error
    run(study, corpora, options)
    if not study["corpora"]:
        raise SystemExit(f"evidence.py: {options.json} has no results, and no corpus is given; see --help.")
    print(f"\n{as_tables(study)}")
    if options.figure:
        options.figure.parent.mkdir(parents=True, exist_ok=True)
        draw(study, options.figure)
    if options.page:
        write_page(study, options.page, options.figure)


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_corpus_options(parser)
    parser.add_argument("--names", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help="what to compare")
    parser.add_argument("--seeds", type=at_least_one, default=3, help="trainings per fold")
    parser.add_argument("--epochs", type=at_least_one, help="epochs, instead of those of the configurations")
    parser.add_argument("--max-per-class", type=at_least_one, metavar="N", help="recordings of every class")
    parser.add_argument("--quick", action="store_true", help="one fold, few recordings")
    parser.add_argument("--jobs", type=int, default=joblib.cpu_count(), help="trainings in parallel")
    parser.add_argument("--json", type=Path, metavar="FILE", default=Path("results/evidence.json"))
    parser.add_argument("--page", type=Path, metavar="FILE", help="page whose tables to replace")
    parser.add_argument("--figure", type=Path, metavar="FILE.png", help="figure to draw")
    options = parser.parse_args()
    if options.quick:
        options.max_per_class = min(options.max_per_class or QUICK_ROWS, QUICK_ROWS)
    return options


# The study: what the JSON file holds


def load_study(path):
    """Read the results of an earlier run, or start without any."""
    if not path.exists():
        return {"corpora": {}, "results": []}
    try:
        study = json.loads(path.read_text())
        return {"corpora": study["corpora"], "results": study["results"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} holds no results of this script; use another --json.") from error


def add_corpora(study, corpora, options):
    """Add corpora to a study, and refuse to mix their results with those of other recordings or epochs."""
    for corpus in corpora:
        folds = make_folds(corpus.paths, corpus.target, corpus.groups, None)
        groups = [] if corpus.groups is None else corpus.groups.tolist()
        rows = [[Path(path).name for path in corpus.paths], corpus.target.tolist(), groups, options.epochs]
        about = {
            "purpose": "choosing" if corpus.name in CHOSEN_ON else "judging",
            "recordings": len(corpus.paths),
            "classes": len(set(corpus.target)),
            "groups": len(set(groups)),
            "test_ratio": np.mean([len(test) / len(train) for train, test in folds]),
            "version": sklearn_cpc.__version__,
            "settings": hashlib.sha256(json.dumps(rows).encode()).hexdigest(),
        }
        known = study["corpora"].setdefault(corpus.name, about)
        if (known["settings"], known["version"]) != (about["settings"], about["version"]):
            raise ValueError(
                f"{options.json} holds results of {corpus.name} with other recordings, other --epochs or another "
                "version of the package; use another --json or delete it."
            )
        known |= {"folds": 1 if options.quick else len(folds), "seeds": options.seeds}


def find_entry(study, corpus, name):
    """Return the entry of a representation, which is added if there is none."""
    for entry in study["results"]:
        if (entry["corpus"], entry["name"]) == (corpus, name):
            return entry
    study["results"].append({"corpus": corpus, "name": name, "accuracy": {}, "seconds": {}})
    return study["results"][-1]


def list_results(study, corpus, name):
    """Return the (seed, fold) of all results that a representation should have."""
    about = study["corpora"][corpus]
    seeds = range(1 if name in SEEDLESS else about["seeds"])
    return [(seed, fold) for seed in seeds for fold in range(about["folds"])]


def complete_seeds(study, corpus, name):
    """Return the seeds of which every fold has a result; all of them for what has no seed."""
    known = find_entry(study, corpus, name)["accuracy"]
    found = list_results(study, corpus, name)
    seeds = [seed for seed, _ in found if all(KEY.format(*one) in known for one in found if one[0] == seed)]
    return list(range(study["corpora"][corpus]["seeds"])) if seeds and name in SEEDLESS else sorted(set(seeds))


def list_scores(study, corpus, name, seeds):
    """Return the accuracies with these seeds, in the same order for all names."""
    known, folds = find_entry(study, corpus, name)["accuracy"], range(study["corpora"][corpus]["folds"])
    return [known[KEY.format(0 if name in SEEDLESS else seed, fold)] for seed in seeds for fold in folds]


def tabulate(study, corpus):
    """Return means, differences from MFCCs and gains over untrained networks, with their intervals.

    A mean is over all seeds that a representation has. Differences and gains are over those that both have.
    """
    seeds, rows = {name: complete_seeds(study, corpus, name) for name in NAMES}, {}
    for name in filter(seeds.get, NAMES):
        values = list_scores(study, corpus, name, seeds[name][: 1 if name in SEEDLESS else None])
        std = np.std(values, ddof=1) if len(values) > 1 else np.nan
        rows[name] = {
            "mean": np.mean(values),
            "std": std,
            "seeds": len(values) // study["corpora"][corpus]["folds"],
        }
        for column, other in (("difference", "mfcc"), ("gain", TWINS.get(name))):
            shared = [seed for seed in seeds[name] if other != name and seed in seeds.get(other, ())]
            shared = shared[:1] if {name, other} <= {*SEEDLESS} else shared
            if shared:
                pair = {one: list_scores(study, corpus, one, shared) for one in (other, name)}
                row = compare_scores(pair, other, test_ratio=study["corpora"][corpus]["test_ratio"]).loc[name]
                for end in ("", "_low", "_high"):
                    rows[name][column + end] = row[f"difference{end}"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=None if rows else ["mean"])


def save_study(study, path):
    """Write all results and their means, in one piece: a stopped run leaves the file as it was."""
    tables = {corpus: tabulate(study, corpus) for corpus in study["corpora"]}
    shared = set.intersection(*(set(table.index) for table in tables.values())) if tables else set()
    results = [
        {**entry, "mean": np.mean([*entry["accuracy"].values()])}
        for entry in study["results"]
        if entry["accuracy"]
    ]
    content = {
        "means": {
            name: np.mean([table.loc[name, "mean"] for table in tables.values()])
            for name in NAMES
            if name in shared
        },
        "results": results,
        "corpora": {
            corpus: {**about, "table": json.loads(tables[corpus].to_json(orient="index"))}
            for corpus, about in study["corpora"].items()
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, suffix=".part")
    with os.fdopen(handle, "w") as file:
        file.write(json.dumps(content, indent=1) + "\n")
    os.replace(partial, path)


def run(study, corpora, options):
    """Compute what is missing, and save it piece by piece."""
    for corpus in corpora:
        tasks = [
            (name, seed, fold)
            for name in options.names
            for seed, fold in list_results(study, corpus.name, name)
            if KEY.format(seed, fold) not in find_entry(study, corpus.name, name)["accuracy"]
        ]
        about = study["corpora"][corpus.name]
        sizes = ", ".join(f"{about[what]} {what}" for what in ("recordings", "classes", "groups", "folds"))
        print(f"{corpus.name}: {sizes}; {len(tasks)} result(s) to compute", flush=True)
        if not tasks:
            continue
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as memory:
            settings = prepare(corpus, memory, options.jobs)
            results = joblib.Parallel(n_jobs=options.jobs, return_as="generator")(
                joblib.delayed(evaluate)(*task, corpus, settings, options.epochs, memory) for task in tasks
            )
            for (name, seed, fold), (accuracy, seconds) in zip(tasks, results, strict=True):
                entry, key = find_entry(study, corpus.name, name), KEY.format(seed, fold)
                entry["accuracy"][key], entry["seconds"][key] = accuracy, seconds
                save_study(study, options.json)
                print(f"{corpus.name}, {name}, {key}: accuracy {accuracy:.3f} in {seconds:.0f} s", flush=True)
    save_study(study, options.json)


def evaluate(name, seed, fold, corpus, settings, epochs, memory):
    """Fit on the training part of a fold; return the accuracy on the test part and the seconds of the fit."""
    folds = make_folds(corpus.paths, corpus.target, corpus.groups, None)
    table = compare_representations(
        {name: make_representation(name, settings, epochs)},
        corpus.paths,
        corpus.target,
        groups=corpus.groups,
        cv=[folds[fold]],
        baselines=False,
        random_state=seed,
        memory=memory,
    )
    return float(table.loc[name, "fold0"]), float(table.loc[name, "fit_seconds"])


def make_representation(name, settings, epochs):
    """Return a transformer, or a classifier of recordings."""
    trained = {"max_epochs": epochs} if epochs else {}
    if name == "chance":
        return DummyClassifier()
    if name == "mfcc":
        return MFCCTransformer()
    if name == "logmel":
        return make_cpc(pooling=("mel_mean", "mel_std", "mel_max"), max_epochs=0, **settings)
    if name == "supervised":
        return SupervisedNetwork(make_cpc(**settings), **trained)
    return make_cpc(CPC[name], **settings, **(trained if name in TWINS else {"max_epochs": 0}))


# Tables and figure


def as_tables(study):
    """Return Markdown tables: mean accuracies of all corpora, and every corpus by itself."""
    tables = {corpus: tabulate(study, corpus) for corpus in study["corpora"]}
    shown = [name for name in NAMES if any(name in table.index for table in tables.values())]
    lines = [f"| corpus | for | {' | '.join(shown)} |", "|---" * (len(shown) + 2) + "|"]
    for corpus, table in tables.items():
        cells = [f"{100 * table.loc[name, 'mean']:.1f}" if name in table.index else "" for name in shown]
        lines.append(f"| {corpus} | {study['corpora'][corpus]['purpose']} | {' | '.join(cells)} |")
    parts = ["\n".join(lines)]
    for corpus, table in tables.items():
        about = study["corpora"][corpus]
        groups = f"{about['groups']} groups, " if about["groups"] else ""
        parts.append(
            f"**{corpus}**: {about['recordings']} recordings, {about['classes']} classes, {groups}"
            f"{about['folds']} fold(s)"
        )
        lines = [
            "| | accuracy | std | seeds | difference from MFCC | gain over untrained | fit (s) |",
            "|---|---|---|---|---|---|---|",
        ]
        for name, row in table.iterrows():
            seconds = np.mean([*find_entry(study, corpus, name)["seconds"].values()])
            std = "" if np.isnan(row["std"]) else f"{100 * row['std']:.1f}"
            changes = [as_interval(row, column) for column in ("difference", "gain")]
            cells = [name, f"{100 * row['mean']:.1f}", std, f"{row['seeds']:.0f}", *changes, f"{seconds:.0f}"]
            lines.append(f"| {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def as_interval(row, column):
    """Format a difference in points and its interval."""
    if np.isnan(row.get(column, np.nan)):
        return ""
    mean, low, high = (100 * row[name] for name in (column, f"{column}_low", f"{column}_high"))
    return f"{mean:+.1f}" + ("" if np.isnan(low) else f" ({low:+.1f} to {high:+.1f})")


def write_page(study, page, figure):
    """Replace what is between the markers of a page by the tables, and a link to the figure."""
    parts = [as_tables(study)]
    if figure:
        link = Path(os.path.relpath(figure, page.parent)).as_posix()
        parts.insert(
            0, f"![Accuracy by corpus of MFCCs, log-mel statistics, untrained and trained networks]({link})"
        )
    replace_part(page, "results", "\n\n".join(parts))


def draw(study, path):
    """Draw the accuracy by corpus, with lines from untrained to trained networks."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    tables = {corpus: tabulate(study, corpus) for corpus in study["corpora"]}
    styles = {
        "mfcc": ("MFCC", "0.35", "s", 0.0),
        "logmel": ("log-mel statistics", "0.65", "D", 0.0),
        "untrained": ("make_cpc(), untrained", "#0072B2", "o", -0.22),
        "trained": ("make_cpc(), trained", "#0072B2", "o", -0.22),
        "untrained speech": ('make_cpc("speech"), untrained', "#D55E00", "o", 0.22),
        "trained speech": ('make_cpc("speech"), trained', "#D55E00", "o", 0.22),
        "supervised": ("supervised, same network", "#0072B2", "x", -0.22),
    }
    figure, ax = plt.subplots(figsize=(7.6, 1.5 + 0.62 * len(tables)), layout="constrained")
    means = {name: [table["mean"].get(name, np.nan) * 100 for table in tables.values()] for name in styles}
    drawn = {name for name in styles if not np.isnan(means[name]).any()}  # what all corpora have
    drawn -= {untrained for trained, untrained in TWINS.items() if trained not in drawn}
    for name, (label, colour, marker, shift) in styles.items():
        if name not in drawn:
            continue
        heights = np.arange(len(tables)) + shift
        if name in TWINS:
            ax.hlines(heights, means[TWINS[name]], means[name], color=colour, linewidth=2, alpha=0.5)
        inside = "white" if name in TWINS.values() else colour
        how = {"color": colour, "markerfacecolor": inside, "markersize": 6.5, "markeredgewidth": 1.6}
        ax.plot(means[name], heights, marker, label=label, zorder=2 if inside == "white" else 3, **how)
    names = [f"{name}\n({study['corpora'][name]['purpose']})" for name in tables]
    ax.set_yticks(range(len(tables)), names, parse_math=False)
    ax.set_ylim(len(tables) - 0.5, -0.5)
    for i in range(1, len(tables)):
        ax.axhline(i - 0.5, color="0.9", linewidth=0.8, zorder=0)
    ax.set_xlabel("accuracy (%)")
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.grid(axis="x", color="0.92")
    ax.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
