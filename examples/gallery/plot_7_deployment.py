"""
Deploy a model: safe files, and ONNX without torch
==================================================

Save a fitted pipeline to a file that holds no code, or export it to ONNX: one file
that maps samples to probabilities with ``onnxruntime`` and NumPy alone.
"""

# %%
# A pipeline
# ----------
# ``trim=None``, because ONNX cannot cut off silence.

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
import onnxruntime
import soundfile
import soxr
from IPython.display import Audio
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_cpc import export_onnx, load, make_cpc, save
from sklearn_cpc.datasets import make_synthetic_corpus

scratch = TemporaryDirectory()  # removed at the end of the session
corpus = make_synthetic_corpus(
    Path(scratch.name, "corpus"), n_per_class=5, duration=2.0, random_state=0
)
pipe = make_pipeline(
    make_cpc(trim=None, max_epochs=5, random_state=0),
    StandardScaler(),
    LogisticRegression(C=0.05, max_iter=1000),
).fit(corpus.paths, corpus.target)

# %%
# Save and load
# -------------
# The file holds numbers and text. Loading it runs no code, so you can also load files
# from other people. The loaded pipeline computes exactly the same.

file = Path(scratch.name, "pipe.safetensors")
save(pipe, file)
same = load(file)
print(
    (same.predict_proba(corpus.paths) == pipe.predict_proba(corpus.paths)).all(),
    f"{file.stat().st_size / 1e6:.1f} MB",
)

# %%
# Export to ONNX
# --------------
# Before the file is written, it is run and compared with the pipeline.

model = Path(scratch.name, "model.onnx")
export_onnx(pipe, model)
print(f"{model.stat().st_size / 1e6:.1f} MB")

# %%
# Run it
# ------
# The following lines need neither torch nor this package. The metadata say what the
# model expects. Samples come at the rate of the model; it does not resample.

session = onnxruntime.InferenceSession(model)
about = {
    name: json.loads(text)
    for name, text in session.get_modelmeta().custom_metadata_map.items()
}
samples, rate = soundfile.read(corpus.paths[0], dtype="float32")
samples = soxr.resample(samples, rate, about["sample_rate"])[None]
(probabilities,) = session.run(None, {"samples": samples})

figure, axes = plt.subplots(figsize=(6, 2.5), layout="constrained")
bars = axes.barh(about["classes"], probabilities[0])
axes.bar_label(bars, fmt=" {:.2f}")
axes.set(title="ONNX Runtime", xlabel="probability", xlim=(0, 1.1))

# %%
# The sound was:

Audio(corpus.paths[0])

# %%
# The probabilities are those of the pipeline, up to rounding:

print(f"{np.abs(probabilities - pipe.predict_proba(corpus.paths[:1])).max():.0e}")

# %%
# :doc:`/deployment` has sizes, speeds and limits, and :doc:`/persistence` says what a
# file holds.
