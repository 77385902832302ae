"""Measure what each choice is worth: trained CPC, untrained CPC and MFCCs on a corpus with fixed folds.

    python examples/ablation.py --corpus fsdd --audio DIR --seeds 3 --json results/fsdd.json
    python examples/ablation.py --corpus esc10 --audio DIR --seeds 1 --quick --json results/quick.json
    python examples/ablation.py --corpus esc10 --audio DIR --seeds 3 --variants all --json results/esc10.json

fsdd: the recordings of https://github.com/Jakobovski/free-spoken-digit-dataset, <digit>_<speaker>_<number>.wav
in one folder. One speaker is held out at a time. esc10: the ten classes of https://github.com/karolpiczak/ESC-50
that form ESC-10, one folder per class. Each file name begins with the official fold, which is held out.

Everything is fitted on the training folds alone. A logistic regression on standardised features, with the same
regularization throughout, measures how good the features are. --quick holds out one speaker or fold and uses every
second recording.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import joblib
import numpy as np
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EarlyStopping

from sklearn_cpc import Augmentation, CausalAttentionContext, GRUContext, MFCCTransformer, make_cpc
from sklearn_cpc.datasets import load_audio_folder

REPORT = ("report-conv1d-gru", "report-conv1d-attention", "report-conv2d-gru")
BETTER_TRAINING = {
    "objective__negatives": "mixed",
    "objective__similarity": "cosine",
    "batch_size": 16,
    "lr": 5e-4,
    "schedule": "cosine",
}
LOAD_BEST = {"lower_is_better": False, "load_best": True}
# Changes to the recommended configuration, by name of the variant.
CHANGES = {
    "trained": {},
    # The objective
    "negatives within only": {"objective__negatives": "within"},
    "negatives across only": {"objective__negatives": "across"},
    "negatives across at the same step": {"objective__n_across": None},
    "prediction from the last step": {"objective__predict_from": "last"},
    "12 steps ahead": {"n_context": 38, "n_future": 12},
    "dot product": {"objective__similarity": "dot", "objective__temperature": 16.0},
    "projection to 128": {"objective__projection": 128},
    # The network
    "GRU": {"autoregressor": GRUContext(256)},
    "causal attention": {"autoregressor": CausalAttentionContext(256)},
    "bands not centred": {"encoder__centring": None},
    "only the level subtracted": {"encoder__centring": 0.0},
    "bands half centred": {"encoder__centring": 0.5},
    "bands fully centred": {"encoder__centring": 1.0},
    "bands not smoothed": {"encoder__band_smoothing": 1},
    "silence not trimmed": {"trim": None},
    # The training
    "no augmentation": {"augmentation": None},
    "augmentation: noise, mixing": {"augmentation": Augmentation(noise=(10, 40), mixing=(5, 20))},
    "augmentation: equalization, pitch": {"augmentation": Augmentation(equalization=5, pitch=2)},
    "augmentation: masks": {"augmentation": Augmentation(time_mask=0.2, band_mask=0.2)},
    "constant learning rate": {"schedule": "constant"},
    "3 epochs": {"max_epochs": 3},
    "30 epochs": {"max_epochs": 30},
    "best of 30 epochs by score": {
        "max_epochs": 30,
        "validation_fraction": 0.1,
        "callbacks": [EarlyStopping("valid_score", patience=30, **LOAD_BEST)],
    },
}
# Other configurations: those of the report unchanged, and those of the report with better training.
CONFIGURATIONS = {
    "small-corpus": ("small-corpus", {}),
    "speech": ("speech", {}),
    **{name: (name, {"lr": 2e-4}) for name in REPORT},
    **{
        f"{name}, better trained": (
            name,
            {**BETTER_TRAINING, "objective__predict_from": "last" if "attention" in name else "all"},
        )
        for name in REPORT
    },
}
# Poolings of the same network.
POOLINGS = {
    "mel bands": ("mel_mean", "mel_std", "mel_max"),
    "centred bands": ("centred_mean", "centred_std", "centred_max"),
    "max of z": ("z_max",),
    "max of c": ("c_max",),
    "max of z, c": ("z_max", "c_max"),
    "mean, std, max of z": ("z_mean", "z_std", "z_max"),
    "mean, std, max of c": ("c_mean", "c_std", "c_max"),
    "mean, std, max of z, c": ("z_mean", "z_std", "z_max", "c_mean", "c_std", "c_max"),
    "std, max of z, c": ("z_std", "z_max", "c_std", "c_max"),
    "std, max of z, c, mean of mel bands": ("mel_mean", "z_std", "z_max", "c_std", "c_max"),
    "max of z, c, mean of mel bands": ("mel_mean", "z_max", "c_max"),
    "max of z, c, mean, max of centred bands": ("centred_mean", "centred_max", "z_max", "c_max"),
    "thirds, max of z, c": ("z_max", "z_thirds", "c_max", "c_thirds"),
}


def main():
    options = read_options()
    corpus = READERS[options.corpus](options.audio)
    if options.quick:
        corpus = [values[::2] for values in corpus]
    paths, target, groups = corpus
    folds = list(LeaveOneGroupOut().split(paths, target, groups))[: 1 if options.quick else None]
    names = [*CHANGES, *CONFIGURATIONS] if "all" in options.variants else options.variants
    tasks = [("mfcc", 0, fold) for fold in range(len(folds))]
    tasks += [(name, seed, fold) for name in names for seed in range(options.seeds) for fold in range(len(folds))]
    print(f"{len(paths)} recordings, {len(folds)} fold(s), {len(names)} variant(s), {options.seeds} seed(s)")

    options.json.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory() as memory:
        for rate in (8000, 16000, 22050):  # decode all files before the parallel part
            MFCCTransformer(sample_rate=rate, memory=memory).fit(paths)
        pool = joblib.Parallel(n_jobs=options.jobs, return_as="generator")
        for result in pool(
            joblib.delayed(evaluate)(*task, corpus, RECOMMENDED[options.corpus], folds[task[2]], options, memory)
            for task in tasks
        ):
            rows += result
            print(format_row(result[0]), flush=True)
            options.json.write_text(json.dumps(summarize(rows, options), indent=1) + "\n")
    print(f"\n{format_table(rows)}\n\n{rank_correlation(rows)}")


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", choices=READERS, required=True)
    parser.add_argument("--audio", type=Path, metavar="DIR", required=True)
    parser.add_argument("--seeds", type=int, default=3, help="trainings per fold, each with its own seed")
    parser.add_argument("--quick", action="store_true", help="one fold, every second recording")
    parser.add_argument(
        "--variants",
        nargs="+",
        metavar="NAME",
        choices=[*CHANGES, *CONFIGURATIONS, "all"],
        default=["trained"],
        help="names from CHANGES and CONFIGURATIONS in this file, or all",
    )
    parser.add_argument("--epochs", type=int, help="epochs of every variant, instead of its own")
    parser.add_argument("--poolings", action="store_true", help="evaluate more poolings of the same networks")
    parser.add_argument("--jobs", type=int, default=joblib.cpu_count(), help="trainings in parallel")
    parser.add_argument("--json", type=Path, metavar="FILE", default=Path("results/ablation.json"))
    return parser.parse_args()


def read_fsdd(directory):
    """Return paths, digits and speakers of <digit>_<speaker>_<number>.wav."""
    paths = sorted(map(str, directory.glob("*.wav")))
    if not paths:
        raise SystemExit(f"{directory} has no .wav files; give the folder of <digit>_<speaker>_<number>.wav.")
    digits, speakers, _ = zip(*(Path(path).stem.split("_") for path in paths), strict=True)
    return np.array(paths), np.array(digits), np.array(speakers)


def read_esc10(directory):
    """Return paths, classes and official folds."""
    corpus = load_audio_folder(directory, group_from="^([1-5])-")
    return np.array(corpus.paths), corpus.target, corpus.groups


READERS = {"fsdd": read_fsdd, "esc10": read_esc10}
# Telephone speech has nothing above 4 kHz; 40 bands below it are as dense as 64 bands up to 8 kHz.
RECOMMENDED = {
    "fsdd": ("speech", {"encoder__sample_rate": 8000, "encoder__n_mels": 40}),
    "esc10": ("small-corpus", {}),
}


def evaluate(name, seed, fold, corpus, recommended, split, options, memory):
    """Fit on the training part of a fold; return one row of results per pooling."""
    (paths, target, groups), (train, test) = corpus, split
    identity = {"seed": seed, "fold": fold, "held_out": str(groups[test[0]])}
    if name == "mfcc":
        start = time.perf_counter()
        features = MFCCTransformer(memory=memory).fit_transform(paths)
        seconds = time.perf_counter() - start
        return [{"name": name, **identity, "accuracy": probe(features, target, split), "seconds": seconds}]
    cpc = make_variant(name, *recommended).set_params(memory=memory, random_state=seed)
    if options.epochs is not None:
        cpc.set_params(max_epochs=options.epochs)
    start = time.perf_counter()
    cpc.fit(paths[train])
    seconds = time.perf_counter() - start
    twin = clone(cpc).set_params(max_epochs=0, callbacks=None).fit(paths[train])
    score = cpc.score(paths[split[1]])
    poolings = {name: cpc.pooling}
    if options.poolings:
        poolings |= {f"{name}: {label}": pooling for label, pooling in POOLINGS.items()}
    trained, untrained = (embed(estimator, paths, poolings) for estimator in (cpc, twin))
    return [
        {
            "name": label,
            **identity,
            "accuracy": probe(trained[label], target, split),
            "untrained": probe(untrained[label], target, split),
            "seconds": seconds,
            **({"score": score} if label == name else {}),
        }
        for label in poolings
    ]


def make_variant(name, recommended, corpus_settings):
    """Return a configuration with its changes, adapted to the corpus unless it is one of the report."""
    configuration, changes = CONFIGURATIONS.get(name, (recommended, CHANGES.get(name)))
    settings = {} if configuration in REPORT else corpus_settings
    return make_cpc(configuration, **settings, **changes)


def embed(cpc, paths, poolings):
    """Return the features of several poolings, by name, from one pass over the recordings."""
    parts = list(dict.fromkeys(part for pooling in poolings.values() for part in as_tuple(pooling)))
    features = cpc.set_params(pooling=tuple(parts)).transform(paths)
    widths = [cpc.set_params(pooling=part).get_feature_names_out().size for part in parts]
    columns = dict(zip(parts, np.split(features, np.cumsum(widths)[:-1], axis=1), strict=True))
    return {name: np.hstack([columns[part] for part in as_tuple(pooling)]) for name, pooling in poolings.items()}


def as_tuple(pooling):
    return (pooling,) if isinstance(pooling, str) else pooling


def probe(features, target, split):
    """Return the test accuracy of a logistic regression fitted on the training part."""
    train, test = split
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=1000))
    return model.fit(features[train], target[train]).score(features[test], target[test])


def summarize(rows, options):
    """Return mean accuracies by name, the options and every single result."""
    means = {name: float(np.mean(values)) for name, values in by_name(rows, "accuracy").items()}
    untrained = by_name([row for row in rows if row["name"] == "trained"], "untrained")
    if untrained:
        means["untrained"] = float(np.mean(untrained["trained"]))
    return {**means, "corpus": options.corpus, "quick": options.quick, "results": rows}


def by_name(rows, key):
    """Collect one value of all rows, by name."""
    values = {}
    for row in rows:
        values.setdefault(row["name"], []).append(row[key])
    return values


def format_row(row):
    """Format one result as a line of text."""
    twin = f", untrained {row['untrained']:.3f}" if "untrained" in row else ""
    origin = f"seed {row['seed']}, without {row['held_out']}"
    return f"{row['name']:36} {origin:24} {row['accuracy']:.3f}{twin}, {row['seconds']:.0f} s"


def format_table(rows):
    """Format accuracies in percent, and differences from the untrained twin, as a Markdown table."""
    lines = [
        "| features | accuracy | untrained twin | difference | better in | score | fit (s) |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, accuracy in by_name(rows, "accuracy").items():
        selected = [row for row in rows if row["name"] == name]
        seconds = np.mean([row["seconds"] for row in selected])
        cells = "| | | "
        if name != "mfcc":
            gain = 100 * np.array([row["accuracy"] - row["untrained"] for row in selected])
            error = f" (s.e. {gain.std(ddof=1) / np.sqrt(len(gain)):.1f})" if len(gain) > 1 else ""
            twin = 100 * np.mean([row["untrained"] for row in selected])
            scores = [row["score"] for row in selected if "score" in row]
            score = f"{np.mean(scores):.3f}" if scores else ""
            cells = f"{twin:.1f} | {gain.mean():+.1f}{error} | {(gain > 0).sum()} of {len(gain)} | {score}"
        lines.append(f"| {name} | {100 * np.mean(accuracy):.1f} | {cells} | {seconds:.0f} |")
    return "\n".join(lines)


def rank_correlation(rows):
    """Report whether the unsupervised score ranks the variants as the probe does."""
    trained = [row for row in rows if "score" in row]
    scores, accuracies = by_name(trained, "score"), by_name(trained, "accuracy")
    if len(scores) < 3:
        return "too few variants to rank"
    means = [[np.mean(values[name]) for name in scores] for values in (scores, accuracies)]
    correlation = spearmanr(*means)
    return (
        f"score and accuracy of {len(scores)} variants: rank correlation {correlation.statistic:+.2f} "
        f"(p = {correlation.pvalue:.2f})"
    )


if __name__ == "__main__":
    main()
