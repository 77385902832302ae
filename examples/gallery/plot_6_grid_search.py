"""
Grid search over encoders and autoregressors
============================================

A :class:`~sklearn_cpc.CPCTransformer` is tuned like any scikit-learn step: names,
recipes and parameters of recipes are values in a grid. The pipeline is that of the
report: CPC, an autoencoder and a linear probe.
"""

# %%
# The pipeline and the grid
# -------------------------
# Four classes are enough for an example.

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline

from sklearn_cpc import (
    AutoencoderReducer,
    CPCTransformer,
    GRUContext,
    LinearProbe,
    LogMelEncoder,
    LSTMContext,
)
from sklearn_cpc.datasets import make_synthetic_corpus
from sklearn_cpc.displays import ConfusionDisplay, EmbeddingDisplay, LossCurveDisplay

scratch = TemporaryDirectory()  # removed at the end of the session
corpus = make_synthetic_corpus(
    Path(scratch.name, "corpus"),
    n_per_class=12,
    n_groups=4,
    duration=2.0,
    random_state=0,
)
kept = np.isin(corpus.target, ["bird", "clock", "dog", "rain"])
paths, y, sites = np.array(corpus.paths)[kept], corpus.target[kept], corpus.groups[kept]
test = sites == "4"

cpc = CPCTransformer(
    "logmel",
    clip_duration=1.0,
    n_context=44,
    n_future=6,
    objective="info_nce",
    max_epochs=4,
    batch_size=32,
    lr=1e-3,
    pooling=("z_mean", "z_max"),
    memory=str(Path(scratch.name, "decoded")),  # all fits share the decoded recordings
    random_state=0,
)
pipeline = Pipeline(
    [
        ("cpc", cpc),
        ("ae", AutoencoderReducer(16, max_epochs=30, lr=1e-3, random_state=0)),
        ("clf", LinearProbe(max_epochs=30, lr=1e-2, random_state=0)),
    ]
)
grid = [
    {
        "cpc__encoder": [LogMelEncoder(n_filters=64, z_dim=64)],
        "cpc__encoder__n_mels": [20, 64],
        "cpc__autoregressor": [GRUContext(c_dim=64), LSTMContext(c_dim=64)],
    }
]
search = GridSearchCV(pipeline, grid, cv=GroupKFold(2)).fit(
    paths[~test], y[~test], groups=sites[~test]
)

# %%
# The results. ``"conv1d"`` and ``"conv2d"``, the report's large networks, fit into
# the same grid by name: ``{"cpc__encoder": ["conv1d", "conv2d"],
# "cpc__autoregressor": ["gru", "attention"]}``.

results = pd.DataFrame(search.cv_results_)
results = results[
    [
        *results.filter(like="param_"),
        "mean_test_score",
        "std_test_score",
        "mean_fit_time",
    ]
]
results.rename(columns=lambda name: name.replace("param_cpc__", "")).round(2)

# %%
# The best pipeline, at a site that the search never saw:

print(f"accuracy {search.score(paths[test], y[test]):.2f}")
ConfusionDisplay.from_estimator(search, paths[test], y[test])

# %%
# How the network was trained
# ---------------------------

best = search.best_estimator_
LossCurveDisplay.from_estimator(best)

# %%
# The features, by t-SNE
# ----------------------
# Filled points are training recordings, hollow ones are of the new site.

EmbeddingDisplay.from_estimator(
    best, paths[~test], y[~test], paths[test], y[test], random_state=0
)

# %%
# One score of a grid is noisy: :ref:`sphx_glr_gallery_plot_4_does_training_pay.py`
# shows how to compare with an interval. To continue a long search after a stop, set
# ``checkpoint=``; to share it among machines, see :doc:`/clusters`.
