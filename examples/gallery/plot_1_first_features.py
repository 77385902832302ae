"""
First features
==============

Learn features from recordings without labels, classify with them, and see whether
they are any good: beside plain MFCCs and beside the same network untrained.
"""

# %%
# Recordings
# ----------
# The corpus has eight classes of sound, recorded at five sites. Each site has its own
# noise and reverberation.

from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Audio
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_cpc import MFCCTransformer, make_cpc
from sklearn_cpc.datasets import make_synthetic_corpus
from sklearn_cpc.displays import ConfusionDisplay, LossCurveDisplay, RecordingDisplay

scratch = TemporaryDirectory()  # removed at the end of the session
corpus = make_synthetic_corpus(
    scratch.name, n_per_class=10, n_groups=5, duration=1.0, random_state=0
)
paths, y = np.array(corpus.paths), corpus.target
print(len(paths), "recordings of", *corpus.target_names)

# %%
# A bird:

Audio(paths[y == "bird"][0])

# %%
# A siren. An alarm is the same, played backwards:

Audio(paths[y == "siren"][0])

# %%
# Train and compare
# -----------------
# Two sites are for testing, so that no test recording shares its noise with a
# training recording. Three kinds of features get the same classifier.
# ``max_epochs=0`` leaves the network untrained.

test = np.isin(corpus.groups, ["4", "5"])
train = ~test
features = {
    "MFCC": MFCCTransformer(),
    "untrained": make_cpc(max_epochs=0, random_state=0),
    "trained": make_cpc(max_epochs=12, random_state=0),
}
pipelines = {
    name: make_pipeline(
        transformer, StandardScaler(), LogisticRegression(C=0.05, max_iter=1000)
    )
    for name, transformer in features.items()
}
accuracies = {
    name: pipe.fit(paths[train], y[train]).score(paths[test], y[test])
    for name, pipe in pipelines.items()
}

figure, axes = plt.subplots(figsize=(6, 2))
bars = axes.barh(
    list(accuracies),
    list(accuracies.values()),
    color=["tab:gray", "tab:blue", "tab:orange"],
)
axes.bar_label(bars, fmt=" {:.2f}")
axes.set(xlabel="accuracy at new sites", xlim=(0, 1.1))
figure.tight_layout()

# %%
# This is one split with 32 test recordings, so small differences mean nothing.
# :func:`~sklearn_cpc.evaluation.compare_representations` cross-validates and adds
# intervals: :ref:`sphx_glr_gallery_plot_4_does_training_pay.py`.
#
# What is confused?
# -----------------
# The bars show how often each class occurs (right) and how often it is predicted
# (top).

ConfusionDisplay.from_estimator(pipelines["trained"], paths[test], y[test])

# %%
# What happened in training?
# --------------------------
# The loss falls from near the level of chance.

LossCurveDisplay.from_estimator(pipelines["trained"])

# %%
# What does the network hear?
# ---------------------------
# Each row of the lower images is one dimension of the embedding z or of the context
# c, over the time of a recording.

RecordingDisplay.from_estimator(pipelines["trained"], paths[y == "bird"][0])
