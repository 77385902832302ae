"""
Search in an archive of long recordings
=======================================

You have long recordings and one example of a call. Cut the archive into windows,
embed them once, find the windows that sound most like the example, and look at all of
them on a map.
"""

# %%
# An archive
# ----------
# Two recordings of 90 seconds, with sounds at known times in noise. You would list
# your own files here.

import html
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import soundfile
from IPython.display import HTML, Audio
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_cpc import make_cpc
from sklearn_cpc.archive import (
    EmbeddingIndex,
    cut_windows,
    embed_archive,
    label_windows,
    write_annotations,
)
from sklearn_cpc.datasets import make_synthetic_corpus
from sklearn_cpc.displays import EmbeddingMap

RATE = 22050  # Hz
scratch = TemporaryDirectory()  # removed at the end of the session
sounds = make_synthetic_corpus(
    Path(scratch.name, "sounds"),
    n_per_class=5,
    n_groups=1,
    duration=1.0,
    random_state=0,
)
rng = np.random.default_rng(0)
order = rng.permutation(len(sounds.paths))
paths, rows = [], []
for name, part in zip(("dawn", "dusk"), np.array_split(order, 2), strict=True):
    samples = 0.01 * rng.standard_normal(90 * RATE)
    paths.append(str(Path(scratch.name, f"{name}.wav")))
    onsets = np.arange(0, 80, 4) + rng.uniform(0, 2, 20)
    for sound, onset in zip(part, onsets, strict=True):
        first = int(onset * RATE)
        samples[first : first + RATE] += 0.5 * soundfile.read(sounds.paths[sound])[0]
        rows.append((paths[-1], onset, 1.0, sounds.target[sound]))
    soundfile.write(paths[-1], samples, RATE)
annotations = pd.DataFrame(rows, columns=["path", "onset", "duration", "label"])

# %%
# Embed once
# ----------
# Windows of a second overlap by half. :func:`~sklearn_cpc.archive.embed_archive`
# writes their embeddings to a folder, continues if it was stopped, and needs no more
# memory for a year of sound. Three minutes are too little to train on, so the network
# stays untrained here. The scaler gives all features the same weight in the search.

windows = cut_windows(paths, duration=1.0, hop=0.5)
features = make_pipeline(make_cpc(max_epochs=0, random_state=0), StandardScaler())
features.fit(windows)
embed_archive(features, windows, Path(scratch.name, "embeddings"))
index = EmbeddingIndex(Path(scratch.name, "embeddings"), features)

# %%
# Where is more of this?
# ----------------------
# The example is the first melody that somebody has annotated:

examples = annotations.groupby("label").head(1)
example = examples[examples["label"] == "melody"]
path, onset = example[["path", "onset"]].to_numpy()[0]
samples, _ = soundfile.read(path, start=int(onset * RATE), frames=RATE)
Audio(samples, rate=RATE)

# %%
# The windows found, best first. The column "truth" looks up what is really there:

found = index.query(example, k=10)
truth = label_windows(found, annotations, absent="background")
found["truth"] = truth["label"].to_numpy()
found.assign(path=[Path(path).name for path in found["path"]]).round(2)

# %%
# Not every sound is found as well. The share of right windows among the ten best, for
# one example of each class:

best = index.query(examples, k=10)
truth = label_windows(best, annotations, absent="background")["label"].to_numpy()
best["label"] = examples["label"].to_numpy()[best["query"]]
right = (best["label"] == truth).groupby(best["label"]).mean()
right.to_frame("share of right windows").T

# %%
# The best hit outside the example:

others = found[(found["path"] != path) | ((found["onset"] - onset).abs() > 1)]
elsewhere = others.iloc[0]
samples, _ = soundfile.read(
    elsewhere["path"], start=int(elsewhere["onset"] * RATE), frames=RATE
)
Audio(samples, rate=RATE)

# %%
# Similarity over time, with all melodies marked:

everything = index.query(example, k=len(windows)).sort_values(["path", "onset"])
figure, axes = plt.subplots(2, 1, figsize=(10, 4), sharex=True, layout="constrained")
for axis, (path, part) in zip(axes, everything.groupby("path"), strict=True):
    axis.plot(part["onset"], part["score"])
    melodies = annotations[
        (annotations["path"] == path) & (annotations["label"] == "melody")
    ]
    for start in melodies["onset"]:
        axis.axvspan(start, start + 1, color="tab:orange", alpha=0.4)
    axis.set(title=Path(path).name, ylabel="similarity")
axes[-1].set_xlabel("seconds")

# %%
# Raven and Audacity open what was found:

write_annotations(found, Path(scratch.name, "found"), format="audacity")
print(next(Path(scratch.name, "found").glob("*.txt")).read_text()[:120])

# %%
# A map to listen to
# ------------------
# Each point is a window. Click one to hear it; search, colour and select. ``save``
# writes the page, one file that works offline.

some = label_windows(windows[::2], annotations, absent="background")
page = Path(scratch.name, "map.html")
EmbeddingMap.from_embeddings(
    features.transform(some), some, labels=some["label"], random_state=0
).save(page)
source = html.escape(page.read_text())
frame = f'<iframe srcdoc="{source}" title="map" width="100%" height="700"></iframe>'
HTML(f"<div>{frame}</div>")

# %%
# Next: :doc:`/few-labels` goes from five examples to a detector, and :doc:`/archive`
# describes each step.
