"""
Your own folders of recordings
==============================

Start from folders of files, or from a table of paths, labels and groups. Cross-validate so that recordings of
one site are never on both sides of a split, and see what happens otherwise.
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

import pandas as pd
from IPython.display import Audio
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_cpc import MFCCTransformer, make_cpc
from sklearn_cpc.datasets import load_audio_folder, make_synthetic_corpus

scratch = TemporaryDirectory()  # removed at the end of the session
recordings = Path(scratch.name, "recordings")
make_synthetic_corpus(recordings, n_per_class=12, n_groups=4, duration=1.5, random_state=1)

# %%
# ``group_from`` is a regular expression that finds the group in a file name: here, the site.

corpus = load_audio_folder(recordings, group_from=r"^(\d+)-")
table = pd.DataFrame({"path": corpus.paths, "label": corpus.target, "site": corpus.groups})
table.assign(path=[Path(path).relative_to(recordings) for path in corpus.paths]).sample(5, random_state=0)

# %%
# A table
# -------
# If your files lie elsewhere, make such a table yourself, from a spreadsheet for example. The column of paths is
# X:

X, y, groups = table["path"], table["label"], table["site"]
Audio(X.iloc[0])

# %%
# Cross-validate without leakage
# ------------------------------
# The classifier can recognise a site by its noise. If recordings of one site are on both sides of a split, the
# score is that of a site which the classifier knows. The same pipelines, once split at random, once by site:

pipelines = {
    "MFCC": make_pipeline(MFCCTransformer(), StandardScaler(), LogisticRegression(max_iter=1000)),
    "untrained network": make_pipeline(
        make_cpc(max_epochs=0, random_state=0), StandardScaler(), LogisticRegression(C=0.05, max_iter=1000)
    ),
}
folds = {
    "split at random": {"cv": StratifiedKFold(4, shuffle=True, random_state=0)},
    "split by site": {"cv": GroupKFold(4), "groups": groups},
}
pd.DataFrame(
    {
        kind: {name: cross_val_score(pipe, X, y, **how).mean() for name, pipe in pipelines.items()}
        for kind, how in folds.items()
    }
).round(2)

# %%
# Only the column "split by site" says how well new sites will do. ``GridSearchCV`` and the functions of
# :mod:`sklearn_cpc.evaluation` take ``groups`` in the same way.
#
# Parts of recordings
# -------------------
# Annotation tables with times work as they are: each row is a clip.

clips = pd.DataFrame({"path": X[:3].to_numpy(), "onset": [0.0, 0.5, 0.2], "duration": [1.0, 1.0, 0.8]})
MFCCTransformer().fit_transform(clips).shape

# %%
# Files that cannot be read
# -------------------------
# By default, one error lists all of them before training starts. With ``on_error="nan"`` there is a warning
# instead, and their rows are NaN, so that no row moves. A callable gets the reasons in place of the warning:

broken = recordings / "broken.wav"
broken.write_bytes(b"not audio")
reasons = {}
rows = MFCCTransformer(on_error=reasons.update).fit_transform([X.iloc[0], str(broken)])
print(rows[:, 0].round(1), *reasons.values())

# %%
# The page :doc:`/your-own-folder` has all forms of X, formats and limits.
