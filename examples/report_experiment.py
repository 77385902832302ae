"""The report's experiment: CPC on corpus A, a probe on B, tested on C, for its three architectures.

    python examples/report_experiment.py --corpora FMA_SMALL GTZAN RECORDINGS        # as the report did
    python examples/report_experiment.py --audio DIR --group-from "^(.)" --scale small  # parts of one corpus

B and C have one folder of recordings per class, the same classes; so may A, which tells how far the network
over-fits. Parts of one corpus (--audio) are made of its groups, in as many rotations as there are groups: one
is C, half of the others B, the rest A. Everything is kept in the output folder, stage by stage: a second run
goes on where the first stopped. summary.md there shows the tables and all figures.

--scale report takes the values of the report's tables 1 to 5, made for 8000 recordings of 30 s;
--scale small takes higher learning rates and fewer clips, for minutes of audio.
"""

import argparse
import json
import os
import re
import tempfile
from pathlib import Path

import joblib
import matplotlib
import numpy as np
import pandas as pd
from sklearn.dummy import DummyClassifier
from sklearn.preprocessing import FunctionTransformer

from sklearn_cpc import AutoencoderReducer, LinearProbe, MFCCTransformer, make_cpc, sample_clips
from sklearn_cpc.datasets import load_audio_folder
from sklearn_cpc.displays import ConfusionDisplay, EmbeddingDisplay, LossCurveDisplay
from sklearn_cpc.evaluation import compare_scores, overfitting_gaps, record_training

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# Accuracy in the report: section 3.2, and the last epoch of its published histories.
NETWORKS = {
    "1D conv + GRU": "report-conv1d-gru",
    "1D conv + attention": "report-conv1d-attention",
    "2D conv + GRU": "report-conv2d-gru",
}
IN_REPORT = {
    "chance": 0.1,
    "1D conv + GRU": 0.267,
    "1D conv + attention": 0.284,
    "2D conv + GRU": 0.213,
    "1D conv + attention (untrained)": 0.184,
}
# What the report left on the table: negatives from the same clip, prediction from every step, a higher rate.
BETTER = {"negatives": "mixed", "similarity": "cosine", "batch_size": 16, "lr": 5e-4, "schedule": "cosine"}
SCALES = {
    "report": {  # tables 1 to 5; 8.75 epochs of clips that fit are its 700 epochs of 100 batches of 8
        "cpc": {"lr": 1e-5, "max_epochs": 9},
        "autoencoder": {"lr": 1e-4, "max_epochs": 10},
        "probe": {"lr": 1e-4, "max_epochs": 10},
        "clips": {"A": 90, "B": 90, "C": 5},
    },
    "small": {
        "cpc": {"lr": 2e-4, "max_epochs": 10},
        "autoencoder": {"lr": 1e-3, "max_epochs": 100},
        "probe": {"lr": 1e-2, "max_epochs": 50},
        "clips": {"A": 2, "B": 2, "C": 2},
    },
}


def main():
    options = read_options()
    keep_settings(options)
    rotations = read_corpora(options)
    names = ["mfcc"]
    for name in options.networks:
        names += [f"{name} (untrained)", name, *([f"{name}, better trained"] if options.better else [])]
    tasks = [(rotation, name) for rotation in range(len(rotations)) for name in names]
    print(f"{len(rotations)} rotation(s) of A, B and C; {len(names)} representations; results in {options.output}")
    run = joblib.Parallel(n_jobs=options.jobs, return_as="generator")(
        joblib.delayed(evaluate)(name, rotations[rotation], options.output / f"rotation{rotation}", options)
        for rotation, name in tasks
    )
    results = {}
    for (rotation, name), result in zip(tasks, run, strict=True):
        results.setdefault(name, []).append(result)
        print(f"rotation {rotation}: {name:30} accuracy {result['accuracy']:.3f}", flush=True)
    results = {"chance": [chance(parts, options) for parts in rotations], **results}
    table = make_table(results, rotations)
    gaps = make_gaps(results)
    figures = draw_figures(results, options)
    write_summary(table, gaps, figures, rotations, options)
    print(f"\n{table.round(3).to_string()}\n\nsummary.md and the figures are in {options.output}")


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpora = parser.add_mutually_exclusive_group(required=True)
    corpora.add_argument("--corpora", type=Path, nargs=3, metavar=("A", "B", "C"), help="folders of class folders")
    corpora.add_argument("--audio", type=Path, metavar="DIR", help="one folder of class folders, to be divided")
    parser.add_argument("--group-from", metavar="REGEX", help="with --audio: the group in a file's name")
    parser.add_argument("--rotations", type=int, help="with --audio: fewer than there are groups")
    parser.add_argument("--scale", choices=SCALES, default="report")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--better", action="store_true", help="also train each network in a better way")
    parser.add_argument("--epochs", type=int, help="passes of CPC over A, instead of the scale's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="representations at a time")
    parser.add_argument("--output", type=Path, metavar="DIR", default=Path("results/report"))
    options = parser.parse_args()
    if options.audio and not options.group_from:
        parser.error("--audio needs --group-from, by which the corpus is divided into A, B and C")
    return options


def keep_settings(options):
    """Note what the results are of, and refuse to mix them with others."""
    ignored = ("jobs", "output", "networks", "rotations", "better")
    settings = {name: str(value) for name, value in vars(options).items() if name not in ignored}
    path = options.output / "settings.json"
    if path.exists() and json.loads(path.read_text()) != settings:
        raise SystemExit(
            f"{options.output} holds results of other settings, {path.read_text()}; give another --output or "
            "remove it."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings, indent=1) + "\n")


