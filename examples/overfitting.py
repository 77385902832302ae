"""Find out which part over-fits, the network or the probe, as in the report's section 4.

    python examples/overfitting.py                                   # a synthetic corpus
    python examples/overfitting.py --audio DIR --group-from "^(.)"   # your own, one folder per class

The groups of the corpus are divided into A, B and C. CPC is trained on A, one probe on A and another on B, and the
probe trained on B is tested on C. A gap that the untrained network also has is not over-fitting of the network.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from sklearn_cpc import make_cpc
from sklearn_cpc.datasets import load_audio_folder, make_synthetic_corpus
from sklearn_cpc.evaluation import overfitting_gaps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, metavar="DIR", help="one folder of recordings per class")
    parser.add_argument("--group-from", metavar="REGEX", help="pattern that finds the group in a file name")
    parser.add_argument("--epochs", type=int, help="epochs, instead of those of the configuration")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    cpc = make_cpc(verbose=1)
    cpc.set_params(max_epochs=cpc.max_epochs if options.epochs is None else options.epochs)
    with tempfile.TemporaryDirectory() as scratch:
        if options.audio is None:
            corpus = make_synthetic_corpus(scratch, n_per_class=24, n_groups=6, random_state=0)
        else:
            corpus = load_audio_folder(options.audio, group_from=options.group_from)
        table = overfitting_gaps(cpc, *split_in_three(corpus), n_seeds=options.seeds)
    print(table.T.round(3).to_string())


def split_in_three(corpus):
    """Return A, B and C, each (paths, classes, groups); recordings of a group stay together."""
    paths, rows = np.array(corpus.paths), np.arange(len(corpus.paths))
    groups = rows if corpus.groups is None else np.unique(corpus.groups, return_inverse=True)[1]
    kept_together = groups if groups.max() >= 5 else rows  # folds by group need two groups in each part
    parts = [groups % 3 == part for part in range(3)]
    return [(paths[part], corpus.target[part], kept_together[part]) for part in parts]


if __name__ == "__main__":
    main()
