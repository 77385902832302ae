"""Which measure ranks configurations as labels would, without any labels?

    python examples/score_study.py --audio DIR --json docs/score.json --page docs/evaluation.md

Every configuration is fitted to some recordings of every corpus, and measured without their labels. Its accuracy
is that of a logistic regression on its features, in five folds that keep groups apart. A measure is useful if it
ranks the configurations as the accuracy does. The combinations, sums of two ranks, were fixed beforehand.

The corpora are those of evidence.py: --audio finds known ones, --corpus adds others. Each result is written to
the JSON file as soon as it exists, and a second run computes only what is missing.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from evidence_corpora import add_corpus_options, limit_rows, prepare, read_corpora
from pages import replace_part
from torch.nn.functional import normalize

from sklearn_cpc import GRUContext, make_cpc
from sklearn_cpc.archive import cut_windows
from sklearn_cpc.evaluation import compare_representations
from sklearn_cpc.training.embedding import make_forecasts

POOLED = {"pooling": ("mel_mean", "mel_std", "mel_max", "z_max", "c_max")}  # by all, so that networks differ alone
NETWORKS = {  # changes that matter for untrained networks too
    "recommended": {},
    "bands half centred": {"encoder__centring": 0.5},
    "bands not centred": {"encoder__centring": None},
    "bands not smoothed": {"encoder__band_smoothing": 1},
    "z of 32": {"encoder__z_dim": 32, "encoder__n_filters": 32},
    "windows of 128 ms": {"encoder__window_duration": 0.128},
}
TRAININGS = {
    "no augmentation": {"augmentation": None},
    "3 epochs": {"max_epochs": 3},
    "30 epochs": {"max_epochs": 30},
    "lr 1e-4": {"lr": 1e-4},
    "lr 3e-3": {"lr": 3e-3},
    "negatives within only": {"objective__negatives": "within"},
    "negatives across only": {"objective__negatives": "across"},
    "temperature 0.5": {"objective__temperature": 0.5},
    "projection to 64": {"objective__projection": 64},
    "1 step ahead": {"n_future": 1, "n_context": 49},
    "20 steps ahead": {"n_future": 20, "n_context": 30},
    "GRU of 64": {"autoregressor": GRUContext(64)},
}
CONFIGURATIONS = {
    **{f"{name}, untrained": {**change, "max_epochs": 0} for name, change in NETWORKS.items()},
    **NETWORKS,
    **TRAININGS,
}
COMBINATIONS = [("score", "LiDAR"), ("other recordings, first step", "LiDAR"), ("score", "RankMe")]
N_NEGATIVES = 31
LONG = 3600.0  # seconds, longer than any recording
MIN_SHARE = 1e-7  # of a singular value; keeps logarithms finite
FIRST_RANK, LAST_RANK = 3, 60  # singular values through which alpha-ReQ fits a line
WITHIN_FLOOR = 1e-3  # added to the variance within recordings by LiDAR


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_corpus_options(parser)
    parser.add_argument("--configurations", nargs="+", metavar="NAME", choices=CONFIGURATIONS)
    parser.add_argument("--recordings", type=int, default=300, help="at most, of a corpus")
    parser.add_argument("--epochs", type=int, default=12, help="epochs of configurations that set none")
    parser.add_argument("--quick", action="store_true", help="40 recordings, 1 epoch")
    parser.add_argument("--json", type=Path, metavar="FILE", default=Path("results/score.json"))
    parser.add_argument("--page", type=Path, metavar="FILE", help="page whose table to replace")
    options = parser.parse_args()
    if options.quick:
        options.recordings, options.epochs = 40, 1
    results = json.loads(options.json.read_text()) if options.json.exists() else {}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    corpora = read_corpora(options)
    for corpus in corpora:
        corpus = limit_rows(corpus, options.recordings // len(set(corpus.target)))
        rows = results.setdefault(corpus.name, {})
        with tempfile.TemporaryDirectory() as memory:
            settings = prepare(corpus, memory, n_jobs=None) | {"memory": memory, "random_state": 0} | POOLED
            for name in options.configurations or CONFIGURATIONS:
                if name not in rows:
                    change = {"max_epochs": options.epochs, **CONFIGURATIONS[name]}
                    rows[name] = evaluate(make_cpc(**(settings | change)), corpus)
                    print(f"{corpus.name}, {name}: {rows[name]}", flush=True)
                    options.json.write_text(json.dumps(results, indent=1) + "\n")
    table = as_table(results)
    print(f"\n{table}")
    if options.page:
        replace_part(options.page, "score study", table)


def evaluate(cpc, corpus):
    """Fit; return the accuracy with labels and all measures without them, for which higher is better."""
    features = cpc.fit(corpus.paths).transform(corpus.paths)
    probe = compare_representations("passthrough", features, corpus.target, groups=corpus.groups, baselines=False)
    whole = cut_windows(corpus.paths, duration=LONG)
    halves = whole.assign(duration=whole["duration"] / 2)
    second = halves.assign(onset=halves["onset"] + halves["duration"])
    learned = cpc.network_.dims["z"] + cpc.network_.dims["c"]  # the last ones
    features, first, second = (
        standardise(part[:, -learned:]) for part in (features, cpc.transform(halves), cpc.transform(second))
    )
    steps = measure_steps(cpc, corpus.paths)
    return {
        "accuracy": float(probe["mean"].iloc[0]),
        "score": cpc.score(corpus.paths),
        "other recordings, first step": steps[0],
        "other recordings, last step": steps[-1],
        "training loss": -cpc.history_[-1]["train_loss"] if cpc.history_ else None,
        "RankMe": measure_rank(features),
        "alpha-ReQ": measure_decay(features),
        "LiDAR": measure_lidar(first, second),
        "own other half": find_halves(first, second),
    }


def standardise(features):
    """Bring every feature to mean 0 and standard deviation 1, or 0 if it is constant."""
    return (features - features.mean(0)) / np.maximum(features.std(0), 1e-9)


def measure_steps(cpc, paths):
    """Return the accuracy of every step ahead, among windows of other recordings; one clip per recording."""
    samples = cpc._open(paths).read().trimmed(cpc.trim)
    how = {"n_clips": 1, "batch_size": 64, "device": torch.device("cpu")}
    with torch.inference_mode():
        forecasts = list(make_forecasts(cpc.network_.eval(), samples, **how))
    clips = [
        (normalize(z[:n], dim=-1), predictions, positions, int(n))
        for forecast in forecasts
        for z, predictions, positions, n in zip(
            forecast.z, forecast.predictions, forecast.positions, forecast.n_valid, strict=True
        )
    ]
    windows = torch.cat([z for z, *_ in clips])
    owners = torch.repeat_interleave(torch.arange(len(clips)), torch.tensor([len(z) for z, *_ in clips]))
    generator = torch.Generator().manual_seed(0)
    hits = {}
    for number, (z, predictions, positions, n_valid) in enumerate(clips):
        rivals = torch.randint(len(windows), (N_NEGATIVES,), generator=generator)
        rivals = windows[rivals[owners[rivals] != number]]
        for step in range(1, predictions.shape[1] + 1):
            heard = positions + step < n_valid
            if heard.any():
                predicted = normalize(predictions[heard, step - 1], dim=-1)
                true = (predicted * z[positions[heard] + step]).sum(-1)
                wins = true[:, None] - 1e-6 > predicted @ rivals.T
                hits.setdefault(step, []).append(float(wins.all(1).float().mean()))
    return [float(np.mean(hits[step])) for step in sorted(hits)]


def measure_rank(features):
    """Return the effective rank (RankMe, Garrido et al. 2023): exp of the entropy of the singular values."""
    return entropy_rank(np.linalg.svd(features, compute_uv=False))


def entropy_rank(values):
    """Return exp of the entropy of values, scaled to a sum of 1."""
    shares = values / values.sum() + MIN_SHARE
    return float(np.exp(-(shares * np.log(shares)).sum()))


def measure_decay(features):
    """Return how slowly the spectrum decays (alpha-ReQ, Agrawal et al. 2022): the exponent of a power law."""
    values = np.linalg.svd(features, compute_uv=False)[FIRST_RANK - 1 : LAST_RANK] ** 2
    ranks = np.arange(FIRST_RANK, FIRST_RANK + len(values))
    return float(np.polyfit(np.log(ranks), np.log(values + 1e-12), 1)[0])


def measure_lidar(first, second):
    """Return the effective rank between recordings, whitened within them (LiDAR, Thilak et al. 2024)."""
    centre = (first + second) / 2
    within = np.concatenate([first - centre, second - centre])
    within = within.T @ within / len(within) + WITHIN_FLOOR * np.eye(within.shape[1])
    values, vectors = np.linalg.eigh(within)
    whitened = centre @ (vectors * values**-0.5)
    return entropy_rank(np.linalg.svd(whitened - whitened.mean(0), compute_uv=False))


def find_halves(first, second):
    """Return how often the nearest second half of all recordings is a recording's own, by cosine."""
    first, second = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (first, second))
    return float(((first @ second.T).argmax(1) == np.arange(len(first))).mean())


def as_table(results):
    """Return a Markdown table of the rank correlations of all measures and pairs with the accuracy."""
    columns = {}
    for corpus, rows in results.items():
        table = pd.DataFrame(rows).T
        for kind, part in ("all", table), ("trained", table[~table.index.str.endswith("untrained")]):
            accuracy, ranks = part["accuracy"], part.drop(columns="accuracy").astype(float).fillna(-np.inf).rank()
            for one, other in COMBINATIONS:
                ranks[f"{one} + {other}"] = ranks[one] + ranks[other]
            columns[f"{corpus}, {kind} ({len(part)})"] = ranks.corrwith(accuracy.rank())
    table = pd.DataFrame(columns).round(2)
    lines = [f"| measure | {' | '.join(table.columns)} |", "|---" * (table.shape[1] + 1) + "|"]
    lines += [f"| {name} | {' | '.join(f'{value:+.2f}' for value in row)} |" for name, row in table.iterrows()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
