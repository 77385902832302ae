"""
Your own folders of recordings
==============================

Start from folders of files, or from a table of paths, labels and groups. Cross-
validate so that recordings of one site are never on both sides of a split, and see
what happens otherwise.
"""

# %%
# A folder per class
# ------------------
# For the example, we write recordings to folders. Yours are already there:
#
# .. code-block:: text
#
#     recordings/
#       bird/  1-0001.wav  2-0002.wav ...
#       dog/   1-0001.wav  ...

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Audio
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_cpc import MFCCTransformer, make_cpc, sample_clips
from sklearn_cpc.datasets import load_audio_folder, make_synthetic_corpus

scratch = TemporaryDirectory()  # removed at the end of the session
recordings = Path(scratch.name, "recordings")
make_synthetic_corpus(
    recordings, n_per_class=8, n_groups=4, duration=2.0, random_state=1
)

# %%
# ``group_from`` is a regular expression that finds the group in a file name: here,
# the site.

corpus = load_audio_folder(recordings, group_from=r"^(\d+)-")
table = pd.DataFrame(
    {"path": corpus.paths, "label": corpus.target, "site": corpus.groups}
)
table.assign(path=[Path(path).relative_to(recordings) for path in corpus.paths]).sample(
    5, random_state=0
)

# %%
# A table
# -------
# If your files lie elsewhere, make such a table yourself, from a spreadsheet for
# example. The column of paths is X:

X, y, groups = table["path"], table["label"], table["site"]
Audio(X.iloc[0])

# %%
# Parts of recordings
# -------------------
# Annotation tables with times work as they are: each row is a clip.

clips = pd.DataFrame(
    {"path": X[:3].to_numpy(), "onset": [0.0, 0.5, 0.2], "duration": [1.0, 1.0, 0.8]}
)
print(MFCCTransformer().fit_transform(clips).shape)

# %%
# Cross-validate without leakage
# ------------------------------
# Here every recording is cut into three clips. Clips of one recording resemble each
# other, and so do recordings of one site. If they are on both sides of a split, the
# score is that of sounds which the classifier knows. The same features and
# classifiers, once split at random, once by site:

clips, recording = sample_clips(X, 3, duration=0.5)
y_clips, site = y.to_numpy()[recording], groups.to_numpy()[recording]
folds = {
    "split at random": {"cv": StratifiedKFold(4, shuffle=True, random_state=0)},
    "split by site": {"cv": GroupKFold(4), "groups": site},
}
features = {
    "MFCC": MFCCTransformer(),
    "untrained network": make_cpc(max_epochs=0, random_state=0),
}
classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=1000))
accuracy = {name: {} for name in features}
for name, transformer in features.items():
    # Nothing is learned here. A network that is trained belongs into the pipeline.
    rows = transformer.fit_transform(clips)
    for kind, how in folds.items():
        accuracy[name][kind] = cross_val_score(classifier, rows, y_clips, **how).mean()
figure, axes = plt.subplots(figsize=(8, 2.5), layout="constrained")
pd.DataFrame(accuracy).T.plot.barh(ax=axes, xlabel="accuracy", xlim=(0, 1.1))
axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
for bars in axes.containers:
    axes.bar_label(bars, fmt=" {:.2f}")

# %%
# Only "split by site" says how well new sites will do. ``GridSearchCV`` and the
# functions of :mod:`sklearn_cpc.evaluation` take ``groups`` in the same way. Without
# groups, pass ``recording`` as groups.
#
# Files that cannot be read
# -------------------------
# By default, one error lists all of them before training starts. With
# ``on_error="nan"`` there is a warning instead, and their rows are NaN, so that no
# row moves. A callable gets the reasons in place of the warning:

broken = recordings / "broken.wav"
broken.write_bytes(b"not audio")
reasons = {}
rows = MFCCTransformer(on_error=reasons.update).fit_transform([X.iloc[0], str(broken)])
print(rows[:, 0].round(1), *reasons.values())

# %%
# The page :doc:`/your-own-folder` has all forms of X, formats and limits.
