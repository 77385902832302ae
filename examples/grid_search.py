"""Choose an encoder and an autoregressor by grid search, as for any scikit-learn pipeline.

    python examples/grid_search.py                                       # a synthetic corpus
    python examples/grid_search.py --audio DIR --group-from "^(.)"       # your own, one folder per class
    python examples/grid_search.py --audio DIR --names --epochs 10       # the report's networks, by name

Names stand for the report's networks, which are large. Recipes of the same kind make smaller networks. All fits
share the decoded recordings through ``memory``.
"""

import argparse
import tempfile
from pathlib import Path

import pandas as pd
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedKFold
from sklearn.pipeline import Pipeline

from sklearn_cpc import (
    AttentionContext,
    AutoencoderReducer,
    Conv1dEncoder,
    Conv2dEncoder,
    CPCTransformer,
    GRUContext,
    LinearProbe,
)
from sklearn_cpc.datasets import load_audio_folder, make_synthetic_corpus

NAMES = {"cpc__encoder": ["conv1d", "conv2d"], "cpc__autoregressor": ["gru", "attention"]}
RECIPES = [
    {
        "cpc__encoder": [Conv1dEncoder(n_filters=64, dense_units=128, z_dim=128)],
        "cpc__autoregressor": [GRUContext(c_dim=128), AttentionContext(dense_units=(64, 128))],
    },
    {
        "cpc__encoder": [Conv2dEncoder(n_filters=(8, 16, 32, 64), dense_units=128, z_dim=128)],
        "cpc__autoregressor": [GRUContext(c_dim=128), AttentionContext(dense_units=(64, 128))],
        "cpc__encoder__n_mels": [32, 64],
    },
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, metavar="DIR", help="one folder of recordings per class")
    parser.add_argument(
        "--group-from", metavar="REGEX", help="pattern that finds the fold or speaker in a file name"
    )
    parser.add_argument("--names", action="store_true", help="use the report's full-size networks")
    parser.add_argument("--epochs", type=int, default=5, help="passes of CPC over the audio")
    parser.add_argument("--jobs", type=int, default=1, help="fits in parallel")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        if options.audio is None:
            corpus = make_synthetic_corpus(f"{scratch}/corpus", n_per_class=10, random_state=0)
        else:
            corpus = load_audio_folder(options.audio, group_from=options.group_from)
        cpc = CPCTransformer(
            max_epochs=options.epochs, lr=5e-4, pooling=("z_mean", "z_std"), memory=scratch, random_state=0
        )
        pipeline = Pipeline(
            [
                ("cpc", cpc),
                ("ae", AutoencoderReducer(max_epochs=100, lr=1e-3, random_state=0)),
                ("clf", LinearProbe(max_epochs=100, lr=1e-2, random_state=0)),
            ]
        )
        search = GridSearchCV(
            pipeline,
            NAMES if options.names else RECIPES,
            cv=StratifiedKFold(3) if corpus.groups is None else GroupKFold(3),
            n_jobs=options.jobs,
            verbose=2,
        )
        search.fit(corpus.paths, corpus.target, groups=corpus.groups)

    columns = [f"param_{name}" for name in ("cpc__encoder", "cpc__autoregressor", "cpc__encoder__n_mels")]
    table = pd.DataFrame(search.cv_results_).reindex(
        columns=[*columns, "mean_test_score", "std_test_score", "mean_fit_time"]
    )
    for column in columns[:2]:
        table[column] = table[column].map(lambda part: part if isinstance(part, str) else type(part).__name__)
    table.columns = ["encoder", "autoregressor", "n_mels", "accuracy", "std", "fit (s)"]
    print(table.sort_values("accuracy", ascending=False).round(3).to_string(index=False, na_rep=""))


if __name__ == "__main__":
    main()
