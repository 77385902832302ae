"""How many labels do you need? Draw the accuracy against the number of labels per class, on any corpora.

    python examples/label_study.py --audio DIR --select esc10 fsdd --page docs/evaluation.md --figure labels.png
    python examples/label_study.py --manifest FILE.csv --output results/mine

Corpora are named as for evidence.py. Every representation hears all training recordings of a fold, without labels;
the classifier alone sees a few. The supervised network is that of CPC, trained from these labels alone. The table
of each corpus is written to the output folder, and a second run computes only the missing ones.
"""

import argparse
import tempfile
from pathlib import Path

import joblib
import matplotlib
import pandas as pd
from evidence_corpora import add_corpus_options, at_least_one, limit_rows, prepare, read_corpora
from pages import replace_part
from supervised import SupervisedNetwork

from sklearn_cpc import make_cpc
from sklearn_cpc.displays import LabelEfficiencyDisplay
from sklearn_cpc.evaluation import label_efficiency

matplotlib.use("Agg")
import matplotlib.pyplot as plt

N_LABELS = (1, 2, 5, 10, None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_corpus_options(parser)
    parser.add_argument("--no-supervised", action="store_true", help="leave out the network trained from labels")
    parser.add_argument("--draws", type=at_least_one, default=3, help="draws of labelled rows per fold")
    parser.add_argument("--epochs", type=at_least_one, help="epochs, instead of those of the configuration")
    parser.add_argument("--max-per-class", type=at_least_one, metavar="N", help="recordings of every class")
    parser.add_argument("--jobs", type=int, default=joblib.cpu_count(), help="trainings in parallel")
    parser.add_argument("--output", type=Path, metavar="DIR", default=Path("results/labels"))
    parser.add_argument("--page", type=Path, metavar="FILE", help="page whose table to replace")
    parser.add_argument("--figure", type=Path, metavar="FILE.png", help="figure to draw")
    options = parser.parse_args()
    try:
        corpora = [limit_rows(corpus, options.max_per_class) for corpus in read_corpora(options)]
    except (ValueError, OSError) as error:
        raise SystemExit(f"label_study.py: {error}") from error
    tables = {corpus.name: measure(corpus, options) for corpus in corpora}
    print(as_markdown(tables))
    if options.figure:
        draw(tables, options.figure)
    if options.page:
        replace_part(options.page, "label study", as_markdown(tables))


def measure(corpus, options):
    """Return the table of a corpus, and write it, unless an earlier run has."""
    path = options.output / f"{corpus.name}.csv"
    if not path.exists():
        epochs = {"max_epochs": options.epochs} if options.epochs else {}
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as memory:
            settings = prepare(corpus, memory, options.jobs)
            contestants = {"CPC": make_cpc(**settings, **epochs)}
            if not options.no_supervised:
                contestants["supervised"] = SupervisedNetwork(make_cpc(max_epochs=0, **settings), **epochs)
            table = label_efficiency(
                contestants,
                corpus.paths,
                corpus.target,
                groups=corpus.groups,
                n_labels=N_LABELS,
                n_draws=options.draws,
                memory=memory,
                n_jobs=options.jobs,
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(path)
    return pd.read_csv(path, index_col=["representation", "n_labels"], dtype={"n_labels": str})


def as_markdown(tables):
    """Return a table of mean accuracies in percent, and of the gains over the untrained network."""
    sizes = list(dict.fromkeys(size for table in tables.values() for size in table.index.unique("n_labels")))
    lines = [f"| corpus | features | {' | '.join(sizes)} |", "|---" * (len(sizes) + 2) + "|"]
    for corpus, table in tables.items():
        for name, rows in table.groupby(level="representation", sort=False):
            cells = [f"{100 * mean:.1f}" for mean in rows["mean"]]
            lines.append(f"| {corpus} | {name} | {' | '.join(cells)} |")
        gains = 100 * table.loc["CPC", ["gain", "gain_low", "gain_high"]].to_numpy()
        cells = [f"{gain:+.1f} ({low:+.1f} to {high:+.1f})" for gain, low, high in gains]
        lines.append(f"| {corpus} | gain of CPC over untrained | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(tables, path):
    """Draw one panel per corpus."""
    figure, axes = plt.subplots(
        1, len(tables), figsize=(5.6 * len(tables), 4.2), layout="constrained", squeeze=False
    )
    for ax, (name, table) in zip(axes[0], tables.items(), strict=True):
        LabelEfficiencyDisplay.from_table(table, ax=ax)
        ax.set_title(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
