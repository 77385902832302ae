"""From five examples of a sound to a detector: search an archive, label what teaches most, fit again.

    python examples/agile.py --quick                                # an archive of minutes, made by the script
    python examples/agile.py --audio DIR --hours 2 --group-from "^(.)"     # made of clips, one folder per class
    python examples/agile.py --audio DIR --hours 2 --label-from "^(.)" --group-from "_(.*)_" --sample-rate 8000
    python examples/agile.py --recordings *.wav --annotations *.txt --target wren      # your own, with the truth
    python examples/agile.py --recordings *.wav --annotations five.txt --target wren --ask     # you are the truth

The rounds begin with five examples and windows unlike them, which count as background until they are labelled. In
every round, 20 windows are proposed, their labels are looked up (or you are asked), and a logistic regression is
fitted again. Four ways to propose are compared: likely windows that differ from each other, uncertain windows that
differ from each other, the highest scores, and windows drawn at random. Features are MFCCs, CPC trained on the
archive itself, and the same network untrained.

Half of the recordings are for testing: nothing is fitted on them, and none of their windows is labelled. The
output folder gets all results, their means, a figure, and what was found as tables for Raven and Audacity.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from agile_archive import read_archive
from sklearn.base import clone
from sklearn.cluster import kmeans_plusplus
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler

from sklearn_cpc import MFCCTransformer, make_cpc
from sklearn_cpc.archive import EmbeddingIndex, cut_windows, label_windows, write_annotations

matplotlib.use("agg")
import matplotlib.pyplot as plt

N_EXAMPLES, N_PROPOSED = 5, 20
N_BACKGROUND = 100  # windows unlike the examples, assumed not to have the sound
N_CANDIDATES = 100  # windows with the highest or least certain scores, of which different ones are proposed
MEASURES = {
    "precision": "precision",
    "recall": "recall",
    "precision_at_20": "precision of the best 20",
    "average_precision": "average precision",
}


def choose_different(candidates, embeddings, random):
    """Choose candidates that differ from each other, as k-means++ chooses its first centres."""
    n_proposed, seed = min(N_PROPOSED, len(candidates)), random.integers(2**31)
    return candidates[np.unique(kmeans_plusplus(embeddings[candidates], n_proposed, random_state=seed)[1])]


def propose_likely_and_different(scores, embeddings, random):
    return choose_different(np.argsort(-scores)[:N_CANDIDATES], embeddings, random)


def propose_uncertain_and_different(scores, embeddings, random):
    return choose_different(np.argsort(np.abs(scores))[:N_CANDIDATES], embeddings, random)


def propose_highest_scores(scores, embeddings, random):
    return np.argsort(-scores)[:N_PROPOSED]


def propose_random(scores, embeddings, random):
    return random.permutation(len(scores))[:N_PROPOSED]


STRATEGIES = {
    "likely and different": propose_likely_and_different,
    "uncertain and different": propose_uncertain_and_different,
    "highest scores": propose_highest_scores,
    "random": propose_random,
}


def main():
    options = read_options()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        archive = read_archive(options, scratch)
        windows = cut_windows(archive.paths, options.duration)
        windows["is_test"] = windows["path"].isin(archive.paths[archive.is_test])
        hours = windows["duration"].sum() / 3600
        print(f"{len(archive.paths)} recordings of {hours:.2f} hours together, {len(windows)} windows")
        if archive.annotations is None:
            raise SystemExit("agile.py: --recordings needs --annotations: the truth or, with --ask, five examples")
        windows["labels"] = label_windows(windows, archive.annotations, multilabel=True)["label"]
        embeddings = embed(windows, options)
        if options.ask:
            ask_rounds(embeddings["CPC, trained"], windows, options)
        else:
            compare(embeddings, windows, options)


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, metavar="DIR", help="short recordings to make an archive of")
    parser.add_argument("--label-from", metavar="REGEX", help="finds the label in a file name; else the folder")
    parser.add_argument("--group-from", metavar="REGEX", help="finds what must not be in both halves")
    parser.add_argument("--hours", type=float, help="length of the archive; 5 seconds per sound if not given")
    parser.add_argument("--minutes", type=float, default=10, help="length of a recording of the archive")
    parser.add_argument("--sample-rate", type=int, default=16000, metavar="HZ")
    parser.add_argument("--recordings", nargs="+", type=Path, metavar="FILE", help="an archive of your own")
    parser.add_argument(
        "--annotations", nargs="+", type=Path, metavar="FILE", help="Raven, Audacity or CSV tables"
    )
    parser.add_argument("--target", nargs="+", metavar="LABEL", help="the sounds to find; all if not given")
    parser.add_argument("--ask", action="store_true", help="ask for labels at the keyboard, for one target")
    parser.add_argument("--duration", type=float, default=1.0, help="length of a window in seconds")
    parser.add_argument("--epochs", type=int, help="epochs of CPC, instead of those of the configuration")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a small archive, few targets, rounds and epochs")
    parser.add_argument("--output", type=Path, metavar="DIR", default=Path("results/agile"))
    options = parser.parse_args()
    if options.quick:
        options.minutes, options.rounds, options.seeds = 1, 2, 2
        options.epochs = 1 if options.epochs is None else options.epochs
    if options.ask and len(options.target or []) != 1:
        parser.error("--ask needs one --target")
    return options


def embed(windows, options):
    """Fit the features on recordings that are not for testing; return the embeddings of all windows by name."""
    rate, n_mels = options.sample_rate, 40 if options.sample_rate < 16000 else 80
    cpc = make_cpc(encoder__sample_rate=rate, encoder__n_mels=n_mels, random_state=0, verbose=1)
    cpc.set_params(max_epochs=cpc.max_epochs if options.epochs is None else options.epochs)
    features = {
        "MFCC": MFCCTransformer(sample_rate=rate),
        "CPC, untrained": clone(cpc).set_params(max_epochs=0),
        "CPC, trained": cpc,
    }
    clips, for_search = windows[["path", "onset", "duration"]], ~windows["is_test"].to_numpy()
    embeddings = {}
    for name in ["CPC, trained"] if options.ask else features:
        start = time.perf_counter()
        features[name].fit(sorted(set(clips["path"][for_search])))
        numbers = features[name].transform(clips)
        embeddings[name] = StandardScaler().fit(numbers[for_search]).transform(numbers)
        print(f"{name:15} fitted and {len(windows)} windows embedded in {time.perf_counter() - start:.0f} s")
    return embeddings


def compare(embeddings, windows, options):
    """Write how every way to propose does with all features, for all targets and seeds."""
    labels, is_test = windows["labels"], windows["is_test"].to_numpy()
    present = [{label for each in labels[is_test == part] for label in each} for part in (False, True)]
    targets = options.target or sorted(present[0] & present[1])[: 2 if options.quick else None]
    if missing := set(targets) - (present[0] & present[1]):
        raise SystemExit(f"agile.py: not in both halves of the recordings: {', '.join(sorted(missing))}")
    start, rows, found = time.perf_counter(), [], None
    for target in targets:
        is_target = np.array([target in each for each in labels])
        n_windows = is_target[~is_test].sum(), is_target[is_test].sum()
        print(f"{target}: {n_windows[0]} windows to find in the searched half, {n_windows[1]} in the other")
        for seed in range(options.seeds):
            for name, numbers in embeddings.items():
                for strategy in STRATEGIES:
                    curve, scores = run_rounds(numbers, is_target, is_test, strategy, options.rounds, seed)
                    rows += [
                        {"target": target, "seed": seed, "features": name, "strategy": strategy, **row}
                        for row in curve
                    ]
                    if found is None and (name, strategy) == ("CPC, trained", next(iter(STRATEGIES))):
                        found = windows.assign(label=target, score=scores)[is_test & (scores > 0)]
    results = pd.DataFrame(rows)
    results.to_csv(options.output / "results.csv", index=False)
    table = results[results["round"].isin([0, options.rounds])]
    columns = ["n_labels", *MEASURES]
    table = table.groupby(["features", "strategy", "round"], sort=False)[columns].mean().reset_index()
    table = table[(table["round"] > 0) | (table["strategy"] == next(iter(STRATEGIES)))]
    table.loc[table.pop("round") == 0, "strategy"] = "(the examples alone)"
    table["n_labels"] = table["n_labels"].round().astype(int)
    summary = {"targets": targets, "hours": windows["duration"].sum() / 3600, "n_windows": len(windows)}
    (options.output / "table.json").write_text(
        json.dumps({**summary, "means": table.to_dict("records")}, indent=1)
    )
    seconds = time.perf_counter() - start
    print(f"\n{len(targets)} targets, {options.seeds} seeds, in {seconds:.0f} s; on the other half:")
    print(table.round(3).to_string(index=False))
    draw(results, options.output / "agile.png")
    write_found(found, options)


def run_rounds(embeddings, is_target, is_test, strategy, n_rounds, seed):
    """Return what is measured on the test windows after every round, and the last scores of all windows."""
    random = np.random.default_rng(seed)
    searched = np.flatnonzero(~is_test)
    examples = random.permutation(np.flatnonzero(is_target & ~is_test))[:N_EXAMPLES]
    detector = Detector(embeddings[searched], np.searchsorted(searched, examples), random)
    curve = []
    for number in range(n_rounds + 1):
        if number:
            rows = detector.propose(STRATEGIES[strategy])
            detector.label(rows, is_target[searched[rows]])
        scores = detector.classifier.decision_function(embeddings)
        curve.append(
            {"round": number, "n_labels": len(detector.labels), **measure(scores[is_test], is_target[is_test])}
        )
    return curve, scores


class Detector:
    """A classifier of windows, and the labels it is fitted on."""

    def __init__(self, embeddings, examples, random):
        self.embeddings, self.random = embeddings, random
        found = EmbeddingIndex(embeddings).query(embeddings[examples], k=len(embeddings))
        similarity = found.groupby("row")["score"].max().reindex(range(len(embeddings)), fill_value=-1.0)
        unlike = np.argsort(similarity.to_numpy())[: len(embeddings) // 2]
        self.background = random.permutation(unlike)[:N_BACKGROUND]
        self.labels = {}  # whether windows have the sound, by row
        self.label(examples, [True] * len(examples))

    def label(self, rows, labels):
        """Add labels, and fit the classifier on all there are, and on the assumed background."""
        self.labels |= dict(zip(np.asarray(rows).tolist(), labels, strict=True))
        assumed = dict.fromkeys(self.background.tolist(), False) | self.labels
        self.classifier = LogisticRegression(C=0.05, class_weight="balanced", max_iter=1000)
        self.classifier.fit(self.embeddings[list(assumed)], list(map(bool, assumed.values())))

    def propose(self, strategy):
        """Return the rows that a strategy proposes, of those that have no label."""
        rows = np.setdiff1d(np.arange(len(self.embeddings)), list(self.labels))
        scores = self.classifier.decision_function(self.embeddings[rows])
        return rows[strategy(scores, self.embeddings[rows], self.random)]


def measure(scores, is_target):
    """Return precision and recall of positive scores, precision of the best 20, and average precision."""
    n_right = (is_target & (scores > 0)).sum()
    return {
        "precision": n_right / max(1, (scores > 0).sum()),
        "recall": n_right / is_target.sum(),
        "precision_at_20": is_target[np.argsort(-scores)[:20]].mean(),
        "average_precision": average_precision_score(is_target, scores),
    }


def ask_rounds(embeddings, windows, options):
    """Ask a person for the labels, round by round, and write what the detector finds."""
    target, random = options.target[0], np.random.default_rng(0)
    examples = np.flatnonzero([target in each for each in windows["labels"]])
    if not len(examples):
        raise SystemExit(f"agile.py: the annotations have no {target}")
    detector = Detector(embeddings, examples, random)
    for number in range(options.rounds):
        rows = detector.propose(propose_likely_and_different)
        print(f"round {number + 1}: is there a {target}? y, n, or q to stop")
        answers = []
        for row in rows:
            window = windows.iloc[row]
            end = window["onset"] + window["duration"]
            answers.append(
                input(f"{window['path']} from {window['onset']:.2f} to {end:.2f} s: ").strip().lower()[:1]
            )
            if answers[-1] == "q":
                break
        known = [(row, answer == "y") for row, answer in zip(rows, answers, strict=False) if answer in ("y", "n")]
        if known:
            detector.label(*zip(*known, strict=True))
        if "q" in answers:
            break
    scores = detector.classifier.decision_function(embeddings)
    scores[[row for row, answer in detector.labels.items() if not answer]] = -np.inf
    write_found(windows.assign(label=target, score=scores)[scores > 0], options)


def write_found(found, options):
    """Write windows as tables that Raven and Audacity open."""
    found = found[["path", "onset", "duration", "label", "score"]]
    for format in ("raven", "audacity") if len(found) else ():
        write_annotations(found, options.output / f"found-{format}", format=format)
    print(f"{len(found)} windows found: see found-raven and found-audacity in {options.output}")


def draw(results, path):
    """Draw what is measured against the number of labels, for every way to propose, with trained CPC."""
    results = results[results["features"] == "CPC, trained"]
    figure, axes = plt.subplots(
        1, len(MEASURES), figsize=(3 * len(MEASURES), 3.6), sharey=True, layout="constrained"
    )
    styles = [("#0072B2", "-o"), ("#CC79A7", "-.D"), ("#D55E00", "--s"), ("#009E73", ":^")]  # colour-blind safe
    for ax, (column, title) in zip(axes, MEASURES.items(), strict=True):
        for strategy, (colour, style) in zip(STRATEGIES, styles, strict=True):
            by_round = results[results["strategy"] == strategy].groupby("round")
            n_labels = by_round["n_labels"].mean()
            mean, error = by_round[column].mean(), by_round[column].sem().fillna(0)
            ax.plot(n_labels, mean, style, color=colour, markersize=5, label=strategy)
            ax.fill_between(n_labels, mean - error, mean + error, color=colour, alpha=0.15, linewidth=0)
        ax.set(title=title, xlabel="labels", ylim=(0, 1.02))
        ax.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.suptitle(
        "on recordings without labels; bands: standard error over targets and seeds", fontsize="medium"
    )
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    main()
