"""
Bats at 256 kHz, and other sample rates
=======================================

The defaults are for sounds that people hear. For ultrasound, infrasound or a low
rate, set four things: the rate, the window, the length of a clip and the number of
mel bands.
"""

# %%
# Four kinds of calls
# -------------------
# We make calls of a few milliseconds at a rate of 256 kHz: steep and shallow falling
# sweeps, a hooked one and a nearly level one.

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
import soundfile
from IPython.display import Audio

from sklearn_cpc import MFCCTransformer, make_cpc
from sklearn_cpc.evaluation import compare_representations

RATE = 256_000  # Hz
SWEEPS = {  # start and end in Hz, duration in seconds, how soon the pitch falls
    "steep": (110e3, 70e3, 0.004, 1.0),
    "shallow": (50e3, 22e3, 0.008, 1.0),
    "hooked": (80e3, 45e3, 0.006, 0.3),
    "level": (47e3, 45e3, 0.007, 1.0),
}


def make_recording(rng, kind, duration=0.4):
    """Return calls of one kind at random times in noise."""
    start, end, length, bend = SWEEPS[kind]
    samples = rng.normal(0, rng.uniform(0.01, 0.04), int(duration * RATE))
    for onset in np.arange(
        rng.uniform(0, 0.06), duration - 0.02, rng.uniform(0.06, 0.1)
    ):
        progress = np.linspace(0, 1, int(length * rng.uniform(0.8, 1.2) * RATE))
        pitch = rng.uniform(0.95, 1.05) * start * (end / start) ** progress**bend
        call = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * np.hanning(len(pitch))
        first = int(onset * RATE)
        samples[first : first + len(call)] += rng.uniform(0.2, 0.8) * call
    return 0.9 * samples / np.abs(samples).max()


scratch = TemporaryDirectory()  # removed at the end of the session
rng = np.random.default_rng(0)
paths, y, nights = [], [], []
for kind in SWEEPS:
    for number in range(8):
        paths.append(str(Path(scratch.name, f"{kind}-{number}.wav")))
        soundfile.write(paths[-1], make_recording(rng, kind), RATE)
        y.append(kind)
        nights.append(number % 4)

figure, axes = plt.subplots(1, 4, figsize=(10, 3), sharey=True, layout="constrained")
for axis, kind in zip(axes, SWEEPS, strict=True):
    samples, _ = soundfile.read(paths[y.index(kind)], frames=RATE // 10)
    axis.specgram(samples, NFFT=1024, noverlap=896, Fs=RATE / 1000, vmin=-120)
    axis.set(title=kind, xlabel="ms")
axes[0].set_ylabel("kHz")

# %%
# Played ten times slower, the "hooked" calls are audible:

samples, _ = soundfile.read(paths[y.index("hooked")])
Audio(samples, rate=RATE // 10)

# %%
# What to set
# -----------
# - ``encoder__sample_rate``: at least twice the highest frequency that matters. The
#   default of 16 kHz would remove every call.
# - ``encoder__window_duration``: about as long as the shortest detail, here 4 ms.
# - ``clip_duration``: a clip has 50 steps of two frames. 0.1 s makes steps of 2 ms
#   and frames of 1 ms, a fraction of a call.
# - ``encoder__n_mels``: short windows resolve few bands. If librosa warns of empty
#   filters, choose fewer bands or a longer window.

cpc = make_cpc(
    encoder__sample_rate=RATE,
    encoder__window_duration=0.004,
    encoder__n_mels=48,
    clip_duration=0.1,
    max_epochs=5,
    random_state=0,
)
mfcc = MFCCTransformer(sample_rate=RATE, n_fft=1024, hop_length=256, n_mels=48)

# %%
# If you forget the rate, a warning says which one to set:

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    MFCCTransformer().fit(paths)
print(caught[0].message)

# %%
# Is it right?
# ------------
# The baseline needs the rate, too. Under the name "mfcc", it takes the place of the
# one that :func:`~sklearn_cpc.evaluation.compare_representations` adds, which hears
# nothing above 11 kHz.

table = compare_representations(
    {"cpc": cpc, "mfcc": mfcc}, paths, y, groups=nights, cv=2
)
table[["mean", "std", "gain", "fit_seconds"]].round(2)

# %%
# The page :doc:`/sample-rates` has settings for other animals and rates.