# Corpora


def read_corpora(options):
    """Return rotations, each a dict of (paths, classes) by "A", "B" and "C"."""
    if options.corpora:
        corpora = [load_audio_folder(directory) for directory in options.corpora]
        return [{name: (np.array(c.paths), c.target) for name, c in zip("ABC", corpora, strict=True)}]
    corpus = load_audio_folder(options.audio, group_from=options.group_from)
    paths, groups = np.array(corpus.paths), sorted(set(corpus.groups))
    if len(groups) < 3:
        raise SystemExit(f"--group-from finds {len(groups)} group(s), {groups}; A, B and C need three at least.")
    rotations = []
    for first in range(len(groups))[: options.rotations]:
        test, *others = np.roll(groups, -first)
        half = len(others) // 2
        members = {"A": others[half:], "B": others[:half], "C": [test]}
        masks = {name: np.isin(corpus.groups, parts) for name, parts in members.items()}
        rotations.append({name: (paths[mask], corpus.target[mask]) for name, mask in masks.items()})
    return rotations


def cut(parts, name, options):
    """Return clips of a corpus, many per recording (section 2.3), their classes and their recordings."""
    paths, target = parts[name]
    clips, rows = sample_clips(paths, SCALES[options.scale]["clips"][name])
    return clips, target[rows], rows


# Stages


def evaluate(name, parts, folder, options):
    """Train, embed and classify, or take what an earlier run has kept."""
    folder = folder / slug(name)
    if name == "mfcc":
        estimator, reduce = MFCCTransformer().fit(parts["B"][0]), False
    else:
        estimator, reduce = stage(folder / "cpc.joblib", train_cpc, name, parts, options), True
    embeddings = stage(folder / "embeddings.joblib", embed, estimator, parts, options)
    result = stage(folder / "result.joblib", classify, embeddings, reduce, options)
    return {**result, "history": getattr(estimator, "history_", None), "embeddings": embeddings}


def stage(path, compute, *arguments):
    """Return what is kept in a file, or compute and keep it, whole or not at all."""
    if not path.exists():
        value = compute(*arguments)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        os.close(handle)
        joblib.dump(value, temporary)
        os.replace(temporary, path)
    return joblib.load(path)


def train_cpc(name, parts, options):
    """Train on A (sections 2.2.1 to 2.2.6)."""
    network, better = name.removesuffix(" (untrained)").removesuffix(", better trained"), "better" in name
    cpc = make_cpc(NETWORKS[network], random_state=options.seed, **SCALES[options.scale]["cpc"])
    if better:
        cpc.set_params(**BETTER, predict_from="last" if "attention" in name else "all")
    if options.epochs is not None:
        cpc.set_params(max_epochs=options.epochs)
    if "untrained" in name:
        cpc.set_params(max_epochs=0)
    return cpc.fit(parts["A"][0])


def embed(estimator, parts, options):
    """Embed clips of all corpora (section 2.3)."""
    clips = {name: cut(parts, name, options) for name in parts}
    return {name: (estimator.transform(X), *about) for name, (X, *about) in clips.items()}


def classify(embeddings, reduce, options):
    """Reduce to 32 features and train the probe on B, test it on C (section 2.3.2, tables 4 and 5)."""
    scale = SCALES[options.scale]
    reducer = AutoencoderReducer(random_state=options.seed, **scale["autoencoder"]) if reduce else None
    reducer = (reducer or FunctionTransformer()).fit(embeddings["B"][0])
    reduced = {name: (reducer.transform(X), y) for name, (X, y, _) in embeddings.items()}
    probe = LinearProbe(random_state=options.seed, **scale["probe"])
    history = record_training(probe, *reduced["B"], *reduced["C"])
    probe.fit(*reduced["B"])
    X, y = reduced["C"]
    predicted = probe.predict(X)
    same = set(embeddings["A"][1]) == set(embeddings["B"][1])
    return {
        "accuracy": float(np.mean(predicted == y)),
        "y_true": y,
        "y_pred": predicted,
        "probe_history": history,
        "autoencoder_history": getattr(reducer, "history_", None),
        "gaps": overfitting_gaps("passthrough", *(embeddings[name] for name in "ABC")) if same else None,
    }


def chance(parts, options):
    """Predict the most frequent class of B."""
    (X, y, _), (X_test, y_test, _) = cut(parts, "B", options), cut(parts, "C", options)
    return {"accuracy": DummyClassifier().fit(X, y).score(X_test, y_test)}


def slug(name):
    return "-".join(re.findall("[a-z0-9]+", name.lower()))


# Tables and figures


