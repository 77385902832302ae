"""Learn features from recordings, classify with them, and compare with MFCCs and an untrained network.

    python examples/quickstart.py                                  # a synthetic corpus, minutes on a laptop
    python examples/quickstart.py --audio DIR                      # your own: one folder per class
    python examples/quickstart.py --audio DIR --group-from "^(.)"  # recordings that belong together share a fold

Everything is fitted inside the training folds. The output folder gets a table, the loss curve, a confusion matrix
and the pipeline fitted on all recordings.
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
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_cpc import AutoencoderReducer, LinearProbe, MFCCTransformer, make_cpc
from sklearn_cpc.configurations import CONFIGURATIONS
from sklearn_cpc.datasets import load_audio_folder, make_synthetic_corpus
from sklearn_cpc.displays import ConfusionDisplay, LossCurveDisplay

matplotlib.use("agg")
import matplotlib.pyplot as plt


def main():
    options = read_options()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        corpus = read_corpus(options, scratch)
        folds = list(make_folds(corpus))
        print(f"{len(corpus.paths)} recordings, {len(corpus.target_names)} classes, {len(folds)} folds\n")
        pipelines = make_pipelines(options, memory=f"{scratch}/decoded")
        results = {name: cross_validate(name, pipe, corpus, folds) for name, pipe in pipelines.items()}
        table = format_table(results)
        print(f"\n{table}\n")
        (options.output / "table.md").write_text(table + "\n")
        draw_comparison(results, options.output / "accuracy.png")
        ConfusionDisplay.from_predictions(corpus.target, results["CPC, trained"]["predictions"])
        plt.savefig(options.output / "confusion.png", dpi=120, bbox_inches="tight")

        print("fitting the pipeline on all recordings ...")
        final = pipelines["CPC, trained"].fit(corpus.paths, corpus.target)
        LossCurveDisplay.from_estimator(final)
        plt.savefig(options.output / "loss.png", dpi=120, bbox_inches="tight")
        joblib.dump(final.set_params(cpc__memory=None), options.output / "pipeline.joblib")
    print(f"table.md, accuracy.png, confusion.png, loss.png and pipeline.joblib are in {options.output}")


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, metavar="DIR", help="one folder of recordings per class")
    parser.add_argument(
        "--group-from", metavar="REGEX", help="pattern that finds the fold or speaker in a file name"
    )
    parser.add_argument("--configuration", choices=CONFIGURATIONS, default="small-corpus")
    parser.add_argument("--epochs", type=int, help="epochs of CPC, instead of those of the configuration")
    parser.add_argument("--lr", type=float, help="learning rate of CPC, instead of that of the configuration")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, metavar="DIR", default=Path("results/quickstart"))
    return parser.parse_args()


def read_corpus(options, scratch):
    """Return the recordings, their classes and, if known, groups that folds must not split."""
    if options.audio is None:
        return make_synthetic_corpus(f"{scratch}/corpus", n_per_class=20, n_groups=5, random_state=options.seed)
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
    chain = Pipeline(
        [
            ("cpc", cpc),
            ("ae", AutoencoderReducer(max_epochs=100, lr=1e-3, random_state=options.seed)),
            ("clf", LinearProbe(max_epochs=100, lr=1e-2, random_state=options.seed)),
        ]
    )
    mfcc = MFCCTransformer(memory=memory, verbose=1)
    return {
        "chance": DummyClassifier(),
        "MFCC + LogisticRegression": make_pipeline(mfcc, StandardScaler(), LogisticRegression(max_iter=2000)),
        "CPC, untrained": clone(chain).set_params(cpc__max_epochs=0),
        "CPC, trained": chain,
    }


def cross_validate(name, pipeline, corpus, folds):
    """Fit on the training part of each fold and predict the rest."""
    paths, target = np.array(corpus.paths), np.array(corpus.target)
    predictions, scores, seconds = np.empty_like(target), [], []
    for number, (train, test) in enumerate(folds, 1):
        start = time.perf_counter()
        fitted = clone(pipeline).fit(paths[train], target[train])
        seconds.append(time.perf_counter() - start)
        predictions[test] = fitted.predict(paths[test])
        scores.append(accuracy_score(target[test], predictions[test]))
        if name != "chance":
            print(f"{name:26} fold {number} of {len(folds)}: {scores[-1]:.3f}, fitted in {seconds[-1]:.0f} s")
    return {"predictions": predictions, "scores": np.array(scores), "seconds": np.array(seconds)}


def format_table(results):
    """Format mean and standard deviation of the accuracies over the folds as Markdown."""
    lines = ["| features                  | accuracy | std over folds | fit (s) |", "|---|---|---|---|"]
    for name, result in results.items():
        scores, seconds = result["scores"], result["seconds"]
        lines.append(f"| {name:25} | {scores.mean():8.3f} | {scores.std():14.3f} | {seconds.mean():7.1f} |")
    return "\n".join(lines)


def draw_comparison(results, path):
    """Draw the accuracy of every fold, one line per fold, and the means."""
    names = [name for name in results if name != "chance"]
    scores = np.array([results[name]["scores"] for name in names])  # (representations, folds)
    figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    ax.plot(names, scores, "-o", color="0.75", markersize=4)
    ax.plot(names, scores.mean(axis=1), "D", color="C0", markersize=9, label="mean")
    ax.axhline(results["chance"]["scores"].mean(), color="0.4", linestyle=":", label="chance")
    ax.margins(x=0.15)
    for x, mean in enumerate(scores.mean(axis=1)):
        ax.annotate(f"{mean:.2f}", (x, mean), xytext=(12, -4), textcoords="offset points", weight="bold")
    ax.set(
        title="recordings of unseen folds (a line joins the results of one fold)", ylabel="accuracy", ylim=(0, 1)
    )
    figure.legend(loc="outside lower center", ncols=2)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
