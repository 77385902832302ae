"""Does the unsupervised score rank configurations as a probe with labels would?

    python examples/score_study.py --audio DIR --group-from "^(.)" --json results/score.json

Each variant of the recommended configuration (see ablation.py) is trained once, on all groups but the last. Its
score is computed on the last group, without labels. Its accuracy is that of a logistic regression on its features,
cross-validated over the groups of the entire corpus. A grid search by score makes sense only if the two agree.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from ablation import CHANGES
from scipy.stats import spearmanr

from sklearn_cpc import make_cpc
from sklearn_cpc.datasets import load_audio_folder
from sklearn_cpc.evaluation import compare_representations

# Another task, a choice by the score itself, and variants that equal the recommended configuration.
EXCLUDED = ("12 steps ahead", "best of 30 epochs by score", "bands fully centred", "augmentation: noise, mixing")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--audio", type=Path, metavar="DIR", required=True, help="one folder of recordings per class"
    )
    parser.add_argument(
        "--group-from",
        metavar="REGEX",
        required=True,
        help="pattern that finds the group in a file name",
    )
    parser.add_argument("--variants", nargs="+", metavar="NAME", choices=CHANGES, help="default: all comparable")
    parser.add_argument("--epochs", type=int, help="epochs, instead of those of the configuration")
    parser.add_argument("--json", type=Path, metavar="FILE", default=Path("results/score.json"))
    options = parser.parse_args()
    corpus = load_audio_folder(options.audio, group_from=options.group_from)
    names = options.variants or [name for name in CHANGES if name not in EXCLUDED]
    options.json.parent.mkdir(parents=True, exist_ok=True)
    rows = {}
    with tempfile.TemporaryDirectory() as memory:
        for name in names:
            cpc = make_cpc(**CHANGES[name]).set_params(memory=memory, random_state=0)
            if options.epochs is not None and "max_epochs" not in CHANGES[name]:
                cpc.set_params(max_epochs=options.epochs)
            rows[name] = evaluate(cpc, corpus)
            print(f"{name:36} score {rows[name]['score']:.3f}, accuracy {rows[name]['accuracy']:.3f}", flush=True)
            options.json.write_text(json.dumps(rows, indent=1) + "\n")
    table = pd.DataFrame(rows).T.sort_values("score", ascending=False)
    correlation = spearmanr(table["score"], table["accuracy"])
    print(f"\n{table.round(3).to_string()}")
    print(f"\nrank correlation over {len(table)}: {correlation.statistic:+.2f} (p = {correlation.pvalue:.2f})")


def evaluate(cpc, corpus):
    """Train on all groups but the last; return the score on the last group and the accuracy on all."""
    paths, held_out = np.array(corpus.paths), corpus.groups == max(corpus.groups)
    cpc.fit(paths[~held_out])
    features = cpc.transform(paths)
    table = compare_representations("passthrough", features, corpus.target, groups=corpus.groups, baselines=False)
    return {"score": cpc.score(paths[held_out]), "accuracy": table["mean"].iloc[0]}


if __name__ == "__main__":
    main()