def make_table(results, rotations):
    """Accuracies, differences from MFCC and from the untrained network, beside the report's."""
    scores = {name: [row["accuracy"] for row in rows] for name, rows in results.items()}
    ratio = np.mean([len(parts["C"][0]) / len(parts["B"][0]) for parts in rotations])
    table = compare_scores(scores, test_ratio=ratio).drop(columns="reference")
    for name in scores:
        if name.endswith(", better trained"):  # its untrained twin is that of the network
            pair = {
                "": scores[name],
                " (untrained)": scores[f"{name.removesuffix(', better trained')} (untrained)"],
            }
            gain = ["gain", "gain_low", "gain_high"]
            table.loc[name, gain] = compare_scores(pair, "", test_ratio=ratio).loc["", gain]
    table["report"] = pd.Series(IN_REPORT)
    return table


def make_gaps(results):
    """Losses and gaps of the report's section 4, averaged over the rotations; empty if A has other classes."""
    known = {name: [row["gaps"] for row in rows] for name, rows in results.items() if "gaps" in rows[0]}
    return pd.DataFrame({name: pd.concat(rows).mean() for name, rows in known.items() if rows[0] is not None}).T


def draw_figures(results, options):
    """Draw what the report drew; returns (title, file name) of each figure, in its order."""
    folder = options.output / "figures"
    folder.mkdir(exist_ok=True)
    first = {name: rows[0] for name, rows in results.items() if name != "chance"}
    lines = {"chance": np.mean([row["accuracy"] for row in results["chance"]])}
    figures = []

    def keep(title, name):
        plt.savefig(folder / f"{name}.png", dpi=110, bbox_inches="tight")
        plt.close("all")
        figures.append((title, f"figures/{name}.png"))

    losses = {name: row["history"] for name, row in first.items() if row["history"]}
    if losses:
        LossCurveDisplay.from_history(losses, stage="CPC", quantities=["loss"])
        keep("Loss of CPC (figure 4)", "cpc-loss")
    histories = {name: row["probe_history"] for name, row in first.items()}
    how = {"stage": "linear probe", "reference_lines": lines}
    LossCurveDisplay.from_history(histories, splits=["test"], **how)
    keep("Test loss and accuracy of the probe (figure 5)", "probe-test")
    for name, row in first.items():
        LossCurveDisplay.from_history(row["probe_history"], **how)
        keep(f"Probe of {name}, train and test (figure 14)", f"probe-{slug(name)}")
    reducers = {name: row["autoencoder_history"] for name, row in first.items() if row["autoencoder_history"]}
    LossCurveDisplay.from_history(reducers, stage="autoencoder")
    keep("Loss of the autoencoders (figure 15)", "autoencoder-loss")
    for name in first:
        y_true, y_pred = (np.concatenate([row[key] for row in results[name]]) for key in ("y_true", "y_pred"))
        ConfusionDisplay.from_predictions(y_true, y_pred)
        keep(f"Confusion matrix of {name}, all rotations (figures 6 to 9)", f"confusion-{slug(name)}")
    for name, row in first.items():
        (train, y_train, _), (test, y_test, _) = row["embeddings"]["B"], row["embeddings"]["C"]
        display = EmbeddingDisplay.from_embeddings(train, y_train, test, y_test, random_state=options.seed)
        keep(f"t-SNE of {name}, by class (figures 10 to 13)", f"tsne-{slug(name)}")
        display.plot("split")
        keep(f"t-SNE of {name}, by split (figures 17 to 21)", f"tsne-split-{slug(name)}")
    return figures


def write_summary(table, gaps, figures, rotations, options):
    """Write tables and figures into one Markdown page, and the tables as CSV."""
    table.to_csv(options.output / "table.csv")
    sizes = ", ".join(f"{name}: {len(rotations[0][name][0])}" for name in "ABC")
    lines = [
        "# The report's experiment",
        f"Recordings in the first of {len(rotations)} rotation(s): {sizes}. Scale: {options.scale}; seed "
        f"{options.seed}. Accuracy of single clips of C; differences from MFCC and, as gain, from the same "
        "network untrained, with 95 % intervals over the rotations. The column `report` holds the accuracies of "
        "the report, on other data: ten genres of music.",
        markdown(table),
    ]
    if len(gaps):
        gaps.to_csv(options.output / "overfitting.csv")
        lines += [
            "## Over-fitting, apart (section 4)",
            "Cross-entropies in nats of logistic regressions on the embeddings: `network_gap` is the network's "
            "over-fitting to A, `probe_gap` the probe's to B; `cv_` are losses on rows held out inside A and B.",
            markdown(gaps),
        ]
    for title, path in figures:
        lines += [f"## {title}", f"![{title}]({path})"]
    (options.output / "summary.md").write_text("\n\n".join(lines) + "\n")


def markdown(table):
    """Format a table with three decimals."""
    rows = [["", *table.columns], ["---"] * (len(table.columns) + 1)]
    for name, row in table.iterrows():
        rows.append([name, *("" if pd.isna(value) else f"{value:.3f}" for value in row)])
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


if __name__ == "__main__":
    main()
