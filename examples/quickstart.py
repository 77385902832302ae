"""Learn features from recordings, classify with them, and compare with MFCCs and an untrained network.

    python examples/quickstart.py                                  # a synthetic corpus, minutes on a laptop
    python examples/quickstart.py --audio DIR                      # your own: one folder per class
    python examples/quickstart.py --audio DIR --group-from "^(.)"  # recordings that belong together share a fold
    python examples/quickstart.py --audio DIR --fit-all            # also save a pipeline fitted on all of them

Everything is fitted inside the training folds. The first fold shows all features side by side; the others tell how
far to trust it (--folds 3 stops earlier). The output folder gets a table, the accuracies, a confusion matrix and
the losses of the first fold.
"""

import argparse
import tempfile
import time
from pathlib import Path

import joblib
import matplotlib
import numpy as np
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_cpc import AutoencoderReducer, LinearProbe, MFCCTransformer, make_cpc
from sklearn_cpc.configurations import CONFIGURATIONS
from sklearn_cpc.datasets import load_audio_folder, make_synthetic_corpus
from sklearn_cpc.displays import ConfusionDisplay, LossCurveDisplay
from sklearn_cpc.evaluation import compare_scores

matplotlib.use("agg")
import matplotlib.pyplot as plt


def main():
    options = read_options()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        corpus = read_corpus(options, scratch)
        pipelines = make_pipelines(options, memory=f"{scratch}/decoded")
        folds = list(make_folds(corpus))[: options.folds]
        scores, table, labels = cross_validate(pipelines, corpus, folds, options.output)
        print(f"\n{table}\n")
        (options.output / "table.md").write_text(table + "\n")
        draw_comparison(scores, options.output / "accuracy.png")
        ConfusionDisplay.from_predictions(*labels)
        plt.savefig(options.output / "confusion.png", dpi=120, bbox_inches="tight")
        if options.fit_all:
            print("fitting the pipeline on all recordings ...")
            final = pipelines["CPC"].fit(corpus.paths, corpus.target)
            joblib.dump(final.set_params(cpctransformer__memory=None), options.output / "pipeline.joblib")
    print("files:", *sorted(map(str, options.output.iterdir())))


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, metavar="DIR", help="one folder of recordings per class")
    parser.add_argument(
        "--group-from", metavar="REGEX", help="pattern that finds the fold or speaker in a file name"
    )
    parser.add_argument("--configuration", choices=CONFIGURATIONS, default="small-corpus")
    parser.add_argument("--epochs", type=int, help="epochs of CPC, instead of those of the configuration")
    parser.add_argument("--lr", type=float, help="learning rate of CPC, instead of that of the configuration")
    parser.add_argument("--folds", type=int, help="use only the first ones of the folds, for a quicker look")
    parser.add_argument("--fit-all", action="store_true", help="also fit the pipeline on all recordings; save it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, metavar="DIR", default=Path("results/quickstart"))
    return parser.parse_args()


def read_corpus(options, scratch):
    """Return the recordings, their classes and, if known, groups that folds must not split."""
    if options.audio is None:
        return make_synthetic_corpus(
            f"{scratch}/corpus", n_per_class=20, n_groups=5, duration=3.0, random_state=options.seed
        )
    return load_audio_folder(options.audio, group_from=options.group_from)


def make_folds(corpus):
    """Leave one group out if there are few groups, else make five folds that do not split groups."""
    if corpus.groups is None:
        return StratifiedKFold(5, shuffle=True, random_state=0).split(corpus.paths, corpus.target)
    few = len(set(corpus.groups)) <= 10
    return (LeaveOneGroupOut() if few else GroupKFold(5)).split(corpus.paths, corpus.target, corpus.groups)


def make_pipelines(options, memory):
    """Return the pipelines to compare, by name."""
    cpc = make_cpc(options.configuration, memory=memory, random_state=options.seed, verbose=1)
    cpc.set_params(max_epochs=cpc.max_epochs if options.epochs is None else options.epochs)
    cpc.set_params(lr=options.lr or cpc.lr)
    if options.configuration.startswith("report"):  # its own chain; it costs the recommended features accuracy
        reducer = AutoencoderReducer(max_epochs=100, lr=1e-3, random_state=options.seed)
        chain = make_pipeline(cpc, reducer, LinearProbe(max_epochs=100, lr=1e-2, random_state=options.seed))
    else:
        chain = make_pipeline(cpc, StandardScaler(), LogisticRegression(C=0.05, max_iter=1000))
    mfcc = MFCCTransformer(memory=memory)
    return {
        "chance": DummyClassifier(),
        "MFCC": make_pipeline(mfcc, StandardScaler(), LogisticRegression(max_iter=2000)),
        "CPC (untrained)": clone(chain).set_params(cpctransformer__max_epochs=0),
        "CPC": chain,
    }


def cross_validate(pipelines, corpus, folds, output):
    """Compare the pipelines fold by fold; return accuracies by name, a table, and true and predicted labels.

    The labels are those of the last pipeline. Its losses in the first fold are drawn as soon as they are known.
    """
    paths, target = np.array(corpus.paths), np.array(corpus.target)
    print(f"{len(paths)} recordings, {len(corpus.target_names)} classes, {len(folds)} folds\n")
    scores, predicted = {name: [] for name in pipelines}, []
    for number, (train, test) in enumerate(folds, 1):
        for name, pipeline in pipelines.items():
            start = time.perf_counter()
            fitted = clone(pipeline).fit(paths[train], target[train])
            labels = fitted.predict(paths[test])
            scores[name].append(accuracy_score(target[test], labels))
            if name != "chance":
                seconds = time.perf_counter() - start
                print(
                    f"fold {number} of {len(folds)}, {name + ':':16} {scores[name][-1]:.3f} after {seconds:.0f} s"
                )
        predicted.append(labels)
        if number == 1:
            LossCurveDisplay.from_estimator(fitted)
            plt.savefig(output / "loss.png", dpi=120, bbox_inches="tight")
    test_ratio = np.mean([len(test) / len(train) for train, test in folds])
    table = format_table(compare_scores(scores, "MFCC", test_ratio=test_ratio))
    true = np.concatenate([target[test] for _, test in folds])
    return scores, table, (true, np.concatenate(predicted))


def format_table(table):
    """Format the means, and the differences with their intervals, as Markdown."""
    lines = ["| features | accuracy | std | more than MFCC | more than untrained |", "|---|---|---|---|---|"]
    for name, row in table.iterrows():
        cells = [name, f"{row['mean']:.3f}", f"{row['std']:.3f}"]
        for kind in ("difference", "gain"):
            low, high = row[f"{kind}_low"], row[f"{kind}_high"]
            cells.append("" if np.isnan(row[kind]) else f"{row[kind]:+.2f} ({low:+.2f} to {high:+.2f})")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", "In brackets: 95 % confidence intervals, for other folds of this corpus."])


def draw_comparison(scores, path):
    """Draw the accuracy of every fold, one line per fold, and the means."""
    names = [name for name in scores if name != "chance"]
    values = np.array([scores[name] for name in names])  # (representations, folds)
    figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    ax.plot(names, values, "-o", color="0.75", markersize=4)
    ax.plot(names, values.mean(axis=1), "D", color="C0", markersize=9, label="mean")
    ax.axhline(np.mean(scores["chance"]), color="0.4", linestyle=":", label="chance")
    ax.margins(x=0.15)
    for x, mean in enumerate(values.mean(axis=1)):
        ax.annotate(f"{mean:.2f}", (x, mean), xytext=(12, -4), textcoords="offset points", weight="bold")
    ax.set(title="recordings of unseen folds (a line joins those of one fold)", ylabel="accuracy", ylim=(0, 1.04))
    figure.legend(loc="outside lower center", ncols=2)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
